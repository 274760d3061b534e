"""What `MLPClassifier` and `MLPRegressor` share: scikit-learn's multi-layer perceptron, trained by `bp_torch.train`."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context, is_classifier
from sklearn.model_selection import train_test_split
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from bp_torch import checks
from bp_torch.activations import Activation
from bp_torch.costs import Cost
from bp_torch.estimators import choices, lbfgs, stochastic
from bp_torch.estimators.examples import HeldOut, Task, activations, tensor_of
from bp_torch.estimators.weights import DTYPES, NOTHING, Arrays, arrays_of, drawn, layers_of, together
from bp_torch.network import Network
from bp_torch.penalties import penalty
from bp_torch.schedules import Schedule
from bp_torch.trace import Layer
from bp_torch.training.loop import Record

FLOATS = (np.float64, np.float32)
SPARSE = ("csr", "csc")


def is_stochastic(model: "MLP") -> bool:
    """True; raises AttributeError for a model whose solver takes no epochs, and so has no such method."""
    if uses_lbfgs(model):
        raise AttributeError(
            "partial_fit and iter_fit are only available for stochastic optimizers. lbfgs is not stochastic."
        )
    return True


def uses_lbfgs(model: "MLP") -> bool:
    return isinstance(model.solver, str) and model.solver == "lbfgs"


def keep_parameters(model: "MLP", given: dict[str, Any]) -> None:
    """Stores the arguments of `__init__`, its locals, as they are."""
    for name, value in given.items():
        if name not in ("self", "__class__"):
            setattr(model, name, value)


class MLP(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """The base of both estimators. Parameters are stored as they are given, and checked when a fit begins."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = choices.CONSTRAINTS

    hidden_layer_sizes: Any
    activation: Any
    solver: Any
    alpha: float
    batch_size: Any
    learning_rate: str
    learning_rate_init: Any
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: Any
    tol: float
    verbose: Any
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    cost: str | Cost | None
    dropout: Any
    l1: float
    max_norm: float | None
    clip_norm: float | None
    restore_best: bool | None
    transform_layer: int
    device: str
    engine: str
    precision: str
    threads: int | None
    label_smoothing: float = 0.0

    coefs_: Arrays
    intercepts_: Arrays
    n_iter_: int
    t_: int
    n_layers_: int
    n_outputs_: int
    out_activation_: str
    loss_: float
    loss_curve_: list[float]
    best_loss_: Any
    validation_scores_: Any
    best_validation_score_: Any
    validation_loss_curve_: list[float]
    _random_state: np.random.RandomState
    _optimizer: stochastic.Kept
    _no_improvement_count: int

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None) -> Self:
        """Fits the model to X (n_samples, n_features), an array, a frame or a sparse matrix, and the targets y.

        sample_weight: what each example counts for (n_samples,). X_val, y_val: examples to validate on after each
        epoch; `early_stopping` then goes by them, and cuts no part from X.
        """
        for _ in self._fitting(X, y, sample_weight, X_val, y_val, incremental=False):
            pass
        return self

    @available_if(is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def iter_fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None
    ) -> Iterator[Record]:
        """`fit` as a generator of a `bp_torch.Record` after each epoch.

        At each record the fitted attributes are those of then: `predict` and `score` may be called, and a loop that is
        left by `break` leaves a fitted model. Arguments are those of `fit`.
        """
        return self._fitting(X, y, sample_weight, X_val, y_val, incremental=False)

    def transform(self, X: Any) -> NDArray[np.floating]:
        """The activations (n_samples, neurons) of a hidden layer, that which `transform_layer` says, for X."""
        net, x = self._network_and_examples(X)
        self._check_transform_layer()
        return activations(net, x, self._hidden_layer)

    @property
    def network_(self) -> Network:
        """The fitted network, on the CPU; its tensors are copies of coefs_ and intercepts_."""
        check_is_fitted(self)
        return self._network(np.result_type(*self.coefs_), torch.device("cpu"))

    @property
    def _n_features_out(self) -> int:
        self._check_transform_layer()
        return choices.hidden_sizes(self.hidden_layer_sizes)[self._hidden_layer]

    @property
    def _hidden_layer(self) -> int:
        return range(self.n_layers_ - 2)[self.transform_layer]

    def _check_transform_layer(self) -> None:
        layers = self.n_layers_ - 2
        if not -layers <= self.transform_layer < layers:
            raise ValueError(f"transform_layer is {self.transform_layer}, and there are {layers} hidden layers.")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # what a subclass says

    @abstractmethod
    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any, NDArray[Any]]:
        """X, the targets as they are scored by, and as a matrix (m, n_L)."""

    @abstractmethod
    def _validated_targets(self, y: Any) -> tuple[Any, NDArray[Any]]:
        """The targets of examples held out, as they are scored by and as a matrix."""

    @abstractmethod
    def _fitting_cost(self) -> tuple[str, str]:
        """The cost where none is named, and the output activation where the cost takes any."""

    @abstractmethod
    def _score_outputs(self, outputs: NDArray[Any], y: Any, sample_weight: Any) -> float:
        """The score of a network's outputs (m, n_L) for the targets y; NaN where they are not finite."""

    def _weights(self, y: Any, sample_weight: Any, incremental: bool) -> Any:
        """The weights of the examples with the targets y, or None."""
        return sample_weight

    def _as_loss(self, cost: float) -> float:
        """The mean cost as scikit-learn's loss counts it, but for its `_least`."""
        return cost

    def _least(self, y: NDArray[Any], sample_weight: Any) -> float:
        """The mean cost of outputs that meet the targets y (m, n_L), which scikit-learn's loss leaves out."""
        return 0.0

    # from parameters to a network

    def _cost(self) -> Cost:
        return choices.cost_of(self.cost, self._fitting_cost()[0])

    def _output_name(self) -> str:
        """The output activation under scikit-learn's name for it."""
        name = choices.output_of(self._cost(), self._fitting_cost()[1]).name
        return choices.THEIR_NAMES.get(name, name)

    def _network_of(self, layers: tuple[Layer, ...]) -> Network:
        hidden = choices.hidden_activations(self.activation, len(layers) - 1)
        cost = self._cost()
        return Network(layers, (*hidden, choices.output_of(cost, self._fitting_cost()[1])), cost)

    def _network(self, dtype: np.dtype, device: torch.device) -> Network:
        return self._network_of(layers_of(self.coefs_, self.intercepts_, DTYPES[np.dtype(dtype)], device))

    def _network_and_examples(self, X: Any) -> tuple[Network, torch.Tensor]:
        """The network and X as it takes it, both on the device if it is there, else on the CPU."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=SPARSE, reset=False)
        dtype = np.result_type(X.dtype, *self.coefs_)
        device = torch.device(self.device if torch.cuda.is_available() else "cpu")
        net = self._network(dtype, device)
        return net, tensor_of(X, net.layers[0].w.dtype, device)

    def _outputs(self, X: Any) -> NDArray[np.floating]:
        """The network's outputs (m, n_L) for X."""
        return activations(*self._network_and_examples(X))

    @property
    def _restores(self) -> bool:
        return self.early_stopping if self.restore_best is None else self.restore_best

    # fitting

    def _fitting(
        self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, incremental: bool
    ) -> Iterator[Record]:
        """Checks everything; the work is done as the generator that it returns is gone through."""
        sizes = choices.hidden_sizes(self.hidden_layer_sizes)
        hidden = choices.hidden_activations(self.activation, len(sizes))
        device = checks.available_device(self.device)
        first = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        X, labels, y = self._validate_input(X, y, incremental, first)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        sample_weight = self._weights(labels, sample_weight, incremental)
        if sample_weight is not None and (sample_weight > 0).any():
            # Training leaves examples of weight 0 out of its batches; scikit-learn makes batches of all of them.
            sample_weight = np.where(sample_weight == 0, NOTHING * sample_weight.max(), sample_weight)
        self.n_outputs_ = y.shape[1]
        self._random_state = check_random_state(self.random_state)
        if first:
            self._initialise([X.shape[1], *sizes, self.n_outputs_], hidden, X.dtype)
        dtype = np.result_type(*self.coefs_)
        if uses_lbfgs(self):
            self._check_lbfgs(X_val)
            self._minimise(self._task(X, y, sample_weight, None, dtype, device), device)
            return iter(())
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        if incremental and isinstance(self.learning_rate_init, Schedule):
            raise ValueError("partial_fit does not support a schedule as learning_rate_init: its end is not known")
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val go together: give both, or none.")
        held_out = None
        if X_val is not None:
            X_val = validate_data(self, X_val, accept_sparse=SPARSE, dtype=FLOATS, reset=False)
            labels_val, y_val = self._validated_targets(y_val)
            check_consistent_length(X_val, y_val)
            if y_val.shape[1] != y.shape[1]:
                raise ValueError(f"y_val has {y_val.shape[1]} outputs, and y has {y.shape[1]}.")
            held_out = (X_val, y_val, labels_val, None)
        elif self.early_stopping:
            X, y, sample_weight, held_out = self._split(X, y, labels, sample_weight)
        task = self._task(X, y, sample_weight, held_out, dtype, device)
        if not incremental or not hasattr(self, "_optimizer"):
            rate = self.learning_rate_init
            rule = choices.rule_of(
                self.solver, self.momentum, self.nesterovs_momentum, (self.beta_1, self.beta_2), self.epsilon
            )
            self._optimizer = stochastic.Kept(rule, float("nan") if isinstance(rate, Schedule) else float(rate))
        self.n_iter_ = 0
        net = self._network_of(together(layers_of(self.coefs_, self.intercepts_, DTYPES[np.dtype(dtype)], device)))
        self.coefs_, self.intercepts_ = arrays_of(net.layers)
        return stochastic.epochs(self, net, task, incremental)

    def _initialise(self, sizes: list[int], hidden: list[Activation], dtype: np.dtype) -> None:
        """What a first fit begins with."""
        self.n_iter_ = 0
        self.t_ = 0
        self.n_layers_ = len(sizes)
        self.out_activation_ = self._output_name()
        self.coefs_, self.intercepts_ = drawn(self._random_state, sizes, hidden, dtype)
        if uses_lbfgs(self):
            return
        self.loss_curve_ = []
        self.validation_loss_curve_ = []
        self._no_improvement_count = 0
        self.validation_scores_ = [] if self.early_stopping else None
        self.best_validation_score_ = -np.inf if self.early_stopping else None
        self.best_loss_ = None if self.early_stopping else np.inf

    def _task(self, X: Any, y: Any, sample_weight: Any, held_out: Any, dtype: np.dtype, device: torch.device) -> Task:
        """The examples as tensors, and the size of a batch of them."""
        of = DTYPES[np.dtype(dtype)]
        m = X.shape[0]
        if self.batch_size == "auto":
            batch_size = min(200, m)
        else:
            if self.batch_size > m:
                warnings.warn(
                    "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=4
                )
            batch_size = int(np.clip(self.batch_size, 1, m))
        if held_out is not None:
            X_val, y_val, labels, weights = held_out
            least = self._least(y_val, weights)
            held_out = HeldOut(tensor_of(X_val, of, device), tensor_of(y_val, of, device), labels, weights, least)
        least = self._least(y, sample_weight)
        return Task(tensor_of(X, of, device), tensor_of(y, of, device), sample_weight, held_out, batch_size, least)

    def _split(self, X: Any, y: Any, labels: Any, sample_weight: Any) -> tuple[Any, Any, Any, Any]:
        """A part of the examples held out, by the draws of scikit-learn: by classes, but for several labels at once."""
        stratify = y if is_classifier(self) and self.n_outputs_ == 1 else None
        arrays = [X, y, labels] + ([] if sample_weight is None else [sample_weight])
        parts = train_test_split(
            *arrays, random_state=self._random_state, test_size=self.validation_fraction, stratify=stratify
        )
        X, X_val, y, y_val, _, labels_val, *weights = cast(list[Any], parts)
        if X_val.shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        of_train, of_val = weights or (None, None)
        return X, y, of_train, (X_val, y_val, labels_val, of_val)

    def _check_lbfgs(self, X_val: Any) -> None:
        asked = [name for name in ("l1", "max_norm", "clip_norm", "restore_best") if getattr(self, name)]
        asked += ["dropout"] if np.any(self.dropout) else []
        asked += ["X_val"] if X_val is not None else []
        if asked:
            raise ValueError(f"solver='lbfgs' does without epochs and steps, and so without {', '.join(asked)}.")

    def _minimise(self, task: Task, device: torch.device) -> None:
        """The fit by L-BFGS."""
        sizes = [task.x.shape[1], *choices.hidden_sizes(self.hidden_layer_sizes), self.n_outputs_]
        function, vector = lbfgs.objective(self._network_of, sizes, task, self.alpha, self.label_smoothing)
        layers = lbfgs.views(vector, sizes)
        start = lbfgs.packed(self.coefs_, self.intercepts_)
        end, loss, self.n_iter_ = lbfgs.minimise(
            function,
            start,
            max_iter=self.max_iter,
            max_fun=self.max_fun,
            tol=self.tol,
            verbose=self.verbose,
            threads=self.threads or lbfgs.threads_for(self._network_of(layers), task.x),
        )
        if not np.isfinite(end).all():
            raise ValueError(stochastic.NON_FINITE)
        vector.copy_(tensor_of(end, vector.dtype, device))
        coefs, intercepts = arrays_of(layers)
        self.coefs_, self.intercepts_ = [c.copy() for c in coefs], [b.copy() for b in intercepts]
        of_weights = penalty((w for w, _ in layers), self.alpha / lbfgs.total_weight(task), 0.0)
        self.loss_ = self._as_loss(loss - of_weights) + of_weights

    def _loss_grad_lbfgs(self, packed: Any, X: Any, y: Any, sample_weight: Any = None, *_: Any) -> Any:
        """The loss and its gradient for all parameters in one vector, under scikit-learn's name for it."""
        dtype, device = np.result_type(*self.coefs_), torch.device("cpu")
        sizes = [X.shape[1], *choices.hidden_sizes(self.hidden_layer_sizes), y.shape[1]]
        of = DTYPES[np.dtype(dtype)]
        task = Task(tensor_of(X, of, device), tensor_of(y, of, device), sample_weight, None, len(y))
        return lbfgs.objective(self._network_of, sizes, task, self.alpha, self.label_smoothing)[0](np.asarray(packed))

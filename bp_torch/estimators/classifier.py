"""The classifier: two classes, several, or several labels at once."""

from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import _check_y, validate_data

from bp_torch.estimators import choices, growth
from bp_torch.estimators.base import FLOATS, MLP, SPARSE, is_stochastic, keep_parameters


class MLPClassifier(ClassifierMixin, MLP):
    """scikit-learn's `MLPClassifier`, parameter by parameter, and more; see `bp_torch.sklearn`.

    What is new, or takes more than there:
    activation: also any name of `bp_torch.ACTIVATIONS`, an own `bp_torch.Activation`, or a list, one a hidden layer.
    solver: also any name of `bp_torch.OPTIMISERS`, or an entry with its options, as bp_torch.AdamW(weight_decay=0.1).
    learning_rate_init: also an entry of `bp_torch.schedules`, over max_iter epochs.
    cost: a name of `bp_torch.COSTS` or an own `bp_torch.Cost`, in place of the one that fits the targets.
    class_weight: what examples of a class count for, {label: weight} or "balanced", as elsewhere in scikit-learn. It
        multiplies sample_weight.
    label_smoothing, dropout, l1, max_norm, clip_norm, engine, precision, threads: as in `bp_torch.Recipe`.
    restore_best: whether the weights of the best epoch are taken at the end: by the validation score with
        early_stopping, else by the validation loss where X_val is given, else by the loss. None: with early_stopping.
    transform_layer: the hidden layer whose activations `transform` gives; −1 is the last.
    device: "cpu", "cuda" or "cuda:N". Fitted attributes are NumPy's; without a GPU a fitted model predicts on the CPU.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **choices.CONSTRAINTS,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    }

    class_weight: Any
    classes_: NDArray[Any]
    _label_binarizer: LabelBinarizer
    _first_classes: NDArray[Any]

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: Any = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        cost: Any = None,
        class_weight: Any = None,
        label_smoothing: float = 0.0,
        dropout: Any = 0.0,
        l1: float = 0.0,
        max_norm: float | None = None,
        clip_norm: float | None = None,
        restore_best: bool | None = None,
        transform_layer: int = -1,
        device: str = "cpu",
        engine: str = "auto",
        precision: str = "dtype",
        threads: int | None = None,
    ) -> None:
        keep_parameters(self, locals())

    def predict(self, X: Any) -> NDArray[Any]:
        """The classes (n_samples,), or the labels (n_samples, n_classes) of zeros and ones, for X."""
        return self._decoded(self._outputs(X))

    def predict_proba(self, X: Any) -> NDArray[np.floating]:
        """The probability of each class (n_samples, n_classes), in the order of classes_; of each label by itself."""
        outputs = self._outputs(X)
        if self.n_outputs_ == 1:
            return np.vstack([1 - outputs.ravel(), outputs.ravel()]).T
        if self._label_binarizer.y_type_ == "multiclass" and self.out_activation_ != "softmax":
            return outputs / outputs.sum(axis=1, keepdims=True)  # each is the probability of its class by itself
        return outputs

    def predict_log_proba(self, X: Any) -> NDArray[np.floating]:
        """The logarithm of `predict_proba`."""
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    @available_if(is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """One epoch over these examples, from where the last call, or `fit`, left off.

        classes: all classes that are known by now; needed in the first call. Others may come later, in y or in
        classes: each gets an output of its own, with fresh weights. Labels, of several at once, may get more columns.
        """
        growth.check_classes(self, y, classes)
        for _ in self._fitting(X, y, sample_weight, None, None, incremental=True):
            pass
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any, NDArray[Any]]:
        X, y = validate_data(self, X, y, accept_sparse=SPARSE, multi_output=True, dtype=FLOATS, reset=reset)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            classes = unique_labels(y)
            if self.warm_start and set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {self.classes_}, `y` has {classes}"
                )
            if not self.warm_start:
                growth.take_in(self, y, classes)
        return X, y, self._encoded(y)

    def _validated_targets(self, y: Any) -> tuple[Any, NDArray[Any]]:
        y = _check_y(y, multi_output=True, estimator=self)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        growth.check_known("y_val", unique_labels(y), self.classes_)
        return y, self._encoded(y)

    def _encoded(self, y: Any) -> NDArray[Any]:
        """The targets as a matrix (m, n_L) of zeros and ones."""
        return self._label_binarizer.transform(y).astype(bool)

    def _decoded(self, outputs: NDArray[np.floating]) -> Any:
        """The classes or labels that outputs stand for."""
        return self._label_binarizer.inverse_transform(outputs.ravel() if self.n_outputs_ == 1 else outputs)

    def _weights(self, y: Any, sample_weight: Any, incremental: bool) -> Any:
        if self.class_weight is None:
            return sample_weight
        if incremental and isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight='balanced' is not supported for partial_fit, which does not see all examples: give "
                "{label: weight}."
            )
        weights = compute_sample_weight(self.class_weight, y)
        return weights if sample_weight is None else weights * sample_weight

    def _fitting_cost(self) -> tuple[str, str]:
        several = self._label_binarizer.y_type_ == "multiclass"
        cost, fits = self.cost, "softmax_cross_entropy" if several else "binary_cross_entropy"
        if cost is not None and choices.output_of(chosen := choices.cost_of(cost, fits), "sigmoid").reach != (0, 1):
            told = f"cost={chosen.name!r} has outputs that are no probabilities"
            raise ValueError(f"{told}: leave cost out, which takes {fits}.")
        return fits, "sigmoid"

    def _score_outputs(self, outputs: NDArray[Any], y: Any, sample_weight: Any) -> float:
        if not np.isfinite(outputs).all():
            return float("nan")
        return float(accuracy_score(y, self._decoded(outputs), sample_weight=sample_weight))

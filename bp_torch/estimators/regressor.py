"""The regressor: real values, one or several an example, and counts."""

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_y, validate_data

from bp_torch.estimators.base import FLOATS, MLP, SPARSE, is_stochastic, keep_parameters
from bp_torch.estimators.choices import CONSTRAINTS


class MLPRegressor(RegressorMixin, MLP):
    """scikit-learn's `MLPRegressor`, parameter by parameter, and more; see `bp_torch.sklearn`.

    loss: "squared_error" or, for counts (y of 0 and more), "poisson", whose outputs are e^z. What else there is to set:
    `MLPClassifier`. cost="poisson" is loss="poisson".
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CONSTRAINTS,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    loss: str

    def __init__(
        self,
        loss: str = "squared_error",
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

    def predict(self, X: Any) -> NDArray[np.floating]:
        """The values (n_samples,) or (n_samples, n_outputs) for X."""
        outputs = self._outputs(X)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    @available_if(is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One epoch over these examples, from where the last call, or `fit`, left off."""
        for _ in self._fitting(X, y, sample_weight, None, None, incremental=True):
            pass
        return self

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any, NDArray[Any]]:
        X, y = validate_data(
            self, X, y, accept_sparse=SPARSE, multi_output=True, y_numeric=True, dtype=FLOATS, reset=reset
        )
        return X, *self._checked(y)

    def _validated_targets(self, y: Any) -> tuple[Any, NDArray[Any]]:
        return self._checked(_check_y(y, multi_output=True, y_numeric=True, estimator=self))

    def _checked(self, y: Any) -> tuple[Any, NDArray[Any]]:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if y.dtype.kind not in "fiub":
            raise ValueError(f"MLPRegressor takes numbers as y, not {y.dtype}.")
        if self._cost().name == "poisson" and np.any(y < 0):
            raise ValueError("Some value(s) of y are out of the valid range of the loss 'poisson': y must be >= 0.")
        return y, y.reshape(-1, 1) if y.ndim == 1 else y

    def _fitting_cost(self) -> tuple[str, str]:
        return ("poisson" if self.loss == "poisson" else "quadratic"), "identity"

    def _as_loss(self, cost: float) -> float:
        """Half the squared error is a mean over the outputs, too."""
        return cost / self.n_outputs_ if self._cost().name == "quadratic" else cost

    def _least(self, y: NDArray[Any], sample_weight: Any) -> float:
        """Poisson's deviance is 0 where y is met, and the cost y − y ln y then."""
        if self._cost().name != "poisson":
            return 0.0
        return float(np.average((y - xlogy(y, y)).sum(1), weights=sample_weight))

    def _score_outputs(self, outputs: NDArray[Any], y: Any, sample_weight: Any) -> float:
        outputs = outputs.ravel() if outputs.shape[1] == 1 else outputs
        return float(r2_score(y, outputs, sample_weight=sample_weight)) if np.isfinite(outputs).all() else float("nan")

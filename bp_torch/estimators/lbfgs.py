"""The solver lbfgs: SciPy's L-BFGS-B over our own gradients of the whole data, as scikit-learn runs it."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.optimize
import torch
from numpy.typing import NDArray
from sklearn.utils.fixes import _get_additional_lbfgs_options_dict
from sklearn.utils.optimize import _check_optimize_result
from torch import Tensor

from bp_torch.equations import bias_sum, weight_sum
from bp_torch.estimators.examples import Task, tensor_of
from bp_torch.labels import labels_of
from bp_torch.network import Network
from bp_torch.passes import multiplications
from bp_torch.penalties import penalty, with_penalty
from bp_torch.threads import A_STEP, computing, fitting
from bp_torch.trace import Layer
from bp_torch.training.plan import PLAIN
from bp_torch.training.step import Batch, batch_cost, sweep_of
from bp_torch.training.weighting import sample_weights, weighted

Vector = NDArray[np.float64]
Objective = Callable[[Vector], tuple[float, Vector]]
"""All parameters -> C with its penalty, and its gradient; in scikit-learn's order: coefs by rows, then intercepts."""


def packed(coefs: Sequence[NDArray[Any]], intercepts: Sequence[NDArray[Any]]) -> Vector:
    """The parameters as one vector."""
    return np.hstack([np.ravel(each) for each in (*coefs, *intercepts)]).astype(np.float64)


def views(vector: Tensor, sizes: Sequence[int]) -> tuple[Layer, ...]:
    """The layers of these sizes that lie in a vector."""
    shapes = list(pairwise(sizes))
    weights = vector.split([n_in * n_out for n_in, n_out in shapes] + list(sizes[1:]))
    return tuple(
        Layer(w.view(n_in, n_out).T, b)
        for (n_in, n_out), w, b in zip(shapes, weights, weights[len(shapes) :], strict=False)
    )


def objective(
    net_of: Callable[[tuple[Layer, ...]], Network],
    sizes: Sequence[int],
    task: Task,
    alpha: float,
    label_smoothing: float = 0.0,
) -> tuple[Objective, Tensor]:
    """What L-BFGS minimises, C − `task.least` with its penalty, and the vector that its network's parameters lie in.

    net_of: layers -> the network. alpha: of the penalty (α/2) Σ w² / Σ_x w_x, where an example without a weight counts
    for 1.
    """
    x, y = task.x, task.y
    given = None if task.weights is None else sample_weights(task.weights, x, None)
    total = total_weight(task)
    x, y, relative = weighted(x, y, labels_of(y), given, None, label_smoothing)
    of_penalty = alpha / total
    count = relative.sum(dtype=torch.float64).item() if relative is not None else len(x)
    vector = torch.zeros(sum((n_in + 1) * n_out for n_in, n_out in pairwise(sizes)), dtype=x.dtype, device=x.device)
    net = net_of(views(vector, sizes))
    batch = Batch(x, y, y.new_ones(len(x)), relative)
    factor, l2 = (torch.tensor(each, dtype=x.dtype, device=x.device) for each in (1 / count, of_penalty))

    @torch.inference_mode()
    def value_and_gradient(parameters: Vector) -> tuple[float, Vector]:
        vector.copy_(tensor_of(parameters, x.dtype, x.device))
        trace, sweep = sweep_of(net, PLAIN, factor, (), None, None, True, batch)
        gradients = {l: (weight_sum(delta, trace.into(l)), bias_sum(delta)) for l, delta in sweep}
        ws = [with_penalty(layer.w, gradients[l][0], l2, None) for l, layer in enumerate(net.layers)]
        flat = torch.cat([*(w.T.reshape(-1) for w in ws), *(gradients[l][1] for l in range(len(ws)))])
        cost = batch_cost(net, trace, y, relative).item() / count
        cost -= task.least
        return cost + penalty((w for w, _ in net.layers), of_penalty, 0.0), flat.cpu().numpy().astype(np.float64)

    return value_and_gradient, vector


def total_weight(task: Task) -> float:
    """Σ_x w_x, where an example without a weight counts for 1."""
    return float(len(task.x)) if task.weights is None else float(np.sum(task.weights))


def minimise(
    function: Objective, start: Vector, *, max_iter: int, max_fun: int, tol: float, verbose: Any, threads: int
) -> tuple[Vector, float, int]:
    """The parameters at the end, what the function is there, and the iterations. Warns where it has not converged."""
    options = {"maxfun": max_fun, "maxiter": max_iter, "gtol": tol}
    told = _get_additional_lbfgs_options_dict("iprint", 1 if verbose is True or verbose >= 1 else -1)
    with computing(threads, "cpu"):
        result = scipy.optimize.minimize(function, start, method="L-BFGS-B", jac=True, options={**options, **told})
    return result.x, float(result.fun), _check_optimize_result("lbfgs", result, max_iter)


def threads_for(net: Network, x: Tensor) -> int:
    """On how many threads its evaluations run: as many as a step of this size is worth."""
    return fitting(3 * multiplications(net, x), A_STEP)

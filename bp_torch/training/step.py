"""One step of stochastic gradient descent, in which BP3 and BP4 are the update: ∂C/∂w never exists.

A test holds it equal to the textbook step, which takes `Network.gradients` and subtracts η times each.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from bp_torch.equations import bias_update, weight_update
from bp_torch.network import Feedback, Network, Trace, errors, feed_forward, output_delta
from bp_torch.state import State


class Batch(NamedTuple):
    """m examples: x (…, m, n_0), the target matrix y (…, m, n_L), and ones (m,), which sum the rows of δ."""

    x: Tensor
    y: Tensor
    ones: Tensor


Numbers = tuple[Tensor, ...]
"""The scalars of one step, each 0-D, of the parameters' dtype and on their device: here (−η/m,)."""


def numbers_table(rate: float, sizes: Tensor) -> Tensor:
    """The numbers of each step as a row, (steps, 1), in float64 on the CPU: −η/m, for batches of these sizes (steps,).

    Tensors, so that a compiled, captured or printed step takes another learning rate as it is.
    """
    return (torch.full_like(sizes, -rate, dtype=torch.float64) / sizes).unsqueeze(1)


def step(
    state: State,
    batch: Batch,
    numbers: Numbers,
    *,
    passes: Network | None = None,
    feedback: Feedback | None = None,
    lean: bool = True,
) -> Trace:
    """Descends one step on the batch, in place, and returns the forward pass it came from.

    passes: the copy of the network, in a smaller dtype, that runs the passes; batch.x is of that dtype. The outputs,
        their error and the update are in the network's own dtype, and the copy is made equal again after the update.
        Source: P. Micikevicius et al., "Mixed Precision Training" (2018), section 3.1.
    feedback: as in `errors`. lean: as in `feed_forward`.
    """
    net, (factor,) = state.net, numbers
    copy = net if passes is None else passes
    trace = feed_forward(copy, batch.x, lean=lean)
    if passes is not None:
        z = trace.z[-1].to(batch.y.dtype)
        trace = Trace((*trace.a[:-1], net.activations[-1].f(z)), (*trace.z[:-1], z))
    top = (output_delta(net, trace, batch.y) * factor).to(batch.x.dtype)
    for l, delta in errors(copy, trace, top, feedback):
        layer = net.layers[l]
        weight_update(layer.w, delta, trace.a[l])
        bias_update(layer.b, delta, batch.ones)
        if passes is not None:
            copy.layers[l].w.copy_(layer.w)
            copy.layers[l].b.copy_(layer.b)
    return trace


def batch_cost(net: Network, trace: Trace, y: Tensor) -> Tensor:
    """Σ_x C_x of a batch, 0-D in float64."""
    return net.cost_function.value(trace.z[-1], trace.a[-1], y).sum(dtype=torch.float64)

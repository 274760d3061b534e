"""One step of stochastic gradient descent, in which BP4 is the update: ∂C/∂w never exists.

w ← w − η ∂C/∂w = w − (η/m) δᵀa: one multiply-and-add into w, as soon as the sweep yields δ. A test holds this equal to
the textbook step by `Network.gradients`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from bp_torch.network import Layer, Network, Trace, errors, feed_forward, output_delta


class Rate(NamedTuple):
    """The factor −η/m of a step on m examples: as a number, and as a column (m,) that sums the rows of δ with it."""

    factor: float
    column: Tensor


def rate_of(lr: float, m: int, like: Tensor) -> Rate:
    """The `Rate` of a batch of m examples, of the dtype and on the device of `like`."""
    return Rate(-lr / m, torch.full((m,), -lr / m, dtype=like.dtype, device=like.device))


def sgd_step(net: Network, x: Tensor, y: Tensor, rate: Rate) -> Trace:
    """Descends one step on the batch x (…, m, n_0), y (…, m, n_L), in place; returns the forward pass it came from."""
    trace = feed_forward(net, x)
    for l, delta in errors(net, trace, output_delta(net, trace, y)):
        descend(net.layers[l], delta, trace.a[l], rate)
    return trace


def descend(layer: Layer, delta: Tensor, a: Tensor, rate: Rate) -> None:
    """w −= (η/m) δᵀa (BP4) and b −= (η/m) Σ_x δ_x (BP3), in place; a entered the layer."""
    w, b = layer
    delta_t = delta.mT
    if w.ndim == 2:
        w.addmm_(delta_t, a, alpha=rate.factor)
        b.addmv_(delta_t, rate.column)
    else:  # a stack
        w.add_(delta_t @ a, alpha=rate.factor)
        b.add_(delta.sum(-2), alpha=rate.factor)

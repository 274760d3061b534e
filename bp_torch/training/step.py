"""One step of stochastic gradient descent, in which BP4 is the update: ∂C/∂w never exists.

w ← w − η ∂C/∂w = w − (η/m) δᵀa. The sweep is linear in δᴸ, so −η/m goes into δᴸ, the smallest tensor of them all, and
what is left is one multiply-and-add into w. A test holds this equal to the textbook step by `Network.gradients`.
"""

import torch
from torch import Tensor

from bp_torch.network import Layer, Network, Trace, errors, feed_forward, output_delta


def sgd_step(net: Network, x: Tensor, y: Tensor, rate: Tensor) -> Trace:
    """Descends one step on the batch x (…, m, n_0), y (…, m, n_L), in place; returns the forward pass it was made from.

    rate: −η/m as a tensor that broadcasts against δᴸ: 0-D, or (K, 1, 1) for a stack with a learning rate each.
    """
    trace = feed_forward(net, x)
    for l, delta in errors(net, trace, output_delta(net, trace, y) * rate):
        descend(net.layers[l], delta, trace.a[l])
    return trace


def descend(layer: Layer, scaled_delta: Tensor, a: Tensor) -> None:
    """w += δᵀa and b += Σ_x δ_x in place (BP4, BP3), where scaled_delta is −(η/m) δ and a entered the layer."""
    if layer.w.ndim == 2:
        layer.w.addmm_(scaled_delta.mT, a)
    else:
        layer.w.add_(scaled_delta.mT @ a)
    layer.b.add_(scaled_delta.sum(-2))


def rate_of(lr: float, m: int, like: Tensor) -> Tensor:
    """−η/m for a batch of m examples, as a 0-D tensor of the dtype and on the device of `like`."""
    return torch.tensor(-lr / m, dtype=like.dtype, device=like.device)

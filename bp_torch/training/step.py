"""One step of stochastic gradient descent, in which BP4 is the update: ∂C/∂w never exists.

w ← w − η ∂C/∂w = w − (η/m) δᵀa. The backward sweep is linear in δᴸ, so −η/m enters once, there: each layer's update is
then one multiply-and-add into w, as soon as the sweep yields δ. A test holds this equal to the textbook step by
`Network.gradients`.
"""

from typing import NamedTuple

from torch import Tensor

from bp_torch.network import Feedback, Layer, Network, Trace, errors, feed_forward, output_delta


class Rate(NamedTuple):
    """The factor −η/m of a step on m examples, 0-D, and a column of m ones, which sums the rows of δ.

    A tensor, so that a compiled or captured step takes another learning rate as it is.
    """

    factor: Tensor
    ones: Tensor


def rate_of(lr: float, m: int, like: Tensor) -> Rate:
    """The `Rate` of a batch of m examples, of the dtype and on the device of `like`."""
    return Rate(like.new_full((), -lr / m), like.new_ones(m))


def sgd_step(net: Network, x: Tensor, y: Tensor, rate: Rate, feedback: Feedback | None = None) -> Trace:
    """Descends one step on the batch x (…, m, n_0), y (…, m, n_L), in place; returns the forward pass it came from.

    Of that, z of a hidden layer is kept only where its σ′ needs it: see `feed_forward`. feedback: as in `errors`.
    """
    trace = feed_forward(net, x, lean=True)
    for l, delta in errors(net, trace, output_delta(net, trace, y) * rate.factor, feedback):
        descend(net.layers[l], delta, trace.a[l], rate.ones)
    return trace


def descend(layer: Layer, delta: Tensor, a: Tensor, ones: Tensor) -> None:
    """w += δᵀa (BP4) and b += Σ_x δ_x (BP3), in place, for δ that holds the factor −η/m; a entered the layer."""
    w, b = layer
    delta_t = delta.mT
    if w.ndim == 2:
        w.addmm_(delta_t, a)
        b.addmv_(delta_t, ones)
    else:  # a stack
        w.add_(delta_t @ a)
        b.add_(delta.sum(-2))


def mixed_step(net: Network, copy: Network, x: Tensor, y: Tensor, rate: Rate) -> Trace:
    """`sgd_step` with the products in bfloat16 and the weights and their update in float32.

    copy: the network in bfloat16, which runs the passes and is made equal to `net` again, layer by layer, after the
    update. x is bfloat16, y float32, and the outputs of the trace and their error are float32 too.
    Source: P. Micikevicius et al., "Mixed Precision Training" (2018), section 3.1.
    """
    trace = feed_forward(copy, x, lean=True)
    z = trace.z[-1].float()
    trace = Trace((*trace.a[:-1], net.activations[-1].f(z)), (*trace.z[:-1], z))
    for l, delta in errors(copy, trace, (output_delta(net, trace, y) * rate.factor).to(x.dtype)):
        layer, rounded = net.layers[l], copy.layers[l]
        layer.w.add_(delta.mT @ trace.a[l])
        layer.b.add_(delta.sum(-2, dtype=z.dtype))
        rounded.w.copy_(layer.w)
        rounded.b.copy_(layer.b)
    return trace

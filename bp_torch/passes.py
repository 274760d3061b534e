"""The passes: forward, and the backward sweep of errors that all of training is built on.

Plain functions, which check nothing: they are what the training step runs. Leading dimensions broadcast.
"""

import math
from collections.abc import Callable, Iterator
from typing import Protocol

from torch import Tensor

from bp_torch import given, sparse
from bp_torch.activations import Activation
from bp_torch.costs import Cost
from bp_torch.equations import hidden_error, weighted_input
from bp_torch.trace import BackpropTrace, Layer, Trace


class Layered(Protocol):
    """What the passes need of a network."""

    @property
    def layers(self) -> tuple[Layer, ...]: ...
    @property
    def activations(self) -> tuple[Activation, ...]: ...
    @property
    def cost_function(self) -> Cost: ...


def feed_forward(net: Layered, x: Tensor, *, lean: bool = False, masks: tuple[Tensor | None, ...] = ()) -> Trace:
    """The forward pass: z = w a + b and a = σ(z), layer by layer.

    lean, for training: a hidden layer's z is let go of where its σ′ needs a alone, and a stands in its place.
    masks: of dropout, one a layer (…, m, n_l), for what enters it; None where nothing is dropped.
    """
    a, z, entered, last = [x], [], [], len(net.layers) - 1
    for l, ((w, b), activation) in enumerate(zip(net.layers, net.activations)):  # noqa: B905 (checked when made)
        into = a[-1]
        if masks:
            mask = masks[l]
            into = into if mask is None else sparse.masked(into, mask)
            entered.append(into)
        weighted = weighted_input(w, b, into)
        a.append(activation.f(weighted))
        z.append(a[-1] if lean and l < last and not activation.needs_z else weighted)
    return Trace(tuple(a), tuple(z), masks, tuple(entered))


def output_delta(net: Layered, trace: Trace | BackpropTrace, y: Tensor) -> Tensor:
    """BP1: the error δᴸ (…, m, n_L) of the output layer for the target matrix y (…, m, n_L)."""
    return net.cost_function.error(net.activations[-1], trace.z[-1], trace.a[-1], y)


Feedback = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""What may stand in BP2's place: (l, δ of layer l, δᴸ, σ′ of layer l − 1) -> δ of layer l − 1."""


def errors(
    net: Layered, trace: Trace | BackpropTrace, delta: Tensor, feedback: Feedback | None = None
) -> Iterator[tuple[int, Tensor]]:
    """The errors, from the last layer to the first, by BP2: yields (l, δ of layer l), starting from δᴸ = delta.

    δ of the layer below is computed before δ of a layer is yielded, so the consumer may change that layer's w at once.
    The sweep is linear in δᴸ: scale that, and every error is scaled alike. feedback: another rule instead of BP2.
    """
    top, masks = delta, trace.masks
    for l in range(len(net.layers) - 1, 0, -1):
        sigma_prime = net.activations[l - 1].derivative(trace.z[l - 1], trace.a[l])
        if masks and (mask := masks[l]) is not None:
            sigma_prime = sigma_prime * mask
        if feedback is None:
            below = hidden_error(net.layers[l].w, delta, sigma_prime)
        else:
            below = feedback(l, delta, top, sigma_prime)
        yield l, delta
        delta = below
    yield 0, delta


def mean_cost(net: Layered, trace: Trace, y: Tensor) -> Tensor:
    """C = (1/m) Σ_x C_x for the target matrix y (…, m, n_L)."""
    return net.cost_function.value(trace.z[-1], trace.a[-1], y).mean(-1)


def multiplications(net: Layered, x: object = None, *_: object, **__: object) -> int:
    """How many a forward pass of the examples x (…, m, n_0) takes in its products; 0 for what has no such shape.

    Of a sparse x, the first layer's are those of its stored values.
    """
    shape = given.shape(x)
    if (stored := sparse.stored(x)) is not None:
        first = net.layers[0].w
        others = sum(w.numel() for w, _ in net.layers[1:])
        return stored * (first.numel() // first.shape[-1]) + (*shape, 0)[0] * others
    return multiplications_of(net, shape)


def multiplications_of(net: Layered, shape: tuple[int, ...]) -> int:
    """The same of a dense x of this shape (…, m, n_0)."""
    if len(shape) < 2:
        return 0
    weights, networks = sum(w.numel() for w, _ in net.layers), net.layers[0].w.shape[:-2].numel()
    return shape[-2] * weights * (max(1, math.prod(shape[:-2]) // networks))

"""One step of training. In plain gradient descent BP3 and BP4 are the update: ∂C/∂w never exists.

A test holds it equal to the textbook step, which takes `Network.gradients` and subtracts η times each. The other rules
of `OPTIMISERS` take the gradient of one layer at a time, as soon as the error of the layer below is known.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from bp_torch.equations import bias_gradient, bias_update, weight_gradient, weight_update
from bp_torch.network import Feedback, Layer, Network, Trace, errors, feed_forward, output_delta
from bp_torch.optimisers import SGD, Optimiser
from bp_torch.state import State

PLAIN = SGD()


class Batch(NamedTuple):
    """m examples: x (…, m, n_0), the target matrix y (…, m, n_L), and ones (m,), which sum the rows of δ."""

    x: Tensor
    y: Tensor
    ones: Tensor


Numbers = tuple[Tensor, ...]
"""The scalars of one step, each 0-D, of the parameters' dtype and on their device: (−η/m,), or the rule's."""


def numbers_table(rate: float, sizes: Tensor, rule: Optimiser = PLAIN, done: int = 0) -> Tensor:
    """The numbers of each step as a row, (steps, S), in float64 on the CPU, for batches of these sizes (steps,).

    In plain gradient descent that is −η/m, else the rule's numbers. done: the steps of the run before these. They are
    tensors, so that a compiled, captured or printed step takes another learning rate as it is.
    """
    if rule.is_plain:
        return (torch.full_like(sizes, -rate, dtype=torch.float64) / sizes).unsqueeze(1)
    t = torch.arange(done + 1, done + 1 + len(sizes), dtype=torch.float64, device="cpu")
    return torch.stack([torch.as_tensor(n, dtype=t.dtype, device="cpu").expand_as(t) for n in rule.numbers(rate, t)], 1)


def step(
    state: State,
    batch: Batch,
    numbers: Numbers,
    *,
    rule: Optimiser = PLAIN,
    passes: Network | None = None,
    feedback: Feedback | None = None,
    lean: bool = True,
) -> Trace:
    """Descends one step on the batch, in place, and returns the forward pass it came from.

    rule: of whose slots state.slots are, and of whose numbers `numbers` are.
    passes: the copy of the network, in a smaller dtype, that runs the passes; batch.x is of that dtype. The outputs,
        their error and the update are in the network's own dtype, and the copy is made equal again after the update.
        Source: P. Micikevicius et al., "Mixed Precision Training" (2018), section 3.1.
    feedback: as in `errors`. lean: as in `feed_forward`.
    """
    net = state.net
    copy = net if passes is None else passes
    trace = feed_forward(copy, batch.x, lean=lean)
    if passes is not None:
        z = trace.z[-1].to(batch.y.dtype)
        trace = Trace((*trace.a[:-1], net.activations[-1].f(z)), (*trace.z[:-1], z))
    top = output_delta(net, trace, batch.y)
    top = (top * numbers[0] if rule.is_plain else top).to(batch.x.dtype)
    for l, delta in errors(copy, trace, top, feedback):
        layer = net.layers[l]
        if rule.is_plain:
            weight_update(layer.w, delta, trace.a[l])
            bias_update(layer.b, delta, batch.ones)
        else:
            gradient = Layer(weight_gradient(delta, trace.a[l]), bias_gradient(delta))
            for kind, (parameter, g) in enumerate(zip(layer, gradient, strict=True)):
                kept = [slot[l][kind] for slot in state.slots]
                changed = rule.update(parameter, g.to(parameter.dtype), *kept, *numbers)
                for tensor, value in zip((parameter, *kept), changed, strict=True):
                    tensor.copy_(value)
        if passes is not None:
            copy.layers[l].w.copy_(layer.w)
            copy.layers[l].b.copy_(layer.b)
    return trace


def batch_cost(net: Network, trace: Trace, y: Tensor) -> Tensor:
    """Σ_x C_x of a batch, 0-D in float64."""
    return net.cost_function.value(trace.z[-1], trace.a[-1], y).sum(dtype=torch.float64)

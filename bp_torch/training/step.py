"""One step of training. In plain gradient descent BP3 and BP4 are the update: ∂C/∂w never exists.

A test holds it equal to the textbook step, which takes `Network.gradients` and subtracts η times each. What else a
`Plan` asks for takes the gradient of one layer at a time, as soon as the error of the layer below is known.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from bp_torch import clipping, sparse
from bp_torch.equations import bias_sum, bias_update, weight_sum, weight_update
from bp_torch.network import Network
from bp_torch.passes import Feedback, errors, feed_forward, output_delta
from bp_torch.penalties import with_penalty, within_norm
from bp_torch.state import State
from bp_torch.trace import Layer, Trace
from bp_torch.training.plan import PLAIN, Given, Numbers, Plan, given, masks

STRETCH = 1 << 17  # weights of a sparse x that a rule changes at a time, as many as a cache holds


class Batch(NamedTuple):
    """m examples: x (…, m, n_0), the target matrix y (…, m, n_L), and ones (m,), which sum the rows of δ.

    x may be sparse, (m, n_0). weights: those of the examples (m,), if they have any. keys: a row of
    `dropout.keys_table`, each 0-D.
    """

    x: Tensor
    y: Tensor
    ones: Tensor
    weights: Tensor | None = None
    keys: Numbers = ()

    def parts(self, rows: int) -> Iterator["Batch"]:
        """So many of its examples after the other; the last ones are what is left."""
        x, y, ones = sparse.split(self.x, rows), self.y.split(rows), self.ones.split(rows)
        weights = [None] * len(x) if self.weights is None else self.weights.split(rows)
        return (Batch(*part, self.keys) for part in zip(x, y, ones, weights, strict=True))


Sweep = Iterable[tuple[int, Tensor]]
"""(l, δ of layer l), from the last layer to the first; δ holds the factor of `Given`: 1/m, w_x/Σw or with −η."""

Gradients = Iterable[tuple[int, Layer]]
"""(l, ∂C/∂w and ∂C/∂b of layer l), from the last layer to the first."""


def step(
    state: State,
    batch: Batch,
    numbers: Numbers,
    *,
    plan: Plan = PLAIN,
    passes: Network | None = None,
    feedback: Feedback | None = None,
    lean: bool = True,
    vectors: Sequence[Tensor] = (),
) -> Trace:
    """Descends one step on the batch, in place, and returns the forward pass it came from.

    plan: of whose rules state.slots are, and of which `numbers` are.
    passes: the copy of the network, in a smaller dtype, that runs the passes; batch.x is of that dtype. The outputs,
        their error and the update are in the network's own dtype, and the copy is made equal again after the update.
        Source: P. Micikevicius et al., "Mixed Precision Training" (2018), section 3.1.
    feedback: as in `errors`. lean: as in `feed_forward`. vectors: as `flat.Flat` has them, of which the
        parameters are parts: they then change at once.
    """
    net = state.net
    if plan.is_plain:
        factor, *kept = numbers
        trace, sweep = sweep_of(net, plan, factor, kept, passes, feedback, lean, batch)
        for l, delta in sweep:
            weight_update(net.layers[l].w, delta, trace.into(l))
            bias_update(net.layers[l].b, delta, batch.ones)
            _refresh(passes, net, l)
        return trace
    of = given(plan, numbers)
    swept = partial(sweep_of, net, plan, of.factor, of.kept, passes, feedback, lean)
    trace, gradients = gradients_of(net, batch, plan, of, swept, lean)
    if vectors:
        of_layers = list(gradients)  # from the last layer to the first
        g = torch.cat([t.reshape(-1) for _, gradient in reversed(of_layers) for t in gradient])
        changed = plan.rules[0].optimiser.update(vectors[0], g, *vectors[1:], *of.of_rules[0])
        for vector, value in zip(vectors, changed, strict=True):
            vector.copy_(value)
        return trace
    for l, gradient in gradients:
        wide = l == 0 and sparse.is_sparse(batch.x) and of.max_norm is None
        _descend(state, l, gradient, plan, of, STRETCH // len(gradient.b) + 1 if wide else None)
        _refresh(passes, net, l)
    return trace


def sweep_of(
    net: Network,
    plan: Plan,
    factor: Tensor,
    kept: Sequence[Tensor],
    passes: Network | None,
    feedback: Feedback | None,
    lean: bool,
    batch: Batch,
    first: int = 0,
) -> tuple[Trace, Sweep]:
    """The forward pass of these examples, which come after the `first` ones of their batch, and the sweep."""
    copy = net if passes is None else passes
    dropped = masks(plan, batch.x, net.sizes, batch.keys, kept, first) if plan.dropout else ()
    trace = feed_forward(copy, batch.x, lean=lean, masks=dropped)
    if passes is not None:
        z = trace.z[-1].to(batch.y.dtype)
        trace = trace._replace(a=(*trace.a[:-1], net.activations[-1].f(z)), z=(*trace.z[:-1], z))
    scale = factor if batch.weights is None else batch.weights.unsqueeze(-1) * factor
    top = (output_delta(net, trace, batch.y) * scale).to(batch.x.dtype)
    return trace, errors(copy, trace, top, feedback)


def gradients_of(
    net: Network,
    batch: Batch,
    plan: Plan,
    of: Given,
    swept: Callable[..., tuple[Trace, Sweep]],
    lean: bool,
) -> tuple[Trace, Gradients]:
    """The forward pass of a batch, and the gradients as the update takes them: with penalties, and clipped.

    swept: (examples, how many of the batch come before them) -> their forward pass and the sweep.
    """
    by_errors = plan.clip_norm is not None and plan.rows is None and not plan.l2 and not plan.l1
    by_errors = by_errors and clipping.pays(net.sizes, batch.x.shape[-2], sparse.width(batch.x))
    if plan.rows is None:
        trace, sweep = swept(batch)
        if of.clip_norm is not None and by_errors:
            sweep = _clipped_errors(trace, list(sweep), of.clip_norm)
        gradients = _gradients(trace, sweep, batch.y.dtype)
    else:
        trace, gradients = _in_parts(batch, plan.rows, swept, lean)
    if plan.l2 or plan.l1:
        gradients = ((l, Layer(with_penalty(net.layers[l].w, w, of.l2, of.l1), b)) for l, (w, b) in gradients)
    if of.clip_norm is not None and not by_errors:
        gradients = _clipped(list(gradients), of.clip_norm)
    if of.clip_value is not None:
        most = of.clip_value
        gradients = ((l, Layer(*(clipping.clipped(g, most) for g in gradient))) for l, gradient in gradients)
    return trace, gradients


def _gradients(trace: Trace, sweep: Sweep, dtype: torch.dtype) -> Iterator[tuple[int, Layer]]:
    for l, delta in sweep:
        yield l, Layer(weight_sum(delta, trace.into(l)).to(dtype), bias_sum(delta, dtype))


def _clipped_errors(trace: Trace, sweep: list[tuple[int, Tensor]], most: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The sweep, its errors multiplied by what clips the gradients that are made of them."""
    shrinkage = clipping.shrinkage([clipping.square_by_errors(delta, trace.into(l)) for l, delta in sweep], most)
    return ((l, (delta * shrinkage).to(delta.dtype)) for l, delta in sweep)


def _clipped(gradients: list[tuple[int, Layer]], most: Tensor) -> Iterator[tuple[int, Layer]]:
    shrinkage = clipping.shrinkage([clipping.square(*gradient) for _, gradient in gradients], most)
    return ((l, Layer(*((g * shrinkage).to(g.dtype) for g in gradient))) for l, gradient in gradients)


def _in_parts(
    batch: Batch, rows: int, swept: Callable[..., tuple[Trace, Sweep]], lean: bool
) -> tuple[Trace, list[tuple[int, Layer]]]:
    """The gradients of a batch of which so many examples are passed through the network at a time.

    They are sums over all examples, whatever the parts. lean: what is returned of the passes are the outputs alone.
    """
    totals: dict[int, Layer] = {}
    traces: list[Trace] = []
    for k, part in enumerate(batch.parts(rows)):
        trace, sweep = swept(part, k * rows)
        for l, gradient in _gradients(trace, sweep, batch.y.dtype):
            totals[l] = gradient if l not in totals else Layer(*map(torch.add, totals[l], gradient))
        traces.append(Trace(trace.a[-1:], trace.z[-1:]) if lean else trace)
    a, z = (tuple(map(torch.cat, zip(*each, strict=True))) for each in zip(*(t[:2] for t in traces), strict=True))
    return Trace(a, z), list(totals.items())


def _descend(state: State, l: int, gradient: Layer, plan: Plan, of: Given, columns: int | None = None) -> None:
    """Changes a layer's parameters, and what is kept for them, by their rules.

    columns: how many of w's are changed at a time; None: all. A rule's passes over a stretch stay in the cache.
    """
    for kind, (parameter, g) in enumerate(zip(state.net.layers[l], gradient, strict=True)):
        rule = plan.rule(l, kind)
        whole = parameter, g, *(slot[l][kind] for slot in state.slots)
        stretches = [whole] if kind or columns is None else zip(*(t.split(columns, -1) for t in whole), strict=True)
        for parameter, g, *kept in stretches:
            w, *changed = plan.rules[rule].optimiser.update(parameter, g, *kept, *of.of_rules[rule])
            if kind == 0 and of.max_norm is not None:
                w = within_norm(w, of.max_norm)
            for tensor, value in zip((parameter, *kept), (w, *changed), strict=True):
                tensor.copy_(value)


def _refresh(passes: Network | None, net: Network, l: int) -> None:
    if passes is not None:
        passes.layers[l].w.copy_(net.layers[l].w)
        passes.layers[l].b.copy_(net.layers[l].b)


def batch_cost(net: Network, trace: Trace, y: Tensor, weights: Tensor | None = None) -> Tensor:
    """Σ_x C_x of a batch, 0-D in float64; each times its example's weight (m,), if they have any."""
    costs = net.cost_function.value(trace.z[-1], trace.a[-1], y)
    return (costs if weights is None else costs * weights).sum(dtype=torch.float64)

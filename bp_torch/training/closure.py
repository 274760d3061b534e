"""A step by an optimiser of torch.optim: it finds the gradients in `.grad`, or has them made by a closure."""

from functools import partial
from typing import Any

import torch

from bp_torch.borrowed import Borrowed
from bp_torch.network import Network
from bp_torch.penalties import penalty, within_norm
from bp_torch.state import State
from bp_torch.trace import Trace
from bp_torch.training.plan import Numbers, Plan, given
from bp_torch.training.precision import refresh
from bp_torch.training.step import Batch, batch_cost, gradients_of, sweep_of


def step_by(
    borrowed: Borrowed,
    state: State,
    batch: Batch,
    numbers: Numbers,
    *,
    plan: Plan,
    passes: Network | None = None,
    lean: bool = True,
) -> Trace:
    """As `step`. Where the optimiser evaluates the batch several times, the first of the forward passes is returned.

    All of them leave the same neurons out. The closure returns the cost with the penalty.
    """
    net, of = state.net, given(plan, numbers)
    swept = partial(sweep_of, net, plan, of.factor, of.kept, passes, None, lean)
    parameters, traces = net.parameters(), list[Trace]()
    before = [parameter.grad for parameter in parameters]

    @torch.no_grad()
    def evaluated() -> Trace:
        refresh(passes, net)
        trace, gradients = gradients_of(net, batch, plan, of, swept, lean)
        for l, gradient in gradients:
            for parameter, g in zip(net.layers[l], gradient, strict=True):
                parameter.grad = g.contiguous()  # which LBFGS asks for, and that of a sparse x isn't
        if not traces:
            traces.append(trace)
        return trace

    def closure() -> Any:
        cost = batch_cost(net, evaluated(), batch.y, batch.weights) * of.factor
        return cost + penalty((w for w, _ in net.layers), plan.l2, plan.l1)

    try:
        if borrowed.needs_closure:
            borrowed.optimizer.step(closure)
        else:
            evaluated()
            borrowed.optimizer.step()
    finally:
        for parameter, gradient in zip(parameters, before, strict=True):
            parameter.grad = gradient
    if of.max_norm is not None:
        for w, _ in net.layers:
            if borrowed.holds(w):
                w.copy_(within_norm(w, of.max_norm))
    return traces[0]

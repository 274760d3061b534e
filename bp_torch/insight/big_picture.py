"""The big picture: a small change Δw of one weight changes the cost by ΔC ≈ (∂C/∂w) Δw."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from bp_torch.given import Given
from bp_torch.insight.check import known_weight
from bp_torch.network import Network, pair_of_tensors


class Change(NamedTuple):
    """What steps Δw of one weight were to do to the cost, and what they did, each a number a step."""

    predicted: list[float]
    true: list[float]


@torch.no_grad()
def cost_changes(net: Network, x: Given, y: Given, weight: tuple[int, int, int], steps: Sequence[float]) -> Change:
    """ΔC for each Δw of one weight w_jk: (∂C/∂w) Δw by backpropagation, and C(w + Δw) − C(w) by two forward passes.

    x (m, n_0), y class indices (m,) or a matrix (m, n_L); weight (l, j, k) for w_jk of layer l. All is computed in the
    network's own dtype, and the network is left as it is. Raises ValueError for a weight that isn't there, and for a
    stack.
    Source: M. Nielsen, *Neural Networks and Deep Learning* (2015), chapter 2, "Backpropagation: the big picture".
    """
    if net.layers[0].w.ndim != 2:
        raise ValueError("cost_changes takes one network at a time, not a stack")
    l, j, k = known_weight(net, *weight)
    x, y = pair_of_tensors(net, x, y)
    slope = net.gradients(x, y)[l].w[j, k].item()
    moved = net.to(net.layers[0].w.dtype)
    before, w = moved.cost(x, y), moved.layers[l].w
    true = []
    for step in steps:
        w[j, k] = net.layers[l].w[j, k] + torch.tensor(step, dtype=w.dtype, device=w.device)
        true.append((moved.cost(x, y) - before).item())
    return Change([slope * step for step in steps], true)

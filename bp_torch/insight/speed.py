"""What all partial derivatives cost: one backward pass, or one forward pass for each weight."""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from bp_torch import checks
from bp_torch.given import Given
from bp_torch.network import Network, examples_of
from bp_torch.passes import feed_forward, mean_cost
from bp_torch.randomness import generator

STEP = 1e-3  # Δw of a difference: about the best for float32


class Times(NamedTuple):
    """Seconds: of a forward pass, of a forward and a backward pass, and of a difference for every weight.

    weights counts w alone, without b. Where differenced is less than weights, only so many were taken, and differences
    is extrapolated from them.
    """

    weights: int
    forward: float
    both: float
    differences: float
    differenced: int


@torch.no_grad()
def differences(net: Network, x: Given, y: Given, weights: Iterable[int] | None = None) -> list[float]:
    """∂C/∂w ≈ [C(w + Δw) − C(w)] / Δw for one weight after the other: a forward pass each, and one before all.

    x (m, n_0), y class indices (m,) or a matrix (m, n_L). weights: their numbers, counted through the layers, each row
    by row; left out, all. The network is left as it is.
    Source: M. Nielsen, *Neural Networks and Deep Learning* (2015), chapter 2, "In what sense is backpropagation a fast
    algorithm?".
    """
    rows = examples_of(net, x)
    matrix = checks.targets(y, rows, net.sizes[-1], net.layers[0].w)
    return list(_differences(net, rows, matrix, range(_count(net)) if weights is None else weights))


def times(
    net: Network, x: Tensor, y: Tensor, both: Callable[[], object], *, seconds: float = 1.0, seed: int = 0
) -> Times:
    """Times forward passes, forward and backward passes, and differences of a network, for about so many seconds each.

    x (m, n_0), y (m, n_L), of the network's dtype, on the CPU. both: a forward and a backward pass on them, such as a
    step of gradient descent. The passes take turns, and their medians count; differences are taken for weights drawn
    by `seed` until the time is over, or all have been. Raises ValueError for seconds that are not positive.
    """
    checks.positive("seconds", seconds)
    forward: list[float] = []
    whole: list[float] = []
    both()  # the first call of a product sets up more than the product needs
    began = time.perf_counter()
    while len(forward) < 5 or (time.perf_counter() - began < seconds and len(forward) < 200):
        forward.append(_seconds(lambda: feed_forward(net, x)))
        whole.append(_seconds(both))
    count, taken = _count(net), 0
    order = torch.randperm(
        count, generator=generator("speed", checks.seed(seed)), dtype=torch.int64, device="cpu"
    ).tolist()
    slopes = _differences(net, x, y, order)
    began = time.perf_counter()
    while taken < count and (taken == 0 or time.perf_counter() - began < seconds):
        taken += sum(1 for _ in islice(slopes, 10))
    each = (time.perf_counter() - began) / taken
    return Times(count, statistics.median(forward), statistics.median(whole), each * count, taken)


def _count(net: Network) -> int:
    return sum(layer.w.numel() for layer in net.layers)


def _differences(net: Network, x: Tensor, y: Tensor, weights: Iterable[int]) -> Iterator[float]:
    before = mean_cost(net, feed_forward(net, x), y).item()
    for number in weights:
        l, index = 0, number
        while index >= net.layers[l].w.numel():
            index -= net.layers[l].w.numel()
            l += 1
        flat = net.layers[l].w.view(-1)
        value = flat[index].item()
        flat[index] = value + STEP
        slope = (mean_cost(net, feed_forward(net, x), y).item() - before) / STEP
        flat[index] = value
        yield slope


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began

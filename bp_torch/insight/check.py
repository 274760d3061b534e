"""Proof that a network's gradients are right: against differences of its cost, and against the sum over all paths."""

import itertools
import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from bp_torch import checks
from bp_torch.equations import bias_gradient, weight_gradient
from bp_torch.given import Given
from bp_torch.network import Network, backprop, pair_of_tensors
from bp_torch.randomness import generator
from bp_torch.trace import Layer

STEP = 1e-5  # of a central difference, whose own error is about STEP² relative to the third derivative
DIRECTIONS = 4
WEIGHTS = 8  # of a layer, where the caller names none
FEW_PATHS = 20_000  # what is summed unless asked otherwise
AGREES = 1e-4  # a relative error below this is rounding: see `check`


class Row(NamedTuple):
    """One comparison: the layer, what the gradient was held to, in how many numbers, and ‖difference‖ / ‖gradient‖."""

    layer: int
    against: str
    numbers: int
    relative_error: float

    @property
    def verdict(self) -> str:
        """ "right" or "WRONG"; an error that is no number is wrong."""
        return "right" if self.relative_error < AGREES else "WRONG"


class Check(NamedTuple):
    """The comparisons, layer by layer; `str` is a table, `worst` its largest relative error.

    paths_left_out: how many paths were too many to be summed, else 0.
    """

    rows: tuple[Row, ...]
    paths_left_out: int = 0

    @property
    def worst(self) -> float:
        return max((row.relative_error for row in self.rows), key=lambda error: (math.isnan(error), error))

    def __str__(self) -> str:
        lines = [f"{'layer':>5}  {'verdict':<7}  {'against':<36}{'numbers':>8}  {'relative error':>14}"]
        lines += [
            f"{r.layer:>5}  {r.verdict:<7}  {r.against:<36}{r.numbers:>8}  {r.relative_error:>14.1e}" for r in self.rows
        ]
        if wrong := sorted({row.layer for row in self.rows if row.verdict == "WRONG"}):
            lines.append(_where(wrong))
        if self.paths_left_out:
            lines.append(f"Not summed over paths: there are {self.paths_left_out:,}, and at most {FEW_PATHS:,} are.")
        return "\n".join(lines)

    def __repr__(self) -> str:
        wrong = sum(row.verdict == "WRONG" for row in self.rows)
        verdict = f"WRONG in {wrong} of" if wrong else "right in all"
        return f"<Check: {verdict} {len(self.rows)} comparisons, worst {self.worst:.1e}>"


@torch.no_grad()
def check(
    net: Network,
    x: Given,
    y: Given,
    *,
    weights: Iterable[tuple[int, int, int]] | None = None,
    paths: bool | None = None,
    seed: int = 0,
) -> Check:
    """Holds `net.gradients(x, y)` to what it should be, in float64; prints the table and returns it.

    x (m, n_0), y class indices (m,) or a matrix (m, n_L); some examples are enough. Each layer is held to central
    differences of the cost along random directions in its w and b, and for single weights; for a tiny network also to
    the sum over all paths from a neuron to the outputs, of the products of weights and σ′ along each (M. Nielsen,
    *Neural Networks and Deep Learning*, chapter 2, "Backpropagation: the big picture").

    weights: (l, j, k) of single weights w_jk of layer l; left out, some of each layer, drawn by `seed`.
    paths: whether to sum over paths; left out, where there are at most 20,000. True for more raises ValueError.

    Right gradients differ by less than about 1e-6, wrong ones by 1e-2 and more: the verdict is "right" below 1e-4, else
    "WRONG". A sum over paths takes the same σ′ as the gradient does: only differences notice a wrong one. A kink (relu
    at 0) may be met by chance: another seed then passes. Raises ValueError for a network that is not of float64, or is
    a stack.
    """
    if net.layers[0].w.dtype != torch.float64:
        raise ValueError(
            "bp.check takes differences, which need float64: bp.check(net.to(torch.float64), x.double(), y)"
        )
    if net.layers[0].w.ndim != 2:
        raise ValueError("bp.check takes one network at a time, not a stack")
    count = path_count(net.sizes)
    if paths and count > FEW_PATHS:
        raise ValueError(f"a network of sizes {net.sizes} has {count:,} paths: too many to sum, leave paths out")
    chosen = None if weights is None else [known_weight(net, *lkj) for lkj in weights]
    x, y = pair_of_tensors(net, x, y)
    gradients = net.gradients(x, y)
    rng = generator("check", checks.seed(seed))
    by_path = path_gradients(net, x, y) if (count <= FEW_PATHS if paths is None else paths) else None
    rows = []
    for l, layer in enumerate(net.layers):
        rows.append(_along_directions(net, x, y, l, gradients[l], rng))
        of_layer = _drawn(layer, l, rng) if chosen is None else [c for c in chosen if c[0] == l]
        if of_layer:
            rows.append(_single_weights(net, x, y, of_layer, gradients[l]))
        if by_path is not None:
            wanted = torch.cat([by_path[l].w.flatten(), by_path[l].b])
            got = torch.cat([gradients[l].w.flatten(), gradients[l].b])
            rows.append(Row(l, "sum over all paths", wanted.numel(), _error(got, wanted)))
    result = Check(tuple(rows), count if paths is None and count > FEW_PATHS else 0)
    print(result)
    return result


def by_parameter(net: Network, x: Tensor, y: Tensor, *, seed: int = 0) -> Check:
    """Holds each layer's w, and its b, to differences of the cost along random directions in it alone; prints nothing.

    net of float64, x and y as of `check`. A row says which of the two it is of.
    """
    rng = generator("check", checks.seed(seed))
    gradients = net.gradients(x, y)
    return Check(
        tuple(
            _along_directions(net, x, y, l, gradient, rng, within=name)
            for l, gradient in enumerate(gradients)
            for name in Layer._fields
        )
    )


def _where(wrong: list[int]) -> str:
    """Which layers, in rising order, have wrong gradients, and where to look."""
    if len(wrong) == 1:
        return f"The gradient is wrong in layer {wrong[0]}: look at its activation's derivative, and at BP3 and BP4."
    layers = f"{', '.join(map(str, wrong[:-1]))} and {wrong[-1]}"
    return (
        f"The gradient is wrong in layers {layers}. Begin at layer {wrong[-1]}, the highest: what is wrong there "
        "spoils the layers below."
    )


def path_count(sizes: list[int]) -> int:
    """Paths from each neuron above the inputs to each output, together."""
    return sum(math.prod(sizes[l:]) for l in range(1, len(sizes)))


def path_gradients(net: Network, x: Tensor, y: Tensor) -> list[Layer]:
    """The gradients by the sum over all paths: no error is used below the output layer's own."""
    trace = backprop(net, x, y)
    slopes = [f.derivative(z, a) for f, z, a in zip(net.activations[:-1], trace.z, trace.a[1:], strict=False)]
    gradients = []
    for l in range(len(net.layers)):
        sums = torch.zeros_like(trace.z[l])
        for path in itertools.product(*(range(n) for n in net.sizes[l + 1 :])):
            product = trace.delta[-1][:, path[-1]].clone()
            for step, (j, above) in enumerate(itertools.pairwise(path)):
                product *= net.layers[l + 1 + step].w[above, j] * slopes[l + step][:, j]
            sums[:, path[0]] += product
        gradients.append(Layer(weight_gradient(sums, trace.a[l]), bias_gradient(sums)))
    return gradients


def known_weight(net: Network, l: int, j: int, k: int) -> tuple[int, int, int]:
    """(l, j, k), if there is such a weight w_jk of layer l; else raises ValueError."""
    inside = 0 <= l < len(net.layers) and 0 <= j < net.sizes[l + 1] and 0 <= k < net.sizes[l]
    if not inside:
        raise ValueError(
            f"there is no weight {(l, j, k)} in a network of sizes {net.sizes}: give (layer, j, k) of w_jk"
        )
    return l, j, k


def _drawn(layer: Layer, l: int, rng: torch.Generator) -> list[tuple[int, int, int]]:
    index = torch.randperm(layer.w.numel(), generator=rng, dtype=torch.int64, device="cpu")[:WEIGHTS].tolist()
    return [(l, i // layer.w.shape[1], i % layer.w.shape[1]) for i in index]


def _along_directions(
    net: Network, x: Tensor, y: Tensor, l: int, gradient: Layer, rng: torch.Generator, within: str | None = None
) -> Row:
    """within: "w" or "b", where the directions are to be in one of the two alone."""
    slopes, wanted = [], []
    for _ in range(DIRECTIONS):
        v = Layer(*(torch.randn(t.shape, generator=rng, dtype=t.dtype, device="cpu").to(t.device) for t in gradient))
        if within is not None:
            v = Layer(*(t if name == within else torch.zeros_like(t) for name, t in zip(Layer._fields, v, strict=True)))
        length = math.sqrt(sum(float(t.square().sum()) for t in v))
        v = Layer(v.w / length, v.b / length)
        slopes.append((gradient.w * v.w).sum() + (gradient.b * v.b).sum())
        wanted.append(_difference(net, x, y, l, v))
    against = "differences along random directions" if within is None else f"differences of {within}"
    return Row(l, against, DIRECTIONS, _error(torch.stack(slopes), torch.stack(wanted)))


def _single_weights(net: Network, x: Tensor, y: Tensor, weights: list[tuple[int, int, int]], gradient: Layer) -> Row:
    wanted = []
    for l, j, k in weights:
        v = Layer(torch.zeros_like(gradient.w), torch.zeros_like(gradient.b))
        v.w[j, k] = 1
        wanted.append(_difference(net, x, y, l, v))
    got = torch.stack([gradient.w[j, k] for _, j, k in weights])
    return Row(weights[0][0], "differences for single weights", len(weights), _error(got, torch.stack(wanted)))


def _difference(net: Network, x: Tensor, y: Tensor, l: int, v: Layer) -> Tensor:
    """[C(θ + εv) − C(θ − εv)] / 2ε, for a direction v in the parameters of layer l."""
    costs = []
    for step in (STEP, -STEP):
        layers = list(net.layers)
        layers[l] = Layer(layers[l].w + step * v.w, layers[l].b + step * v.b)
        costs.append(Network(tuple(layers), net.activations, net.cost_function).cost(x, y))
    return (costs[0] - costs[1]) / (2 * STEP)


def _error(got: Tensor, wanted: Tensor) -> float:
    """‖got − wanted‖ / ‖wanted‖; the rounding of a difference, about 1e-11, is not held against a tiny gradient."""
    return ((got - wanted).norm() / wanted.norm().clamp(min=1e-5)).item()

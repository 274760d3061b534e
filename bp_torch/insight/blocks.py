"""The gradients of a block of examples as pairs of vectors, and what follows from these: sums, norms, dot products.

The plain functions that `per_example` is made of; they don't check their arguments.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from bp_torch import checks, sparse
from bp_torch.equations import bias_gradient, weight_gradient
from bp_torch.evaluation import by_rows
from bp_torch.network import Network
from bp_torch.passes import Layered, errors, feed_forward, output_delta
from bp_torch.trace import Layer

Pair = tuple[Tensor, Tensor]
"""A layer's δ (rows, n_out) and the a (rows, n_in) that entered it: all that is kept of a block's gradients."""

Sweep = Callable[..., Iterator[Pair]]

BLOCK_BYTES = {"cpu": 1 << 20, "cuda": 64 << 20}  # about what a core's cache holds, and what fills a GPU


def rows(net: Network, block_size: int | None, *, pairwise: bool = False, sweeps: int = 1) -> int:
    """Examples in a block. sweeps: backward passes held at a time.

    pairwise: every block meets every other, in matrices of block × block. Each such pair costs a sweep, so blocks are
    larger, by eight times the memory.
    """
    if block_size is not None:
        return checks.whole("block_size", block_size, 1)
    like = net.layers[0].w
    memory = max(BLOCK_BYTES[like.device.type], like.element_size() * sum(t.numel() for l in net.layers for t in l))
    numbers = memory * (8 if pairwise else 1) // like.element_size()
    rows = numbers // (net.sizes[0] + 3 * sweeps * sum(net.sizes[1:]))  # a² of the inputs; a, δ and σ′ of each layer
    return max(1, min(rows, math.isqrt(numbers // 3)) if pairwise else rows)


def split(*tensors: Tensor, rows: int) -> Iterator[tuple[Tensor, ...]]:
    """Views of so many rows of each tensor after the other."""
    return zip(*(sparse.split(t, rows) for t in tensors), strict=True)


def gradients(net: Layered, x: Tensor, y: Tensor) -> Iterator[Pair]:
    """(δ, a) of each layer, the last first, for a block of examples."""
    if not y.is_floating_point():
        y = checks.one_hot(y, len(net.layers[-1].b), x.dtype)
    trace = feed_forward(net, x, lean=True)
    for l, delta in errors(net, trace, output_delta(net, trace, y)):
        yield delta, trace.a[l]


def output_gradients(net: Network, x: Tensor) -> Iterator[Pair]:
    """The same for each z_j of the output layer, instead of the cost: δ (rows, n_L n_out) has all j side by side."""
    trace, outputs = feed_forward(net, x, lean=True), net.sizes[-1]
    each = torch.eye(outputs, dtype=x.dtype, device=x.device).unsqueeze(1).expand(outputs, x.shape[0], outputs)
    for l, delta in errors(net, trace, each):
        yield delta.transpose(0, 1).flatten(1), trace.a[l]


def _safe(dtype: torch.dtype) -> float:
    """Numbers between this and its inverse can be squared and summed: nothing overflows, and nothing vanishes."""
    return torch.finfo(dtype).tiny ** 0.4


def _are_safe(norms: Tensor, dtype: torch.dtype) -> bool:
    return bool(_each_safe(norms, dtype).all())


def _each_safe(norms: Tensor, dtype: torch.dtype) -> Tensor:
    return (norms > _safe(dtype)) & (norms < 1 / _safe(dtype))


def norm(t: Tensor) -> Tensor:
    """‖row‖ of each row (…, n), in float64; where a square might overflow or vanish, rows are scaled before."""
    if sparse.is_sparse(t):
        return sparse.row_norms(t)
    norms = torch.linalg.vector_norm(t, dim=-1)
    if _are_safe(norms, t.dtype):
        return norms.double()
    limits = torch.finfo(torch.float64)
    largest = t.abs().amax(-1, keepdim=True).double().clamp_(limits.tiny, limits.max)
    return torch.linalg.vector_norm(t / largest, dim=-1).mul_(largest.squeeze(-1))


def with_bias(norm_of_a: Tensor) -> Tensor:
    """√(‖a‖² + 1): the norm of a and of the 1 that the bias takes in."""
    return torch.hypot(norm_of_a, torch.ones_like(norm_of_a))


def layer_norms(pairs: Iterable[Pair]) -> Tensor:
    """‖δ‖ √(‖a‖² + 1) of each example and layer, (rows, L), the first layer first, in float64."""
    norms = [norm(delta) * with_bias(norm(a)) for delta, a in pairs]
    return torch.stack(norms[::-1], -1)


def squares(net: Layered, x: Tensor, y: Tensor) -> Iterator[Tensor]:
    """‖δ‖² and ‖a‖² of each example (rows,), layer by layer, the last first."""
    for pair in gradients(net, x, y):
        yield from (t.square().sum(-1) for t in pair)


def layer_norms_by_rows(net: Network, x: Tensor, y: Tensor, threads: int) -> Tensor | None:
    """`layer_norms` of many examples, by generated code; None where there can be none.

    A row where a square might have overflowed or vanished is NaN.
    """
    y = y if y.is_floating_point() else checks.one_hot(y, net.sizes[-1], x.dtype)
    found = by_rows(net, "squares", squares, x, y, threads=threads)
    if found is None:
        return None
    norms = [square.double().sqrt() for square in found]
    of_layers = [delta * with_bias(a) for delta, a in zip(norms[::2], norms[1::2], strict=True)]
    sound = _each_safe(torch.stack(norms, -1), x.dtype).all(-1, keepdim=True)
    return torch.where(sound, torch.stack(of_layers[::-1], -1), math.nan)


def joined(norms: Tensor) -> Tensor:
    """The norms (rows,) over all layers."""
    return norm(norms)


def zeros(net: Network) -> list[Layer]:
    """Sums to start from."""
    return [Layer(torch.zeros_like(w), torch.zeros_like(b)) for w, b in net.layers]


def add(sums: list[Layer], pairs: Iterable[Pair]) -> None:
    """Adds the sums over a block's examples, of BP3 and BP4, which give means; the pairs run from the last layer."""
    for (w, b), (delta, a) in zip(reversed(sums), pairs, strict=True):
        w.add_(weight_gradient(delta, a), alpha=len(a))
        b.add_(bias_gradient(delta), alpha=len(a))


def add_squares(sums: list[Layer], pairs: Iterable[Pair]) -> None:
    """Adds the sums of (δ_j a_k)² and δ_j² over a block's examples, scaled before they are squared."""
    for (w, b), (delta, a) in zip(reversed(sums), pairs, strict=True):
        stored = sparse.values(a)
        of_delta, of_a = (_largest(t) for t in (delta, stored))
        delta, a = (delta / of_delta).square(), sparse.with_values(a, (stored / of_a).square())
        scale = of_delta.double() * of_a
        w.add_(weight_gradient(delta, a) * scale * scale, alpha=len(a))
        b.add_(bias_gradient(delta) * of_delta * of_delta, alpha=len(a))


def _largest(t: Tensor) -> Tensor:
    """The largest |t|, 0-D, and above 0."""
    tiny = torch.finfo(t.dtype).tiny
    return t.abs().amax().clamp(min=tiny) if t.numel() else t.new_full((), tiny)


def mean(sums: list[Layer], m: int) -> tuple[Layer, ...]:
    """The sums over m examples as means."""
    return tuple(Layer(w / m, b / m) for w, b in sums)


class Direction(NamedTuple):
    """A layer's gradients of a block over their examples' norms: δ scaled, and a, with the 1 for the bias as `one`."""

    delta: Tensor
    a: Tensor
    one: Tensor


def directions(pairs: Iterable[Pair]) -> tuple[list[Direction], Tensor]:
    """A block's gradients as unit vectors, layer by layer, and their norms (rows,) in float64."""
    pairs = list(pairs)
    sizes = [with_bias(norm(a)) for _, a in pairs]
    norms = joined(torch.stack([norm(delta) * size for (delta, _), size in zip(pairs, sizes, strict=True)], -1))
    inverse = torch.where(norms > 0, norms.reciprocal(), 0)
    result = []
    for (delta, a), size in zip(pairs, sizes, strict=True):
        huge = not bool((size < 1 / _safe(a.dtype)).all())  # then a is scaled too, and δ takes its size over
        scale = (inverse * size if huge else inverse).clamp(max=torch.finfo(a.dtype).max).to(a.dtype)
        one = size.reciprocal().to(a.dtype) if huge else torch.ones_like(delta[:, 0])
        a = sparse.with_values(a, (sparse.values(a) / sparse.of_rows(size, a)).to(a.dtype)) if huge else a
        result.append(Direction(delta * scale.unsqueeze(-1), a, one))
    return result, norms


def dot_products(
    sweep: Sweep,
    block: tuple[Tensor, ...],
    others: Iterable[tuple[Tensor, ...]],
    cosine: bool = False,
) -> Iterator[Tensor]:
    """The dot products (rows, rows′) of a block's gradients with those of one block of others after the other.

    They are cosines times norms, so that a tiny or a huge gradient loses nothing on the way.
    """
    mine, norms = directions(sweep(*block))
    for other in others:
        theirs, their_norms = directions(sweep(*other))
        terms = (
            sparse.products(p.a, q.a).addr_(p.one, q.one).mul_(p.delta @ q.delta.mT)
            for p, q in zip(mine, theirs, strict=True)
        )
        cosines = reduce(Tensor.add_, terms)
        if cosine:
            yield cosines.clamp_(-1, 1)
            continue
        both = norms, their_norms
        if all(_are_safe(each, cosines.dtype) for each in both):  # else the products are taken in float64
            both = tuple(each.to(cosines.dtype) for each in both)
        yield cosines.mul_(both[0].unsqueeze(-1)).mul_(both[1])


def matrix(
    sweep: Sweep,
    first: tuple[Tensor, ...],
    second: tuple[Tensor, ...],
    rows: int,
    cosine: bool = False,
) -> Tensor:
    """`dot_products` of all blocks of the first set with all of the second."""
    like = first[0]
    products = torch.empty(len(like), len(second[0]), dtype=like.dtype, device=like.device)
    for block, of_block in zip(split(*first, rows=rows), products.split(rows), strict=True):
        of_blocks = dot_products(sweep, block, split(*second, rows=rows), cosine)
        for some, part in zip(of_blocks, of_block.split(rows, 1), strict=True):
            part.copy_(some)
    return products

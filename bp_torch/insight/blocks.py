"""The gradients of a block of examples as pairs of vectors, and what follows from these: sums, norms, dot products.

The plain functions that `per_example` is made of; they don't check their arguments.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial, reduce

import torch
from torch import Tensor

from bp_torch import checks
from bp_torch.equations import bias_gradient, weight_gradient
from bp_torch.network import Layer, Network, errors, feed_forward, output_delta

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
    return zip(*(t.split(rows) for t in tensors), strict=True)


def gradients(net: Network, x: Tensor, y: Tensor) -> Iterator[Pair]:
    """(δ, a) of each layer, the last first, for a block of examples."""
    if not y.is_floating_point():
        y = checks.one_hot(y, net.sizes[-1], x.dtype)
    trace = feed_forward(net, x, lean=True)
    for l, delta in errors(net, trace, output_delta(net, trace, y)):
        yield delta, trace.a[l]


def output_gradients(net: Network, x: Tensor) -> Iterator[Pair]:
    """The same for each z_j of the output layer, instead of the cost: δ (rows, n_L n_out) has all j side by side."""
    trace, outputs = feed_forward(net, x, lean=True), net.sizes[-1]
    each = torch.eye(outputs, dtype=x.dtype, device=x.device).unsqueeze(1).expand(outputs, x.shape[0], outputs)
    for l, delta in errors(net, trace, each):
        yield delta.transpose(0, 1).flatten(1), trace.a[l]


def layer_norms(pairs: Iterable[Pair]) -> Tensor:
    """‖δ‖ √(‖a‖² + 1) of each example and layer, (rows, L), the first layer first."""
    norm = partial(torch.linalg.vector_norm, dim=-1)
    norms = [norm(delta) * norm(a).square().add(1).sqrt() for delta, a in pairs]
    return torch.stack(norms[::-1], -1)


def joined(norms: Tensor) -> Tensor:
    """The norms (rows,) over all layers."""
    return torch.linalg.vector_norm(norms, dim=-1)


def zeros(net: Network) -> list[Layer]:
    """Sums to start from."""
    return [Layer(torch.zeros_like(w), torch.zeros_like(b)) for w, b in net.layers]


def add(sums: list[Layer], pairs: Iterable[Pair]) -> None:
    """Adds the sums over a block's examples, of BP3 and BP4, which give means; the pairs run from the last layer."""
    for (w, b), (delta, a) in zip(reversed(sums), pairs, strict=True):
        w.add_(weight_gradient(delta, a), alpha=len(a))
        b.add_(bias_gradient(delta), alpha=len(a))


def mean(sums: list[Layer], m: int) -> tuple[Layer, ...]:
    """The sums over m examples as means."""
    return tuple(Layer(w / m, b / m) for w, b in sums)


def dot_products(
    sweep: Sweep,
    block: tuple[Tensor, ...],
    others: Iterable[tuple[Tensor, ...]],
    cosine: bool = False,
) -> Iterator[Tensor]:
    """The dot products (rows, rows′) of a block's gradients with those of one block of others after the other."""
    mine = list(sweep(*block))
    for other in others:
        theirs = list(sweep(*other))
        terms = ((a @ b.mT).add_(1).mul_(d @ e.mT) for (d, a), (e, b) in zip(mine, theirs, strict=True))
        dots = reduce(Tensor.add_, terms)
        if cosine:
            for norms in (joined(layer_norms(mine)).unsqueeze(-1), joined(layer_norms(theirs))):
                dots.div_(norms.clamp(min=torch.finfo(norms.dtype).tiny))
        yield dots


def matrix(
    sweep: Sweep,
    first: tuple[Tensor, ...],
    second: tuple[Tensor, ...],
    rows: int,
    cosine: bool = False,
) -> Tensor:
    """`dot_products` of all blocks of the first set with all of the second."""
    products = first[0].new_empty(first[0].shape[0], second[0].shape[0])
    for block, of_block in zip(split(*first, rows=rows), products.split(rows), strict=True):
        of_blocks = dot_products(sweep, block, split(*second, rows=rows), cosine)
        for some, part in zip(of_blocks, of_block.split(rows, 1), strict=True):
            part.copy_(some)
    return products

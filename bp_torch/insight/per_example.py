"""What each example's own gradient says, without N × parameters ever being in memory.

Example x has the gradient ∂C_x/∂w = δ_x a_xᵀ, ∂C_x/∂b = δ_x in each layer: a product of two vectors, so that its norm,
its square and its dot product with another example's follow from δ and a alone. One forward and one backward pass over
all examples give these; the examples go through in blocks of rows, so memory does not grow with their number.

All functions take one network (not a stack) of float32 or float64 with any activations and cost, x (m, n_0), which may
be sparse, and y class indices (m,) or a matrix (m, n_L); `Examples` is such a pair (x, y). block_size is the number of
examples that are worked on at a time; left out, a block takes about as much memory as the parameters do, or 1 MiB (64
MiB on a GPU) if that is more, and eight times as much where every example meets every other. Wrong shapes, dtypes,
devices, labels and numbers raise ValueError before any work starts.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from bp_torch import checks, given
from bp_torch.evaluation import MANY
from bp_torch.given import Given
from bp_torch.insight import blocks
from bp_torch.network import Network, examples_of, pair_of_tensors
from bp_torch.passes import multiplications, multiplications_of
from bp_torch.threads import A_STEP, by_size, fitting
from bp_torch.trace import Layer

__all__ = [
    "NoiseScale",
    "clipped_sum",
    "gradient_norms",
    "gram",
    "influence",
    "noise_scale",
    "ntk",
    "second_moment",
    "top_influences",
]


def __dir__() -> list[str]:
    """What Tab shows: no names that are imported."""
    return __all__


Examples = tuple[Given, Given]

SIMILARITIES = ("dot", "cosine")

PASSES = 2  # over the layers, forward and backward
ROWS = 8_000  # at a time through generated code

TOO_EARLY = 5  # a noise scale below which no batch size is advised


class NoiseScale(NamedTuple):
    """The gradient noise scale, the batch size it advises, and what they were estimated from; `str` is the advice.

    noise_scale: tr Σ / |G|², in examples; NaN where |G|² is not resolved. batch_size: the advice; None then, and for a
    scale below 5, as a network that has hardly trained has it.
    gradient_square: the unbiased estimate of |G|², G the gradient over the whole distribution; it may be ≤ 0.
    variance: that of tr Σ, the variance of one example's gradient, summed over the parameters.
    """

    noise_scale: float
    batch_size: int | None
    gradient_square: float
    variance: float
    examples: int

    def __str__(self) -> str:
        if self.noise_scale < TOO_EARLY:
            return (
                f"Noise scale {self.noise_scale:,.2g}, from {self.examples:,} examples: too early for advice. The "
                "examples still agree on where to go, as in a network that has hardly trained: ask again later."
            )
        if self.batch_size is None:
            return (
                f"Not resolved: over these {self.examples:,} examples the mean gradient can't be told from noise, "
                "so no batch size is advised; more examples may resolve it."
            )
        advice = (
            f"Noise scale {self.noise_scale:,.4g}, from {self.examples:,} examples: batches of about "
            f"{self.batch_size:,} are advised; far smaller ones take more steps in proportion, far larger save few."
        )
        if self.noise_scale > self.examples:
            advice += " It exceeds the number of examples, so it is a rough figure: give more of them."
        return advice


class Influential(NamedTuple):
    """The k most similar training examples of each test example: similarities and row numbers, both (m_test, k)."""

    values: Tensor
    indices: Tensor


def _in_a_block(net: Network, x: object = None, *_: object, block_size: object = None, **__: object) -> int:
    """Multiplications of a forward pass in each block, of what a function below was given."""
    rows = block_size if isinstance(block_size, int) else blocks.rows(net, None)
    shape = given.shape(x)
    of_block = multiplications_of(net, (min(rows, shape[0]), shape[1]) if len(shape) == 2 else ())
    return min(of_block, multiplications(net, x))  # fewer of a sparse x


def _in_a_pair_of_blocks(net: Network, *pairs: object, block_size: object = None, **named: object) -> int:
    """Multiplications where a block meets another, roughly: each example of the one meets each of the other."""
    most = block_size if isinstance(block_size, int) else blocks.rows(net, None, pairwise=True)
    flat = [t for each in (*pairs, *named.values()) for t in (each if isinstance(each, (tuple, list)) else [each])]
    rows = [min(most, shape[0]) for shape in map(given.shape, flat) if shape[1:] == (net.sizes[0],)]
    return max(rows, default=0) * min(rows, default=0) * sum(net.sizes)


@torch.no_grad()
def gradient_norms(
    net: Network, x: Given, y: Given, *, by_layer: bool = False, block_size: int | None = None
) -> Tensor:
    """‖∇C_x‖ of each example over all parameters (m,); by_layer: over each layer's own, (m, L).

    ‖∇C_x‖² = Σ_l ‖δ_x‖² (‖a_x‖² + 1), the 1 for the bias. Source: I. Goodfellow, "Efficient Per-Example Gradient
    Computations" (2015). Without a block_size, many examples go through generated code, as in `net.predict`.
    """
    x, y = _checked(net, x, y)
    result = net.layers[0].w.new_empty((len(x), len(net.layers)) if by_layer else len(x))
    work = PASSES * multiplications(net, x)
    if block_size is not None or work < MANY or not _many_norms(net, x, y, result, fitting(work)):
        _norms(net, x, y, result, block_size=block_size)
    return result


@by_size(_in_a_block, A_STEP)
def _many_norms(net: Network, x: Tensor, y: Tensor, result: Tensor, threads: int) -> bool:
    """The norms into `result`, by generated code; whether they are there."""
    parts = -(-len(x) // ROWS)
    for of_x, of_y, part in zip(*(t.tensor_split(parts) for t in (x, y, result)), strict=True):
        norms = blocks.layer_norms_by_rows(net, of_x, of_y, threads)
        if norms is None:
            return False
        part.copy_(norms if result.ndim == 2 else blocks.joined(norms))
        again = norms.isnan().any(-1).nonzero().squeeze(-1)
        if len(again):
            part[again] = _norms(net, of_x[again], of_y[again], part[again])
    return True


@by_size(_in_a_block, A_STEP)
def _norms(net: Network, x: Tensor, y: Tensor, result: Tensor, block_size: int | None = None) -> Tensor:
    """The same block by block."""
    rows = blocks.rows(net, block_size)
    for block, part in zip(blocks.split(x, y, rows=rows), result.split(rows), strict=True):
        norms = blocks.layer_norms(blocks.gradients(net, *block))
        part.copy_(norms if result.ndim == 2 else blocks.joined(norms))
    return result


@torch.no_grad()
@by_size(_in_a_block, A_STEP)
def clipped_sum(
    net: Network, x: Given, y: Given, max_norm: float, *, block_size: int | None = None
) -> tuple[Layer, ...]:
    """Σ_x min(1, max_norm / ‖∇C_x‖) ∇C_x, in the shape of `net.layers`: the sum of the clipped gradients, not the mean.

    Each row of δ is scaled before BP3 and BP4 sum it. Source: M. Abadi et al., "Deep Learning with Differential
    Privacy" (2016), algorithm 1, before the noise.
    """
    x, y = _checked(net, x, y)
    max_norm = checks.positive("max_norm", max_norm)
    sums = blocks.zeros(net)
    for block in blocks.split(x, y, rows=blocks.rows(net, block_size)):
        pairs = list(blocks.gradients(net, *block))
        scale = (max_norm / blocks.joined(blocks.layer_norms(pairs))).clamp(max=1).unsqueeze(-1)
        blocks.add(sums, [((delta * scale).to(a.dtype), a) for delta, a in pairs])
    return tuple(sums)


@torch.no_grad()
@by_size(_in_a_block, A_STEP)
def second_moment(net: Network, x: Given, y: Given, *, block_size: int | None = None) -> tuple[Layer, ...]:
    """The mean over the examples of (∂C_x/∂w)² and (∂C_x/∂b)², elementwise, in the shape of `net.layers`.

    (δ_j a_k)² = δ_j² a_k²: BP3 and BP4 of the squares. For a cost that is −ln p(y | x), as the cross-entropies are, it
    is the diagonal of the empirical Fisher matrix, which has the gradients at the targets given (F. Kunstner et al.,
    "Limitations of the empirical Fisher approximation", 2019).
    """
    x, y = _checked(net, x, y)
    sums = blocks.zeros(net)
    for block in blocks.split(x, y, rows=blocks.rows(net, block_size)):
        blocks.add_squares(sums, blocks.gradients(net, *block))
    return blocks.mean(sums, x.shape[0])


@torch.no_grad()
@by_size(_in_a_block, A_STEP)
def noise_scale(net: Network, x: Given, y: Given, *, block_size: int | None = None) -> NoiseScale:
    """The gradient noise scale B = tr Σ / |G|², and the batch size it advises: B, where noise equals gradient.

    With batches of B, training takes about twice the steps that huge batches need, and twice the examples that tiny
    ones need; far below B steps grow in proportion, far above they hardly fall. Of m ≥ 2 examples, with ḡ
    their mean gradient: tr Σ ≈ m/(m−1) (mean ‖∇C_x‖² − ‖ḡ‖²) and |G|² ≈ ‖ḡ‖² − tr Σ/m, both unbiased. Where the latter
    comes out ≤ 0, the examples are too few to say, and so says the result. Curvature is left out: it is the "simple"
    scale of S. McCandlish et al., "An Empirical Model of Large-Batch Training" (2018), section 2.2 and appendix A.1,
    with single examples as the small batch and all m as the big one.
    """
    x, y = _checked(net, x, y)
    m = x.shape[0]
    if m < 2:
        raise ValueError("the noise scale is of the differences between examples: give at least two")
    sums, squares = blocks.zeros(net), 0.0
    for block in blocks.split(x, y, rows=blocks.rows(net, block_size)):
        pairs = list(blocks.gradients(net, *block))
        squares += float(blocks.layer_norms(pairs).square().sum())
        blocks.add(sums, pairs)
    of_mean = sum(float(t.double().square().sum()) for layer in blocks.mean(sums, m) for t in layer)
    variance = max(0.0, (squares / m - of_mean) * m / (m - 1))  # rounding may take equal gradients below 0
    gradient_square = of_mean - variance / m
    if not gradient_square > 10 * torch.finfo(x.dtype).eps * of_mean:  # ≤ 0, or the rounding of a difference of equals
        return NoiseScale(math.nan, None, gradient_square, variance, m)
    scale = variance / gradient_square
    return NoiseScale(scale, None if scale < TOO_EARLY else round(scale), gradient_square, variance, m)


@torch.no_grad()
@by_size(_in_a_pair_of_blocks)
def gram(net: Network, x: Given, y: Given, other: Examples | None = None, *, block_size: int | None = None) -> Tensor:
    """The Gram matrix of the gradients, ∇C_x · ∇C_x′: (m, m), or (m, m′) against the examples of `other`.

    K = Σ_l (δδ′ᵀ) ⊙ (aa′ᵀ + 1): products of rows stand for those of gradients.
    """
    x, y = _checked(net, x, y)
    against = (x, y) if other is None else _checked_pair(net, "other", other)
    rows = blocks.rows(net, block_size, pairwise=True)
    return blocks.matrix(partial(blocks.gradients, net), (x, y), against, rows)


@torch.no_grad()
@by_size(_in_a_pair_of_blocks)
def ntk(net: Network, x: Given, other: Given | None = None, *, block_size: int | None = None) -> Tensor:
    """The empirical neural tangent kernel of the outputs' weighted inputs zᴸ: (m, m), or (m, m′) against `other`.

    Θ(x, x′) = Σ_j ∇z_j(x) · ∇z_j(x′), over the n_L outputs j and all parameters: the trace, not the mean, of the
    n_L × n_L kernel. The gradients are those of zᴸ, before the output activation, so the sweep of output j starts from
    δᴸ = e_j, and neither targets nor cost play a part. Source: A. Jacot et al., "Neural Tangent Kernel" (2018).
    """
    x = _checked_examples(net, x)
    against = x if other is None else _checked_examples(net, other)
    rows = blocks.rows(net, block_size, pairwise=True, sweeps=net.sizes[-1])
    return blocks.matrix(partial(blocks.output_gradients, net), (x,), (against,), rows)


@torch.no_grad()
@by_size(_in_a_pair_of_blocks)
def influence(
    net: Network, train: Examples, test: Examples, *, similarity: str = "dot", block_size: int | None = None
) -> Tensor:
    """How a step on each training example would lower each test example's cost, (m_test, m_train), to first order.

    "dot": ∇C_test · ∇C_train. A step of rate η on the training example alone lowers the test example's cost by η times
    this: above 0 it helps, below 0 it harms. Source: G. Pruthi et al., "Estimating Training Data Influence by Tracing
    Gradient Descent" (2020): TracIn, of one checkpoint and without its η. "cosine": the same over both norms, so that
    examples of large gradients don't win everywhere; 0 where a gradient is 0.
    """
    of_train, of_test, rows, cosine = _influence_checked(net, train, test, similarity, block_size)
    return blocks.matrix(partial(blocks.gradients, net), of_test, of_train, rows, cosine)


@torch.no_grad()
@by_size(_in_a_pair_of_blocks)
def top_influences(
    net: Network, train: Examples, test: Examples, k: int, *, similarity: str = "dot", block_size: int | None = None
) -> Influential:
    """The k training examples of largest `influence` on each test example, the largest first, equal ones in any order.

    The whole matrix never exists. Raises ValueError for a k above m_train.
    """
    of_train, of_test, rows, cosine = _influence_checked(net, train, test, similarity, block_size)
    if checks.whole("k", k, 1) > of_train[0].shape[0]:
        raise ValueError(f"k must be at most {of_train[0].shape[0]}, the number of training examples, not {k}")
    blocks_of_best = []
    for block in blocks.split(*of_test, rows=rows):
        best = Influential(
            net.layers[0].w.new_empty(block[0].shape[0], 0),
            torch.empty(block[0].shape[0], 0, dtype=torch.int64, device=of_test[0].device),
        )
        done = 0
        for of_block in blocks.dot_products(
            partial(blocks.gradients, net), block, blocks.split(*of_train, rows=rows), cosine
        ):
            number = torch.arange(done, done + of_block.shape[1], dtype=torch.int64, device=of_block.device).expand_as(
                of_block
            )
            values, indices = torch.cat([best.values, of_block], 1), torch.cat([best.indices, number], 1)
            top = values.topk(min(k, values.shape[1]), dim=1)
            best = Influential(top.values, indices.gather(1, top.indices))
            done += of_block.shape[1]
        blocks_of_best.append(best)
    return Influential(
        torch.cat([best.values for best in blocks_of_best]), torch.cat([best.indices for best in blocks_of_best])
    )


def _checked_examples(net: Network, x: Given) -> Tensor:
    w = net.layers[0].w
    if w.ndim != 2:
        raise ValueError("per-example quantities are of one network at a time, not of a stack")
    if w.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"per-example quantities need float32 or float64, not {w.dtype}: use net.to(torch.float32)")
    rows = examples_of(net, x)
    if rows.ndim != 2:
        raise ValueError(f"x must have the shape (m, {net.sizes[0]}), one example a row, not {tuple(rows.shape)}")
    return rows


def _checked(net: Network, x: Given, y: Given) -> tuple[Tensor, Tensor]:
    return pair_of_tensors(net, _checked_examples(net, x), y)


def _checked_pair(net: Network, name: str, examples: Examples) -> tuple[Tensor, Tensor]:
    if not isinstance(examples, Sequence) or len(examples) != 2:
        raise ValueError(f"{name} must be a pair of examples and their targets, (x, y)")
    return _checked(net, *examples)


def _influence_checked(
    net: Network, train: Examples, test: Examples, similarity: str, block_size: int | None
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], int, bool]:
    """Both pairs, the rows of a block, and whether cosines are asked for."""
    of_train, of_test = _checked_pair(net, "train", train), _checked_pair(net, "test", test)
    cosine = checks.one_of("similarity", similarity, SIMILARITIES) == "cosine"
    return of_train, of_test, blocks.rows(net, block_size, pairwise=True), cosine

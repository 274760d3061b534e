"""Clipping of gradients: by the norm of all of them together, and each value by itself.

The norm can be had without a gradient. Since ∂C/∂w = Σ_x δ_x a_xᵀ and ∂C/∂b = Σ_x δ_x,
‖∂C/∂w‖² + ‖∂C/∂b‖² = Σ_xx′ (δ_x · δ_x′)(a_x · a_x′ + 1): the entries of (δδᵀ) ⊙ (aaᵀ + 1), summed. For m examples that
takes m² (n_in + n_out) multiplications, and no memory of the size of w. Here δ holds the factor 1/m. The sum is rounded
as its terms are: a norm far below those of the single examples is not resolved.

Source of the clipping: R. Pascanu et al., "On the difficulty of training Recurrent Neural Networks" (2013), 3.2.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from torch import Tensor

from bp_torch import sparse
from bp_torch.wide import widened

EPSILON = 1e-6  # that torch.nn.utils.clip_grad_norm_ adds to the norm
MULTIPLICATIONS_A_WEIGHT = 24  # what a pass over a gradient costs, in multiplications of a product, as measured


def pays(sizes: Sequence[int], m: int, width: int | None = None) -> bool:
    """Whether the norm is cheaper by the errors of m examples than by the gradients.

    width: how many values a row of x stores, if not all.
    """
    pairs = list(pairwise(sizes))
    weights = sum(n_in * n_out for n_in, n_out in pairs)
    entering = sum(sizes[:-1]) if width is None else width + sum(sizes[1:-1])
    return m * m * (entering + sum(sizes[1:])) <= MULTIPLICATIONS_A_WEIGHT * weights


def square_by_errors(delta: Tensor, a: Tensor) -> Tensor:
    """‖∂C/∂w‖² + ‖∂C/∂b‖² of a layer, (1,). delta (m, n_out), a (m, n_in): what entered the layer."""
    delta, a = widened(delta), widened(a)
    return _total((delta @ delta.mT) * (sparse.products(a, a) + 1))


def square(w: Tensor, b: Tensor) -> Tensor:
    """‖∂C/∂w‖² + ‖∂C/∂b‖² of a layer's gradients w (n_out, n_in) and b (n_out,), (1,)."""
    w, b = widened(w), widened(b)
    return _total(w * w) + (b * b).sum(-1, keepdim=True)


def _total(entries: Tensor) -> Tensor:
    return entries.sum(-1).sum(-1, keepdim=True)


def shrinkage(squares: Iterable[Tensor], most: Tensor) -> Tensor:
    """What all gradients are multiplied by, so that their norm is at most about `most`: as torch's clip_grad_norm_.

    squares: those of each layer. most: 0-D.
    """
    total, *others = squares
    for each in others:
        total = total + each
    norm = total.clamp(min=0).sqrt()  # gradients that cancel can leave a square just below 0, by rounding
    return (most / (norm + EPSILON)).clamp(max=1)


def clipped(g: Tensor, most: Tensor) -> Tensor:
    """Each value of g between −most and most, as torch.nn.utils.clip_grad_value_."""
    return g.maximum(-most).minimum(most)

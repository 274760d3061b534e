"""What a cost is given for large weights, and its gradient side by side: the book's L2 and L1, of w and never of b.

Source: M. Nielsen, *Neural Networks and Deep Learning* (2015), chapter 3, "Overfitting and regularization". n is the
number of training examples. In plain gradient descent L2 is w ← (1 − ηλ/n) w − η ∂C₀/∂w.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from bp_torch import many
from bp_torch.wide import widened


def penalty(ws: Iterable[Tensor], l2: float, l1: float) -> float:
    """(λ₂/2n) Σ w² + (λ₁/n) Σ |w| over all weights, in float64. l2, l1: λ₂/n and λ₁/n."""
    if not l2 and not l1:
        return 0.0
    ws = [widened(w) for w in ws]
    parts = []
    if l2:
        parts.append(l2 / 2 * many.norms(ws, 2, torch.float64).square().sum())
    if l1:
        parts.append(l1 * many.norms(ws, 1, torch.float64).sum())
    return sum(parts[1:], parts[0]).item()  # the host waits for a device once


def with_penalty(w: Tensor, g: Tensor, l2: Tensor | None, l1: Tensor | None) -> Tensor:
    """The gradient g of the cost in w with that of the penalty: g + (λ₂/n) w + (λ₁/n) sign(w), like w.

    l2, l1: λ₂/n and λ₁/n, 0-D; None: there is none. sign(0) is 0, as in the book.
    """
    if l2 is not None:
        g = g + l2 * w
    return g if l1 is None else g + l1 * w.sign()


def within_norm(w: Tensor, most: Tensor) -> Tensor:
    """w (…, n_out, n_in) with the weights that enter each neuron scaled down to a norm of `most`, where it is larger.

    Source: N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting" (2014), 5.1.
    """
    wide = widened(w)
    norm = (wide * wide).sum(-1, keepdim=True).sqrt()
    return (wide * (most / norm).clamp(max=1)).to(w.dtype)

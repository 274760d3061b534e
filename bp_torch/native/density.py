"""How many of the inputs are not 0: what skipping zeros can save, which zeros.h does for a few examples at a time."""

import torch
from torch import Tensor

LEAST = 64  # inputs from which on zeros are skipped
MOST = 0.75  # of the inputs of a few examples, the share that may be active
TOGETHER = 5  # examples that are multiplied at once, on the widest of CPUs
LOOKED_AT = 200  # examples


def active_share(x: Tensor) -> float:
    """The share of the inputs that one at least of `TOGETHER` examples of x (m, n) has, by a look at some of them."""
    rows = some(len(x), LOOKED_AT)
    whole = rows[: len(rows) // TOGETHER * TOGETHER] if len(rows) >= TOGETHER else rows
    together = (x[whole] != 0).view(-1, min(TOGETHER, len(whole)), x.shape[1]).any(1)
    return together.double().mean().item()


def is_sparse_enough(x: Tensor, most: float = MOST) -> bool:
    """Whether a product with x takes less time without its zeros."""
    return x.shape[1] >= LEAST and active_share(x) <= most


def some(m: int, most: int) -> Tensor:
    """The numbers of some of m examples, spread evenly."""
    return torch.linspace(0, m - 1, min(m, most), dtype=torch.float64, device="cpu").long()

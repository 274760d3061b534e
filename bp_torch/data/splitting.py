"""Which examples are set apart: about the same share of every class."""

import torch
from torch import Tensor


def set_apart(y: Tensor, classes: bool, order: Tensor, share: int) -> Tensor:
    """Which examples are the part (m,), bool: one in so many (`share`) of an order (m,), within each class if any.

    y: class indices (m,), or values. Each class has an example among the others; one is set apart if any class has two.
    """
    apart = torch.zeros(len(y), dtype=torch.bool, device="cpu")
    if not classes:
        apart[order[share // 2 :: share]] = True
        return apart
    order = order[y[order].argsort(stable=True)]
    spared = y.bincount()[y] > 1
    apart[order[share // 2 :: share]] = True
    apart &= spared
    if not apart.any():
        apart[order[spared[order]][:1]] = True
    return apart

"""Several tensors by one call of torch: for small ones, the calls are what takes time."""

from collections.abc import Sequence

import torch
from torch import Tensor


def copy(into: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Copies each of the values into the tensor of its place."""
    if into:
        torch._foreach_copy_(list(into), list(values))  # pyright: ignore[reportPrivateImportUsage]


def norms(tensors: Sequence[Tensor], order: int = 2, dtype: torch.dtype | None = None) -> Tensor:
    """The norm of each tensor, Σ |w| for order 1, √Σ w² for order 2, summed in this dtype: (tensors,)."""
    return torch.stack(torch._foreach_norm(list(tensors), order, dtype))  # pyright: ignore[reportPrivateImportUsage]

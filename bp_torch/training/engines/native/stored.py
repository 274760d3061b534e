"""Sparse examples, as the printed step takes them: see stored.h."""

import ctypes
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Stored(NamedTuple):
    """The bounds, columns and values of a sparse x, where they lie, and room for those of a batch.

    rows, turned: of as many numbers as a batch stores.
    """

    bounds: Tensor
    columns: Tensor
    values: Tensor
    rows: Tensor
    turned: Tensor

    @property
    def addresses(self) -> Any:
        return (ctypes.c_void_p * len(self))(*(t.data_ptr() for t in self))


def stored(x: Tensor, order: Tensor, batch_size: int) -> Stored:
    """The sparse x (m, n_0), to be trained on in batches of this order."""
    bounds, columns, values = x.crow_indices().contiguous(), x.col_indices().contiguous(), x.values()
    ends = torch.cat([order.new_zeros(1), bounds.diff()[order].cumsum(0, dtype=torch.int64)])
    most = int(torch.cat([ends[::batch_size], ends[-1:]]).diff().max())
    room = torch.empty(most, dtype=torch.int32, device="cpu"), torch.empty(most, dtype=x.dtype, device="cpu")
    return Stored(bounds, columns, values.resolve_neg().contiguous(), *room)

"""Parameters as printed code has them: rows of whole, aligned vectors, with zeros behind their columns."""

import torch
from torch import Tensor

ALIGNMENT = 64  # bytes: the widest vector, and the alignment of torch's own memory on the CPU


def is_padded(tensor: Tensor) -> bool:
    """Whether a parameter lies in memory as `padded` has it, so that printed code may take it as it is."""
    whole = tensor.shape[-1] * tensor.element_size() % ALIGNMENT == 0
    return whole and tensor.is_contiguous() and tensor.data_ptr() % ALIGNMENT == 0


def width(columns: int, dtype: torch.dtype) -> int:
    """How many elements a padded row of so many columns has."""
    line = ALIGNMENT // dtype.itemsize
    return -(-columns // line) * line


def padded(tensor: Tensor) -> Tensor:
    """Memory for a parameter with rows of whole, aligned vectors; beyond its columns stay zeros."""
    columns = width(tensor.shape[-1], tensor.dtype)
    return torch.zeros((*tensor.shape[:-1], columns), dtype=tensor.dtype, device="cpu")


def columns(padded: Tensor, like: Tensor) -> Tensor:
    """The part of the memory that is the parameter's own."""
    return padded[..., : like.shape[-1]]

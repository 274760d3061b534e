"""Layers that lie in one vector, w and b of each in turn: a rule can then change them all at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from bp_torch.trace import Layer


def layers_in(vector: Tensor, like: Sequence[Layer]) -> tuple[Layer, ...]:
    """The parts of a vector (count,) in the shapes of these layers."""
    parts = iter(vector.split([t.numel() for layer in like for t in layer]))
    return tuple(Layer(*(next(parts).view(t.shape) for t in layer)) for layer in like)


def vector_of(layers: Sequence[Layer]) -> Tensor | None:
    """The vector (count,) that the layers lie in; None where they don't."""
    tensors = [t for layer in layers for t in layer]
    first, count = tensors[0], 0
    for t in tensors:
        behind = t.storage_offset() == first.storage_offset() + count and t.is_contiguous()
        if not behind or t.untyped_storage()._cdata != first.untyped_storage()._cdata:
            return None
        count += t.numel()
    return torch.as_strided(first, (count,), (1,))

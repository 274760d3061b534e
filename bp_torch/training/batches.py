"""Mini-batches of a data set that lies whole on the device."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from bp_torch.randomness import generator

CHUNK_BYTES = 2 << 20  # one gather fills about this much: large enough to be rare, small enough to stay in the cache


class Chunk(NamedTuple):
    """Consecutive mini-batches, gathered at once: their targets y (rows, n_L), and each one's (x, y) and size."""

    y: Tensor
    batches: list[tuple[Tensor, Tensor, int]]


def shuffled(m: int, seed: int, epoch: int) -> Tensor:
    """The order (m,) of the examples in an epoch; it depends on seed and epoch alone, and is drawn on the CPU."""
    return torch.randperm(m, generator=generator("shuffle", seed, epoch))


def chunks(x: Tensor, y: Tensor, order: Tensor, batch_size: int) -> Iterator[Chunk]:
    """The examples in the given order, in mini-batches of batch_size; the last one holds what is left over."""
    batches = max(1, CHUNK_BYTES // (batch_size * x[0].nbytes))
    for index in order.to(x.device).split(batches * batch_size):
        chunk_x, chunk_y = x.index_select(0, index), y.index_select(0, index)
        sizes = [min(batch_size, len(index) - start) for start in range(0, len(index), batch_size)]
        split = zip(chunk_x.split(batch_size), chunk_y.split(batch_size), sizes, strict=True)
        yield Chunk(chunk_y, list(split))

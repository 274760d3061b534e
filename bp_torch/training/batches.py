"""Mini-batches of a data set that lies whole on the device."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from bp_torch import sparse
from bp_torch.randomness import generator
from bp_torch.recipe import Order
from bp_torch.training.step import Batch

CHUNK_BYTES = 2 << 20  # one gather fills about this much: large enough to be rare, small enough to stay in the cache


class Chunk(NamedTuple):
    """Consecutive mini-batches, gathered at once; the targets y (rows, n_L) of them all, and the weights, if any."""

    y: Tensor
    weights: Tensor | None
    batches: list[Batch]


def shuffled(m: int, seed: int, epoch: int) -> Tensor:
    """The order (m,) of the examples in an epoch; it depends on seed and epoch alone, and is drawn on the CPU."""
    return torch.randperm(m, generator=generator("shuffle", seed, epoch), dtype=torch.int64, device="cpu")


def order_of(shuffle: bool | Order, m: int, seed: int, epoch: int) -> Tensor:
    """The order (m,) of the examples in an epoch, int64, on the CPU, as a recipe's `shuffle` has it.

    Raises ValueError where a function does not give so many indices.
    """
    if shuffle is True:
        return shuffled(m, seed, epoch)
    if not shuffle:
        return torch.arange(m, dtype=torch.int64, device="cpu")
    order = torch.as_tensor(shuffle(epoch, m), dtype=torch.int64, device="cpu")
    low, high = map(int, order.aminmax())
    if order.shape != (m,) or low < 0 or high >= m:
        raise ValueError(f"shuffle must give {m} indices from 0 to {m - 1}, and for epoch {epoch} it does not")
    return order


def batch_sizes(m: int, batch_size: int) -> Tensor:
    """How many examples each batch of an epoch holds (batches,), int64; the last one holds what is left over."""
    sizes = torch.full((-(-m // batch_size),), batch_size, dtype=torch.int64, device="cpu")
    sizes[-1] = m - batch_size * (len(sizes) - 1)
    return sizes


def chunks(x: Tensor, y: Tensor, order: Tensor, batch_size: int, weights: Tensor | None = None) -> Iterator[Chunk]:
    """The examples in the given order, in mini-batches of batch_size; the last one holds what is left over.

    weights: the examples' (m,), if they have any.
    """
    ones = y.new_ones(batch_size)
    batches = max(1, CHUNK_BYTES // (batch_size * sparse.row_bytes(x)))
    order = order.to(x.device)
    for index in order.split(batches * batch_size) if len(order) > batches * batch_size else [order]:
        rows, targets = sparse.pick(x, index), y.index_select(0, index)
        of_chunk = None if weights is None else weights.index_select(0, index)
        if len(index) <= batch_size:
            yield Chunk(targets, of_chunk, [Batch(rows, targets, ones[: len(index)], of_chunk)])
            continue
        split = zip(sparse.split(rows, batch_size), targets.split(batch_size), strict=True)
        batches_of_chunk = [Batch(*pair, ones) for pair in split]
        short = len(index) % batch_size
        if short:
            batches_of_chunk[-1] = batches_of_chunk[-1]._replace(ones=ones[:short])
        if of_chunk is not None:
            parts = of_chunk.split(batch_size)
            batches_of_chunk = [each._replace(weights=w) for each, w in zip(batches_of_chunk, parts, strict=True)]
        yield Chunk(targets, of_chunk, batches_of_chunk)

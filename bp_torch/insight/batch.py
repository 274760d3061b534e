"""A batch of a training, for whoever wants to see its step: which examples it holds, and what dropout leaves out."""

from typing import NamedTuple, Unpack

import torch
from torch import Tensor

from bp_torch import checks, dropout
from bp_torch.network import Network
from bp_torch.recipe import Recipe, Settings, dropout_of, recipe_of
from bp_torch.training.batches import batch_sizes, order_of
from bp_torch.training.plan import Plan, masks


class SeenBatch(NamedTuple):
    """rows: the batch's examples (b,), int64, on the CPU. masks: as `backprop` takes them; empty without dropout."""

    rows: Tensor
    masks: tuple[Tensor | None, ...]


def batch_of(
    net: Network, m: int, epoch: int, batch: int, *, recipe: Recipe | None = None, **settings: Unpack[Settings]
) -> SeenBatch:
    """What `train` passes through the network at a batch of an epoch, both counted from 1, of m examples.

    recipe, settings: the training's, of which batch_size, accumulate, dropout, shuffle and seed count. m: without the
    examples that are left out. Raises ValueError for a batch that is not there.
    """
    recipe = recipe_of(recipe, settings)
    m, epoch, batch = checks.whole("m", m, 1), checks.whole("epoch", epoch, 1), checks.whole("batch", batch, 1)
    size = min(recipe.batch_size * recipe.accumulate, m)
    batches = len(batch_sizes(m, size))
    if batch > batches:
        raise ValueError(f"batch must be at most {batches}, the batches of an epoch, not {batch}")
    rows = order_of(recipe.shuffle, m, recipe.seed, epoch)[(batch - 1) * size : batch * size]
    rates, like = dropout_of(recipe, len(net.layers)), net.layers[0].w
    keys = dropout.keys_table(batches, rates, recipe.seed, epoch)[batch - 1].to(like.device)
    kept = [torch.tensor(1 / (1 - rate), dtype=like.dtype, device=like.device) for rate in rates if rate]
    x = like.new_empty(len(rows), 0)
    return SeenBatch(rows, masks(Plan(dropout=rates), x, net.sizes, tuple(keys), tuple(kept), 0))

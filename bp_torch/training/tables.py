"""What the steps of each epoch are given, besides the examples: rates, numbers and keys.

Where nothing that happens between two epochs can change it, it is computed for some epochs at once: for a small network
it would take longer than the steps. These epochs are the same wherever a run begins, so that it has the same bits.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from bp_torch import checks
from bp_torch.schedules import Schedule
from bp_torch.training.batches import order_of
from bp_torch.training.job import Job, Steps
from bp_torch.training.plan import numbers_table

STEPS_AT_ONCE = 64


class Table(NamedTuple):
    """Of an epoch: its steps; η of each (batches,); and how much has counted by then (batches,).

    counted: over the batches up to each: the examples, or the sum of their weights.
    """

    steps: Steps
    rates: Tensor
    counted: Tensor


def tables(job: Job, epoch: int, taken: int) -> Iterator[Table]:
    """The tables from this epoch on, each computed when it is asked for. taken: the steps before epoch 1."""
    recipe, sizes, m = job.recipe, job.batch_sizes.double(), len(job.data[0])
    batches, counts = len(sizes), None if job.weights is None else job.weights.double().cpu()
    scheduled = isinstance(recipe.lr, Schedule)
    asked = job.state.borrowed is not None or (callable(recipe.lr) and not scheduled)
    at_once = 1 if asked or counts is not None else max(1, STEPS_AT_ONCE // batches)
    no_keys = torch.zeros(batches, 0, dtype=torch.int32, device="cpu")
    while epoch <= recipe.epochs:
        begin = (epoch - 1) // at_once * at_once + 1  # of the epochs that are computed at once
        end = min(begin + at_once, recipe.epochs + 1) if scheduled else begin + at_once
        rates = _rates(job, begin, end, batches)
        orders = [order_of(recipe.shuffle, m, recipe.seed, epoch)] if counts is not None else []
        totals = sizes if counts is None else _summed(counts[orders[0]], recipe.batch_size)
        numbers = numbers_table(rates, totals.repeat(end - begin), job.plan, taken + (begin - 1) * batches)
        counted = totals.cumsum(0)
        of_epochs = list(zip(numbers.split(batches), rates.split(batches), strict=True))
        for numbers_of_epoch, rates_of_epoch in of_epochs[epoch - begin : recipe.epochs + 1 - begin]:
            order = orders.pop() if orders else order_of(recipe.shuffle, m, recipe.seed, epoch)
            steps = Steps(order, numbers_of_epoch, job.keys(epoch) if job.plan.keys else no_keys)
            yield Table(steps, rates_of_epoch, counted)
            epoch += 1


def _rates(job: Job, begin: int, end: int, batches: int) -> Tensor:
    """η of each step from one epoch to before another, in float64; of a borrowed optimiser, as it is by now."""
    recipe, steps = job.recipe, (end - begin) * batches
    if job.state.borrowed is not None:
        return torch.full((steps,), job.state.borrowed.lr, dtype=torch.float64, device="cpu")
    if isinstance(recipe.lr, Schedule):
        numbers = torch.arange((begin - 1) * batches, (end - 1) * batches, dtype=torch.float64, device="cpu")
        return recipe.lr.rates(numbers / (recipe.epochs * batches))
    rate = checks.positive(f"lr of epoch {begin}", recipe.lr(begin) if callable(recipe.lr) else recipe.lr)
    return torch.full((steps,), rate, dtype=torch.float64, device="cpu")


def _summed(counts: Tensor, batch_size: int) -> Tensor:
    """The sum of the weights (m,) of each batch (batches,)."""
    filled = torch.cat([counts, counts.new_zeros(-len(counts) % batch_size)])
    return filled.view(-1, batch_size).sum(1)

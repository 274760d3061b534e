"""The eager engine: one step after the other, as written."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from bp_torch import sparse
from bp_torch.network import Network
from bp_torch.state import State
from bp_torch.trace import Layer, Trace
from bp_torch.training import lazy
from bp_torch.training.batches import Chunk, chunks
from bp_torch.training.closure import step_by
from bp_torch.training.flat import Flat, flat, held
from bp_torch.training.job import Job, Run, Steps
from bp_torch.training.memory import check_memory, memory_of_a_step
from bp_torch.training.precision import inputs_of, passes_of, products_in, refresh
from bp_torch.training.step import Batch, batch_cost, step

Taken = Iterator[tuple[Batch, Trace]]
"""Steps as they are taken: the batch, and the forward pass that the step came from."""


def why_not(job: Job) -> str | None:
    """Nothing keeps this engine from running."""
    return None


def eager(job: Job) -> Run:
    """The engine: see `Run`."""
    return on(job, *inputs_and_passes(job))


def inputs_and_passes(job: Job) -> tuple[Tensor, Network | None]:
    """x as the passes take it, and the copy of the network that runs them, if one does."""
    return inputs_of(job.data[0], job.recipe.precision), passes_of(job.state.net, job.recipe.precision)


def on(job: Job, x: Tensor, passes: Network | None) -> Run:
    """The engine on these `inputs_and_passes`, of which one pair is enough."""
    net, rows = job.state.net, job.plan.rows or job.recipe.batch_size  # that are passed through it at once
    if not job.data[0].is_cuda:
        check_memory(memory_of_a_step([sparse.width(x), *net.sizes[1:]], rows, job.data[0].dtype), rows)

    vectors = flat(job.state, job.plan) if passes is None and x.layout == torch.strided else None

    # What a borrowed optimiser keeps is used outside, where a tensor of the inference mode can't be changed in place.
    inference = job.state.borrowed is None or any(t.is_inference() for t in net.parameters())

    def run(given: Steps) -> float:
        with torch.inference_mode(inference), nullcontext() if inference else torch.no_grad():
            return steps_of(given)

    def steps_of(given: Steps) -> float:
        total: Tensor | float = 0.0
        with products_in(job.recipe.precision, x.dtype), by_columns(job) if vectors is None else held(vectors) as state:
            for chunk, taken in steps(job._replace(state=state), x, passes, given, vectors=vectors):
                outputs = [(trace.z[-1], trace.a[-1]) for _, trace in taken]
                z, a = outputs[0] if len(outputs) == 1 else map(torch.cat, zip(*outputs, strict=True))
                cost = batch_cost(net, Trace((a,), (z,)), chunk.y, chunk.weights)
                total += cost if x.is_cuda else cost.item()
                if not x.is_cuda and not math.isfinite(total):  # a GPU would have to be waited for
                    break
        return float(total)

    return run


@contextmanager
def by_columns(job: Job) -> Iterator[State]:
    """The job's state; the first layer's weights, and what is kept for them, by columns in memory if x is sparse.

    A step then reads and changes whole stretches of memory, and no others. Afterwards all is as it was, with the values
    of then. A borrowed optimiser holds the tensors themselves, and they stay.
    """
    if job.data[0].layout == torch.strided or job.state.borrowed is not None:
        yield job.state
        return

    def turned(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        (w, b), *others = layers
        return Layer(w.mT.contiguous().mT, b), *others

    net, slots, _ = job.state
    state = State(replace(net, layers=turned(net.layers)), tuple(map(turned, slots)))
    try:
        yield state
    finally:
        for layer, changed in zip(job.state.layers(), state.layers(), strict=True):
            if changed.w is not layer.w:
                layer.w.copy_(changed.w)


def steps(
    job: Job, x: Tensor, passes: Network | None, given: Steps, *, lean: bool = True, vectors: Flat | None = None
) -> Iterator[tuple[Chunk, Taken]]:
    """The steps, chunk by chunk: each chunk, and its steps as they are taken.

    x, passes: as `inputs_and_passes` gives them. lean: as in `feed_forward`. vectors: what the state lies in.
    """
    y, plan, borrowed = job.data[1], job.plan, job.state.borrowed
    if lazy.is_lazy(job):
        descend = lazy.step_of_used
    elif borrowed is not None:
        descend = partial(step_by, borrowed)
    else:
        descend = partial(step, vectors=vectors.vectors if vectors else ())
    refresh(passes, job.state.net)
    done = 0
    for chunk in chunks(x, y, given.order, job.recipe.batch_size, job.weights):
        rows = slice(done, done + len(chunk.batches))
        done = rows.stop
        batches = chunk.batches
        if plan.dropout:
            keys = _scalars(given.keys[rows].to(y.device))
            batches = [batch._replace(keys=row) for batch, row in zip(batches, keys, strict=True)]
        taken = (
            (batch, descend(job.state, batch, row, plan=plan, passes=passes, lean=lean))
            for batch, row in zip(batches, _scalars(given.numbers[rows].to(y)), strict=True)
        )
        yield chunk, taken


def _scalars(table: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The rows of a table, each as 0-D tensors."""
    if len(table) < table.shape[1]:
        return (row.unbind() for row in table.unbind())
    return zip(*(column.unbind() for column in table.unbind(1)), strict=True)


def replay(job: Job, given: Steps) -> Taken:
    """The steps of a run once more, one by one, with everything that each computed."""
    x, passes = inputs_and_passes(job)
    with products_in(job.recipe.precision):
        for _, taken in steps(job, x, passes, given, lean=False):
            yield from taken

"""The training loop: a generator of records, so that early stopping, logging and saving are the caller's own code."""

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any, Unpack

import torch

from bp_torch import checks, many, sparse
from bp_torch.errors import DivergenceError, EngineError, is_of_memory, reason
from bp_torch.evaluation import outputs
from bp_torch.given import Given
from bp_torch.labels import right
from bp_torch.network import Network
from bp_torch.own import try_own_functions
from bp_torch.passes import multiplications
from bp_torch.penalties import penalty
from bp_torch.recipe import Recipe, Settings, recipe_of, rule_of, takes_settings, with_rate
from bp_torch.state import Position, State, Values, checked_position, is_finite, started
from bp_torch.threads import computing, fitting, own_dtype
from bp_torch.training import engines
from bp_torch.training.divergence import first_not_finite
from bp_torch.training.examples import Pair, pair_of, validated_by
from bp_torch.training.job import Job
from bp_torch.training.plan import plan_of
from bp_torch.training.precision import products_in
from bp_torch.training.tables import tables
from bp_torch.training.weighting import sample_weights, weighted

EVALUATED_BYTES = 64 << 20  # about what the passes over validation data fill at a time


@dataclass(frozen=True)
class Record:
    """What one epoch of training came to, or has come to so far.

    epoch counts from 1. cost is the mean of C_x over the epoch, each example's taken just before its batch's step, as
    the step had it: weighted, with smoothed targets, of the neurons that dropout left. The penalty of the weights by
    now is added; data_cost is the mean alone.

    validation_cost and validation_accuracy (0 to 1) are taken at the end of the epoch; None without validation data,
    and the accuracy also for real-valued targets. seconds is the time spent training, validation left out. position is
    where the run stands: `train` goes on from there by its `start`. whole says that the epoch is over; a record in the
    midst of one has no validation figures. lr is η of the last step. The validation cost is of the whole network on
    unweighted, unsmoothed targets, without a penalty.
    """

    epoch: int
    cost: float
    validation_cost: float | None
    validation_accuracy: float | None
    seconds: float
    examples_per_second: float
    position: Position = field(compare=False, repr=False)  # it holds tensors
    lr: float | None = None
    penalty: float = 0.0

    @property
    def data_cost(self) -> float:
        """The cost without the penalty."""
        return self.cost - self.penalty

    @property
    def whole(self) -> bool:
        return self.position.batch == 0

    def as_dict(self) -> dict[str, int | float | None]:
        """Its figures by name, as plain numbers that JSON, pandas and loggers take: all but `position`.

        The keys: epoch, cost, data_cost, penalty, validation_cost, validation_accuracy, lr, seconds and
        examples_per_second.
        """
        figures = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "position"}
        return figures | {"data_cost": self.data_cost}


@takes_settings
def train(
    net: Network,
    data: tuple[Given, Given],
    *,
    validation: tuple[Given, Given] | float | None = None,
    sample_weight: Any = None,
    every: int | None = None,
    start: Position | None = None,
    recipe: Recipe | None = None,
    **settings: Unpack[Settings],
) -> Iterator[Record]:
    """Mini-batch stochastic gradient descent: changes `net` in place and yields a `Record` after every epoch.

    data, validation: (x, y) of the network's dtype and on its device; x (m, n_0), y class indices (m,) or a matrix
        (m, n_L). A class index of −100 is no target, as in torch's cross_entropy: its example is left out. Arrays of
        NumPy, frames and lists become such tensors, once, where the dtype holds all their values. validation=0.1 holds
        out a tenth of the data, the same share of every class, drawn by `seed`. A sparse x, SciPy's or torch's, is
        never made dense; the engines "eager" and "native" run it. What is written into the tensors between two records
        counts from then on; through x.data or DLPack, "native" may not see it.
    sample_weight: what each example counts for (m,), 0 or more: C = Σ w_x C_x / Σ w_x over each batch, as in
        scikit-learn. An example of weight 0 is left out.
    every: yields a record after every so many batches within an epoch, too: a place to save and to stop in an epoch
        that is long. Rounded up to a whole number of the engine's blocks: "compiled" and "graph" run several steps as
        one, "persistent" a whole epoch.
    start: goes on from there (a record's position), with the weights `net` held then and the same arguments. On the
        same machine, with the same version of torch, the rest of the run is then, to the bit, that of a run that never
        stopped.
    epochs, batch_size, lr, optimizer and all the others: see `Recipe`, whose fields they are. recipe: a whole one; what
        is named beside it counts in its place.

    The same seed twice gives the same weights, to the bit, on the CPU. Arguments are checked when train is called, work
    starts with the first `next`. Raises ValueError for an argument that can't be used, EngineError for functions of the
    network's own that engine="native" can't print; and from the generator DivergenceError where a value is no longer
    finite, EngineError where an engine can't be built or the device's memory is too small. Where an epoch fails, the
    network holds the weights from its start; after Ctrl-C it holds those of then. Warns of a validation cost that is
    not finite though the training's is.
    """
    recipe = recipe_of(recipe, settings)
    if net.layers[0].w.ndim != 2:
        raise ValueError("train takes one network at a time: train the networks of a stack one after the other")
    with _memory("the targets as a matrix", "train on fewer examples"):
        (x, y, labels, known), held_out = validated_by(pair_of("data", data, net), validation, net, recipe.seed)
    if held_out and labels is None:  # real-valued targets; the few held out may happen to be zeros and ones
        held_out = held_out._replace(labels=None)
    elif held_out and labels is not None and labels.dtype == torch.bool:  # as may those of several labels have one each
        held_out = held_out._replace(labels=held_out.y > 0.5)
    position = checked_position("start", start)
    counts = None if sample_weight is None else sample_weights(sample_weight, x, known)
    x, y, weights = weighted(x, y, labels, counts, recipe.class_weight, recipe.label_smoothing)
    plan = plan_of(recipe, len(net.layers), len(x), weights is not None)
    recipe = replace(with_rate(recipe, net), batch_size=min(recipe.batch_size * recipe.accumulate, len(x)))
    job = Job(started(net, rule_of(recipe), position), (x, y), recipe, plan, weights)
    with own_dtype(x.device.type):
        with products_in("dtype"):
            try_own_functions(net)
        engines.check(job)
    every = len(x) if every is None else checks.whole("every", every, 1)
    return _records(job, held_out, every, _startable(position, job))


def _startable(start: Position, job: Job) -> Position:
    batches, epochs = len(job.batch_sizes), job.recipe.epochs
    if start.batch >= batches:
        raise ValueError(
            f"start is after batch {start.batch}, and an epoch has {batches}: resume with the data of before"
        )
    if start.epoch > epochs + 1 or (start.batch and start.epoch > epochs):
        raise ValueError(f"start is in epoch {start.epoch}, and there are {epochs}: resume with the epochs of before")
    return start


def _records(job: Job, held_out: Pair | None, every: int, start: Position) -> Iterator[Record]:
    recipe, net, m = job.recipe, job.state.net, len(job.data[0])
    batches, device = len(job.batch_sizes), job.data[0].device.type
    with own_dtype(device), _memory_of_a_step(job, start.epoch, start.batch):
        engine = engines.start(job)
    for_evaluation = recipe.threads or (1 if held_out is None else fitting(multiplications(net, held_out.x)))
    if start.batch % engine.block:
        raise ValueError(
            f"this engine runs {engine.block} batches as one and can't start after batch {start.batch}: take the one "
            "of before"
        )
    part = math.ceil(every / engine.block) * engine.block
    taken, warned, before = start.taken, False, None
    of_epochs = tables(job, start.epoch, taken)
    for epoch in range(start.epoch, recipe.epochs + 1):
        first, total, seconds = start[1:4] if epoch == start.epoch else Position()[1:4]
        with computing(engine.threads, device), _memory_of_a_step(job, epoch, first):
            before = job.state.copy(before)
            began = time.perf_counter()
            steps, rates, counted = next(of_epochs)
        done, norms = first, list[float]()
        while done < batches:
            until = min(batches, (done // part + 1) * part)
            with computing(engine.threads, device), _memory_of_a_step(job, epoch, first), _put_back(job.state, before):
                total += engine.run(steps.part(done, until, recipe.batch_size))
                norms = _norms(job) if until == batches else []
                finite = math.isfinite(total) and (until < batches or _is_finite(net, norms))
            if job.state.borrowed is not None:
                rates[done:until] = job.state.borrowed.lr  # which may have been changed since the last record
            done, seconds = until, seconds + time.perf_counter() - began
            if not finite:
                job.state.restore(before)
                run_on = engine.threads
                del engine  # it may hold a copy of the data, and the replay makes its own
                with computing(run_on, device), _memory_of_a_step(job, epoch, first), _put_back(job.state, before):
                    batch, layer, what = first_not_finite(job, steps.part(first, None, recipe.batch_size))
                job.state.restore(before)
                rate = rates[first + batch - 1].item()
                raise DivergenceError(epoch, first + batch, layer, what, rate, first)
            if done < batches:
                examples = done * recipe.batch_size
                position = Position(epoch, done, total, seconds, job.state.slots, taken)
                cost, of_weights = total / counted[done - 1].item(), _penalty(job, _norms(job))
                rate = rates[done - 1].item()
                yield Record(
                    epoch, cost + of_weights, None, None, seconds, examples / seconds, position, rate, of_weights
                )
                began = time.perf_counter()
        cost, accuracy = None, None
        if held_out is not None:
            with computing(for_evaluation, device):
                cost, accuracy = _evaluated(net, held_out, epoch, recipe.epochs if engine.generates else 0)
        if cost is not None and not math.isfinite(cost) and not warned:
            warned = True
            warnings.warn(
                f"The validation cost of epoch {epoch} is {cost}, though the training's is finite: try a smaller lr "
                f"than {rates.max().item():g}, or look for very large values in the validation data. Training goes on.",
                RuntimeWarning,
                stacklevel=2,
            )
        position = Position(epoch + 1, slots=job.state.slots, taken=taken)
        mean, of_weights = total / counted[-1].item(), _penalty(job, norms)
        rate = rates[-1].item()
        yield Record(epoch, mean + of_weights, cost, accuracy, seconds, m / seconds, position, rate, of_weights)


@torch.inference_mode()
def _norms(job: Job) -> list[float]:
    """√Σ w² and √Σ b² of each layer in turn, in float64, where a penalty asks; the host waits for a device once."""
    return many.norms(job.state.net.parameters(), 2, torch.float64).cpu().tolist() if job.plan.l2 else []


def _is_finite(net: Network, norms: list[float]) -> bool:
    return (bool(norms) and math.isfinite(sum(norms))) or is_finite(net)


def _penalty(job: Job, norms: list[float]) -> float:
    """As `penalty` has it; that of squares by the norms, which are known."""
    of_squares = job.plan.l2 / 2 * sum(norm * norm for norm in norms[::2])
    return of_squares + penalty((w for w, _ in job.state.net.layers), 0, job.plan.l1)


@contextmanager
def _put_back(state: State, before: Values) -> Iterator[None]:
    """Puts the values of before back where an engine fails in the midst of its steps."""
    try:
        yield
    except Exception:
        state.restore(before)
        raise


@contextmanager
def _memory_of_a_step(job: Job, epoch: int, first: int) -> Iterator[None]:
    """Turns out of memory into a sentence. The weights are those of this epoch's start, after its `first` batches."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        size = job.plan.rows or job.recipe.batch_size
        advice = f"try batch_size={size // 2}" if size > 1 else "train a smaller network, or on the CPU"
        whence = f"from after batch {first} of epoch {epoch}" if first else f"from the start of epoch {epoch}"
        _told(error, f"a step of batch_size {size}", f"{advice}. The network holds the weights {whence}")
        raise


@contextmanager
def _memory(what: str, advice: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        _told(error, what, advice)
        raise


def _told(error: Exception, what: str, advice: str) -> None:
    """Raises a sentence in the place of an error for want of memory."""
    if is_of_memory(error):
        raise EngineError(f"the memory does not hold {what}: {advice} ({reason(error)})") from error


def _evaluated(net: Network, held_out: Pair, epoch: int, looks: int) -> tuple[float, float | None]:
    """The cost and the accuracy after this epoch. looks: how many there may be by generated code."""
    advice = f"validate on fewer examples. The network holds the weights from the end of epoch {epoch}"
    with _memory(f"the validation of {len(held_out.x):,} examples", advice):
        return _evaluate(net, held_out, looks)


@torch.inference_mode()
def _evaluate(net: Network, held_out: Pair, looks: int) -> tuple[float, float | None]:
    """Chunk by chunk, so that memory does not grow with the examples; the host waits for the device once or twice."""
    x, y, labels, _ = held_out
    rows = max(1, EVALUATED_BYTES // (x.element_size() * 2 * (sparse.width(x) + sum(net.sizes[1:]))))
    looks *= -(-len(x) // rows)
    total = torch.zeros((), dtype=torch.float64, device=x.device)
    hits = torch.zeros((), dtype=torch.int64, device=x.device)
    right_ones = [None] * -(-len(x) // rows) if labels is None else labels.split(rows)
    for of_x, of_y, of_labels in zip(sparse.split(x, rows), y.split(rows), right_ones, strict=True):
        z, a = outputs(net, of_x, looks)
        total += net.cost_function.value(z, a, of_y).sum(dtype=torch.float64)
        if of_labels is not None:
            hits += right(a, of_labels).sum()
    return total.item() / len(x), None if labels is None else hits.item() / labels.numel()

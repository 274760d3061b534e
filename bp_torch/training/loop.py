"""The training loop: a generator of records, so that early stopping, logging and saving are the caller's own code."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from bp_torch import checks
from bp_torch.errors import DivergenceError, EngineError
from bp_torch.network import Layer, Network, Trace, class_labels, feed_forward, mean_cost, predicted_class
from bp_torch.training import engines
from bp_torch.training.batches import chunks, shuffled
from bp_torch.training.engines.common import inputs_of, networks_of, products_in, step_of, threads
from bp_torch.training.position import Position, finite
from bp_torch.training.step import rate_of


@dataclass(frozen=True)
class Record:
    """What one epoch of training came to, or has come to so far.

    epoch counts from 1. cost is the mean of C_x over the epoch, each example's taken just before its batch's step.
    validation_cost and validation_accuracy (0 to 1) are taken at the end of the epoch; None without validation data,
    and the accuracy also for real-valued targets. seconds is the time spent training, validation left out. position is
    where the run stands: `train` goes on from there by its `start`. whole says that the epoch is over; a record in the
    midst of one has no validation figures.
    """

    epoch: int
    cost: float
    validation_cost: float | None
    validation_accuracy: float | None
    seconds: float
    examples_per_second: float
    position: Position

    @property
    def whole(self) -> bool:
        return self.position.batch == 0


def train(
    net: Network,
    data: tuple[Tensor, Tensor],
    *,
    epochs: int = 30,
    batch_size: int = 10,
    lr: float | Callable[[int], float] = 3.0,
    validation: tuple[Tensor, Tensor] | None = None,
    seed: int = 0,
    engine: str = "auto",
    precision: str = "ieee",
    every: int | None = None,
    start: Position | None = None,
) -> Iterator[Record]:
    """Mini-batch stochastic gradient descent: changes `net` in place and yields a `Record` after every epoch.

    data, validation: (x, y) of the network's dtype and on its device; x (m, n_0), y class indices (m,) or a matrix
        (m, n_L).
    batch_size: examples a step; the last batch of an epoch holds what is left over, and its gradient is its own mean.
    lr: η, the step along −∂C/∂w; a number, or a function that is asked for it at the start of each epoch, with the
        epoch's number. The defaults of epochs, batch_size and lr are the book's, for sigmoid and quadratic.
    seed: the batches of an epoch depend on seed and epoch alone. The same seed twice gives the same weights, to the
        bit, on the CPU.
    engine: how the steps are run; the trajectory is the same up to rounding. "eager" runs them as written. "native"
        (CPU) prints them as C++ and compiles that in about a second; "compiled" compiles them by torch.compile in about
        twenty; "graph" (CUDA) captures them as a CUDA graph. "auto" chooses by device, size and length of the run, and
        runs a tiny network on one thread; an engine that is named runs on as many as torch is set to.
    precision: "ieee" computes in the network's own dtype. For networks of float32: "tf32" (CUDA) multiplies in tf32;
        "bf16" (CUDA, and CPUs that have its instructions) multiplies in bfloat16 and keeps and updates the weights in
        float32.
    every: yields a record after every so many batches within an epoch, too: a place to save and to stop in an epoch
        that is long. Rounded up to a whole number of the engine's blocks: "compiled" and "graph" run several steps as
        one, "persistent" a whole epoch.
    start: goes on from there (a record's position), with the weights `net` held then and the same arguments. On the
        same machine the rest of the run is then, to the bit, that of a run that never stopped.

    Arguments are checked when train is called, work starts with the first `next`. Raises ValueError for an argument
    that can't be used; and from the generator DivergenceError where a value is no longer finite, EngineError where an
    engine can't be built or the device's memory is too small.
    """
    if net.layers[0].w.ndim != 2:
        raise ValueError("train takes one network at a time: train the networks of a stack one after the other")
    x, y, classes = _pair("data", data, net)
    held_out = None if validation is None else _pair("validation", validation, net)
    if held_out and classes is None:  # real-valued targets; the few held out may happen to be zeros and ones
        held_out = (*held_out[:2], None)
    epochs, batch_size = checks.whole("epochs", epochs, 1), checks.whole("batch_size", batch_size, 1)
    rate = lr if callable(lr) else _always(checks.positive("lr", lr))
    seed, batch_size = checks.seed(seed), min(batch_size, len(x))
    engines.checked(engine, net, batch_size, precision)
    every = len(x) if every is None else checks.whole("every", every, 1)
    start = _startable(start or Position(), math.ceil(len(x) / batch_size))
    return _records(net, x, y, held_out, epochs, batch_size, rate, seed, engine, precision, every, start)


def _startable(start: Position, batches: int) -> Position:
    if start.checked().batch >= batches:
        raise ValueError(
            f"start is after batch {start.batch}, and an epoch has {batches}: resume with the data of before"
        )
    return start


def _always(lr: float) -> Callable[[int], float]:
    return lambda epoch: lr


def _pair(name: str, pair: object, net: Network) -> tuple[Tensor, Tensor, Tensor | None]:
    """A checked pair as x, its target matrix, and its classes (None for real-valued targets)."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ValueError(f"{name} must be a pair (x, y), not {type(pair).__name__}")
    x = checks.examples(pair[0], net.sizes[0], net.layers[0].w)
    if x.ndim != 2:
        raise ValueError(f"{name}: x must have the shape (m, {net.sizes[0]}) to train on, not {tuple(x.shape)}")
    return x, checks.targets(pair[1], x, net.sizes[-1], net.layers[0].w), class_labels(pair[1])


def _records(
    net: Network,
    x: Tensor,
    y: Tensor,
    held_out: tuple[Tensor, Tensor, Tensor | None] | None,
    epochs: int,
    batch_size: int,
    lr: Callable[[int], float],
    seed: int,
    engine: str,
    precision: str,
    every: int,
    start: Position,
) -> Iterator[Record]:
    batches = math.ceil(len(x) / batch_size)
    with _out_of_memory(batch_size):
        train_epoch, count, block = engines.start(engine, net, x, y, batch_size, precision, epochs * batches)
    if start.batch % block:
        raise ValueError(
            f"this engine runs {block} batches as one and can't start after batch {start.batch}: take the one of before"
        )
    part = math.ceil(every / block) * block
    for epoch in range(start.epoch, epochs + 1):
        rate = checks.positive(f"lr of epoch {epoch}", lr(epoch))
        first, total, seconds = start[1:] if epoch == start.epoch else (0, 0.0, 0.0)
        before = [Layer(w.clone(), b.clone()) for w, b in net.layers]
        began = time.perf_counter()
        order = shuffled(len(x), seed, epoch)
        done = first
        while done < batches:
            until = min(batches, (done // part + 1) * part)
            with threads(count), _out_of_memory(batch_size):
                total += train_epoch(order[done * batch_size : until * batch_size], rate)
            done, seconds = until, seconds + time.perf_counter() - began
            if not math.isfinite(total) or (done == batches and not finite(net)):
                _restore(net, before)
                batch, layer, what = _first_not_finite(
                    net, x, y, order[first * batch_size :], batch_size, rate, precision
                )
                _restore(net, before)
                raise DivergenceError(epoch, first + batch, layer, what, rate, first)
            examples = min(done * batch_size, len(x))
            if done < batches:
                position = Position(epoch, done, total, seconds)
                yield Record(epoch, total / examples, None, None, seconds, examples / seconds, position)
                began = time.perf_counter()
        evaluated = (None, None) if held_out is None else _evaluate(net, *held_out)
        yield Record(epoch, total / len(x), *evaluated, seconds, len(x) / seconds, Position(epoch + 1))


@contextmanager
def _out_of_memory(batch_size: int) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        smaller = f"try batch_size={batch_size // 2}" if batch_size > 1 else "train a smaller network, or on the CPU"
        raise EngineError(
            f"the GPU's memory does not hold a step of batch_size {batch_size}: {smaller} ({error})"
        ) from error


@torch.inference_mode()
def _evaluate(net: Network, x: Tensor, y: Tensor, labels: Tensor | None) -> tuple[float, float | None]:
    trace = feed_forward(net, x)
    right = None if labels is None else (predicted_class(trace.a[-1]) == labels).double().mean().item()
    return mean_cost(net, trace, y).item(), right


def _restore(net: Network, layers: list[Layer]) -> None:
    for layer, before in zip(net.layers, layers, strict=True):
        for tensor, value in zip(layer, before, strict=True):
            tensor.copy_(value)


@torch.inference_mode()
def _first_not_finite(
    net: Network, x: Tensor, y: Tensor, order: Tensor, batch_size: int, lr: float, precision: str
) -> tuple[int, int, str]:
    """Replays an epoch that failed, step by step, and says where: the batch (from 1), the layer, and what it was."""
    step = step_of(networks_of(net, precision))
    batches = (batch for chunk in chunks(x, y, order, batch_size) for batch in chunk.batches)
    for batch, (x_batch, y_batch, m) in enumerate(batches, start=1):
        trace = feed_forward(net, x_batch)
        with products_in(precision):
            step(inputs_of(x_batch, precision), y_batch, rate_of(lr, m, like=y))
        for l, what, tensor in _in_order(net, trace, y_batch):
            if not tensor.isfinite().all():
                return batch, l, what
    return math.ceil(len(order) / batch_size), len(net.layers) - 1, "its cost"


def _in_order(net: Network, trace: Trace, y: Tensor) -> Iterator[tuple[int, str, Tensor]]:
    """What a step computed, in the order it did: (layer, what it is, tensor)."""
    last = len(net.layers) - 1
    yield 0, "its input x", trace.a[0]
    for l in range(last + 1):
        yield l, "its weighted input z", trace.z[l]
        yield l, "its activation a", trace.a[l + 1]
    yield last, "its targets y", y
    yield last, "its cost", mean_cost(net, trace, y)
    for l in range(last, -1, -1):
        yield l, "its weights after the step", net.layers[l].w
        yield l, "its biases after the step", net.layers[l].b

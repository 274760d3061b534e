"""ENGINES: the ways to run an epoch of the same step. To add one, add one entry: the tests hold it to the eager one."""

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from bp_torch import checks
from bp_torch.errors import EngineError
from bp_torch.network import Network
from bp_torch.training.engines import compiled, eager, native, persistent
from bp_torch.training.engines.common import PRECISIONS, Epoch, operations, precision_missing, threads


class Engine(NamedTuple):
    """A way to run an epoch.

    build: (net, x, y, batch_size, precision) -> Epoch, on x (m, n_0) and the target matrix y (m, n_L); compiles and
        captures, and leaves the weights as they are.
    why_not: (net, batch_size, precision) -> why it can't train the network, in a sentence, or None.
    block: (net, m, batch_size) -> the number of batches that are run as one, of m examples' epoch. A run can stop after
        any whole number of blocks, and at the end of an epoch.
    """

    build: Callable[[Network, Tensor, Tensor, int, str], Epoch]
    why_not: Callable[[Network, int, str], str | None]
    block: Callable[[Network, int, int], int] = lambda net, m, batch_size: 1


ENGINES: dict[str, Engine] = {
    "eager": Engine(eager.eager, eager.why_not),
    "native": Engine(native.native, native.why_not),
    "compiled": Engine(compiled.compiled, compiled.why_not_compiled, compiled.block_compiled),
    "graph": Engine(compiled.graph, compiled.why_not_graph, compiled.block_graph),
    "persistent": Engine(persistent.persistent, persistent.why_not, persistent.block),
}

# What `choose` weighs, on a CPU: how long the eager engine would take, roughly, against building the native one.
SECONDS_A_CALL = 5e-6
OPERATIONS_A_SECOND = 5e10
WORTH_A_BUILD = 5.0  # seconds
LARGE = 800_000_000  # operations in a step: above that, torch's own products are the faster ones on Intel's CPUs
OPERATIONS_A_THREAD = 20_000_000  # in a step: below that, a second thread costs more than it does


def checked(name: str, net: Network, batch_size: int, precision: str) -> str:
    """The engine's name, if it can train this network; raises ValueError that says why not, and what can."""
    checks.one_of("engine", name, ("auto", *ENGINES))
    missing = precision_missing(net, checks.one_of("precision", precision, PRECISIONS))
    if missing is None and name != "auto":
        missing = ENGINES[name].why_not(net, batch_size, precision)
    if missing is not None:
        raise ValueError(missing)
    return name


def choose(net: Network, batch_size: int, precision: str, steps: int) -> str:
    """What "auto" takes for so many steps; it depends on nothing that changes from run to run on a machine."""
    if net.layers[0].w.is_cuda:
        return "graph"
    if operations(net, batch_size) > LARGE and not _other_than_intel():
        return "eager"
    if steps * _seconds_a_step(net, batch_size) < WORTH_A_BUILD:
        return "eager"
    if native.compiler() is None:
        say_once("no C++ compiler was found, so engine='auto' runs as engine='eager' does: install g++ to train faster")
        return "eager"
    return "eager" if ENGINES["native"].why_not(net, batch_size, precision) else "native"


@cache
def _other_than_intel() -> bool:
    """Whether this CPU is known not to be Intel's, which torch's products (MKL's) are made for."""
    try:
        return "GenuineIntel" not in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def start(
    name: str, net: Network, x: Tensor, y: Tensor, batch_size: int, precision: str, steps: int
) -> tuple[Epoch, int, int]:
    """The engine of this name, built, the number of threads it is to run on, and its block."""
    count = torch.get_num_threads() if name != "auto" else threads_for(net, batch_size)
    with threads(count):
        chosen = name if name != "auto" else choose(net, batch_size, precision, steps)
        try:
            built = ENGINES[chosen].build(net, x, y, batch_size, precision)
        except EngineError as error:
            if name != "auto":
                raise
            say_once(f"engine='auto' runs as engine='eager' does: {error}")
            chosen = "eager"
            built = ENGINES[chosen].build(net, x, y, batch_size, precision)
    return built, count, ENGINES[chosen].block(net, len(x), batch_size)


def batches_in(seconds: float, net: Network, batch_size: int) -> int:
    """How many batches the eager engine trains on in that time on a CPU, roughly; the others take no longer."""
    return max(1, int(seconds / _seconds_a_step(net, batch_size)))


def _seconds_a_step(net: Network, batch_size: int) -> float:
    return 12 * len(net.layers) * SECONDS_A_CALL + operations(net, batch_size) / OPERATIONS_A_SECOND


@cache
def say_once(what: str) -> None:
    """Warns of it, the first time in a process."""
    warnings.warn(what, RuntimeWarning, stacklevel=3)


def threads_for(net: Network, batch_size: int) -> int:
    """How many threads a step is worth on the CPU: one for a tiny network, else torch's own setting."""
    return 1 if operations(net, batch_size) < OPERATIONS_A_THREAD else torch.get_num_threads()

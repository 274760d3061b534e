"""ENGINES: the ways to run an epoch of the same step. To add one, add one entry: the tests hold it to the eager one."""

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from bp_torch import checks, sparse
from bp_torch.errors import EngineError, reason
from bp_torch.native import build
from bp_torch.network import Network
from bp_torch.recipe import Recipe
from bp_torch.threads import threads
from bp_torch.training import lazy
from bp_torch.training.engines import compiled, eager, persistent
from bp_torch.training.engines.native import engine
from bp_torch.training.job import Job, Run, Steps, operations
from bp_torch.training.precision import PRECISIONS, precision_missing


class Engine(NamedTuple):
    """A way to run an epoch.

    build: job -> `Run`; compiles and captures, and leaves the weights as they are.
    why_not: job -> why it can't run it, in a sentence, or None; or it raises EngineError, for what the network's own
        functions do.
    block: job -> how many batches it runs as one. A run can stop after a whole number of blocks, and at the end of an
        epoch.
    """

    build: Callable[[Job], Run]
    why_not: Callable[[Job], str | None]
    block: Callable[[Job], int] = lambda job: 1


class Started(NamedTuple):
    """An engine that is built for a job: what runs it, on how many threads, its block, and whether it generates C++."""

    run: Run
    threads: int
    block: int
    generates: bool


ENGINES: dict[str, Engine] = {
    "eager": Engine(eager.eager, eager.why_not),
    "native": Engine(engine.native, engine.why_not),
    "compiled": Engine(compiled.compiled, compiled.why_not_compiled, compiled.block_compiled),
    "graph": Engine(compiled.graph, compiled.why_not_graph, compiled.block_graph),
    "persistent": Engine(persistent.persistent, persistent.why_not, persistent.block),
}

# What `choose` weighs, on a CPU: how long the eager engine would take, as measured, against building the native one.
SECONDS_A_CALL = 2.2e-6
OPERATIONS_A_SECOND = 5e10
SECONDS_OF_SPARSE = 1e-3  # of a step on a sparse x, besides: torch's own operations on it
SPARSE = 10  # times as long as that takes an operation on a stored value, or on a weight that a rule visits
WORTH_A_BUILD = 0.25  # seconds: a build takes about one, once; what it made is kept for all later runs of its kind
LARGE = 800_000_000  # operations in a step: above that, torch's own products are the faster ones on Intel's CPUs


def check_names(recipe: Recipe) -> None:
    """Raises ValueError for an engine or a precision that does not exist."""
    checks.one_of("engine", recipe.engine, ("auto", *ENGINES))
    checks.one_of("precision", recipe.precision, PRECISIONS)


def check(job: Job) -> None:
    """Raises ValueError where the recipe's engine and precision can't run the job: it says why not, and what can.

    EngineError where the engine can't run the network's own functions.
    """
    check_names(job.recipe)
    missing = precision_missing(job.state.net, job.recipe.precision)
    if missing is None and sparse.is_sparse(job.data[0]) and job.recipe.precision != "dtype":
        missing = f"precision={job.recipe.precision!r} is for a dense x, and this one is sparse: use precision='dtype'"
    if missing is None and lazy.is_lazy(job):
        missing = lazy.why_not(job.plan)
    if missing is None and job.recipe.engine != "auto":
        missing = _why_not(job.recipe.engine, job)
    if missing is not None:
        raise ValueError(missing)


def _why_not(name: str, job: Job) -> str | None:
    if job.state.borrowed is not None and name != "eager":
        return (
            f"engine={name!r} takes the rules of bp.OPTIMISERS, and {job.state.borrowed} takes its steps itself: use "
            "engine='eager'"
        )
    if sparse.is_sparse(job.data[0]) and name not in ("eager", "native"):
        return f"engine={name!r} takes a dense x, and this one is sparse: use engine='auto', or make x dense"
    return ENGINES[name].why_not(job)


def choose(job: Job) -> str:
    """What "auto" takes; it depends on nothing that changes from run to run on a machine."""
    if job.state.borrowed is not None:
        return "eager"
    if job.data[0].is_cuda:
        return "graph"
    if job.operations > LARGE and not _other_than_intel():
        return "eager"
    steps = job.recipe.epochs * len(job.batch_sizes)
    of_sparse = sparse.is_sparse(job.data[0])
    a_step = _seconds_a_step(job.state.net, job.work * (SPARSE if of_sparse else 1))
    if steps * (a_step + SECONDS_OF_SPARSE * of_sparse) < WORTH_A_BUILD:
        return "eager"
    if build.compiler() is None:
        say_once("no C++ compiler was found, so engine='auto' runs as engine='eager' does: install g++ to train faster")
        return "eager"
    try:
        return "eager" if ENGINES["native"].why_not(job) else "native"
    except EngineError:
        return "eager"


@cache
def _other_than_intel() -> bool:
    """Whether this CPU is known not to be Intel's, which torch's products (MKL's) are made for."""
    try:
        return "GenuineIntel" not in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


def start(job: Job) -> Started:
    """The engine that the recipe names, built."""
    named = job.recipe.engine
    with threads(job.threads):
        chosen = named if named != "auto" else choose(job)
        try:
            run = ENGINES[chosen].build(job)
            if named == "auto" and chosen == "native":
                run = _else_eagerly(run, job)
        except (EngineError, torch.OutOfMemoryError) as error:
            if named != "auto":
                raise
            say_once(f"engine='auto' runs as engine='eager' does: {reason(error)}")
            chosen = "eager"
            run = ENGINES[chosen].build(job)
    return Started(run, job.threads, ENGINES[chosen].block(job), chosen == "native")


def _else_eagerly(run: Run, job: Job) -> Run:
    """The native engine's run, until a function of the network becomes one that can't be printed."""
    runs = [run]

    def either(steps: Steps) -> float:
        try:
            return runs[-1](steps)
        except EngineError as error:  # before the first step
            say_once(f"engine='auto' goes on as engine='eager' does: {reason(error)}")
            runs.append(ENGINES["eager"].build(job))
            return runs[-1](steps)

    return either


def batches_in(seconds: float, net: Network, batch_size: int) -> int:
    """How many batches the eager engine trains on in that time on a CPU, roughly; the others take no longer."""
    return max(1, int(seconds / _seconds_a_step(net, operations(net, batch_size))))


def _seconds_a_step(net: Network, operations: int) -> float:
    return 12 * len(net.layers) * SECONDS_A_CALL + operations / OPERATIONS_A_SECOND


@cache
def say_once(what: str) -> None:
    """Warns of it, the first time in a process."""
    warnings.warn(what, RuntimeWarning, stacklevel=3)

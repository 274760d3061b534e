"""The native engine: the printed step in a loop in C++, so that an epoch is a few calls."""

import ctypes
import math
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bp_torch import sparse
from bp_torch.native import headers, padding
from bp_torch.native.build import Source, build, compiler
from bp_torch.threads import alone
from bp_torch.training.engines.native import compressed, source, stored
from bp_torch.training.engines.native.compressed import Compressed
from bp_torch.training.engines.native.inputs import ACTIVE, DENSE, can_skip, inputs_of
from bp_torch.training.engines.native.stored import Stored
from bp_torch.training.job import Job, Run, Steps
from bp_torch.training.memory import check_memory

STRETCH = 512  # rows
CALL_OPERATIONS = 2_000_000_000  # a call trains for about 50 ms, so that an interrupt is soon noticed
CALL_STEPS = 200  # of several threads, which beside busy processes may wait for each other for milliseconds in each


def why_not(job: Job) -> str | None:
    """Why this engine can't run the job, or None. Raises EngineError for functions that can't be printed."""
    w = job.state.net.layers[0].w
    if w.device.type != "cpu" or w.dtype not in headers.REAL or job.recipe.precision != "dtype":
        return "engine='native' is for CPUs, torch.float32 or torch.float64, and precision='dtype': use engine='auto'"
    if job.plan.rows is not None:
        return "engine='native' can't accumulate batches into a step: use engine='auto', or a larger batch_size"
    if compiler() is None:
        return "engine='native' needs a C++ compiler (g++ or clang++, or the one that CXX names): install one"
    if sparse.is_sparse(job.data[0]) and not can_skip(job.plan):
        return (
            "engine='native' takes a sparse x without clip_norm, max_norm and dropout of the inputs: use engine='auto'"
        )
    source.source_of(job, inputs_of(job))
    return None


class _Built(NamedTuple):
    """The printed steps in a library: for each size of batch its function and its workspace."""

    library: ctypes.CDLL
    steps: dict[int, tuple[Any, Tensor]]


def native(job: Job) -> Run:
    """The engine: see `Run`. The data lies on the CPU."""
    batch_size, x, y = job.recipe.batch_size, *job.data
    inputs = inputs_of(job)
    if inputs == DENSE and can_skip(job.plan):
        pays = compressed.pays(x, job.state.net.sizes[1], job.plan.is_plain)
        inputs = ACTIVE if pays else inputs
    by_columns = source.by_columns(source.kind_of(job.state.net, job.plan)) if inputs.form else ()
    targets = y.resolve_neg().contiguous()
    weights = None if job.weights is None else job.weights.data_ptr()
    threads = torch.get_num_threads()
    tensors = [t for layer in job.state.layers() for t in layer]
    parameters = [t.mT if k in by_columns else t for k, t in enumerate(tensors)]
    padded = [t if padding.is_padded(t) else padding.padded(t) for t in parameters]
    copies = [(t, wide) for t, wide in zip(parameters, padded, strict=True) if wide is not t]

    @lru_cache(maxsize=1)
    def build_of(made: Source) -> _Built:
        library = _library(made, threads)
        elements = {m: _elements(library, m) for m in job.sizes_of_batches}
        check_memory(sum(elements.values()) * x.element_size(), batch_size, ", or engine='eager'")
        return _Built(
            library,
            {m: (_function(library, m), torch.zeros(n, dtype=x.dtype, device="cpu")) for m, n in elements.items()},
        )

    build_of(source.source_of(job, inputs))
    held: Held | None = None
    batches_a_call = max(1, CALL_OPERATIONS // job.work)
    batches_a_call = min(batches_a_call, CALL_STEPS) if threads > 1 else batches_a_call

    def train(function: Any, workspace: Tensor, x_at: Any, addresses: Any, steps: Steps) -> float:
        """Σ_x C_x over whole batches."""
        return function(
            x_at,
            targets.data_ptr(),
            weights,
            steps.order.data_ptr(),
            len(steps.numbers),
            steps.numbers.data_ptr(),
            steps.keys.data_ptr(),
            addresses,
            workspace.data_ptr(),
            threads,
        )

    @torch.inference_mode()
    def run(given: Steps) -> float:
        nonlocal held
        now = build_of(source.source_of(job, inputs))  # what the network's functions look up may have changed
        held = _held(held, x, inputs.form, now.library, given.order, batch_size)
        x_at = held.data_ptr() if isinstance(held, Tensor) else held.addresses
        if targets is not y:
            targets.copy_(y)
        total = 0.0
        given = given._replace(numbers=given.numbers.to(x.dtype).contiguous(), keys=given.keys.contiguous())
        whole = len(given.order) // batch_size
        calls = [(start, min(start + batches_a_call, whole)) for start in range(0, whole, batches_a_call)]
        calls += [(whole, whole + 1)] if len(given.order) % batch_size else []
        addresses = (ctypes.c_void_p * len(padded))(*(t.data_ptr() for t in padded))
        for tensor, wide in copies:
            padding.columns(wide, tensor).copy_(tensor)
        try:
            for start, end in calls:
                part = given.part(start, end, batch_size)
                total += train(*now.steps[min(batch_size, len(part.order))], x_at, addresses, part)
                if not math.isfinite(total):
                    break
        finally:
            for tensor, wide in copies:
                _copy_back(tensor, padding.columns(wide, tensor))
        return total

    return run


Held = Tensor | Compressed | Stored


def _held(held: Held | None, x: Tensor, form: str, library: ctypes.CDLL, order: Tensor, batch_size: int) -> Held:
    """The examples as the steps take them. `held` is what they were before, since when x may have been changed."""
    if form == "stored":
        return stored.stored(x, order, batch_size)
    if form == "active":
        return held if isinstance(held, Compressed) and held.is_of(x) else compressed.compressed(library, x)
    if isinstance(held, Tensor):
        return held if held is x else held.copy_(x)
    return x.resolve_neg().contiguous()


def _library(made: Source, threads: int) -> ctypes.CDLL:
    with alone(made):  # of several threads that need a library, one compiles it
        return build(made, threads)


def _function(library: ctypes.CDLL, m: int) -> Any:
    """run_m with its types: see `source.of`."""
    function = getattr(library, f"run_{m}")
    pointer = ctypes.c_void_p
    before, after = [pointer] * 4, [pointer] * 4
    function.argtypes = [*before, ctypes.c_int64, *after, ctypes.c_int]
    function.restype = ctypes.c_double
    return function


def _elements(library: ctypes.CDLL, m: int) -> int:
    function = getattr(library, f"workspace_{m}")
    function.argtypes, function.restype = [], ctypes.c_int64
    return function()


def _copy_back(tensor: Tensor, wide: Tensor) -> None:
    """By stretches that a cache holds: of many inputs' weights that lie by columns, all at once takes twice as long."""
    for into, value in zip(tensor.split(STRETCH), wide.split(STRETCH), strict=True):
        into.copy_(value)

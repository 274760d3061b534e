"""Several steps in one: unrolled and compiled by torch.compile, or captured as a CUDA graph, or both.

The function that is compiled or captured takes an index of K batches and their numbers as tensors, so that other
examples and another learning rate need no new compilation. The batches that are left over are trained on eagerly.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from bp_torch.errors import EngineError, reason
from bp_torch.native.build import compiler
from bp_torch.network import Network
from bp_torch.state import Slots, State
from bp_torch.trace import Layer
from bp_torch.training.engines.eager import inputs_and_passes, on
from bp_torch.training.job import Job, Run, Steps
from bp_torch.training.plan import numbers_table
from bp_torch.training.precision import products_in, refresh
from bp_torch.training.step import Batch, batch_cost, step

LAYERS_COMPILED = 16  # unrolled steps times layers: some 20 s of compiling, and more of them gain little
STEPS_CAPTURED = 100
WARM_UPS = 2  # runs of a block, on copies of the state, before it is captured

Block = Callable[[State, Network | None, Steps], Tensor]
"""(state, the copy of its network that runs the passes, K steps on the device, their order as (K, m)) -> Σ_x C_x, 0-D
in float64."""


def why_not_compiled(job: Job) -> str | None:
    """Why `compiled` can't run the job, or None."""
    if compiler() is None:
        return "engine='compiled' needs a C++ compiler (g++ or clang++, or the one that CXX names): install one"
    return None


def why_not_graph(job: Job) -> str | None:
    """Why `graph` can't run the job, or None."""
    cuda = job.data[0].is_cuda
    why = "engine='graph' is for CUDA, and the network is on the CPU: use engine='native' or engine='eager'"
    return None if cuda else why


def block_compiled(job: Job) -> int:
    """How many steps `compiled` unrolls."""
    return _whole_batches(job, LAYERS_COMPILED // len(job.state.net.layers))


def block_graph(job: Job) -> int:
    """How many steps `graph` captures."""
    return _whole_batches(job, STEPS_CAPTURED)


def _whole_batches(job: Job, most: int) -> int:
    return max(1, min(most, len(job.data[0]) // job.recipe.batch_size))


def compiled(job: Job) -> Run:
    """The engine of torch.compile: see `Run`. On CUDA the compiled steps are captured too."""
    batch_size = job.recipe.batch_size
    (x, own_passes), y, plan = inputs_and_passes(job), job.data[1], job.plan

    def unrolled(
        x: Tensor,
        y: Tensor,
        weights: Tensor | None,
        steps: Steps,
        layers: tuple[Layer, ...],
        copies: tuple[Layer, ...] | None,
        slots: Slots,
    ) -> Tensor:
        state = State(replace(job.state.net, layers=layers), slots)
        copy = None if own_passes is None or copies is None else replace(own_passes, layers=copies)
        rows, ones = steps.order.view(-1), y.new_ones(batch_size)
        given = [t.split(batch_size) for t in (x[rows], y[rows])]
        of_steps = [None] * len(steps.numbers) if weights is None else weights[rows].split(batch_size)
        scalars = (steps.numbers.unbind(), steps.keys.unbind())
        costs = []
        for x_, y_, weights_, numbers, keys in zip(*given, of_steps, *scalars, strict=True):
            batch = Batch(x_, y_, ones, weights_, keys.unbind())
            trace = step(state, batch, numbers.unbind(), plan=plan, passes=copy)
            costs.append(batch_cost(state.net, trace, y_, weights_))
        return torch.stack(costs).sum()

    # torch counts compilations by code object and refuses the ninth; each network is one, so each gets its own object.
    # torch.compile(isolate_recompiles=True) does the same in torch 2.14, and is not there in 2.10.
    unrolled.__code__ = unrolled.__code__.replace()
    # deterministic: kernels are chosen by rule, not by timing them, so that a resumed run gets the same ones.
    function = torch.compile(unrolled, fullgraph=True, dynamic=False, options={"deterministic": True})

    def block(state: State, passes: Network | None, steps: Steps) -> Tensor:
        copies = None if passes is None else passes.layers
        return function(x, y, job.weights, steps, state.net.layers, copies, state.slots)

    count = block_compiled(job)
    return _by_blocks(job, x, own_passes, block, count, count, "torch.compile failed")


def graph(job: Job) -> Run:
    """The engine of CUDA graphs: see `Run`. The steps are captured as written."""
    (x, own_passes), y, weights = inputs_and_passes(job), job.data[1], job.weights
    ones = y.new_ones(job.recipe.batch_size)

    def block(state: State, passes: Network | None, steps: Steps) -> Tensor:
        total = torch.zeros((), dtype=torch.float64, device=x.device)
        for rows, numbers, keys in zip(*(table.unbind() for table in steps), strict=True):
            of_batch = None if weights is None else weights.index_select(0, rows)
            batch = Batch(x.index_select(0, rows), y.index_select(0, rows), ones, of_batch, keys.unbind())
            trace = step(state, batch, numbers.unbind(), plan=job.plan, passes=passes)
            total += batch_cost(state.net, trace, batch.y, of_batch)
        return total

    return _by_blocks(job, x, own_passes, block, block_graph(job), 1, "the steps can't be captured as a CUDA graph")


def _by_blocks(job: Job, x: Tensor, passes: Network | None, block: Block, count: int, warm_up: int, failed: str) -> Run:
    """A run by `block`, `count` batches at a time, and by the eager engine for those that are left over.

    x, passes: as `inputs_and_passes` gives them. warm_up: batches of a block that sets up all there is to set up.
    Raises EngineError, which begins with `failed`, where the block can't be compiled or captured.
    """
    y, batch_size = job.data[1], job.recipe.batch_size
    rest = on(job, x, passes)
    some = Steps(
        torch.zeros(count, batch_size, dtype=torch.int64, device=y.device),
        numbers_table(1.0, job.batch_sizes[:1], job.plan).to(y).repeat(count, 1),
        job.keys(1)[:1].to(y.device).repeat(count, 1),
    )
    try:
        with torch.no_grad(), products_in(job.recipe.precision):
            replay = _prepared(job.state, passes, block, some, warm_up)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # of the compiler, of the capture, of a function of the user's own
        raise EngineError(f"{failed} ({reason(error)}): use engine='eager'") from error
    examples = count * batch_size

    @torch.no_grad()
    def run(given: Steps) -> float:
        blocks = len(given.order) // examples
        total = torch.zeros((), dtype=torch.float64, device=y.device)
        refresh(passes, job.state.net)
        with products_in(job.recipe.precision):
            whole = given.part(0, blocks * count, batch_size)
            tables = [
                table.to(device=y.device, dtype=own.dtype).view(blocks, *own.shape)
                for table, own in zip(whole, some, strict=True)
            ]
            for these in zip(*tables, strict=True):
                for own, values in zip(some, these, strict=True):
                    own.copy_(values)
                total += replay()
        left = given.part(blocks * count, None, batch_size)
        return total.item() + (rest(left) if len(left.order) else 0.0)

    return run


def _prepared(state: State, passes: Network | None, block: Block, steps: Steps, warm_up: int) -> Callable[[], Tensor]:
    """`block` of these very tensors, compiled and on CUDA captured by now.

    What trains while this is prepared are copies, so that the weights are as they were, however it ends.
    """

    def warm() -> None:
        some = Steps(*(table[:warm_up] for table in steps))
        block(state.twin(), None if passes is None else passes.to(), some)

    if steps.order.is_cuda:
        return _captured(warm, lambda: block(state, passes, steps), steps.order.device)
    warm()
    return lambda: block(state, passes, steps)


def _captured(warm: Callable[[], None], work: Callable[[], Tensor], device: torch.device) -> Callable[[], Tensor]:
    """`work` as one CUDA graph. Recording it runs none of it."""
    with torch.cuda.device(device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        recording = torch.cuda.CUDAGraph()
        # A capture that fails leaves its stream the current one: the outer context puts the stream of before back.
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):  # what a library sets up at its first call, for each stream, can't be captured
                warm()
            # Left to itself, torch takes a stream on the first device that it ever captured on.
            with torch.cuda.graph(recording, stream=stream, capture_error_mode="thread_local"):
                total = work()
        torch.cuda.current_stream().wait_stream(stream)

    def run() -> Tensor:
        recording.replay()
        return total

    return run

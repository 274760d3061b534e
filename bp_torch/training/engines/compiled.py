"""Several steps in one: unrolled and compiled by torch.compile, or captured as a CUDA graph, or both.

The function that is compiled or captured takes an index of K batches and their numbers as tensors, so that other
examples and another learning rate need no new compilation. The batches that are left over are trained on eagerly.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from bp_torch.errors import EngineError
from bp_torch.network import Layer, Network
from bp_torch.training.engines.eager import eager
from bp_torch.training.engines.native.build import compiler
from bp_torch.training.job import Job, Run
from bp_torch.training.precision import inputs_of, passes_of, products_in, refresh
from bp_torch.training.step import Batch, batch_cost, numbers_table, step

LAYERS_COMPILED = 16  # unrolled steps times layers: some 20 s of compiling, and more of them gain little
STEPS_CAPTURED = 100

Block = Callable[[Tensor, Tensor], Tensor]  # index (K, m), numbers (K, S) -> Σ_x C_x, 0-D in float64


def why_not_compiled(job: Job) -> str | None:
    """Why `compiled` can't run the job, or None."""
    if compiler() is None:
        return "engine='compiled' needs a C++ compiler (g++ or clang++, or the one that CXX names): install one"
    return None


def why_not_graph(job: Job) -> str | None:
    """Why `graph` can't run the job, or None."""
    cuda = job.data[0].is_cuda
    return None if cuda else "engine='graph' is for CUDA, and the network is on the CPU: use 'native' or 'eager'"


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
    net, batch_size = job.state.net, job.recipe.batch_size
    x, y, passes = inputs_of(job.data[0], job.recipe.precision), job.data[1], passes_of(net, job.recipe.precision)

    def unrolled(
        x: Tensor,
        y: Tensor,
        index: Tensor,
        numbers: Tensor,
        layers: tuple[Layer, ...],
        copies: tuple[Layer, ...] | None,
    ) -> Tensor:
        state = job.state._replace(net=replace(net, layers=layers))
        copy = None if passes is None or copies is None else replace(passes, layers=copies)
        rows, ones = index.view(-1), y.new_ones(batch_size)
        pairs = zip(x[rows].split(batch_size), y[rows].split(batch_size), strict=True)
        costs = [
            batch_cost(net, step(state, Batch(*pair, ones), row.unbind(), passes=copy), pair[1])
            for pair, row in zip(pairs, numbers.unbind(), strict=True)
        ]
        return torch.stack(costs).sum()

    from torch._dynamo.exc import BackendCompilerFailed, TorchDynamoException  # takes seconds to import

    # torch counts compilations by code object and refuses the ninth; each network is one, so each gets its own object.
    # torch.compile(isolate_recompiles=True) does the same in torch 2.14, and is not there in 2.10.
    unrolled.__code__ = unrolled.__code__.replace()
    function = torch.compile(unrolled, fullgraph=True, dynamic=False)

    def block(index: Tensor, numbers: Tensor) -> Tensor:
        try:
            return function(x, y, index, numbers, net.layers, None if passes is None else passes.layers)
        except (TorchDynamoException, BackendCompilerFailed) as error:
            raise EngineError(f"torch.compile failed ({str(error).splitlines()[0]}): use engine='eager'") from error

    return _by_blocks(job, passes, block, block_compiled(job))


def graph(job: Job) -> Run:
    """The engine of CUDA graphs: see `Run`. The steps are captured as written."""
    net = job.state.net
    x, y, passes = inputs_of(job.data[0], job.recipe.precision), job.data[1], passes_of(net, job.recipe.precision)
    ones = y.new_ones(job.recipe.batch_size)

    def block(index: Tensor, numbers: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float64, device=x.device)
        for rows, row in zip(index.unbind(), numbers.unbind(), strict=True):
            batch = Batch(x.index_select(0, rows), y.index_select(0, rows), ones)
            total += batch_cost(net, step(job.state, batch, row.unbind(), passes=passes), batch.y)
        return total

    return _by_blocks(job, passes, block, block_graph(job))


def _by_blocks(job: Job, passes: Network | None, block: Block, count: int) -> Run:
    """A run by `block`, `count` batches at a time, and by the eager engine for those that are left over."""
    y, batch_size = job.data[1], job.recipe.batch_size
    rest = eager(job)
    index = torch.zeros(count, batch_size, dtype=torch.int64, device=y.device)
    row = numbers_table(1.0, job.batch_sizes[:1]).to(y)
    numbers = row.repeat(count, 1)
    with torch.no_grad(), products_in(job.recipe.precision):
        replay = _prepared(job, passes, block, index, numbers)
    examples = count * batch_size

    @torch.no_grad()
    def run(order: Tensor, table: Tensor) -> float:
        blocks = len(order) // examples
        total = torch.zeros((), dtype=torch.float64, device=y.device)
        refresh(passes, job.state.net)
        with products_in(job.recipe.precision):
            indices = order[: blocks * examples].to(y.device).view(blocks, *index.shape)
            rows = table[: blocks * count].to(y).view(blocks, *numbers.shape)
            for these, their_numbers in zip(indices, rows, strict=True):
                index.copy_(these)
                numbers.copy_(their_numbers)
                total += replay()
        left = order[blocks * examples :]
        return total.item() + (rest(left, table[blocks * count :]) if len(left) else 0.0)

    return run


def _prepared(job: Job, passes: Network | None, block: Block, index: Tensor, numbers: Tensor) -> Callable[[], Tensor]:
    """`block` of these very tensors, compiled and on CUDA captured by now. The state is left as it was."""
    before = job.state.copy()
    if index.is_cuda:
        run = _captured(block, index, numbers)
    else:
        block(index, numbers)
        run = partial(block, index, numbers)
    job.state.restore(before)
    refresh(passes, job.state.net)
    return run


def _captured(block: Block, index: Tensor, numbers: Tensor) -> Callable[[], Tensor]:
    """`block` as one CUDA graph, which reads these very tensors."""
    with torch.cuda.device(index.device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # what a library sets up at its first call can't be captured
            for _ in range(3):
                block(index, numbers)
        torch.cuda.current_stream().wait_stream(stream)
        recording = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recording):
            total = block(index, numbers)

    def run() -> Tensor:
        recording.replay()
        return total

    return run

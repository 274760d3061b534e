"""Several steps in one: unrolled and compiled by torch.compile, or captured as a CUDA graph, or both.

The function that is compiled or captured takes an index of K batches and the rate as tensors, so that other examples
and another learning rate need no new compilation. The batches that are left over are trained on eagerly.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from bp_torch.errors import EngineError
from bp_torch.network import Layer, Network
from bp_torch.training.engines import native
from bp_torch.training.engines.common import Epoch, batch_cost, inputs_of, networks_of, products_in, refresh, step_of
from bp_torch.training.engines.eager import eager
from bp_torch.training.step import Rate, rate_of

LAYERS_COMPILED = 16  # unrolled steps times layers: some 20 s of compiling, and more of them gain little
STEPS_CAPTURED = 100

Steps = Callable[[Tensor, Rate], Tensor]  # index (K, m), rate -> Σ_x C_x, 0-D in float64


def why_not_compiled(net: Network, batch_size: int, precision: str) -> str | None:
    """Why `compiled` can't train the network, or None."""
    if native.compiler() is None:
        return "engine='compiled' needs a C++ compiler (g++ or clang++, or the one that CXX names): install one"
    return None


def why_not_graph(net: Network, batch_size: int, precision: str) -> str | None:
    """Why `graph` can't train the network, or None."""
    cuda = net.layers[0].w.is_cuda
    return None if cuda else "engine='graph' is for CUDA, and the network is on the CPU: use 'native' or 'eager'"


def block_compiled(net: Network, m: int, batch_size: int) -> int:
    """How many steps `compiled` unrolls."""
    return max(1, min(LAYERS_COMPILED // len(net.layers), m // batch_size))


def block_graph(net: Network, m: int, batch_size: int) -> int:
    """How many steps `graph` captures."""
    return max(1, min(STEPS_CAPTURED, m // batch_size))


def compiled(net: Network, x: Tensor, y: Tensor, batch_size: int, precision: str) -> Epoch:
    """The engine of torch.compile: see `Epoch`. On CUDA the compiled steps are captured too."""
    count = block_compiled(net, len(x), batch_size)
    x_in, networks = inputs_of(x, precision), networks_of(net, precision)

    def unrolled(x: Tensor, y: Tensor, index: Tensor, rate: Rate, layers: list[tuple[Layer, ...]]) -> Tensor:
        step = step_of(tuple(replace(net, layers=of_one) for of_one in layers))
        rows = index.view(-1)
        batches = zip(x[rows].split(batch_size), y[rows].split(batch_size), strict=True)
        return torch.stack([batch_cost(net, step(*batch, rate), batch[1]) for batch in batches]).sum()

    from torch._dynamo.exc import BackendCompilerFailed, TorchDynamoException  # takes seconds to import

    unrolled.__code__ = unrolled.__code__.replace()  # torch.compile allows few compilations of one code object
    function = torch.compile(unrolled, fullgraph=True, dynamic=False)

    def steps(index: Tensor, rate: Rate) -> Tensor:
        try:
            return function(x_in, y, index, rate, [each.layers for each in networks])
        except (TorchDynamoException, BackendCompilerFailed) as error:
            raise EngineError(f"torch.compile failed ({str(error).splitlines()[0]}): use engine='eager'") from error

    return _epoch(net, networks, x, y, batch_size, precision, count, steps)


def graph(net: Network, x: Tensor, y: Tensor, batch_size: int, precision: str) -> Epoch:
    """The engine of CUDA graphs: see `Epoch`. The steps are captured as written."""
    count = block_graph(net, len(x), batch_size)
    x_in, networks = inputs_of(x, precision), networks_of(net, precision)
    step = step_of(networks)

    def steps(index: Tensor, rate: Rate) -> Tensor:
        total = torch.zeros((), dtype=torch.float64, device=x.device)
        for rows in index.unbind():
            y_batch = y.index_select(0, rows)
            total += batch_cost(net, step(x_in.index_select(0, rows), y_batch, rate), y_batch)
        return total

    return _epoch(net, networks, x, y, batch_size, precision, count, steps)


def _epoch(
    net: Network,
    networks: tuple[Network, ...],
    x: Tensor,
    y: Tensor,
    batch_size: int,
    precision: str,
    count: int,
    steps: Steps,
) -> Epoch:
    """An epoch by `steps`, `count` batches at a time, and by the eager engine for those that are left over."""
    rest = eager(net, x, y, batch_size, precision)
    index = torch.zeros(count, batch_size, dtype=torch.int64, device=x.device)
    rate = rate_of(1.0, batch_size, like=y)
    with torch.no_grad(), products_in(precision):
        run = _prepared(networks, steps, index, rate)
    block = count * batch_size

    @torch.no_grad()
    def epoch(order: Tensor, lr: float) -> float:
        whole = len(order) // block * block
        rate.factor.fill_(-lr / batch_size)
        total = torch.zeros((), dtype=torch.float64, device=x.device)
        refresh(networks)
        with products_in(precision):
            for rows in order[:whole].to(x.device).view(-1, count, batch_size):
                index.copy_(rows)
                total += run()
        return total.item() + (rest(order[whole:], lr) if whole < len(order) else 0.0)

    return epoch


def _prepared(networks: tuple[Network, ...], steps: Steps, index: Tensor, rate: Rate) -> Callable[[], Tensor]:
    """`steps` of these very tensors, compiled and on CUDA captured by now. The parameters are left as they were."""
    parameters = [t for net in networks for layer in net.layers for t in layer]
    before = [t.clone() for t in parameters]
    if index.is_cuda:
        run = _captured(steps, index, rate)
    else:
        steps(index, rate)
        run = partial(steps, index, rate)
    for tensor, value in zip(parameters, before, strict=True):
        tensor.copy_(value)
    return run


def _captured(steps: Steps, index: Tensor, rate: Rate) -> Callable[[], Tensor]:
    """`steps` as one CUDA graph, which reads these very tensors."""
    with torch.cuda.device(index.device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # what a library sets up at its first call can't be captured
            for _ in range(3):
                steps(index, rate)
        torch.cuda.current_stream().wait_stream(stream)
        recording = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recording):
            total = steps(index, rate)

    def run() -> Tensor:
        recording.replay()
        return total

    return run

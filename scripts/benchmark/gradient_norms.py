"""What the benchmark's --per-example runs: the norm of every example's own gradient, by bp_torch and by its peers.

A peer is a function of the job; it returns the norms as a function of (x, y, chunk), where a chunk is the number of
examples whose gradients are in memory at a time. Each is timed at the chunk that is fastest for it.
"""

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, NamedTuple

import measure
import memory
import torch
import torch_peers
from torch import Tensor

import bp_torch as bp
from bp_torch.state import State
from bp_torch.training.job import Job

SHAPE = measure.Shape([784, 100, 10], 1, 0, 1)
EXAMPLES = 60_000
SAMPLE = 200  # examples that a loop is timed on, and whose norms are compared
TUNED_ON = 1200  # examples that a chunk is chosen by, and that memory is measured on
TOLERANCE = 1e-4

Norms = Callable[..., Tensor]
"""(x, y, chunk) -> the norms (m,)."""


class Peer(NamedTuple):
    """A contender: its chunks to try, none where it has no choice; loop: it is timed on the sample, and scaled."""

    name: str
    start: Callable[[Job], Norms]
    chunks: tuple[int, ...] = ()
    loop: bool = False


@dataclass
class Row:
    """A contender's times, in seconds for all examples, its chunk, and the most bytes it held beyond the data.

    setup: seconds to compile, warm up and choose the chunk.
    """

    name: str
    chunk: int | None = None
    setup: float = 0.0
    times: list[float] = field(default_factory=list)
    bytes: int = 0
    error: float | None = None
    left_out: str | None = None


def time_norms(device: str, repeats: int, examples: int = EXAMPLES) -> dict[str, Any]:
    """The rows, and vmap's times and memory by chunk, as a dictionary that JSON can hold."""
    job = measure.job_of(SHAPE, device, examples)
    inputs, targets = job.data
    sample = torch.arange(0, examples, max(1, examples // SAMPLE), device=inputs.device)
    reference = _reference(job, sample)
    rows, ready, chunks = [], [], []
    for peer in PEERS:
        row = Row(peer.name)
        rows.append(row)
        began = time.perf_counter()
        try:
            norms = peer.start(job)
            if peer.chunks:
                tried = _tuned(norms, job, peer.chunks)
                row.chunk = min(tried, key=lambda chunk: tried[chunk][0])
                chunks += [{"name": peer.name, "chunk": c, "seconds": t, "bytes": n} for c, (t, n) in tried.items()]
            x, y = (inputs[sample], targets[sample]) if peer.loop else (inputs, targets)
            run = partial(norms, chunk=row.chunk or 1)
            of_sample = run(x, y) if peer.loop else run(x, y)[sample]
            row.error = float((of_sample.double() / reference - 1).abs().max())
            if not row.error < TOLERANCE:
                row.left_out = f"norms differ by {row.error:.1e}"
                continue
            few = TUNED_ON if peer.chunks else len(x)
            row.bytes = _held(run, x[:few], y[:few], examples)
            ready.append((run, x, y, row))
        except Exception as error:  # a contender that can't run is a row that says so, and the others are timed
            row.left_out = f"{type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else ''}"
        row.setup = time.perf_counter() - began
        print(f"  {row.name}: ready in {row.setup:.1f} s", file=sys.stderr, flush=True)
    for _ in range(repeats):
        for run, x, y, row in ready:
            row.times.append(_seconds(run, x, y) * examples / len(x))
    return {
        "sizes": SHAPE.sizes,
        "examples": examples,
        "device": device,
        "threads": torch.get_num_threads(),
        "rows": [asdict(row) for row in rows],
        "chunks": chunks,
    }


def _tuned(norms: Norms, job: Job, chunks: tuple[int, ...]) -> dict[int, tuple[float, int]]:
    """By chunk: the best time of two after a warm-up, scaled to all examples, and the peak of bytes."""
    m = len(job.data[0])
    x, y = (t[:TUNED_ON] for t in job.data)
    runs = {chunk: partial(norms, chunk=chunk) for chunk in chunks}
    times: dict[int, list[float]] = {chunk: [] for chunk in chunks}
    for _ in range(3):
        for chunk, run in runs.items():
            times[chunk].append(_seconds(run, x, y) * m / len(x))
    return {chunk: (min(times[chunk][1:]), _held(run, x, y, m)) for chunk, run in runs.items()}


def _held(run: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor, examples: int) -> int:
    """The peak of bytes for so many examples: that for these, which grows by nothing but the norms of the others."""
    return memory.peak(lambda: run(x, y), str(x.device)) + (examples - len(x)) * x.element_size()


def _seconds(run: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> float:
    measure.synchronise(x)
    began = time.perf_counter()
    run(x, y)
    measure.synchronise(x)
    return time.perf_counter() - began


def _reference(job: Job, sample: Tensor) -> Tensor:
    """The norms of the sample in float64, by autograd, one example at a time."""
    x, y = (t.double() for t in job.data)
    exact = job._replace(state=State(job.state.net.to(torch.float64)), data=(x, y))
    return autograd_loop(exact)(x[sample], y[sample], 1)


def ours(job: Job) -> Norms:
    """bp_torch itself, with the block size it chooses."""
    return lambda x, y, chunk: bp.per_example.gradient_norms(job.state.net, x, y)


def our_loop(job: Job) -> Norms:
    """`Network.gradients` of one example after the other."""

    def norms(x: Tensor, y: Tensor, chunk: int) -> Tensor:
        each = zip(x.split(1), y.split(1), strict=True)
        return torch.stack([_norm([t for layer in job.state.net.gradients(*one) for t in layer]) for one in each])

    return norms


def autograd_loop(job: Job) -> Norms:
    """autograd of one example's cost after the other."""
    model = torch_peers.module_of(job)
    parameters = list(model.parameters())

    def norms(x: Tensor, y: Tensor, chunk: int) -> Tensor:
        each = zip(x.split(1), y.split(1), strict=True)
        return torch.stack(
            [_norm(torch.autograd.grad(torch_peers.mean_quadratic(model(a), b), parameters)) for a, b in each]
        )

    return norms


def vmap(job: Job) -> Norms:
    """torch.func.vmap of grad, the norm taken inside, so that a chunk's gradients are let go of at once."""

    def norm(parameters: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        return _norm(torch.func.grad(_cost)(parameters, x, y))

    def norms(x: Tensor, y: Tensor, chunk: int) -> Tensor:
        return torch.func.vmap(norm, (None, 0, 0), chunk_size=chunk)(_parameters(job), x, y)

    return norms


def vmap_compiled(job: Job) -> Norms:
    """The same by torch.compile, which fuses a gradient's products with the sum of their squares, here written out."""

    def norm(parameters: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        gradients = torch.func.grad(_cost)(parameters, x, y)
        return torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()

    of_chunk = torch.compile(torch.func.vmap(norm, (None, 0, 0)), fullgraph=True, dynamic=False)

    def norms(x: Tensor, y: Tensor, chunk: int) -> Tensor:
        each = zip(x.split(chunk), y.split(chunk), strict=True)
        return torch.cat([of_chunk(_parameters(job), a, b) for a, b in each])

    return norms


def _parameters(job: Job) -> list[Tensor]:
    return [t for layer in job.state.net.layers for t in layer]


def _cost(parameters: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """C_x of one example, x (n_0,)."""
    a = x
    for w, b in zip(parameters[::2], parameters[1::2], strict=True):
        a = torch.nn.functional.linear(a, w, b).sigmoid()
    return 0.5 * (a - y).square().sum()


def opacus(job: Job) -> Norms:
    """Opacus' GradSampleModule: the gradients of a chunk in `grad_sample`, whose norms are then taken."""
    from opacus.grad_sample import GradSampleModule  # pyright: ignore[reportMissingImports] (an extra)

    wrapped: Any = GradSampleModule(torch_peers.module_of(job), loss_reduction="sum")
    return _by_opacus(wrapped, lambda: _norm([p.grad_sample.flatten(1) for p in wrapped.parameters()], -1))


def opacus_ghost(job: Job) -> Norms:
    """Opacus' ghost clipping: its norms come from δ and a, as bp's do, in place of the gradients."""
    from opacus.grad_sample import (  # pyright: ignore[reportMissingImports]
        GradSampleModuleFastGradientClipping,
    )

    wrapped = GradSampleModuleFastGradientClipping(torch_peers.module_of(job), loss_reduction="sum")
    return _by_opacus(wrapped, wrapped.get_norm_sample)


def _by_opacus(wrapped: Any, read: Callable[[], Tensor]) -> Norms:
    def norms(x: Tensor, y: Tensor, chunk: int) -> Tensor:
        parts = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of hooks on a module whose inputs need no gradient
            for a, b in zip(x.split(chunk), y.split(chunk), strict=True):
                (torch_peers.mean_quadratic(wrapped(a), b) * len(a)).backward()
                parts.append(read())
                wrapped.zero_grad()
        return torch.cat(parts)

    return norms


def _norm(parts: Any, dim: int | None = None) -> Tensor:
    """The norm of several tensors together; dim: the dimension of each that is summed over, all if left out."""
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(p, dim=dim) for p in parts]), dim=0)


PEERS = [
    Peer("bp per_example", ours),
    Peer("torch.func.vmap(grad)", vmap, (1, 4, 16, 32, 64, 128)),
    Peer("torch.compile of vmap(grad)", vmap_compiled, (100, 400, 1200)),  # no ragged chunk, which would be compiled
    Peer("Opacus GradSampleModule", opacus, (16, 64, 256)),
    Peer("Opacus ghost norms", opacus_ghost, (100, 400, 1200)),
    Peer("bp, one example after the other", our_loop, loop=True),
    Peer("torch autograd, one example after the other", autograd_loop, loop=True),
]

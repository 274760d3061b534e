"""What the benchmark runs in a process of its own: one shape timed, the memory of a step, or how the cost grows."""

import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import contenders
import torch
from contenders import Contender, Peer
from torch import Tensor

import bp_torch as bp
from bp_torch.recipe import Recipe
from bp_torch.state import State
from bp_torch.threads import threads
from bp_torch.training import engines
from bp_torch.training.batches import shuffled
from bp_torch.training.engines.compiled import STEPS_CAPTURED
from bp_torch.training.job import Job, operations
from bp_torch.training.precision import precision_missing, products_in


class Shape(NamedTuple):
    """A network and batch that is timed: steps a timed epoch on the CPU, and the least before weights are compared."""

    sizes: list[int]
    batch_size: int
    threads: int  # 0: all
    steps: int
    agree: int = 100
    precisions: tuple[str, ...] = ("dtype",)
    lr: float = 0.5


CIRESAN = [784, 2500, 2000, 1500, 1000, 500, 10]
SHAPES = {
    "book": Shape([784, 30, 10], 10, 1, 2000),
    "book100": Shape([784, 100, 10], 10, 1, 1000),
    "medium": Shape([784, 512, 512, 10], 128, 0, 40, precisions=("dtype", "bf16")),
    "ciresan": Shape(CIRESAN, 100, 0, 6, agree=20, precisions=("dtype", "tf32", "bf16")),
    "ciresan1000": Shape(CIRESAN, 1000, 0, 2, agree=4, precisions=("dtype", "tf32", "bf16")),
    "wide": Shape([4096] * 9, 8192, 0, 2, agree=4, precisions=("tf32", "bf16")),
}
EXAMPLES_ON_CUDA = 60_000
MANY = 10**6  # epochs: what "auto" would take for a long run
TOLERANCE = {"dtype": 1e-3, "tf32": 1e-2, "bf16": 1e-2}
SMALL = 100_000  # weights: only such networks are timed by example


@dataclass
class Row:
    """A contender's times, in µs a step, and why there are none; setup: seconds to build, compile and warm up."""

    name: str
    precision: str
    setup: float = 0.0
    times: list[float] = field(default_factory=list)
    error: float | None = None
    left_out: str | None = None


def time_shape(name: str, device: str, repeats: int, steps: int | None = None) -> dict[str, Any]:
    """The rows of a shape, as a dictionary that JSON can hold."""
    shape = SHAPES[name]
    cuda = torch.device(device).type == "cuda"
    if steps is None:
        steps = max(1, min(EXAMPLES_ON_CUDA // shape.batch_size, 6000)) if cuda else shape.steps
    job = job_of(shape, device, max(steps, shape.agree) * shape.batch_size)
    agree = _agreement(job, shape)
    reference = _reference(job, agree)
    rows, epochs = [], {}
    for row, peer in _peers(job, shape):
        rows.append(row)
        began = time.perf_counter()
        try:
            checked = peer(job._replace(recipe=replace(job.recipe, precision=row.precision)))
            if checked.weights is not None:
                checked.epoch(agree)
                row.error = _difference(checked.weights(), reference)
                if not row.error < TOLERANCE[row.precision]:
                    row.left_out = f"weights differ by {row.error:.1e} after {len(agree) // shape.batch_size} steps"
                    continue
            _timed(checked, job, steps, 0)  # warm-up: other shapes are compiled here
            epochs[row.name, row.precision] = checked
        except Exception as error:  # a contender that can't run is a row that says so, and the others are timed
            row.left_out = f"{type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else ''}"
        row.setup = time.perf_counter() - began
        print(f"  {row.name} {row.precision}: ready in {row.setup:.1f} s", file=sys.stderr, flush=True)
    rates: dict[str, list[float]] = {row.precision: [] for row in rows}
    for repeat in range(1, repeats + 1):
        for row in rows:
            if (row.name, row.precision) in epochs:
                contender = epochs[row.name, row.precision]
                few = max(1, steps // 20) if row.name == "NumPy by example" else steps
                row.times.append(_timed(contender, job, few, repeat) / few * 1e6)
        for precision, measured in rates.items():
            measured.append(_product_rate(precision, device))
    return {
        "shape": name,
        "sizes": shape.sizes,
        "batch_size": shape.batch_size,
        "threads": torch.get_num_threads(),
        "device": device,
        "steps": steps,
        "operations": job.operations,
        "rates": rates,
        "auto": engines.choose(job),
        "rows": [asdict(row) for row in rows],
    }


def _agreement(job: Job, shape: Shape) -> Tensor:
    """The examples that contenders must agree on: a whole block of each engine's, and half of one.

    So what is compiled or captured is compared, and what is left over. Where a block is an epoch, examples come again;
    a launch of the persistent kernel takes any number of steps.
    """
    runs = [engine for engine in engines.ENGINES.values() if engine.why_not(job) is None]
    block = max(min(engine.block(job), STEPS_CAPTURED) for engine in runs)
    count = max(shape.agree, block + (block + 1) // 2) * shape.batch_size
    m = len(job.data[0])
    return torch.cat([shuffled(m, 0, epoch) for epoch in range(-(-count // m))])[:count]


def job_of(shape: Shape, device: str, m: int) -> Job:
    """What all contenders train: m random examples with one-hot targets, and weights to start from."""
    rng = torch.Generator().manual_seed(0)
    net = bp.Network.create(shape.sizes, seed=0, device=device)
    x = torch.rand(m, shape.sizes[0], generator=rng).to(device)
    labels = torch.randint(shape.sizes[-1], (m,), generator=rng)
    y = torch.nn.functional.one_hot(labels, shape.sizes[-1]).float().to(device)
    return Job(State(net), (x, y), Recipe(epochs=MANY, batch_size=shape.batch_size, lr=shape.lr))


def _reference(job: Job, order: Tensor) -> list[Tensor]:
    """The weights after these examples in float64."""
    x, y = job.data
    exact = job._replace(state=State(job.state.net.to(torch.float64)), data=(x.double(), y.double()))
    contender = contenders.of_engine("eager")(exact)
    contender.epoch(order)
    return contender.weights() if contender.weights else []


def _difference(weights: list[Tensor], reference: list[Tensor]) -> float:
    pairs = zip(weights, reference, strict=True)
    return max(((w.to(r) - r).norm() / r.norm()).item() for w, r in pairs)


def _peers(job: Job, shape: Shape) -> Iterator[tuple[Row, Peer]]:
    """Who is timed, class by class; bp_torch in every way that runs here."""
    net, cuda = job.state.net, job.data[0].is_cuda
    for precision in shape.precisions:
        if precision_missing(net, precision):
            continue
        of_class = job._replace(recipe=replace(job.recipe, precision=precision))
        for engine, entry in engines.ENGINES.items():
            if entry.why_not(of_class) is None:
                yield Row(f"bp {engine}", precision), contenders.of_engine(engine)
        yield Row("JAX jit + scan", precision), contenders.jax_scan
        yield Row("torch autograd", precision), contenders.autograd
        yield Row("torch.compile of the step", precision), contenders.autograd_compiled
        if cuda:
            yield Row("autograd in a CUDA graph", precision), contenders.autograd_graph
    if cuda:
        return
    yield Row("NumPy", "dtype"), contenders.numpy_loop
    yield Row("scikit-learn", "dtype"), contenders.sklearn_mlp
    if sum(layer.w.numel() for layer in net.layers) < SMALL:
        yield Row("NumPy by example", "dtype"), contenders.numpy_by_example


def _timed(contender: Contender, job: Job, steps: int, epoch: int) -> float:
    """Seconds of an epoch of so many steps, its shuffle included."""
    x = job.data[0]
    synchronise(x)
    began = time.perf_counter()
    contender.epoch(shuffled(len(x), 0, epoch)[: steps * job.recipe.batch_size])
    synchronise(x)
    return time.perf_counter() - began


def synchronise(x: Tensor) -> None:
    """Waits for what runs on the device of x."""
    if x.is_cuda:
        torch.cuda.synchronize(x.device)


def _product_rate(precision: str, device: str) -> float:
    """Operations a second of torch's own product of large square matrices: the best of three."""
    cuda = torch.device(device).type == "cuda"
    n = 8192 if cuda else 2048
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b, c = (torch.full((n, n), 0.5, dtype=dtype, device=device) for _ in range(3))
    best = math.inf
    with products_in(precision):
        for _ in range(3):
            synchronise(a)
            began = time.perf_counter()
            torch.mm(a, b, out=c)
            synchronise(a)
            best = min(best, time.perf_counter() - began)
    return 2 * n**3 / best


def memory(device: str, batch_sizes: tuple[int, ...] = (100, 1000)) -> list[dict[str, Any]]:
    """Peak bytes of a step beyond parameters and data, of bp eager and of autograd with the fused SGD."""
    peers = {"bp eager": contenders.of_engine("eager"), "torch autograd": contenders.autograd}
    rows = []
    for m in batch_sizes:
        job = job_of(SHAPES["ciresan"]._replace(batch_size=m), device, 2 * m)
        for name, peer in peers.items():
            step = partial(peer(job).epoch, torch.arange(m))
            step()  # the first sets up more than a step needs
            rows.append({"name": name, "batch_size": m, "bytes": peak(step, device)})
    return rows


def peak(work: Callable[[], object], device: str) -> int:
    """The most bytes that torch held at a time during `work`, beyond what it held before."""
    if torch.device(device).type == "cuda":  # by the device that is named, whichever is the current one
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    profiler: Any = profile.profiler
    events = [event for event in profiler.kineto_results.events() if event.name() == "[memory]"]
    current = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        current += event.nbytes()
        most = max(most, current)
    return most


def growth(repeats: int = 5) -> dict[str, list[dict[str, Any]]]:
    """µs a step against width and depth, batches of 32, of bp as "auto" runs it and of JAX."""
    widths = [[784, width, 10] for width in (16, 64, 256, 1024, 4096)]
    depths = [[784, *[256] * depth, 10] for depth in (1, 2, 4, 8, 16)]
    return {"width": [_grown(s, repeats) for s in widths], "depth": [_grown(s, repeats) for s in depths]}


def _grown(sizes: list[int], repeats: int) -> dict[str, Any]:
    net = bp.Network.create(sizes)
    steps = max(4, min(500, int(2e10 / operations(net, 32))))
    job = job_of(Shape(sizes, 32, 0, steps, lr=0.1), "cpu", steps * 32)
    engine = engines.choose(job)
    times: dict[str, list[float]] = {}
    peers = {f"bp {engine}": contenders.of_engine(engine), "JAX jit + scan": contenders.jax_scan}
    with threads(job.threads):
        started = {name: peer(job) for name, peer in peers.items()}
        for repeat in range(repeats + 1):
            for name, contender in started.items():
                seconds = _timed(contender, job, steps, repeat)
                times.setdefault(name, []).append(seconds / steps * 1e6)
    return {"sizes": sizes, "times": {name: statistics.median(each[1:]) for name, each in times.items()}}

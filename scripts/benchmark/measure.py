"""What the benchmark runs in a process of its own: one shape timed, or how the cost grows."""

import math
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import contenders
import jax_peer
import torch
import torch_peers
from contenders import Contender, Peer
from torch import Tensor

import bp_torch as bp
from bp_torch.recipe import Recipe, rule_of
from bp_torch.state import Position, State, started
from bp_torch.threads import threads
from bp_torch.training import engines
from bp_torch.training.batches import shuffled
from bp_torch.training.engines.compiled import STEPS_CAPTURED
from bp_torch.training.job import Job, operations
from bp_torch.training.plan import plan_of
from bp_torch.training.precision import precision_missing, products_in


class Shape(NamedTuple):
    """A network, batch and update rule that is timed: steps a timed epoch on the CPU, and how the network is made.

    agree: the least steps before weights are compared. examples: in the data, 0 for those of the steps; the order of
    more steps is that of several epochs. compiled: whether bp's compiled engine is timed, which takes 10 to 20 s to
    build. digits: whether x is MNIST's, which are 0 for the most part, and not random numbers.
    """

    sizes: list[int]
    batch_size: int
    threads: int  # 0: all
    steps: int
    agree: int = 100
    precisions: tuple[str, ...] = ("dtype",)
    lr: float = 0.5
    optimizer: str = "sgd"
    hidden: str = "sigmoid"
    output: str = "sigmoid"
    cost: str = "quadratic"
    examples: int = 0
    compiled: bool = True
    digits: bool = False


def _classifier(sizes: list[int], batch_size: int, threads: int, steps: int, optimizer: str = "adam") -> Shape:
    """A shape of today's usual kind."""
    agree, lr = (20, 1e-3) if optimizer == "adam" else (100, 0.1)
    shape = Shape(sizes, batch_size, threads, steps, agree, lr=lr, optimizer=optimizer, compiled=False)
    digits = sizes[0] == 784
    return shape._replace(hidden="relu", output="softmax", cost="softmax_cross_entropy", digits=digits)


CIRESAN = [784, 2500, 2000, 1500, 1000, 500, 10]
SHAPES = {
    "book": Shape([784, 30, 10], 10, 1, 2000, digits=True),
    "book100": Shape([784, 100, 10], 10, 1, 1000, digits=True),
    "medium": Shape([784, 512, 512, 10], 128, 0, 40, precisions=("dtype", "bf16"), digits=True),
    "ciresan": Shape(CIRESAN, 100, 0, 6, agree=20, precisions=("dtype", "tf32", "bf16"), digits=True),
    "ciresan1000": Shape(CIRESAN, 1000, 0, 2, agree=4, precisions=("dtype", "tf32", "bf16")),
    "wide": Shape([4096] * 9, 8192, 0, 2, agree=4, precisions=("tf32", "bf16")),
    "small": _classifier([8, 32, 3], 32, 1, 1000, "sgd"),
    "table": _classifier([20, 64, 64, 2], 256, 1, 200, "sgd"),
    "adam-small": _classifier([8, 32, 3], 32, 1, 1000),
    "adam-table": _classifier([20, 64, 64, 2], 256, 1, 200),
    "adam-table-256": _classifier([100, 256, 256, 256, 5], 256, 0, 50),
    "adam-book100": _classifier([784, 100, 10], 10, 1, 500),
    "adam-book100-200": _classifier([784, 100, 10], 200, 1, 80),
    "adam-medium": _classifier([784, 512, 512, 10], 128, 0, 40),
    "adam-medium-1": _classifier([784, 512, 512, 10], 128, 1, 40),
    "adam-chains": Shape(
        [4, 32, 16, 4], 10_000, 0, 40, 20, ("dtype",), 1e-3, "adam", "tanh", "identity", examples=10_000, compiled=False
    ),
}
EXAMPLES_ON_CUDA = 60_000
MANY = 10**6  # epochs: what "auto" would take for a long run
TOLERANCE = {"dtype": 1e-3, "tf32": 1e-2, "bf16": 1e-2}
OF_ADAM = 1e-2  # where one relu is zero by rounding alone, Adam moves all of a silent neuron's weights by η
DENSITY = 1, 5, 10  # examples, of which a native step multiplies about five at once
SMALL = 100_000  # weights: only such networks are timed by example


@dataclass
class Row:
    """A contender's times, in µs a step, and why there are none; setup: seconds to build, compile and warm up."""

    name: str
    precision: str
    optimizer: str = "sgd"
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
    job = job_of(shape, device, shape.examples or max(steps, shape.agree) * shape.batch_size)
    agree = _agreement(job, shape)
    references: dict[str, list[Tensor]] = {}
    rows, epochs = [], {}
    for row, peer in _peers(job, shape):
        rows.append(row)
        began = time.perf_counter()
        try:
            checked = peer(_by(job, row))
            if checked.weights is not None:
                checked.epoch(agree)
                if row.optimizer not in references:
                    references[row.optimizer] = _reference(_by(job, Row("", "dtype", row.optimizer)), agree)
                row.error = _difference(checked.weights(), references[row.optimizer])
                if not row.error < (TOLERANCE[row.precision] if row.optimizer == "sgd" else OF_ADAM):
                    row.left_out = f"weights differ by {row.error:.1e} after {len(agree) // shape.batch_size} steps"
                    continue
            _timed(checked, job, steps, 0)  # warm-up: other shapes are compiled here
            epochs[id(row)] = checked
        except Exception as error:  # a contender that can't run is a row that says so, and the others are timed
            row.left_out = f"{type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else ''}"
        row.setup = time.perf_counter() - began
        print(f"  {row.name} {row.precision}: ready in {row.setup:.1f} s", file=sys.stderr, flush=True)
    rates: dict[str, list[float]] = {row.precision: [] for row in rows}
    shuffling = []
    for repeat in range(1, repeats + 1):
        began = time.perf_counter()
        _order(len(job.data[0]), steps * shape.batch_size, repeat)
        shuffling.append((time.perf_counter() - began) / steps * 1e6)
        for row in rows:
            if id(row) in epochs:
                contender = epochs[id(row)]
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
        **{name: getattr(shape, name) for name in ("optimizer", "hidden", "output", "cost")},
        "density": _density(job.data[0]) if shape.digits else None,
        "operations": job.operations,
        "shuffling": shuffling,
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
    return _order(len(job.data[0]), count, 0)


def _order(m: int, count: int, epoch: int) -> Tensor:
    """So many of m examples as they are shuffled from this epoch on."""
    epochs = -(-count // m)
    return torch.cat([shuffled(m, 0, epoch * epochs + each) for each in range(epochs)])[:count]


def _density(x: Tensor) -> dict[str, float]:
    """The share of the inputs that are not 0, and of those that one at least of so many examples has."""
    return {str(n): (x[: len(x) // n * n] != 0).view(-1, n, x.shape[1]).any(1).double().mean().item() for n in DENSITY}


def job_of(shape: Shape, device: str, m: int) -> Job:
    """What all contenders train: m examples with one-hot targets or values, and weights to start from.

    They are random, but for the inputs of MNIST's digits.
    """
    rng = torch.Generator().manual_seed(0)
    net = bp.Network.create(
        shape.sizes, hidden=shape.hidden, output=shape.output, cost=shape.cost, seed=0, device=device
    )
    x = bp.data.mnist("train")[0][:m] if shape.digits else torch.rand(m, shape.sizes[0], generator=rng)
    x = x.to(device)
    labels = torch.randint(shape.sizes[-1], (m,), generator=rng)
    y = torch.nn.functional.one_hot(labels, shape.sizes[-1]).float()
    if shape.output == "identity":
        y = torch.rand(m, shape.sizes[-1], generator=rng)
    recipe = Recipe(epochs=MANY, batch_size=shape.batch_size, lr=shape.lr, optimizer=shape.optimizer)
    return _fresh(Job(State(net), (x, y.to(device)), recipe))


def _fresh(job: Job) -> Job:
    """The job with the plan of its recipe, and with what its rule keeps at first."""
    net, rule = job.state.net, rule_of(job.recipe)
    plan = plan_of(job.recipe, len(net.layers), len(job.data[0]), weighted=False)
    return job._replace(state=started(net, rule, Position()), plan=plan)


def _by(job: Job, row: Row) -> Job:
    """The job by the rule and in the class of a row."""
    return _fresh(job._replace(recipe=replace(job.recipe, optimizer=row.optimizer, precision=row.precision)))


def _reference(job: Job, order: Tensor) -> list[Tensor]:
    """The weights after these examples in float64."""
    x, y = job.data
    exact = _fresh(job._replace(state=State(job.state.net.to(torch.float64)), data=(x.double(), y.double())))
    contender = contenders.of_engine("eager")(exact)
    contender.epoch(order)
    return contender.weights() if contender.weights else []


def _difference(weights: list[Tensor], reference: list[Tensor]) -> float:
    pairs = zip(weights, reference, strict=True)
    return max(((w.to(r) - r).norm() / r.norm()).item() for w, r in pairs)


def _peers(job: Job, shape: Shape) -> Iterator[tuple[Row, Peer]]:
    """Who is timed, class by class; bp_torch in every way that runs here, and its plain SGD beside another rule."""
    net, cuda, rule = job.state.net, job.data[0].is_cuda, shape.optimizer
    for precision in shape.precisions:
        if precision_missing(net, precision):
            continue
        of_class = job._replace(recipe=replace(job.recipe, precision=precision))
        for engine, entry in engines.ENGINES.items():
            if entry.why_not(of_class) is None and (engine != "compiled" or shape.compiled):
                yield Row(f"bp {engine}", precision, rule), contenders.of_engine(engine)
                if engine == "native" and shape.digits and precision == "dtype":
                    yield Row("bp native on random numbers", precision, rule), contenders.native_on_dense
        yield Row("JAX jit + scan", precision, rule), jax_peer.jax_scan
        yield Row("torch autograd", precision, rule), torch_peers.autograd
        yield Row("torch.compile of the step", precision, rule), torch_peers.autograd_compiled
        if cuda and job.plan.is_plain:
            yield Row("autograd in a CUDA graph", precision, rule), torch_peers.autograd_graph
    if not job.plan.is_plain:
        engine = engines.choose(job)
        yield Row(f"plain SGD by bp {engine}", "dtype"), contenders.of_engine(engine)
    if cuda:
        return
    yield Row("NumPy", "dtype", rule), contenders.numpy_loop
    yield Row("scikit-learn", "dtype", rule), contenders.sklearn_mlp
    if shape.hidden == "sigmoid" and sum(layer.w.numel() for layer in net.layers) < SMALL:  # the book's
        yield Row("NumPy by example", "dtype", rule), contenders.numpy_by_example


def _timed(contender: Contender, job: Job, steps: int, epoch: int) -> float:
    """Seconds of an epoch of so many steps, its shuffle included."""
    x = job.data[0]
    synchronise(x)
    began = time.perf_counter()
    contender.epoch(_order(len(x), steps * job.recipe.batch_size, epoch))
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
    peers = {f"bp {engine}": contenders.of_engine(engine), "JAX jit + scan": jax_peer.jax_scan}
    with threads(job.threads):
        started = {name: peer(job) for name, peer in peers.items()}
        for repeat in range(repeats + 1):
            for name, contender in started.items():
                seconds = _timed(contender, job, steps, repeat)
                times.setdefault(name, []).append(seconds / steps * 1e6)
    return {"sizes": sizes, "times": {name: statistics.median(each[1:]) for name, each in times.items()}}

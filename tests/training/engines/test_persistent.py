"""The persistent kernel takes the eager engine's steps: in Triton's interpreter on the CPU, and compiled on a GPU."""

import importlib.util
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import reference
import torch
from jobs import job

import bp_torch as bp
from bp_torch.training import engines
from bp_torch.training.engines import persistent
from bp_torch.training.job import Steps

CASES = [
    *[(hidden, "quadratic", "sigmoid") for hidden in ("sigmoid", "tanh", "relu")],
    ("sigmoid", "binary_cross_entropy", "sigmoid"),
    ("relu", "softmax_cross_entropy", "softmax"),
]
SMALL, TILED = [20, 13, 6], [40, 60, 16]  # two tiles of the inputs and a half


def _agrees(case: tuple[str, str, str], sizes: list[int], device: str, epochs: int) -> None:
    """Batches of 10 with a ragged last one of 7, and lr halved midway."""
    hidden, cost, output = case
    nets = [
        bp.Network.create(sizes, hidden=hidden, cost=cost, output=output, init="scaled", seed=1, device=device)
        for _ in range(2)
    ]
    x, y = (t.to(nets[0].layers[0].w) for t in reference.examples(nets[0], 97))
    costs = []
    for net, engine in zip(nets, ("eager", "persistent"), strict=True):
        records = bp.train(
            net,
            (x, y),
            epochs=epochs,
            batch_size=10,
            lr=lambda epoch: 0.1 if epoch <= epochs // 2 else 0.05,
            engine=engine,
        )
        costs.append([record.cost for record in records])
    assert costs[1] == pytest.approx(costs[0], rel=1e-5)
    for mine, theirs in zip(nets[0].layers, nets[1].layers, strict=True):
        for wanted, got in zip(mine, theirs, strict=True):
            assert reference.relative_error(got, wanted) < 1e-5


def _interpret(test: str) -> None:
    """Runs a function of this file in a process in which Triton interprets its kernels."""
    here = Path(__file__)
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": f"{here.parent}:{here.parents[2]}"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import test_persistent; test_persistent.{test}"],
        env=environment,
        cwd=here.parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")


def interpreted_quickly() -> None:
    for case in CASES:
        _agrees(case, SMALL, "cpu", 2)
    _agrees(CASES[0], TILED, "cpu", 1)


def interpreted_for_200_steps() -> None:
    for case in CASES:
        _agrees(case, SMALL, "cpu", 20)
        _agrees(case, TILED, "cpu", 20)


@needs_triton
def test_the_kernel_interpreted_takes_the_eager_steps() -> None:
    _interpret("interpreted_quickly()")


@needs_triton
@pytest.mark.slow
def test_the_kernel_interpreted_takes_200_of_the_eager_steps() -> None:
    _interpret("interpreted_for_200_steps()")


@pytest.mark.gpu
@pytest.mark.parametrize("sizes", [SMALL, TILED, [784, 30, 10]], ids=str)
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_the_kernel_on_a_gpu_takes_the_eager_steps(case: tuple[str, str, str], sizes: list[int]) -> None:
    _agrees(case, sizes, "cuda", 20)


SHARED = {80: 166_912, 90: 232_448}  # bytes of shared memory that a block may have: of an A100, of an H100
STACK, SPILLS = 16, 16  # bytes of a thread: kernels of one neuron and one tile need 8 and 12, the others none
AT_MOST = (persistent.MOST_HIDDEN, persistent.MOST_OUTPUTS, persistent.MOST_EXAMPLES)


class Compiled(NamedTuple):
    """What Triton and ptxas say of a kernel, in bytes; stack and spills are of a thread."""

    shared: int
    stack: int
    spills: int


def _compiled(capability: int, case: tuple[str, str, str], n0: int, n1: int, n2: int, batch_size: int) -> Compiled:
    """Compiles the kernel for a GPU of this compute capability, which need not be there."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from bp_torch.training.engines.persistent_kernel import epoch_kernel

    constants = persistent.constants_of([n0, n1, n2], batch_size, case[0], case[1])
    types = dict.fromkeys(("x", "y", "factors", "w1", "b1", "w2", "b2"), "*fp32")
    types |= {"order": "*i64", "costs": "*fp64", "steps": "i32", "last": "i32"}
    names = epoch_kernel.arg_names
    kernel: Any = triton.compile(
        ASTSource(
            fn=epoch_kernel,
            signature={name: types.get(name, "constexpr") for name in names},
            constexprs={(names.index(name),): value for name, value in constants.items()},
        ),
        target=GPUTarget("cuda", capability, 32),
        options=dict(num_warps=persistent.WARPS, enable_fp_fusion=True),
    )
    ptxas = Path(triton.__file__).parent / "backends/nvidia/bin/ptxas"
    architecture = f"sm_{capability}a" if capability == 90 else f"sm_{capability}"
    report = subprocess.run(
        [ptxas, "-v", f"--gpu-name={architecture}", "-", "-o", os.devnull],
        input=kernel.asm["ptx"],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    (stack,) = re.findall(r"(\d+) bytes stack frame", report)
    spills = re.findall(r"(\d+) bytes spill", report)
    return Compiled(kernel.metadata.shared, int(stack), sum(map(int, spills)))


def _fits(capability: int, case: tuple[str, str, str], *sizes: int) -> None:
    compiled = _compiled(capability, case, *sizes)
    assert compiled.shared <= SHARED[capability], (capability, case, sizes)
    assert compiled.stack <= STACK, (capability, case, sizes, compiled)
    assert compiled.spills <= SPILLS, (capability, case, sizes, compiled)


@needs_triton
@pytest.mark.parametrize(("capability", "case"), [(80, CASES[0]), (90, CASES[-1])], ids=str)
def test_the_largest_kernel_that_is_taken_fits_a_gpu(capability: int, case: tuple[str, str, str]) -> None:
    """In its shared memory, and what a thread holds in registers."""
    _fits(capability, case, 784, *AT_MOST)


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize("capability", SHARED)
def test_each_kernel_at_the_edges_of_what_is_taken_fits_a_gpu(capability: int) -> None:
    for hidden, (cost, output) in itertools.product(persistent.ACTIVATIONS, persistent.OUTPUTS.items()):
        _fits(capability, (hidden, cost, output), 784, *AT_MOST)
    for n0 in (1, 16, 17, 784, 100_000):
        for sizes in itertools.product(*((1, most) for most in AT_MOST)):
            _fits(capability, CASES[-1], n0, *sizes)


class Kernel:
    """What stands for the kernel: it notes its launches, and may fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.steps: list[int] = []

    def __getitem__(self, grid: tuple[int]) -> "Kernel":
        return self

    def __call__(self, x: torch.Tensor, y: torch.Tensor, order: torch.Tensor, *rest: Any, **constants: Any) -> None:
        assert on_the_device_of is x
        self.steps.append(rest[6])
        if self.error is not None:
            raise self.error


on_the_device_of: torch.Tensor | None = None


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def device_of(x: torch.Tensor) -> Iterator[None]:
        global on_the_device_of
        on_the_device_of = x
        yield
        on_the_device_of = None

    monkeypatch.setattr(torch.cuda, "device_of", device_of)


def _built(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> tuple[bp.Network, Any]:
    from bp_torch.training.engines import persistent_kernel

    monkeypatch.setattr(persistent_kernel, "epoch_kernel", kernel)
    net = bp.Network.create(SMALL)
    return net, engines.ENGINES["persistent"].build(
        job(net, (torch.full((97, 20), 0.5), torch.full((97, 6), 0.5)), batch_size=10)
    )


@needs_triton
@pytest.mark.usefixtures("devices")
def test_it_is_compiled_when_built_and_launched_on_the_device_of_x(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel()
    _, run = _built(kernel, monkeypatch)
    assert kernel.steps == [0]
    run(Steps(torch.arange(97), torch.zeros(10, 1, dtype=torch.float64), torch.empty(10, 0, dtype=torch.int32)))
    assert kernel.steps == [0, 10]


@needs_triton
@pytest.mark.usefixtures("devices")
def test_a_kernel_that_cant_be_launched_is_an_engine_error_of_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.runtime.errors import OutOfResources

    with pytest.raises(bp.EngineError, match=r"can't run here \(.*shared memory.*\): use engine='graph'"):
        _built(Kernel(OutOfResources(264_704, 232_448, "shared memory")), monkeypatch)


def test_auto_does_not_choose_it() -> None:
    """Not before it has been measured on a GPU."""
    net = bp.Network.create([784, 30, 10])
    assert engines.choose(job(net, 60_000, epochs=100)) != "persistent"


@pytest.mark.parametrize(
    ("sizes", "settings", "precision", "message"),
    [
        ([20, 13, 6], {}, "tf32", "is for torch.float32 and precision='dtype'"),
        ([20, 13, 7, 6], {}, "dtype", "is for one hidden layer of sigmoid, tanh, relu"),
        ([20, 13, 6], dict(hidden="gelu"), "dtype", "is for one hidden layer of sigmoid, tanh, relu"),
        ([20, 13, 6], dict(output="tanh"), "dtype", "sigmoid or softmax outputs"),
        ([20, 65, 6], {}, "dtype", "at most 64 neurons"),
        ([20, 13, 17], {}, "dtype", "at most 16 sigmoid or softmax outputs"),
    ],
    ids=str,
)
def test_what_it_is_not_for_is_said(
    sizes: list[int], settings: dict, precision: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = bp.Network.create(sizes, **settings)
    large = job(bp.Network.create(SMALL), 20, batch_size=17)
    assert "needs CUDA and Triton" in str(engines.ENGINES["persistent"].why_not(job(net, 10, precision=precision)))
    if importlib.util.find_spec("triton") is not None:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        assert message in str(engines.ENGINES["persistent"].why_not(job(net, 10, precision=precision)))
        assert "batches of at most 16" in str(engines.ENGINES["persistent"].why_not(large))

"""The persistent kernel takes the eager engine's steps: in Triton's interpreter on the CPU, and compiled on a GPU."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import reference
from jobs import job

import bp_torch as bp
from bp_torch.training import engines

CASES = [
    *[(hidden, "quadratic", "sigmoid") for hidden in ("sigmoid", "tanh", "relu")],
    ("sigmoid", "binary_cross_entropy", "sigmoid"),
    ("relu", "softmax_cross_entropy", "softmax"),
]
SMALL, TILED = [20, 13, 6], [300, 130, 5]


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
@pytest.mark.parametrize("sizes", [SMALL, TILED, [784, 30, 10], [784, 100, 10]], ids=str)
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_the_kernel_on_a_gpu_takes_the_eager_steps(case: tuple[str, str, str], sizes: list[int]) -> None:
    _agrees(case, sizes, "cuda", 20)


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
        ([20, 1000, 6], {}, "dtype", "at most 256 neurons"),
    ],
    ids=str,
)
def test_what_it_is_not_for_is_said(
    sizes: list[int], settings: dict, precision: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = bp.Network.create(sizes, **settings)
    assert "needs CUDA and Triton" in str(engines.ENGINES["persistent"].why_not(job(net, 10, precision=precision)))
    if importlib.util.find_spec("triton") is not None:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        assert message in str(engines.ENGINES["persistent"].why_not(job(net, 10, precision=precision)))

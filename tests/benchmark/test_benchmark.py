"""The benchmark: contenders agree before they are timed, and what is written comes from what was measured."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import contenders
import measure
import pytest
import tables
import torch
from benchmark_program import benchmark

from bp_torch.training.batches import shuffled
from bp_torch.training.job import Job


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(measure.SHAPES, "tiny", measure.Shape([12, 7, 5], 4, 1, steps=3, agree=20))
    monkeypatch.setattr(measure, "_product_rate", lambda precision, device: 1e9)
    monkeypatch.setattr(measure, "_peers", _quick_peers(measure._peers))


def _quick_peers(peers):
    """Without what compiles for seconds."""
    return lambda *args: [(row, peer) for row, peer in peers(*args) if "compile" not in row.name]


@pytest.mark.usefixtures("tiny")
def test_every_contender_agrees_and_is_timed() -> None:
    results = measure.time_shape("tiny", "cpu", repeats=2)
    names = {row["name"] for row in results["rows"] if len(row["times"]) == 2}
    assert {"bp eager", "bp native", "torch autograd", "NumPy", "NumPy by example", "scikit-learn"} <= names
    for row in results["rows"]:
        if row["name"] == "JAX jit + scan" and row["left_out"]:  # an extra, which need not be installed
            assert "jax" in row["left_out"]
        elif row["name"] != "scikit-learn":
            assert row["error"] < 1e-5
    assert results["operations"] == 2 * 4 * (2 * 12 * 7 + 3 * 7 * 5)
    text = tables.table(results)
    assert "### tiny: 12-7-5, batch 4" in text
    assert all(name in text for name in names)


@pytest.mark.usefixtures("tiny")
def test_a_contender_that_does_not_agree_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(job: Job) -> contenders.Contender:
        return contenders.numpy_loop(job._replace(recipe=replace(job.recipe, lr=1.0)))

    def broken(job: Job) -> contenders.Contender:
        raise ImportError("it is not installed")

    peers = [
        (measure.Row("bp eager", "dtype"), contenders.of_engine("eager")),
        (measure.Row("wrong", "dtype"), wrong),
        (measure.Row("broken", "dtype"), broken),
    ]
    monkeypatch.setattr(measure, "_peers", lambda *_: peers)
    results = measure.time_shape("tiny", "cpu", repeats=1)
    rows = {row["name"]: row for row in results["rows"]}
    assert rows["bp eager"]["times"]
    assert not rows["wrong"]["times"]
    assert "weights differ by" in rows["wrong"]["left_out"]
    assert rows["broken"]["left_out"] == "ImportError: it is not installed"
    assert "weights differ by" in tables.table(results)


def test_a_gpu_gets_times_of_an_epoch() -> None:
    row = {"name": "bp graph", "precision": "dtype", "setup": 0.5, "times": [20.0], "left_out": None}
    results = {"shape": "book", "sizes": [2, 1], "batch_size": 10, "threads": 1, "device": "cuda", "operations": 16}
    text = tables.table({**results, "rates": {"dtype": [1e8]}, "rows": [row]})
    assert "An epoch of 60,000, ms: bp graph float32 120.0" in text  # 6,000 steps of 20 µs


def test_the_reference_is_float64() -> None:
    job = measure.job_of(measure.Shape([12, 7, 5], 4, 1, 3), "cpu", 40)
    (first, second) = measure._reference(job, shuffled(40, 0, 0))
    assert first.dtype == second.dtype == torch.float64


def test_peak_counts_what_is_held_at_a_time() -> None:
    def work() -> None:
        a = torch.empty(1000, 1000)
        b = torch.empty(500, 1000)
        del a
        c = torch.empty(100, 1000)
        del b, c

    assert measure.peak(work, "cpu") == 6_000_000


def test_results_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {
        "name": "bp eager",
        "precision": "dtype",
        "setup": 0.5,
        "times": [3.0, 1.0, 2.0],
        "error": 0,
        "left_out": None,
    }
    shape = {"shape": "tiny", "sizes": [2, 1], "batch_size": 4, "threads": 1, "device": "cpu", "operations": 16}
    results = {**shape, "rates": {"dtype": [1e8]}, "rows": [row, {**row, "name": "NumPy", "times": [4.0]}]}
    monkeypatch.setattr(benchmark, "_measured", lambda *_: results)
    monkeypatch.setattr(sys, "argv", ["benchmark", "--shape", "book", "--out", str(tmp_path)])
    assert benchmark.main() == 0
    assert json.loads((tmp_path / "cpu.json").read_text())["shapes"] == [results]
    assert (tmp_path / "cpu.png").stat().st_size > 1000
    text = (tmp_path / "README.md").read_text()
    assert "| bp eager | float32 | 2.0 | 1.0 | 3.0 | 1.00 | 8% | 0.5 |" in text
    assert "| NumPy | float32 | 4.0 | 4.0 | 4.0 | 2.00 | 4% | 0.5 |" in text
    assert "Not yet measured." in text  # CUDA


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shape", "huge"], "unknown shape 'huge': choose one of cpu, cuda, all, book"),
        (["--repeats", "0"], "--repeats must be a whole number of at least 1"),
        (["--device", "tpu"], "unknown device 'tpu'"),
    ],
    ids=str,
)
def test_bad_arguments_end_in_one_sentence(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(Path(measure.__file__).parent), *arguments, "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr

"""The benchmark: contenders agree before they are timed, and what is written comes from what was measured."""

import json
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import contenders
import gradient_norms
import jax_peer
import measure
import memory
import pytest
import tables
import torch
import torch_peers
from benchmark_program import benchmark
from fake_gpu import fake_gpu

import bp_torch as bp
from bp_torch.state import State
from bp_torch.training import engines
from bp_torch.training.batches import shuffled
from bp_torch.training.engines.compiled import STEPS_CAPTURED
from bp_torch.training.job import Job

TINY = measure.Shape([12, 7, 5], 4, 1, steps=3, agree=20)
CLASSES = dict(hidden="relu", output="softmax", cost="softmax_cross_entropy", compiled=False)
VALUES = dict(hidden="tanh", output="identity", examples=8, compiled=False)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(measure.SHAPES, "tiny", TINY)
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
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("made", [CLASSES, VALUES], ids=["classes", "values"])
def test_they_agree_by_every_rule_and_cost(made: dict, optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """scikit-learn among them, where its cost is the same; and plain SGD is timed beside another rule."""
    monkeypatch.setitem(measure.SHAPES, "tiny", TINY._replace(optimizer=optimizer, lr=0.01, **made))
    results = measure.time_shape("tiny", "cpu", repeats=1)
    rows = {
        row["name"]: row for row in results["rows"] if not (row["left_out"] or "").startswith("ModuleNotFoundError")
    }
    assert {"bp eager", "bp native", "torch autograd", "NumPy", "scikit-learn"} <= set(rows)
    assert ("plain SGD by bp native" in rows) == (optimizer == "adam")
    for name, row in rows.items():
        assert row["error"] < (1e-3 if name == "scikit-learn" else 1e-5), row
        assert len(row["times"]) == 1
    assert tables.words(results).startswith("Adam" if optimizer == "adam" else "plain SGD")


@pytest.mark.usefixtures("tiny")
def test_digits_are_timed_beside_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the table says how many of their inputs are not 0."""
    digits = torch.zeros(100, 12)
    digits[:, 0], digits[::2, 1] = 1, 1
    monkeypatch.setattr(bp.data, "mnist", lambda split: (digits, None))
    monkeypatch.setitem(measure.SHAPES, "tiny", TINY._replace(digits=True))
    results = measure.time_shape("tiny", "cpu", repeats=1)
    assert results["density"] == {"1": 1.5 / 12, "5": 2 / 12, "10": 2 / 12}
    rows = {row["name"]: row for row in results["rows"]}
    assert rows["bp native on random numbers"]["times"]
    assert rows["bp native"]["error"] < 1e-5
    text = tables.table(results)
    assert "inputs 12% are not 0 (of 5 examples together: 17%, 10 examples together: 17%)" in text


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_compiled_peer_agrees(optimizer: str) -> None:
    job = measure.job_of(TINY._replace(optimizer=optimizer, lr=0.01, **CLASSES), "cpu", 80)
    order = torch.arange(80)
    compiled, plain = torch_peers.autograd_compiled(job), torch_peers.autograd(job)
    for contender in (compiled, plain):
        contender.epoch(order)
    assert compiled.weights
    assert plain.weights
    assert measure._difference(compiled.weights(), plain.weights()) < 1e-5


def test_two_classes_are_not_compared_with_scikit_learn() -> None:
    """It has one output for them, so its weights are of other shapes."""
    job = measure.job_of(TINY._replace(sizes=[12, 7, 2], **CLASSES), "cpu", 20)
    assert contenders.sklearn_mlp(job).weights is None


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


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("block", [1, 3, 60, 6000])
def test_contenders_agree_over_a_whole_block_and_some_of_the_next(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what was captured or compiled is compared before it is timed, and what is left over too."""
    entry = engines.ENGINES["eager"]._replace(block=lambda job: block)
    monkeypatch.setitem(engines.ENGINES, "eager", entry)
    shape = measure.SHAPES["tiny"]
    for steps in (3, 200):
        job = measure.job_of(shape, "cpu", steps * shape.batch_size)
        order = measure._agreement(job, shape)
        assert len(order) % shape.batch_size == 0
        captured = min(block, STEPS_CAPTURED)
        assert len(order) // shape.batch_size >= max(shape.agree, captured + 1)
        assert order.max() < len(job.data[0])


def test_each_shape_of_cuda_is_compared_over_its_graphs_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engines.ENGINES, "graph", engines.ENGINES["graph"]._replace(why_not=lambda job: None))
    for name in benchmark.SETS["cuda"]:
        shape = measure.SHAPES[name]
        steps = max(1, min(measure.EXAMPLES_ON_CUDA // shape.batch_size, 6000))
        net = bp.Network.create([4, 3])  # the graph's block depends on the number of examples alone
        x = torch.empty(steps * shape.batch_size, 4, device="meta")
        a_job = Job(State(net), (x, x), bp.Recipe(batch_size=shape.batch_size))
        block = engines.ENGINES["graph"].block(a_job)
        assert block == min(steps, STEPS_CAPTURED)
        assert len(measure._agreement(a_job, shape)) // shape.batch_size > block


def _jax(monkeypatch: pytest.MonkeyPatch, **devices: int) -> None:
    """A JAX that sees so many devices of each platform."""

    def of(platform: str) -> list[SimpleNamespace]:
        if platform not in devices:
            raise RuntimeError(f"Unknown backend: {platform!r} requested")
        return [SimpleNamespace(platform=platform, id=i) for i in range(devices[platform])]

    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(devices=of, default_backend=lambda: "cpu"))


def test_jax_on_the_cpu_is_not_timed_as_jax_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    _jax(monkeypatch, cpu=1)
    for device in ("cuda", "cuda:1"):
        with pytest.raises(RuntimeError, match=rf"JAX runs on cpu here, not on {device}: install jax\[cuda13\]"):
            jax_peer.jax_device(torch.device(device))
    assert jax_peer.jax_device(torch.device("cpu")).platform == "cpu"
    _jax(monkeypatch, cpu=1, gpu=2)
    assert jax_peer.jax_device(torch.device("cuda:1")).id == 1
    assert jax_peer.jax_device(torch.device("cpu")).platform == "cpu"


def test_what_is_measured_is_of_the_device_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of the current one: peaks of memory, and in its own process all that looks at the current device."""
    asked = []
    for name in ("memory_allocated", "reset_peak_memory_stats", "max_memory_allocated", "set_device"):
        monkeypatch.setattr(torch.cuda, name, lambda device: asked.append(str(device)) or 0)
    with fake_gpu(monkeypatch):
        x = torch.zeros(4, 3, device="cuda:1")
        gradient_norms._held(lambda x, y: x, x, x, examples=4)
    assert asked == ["cuda:1"] * 3
    monkeypatch.setattr(memory, "of_steps", lambda device: device)
    assert benchmark._part(Namespace(device="cuda:1", part="memory")) == "cuda:1"
    assert asked[3:] == ["1"]


MADE = {"optimizer": "sgd", "hidden": "sigmoid", "output": "sigmoid", "cost": "quadratic", "auto": "native"}
MADE |= {"shuffling": [0.5]}


def test_a_gpu_gets_times_of_an_epoch() -> None:
    row = {"name": "bp graph", "precision": "dtype", "setup": 0.5, "times": [20.0], "left_out": None}
    results = {"shape": "book", "sizes": [2, 1], "batch_size": 10, "threads": 1, "device": "cuda", "operations": 16}
    text = tables.table({**results, **MADE, "rates": {"dtype": [1e8]}, "rows": [row]})
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

    assert memory.peak(work, "cpu") == 6_000_000


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux counts it")
def test_memory_of_a_process_is_the_most_at_a_time() -> None:
    def work() -> None:
        a = torch.ones(20_000_000)
        del a
        b = torch.ones(5_000_000)
        del b

    assert 75e6 < memory.resident_peak(work) < 90e6


def test_the_memory_of_an_adam_step_is_beyond_what_a_contender_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "ADAM", TINY._replace(optimizer="adam", **CLASSES))
    monkeypatch.setattr(memory, "resident_peak", lambda work: work() or 5000)
    row = memory.of_adam("torch autograd")
    assert row["parameters"] == 4 * (12 * 7 + 7 + 7 * 5 + 5)
    assert row["bytes"] == 5000 - 3 * row["parameters"]
    assert "| torch autograd | 0 | 6.54 |" in tables.adam_memory_table([row])


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
    results = {**shape, **MADE, "rates": {"dtype": [1e8]}, "rows": [row, {**row, "name": "NumPy", "times": [4.0]}]}
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
        (["--shape", "huge"], "unknown shape 'huge': choose one of cpu, adam, cuda, all, book"),
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

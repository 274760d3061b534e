"""The benchmark of per-example norms: contenders agree before they are timed, and the table comes from what was."""

import json
import sys
from pathlib import Path

import gradient_norms
import measure
import pytest
import tables
import torch
from benchmark_program import benchmark

QUICK = [peer for peer in gradient_norms.PEERS if "compile" not in peer.name]
OPACUS = {"Opacus GradSampleModule", "Opacus ghost norms"}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient_norms, "SHAPE", measure.Shape([12, 7, 5], 1, 1, 1))
    monkeypatch.setattr(gradient_norms, "TUNED_ON", 32)
    monkeypatch.setattr(gradient_norms, "SAMPLE", 16)
    few = [peer._replace(chunks=(4, 16)) if peer.chunks else peer for peer in QUICK]
    monkeypatch.setattr(gradient_norms, "PEERS", few)


@pytest.mark.usefixtures("tiny")
def test_every_contender_agrees_and_is_timed() -> None:
    results = gradient_norms.time_norms("cpu", repeats=2, examples=64)
    assert {row["name"] for row in results["rows"]} == {peer.name for peer in QUICK}
    for row in results["rows"]:
        if row["name"] in OPACUS and row["left_out"]:  # it need not be installed
            assert row["left_out"] == "ModuleNotFoundError: No module named 'opacus'"
            continue
        assert row["error"] < 1e-5, row
        assert len(row["times"]) == 2
        assert row["bytes"] > 0
    assert {(c["name"], c["chunk"]) for c in results["chunks"]} >= {("torch.func.vmap(grad)", c) for c in (4, 16)}
    text = tables.per_example_table(results)
    assert "12-7-5, 64 examples" in text
    assert all(row["name"] in text for row in results["rows"])


@pytest.mark.usefixtures("tiny")
def test_what_does_not_agree_or_run_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(job: object) -> gradient_norms.Norms:
        raise ModuleNotFoundError("No module named 'opacus'")

    peers = [
        gradient_norms.Peer("bp per_example", gradient_norms.ours),
        gradient_norms.Peer("wrong", lambda job: lambda x, y, chunk: 2 * gradient_norms.ours(job)(x, y, chunk)),
        gradient_norms.Peer("missing", missing, (4,)),
    ]
    monkeypatch.setattr(gradient_norms, "PEERS", peers)
    results = gradient_norms.time_norms("cpu", repeats=1, examples=64)
    right, wrong, absent = results["rows"]
    assert right["times"]
    assert not wrong["times"]
    assert wrong["left_out"] == "norms differ by 1.0e+00"
    assert absent["left_out"] == "ModuleNotFoundError: No module named 'opacus'"
    assert "No module named 'opacus'" in tables.per_example_table(results)


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_the_compiled_peer_agrees() -> None:
    job = measure.job_of(gradient_norms.SHAPE, "cpu", 16)
    norms = gradient_norms.vmap_compiled(job)(*job.data, 8)
    assert torch.allclose(norms, gradient_norms.ours(job)(*job.data, 8), rtol=1e-5)


def test_results_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"chunk": None, "setup": 0.5, "error": 0, "left_out": None}
    ours = {**row, "name": "bp per_example", "times": [0.3, 0.1, 0.2], "bytes": 500_000}
    peer = {**row, "name": "torch.func.vmap(grad)", "chunk": 32, "times": [4.0], "bytes": 10_000_000}
    chunks = [{"name": "torch.func.vmap(grad)", "chunk": 1, "seconds": 30.0, "bytes": 400_000}]
    results = {
        "sizes": [2, 1],
        "examples": 60_000,
        "device": "cpu",
        "threads": 2,
        "rows": [peer, ours],
        "chunks": chunks,
    }
    monkeypatch.setattr(benchmark, "_measured", lambda *_: {**results, "rows": [ours, peer]})
    monkeypatch.setattr(sys, "argv", ["benchmark", "--per-example", "--out", str(tmp_path)])
    assert benchmark.main() == 0
    written = json.loads((tmp_path / "per_example.json").read_text())
    assert written["rows"] == [ours, peer]
    assert "--per-example" in written["command"]
    text = (tmp_path / "README.md").read_text()
    assert "| bp per_example |  | 0.200 | 0.100 | 0.300 | 1.0 | 0.50 | 1.0 | 0.5 |" in text
    assert "| torch.func.vmap(grad) | 32 | 4.000 | 4.000 | 4.000 | 20.0 | 10.00 | 20.0 | 0.5 |" in text
    assert "| torch.func.vmap(grad) | 1 | 30.000 | 0.40 |" in text

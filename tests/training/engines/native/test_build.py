"""Compiled libraries: kept, found again, and what a compiler that fails ends in."""

from pathlib import Path

import pytest
from engine_cases import data, network
from jobs import job

import bp_torch as bp
from bp_torch.training.engines.native import build, printer


def test_a_compiler_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\necho 'step.cpp:1: error: no room on the disk' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(build, "compiler", lambda: str(broken))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(bp.EngineError, match=r"failed \(step\.cpp:1: error: no room on the disk"):
        build.build("int x;", 1)
    assert list((tmp_path / "bp_torch").iterdir()) == []


def test_without_a_home_that_can_be_written_a_library_is_built_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    net = network(("sigmoid", "quadratic", "sigmoid"))
    list(bp.train(net, data(net), epochs=1, engine="native"))


def test_a_built_library_is_found_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code = printer.source(job(bp.Network.create([3, 2]), 4))
    build.build(code, 1)
    (library,) = (tmp_path / "bp_torch").iterdir()
    written = library.stat().st_mtime_ns
    build.build(code, 1)
    assert library.stat().st_mtime_ns == written

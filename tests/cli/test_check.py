"""The program that checks gradients: it passes what is right, and names what is not."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from programs import call

import bp_torch as bp


def test_every_activation_is_checked_with_every_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check", "--device", "cpu") == 0
    head, *rows, largest, verdict = capsys.readouterr().out.splitlines()
    assert head.split()[3:] == list(bp.COSTS)
    assert [row.split()[0] for row in rows] == list(bp.ACTIVATIONS)
    errors = [float(number) for row in rows for number in row.split()[1:]]
    assert len(errors) == len(bp.ACTIVATIONS) * len(bp.COSTS)
    assert 0 < max(errors) < 1e-6
    assert largest == f"The largest relative difference is {max(errors):.1e}, in float64 on cpu."
    assert verdict == "The gradients are right."


def test_a_wrong_derivative_is_named_with_layer_and_parameter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = bp.ACTIVATIONS["tanh"]
    monkeypatch.setitem(bp.ACTIVATIONS, "tanh", replace(right, derivative=lambda z, a: 1 - a))
    assert call("check") == 1
    wrong = [line for line in capsys.readouterr().out.splitlines() if line.startswith("WRONG: ")]
    of = {line.removeprefix("WRONG: ").partition(", by")[0] for line in wrong}
    hidden = {f"tanh with {cost}: layer 0, differences of {part}" for cost in bp.COSTS for part in "wb"}
    output = {f"tanh with quadratic: layer 1, differences of {part}" for part in "wb"}
    assert of == hidden | output  # with the other costs tanh is no output's


def test_a_wrong_bias_gradient_alone_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = bp.Network.gradients

    def wrong(*given: object) -> tuple[bp.Layer, ...]:
        first, *others = right(*given)  # pyright: ignore[reportArgumentType]
        return (first._replace(b=1.01 * first.b), *others)

    monkeypatch.setattr(bp.Network, "gradients", wrong)
    assert call("check") == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("WRONG: ")]
    assert len(lines) == len(bp.ACTIVATIONS) * len(bp.COSTS)
    assert all(": layer 0, differences of b, by " in line for line in lines)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_run_is_checked_in_float64_whatever_it_was_trained_in(
    dtype: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--dataset", "digits", "--hidden", 4, "--epochs", 1, "--batch-size", 100, "--dtype", dtype]
    assert call("train", *few, "--engine", "eager", "--out", tmp_path / "run") == 0
    capsys.readouterr()
    assert call("check", tmp_path / "run") == 0
    printed = capsys.readouterr().out
    assert "differences for single weights" in printed
    assert printed.endswith(", in float64 on cpu.\nThe gradients are right.\n")
    assert bp.load(tmp_path / "run" / "weights.safetensors").layers[0].w.dtype == getattr(torch, dtype)


def test_bad_input_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check", tmp_path) == 2
    assert "is not a run folder" in capsys.readouterr().err
    assert call("check", "--dataset", "digits") == 2
    assert "--dataset must be left out where there is no RUN" in capsys.readouterr().err
    assert call("check", "--device", "cuda:99") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1

"""What was saved in the first format is read by every later version: a run stopped in mid-epoch, and a checkpoint."""

import shutil
from pathlib import Path

import torch
from programs import call

import bp_torch as bp
from bp_torch import runs

RUN = Path(__file__).parent.parent / "corpus" / "run-of-the-first-format"


def test_a_checkpoint_of_the_first_format_loads() -> None:
    checkpoint = bp.load_checkpoint(RUN / "weights.safetensors")
    assert checkpoint.position[:2] == (2, 80)
    assert checkpoint.net.sizes == [64, 4, 10]
    assert checkpoint.settings["precision"] == "ieee"
    assert bp.load(RUN / "finished.safetensors").accuracy(*bp.data.digits("test")) == 209 / 360


def test_a_run_of_the_first_format_goes_on_to_the_end_it_had(tmp_path: Path) -> None:
    shutil.copytree(RUN, tmp_path / "run")
    assert call("train", "--resume", tmp_path / "run") == 0
    run, finished = runs.read(tmp_path / "run"), bp.load(RUN / "finished.safetensors")
    for layer, wanted in zip(run.net.layers, finished.layers, strict=True):
        torch.testing.assert_close(layer.w, wanted.w)
        torch.testing.assert_close(layer.b, wanted.b)
    assert [record.epoch for record in run.records] == [1, 2, 3]
    assert run.config.recipe == bp.Recipe(epochs=3, lr=3.0, engine="eager")
    assert call("predict", tmp_path / "run") == 0
    assert call("report", tmp_path / "run") == 0

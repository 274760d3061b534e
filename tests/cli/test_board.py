"""--tensorboard: each epoch of a run once, whatever became of the run before, and a sentence where it can't be."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from programs import call

from bp_torch.cli import board
from bp_torch.runs import metrics, pictures
from bp_torch.training.loop import Record

SHORT = ["--dataset", "digits", "--epochs", "4", "--hidden", "12", "--checkpoint-every", "2"]
BOARD = [*SHORT, "--tensorboard"]


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    for picture in ("confusion", "curve"):
        monkeypatch.setattr(pictures, picture, lambda *_: None)


class KilledError(BaseException):
    """Stands for kill -9."""


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard reads of a run: of each figure the epochs and the values."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder / board.FOLDER)).Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


def figures(folder: Path) -> dict[str, list[tuple[int, Any]]]:
    lines = [json.loads(line) for line in (folder / metrics.FILE).read_text().splitlines()]
    return {name: [(line["epoch"], pytest.approx(line[name])) for line in lines] for name in board.FIGURES}


def killed_in(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    append = metrics.append

    def dying(folder: Path, record: Record, wall_seconds: float) -> None:
        if record.epoch == epoch:
            monkeypatch.undo()
            raise KilledError
        append(folder, record, wall_seconds)

    monkeypatch.setattr(metrics, "append", dying)


@pytest.mark.parametrize("first", [BOARD, SHORT], ids=["begun with it", "begun without it"])
def test_each_epoch_is_there_once(
    first: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed in epoch 4, the run goes on from the checkpoint of epoch 2, and trains epoch 3 a second time."""
    pytest.importorskip("tensorboard")
    killed_in(4, monkeypatch)
    with pytest.raises(KilledError):
        call("train", *first, "--out", tmp_path / "run")
    assert call("train", "--tensorboard", "--resume", tmp_path / "run") == 0
    found = scalars(tmp_path / "run")
    assert found == figures(tmp_path / "run")
    assert [epoch for epoch, _ in found["cost"]] == [1, 2, 3, 4]
    assert len(list((tmp_path / "run" / board.FOLDER).iterdir())) == 1
    assert f"tensorboard --logdir {tmp_path / 'run'}" in capsys.readouterr().out


class Writer:
    """Stands for torch's SummaryWriter."""

    made: list["Writer"]

    def __init__(self, log_dir: str) -> None:
        self.steps, self.closed = list[int](), False
        self.made.append(self)

    def add_scalar(self, name: str, value: float, step: int, walltime: float | None) -> None:
        assert isinstance(value, float)
        self.steps.append(step)

    def flush(self) -> None:
        assert not self.closed

    def close(self) -> None:
        self.closed = True


def diverging(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return ["--lr", "1e30", "--activation", "relu", "--cost", "softmax_cross_entropy"]


def killed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    killed_in(2, monkeypatch)
    return []


@pytest.mark.parametrize(("way", "ends"), [(diverging, None), (killed, KilledError)])
def test_the_file_is_closed_on_every_way_out(
    way: Callable[[pytest.MonkeyPatch], list[str]],
    ends: type[BaseException] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Writer.made = []
    monkeypatch.setattr(board, "writer", lambda: Writer)
    options = [*BOARD, *way(monkeypatch), "--out", tmp_path / "run"]
    if ends is None:
        assert call("train", *options) == 1
    else:
        with pytest.raises(ends):
            call("train", *options)
    (writer,) = Writer.made
    assert writer.closed


def test_where_it_is_not_installed_a_sentence_says_so_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # pyright: ignore[reportArgumentType]
    assert call("train", *BOARD, "--out", tmp_path / "run") == 2
    assert "--tensorboard needs tensorboard, which can't be imported" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_it_changes_no_bit_of_the_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    weights: list[Any] = []
    for name, options in (("one", SHORT), ("other", BOARD)):
        assert call("train", *options, "--out", tmp_path / name) == 0
        weights.append((tmp_path / name / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1]

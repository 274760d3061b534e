"""A run that was stopped, killed or robbed of its disk goes on as if nothing had been: files, figures and weights."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import idxfiles
import pytest
import torch
from programs import call

import bp_torch as bp
from bp_torch.runs import best, config, folder, metrics, observations, pictures, session
from bp_torch.runs.session import WEIGHTS
from bp_torch.saving import durable

ROOT = Path(__file__).parent.parent.parent
SHORT = ["--dataset", "digits", "--epochs", "4", "--hidden", "12"]
PARTS = ["--checkpoint-every", "0.25"]  # in quarters of an epoch

Run = Callable[..., tuple[int, str]]


class KilledError(BaseException):
    """Stands for kill -9: nothing catches it, and what is on the disk stays as it is."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs train.py in this process, without pictures: its exit code, and what it printed."""
    for picture in ("confusion", "curve"):
        monkeypatch.setattr(pictures, picture, lambda *_: None)

    def run(*arguments: object) -> tuple[int, str]:
        return call("train", *arguments), "".join(capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def finished() -> dict[tuple[str, ...], Path]:
    """The folders of runs that were left alone, by their options."""
    return {}


@pytest.fixture
def alone(
    run: Run, finished: dict[tuple[str, ...], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """The folder of a run with these options that was left alone."""

    def alone(*arguments: str) -> Path:
        if arguments not in finished:
            finished[arguments] = tmp_path_factory.mktemp("alone") / "run"
            assert run(*arguments, "--out", finished[arguments])[0] == 0
        return finished[arguments]

    return alone


def _process(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _figures(out: Path) -> list[dict[str, object]]:
    lines = (out / metrics.FILE).read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if "second" not in name} for line in lines]


def _assert_same(out: Path, wanted: Path) -> None:
    """Every byte of the checkpoint, every figure but the times, every file, and nothing else in the folder."""
    assert (out / WEIGHTS).read_bytes() == (wanted / WEIGHTS).read_bytes()
    assert _figures(out) == _figures(wanted)
    pictures = {"curve.png", "confusion.png"}  # of the one that ran as a process
    assert {path.name for path in out.iterdir()} - pictures == {path.name for path in wanted.iterdir()}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_at_the_next_batch_and_the_run_goes_on(
    tmp_path: Path, run: Run, alone: Callable[..., Path], number: signal.Signals, code: int
) -> None:
    arguments = ["--dataset", "digits", "--epochs", "12", "--checkpoint-every", "0.05"]
    process = _process(*arguments, "--out", tmp_path / "run")
    assert process.stdout
    for line in process.stdout:
        if line.startswith("epoch  2/12"):
            process.send_signal(number)
            break
    printed, errors = process.communicate()
    assert process.returncode == code, errors
    assert "a second signal ends at once" in errors
    assert "Traceback" not in errors
    position = bp.load_checkpoint(tmp_path / "run" / WEIGHTS).position
    stopped = f"Stopped by {number.name} in epoch {position.epoch}, after batch {position.batch}; saved in {tmp_path}"
    assert stopped in printed
    assert f"scripts/train.py --resume {tmp_path / 'run'}" in printed
    assert position.epoch <= 12
    assert run("--resume", tmp_path / "run")[0] == 0
    _assert_same(tmp_path / "run", alone(*arguments))


@pytest.mark.parametrize("numbers", [("SIGINT", "SIGTERM"), ("SIGTERM", "SIGINT")], ids=str)
def test_a_second_signal_ends_at_once(numbers: tuple[str, str]) -> None:
    code = f"""
import os, signal, time
from bp_torch.cli.signals import held_back
with held_back() as received:
    os.kill(os.getpid(), signal.{numbers[0]})
    print(received, flush=True)
    os.kill(os.getpid(), signal.{numbers[1]})
    time.sleep(60)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == -signal.Signals[numbers[1]]
    assert numbers[0] in done.stdout


EVERYTHING = [*SHORT[:2], "--epochs", "9", "--hidden", "12", "--batch-size", "60", "--engine", "eager", *PARTS]
EVERYTHING += ["--activation", "relu", "--cost", "softmax_cross_entropy", "--optimizer", "adam", "--lr", "0.05"]
EVERYTHING += ["--schedule", "cosine", "--dropout", "0.2,0.5", "--l2", "0.1", "--class-weight", "balanced"]
EVERYTHING += ["--patience", "1"]
WRITES = 26  # of checkpoints, in such a run


@pytest.mark.parametrize("write", [2, 4, 5, 14, 19, *range(WRITES - 3, WRITES)])
def test_a_run_with_a_patience_killed_at_any_write_ends_with_the_best_of_the_same_epochs(
    tmp_path: Path, run: Run, alone: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, write: int
) -> None:
    """By Adam, a schedule and dropout; killed in mid-epoch, before and after the best weights, and at the very end."""
    wanted, written, left = alone(*EVERYTHING), durable.write, [write]

    def killing(*arguments: Any, **more: Any) -> None:
        left[0] -= arguments[0].name in (WEIGHTS, best.FILE)
        if left[0] < 0:
            raise KilledError
        written(*arguments, **more)

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(durable, "write", killing)
        run(*EVERYTHING, "--out", tmp_path / "run")
    for _ in range(2):  # a run that is over stays as it is
        code, printed = run("--resume", tmp_path / "run")
        assert code == 0, printed
        _assert_same(tmp_path / "run", wanted)
        assert (tmp_path / "run" / best.FILE).read_bytes() == (wanted / best.FILE).read_bytes()


def test_a_run_with_a_patience_holds_out_a_tenth_and_serves_its_best_epoch(
    run: Run, alone: Callable[..., Path]
) -> None:
    out = alone(*EVERYTHING)
    records, (x, y) = metrics.read(out), bp.data.digits("train")
    costs = [record.validation_cost or 0.0 for record in records]
    lowest = min(range(len(costs)), key=costs.__getitem__)
    assert 1 < lowest + 1 == len(costs) - 1 < 8, "the run is to stop early, and not at once"
    with session.resume(out) as opened:
        assert opened.validation
        parts = (opened.data, opened.validation)
        assert sorted(map(tuple, torch.cat([part.x for part in parts]).tolist())) == sorted(map(tuple, x.tolist()))
        counts = [part.y.bincount(minlength=10).tolist() for part in (opened.validation, bp.data.Split(x, y, None))]
        assert all(abs(held_out - whole / 10) < 1 for held_out, whole in zip(*counts, strict=True))
        assert opened.net.cost(*opened.validation[:2]) == pytest.approx(costs[lowest])
        assert opened.position == bp.Position(len(costs) + 1)
        assert list(session.train(opened)) == []
    code, printed = run("--resume", out)
    assert (code, f"is finished: it is trained for {len(costs)} epochs" in printed) == (0, True)
    assert "Of the 1437 training examples, 144 are held out to validate on, by seed 0. The run stops after 1" in printed
    assert f"Stopped after epoch {len(costs)}, 1 epoch after the one of the lowest validation cost." in printed
    assert (
        f"The run has the weights of epoch {lowest + 1}, of the lowest validation cost: {costs[lowest]:.5f}" in printed
    )
    net = bp.load(out / WEIGHTS)
    assert "On the 360 test examples, by which nothing was chosen: accuracy " in printed
    assert f"accuracy {net.accuracy(*bp.data.digits('test')):.2%}, cost " in printed
    code, printed = run("--resume", out, "--patience", "2")
    assert (code, "--patience 2 contradicts the run" in printed) == (2, True)


def test_best_weights_that_are_gone_are_asked_for(tmp_path: Path, run: Run, alone: Callable[..., Path]) -> None:
    out = tmp_path / "run"
    shutil.copytree(alone(*EVERYTHING), out)
    for path in out.glob("best*"):
        path.unlink()
    code, printed = run("--resume", out)
    assert (code, "best.safetensors does not hold the weights of epoch" in printed) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--patience", "0"], "--patience must be a whole number of at least 1"),
        (
            ["--class-weight", "8:2,ten:1"],
            "--class-weight must name classes of the target, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, not 'ten'",
        ),
        (["--class-weight", "08:2"], "not '08'"),
        (["--class-weight", "8:2,8:1"], "--class-weight must name each class once, and 8 is named twice"),
        (["--class-weight", "8"], "--class-weight must be names with numbers, as in balanced or 0:1,3:5, not '8'"),
    ],
    ids=str,
)
def test_patience_and_class_weights_that_cant_be_are_refused(
    tmp_path: Path, run: Run, arguments: list[str], message: str
) -> None:
    code, printed = run(*SHORT, *arguments, "--out", tmp_path / "run")
    assert (code, message in printed) == (2, True), printed
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("after", [0, 1, 6])
@pytest.mark.parametrize("before", [True, False], ids=["before the save", "behind it"])
@pytest.mark.parametrize("parts", [[], PARTS], ids=["epochs", "parts"])
def test_a_run_killed_at_a_save_goes_on(
    tmp_path: Path,
    run: Run,
    alone: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    after: int,
    before: bool,
    parts: list[str],
) -> None:
    """Killed before its first checkpoint too; the metrics of the epoch before the save are on the disk already."""
    save, left = session.save, [after]

    def killing(*arguments: Any, **more: Any) -> None:
        left[0] -= 1
        if left[0] < 0 and before:
            raise KilledError
        save(*arguments, **more)
        if left[0] < 0:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(session, "save", killing)
        try:
            run(*SHORT, *parts, "--out", tmp_path / "run")
        except KilledError:
            pass
        else:
            assert (after, parts) == (6, []), "it was to be killed"
    code, printed = run("--resume", tmp_path / "run")
    assert code == 0, printed
    _assert_same(tmp_path / "run", alone(*SHORT, *parts))


def test_a_half_written_line_of_metrics_is_written_again(
    tmp_path: Path, run: Run, alone: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    append = metrics.append

    def half(out: Path, record: bp.Record, wall_seconds: float) -> None:
        append(out, record, wall_seconds)
        if record.epoch == 3:
            path = out / metrics.FILE
            path.write_bytes(path.read_bytes()[:-30])
            raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(metrics, "append", half)
        run(*SHORT, "--out", tmp_path / "run")
    assert run("--resume", tmp_path / "run")[0] == 0
    _assert_same(tmp_path / "run", alone(*SHORT))


def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(
    tmp_path: Path, run: Run, alone: Callable[..., Path]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(alone(*SHORT), out)
    (out / WEIGHTS).write_bytes((out / WEIGHTS).read_bytes()[:-1])
    code, printed = run("--resume", out)
    assert code == 0
    assert f"{out / WEIGHTS} can't be loaded: the run goes on from the one before, {out}" in printed
    _assert_same(out, alone(*SHORT))
    durable.previous(out / WEIGHTS).write_bytes(b"")
    (out / WEIGHTS).write_bytes(b"")
    code, printed = run("--resume", out)
    assert code == 2
    assert "is damaged or not a network" in printed


def test_a_full_disk_ends_the_run_in_one_sentence_and_it_goes_on(
    tmp_path: Path, run: Run, alone: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    write, left = durable.write, [4]

    def full(*arguments: Any, **more: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(durable, "write", full)
        code, printed = run(*SHORT, "--out", tmp_path / "run")
    assert code == 2
    assert "can't be written (No space left on device): make room" in printed
    assert "Traceback" not in printed
    assert run("--resume", tmp_path / "run")[0] == 0
    _assert_same(tmp_path / "run", alone(*SHORT))


def test_a_finished_run_says_so(tmp_path: Path, run: Run, alone: Callable[..., Path]) -> None:
    out = tmp_path / "run"
    shutil.copytree(alone(*SHORT), out)
    code, printed = run("--resume", out)
    assert code == 0
    assert f"The run in {out} is finished: it is trained for 4 epochs." in printed
    _assert_same(out, alone(*SHORT))


REFUSED = [
    (["--lr", "0.5"], "--lr 0.5 contradicts the run in {run}, which has 3.0: leave --lr away"),
    (["--seed", "1"], "--seed 1 contradicts"),
    (["--batch-size", "20"], "--batch-size 20 contradicts"),
    (["--epochs", "5"], "--epochs 5 contradicts"),
    (["--checkpoint-every", "2"], "--checkpoint-every 2.0 contradicts"),
    (["--dataset", "mnist"], "--dataset mnist contradicts"),
    (["--out", "elsewhere"], "leave --out away"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[" ".join(arguments) for arguments, _ in REFUSED])
def test_options_that_contradict_the_run_are_refused(
    run: Run, alone: Callable[..., Path], arguments: list[str], message: str
) -> None:
    code, printed = run("--resume", alone(*SHORT), *arguments)
    assert code == 2
    assert message.format(run=alone(*SHORT)) in printed


def test_options_that_agree_with_the_run_are_taken(tmp_path: Path, run: Run, alone: Callable[..., Path]) -> None:
    out = tmp_path / "run"
    shutil.copytree(alone(*SHORT), out)
    assert run("--resume", out, "--lr", "3", "--seed", "0", "--device", "cpu", "--hidden", "12")[0] == 0


def test_what_is_no_run_or_another_runs_is_refused(tmp_path: Path, run: Run, alone: Callable[..., Path]) -> None:
    out = tmp_path / "run"
    code, printed = run("--resume", out)
    assert (code, "is not a run that training started: it has no config.json" in printed) == (2, True)
    shutil.copytree(alone(*SHORT), out)
    settings = json.loads((out / config.FILE).read_text())
    lines = (out / metrics.FILE).read_text()
    for content, message in (("[]", "config.json is damaged"), ("{", "config.json is damaged")):
        (out / config.FILE).write_text(content)
        code, printed = run("--resume", out)
        assert (code, message in printed) == (2, True)
    (out / config.FILE).write_text(json.dumps({**settings, "lr": 0.5}))
    code, printed = run("--resume", out)
    assert (code, "was saved with other settings than" in printed) == (2, True)
    (out / config.FILE).write_text(json.dumps(settings))
    for content, message in (("", "does not hold epochs 1 to 4"), (lines[5:], "metrics.jsonl is damaged")):
        (out / metrics.FILE).write_text(content)
        code, printed = run("--resume", out)
        assert (code, message in printed) == (2, True)


def test_a_part_of_an_epoch_between_saves_may_hold_several_places_to_stop_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal does not wait for a quarter of a long epoch."""
    asked = config.Config(dataset="digits", hidden="4", checkpoint_every=0.25, recipe=bp.Recipe(epochs=2))
    monkeypatch.setattr(session, "SECONDS_A_STOP", 0.0)  # a place to stop at after every batch
    saved: list[tuple[int, int]] = []
    monkeypatch.setattr(session, "save", lambda *_, position=None, **__: position and saved.append(position[:2]))
    for stop, positions in (
        (lambda: False, [(1, 36), (1, 72), (1, 108), (2, 0), (2, 36), (2, 72), (2, 108), (3, 0)]),
        (lambda: True, [(1, 1)]),
    ):
        saved.clear()
        with session.begin(asked, tmp_path / str(len(positions))) as begun:
            list(session.train(begun, stop))
        assert saved == positions


def test_checkpoint_every_chooses_when_to_save(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last epoch is always saved; positions (epoch, batch) are those of what is still to come."""
    saved: list[tuple[int, int]] = []
    monkeypatch.setattr(session, "save", lambda *_, position=(1, 0), **__: saved.append(position[:2]))
    wanted = {
        "3": [(1, 0), (4, 0), (5, 0)],
        "0.5": [(1, 0), *(place for epoch in range(1, 5) for place in ((epoch, 72), (epoch + 1, 0)))],
    }
    for every, positions in wanted.items():
        saved.clear()
        assert run(*SHORT, "--checkpoint-every", every, "--out", tmp_path / every)[0] == 0
        assert saved == positions
    for every in ("0", "-1", "1.5", "nan"):
        code, printed = run(*SHORT, "--checkpoint-every", every, "--out", tmp_path / "run")
        assert (code, "--checkpoint-every must be" in printed) == (2, True)


def test_a_divergence_leaves_the_checkpoint_of_before(tmp_path: Path, run: Run) -> None:
    arguments = [*SHORT, "--activation", "identity", "--cost", "softmax_cross_entropy", "--lr", "1e30"]
    code, printed = run(*arguments, "--out", tmp_path / "run")
    assert code == 1
    assert "Training stopped in epoch 1" in printed
    assert bp.load_checkpoint(tmp_path / "run" / WEIGHTS).position == bp.Position()
    code, printed = run("--resume", tmp_path / "run")
    assert (code, "Training stopped in epoch 1" in printed) == (1, True)


@pytest.mark.slow
@pytest.mark.parametrize("parts", [[], ["--", "--checkpoint-every", "0.1"]], ids=["epochs", "parts"])
def test_the_soak_loses_nothing(parts: list[str]) -> None:
    command = [sys.executable, str(ROOT / "tests" / "soak.py"), "--kills", "3", *parts]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 lost, 0 differing bits" in done.stdout


def test_a_run_is_trained_by_one_process_at_a_time(tmp_path: Path, run: Run) -> None:
    assert run(*SHORT, "--out", tmp_path / "run")[0] == 0
    with folder.locked(tmp_path / "run"):
        code, printed = run("--resume", tmp_path / "run")
    assert code == 2
    assert f"another process is training the run in {tmp_path / 'run'}" in printed
    assert run("--resume", tmp_path / "run")[0] == 0


def test_a_run_whose_checkpoints_are_gone_is_not_begun_anew(tmp_path: Path, run: Run) -> None:
    assert run(*SHORT, "--out", tmp_path / "run")[0] == 0
    for path in (tmp_path / "run").glob("weights*"):
        path.unlink()
    figures = (tmp_path / "run" / metrics.FILE).read_bytes()
    code, printed = run("--resume", tmp_path / "run")
    assert code == 2
    assert "has trained, and its weights.safetensors is gone" in printed
    assert (tmp_path / "run" / metrics.FILE).read_bytes() == figures


def test_damaged_observations_do_not_keep_a_run_from_going_on(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "run"
    assert run(*SHORT, "--out", out)[0] == 0
    path = out / observations.FILE
    path.write_bytes(path.read_bytes()[:100])
    code, printed = run("--resume", out)
    assert code == 0
    assert "its observations are lost, and the run goes on" in printed


def test_a_table_that_moved_is_recognised_and_one_that_changed_is_not(tmp_path: Path, run: Run) -> None:
    (tmp_path / "flowers.csv").write_text("a,b,kind\n" + "".join(f"{i},{i % 7},{'xy'[i % 2]}\n" for i in range(40)))
    of_table = ["--epochs", 2, "--hidden", 3, "--target", "kind"]
    assert run("--dataset", tmp_path / "flowers.csv", *of_table, "--out", tmp_path / "run")[0] == 0
    (tmp_path / "flowers.csv").rename(tmp_path / "moved.csv")
    assert run("--resume", tmp_path / "run", "--dataset", tmp_path / "moved.csv")[0] == 0
    with (tmp_path / "moved.csv").open("a") as table:
        table.write("41,3,x\n")
    assert run("--resume", tmp_path / "run", "--dataset", tmp_path / "moved.csv")[0] == 2
    (tmp_path / "moved.csv").rename(tmp_path / "flowers.csv")
    code, printed = run("--resume", tmp_path / "run")
    assert code == 2
    assert "flowers.csv has changed since the run began: put back what it was trained on" in printed


def test_idx_files_that_changed_end_a_resumed_run(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, m in (("train", 30), ("t10k", 10)):
        (folder / f"{name}-images-idx3-ubyte").write_bytes(idxfiles.idx_bytes(torch.ones(m, 2, 2, dtype=torch.uint8)))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idxfiles.idx_bytes(torch.arange(m, dtype=torch.uint8) % 2))
    options = ["--dataset", "idx", "--data-dir", folder, "--epochs", 2, "--hidden", 3]
    assert run(*options, "--out", tmp_path / "run")[0] == 0
    assert run("--resume", tmp_path / "run")[0] == 0
    (folder / "train-images-idx3-ubyte").write_bytes(idxfiles.idx_bytes(torch.zeros(30, 2, 2, dtype=torch.uint8)))
    code, printed = run("--resume", tmp_path / "run")
    assert code == 2
    assert "idx has changed since the run began" in printed


@pytest.mark.slow
def test_ctrl_c_while_the_step_is_compiled_saves_and_goes_on(tmp_path: Path) -> None:
    """A terminal sends it to all processes of the group, the compiler among them."""
    slow = tmp_path / "slow-g++"
    slow.write_text(f'#!/bin/sh\ncase "$*" in *step.so*) touch {tmp_path}/begun; sleep 2;; esac\nexec g++ "$@"\n')
    slow.chmod(0o755)
    environment = {**os.environ, "CXX": str(slow), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), *SHORT, "--engine", "native"]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "run")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while not (tmp_path / "begun").exists():
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 130, printed
    assert "Stopped by SIGINT" in printed


def test_a_run_on_idx_files_of_the_first_format_goes_on(tmp_path: Path, run: Run) -> None:
    """Its checkpoint did not hold where the files lie."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, m in (("train", 30), ("t10k", 10)):
        (folder / f"{name}-images-idx3-ubyte").write_bytes(idxfiles.idx_bytes(torch.ones(m, 2, 2, dtype=torch.uint8)))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idxfiles.idx_bytes(torch.arange(m, dtype=torch.uint8) % 2))
    out = tmp_path / "run"
    assert run("--dataset", "idx", "--data-dir", folder, "--epochs", 2, "--hidden", 3, "--out", out)[0] == 0
    loaded = bp.load_checkpoint(out / WEIGHTS)
    settings = {name: value for name, value in loaded.settings.items() if name != "data_dir"}
    bp.save(out / WEIGHTS, loaded.net, position=loaded.position, settings=settings)
    assert run("--resume", out)[0] == 0


def test_a_loop_that_is_left_early_is_saved_and_its_session_is_over(tmp_path: Path) -> None:
    asked = config.Config(dataset="digits", hidden=4, checkpoint_every=5, recipe=bp.Recipe(epochs=8))
    with session.begin(asked, tmp_path / "run") as begun:
        accuracy = None
        for record in session.train(begun):
            accuracy = record.validation_accuracy
            if record.epoch == 3:
                break
        with pytest.raises(ValueError, match="is closed or has been trained: open it again"):
            session.train(begun)
    saved = bp.load_checkpoint(tmp_path / "run" / WEIGHTS)
    assert saved.position == bp.Position(4)
    assert saved.net.accuracy(*bp.data.digits("test")) == accuracy
    assert (tmp_path / "run" / "curve.png").is_file()
    with session.resume(tmp_path / "run") as resumed:
        assert [record.epoch for record in session.train(resumed)] == [4, 5, 6, 7, 8]
    with pytest.raises(ValueError, match="is closed or has been trained"):
        session.train(resumed)


def test_metrics_after_the_checkpoint_may_be_damaged(tmp_path: Path, run: Run, alone: Callable[..., Path]) -> None:
    shutil.copytree(alone(*SHORT), tmp_path / "run")
    with (tmp_path / "run" / metrics.FILE).open("a") as file:
        file.write("not a line\n")
    assert call("predict", tmp_path / "run") == 0
    assert run("--resume", tmp_path / "run")[0] == 0
    _assert_same(tmp_path / "run", alone(*SHORT))

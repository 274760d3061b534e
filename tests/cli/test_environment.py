"""Programs end as they should where a terminal, a locale, a home or matplotlib's settings are not as they are here."""

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import torch
from PIL import Image
from programs import call

import bp_torch as bp
from bp_torch import drawing
from bp_torch.cli import streams
from bp_torch.cli.main import ends, typed
from bp_torch.cli.signals import held_back, terminable
from bp_torch.runs import pictures
from bp_torch.runs.preparing import _data_dir
from bp_torch.training.loop import Record

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"
BARE = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": str(SCRIPTS.parent),
    "HOME": "/proc/nowhere",  # root can't write there either
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": "ascii",
    "MPLBACKEND": "module://a_backend_that_is_not_installed",
}
LATEX = "text.usetex: True\nfont.family: a font that is not installed\nno.such.setting: 1\n"


def _train(*arguments: object) -> list[str]:
    return [sys.executable, str(SCRIPTS / "train.py"), "--dataset", "digits", *map(str, arguments)]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run in the barest environment, with generated C++: its folder, and what was printed."""
    work = tmp_path_factory.mktemp("bare")
    (work / "matplotlibrc").write_text(LATEX, encoding="utf-8")
    command = _train("--epochs", 2, "--engine", "native", "--out", "é")
    environment = {**BARE, "XDG_CACHE_HOME": str(work)}
    return work / "é", subprocess.run(
        command, cwd=work, env=environment, capture_output=True, encoding="utf-8", check=False
    )


def test_text_files_are_utf_8_in_every_locale(bare: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = bare
    assert done.returncode == 0, done.stderr
    assert len((folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_a_terminal_that_cant_show_a_letter_shows_its_number_and_a_path_as_it_is(
    bare: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    assert "\\u03b7 = 3" in bare[1].stdout
    assert "'é'" in bare[1].stdout.splitlines()[-1]


def test_the_curve_is_drawn_with_any_backend_and_matplotlibrc(
    bare: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    with Image.open(bare[0] / "curve.png") as picture:
        assert picture.width > 400


def test_a_home_that_cant_be_written_is_no_matter(bare: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    assert bare[1].stderr == ""


def test_streams_that_are_closed_end_no_program_and_get_into_no_file(tmp_path: Path) -> None:
    """The number of a closed one is that of the next file opened, if nobody sees to it."""
    command = [
        "sh",
        "-c",
        'exec "$@" <&- >&- 2>&-',
        "sh",
        *_train("--epochs", 1, "--lr", 1e-9, "--out", tmp_path / "run"),
    ]
    assert subprocess.run(command, check=False).returncode == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))["epochs"] == 1
    assert len((tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) == 1
    assert bp.load_checkpoint(tmp_path / "run" / "weights.safetensors").position == bp.Position(2)


def test_a_reader_that_goes_away_ends_the_training_which_is_saved(tmp_path: Path) -> None:
    command = _train("--epochs", 3000, "--checkpoint-every", 3000, "--out", tmp_path / "run")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 128 + signal.SIGPIPE
    epochs = len((tmp_path / "run" / "metrics.jsonl").read_bytes().splitlines())
    assert bp.load_checkpoint(tmp_path / "run" / "weights.safetensors").position == bp.Position(epochs + 1)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_what_is_printed_last_to_a_reader_that_has_gone_is_no_complaint(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    reading, writing = os.pipe()
    with open(writing, "w", encoding="ascii") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, name, stream)
        os.close(reading)
        with pytest.raises(SystemExit) as ended:
            ends("train.py", lambda: print("a line", file=stream) or 0)
        assert ended.value.code == 128 + signal.SIGPIPE
        with pytest.raises(SystemExit) as ended:  # a message that nobody reads changes nothing
            ends("train.py", lambda: print(int("x")) or 0)
        assert ended.value.code == 2


def test_a_full_disk_of_which_the_system_names_no_file_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """As while a run's lines are printed or its metrics are written."""

    def run() -> int:
        with open("/dev/full", "w", encoding="ascii") as file:
            print("a line", file=file, flush=True)
        return 0

    with pytest.raises(SystemExit) as ended:
        ends("train.py", run)
    assert ended.value.code == 2
    words = "train.py: what was to be printed or saved could not be written (No space left on device)\n"
    assert capsys.readouterr().err == words


def test_a_full_disk_behind_stdout_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(SystemExit) as ended:
            ends("train.py", lambda: print("a line") or 0)
        assert ended.value.code == 2
        monkeypatch.undo()
    assert capsys.readouterr().err == "what was printed could not be written: No space left on device\n"


def test_letters_outside_an_encoding_are_numbers_and_bytes_of_names_stay_bytes() -> None:
    streams.repair()
    for encoding, shown in (
        ("ascii", b"\\u03b7 \\xe9 \xe9 \\U0001f600"),
        ("gbk", "η".encode("gbk") + b" \xa8\xa6 \xe9 \\U0001f600"),
        ("utf-8", "η é ".encode() + b"\xe9" + " 😀".encode()),
    ):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="bp_torch")
        stream.write("η é \udce9 😀")
        stream.seek(0)
        assert stream.buffer.read() == shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_that_is_ignored_from_the_start_stays_ignored(number: signal.Signals) -> None:
    """As nohup, `trap '' INT` and a shell's background jobs have it."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with terminable(), held_back() as received:
            os.kill(os.getpid(), number)
            assert signal.getsignal(number) is signal.SIG_IGN
            assert received == []
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("path", ["a b", "it's", "-x", "--out", "$HOME", "a;b", "é", "-a b", "*", "plain"])
def test_a_printed_command_can_be_typed_whatever_the_path(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    for script in ("scripts/train.py", "my scripts/it's/train.py", "/usr/bin/bp-torch"):
        monkeypatch.setattr(sys, "argv", [script])
        words = shlex.split(typed("train", "--resume", Path(path)))
        assert words[:2] == (["bp-torch", "train"] if "bin" in script else ["python", script])
        assert words[2] == "--resume"
        assert Path(words[3]) == Path(path)
        assert not words[3].startswith("-")


def test_the_advice_for_data_that_cant_be_had_quotes_its_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my data").touch()
    assert call("train", "--data-dir", tmp_path / "my data", "--out", tmp_path / "run") == 2
    assert f"--data-dir '{tmp_path}/my data/MNIST/raw'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [("train",), ("train", "--dataset", "idx"), ("experiments", "vanishing")],
    ids=" ".join,
)
def test_a_home_that_nobody_has_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert call(*arguments, "--data-dir", "~nosuch/x", "--out", tmp_path / "run") == 2
    assert capsys.readouterr().err.endswith(
        ": ~nosuch/x can't be found, since there is no such home folder: write its whole path\n"
    )


@pytest.mark.parametrize("folder", ["~/x", "~/x/"])
def test_home_is_expanded_where_the_shell_does_not_and_kept_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = bp.runs.Config(dataset="mnist", data_dir=folder)
    assert _data_dir(config) == str(tmp_path / "x")


def _closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [None, object(), _closed()], ids=["none", "without isatty", "closed"])
def test_fit_needs_no_stderr(monkeypatch: pytest.MonkeyPatch, stream: Any) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    data = torch.rand(20, 4, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 2
    assert len(bp.fit(bp.Network.create([4, 2]), data, epochs=1)) == 1


def _records() -> list[Record]:
    return [Record(epoch, 1 / epoch, 1 / epoch, 0.5, 1.0, 1.0, bp.Position(epoch + 1)) for epoch in (1, 2)]


def test_pictures_leave_matplotlibs_settings_as_they_were(tmp_path: Path) -> None:
    with matplotlib.rc_context({"text.usetex": True, "lines.linewidth": 7}):
        before = dict(matplotlib.rcParams)
        drawn = [
            threading.Thread(target=pictures.curve, args=(tmp_path / f"{k}.png", _records(), "a title"))
            for k in range(3)
        ]
        for thread in drawn:
            thread.start()
        for thread in drawn:
            thread.join()
        pictures.confusion(tmp_path / "c.png", torch.arange(3), torch.arange(3), ["a_b", "$x", "c%"])
        assert dict(matplotlib.rcParams) == before
    assert len(list(tmp_path.iterdir())) == 4
    with drawing.plain_style():
        assert not matplotlib.rcParams["text.usetex"]


def test_a_picture_that_cant_be_drawn_costs_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("no\nfonts")

    monkeypatch.setattr(pictures, "curve", failing)
    config = bp.runs.Config(dataset="digits", recipe=bp.Recipe(epochs=1))
    with (
        pytest.warns(RuntimeWarning, match="lacks a picture: no fonts"),
        bp.runs.begin(config, tmp_path / "run") as session,
    ):
        list(bp.runs.train(session))
    assert (tmp_path / "run" / "confusion.png").is_file()
    assert bp.load_checkpoint(tmp_path / "run" / "weights.safetensors").position == bp.Position(2)

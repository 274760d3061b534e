"""The command itself: which program it finds, and that help costs no import of torch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bp_torch.cli.main import COMMANDS, HELP, NAME, help_of, main, parser_of

ROOT = Path(__file__).parent.parent.parent
HEAVY = {"torch", "numpy", "sklearn", "matplotlib", "scipy", "pandas", "torchvision", "skimage"}
LOADED = f"""
import atexit, sys
atexit.register(lambda: print("loaded", sorted({HEAVY} & set(sys.modules))))
from bp_torch.cli import main
sys.argv[0] = "bp-torch"
main()
"""


def _typed(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LOADED, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("words", ["", "--help", "help", "--version", *(f"{name} --help" for name in COMMANDS)])
def test_help_imports_nothing_heavy(words: str) -> None:
    done = _typed(*words.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("loaded []\n")
    program = words.partition(" ")[0] if " " in words else "PROGRAM"
    assert program in done.stdout or words == "--version"


def test_a_name_that_is_none_is_told_the_nearest_at_once() -> None:
    done = _typed("predct", "runs/mine")
    assert done.returncode == 2
    assert done.stderr == "bp-torch: there is no program 'predct': did you mean predict?\n"
    assert done.stdout == "loaded []\n"
    assert "there are train, predict, report" in _typed("xyz").stderr
    assert _typed("--no-such-option").stderr.endswith("unrecognized arguments: --no-such-option\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--epocs 3", "--epocs: did you mean --epochs? bp-torch train --help lists them"),
        ("--learning-speed=3", "--learning-speed: bp-torch train --help lists them"),
        ("--no_shuffle --lr 1", "--no_shuffle: did you mean --no-shuffle? bp-torch train --help lists them"),
    ],
)
def test_an_option_that_is_none_is_told_at_once(words: str, said: str) -> None:
    done = _typed("train", *words.split())
    assert (done.returncode, done.stdout) == (2, "loaded []\n")
    assert done.stderr == f"bp-torch train: there is no option {said}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_that_is_kept_is_of_the_options_there_are(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [NAME])
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    kept = (HELP / f"{command}.txt").read_text(encoding="utf-8")
    assert kept.split() == parser_of(command).format_help().split(), (
        "run python scripts/help.py"
    )  # Pythons wrap it else


@pytest.mark.parametrize(
    ("called", "typed"),
    [
        ("scripts/report.py", "python scripts/report.py"),
        ("/somewhere/bp_torch/__main__.py", "python -m bp_torch report"),
        ("/bin/bp-torch", "bp-torch report"),
    ],
)
def test_help_is_of_the_program_as_it_was_typed(called: str, typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [called])
    text = help_of("report")
    assert text.startswith(f"usage: {typed} [-h]")
    assert f"\n  {typed} runs/mine\n" in text


def test_help_of_a_program_is_the_same_by_both_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for words in (["help", "train"], ["train", "-h"]):
        monkeypatch.setattr("sys.argv", [NAME, *words])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] == help_of("train")


def test_as_a_module_it_names_itself_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bp_torch", "trian"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "python -m bp_torch: there is no program 'trian': did you mean train?\n"

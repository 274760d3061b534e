"""The wheel holds the programs, and works where there is no checkout."""

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DISTRIBUTIONS: dict[str, str] = {
    "PIL": "Pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}  # where it is not the module's name
OPTIONAL = {"triton"}  # of torch's own, and imported where it is there


PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, from a copy of what it is made of."""
    work = tmp_path_factory.mktemp("wheel")
    source = work / "source"
    source.mkdir()
    shutil.copytree(ROOT / "bp_torch", source / "bp_torch", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    make = [*PIP, "wheel", ".", "--no-deps", "--no-build-isolation", "-w", str(work)]
    subprocess.run(make, cwd=source, check=True)
    (made,) = work.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The bin/ of an environment in which the wheel is installed; its dependencies are those of this environment."""
    environment = wheel.parent / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (site_packages,) = environment.glob("lib/python*/site-packages")
    # a line of a .pth file is a folder to import from; .pth files there, such as that of this checkout, do not count
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = str(environment / "bin" / "python")
    subprocess.run([*PIP, "--python", python, "install", "--no-deps", "--no-index", str(wheel)], check=True)
    return environment / "bin"


def _run(home: Path, folder: Path, *arguments: object) -> str:
    """Runs a command in a folder, with an empty home and nothing that leads to this checkout."""
    led = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XDG_"))}
    command = [str(each) for each in arguments]
    done = subprocess.run(
        command, cwd=folder, env={**led, "HOME": str(home)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_command_is_of_the_wheel_and_works(installed: Path, tmp_path: Path) -> None:
    where = _run(tmp_path, tmp_path, installed / "python", "-c", "import bp_torch; print(bp_torch.__file__)")
    assert Path(where).is_relative_to(installed.parent)
    assert "bp-torch train --dataset digits" in _run(tmp_path, tmp_path, installed / "bp-torch", "train", "--help")
    assert "The gradients are right." in _run(tmp_path, tmp_path, installed / "bp-torch", "check")


@pytest.mark.slow
def test_it_trains_predicts_reports_and_checks_outside_a_checkout(
    installed: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = partial(_run, tmp_path_factory.mktemp("home"), tmp_path)
    python, program = installed / "python", installed / "bp-torch"
    options = ("--dataset", "digits", "--epochs", "3", "--engine", "native")
    printed = run(program, "train", *options, "--out", "run")
    assert "A report of it: bp-torch report run\n" in printed
    assert "360 test digits: accuracy" in run(program, "predict", "run")
    assert "The report: run/report.html" in run(program, "report", "run")
    assert "{{" not in (tmp_path / "run" / "report.html").read_text()
    assert (tmp_path / "run" / "curve.png").is_file()
    assert "The gradients are right." in run(program, "check", "run")
    again = run(python, "-m", "bp_torch", "train", *options)
    (other,) = (path for path in (tmp_path / "runs").iterdir())
    assert f"A report of it: python -m bp_torch report runs/{other.name}\n" in again
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "runs"]


def test_it_holds_what_is_no_python(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if not name.endswith(("/", ".py")) and ".dist-info/" not in name}
    kept = {path.relative_to(ROOT).as_posix() for path in (ROOT / "bp_torch").rglob("*") if path.is_file()}
    assert names == {name for name in kept if not name.endswith((".py", ".pyc"))}
    assert {"bp_torch/py.typed", "bp_torch/cli/help/train.txt"} < names


def test_the_source_distribution_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    build = "from setuptools.build_meta import build_sdist; import sys; print(build_sdist(sys.argv[1]))"
    made = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)],
        cwd=wheel.parent / "source",
        check=True,
        capture_output=True,
        text=True,
    )
    archive = tmp_path / made.stdout.splitlines()[-1]
    subprocess.run([*PIP, "wheel", str(archive), "--no-deps", "--no-build-isolation", "-w", str(tmp_path)], check=True)
    (again,) = tmp_path.glob("*.whl")
    held = []
    for path in (wheel, again):
        with zipfile.ZipFile(path) as file:
            held.append({each.filename: each.CRC for each in file.infolist()})
    assert held[0] == held[1]


def test_what_is_imported_is_declared() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {name.split(">")[0].lower() for name in declared}
    imported: set[str] = set()
    for path in (ROOT / "bp_torch").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
    others = imported - set(sys.stdlib_module_names) - {"bp_torch"} - OPTIONAL
    distributions = {DISTRIBUTIONS.get(name, name).lower() for name in others if name}
    assert distributions - names == set()

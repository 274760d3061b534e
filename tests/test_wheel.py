"""The wheel holds the programs, and works where there is no checkout."""

import ast
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DISTRIBUTIONS: dict[str, str] = {"PIL": "Pillow", "sklearn": "scikit-learn"}  # where it is not the module's name
OPTIONAL = {"triton"}  # of torch's own, and imported where it is there


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin/ of an environment in which the wheel is installed; its dependencies are those of this environment."""
    work = tmp_path_factory.mktemp("wheel")
    source = work / "source"
    source.mkdir()
    shutil.copytree(ROOT / "bp_torch", source / "bp_torch", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", ".", "--no-deps", "--no-build-isolation", "-w", str(work)], cwd=source, check=True)
    (wheel,) = work.glob("*.whl")
    environment = work / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (site_packages,) = environment.glob("lib/python*/site-packages")
    # a line of a .pth file is a folder to import from; .pth files there, such as that of this checkout, do not count
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = str(environment / "bin" / "python")
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", str(wheel)], check=True)
    return environment / "bin"


def _run(installed: Path, folder: Path, *arguments: str) -> str:
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_trains_predicts_and_reports_outside_a_checkout(installed: Path, tmp_path: Path) -> None:
    program = str(installed / "bp-torch")
    where = _run(installed, tmp_path, str(installed / "python"), "-c", "import bp_torch; print(bp_torch.__file__)")
    assert Path(where).is_relative_to(installed.parent)
    options = ("--dataset", "digits", "--epochs", "3", "--engine", "native", "--out", "run")
    printed = _run(installed, tmp_path, program, "train", *options)
    assert "A report of it: bp-torch report run\n" in printed
    assert "360 test digits: accuracy" in _run(installed, tmp_path, program, "predict", "run")
    assert "The report: run/report.html" in _run(installed, tmp_path, program, "report", "run")
    assert "{{" not in (tmp_path / "run" / "report.html").read_text()
    assert (tmp_path / "run" / "curve.png").is_file()
    assert "py.typed" in {path.name for path in installed.parent.glob("lib/python*/site-packages/bp_torch/*")}


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

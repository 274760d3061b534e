"""Imports run one way, and nothing in the package differentiates but the four equations."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "bp_torch"
FILES = sorted(PACKAGE.rglob("*.py"))

# A room is a module or a folder. It may import from the rooms on lines above its own, and from its own folder.
FLOORS = [
    {"version", "encoding", "errors", "given"},
    {"sparse"},
    {"randomness", "checks", "pickling", "threads", "wide", "many"},
    {"choices", "factors", "dropout", "clipping", "penalties"},
    {"equations", "trace", "activations", "initialisers", "labels", "parameters", "schedules", "splitting", "updates"},
    {"vector"},
    {"adam", "borrowed", "costs", "native"},
    {"passes", "optimisers"},
    {"own"},
    {"evaluation"},
    {"network"},
    {"recipe", "state", "sequential"},
    {"training.plan", "training.weighting", "training.examples", "training.precision", "training.memory"},
    {"training.step", "training.flat"},
    {"training.batches", "training.closure"},
    {"training.job"},
    {"training.lazy", "training.tables"},
    {"training.engines.native", "training.engines.eager"},
    {"training.engines.compiled", "training.engines.persistent_kernel"},
    {"training.engines.persistent"},
    {"training.engines"},
    {"training.divergence"},
    {"training.loop"},
    {"training.stopping"},
    {"training.progress"},
    {"data.faults"},
    {"data.columns"},
    {"data.kinds"},
    {"data.answers"},
    {"data.preprocessing"},
    {"saving", "drawing"},
    {"data", "insight"},
    {"insight.experiments"},
    {"runs.config", "runs.metrics", "runs.observations", "runs.pictures", "runs.quality", "runs.examples"},
    {"runs.best", "runs.folder", "runs.preparing"},
    {"runs.session"},
    {"runs.saved"},
    {"runs.report"},
    {"runs"},
    {"estimators"},
    {"sklearn"},
    {""},  # bp_torch/__init__.py
    {"cli"},
    {"__main__"},
]
MATHS = 11  # floors that know no files, no processes and no bars
NOT_MATHS = {"argparse", "json", "os", "pathlib", "shutil", "subprocess", "sys", "tempfile", "threading", "tqdm"}
PRINTING = {"cli", "training.progress", "insight.check", "estimators.stochastic"}
"""`fit` and `check` print, and an estimator's `verbose`: it is what they are for."""
FACTORIES = {
    "arange",
    "as_tensor",
    "asarray",
    "empty",
    "empty_strided",
    "eye",
    "from_numpy",
    "full",
    "linspace",
    "logspace",
    "normal",
    "ones",
    "rand",
    "randint",
    "randn",
    "randperm",
    "range",
    "scalar_tensor",
    "tensor",
    "zeros",
}
BRIDGES = {"sequential"}  # they name torch.nn, to convert
FORBIDDEN = {"autograd", "requires_grad", "requires_grad_", "enable_grad"}


def _room(name: str) -> str:
    """The room of a module or of a name in it: the longest that FLOORS lists; else the top, bp_torch itself."""
    parts = name.split(".")
    prefixes = (".".join(parts[:k]) for k in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if any(prefix in rooms for rooms in FLOORS)), "")


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _floor(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def faults(path: Path, source: str) -> list[str]:
    """What this file, with this source, does that it must not."""
    tree, room = ast.parse(source), _room(_module(path))
    bad = []
    for name in _imported(tree):
        parts = name.split(".")
        if parts[0] == "bp_torch":
            theirs = _room(".".join(parts[1:]))
            if theirs != room and not _floor(theirs) < _floor(room):
                bad.append(f"imports {name}, which is not below it")
        if _floor(room) < MATHS and room not in ("threads", "native") and parts[0] in NOT_MATHS:
            bad.append(f"imports {name}, and is maths")
        if room != "cli" and parts[0] == "argparse":
            bad.append("imports argparse, and is no program")
        of_modules = name.startswith("torch.nn") and room not in BRIDGES
        if parts[0] in ("scripts", "tests") or of_modules:
            bad.append(f"imports {name}")
        if FORBIDDEN & set(parts):
            bad.append(f"imports {name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            chain = ast.unparse(node)
            if node.attr in FORBIDDEN or (chain.startswith("torch.nn.") and room not in BRIDGES):
                bad.append(chain)
        if isinstance(node, ast.keyword) and node.arg in FORBIDDEN:
            bad.append(f"{node.arg}=")
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr == "backward" and ast.unparse(called) != "self.backward":
            bad.append(ast.unparse(node))
        if isinstance(node, ast.Call) and _reads_by_locale(node):
            bad.append(f"{ast.unparse(node)}: its encoding is the locale's")
        prints = isinstance(called, ast.Name) and called.id == "print"
        if prints and not {_room(_module(path)), _module(path)} & PRINTING:
            bad.append(ast.unparse(node))
    return bad + [f"{name}: its dtype and device are torch's defaults" for name in _factories_by_default(tree)]


def _reads_by_locale(call: ast.Call) -> bool:
    """Whether a file or a pipe is opened, read or written as text, and no encoding is named."""
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    *owner, name = ast.unparse(call.func).split(".")
    if "encoding" in named:
        return False
    if name == "fdopen" or (name == "open" and owner not in (["os"], ["Image"])):
        mode = named.get("mode") or next(iter(call.args[not owner or owner == ["os"] :]), None)
    elif name in ("NamedTemporaryFile", "TemporaryFile", "SpooledTemporaryFile"):
        mode = named.get("mode") or next(iter(call.args), ast.Constant("w+b"))
    elif owner == ["subprocess"]:
        return name.startswith("get") or bool(named.keys() & {"text", "universal_newlines"})
    else:
        return name in ("read_text", "write_text", "TextIOWrapper")
    return not (isinstance(mode, ast.Constant) and "b" in str(mode.value))


def _factories_by_default(tree: ast.AST) -> Iterator[str]:
    """torch's functions that make a tensor, where they are called or passed on without a dtype and a device."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = {id(call.func) for call in calls if {"dtype", "device"} <= {keyword.arg for keyword in call.keywords}}
    for node in ast.walk(tree):
        makes = isinstance(node, ast.Attribute) and node.attr in FACTORIES and ast.unparse(node.value) == "torch"
        if makes and id(node) not in named:
            yield ast.unparse(node)


def test_every_room_of_the_plan_is_there() -> None:
    rooms = {room for floor in FLOORS for room in floor} - {"", "sklearn"}
    modules = {_module(path) for path in FILES}
    assert {
        room for room in rooms if room not in modules and not any(m.startswith(f"{room}.") for m in modules)
    } == set()
    assert {path.name for path in (PACKAGE.parent / "scripts").glob("*.py")} == {
        "check.py",
        "experiments.py",
        "predict.py",
        "report.py",
        "train.py",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_in_the_package_breaks_the_rules(path: Path) -> None:
    assert faults(path, path.read_text(encoding="utf-8")) == []


def test_no_script_reads_or_writes_text_by_the_locale() -> None:
    for path in (PACKAGE.parent / "scripts").rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        assert [ast.unparse(call) for call in calls if _reads_by_locale(call)] == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("equations.py", "from bp_torch.network import Network"),
        ("costs.py", "import bp_torch.training.loop"),
        ("network.py", "from bp_torch import fit"),
        ("network.py", "from bp_torch.training.step import step"),
        ("training/step.py", "from bp_torch.data import mnist"),
        ("training/step.py", "from bp_torch.training.loop import train"),
        ("training/job.py", "from bp_torch.training import engines"),
        ("training/engines/eager.py", "from bp_torch.training.engines import ENGINES"),
        ("training/loop.py", "from bp_torch.saving.checkpoint import save"),
        ("recipe.py", "from bp_torch.training.job import Job"),
        ("runs/config.py", "from bp_torch.runs.session import begin"),
        ("runs/session.py", "import bp_torch as bp"),
        ("insight/check.py", "from bp_torch.insight.experiments import images"),
        ("data/named.py", "from bp_torch.cli.main import main"),
        ("runs/session.py", "import argparse"),
        ("runs/session.py", "print(3)"),
        ("network.py", "import os"),
        ("costs.py", "from pathlib import Path"),
        ("training/step.py", "import torch.autograd"),
        ("training/step.py", "from torch.nn import Module"),
        ("training/step.py", "class Net(torch.nn.Module): pass"),
        ("recipe.py", "from torch import nn"),
        ("sequential.py", "import torch.autograd"),
        ("sequential.py", "w = torch.nn.Parameter(w, requires_grad=False)"),
        ("sequential.py", "module(x).sum().backward()"),
        ("network.py", "w = torch.zeros(3, requires_grad=True)"),
        ("network.py", "w.requires_grad_()"),
        ("network.py", "cost.backward()"),
        ("network.py", "torch.autograd.grad(cost, w)"),
        ("network.py", "w = torch.zeros(3)"),
        ("network.py", "w = torch.zeros(3, dtype=torch.float32)"),
        ("network.py", "w = torch.randn(3, device='cpu')"),
        ("data/digits.py", "x, y = map(torch.as_tensor, both)"),
        ("runs/session.py", "open(path)"),
        ("runs/session.py", "open(path, 'w')"),
        ("runs/session.py", "open(path, mode)"),
        ("runs/session.py", "os.fdopen(3, 'w')"),
        ("runs/session.py", "path.open()"),
        ("runs/session.py", "path.open('a', newline='')"),
        ("runs/session.py", "path.read_text()"),
        ("runs/session.py", "path.write_text(text)"),
        ("runs/session.py", "tempfile.NamedTemporaryFile('w')"),
        ("runs/session.py", "subprocess.run(['g++'], text=True)"),
        ("runs/session.py", "subprocess.getoutput('g++')"),
    ],
)
def test_the_rules_catch(room: str, line: str) -> None:
    assert faults(PACKAGE / room, line)


@pytest.mark.parametrize(
    "line",
    [
        "torch.zeros(3, dtype=d, device=e)",
        "path.open('rb')",
        "path.open('a', encoding='utf-8')",
        "open(3, 'wb')",
        "os.open(path, os.O_RDONLY)",
        "Image.open(path)",
        "tempfile.TemporaryFile(dir=folder)",
        "subprocess.run(['g++'], encoding='utf-8')",
        "x.new_ones(3)",
    ],
)
def test_the_rules_let_pass(line: str) -> None:
    assert faults(PACKAGE / "runs" / "session.py", line) == []


def test_a_bridge_names_torchs_modules() -> None:
    assert faults(PACKAGE / "sequential.py", "from torch import nn\nnn.Linear(2, 3)\ntorch.nn.Parameter(w)") == []


def test_import_needs_neither_torchvision_nor_scikit_learn() -> None:
    heavy = "{'torchvision', 'sklearn', 'matplotlib', 'pandas', 'skimage', 'onnx', 'tensorboard', 'triton'}"
    code = f"import sys; from bp_torch import *; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

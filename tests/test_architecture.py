"""Imports run one way, and nothing in the package differentiates but the four equations."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "bp_torch"
FILES = sorted(PACKAGE.rglob("*.py"))

# A room may import from the rooms on lines above its own, and from its own folder.
FLOORS = [
    {"errors", "randomness", "checks"},
    {"equations", "activations", "initialisers"},
    {"costs"},
    {"network"},
    {"training", "data", "insight"},
    {"sklearn"},
    {""},  # bp_torch/__init__.py
]
FORBIDDEN = {"autograd", "requires_grad", "requires_grad_", "enable_grad"}


def _room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def _floor(room: str) -> int:
    """The number of a room's floor; what is no room is a name in bp_torch/__init__.py, the top."""
    return next((number for number, rooms in enumerate(FLOORS) if room in rooms), len(FLOORS) - 1)


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def faults(path: Path, source: str) -> list[str]:
    """What this file, with this source, does that it must not."""
    tree = ast.parse(source)
    found = []
    for name in _imported(tree):
        parts = name.split(".")
        if parts[0] == "bp_torch":
            room = parts[1] if len(parts) > 1 else ""
            if room != _room(path) and not _floor(room) < _floor(_room(path)):
                found.append(f"imports {name}, which is not below it")
        if parts[0] in ("scripts", "tests") or name.startswith("torch.nn"):
            found.append(f"imports {name}")
        if FORBIDDEN & set(parts):
            found.append(f"imports {name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            chain = ast.unparse(node)
            if node.attr in FORBIDDEN or chain.startswith("torch.nn."):
                found.append(chain)
        if isinstance(node, ast.keyword) and node.arg in FORBIDDEN:
            found.append(f"{node.arg}=")
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr == "backward" and ast.unparse(called) != "self.backward":
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_in_the_package_breaks_the_rules(path: Path) -> None:
    assert faults(path, path.read_text()) == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("equations.py", "from bp_torch.network import Network"),
        ("costs.py", "import bp_torch.training.loop"),
        ("network.py", "from bp_torch import fit"),
        ("network.py", "from bp_torch.training.step import sgd_step"),
        ("training/step.py", "from bp_torch.data import mnist"),
        ("training/step.py", "import torch.autograd"),
        ("training/step.py", "from torch.nn import Module"),
        ("training/step.py", "class Net(torch.nn.Module): pass"),
        ("network.py", "w = torch.zeros(3, requires_grad=True)"),
        ("network.py", "w.requires_grad_()"),
        ("network.py", "cost.backward()"),
        ("network.py", "torch.autograd.grad(cost, w)"),
    ],
)
def test_the_rules_catch(room: str, line: str) -> None:
    assert faults(PACKAGE / room, line)


def test_import_needs_neither_torchvision_nor_scikit_learn() -> None:
    code = "import bp_torch, sys; sys.exit(bool({'torchvision', 'sklearn', 'matplotlib', 'triton'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

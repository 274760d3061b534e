"""scripts/benchmark/__main__.py as a module."""

import importlib.util
from pathlib import Path
from types import ModuleType


def _program() -> ModuleType:
    path = Path(__file__).parent.parent / "scripts" / "benchmark" / "__main__.py"
    spec = importlib.util.spec_from_file_location("benchmark_program", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


benchmark = _program()

"""A hash of the package's own code, where what runs is what its files say: what a printed step depends on.

It isn't, where a file has changed since this process began to import the package, and where someone has put another
function in the place of one of the package's. Then what this process prints is for itself alone.
"""

import hashlib
import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import Any

import torch

from bp_torch.version import imported

MARGIN = 1.0  # seconds by which the time of a file may lie behind the clock
PACKAGE = __name__.partition(".")[0]
OURS, TORCH, PYTHON = (os.path.dirname(str(each.__file__)) + os.sep for each in (sys.modules[PACKAGE], torch, os))
DECORATED = (staticmethod, classmethod, type(lru_cache(len)))  # which have a function within
CALLABLE = {"builtins", "types", "typing", "collections.abc", "ctypes"}  # modules of the classes of what else is called


def hash_of(module: ModuleType) -> str | None:
    """Of the files of a module of the package and of those that it imports, and of their constants; None: see above."""
    modules = sorted(_with_imported(module), key=lambda each: each.__name__)
    if not all(map(_is_known, _files_of_functions(modules))):
        return None
    constants = [
        (each.__name__, name, value)
        for each in modules
        for name, value in vars(each).items()
        if name.isupper() and isinstance(value, (int, float, str))
    ]
    hashed = hashlib.sha256(repr(constants).encode())
    try:
        for each in modules:
            with open(str(each.__file__), "rb", buffering=0) as file:
                if os.fstat(file.fileno()).st_ctime > imported - MARGIN:
                    return None
                hashed.update(file.read())
    except OSError:
        return None
    return hashed.hexdigest()


def is_ours(module: str) -> bool:
    """Whether a module of this name is one of the package's."""
    return module.startswith(f"{PACKAGE}.")


def _with_imported(module: ModuleType) -> list[ModuleType]:
    found: dict[str, ModuleType] = {}
    todo = [module]
    while todo:
        each = todo.pop()
        if each.__name__ not in found:
            found[each.__name__] = each
            todo += _imported(each)
    return list(found.values())


def _imported(module: ModuleType) -> Iterator[ModuleType]:
    for value in vars(module).values():
        home = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if isinstance(home, str) and is_ours(home) and home in sys.modules:
            yield sys.modules[home]


def _files_of_functions(modules: list[ModuleType]) -> set[str]:
    """From which files the functions are that modules, their classes and their tables hold; "" stands for unknown."""
    files = set[str]()
    todo: list[Any] = [each for module in modules for each in _members(module)]
    while todo:
        value = todo.pop()
        kind = type(value)
        if kind is FunctionType:
            files.add(value.__code__.co_filename)
            if value.__dict__:  # of what a decorator has made of a function
                todo.append(value.__dict__.get("__wrapped__"))
        elif kind is property:
            todo.append(value.fget)
        elif kind in DECORATED:
            todo.append(value.__wrapped__)
        elif callable(value) and not isinstance(value, type) and kind.__module__ not in CALLABLE:
            files.add("")
    return files


def _members(module: ModuleType) -> Iterator[object]:
    for name, value in vars(module).items():
        if not name.startswith("__"):
            yield value
            if isinstance(value, type) and value.__module__ == module.__name__:
                yield from vars(value).values()
            elif type(value) is dict and name.isupper():
                yield from value.values()


def _is_known(file: str) -> bool:
    """Whether it is the package's, torch's or Python's; "<string>" is that of the methods that dataclasses write."""
    pythons = file.startswith(PYTHON) and "-packages" not in file
    return file.startswith((OURS, TORCH)) or pythons or file == "<string>"

"""The target column of a table: classes, or values."""

import re
import unicodedata
import warnings
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from bp_torch.data import faults
from bp_torch.data.cells import Cells
from bp_torch.data.faults import number, short
from bp_torch.errors import DataError

TASKS = ("classification", "regression")
FEW = 20  # distinct whole numbers in the target up to which they are taken for classes
EXACT = 2**53  # whole numbers up to here are float64's own
PADDED = re.compile(r"[+-]?0\d+")  # a code, such as 007
SHOWN = 5  # names of classes in a warning


def targets(path: Path, target: str, cells: Cells, task: str | None) -> tuple[Tensor, tuple[str, ...] | None]:
    """Class indices (m,) int64 and the classes' names; or a real-valued column (m, 1) float64 and None.

    task: one of `TASKS`; None chooses by the cells, as `table` says. Raises DataError, for bad features too: all
        that is bad is told at once.
    """
    numbers = {text: _exact(text) for text in set(cells.target) if not faults.is_missing(text)}
    values = {value for value in numbers.values() if value is not None}
    words = [text for text, value in numbers.items() if value is None]
    whole = all(float(value).is_integer() for value in values)
    few = whole and len(values) <= FEW
    codes = whole and any(PADDED.fullmatch(text) for text in numbers)
    slip = values and any(map(faults.is_float, words))  # inf or 1_0 among numbers
    way_out = ""
    if task == "regression" and words:
        way_out = 'leave task="regression" away for classes'
    if task is None and (slip or (words and not few) or any(map(faults.is_amount, words))):
        way_out = 'if these are names of classes, say task="classification"'
    if way_out:
        rows = zip(cells.target, cells.lines, strict=True)
        faults.note(cells.bad, target, (row for row in rows if row[0] in numbers and numbers[row[0]] is None))
    if cells.bad:
        raise faults.error(path, cells.bad, len(cells.lines), target, cells.delimiter, way_out)
    repeated = few and len(values) < len(cells.target)
    if task == "regression" or (task is None and not (words or codes or repeated)):
        y = torch.tensor([number(cell) for cell in cells.target], dtype=torch.float64, device="cpu")
        return y.unsqueeze(1), None
    if words or codes:
        names = {text: text for text in numbers}
        order = sorted(names)
    else:
        known = [(text, value) for text, value in numbers.items() if value is not None]
        names = {text: _name(path, target, text, value) for text, value in known}
        worth = {names[text]: value for text, value in known}
        order = sorted(worth, key=worth.__getitem__)
    _check(path, target, order, len(cells.target), numeric=not words)
    index = {name: k for k, name in enumerate(order)}
    return torch.tensor([index[names[cell]] for cell in cells.target], dtype=torch.int64, device="cpu"), tuple(order)


def warn_of_near_equals(path: Path, target: str, classes: Iterable[str]) -> None:
    """Warns of classes that differ in nothing but upper and lower case, spaces or how a letter is encoded."""
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(" ".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
    groups = [names for names in alike.values() if len(names) > 1]
    if groups:
        names = ", ".join(map(short, groups[0][:SHOWN])) + " …" * (len(groups[0]) > SHOWN)
        more = f", and {len(groups) - 1} more such group{'s' * (len(groups) > 2)}" if len(groups) > 1 else ""
        warnings.warn(
            f"{path}, column {short(target)}: {names}{more} are classes of their own, though they differ only in case, "
            "spaces or encoding: write them alike if they are one",
            RuntimeWarning,
            stacklevel=3,
        )


def _name(path: Path, target: str, text: str, value: float) -> str:
    """The class of a number: 1, 1.0 and 1e0 are one."""
    if isinstance(value, float) and abs(value) >= EXACT:
        raise DataError(f"{path}, column {target!r} holds {short(text)}: write a whole number this large as digits")
    return str(int(value)) if float(value).is_integer() else repr(value)


def _check(path: Path, target: str, classes: list[str], rows: int, numeric: bool) -> None:
    if len(classes) == 1:
        raise DataError(f"{path}, column {target!r} holds one value only, so that nothing can be learned: add others")
    if len(classes) > max(FEW, rows / 2):
        way_out = ', or say that they are values with task="regression"' if numeric else ""
        raise DataError(
            f"{path}, column {target!r} holds {len(classes)} different {'codes' if numeric else 'texts'} in {rows} "
            f"rows: an identifier can't be learned; choose another column{way_out}"
        )


def _exact(cell: str) -> int | float | None:
    """A cell as a finite number, whole ones written as digits exactly: beyond 2**53 two may be one float."""
    value = number(cell)
    try:
        return value if value is None else int(cell)
    except ValueError:
        return value

"""A table in a text file, CSV or TSV, as data to train on."""

import csv
import math
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import torch
from torch import Tensor

from bp_torch import checks
from bp_torch.errors import DataError
from bp_torch.randomness import generator

MISSING = {"", "?", "na", "n/a", "#n/a", "<na>", "nan", "null"}
FEW = 20  # distinct whole numbers in the target up to which they are taken for classes
SHOWN = 5  # bad cells that a message names; the others are counted
LONGEST_LINE = 1 << 24  # characters
HEAD = 1 << 17  # characters, of which the header line tells the delimiter
LEADING_BLANK = re.compile(r"\A\s*[\r\n]")
QUOTED = re.compile(r'(^|[,;\t]) *(?:"[^"]*"?)+')  # a quoted cell and what is before it; a quote within is two
EXACT = 2**53  # whole numbers up to here are float64's own


class Table(NamedTuple):
    """The rows of a table in two parts, each (x, y), and how they were made from its cells.

    train, test: x (m, n) float32; y (m,) int64 class indices, or for a real-valued target (m, 1) float32.
    classes: the name of each class index; None for a real-valued target.
    columns: the names of the n features.
    mean, scale: (n,) float64, mean and standard deviation of the training part: x is (cell − mean) / scale, and 0
        where a feature is constant in the training part (scale 0).
    target_mean, target_scale: a real-valued y is (cell − target_mean) / target_scale, likewise; 0 and 1 for classes.
    """

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    classes: tuple[str, ...] | None
    columns: tuple[str, ...]
    mean: Tensor
    scale: Tensor
    target_mean: float
    target_scale: float


class _Cells(NamedTuple):
    """What stands in the file: feature names, features row by row, target cells, the line that each row ended at."""

    columns: tuple[str, ...]
    features: array
    target: list[str]
    lines: array


def table(path: str | Path, *, target: str, seed: int = 0, device: str | torch.device = "cpu") -> Table:
    """A CSV or TSV file with a header line, as features and one target column.

    path: UTF-8 text; cells are separated by commas, semicolons or tabs, whichever the header line holds most of outside
        quotes. Blank lines are passed over.
    target: the name of the column to predict. Every other column is a feature and must hold finite numbers.
        Text in the target makes classes, and so do whole numbers of at most 20 distinct values of which one repeats;
        classes are numbered in sorted order. Other numbers are a real-valued target.
    seed: which fifth of the rows is the test part; about the same fifth of every class.

    Raises ValueError if there is no such column. Raises DataError for a file that is no such table: cells that are
    missing or not numbers are named by row (1 is the first below the header) and column. So is a target of more
    different texts than half of the rows (and than 20): an identifier, not classes.
    """
    device, seed, path = checks.available_device(device), checks.seed(seed), Path(path)
    try:
        if not path.is_file():
            raise DataError(f"there is no file {path}: name a CSV or TSV file")
        with path.open(encoding="utf-8-sig", newline="") as file:
            cells = _read(path, file, target)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error.reason}): save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV table ({error}): save it as CSV in UTF-8") from error
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error
    if len(cells.lines) < 3:
        raise DataError(f"{path} holds {len(cells.lines)} rows below its header: give it 3 at least, for both parts")
    x = torch.frombuffer(cells.features, dtype=torch.float64).view(len(cells.lines), -1)
    y, classes = _targets(path, target, cells)
    test = _test_rows(y, classes is not None, seed)
    mean, scale = _spread(x[~test])
    x = _scaled(path, cells.columns, x, mean, scale)
    target_mean, target_scale = 0.0, 1.0
    if classes is None:
        centre, width = _spread(y[~test])
        if float(width) == 0:
            raise DataError(f"{path}, column {target!r}: the rows to train on hold one value only: add others")
        y = _scaled(path, [target], y, centre, width)
        target_mean, target_scale = float(centre), float(width)
    train, held_out = ((x[rows].to(device), y[rows].to(device)) for rows in (~test, test))
    return Table(train, held_out, classes, cells.columns, mean, scale, target_mean, target_scale)


def _read(path: Path, file: TextIO, target: str) -> _Cells:
    delimiter = _delimiter(file)
    reader = csv.reader(_lines(path, file), delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=True)
    header = [name.strip() for name in next((row for row in reader if any(map(str.strip, row))), [])]
    at = _target_column(path, header, target)
    columns = (*header[:at], *header[at + 1 :])
    features, targets, ends = array("d"), [], array("q")
    texts: dict[str, str] = {}  # each text once in memory, however many rows hold it
    faults: list[str] = []
    count = bad = 0
    for row in reader:
        if len(row) < 2 and not "".join(row).strip():
            continue  # a blank line, or one of spaces
        count += 1
        if len(row) != len(header):
            raise DataError(
                f"{path}, row {count} (line {reader.line_num}) has {len(row)} cells, and the header {len(header)}: "
                f"correct the row"
            )
        text = row.pop(at).strip()
        numbers = _numbers(row)
        if numbers is None or text.lower() in MISSING:
            named = [(name, cell) for name, cell in zip(columns, row, strict=True) if _number(cell) is None]
            named += [(target, text)] if text.lower() in MISSING else []
            bad += len(named)
            faults += [_fault(count, reader.line_num, *cell) for cell in named[: SHOWN - len(faults)]]
        if numbers is not None and not faults:
            features.extend(numbers)
            targets.append(texts.setdefault(text, text))
            ends.append(reader.line_num)
    if faults:
        raise _bad_cells(path, faults, bad)
    return _Cells(columns, features, targets, ends)


def _lines(path: Path, file: TextIO) -> Iterator[str]:
    while line := file.readline(LONGEST_LINE):
        if "\0" in line:
            raise DataError(f"{path} holds NUL characters, so it is no text: save it as CSV in UTF-8")
        if len(line) == LONGEST_LINE:
            raise DataError(f"{path} has a line of over {LONGEST_LINE:,} characters: is it a CSV table?")
        yield line


def _delimiter(file: TextIO) -> str:
    """What the header line holds most of outside quotes; of equally frequent ones the first, so the comma."""
    head = LEADING_BLANK.sub("", file.read(HEAD))
    file.seek(0)
    header = re.split(r"[\r\n]", QUOTED.sub(r"\1", head), maxsplit=1)[0]
    return max(",;\t", key=header.count)


def _target_column(path: Path, header: Sequence[str], target: str) -> int:
    """Where the target stands in the header, if the header is one."""
    if not any(header):
        raise DataError(f"{path} is empty: it needs a header line and rows")
    if all(_number(name) is not None for name in header):
        raise DataError(f"{path} begins with a line of numbers only: put a header line with the columns' names there")
    counts = Counter(header)
    for k, name in enumerate(header, start=1):
        if not name:
            raise DataError(f"column {k} of {path} has no name: name it, or leave it out if it only numbers the rows")
        if counts[name] > 1:
            raise DataError(f"{path} has {counts[name]} columns named {name!r}: give each its own name")
    if target not in header:
        raise ValueError(f"{path} has no column {target!r}: its columns are {', '.join(header)}")
    if len(header) == 1:
        raise DataError(f"{path} has no column but {target!r}: it needs features too")
    return header.index(target)


def _is_float(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(cell: str) -> float | None:
    """A cell as a finite number. Python's own 1_000 is none."""
    return float(cell) if _is_float(cell) and math.isfinite(float(cell)) and "_" not in cell else None


def _numbers(row: list[str]) -> list[float] | None:
    """All cells of a row as finite numbers, or None; quick, for most rows are good."""
    try:
        values = list(map(float, row))
    except ValueError:
        return None
    if math.isfinite(sum(values)) and "_" not in "".join(row):
        return values
    return None if any(_number(cell) is None for cell in row) else values


def _fault(row: int, line: int, column: str, cell: str) -> str:
    missing = cell.strip().lower() in MISSING
    what = "is missing" if missing else f"holds {cell.strip()[:40]!r}, which is not a finite number"
    return f"row {row} (line {line}), column {column!r} {what}"


def _bad_cells(path: Path, faults: Sequence[str], count: int) -> DataError:
    more = f"; and {count - len(faults)} more" if count > len(faults) else ""
    return DataError(
        f"{path}: {'; '.join(faults)}{more}. Features are numbers: fill these cells or leave out their rows, and "
        "leave out a column of text or write it as numbers"
    )


def _targets(path: Path, target: str, cells: _Cells) -> tuple[Tensor, tuple[str, ...] | None]:
    """Class indices (m,) int64 and the classes' names; or a real-valued column (m, 1) float64 and None."""
    if cells.target.count(cells.target[0]) == len(cells.target):
        raise DataError(f"{path}, column {target!r} holds one value only, so that nothing can be learned: add others")
    numbers = {text: _exact(text) for text in set(cells.target)}
    values = {number for number in numbers.values() if number is not None}
    whole = len(values) <= FEW and all(float(value).is_integer() for value in values)
    text = [text for text, number in numbers.items() if number is None]
    slip = any(_is_float(cell) for cell in text) and values  # inf or 1_0 among numbers
    if text and whole and not slip:  # text only, or codes such as 0, 1, A, B
        if len(numbers) > max(FEW, len(cells.target) / 2):
            raise DataError(
                f"{path}, column {target!r} holds {len(numbers)} different texts in {len(cells.target)} rows: "
                f"an identifier can't be learned; choose another column"
            )
        return _indices(sorted(numbers), cells.target)
    if text:
        rows = [k for k, cell in enumerate(cells.target) if numbers[cell] is None]
        raise _bad_cells(
            path, [_fault(k + 1, cells.lines[k], target, cells.target[k]) for k in rows[:SHOWN]], len(rows)
        )
    if not whole or len(values) == len(cells.target):
        return torch.tensor([_number(cell) for cell in cells.target], dtype=torch.float64).unsqueeze(1), None
    for text, number in numbers.items():
        if isinstance(number, float) and abs(number) >= EXACT:
            raise DataError(f"{path}, column {target!r} holds {text[:40]!r}: write a whole number this large as digits")
    names = {text: str(int(number)) for text, number in numbers.items() if number is not None}
    return _indices(sorted(set(names.values()), key=int), [names[cell] for cell in cells.target])


def _indices(classes: list[str], column: list[str]) -> tuple[Tensor, tuple[str, ...]]:
    index = {name: k for k, name in enumerate(classes)}
    return torch.tensor([index[name] for name in column]), tuple(classes)


def _exact(cell: str) -> int | float | None:
    """A cell as a finite number, whole ones written as digits exactly: beyond 2**53 two may be one float."""
    number = _number(cell)
    try:
        return number if number is None else int(cell)
    except ValueError:
        return number


def _test_rows(y: Tensor, classes: bool, seed: int) -> Tensor:
    """Which rows are the test part (m,) bool: every fifth of a random order, within the classes if there are any."""
    order = torch.randperm(len(y), generator=generator("table", seed))
    if classes:
        order = order[y[order].argsort(stable=True)]
    test = torch.zeros(len(y), dtype=torch.bool)
    test[order[2::5]] = True
    return test


def _spread(column: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each column (n,); the latter exactly 0 for one that is constant."""
    constant = (column == column[0]).all(0)
    return column.mean(0), column.std(0, correction=0).where(~constant, 0)


def _scaled(path: Path, names: Sequence[str], column: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    scaled = ((column - mean) / scale).where(scale > 0, 0).to(torch.float32)
    wild = (~scaled.isfinite()).any(0).nonzero()
    if len(wild):
        raise DataError(f"{path}, column {names[int(wild[0])]!r} holds numbers too large to compute with: rescale it")
    return scaled

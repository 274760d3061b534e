"""The cells of a CSV or TSV file: features as numbers, the target as text."""

import csv
import math
import re
import textwrap
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from bp_torch.data import faults
from bp_torch.data.faults import short
from bp_torch.errors import DataError

LONGEST_LINE = 1 << 24  # characters
HEAD = 1 << 17  # characters, of which the header line tells the delimiter
LEADING_BLANK = re.compile(r"\A\s*[\r\n]")
QUOTED = re.compile(r'(^|[,;\t]) *(?:"[^"]*"?)+')  # a quoted cell and what is before it; a quote within is two


class Cells(NamedTuple):
    """What stands in the file: feature names, features row by row, target cells, the line that each row ended at.

    bad: cells that are missing, or no numbers in a feature. Where there are any, the features are not whole.
    delimiter: what stands between the cells.
    """

    columns: tuple[str, ...]
    features: array
    target: list[str]
    lines: array
    bad: faults.Bad
    delimiter: str


def read(path: Path, target: str) -> Cells:
    """The cells of the file, as `table` takes it. Raises its errors."""
    try:
        if not path.is_file():
            raise DataError(f"there is no file {path}: name a CSV or TSV file")
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(path, file, target)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error.reason}): save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV table ({error}): save it as CSV in UTF-8") from error
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error


def _read(path: Path, file: TextIO, target: str) -> Cells:
    delimiter = _delimiter(file)
    reader = csv.reader(_lines(path, file), delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=True)
    header = [name.strip() for name in next((row for row in reader if any(map(str.strip, row))), [])]
    at = _target_column(path, header, target)
    columns = (*header[:at], *header[at + 1 :])
    features, targets, ends = array("d"), [], array("q")
    texts: dict[str, str] = {}  # each text once in memory, however many rows hold it
    bad: faults.Bad = {}
    count = 0
    for row in reader:
        if len(row) < 2 and not "".join(row).strip():
            continue  # a blank line, or one of spaces
        count += 1
        if len(row) != len(header):
            quotes = f" (a {delimiter!r} within a cell needs quotes around the cell)" if len(row) > len(header) else ""
            raise DataError(
                f"{path}, row {count} (line {reader.line_num}) has {len(row)} cells, and the header {len(header)}: "
                f"correct the row{quotes}"
            )
        text, line = row.pop(at).strip(), reader.line_num
        numbers = _numbers(row)
        if numbers is None:
            for name, cell in zip(columns, row, strict=True):
                if faults.number(cell) is None:
                    faults.note(bad, name, [(cell, line)])
        if faults.is_missing(text):
            faults.note(bad, target, [(text, line)])
        if numbers is not None and not bad:
            features.extend(numbers)
        targets.append(texts.setdefault(text, text))
        ends.append(line)
    return Cells(columns, features, targets, ends, bad, delimiter)


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
    if all(faults.number(name) is not None for name in header):
        raise DataError(f"{path} begins with a line of numbers only: put a header line with the columns' names there")
    counts = Counter(header)
    like_cells = 2 * sum(faults.number(name) is not None for name in header) >= len(header)
    lacks = " (does the file lack its header line?)" if like_cells else ""
    for k, name in enumerate(header, start=1):
        if not name:
            raise DataError(
                f"column {k} of {path} has no name: name it, or leave it out if it only numbers the rows{lacks}"
            )
        if counts[name] > 1:
            raise DataError(f"{path} has {counts[name]} columns named {short(name)}: give each its own name{lacks}")
    if target not in header:
        known = textwrap.shorten(", ".join(header[:100]), 500, placeholder=" …")
        if len(header) == 1:
            lacks = "; cells are to be separated by commas, semicolons or tabs"
        raise ValueError(f"{path} has no column {target!r}: its columns are {known}{lacks}")
    if len(header) == 1:
        raise DataError(f"{path} has no column but {target!r}: it needs features too")
    return header.index(target)


def _numbers(row: list[str]) -> list[float] | None:
    """All cells of a row as finite numbers, or None; quick, for most rows are good."""
    try:
        values = list(map(float, row))
    except ValueError:
        return None
    if math.isfinite(sum(values)) and "_" not in "".join(row):
        return values
    return None if any(faults.number(cell) is None for cell in row) else values

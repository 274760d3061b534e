"""The cells of a CSV or TSV file, each looked at: strict, and slow beside `quick`, which leaves it what is odd."""

import csv
import gzip
import io
import itertools
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, TextIO, cast

from bp_torch.data import faults
from bp_torch.data.columns import UNNAMED, Cells, of_texts
from bp_torch.data.faults import short
from bp_torch.errors import DataError

LONGEST_LINE = 1 << 24  # characters
HEAD = 1 << 17  # characters, of which the header line tells the delimiter
LEADING_BLANK = re.compile(r"\A\s*[\r\n]")
QUOTED = re.compile(r'(^|[,;\t]) *(?:"[^"]*"?)+')  # a quoted cell and what is before it; a quote within is two
LACKS_HEADER = " (does the file lack its header line?)"


class Header(NamedTuple):
    """A file's header: the names of its columns, what separates cells, and a csv.reader of what is below it.

    unnamed: the names that were made up.
    """

    names: tuple[str, ...]
    delimiter: str
    below: Any
    unnamed: tuple[str, ...]


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """The file as text, unpacked if it is gzipped. Raises DataError for what can't be read as a table of text."""
    try:
        if not path.is_file():
            raise DataError(f"there is no file {path}: name a CSV, TSV or Parquet file")
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            content = cast(IO[bytes], gzip.GzipFile(fileobj=file)) if packed else file
            with io.TextIOWrapper(content, encoding="utf-8-sig", newline="") as text:
                yield text
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error.reason}): save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV table ({error}): save it as CSV in UTF-8") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is no whole gzip file ({error}): pack it again") from error
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error


def read(path: Path, as_text: Container[str] = (), exact: str | None = None, first: int | None = None) -> Cells:
    """The cells of the file, of its first rows if so many are given. Raises its errors.

    as_text: columns that are no numbers, whatever they hold. exact: one whose whole numbers beyond float64's own
        precision are to stay apart, and so are texts then.
    """
    with opened(path) as file:
        header = begun(path, file)
        which = [array("q") for _ in header.names]
        texts: list[dict[str, int]] = [{} for _ in header.names]
        for row, _ in itertools.islice(_rows(path, header), first):
            for at, index, cell in zip(which, texts, row, strict=True):
                at.append(index.setdefault(cell.strip(), len(index)))
    columns = {
        name: of_texts(at, list(index), as_text=name in as_text, exact=name == exact)
        for name, at, index in zip(header.names, which, texts, strict=True)
    }
    numbers = [(name, index) for name, index in zip(header.names, texts, strict=True) if columns[name].texts is None]
    grouped = [name for name, index in numbers if header.delimiter == ";" and faults.may_be_thousands(index)]
    return Cells(str(path), columns, len(which[0]), line_of(path), header.delimiter, header.unnamed, tuple(grouped))


def line_of(path: Path) -> Callable[[int], str]:
    """Where a row of the file, counted from 0, stands: the line that it ends at. The file is read for it, once."""
    lines = array("q")

    def line(row: int) -> str:
        if not lines:
            with opened(path) as file:
                lines.extend(number for _, number in _rows(path, begun(path, file)))
        return f"line {lines[row]}"

    return line


def begun(path: Path, file: TextIO) -> Header:
    """The file's header, read. Raises DataError where it is none."""
    delimiter = _delimiter(file)
    reader = csv.reader(_lines(path, file), delimiter=delimiter, skipinitialspace=delimiter != "\t", strict=True)
    names = [name.strip() for name in next((row for row in reader if any(map(str.strip, row))), [])]
    if not any(names):
        raise DataError(f"{path} is empty: it needs a header line and rows")
    if all(faults.number(name) is not None for name in names):
        raise DataError(f"{path} begins with a line of numbers only: put a header line with the columns' names there")
    unnamed = [] if like_cells(names) else [k for k, name in enumerate(names) if not name]
    for k in unnamed:
        names[k] = UNNAMED.format(k)
    counts = Counter(names)
    lacks = LACKS_HEADER if like_cells(names) else ""
    for k, name in enumerate(names, start=1):
        if not name:
            raise DataError(
                f"column {k} of {path} has no name: name it, or leave it out if it only numbers the rows{lacks}"
            )
        if counts[name] > 1:
            raise DataError(f"{path} has {counts[name]} columns named {short(name)}: give each its own name{lacks}")
    return Header(tuple(names), delimiter, reader, tuple(names[k] for k in unnamed))


def like_cells(names: Sequence[str]) -> bool:
    """Whether a header looks like a row of cells."""
    return 2 * sum(faults.number(name) is not None for name in names) >= len(names)


def _rows(path: Path, header: Header) -> Iterator[tuple[list[str], int]]:
    """Each row below the header, with the line that it ends at; blank lines, and lines of spaces, are none."""
    count, width, reader = 0, len(header.names), header.below
    for row in reader:
        if len(row) < 2 and not "".join(row).strip():
            continue
        count += 1
        if len(row) != width:
            quotes = f" (a {header.delimiter!r} within a cell needs quotes around the cell)" if len(row) > width else ""
            raise DataError(
                f"{path}, row {count} (line {reader.line_num}) has {len(row)} cells, and the header {width}: "
                f"correct the row{quotes}"
            )
        yield row, reader.line_num


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

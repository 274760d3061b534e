"""The cells of a CSV or TSV file by pandas' reader: as `cells` reads them, many times as fast, or not at all."""

import gzip
import re
import warnings
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np

from bp_torch.data import cells as slow
from bp_torch.data import faults
from bp_torch.data.columns import EXACT, Cells, Column, of_texts

SEEN = 200  # rows by which it is guessed which columns hold numbers
MISSING, NO_NUMBER = (
    sorted({way(text) for text in signs for way in (str, str.upper, str.title)} | {"NaN"})
    for signs in (faults.MISSING, faults.NO_NUMBER)
)


def read(path: Path, as_text: Container[str] = (), exact: str | None = None) -> Cells | None:
    """The cells of the file; None where it holds anything odd, which is for the slow reader to tell.

    as_text, exact: as the slow reader takes them. Raises its errors for the file's beginning.
    """
    beginning = slow.read(path, as_text, exact, SEEN)
    if beginning.rows < SEEN:
        return beginning
    names, delimiter = list(beginning.columns), beginning.delimiter
    content = path.read_bytes()
    content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    with slow.opened(path) as file:
        header = slow.begun(path, file).below.line_num
    below = _below(content.removeprefix(b"\xef\xbb\xbf"), header)
    if below is None:
        return None
    plain = _without_quoted(below, delimiter)
    if plain is None:
        return None
    coded = {name for name, column in beginning.columns.items() if column.texts is not None}
    for _ in range(2):
        frame = _parsed(below, names, delimiter, coded, exact)
        if frame is None or plain.count(delimiter.encode()) != len(frame) * (len(names) - 1):
            return None
        columns = {name: _column(frame[k], name in as_text, name == exact) for k, name in enumerate(names)}
        more = _to_be_texts(columns, below, delimiter, exact) - coded
        if not more:
            grouped = tuple(name for name in beginning.grouped if _in_thousandths(columns[name]))
            return beginning._replace(columns=columns, rows=len(frame), grouped=grouped)
        coded |= more
    return None


def _below(content: bytes, header: int) -> bytes | None:
    """What is below the header, which ends at this line; None for what is no plain text, or has odd ends of lines."""
    if b"\0" in content or (b"\r" in content and content.count(b"\r") != content.count(b"\r\n")):
        return None
    try:
        _ = content.isascii() or content.decode()
    except UnicodeDecodeError:
        return None
    start = 0
    for _ in range(header):
        start = content.find(b"\n", start) + 1
    return content[start:]


def _without_quoted(content: bytes, delimiter: str) -> bytes | None:
    """The text without its quoted cells; None where a quote stands elsewhere than around a whole cell."""
    if b'"' not in content:
        return content
    ends = rf"[^{delimiter}\r\n]"
    rest = re.sub(rf'"(?<!{ends}")(?:[^"]|"")*+"(?!{ends})'.encode(), b"", content)
    return None if b'"' in rest else rest


def _parsed(content: bytes, names: list[str], delimiter: str, coded: set[str], exact: str | None) -> Any:
    """The rows as a data frame, its columns numbered; None where pandas finds fault with them."""
    import io

    import pandas

    exactly = {} if tuple(map(int, pandas.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
    numbers = [k for k, name in enumerate(names) if name not in coded]
    options: dict[str, Any] = {
        "header": None,
        "names": range(len(names)),
        "dtype": {k: object for k, name in enumerate(names) if name in coded},
        "na_values": {k: MISSING if names[k] == exact else NO_NUMBER for k in numbers},
        "keep_default_na": False,
        "skipinitialspace": delimiter != "\t",
        "low_memory": False,
        **exactly,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = pandas.read_csv(io.BytesIO(content), sep=delimiter, **options)
    except (ValueError, OverflowError):  # its own errors are ValueErrors
        return None
    return frame if isinstance(frame.index, pandas.RangeIndex) else None


def _column(series: Any, as_text: bool, exact: bool) -> Column:
    import pandas

    if pandas.api.types.is_numeric_dtype(series.dtype):
        return Column(series.to_numpy("float64"))
    which, distinct = pandas.factorize(series, use_na_sentinel=False)
    texts = ["" if isinstance(text, float) else str(text).strip() for text in distinct]
    index: dict[str, int] = {}
    of = np.array([index.setdefault(text, len(index)) for text in texts], np.int64)
    return of_texts(of[which], list(index), as_text=as_text, exact=exact)


def _to_be_texts(columns: dict[str, Column], content: bytes, delimiter: str, exact: str | None) -> set[str]:
    """Columns of numbers whose texts say more: with infinite ones, with codes, with very large ones."""
    numbers = {name: column.values for name, column in columns.items() if column.texts is None}
    found = {name for name, values in numbers.items() if np.isinf(values).any()}
    if exact in numbers and (np.abs(numbers[exact]) >= EXACT).any():
        found.add(exact)
    whole = {name for name, values in numbers.items() if _are_whole(values[:SEEN]) and _are_whole(values)}
    return found | whole if whole and _has_codes(content, delimiter) else found


def _in_thousandths(column: Column) -> bool:
    """Whether numbers may all have been written as 1.234, or as whole numbers below 1000."""
    values = column.values[~np.isnan(column.values)] * 1000
    return column.texts is None and bool((np.abs(values - values.round()) < 1e-6).all() and (values < 1e6).all())


def _are_whole(values: np.ndarray) -> bool:
    return not (np.floor(values) < values).any()


def _has_codes(content: bytes, delimiter: str) -> bool:
    """Whether a cell may begin as 007 does; 1e-05 doesn't."""
    letters = np.frombuffer(b"\n\n" + content + b"\n", np.uint8)
    zeros = np.flatnonzero(letters == ord("0"))
    before, after = letters[zeros - 1], letters[zeros + 1]
    found = zeros[_one_of(f'{delimiter}\n" +-')[before] & _one_of("0123456789")[after]]
    return bool((~_one_of("eE")[letters[found - 2]]).any())


def _one_of(letters: str) -> np.ndarray:
    table = np.zeros(256, bool)
    table[list(letters.encode())] = True
    return table

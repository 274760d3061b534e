"""The columns of a table as they were read, from a file or a data frame: numbers, or texts."""

import datetime
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from bp_torch.data import faults
from bp_torch.data.faults import short
from bp_torch.errors import DataError

UNNAMED = "Unnamed: {}"  # as pandas calls a column without a name, such as an index that it has written itself
EXACT = 2**53  # whole numbers up to here are float64's own


class Column(NamedTuple):
    """One column of m rows.

    values: (m,) float64 numbers, NaN where a cell is missing; or, where there are texts, (m,) which of them a cell is.
    texts: the different cells, without spaces around them; None for numbers. category: whether a data frame says that
        these are categories, whatever they look like.
    """

    values: np.ndarray
    texts: tuple[str, ...] | None = None
    category: bool = False

    @property
    def distinct(self) -> tuple[str, ...]:
        """The texts, none for numbers."""
        return self.texts or ()

    def missing(self) -> np.ndarray:
        """Which cells (m,) are missing, bool."""
        if self.texts is None:
            return np.isnan(self.values)
        return np.array([faults.is_missing(text) for text in self.texts], bool)[self.values]

    def as_texts(self) -> "Column":
        """The column as texts: whole numbers as digits, "" for a missing one."""
        if self.texts is not None:
            return self
        distinct, which = np.unique(self.values, return_inverse=True)
        return Column(which, tuple(text_of(value) for value in distinct.tolist()))


class Cells(NamedTuple):
    """What stands in a table.

    source: what messages call it. place: where a row, counted from 0, stands, such as "line 2". delimiter: what stands
    between the cells of its file. unnamed: the columns whose names were made up. grouped: those of numbers, in a file
    with semicolons, that are written as 1.234, and may mean 1234.
    """

    source: str
    columns: dict[str, Column]
    rows: int
    place: Callable[[int], str]
    delimiter: str = ","
    unnamed: tuple[str, ...] = ()
    grouped: tuple[str, ...] = ()


def text_of(value: Any) -> str:
    """A cell of a data frame as it would stand in a file."""
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:  # NaN
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    if isinstance(value, (float, np.floating)):
        return str(int(value)) if float(value).is_integer() and abs(value) < EXACT else repr(float(value))
    return str(value)


def of_texts(which: Any, texts: Sequence[str], *, as_text: bool = False, exact: bool = False) -> Column:
    """A column of texts, as numbers where all of them are, but for those that are codes.

    as_text: not as numbers, whatever they are. exact: nor where one is beyond the whole numbers that float64 has, or
        where a text such as None may be a class.
    """
    column = Column(np.asarray(which), tuple(texts))
    if as_text:
        return column
    numbers = [faults.number(text) for text in texts]
    is_missing = faults.is_missing if exact else faults.is_no_number
    missing = [number is None and is_missing(text) for number, text in zip(numbers, texts, strict=True)]
    is_number = all(number is not None or absent for number, absent in zip(numbers, missing, strict=True))
    if not is_number or all(missing) or faults.are_codes(texts):
        return column
    values = np.array([math.nan if number is None else number for number in numbers])
    if exact and (np.abs(values) >= EXACT).any():
        return column
    return Column(values[column.values])


def of_frame(frame: Any, source: str = "the data frame", exact: str | None = None) -> Cells:
    """The columns of a data frame of pandas, or of one that gives its columns as lists, such as polars'.

    exact: a column whose texts may be classes, as `of_texts` has it.
    Raises DataError for columns of one name, and for cells that are neither numbers, texts, truth values nor dates.
    """
    frame = _of_pandas(frame)
    names = [str(name) for name in frame.columns]
    first = UNNAMED.format(0)
    if names and names[0] in ("", first) and first not in names[1:]:  # an index that went through a file
        names[0] = first
    if twice := next((name for k, name in enumerate(names) if name in names[:k]), None):
        raise DataError(f"{source} has several columns named {short(twice)}: give each its own name")
    columns = {name: _of_series(source, name, frame.iloc[:, k], name == exact) for k, name in enumerate(names)}
    return Cells(
        source,
        columns,
        len(frame),
        lambda row: f"row {frame.index[row]!r}",
        unnamed=(first,) if first in names[:1] else (),
    )


def of_columns(columns: dict[str, Any], source: str, exact: str | None = None) -> Cells:
    """Columns of pandas or polars, lists or arrays by name, as `of_frame` has those of a frame."""
    import pandas

    listed = {
        name: each if hasattr(each, "iloc") else each.to_list() if hasattr(each, "to_list") else list(each)
        for name, each in columns.items()
    }
    return of_frame(pandas.DataFrame(listed), source, exact)


def _of_pandas(frame: Any) -> Any:
    import pandas

    return frame if isinstance(frame, pandas.DataFrame) else pandas.DataFrame(frame.to_dict(as_series=False))


def _of_series(source: str, name: str, series: Any, exact: bool) -> Column:
    import pandas
    from pandas.api import types

    kind = series.dtype
    if types.is_numeric_dtype(kind) and not types.is_bool_dtype(kind) and not types.is_complex_dtype(kind):
        values = series.to_numpy("float64", copy=True, na_value=math.nan)
        if not np.isinf(values).any():
            return Column(values)
    try:
        which, distinct = pandas.factorize(series, use_na_sentinel=False)
        texts = [_checked_text(value) for value in distinct]
    except TypeError:
        what = type(next(iter(series.dropna()), None)).__name__
        raise DataError(
            f"{source}, column {short(name)} holds {what}s: a column is to hold numbers, texts, truth values or dates"
        ) from None
    column = _merged(which, texts)
    if isinstance(kind, pandas.CategoricalDtype):
        return column._replace(category=True)
    return of_texts(column.values, column.distinct, exact=exact)


def _checked_text(value: Any) -> str:
    known = (str, bool, int, float, np.generic, datetime.date, type(None))
    if not isinstance(value, known) and type(value).__name__ not in ("NAType", "NaTType", "Decimal"):
        raise TypeError
    return text_of(value)


def _merged(which: np.ndarray, texts: Iterable[str]) -> Column:
    """Texts that are alike without the spaces around them are one."""
    index: dict[str, int] = {}
    of = np.array([index.setdefault(text, len(index)) for text in texts], np.int64)
    return Column(of[which] if len(of) else which, tuple(index))

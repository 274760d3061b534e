"""The target column of a table: classes, or values."""

from collections.abc import Sequence

import numpy as np

from bp_torch.data import faults, kinds
from bp_torch.data.columns import EXACT, Cells, Column, text_of
from bp_torch.data.faults import number, short
from bp_torch.errors import DataError

TASKS = ("classification", "regression")
FEW = 20  # distinct whole numbers in the target up to which they are taken for classes


def targets(cells: Cells, target: str, task: str | None, bad: faults.Bad) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Class indices (m,) int64 and the classes' names; or real values (m,) float64 and None.

    task: one of `TASKS`; None chooses by the cells, as `table` says. bad: what is wrong with the features. Raises
        DataError, for these too: all that is bad is told at once.
    """
    column = cells.columns[target]
    texts = _distinct(column, task)
    numbers = {text: _exact(text) for text in texts if not faults.is_missing(text)}
    values = {value for value in numbers.values() if value is not None}
    words = [text for text, value in numbers.items() if value is None]
    whole = all(float(value).is_integer() for value in values)
    few = whole and len(values) <= FEW
    codes = whole and any(map(faults.PADDED.fullmatch, numbers))
    slip = values and any(map(faults.is_float, words))  # inf or 1_0 among numbers
    way_out = ""
    if task == "regression" and words:
        way_out = 'leave task="regression" away for classes'
    if task is None and not column.category and (slip or (words and not few) or any(map(faults.is_amount, words))):
        way_out = 'if these are names of classes, say task="classification"'
    if column.missing().any():
        faults.note(bad, target, ["", "0"], (~column.missing()).astype(int), [True, False])
    if way_out and column.texts is not None:
        faults.note(bad, target, column.texts, column.values, [text in words for text in column.texts])
    if bad:
        raise faults.error(cells.source, bad, cells.rows, target, cells.delimiter, cells.place, way_out)
    repeated = few and len(values) < cells.rows
    if task == "regression" or (task is None and not (words or codes or repeated or column.category)):
        return kinds.numbers_of(column, kinds.NUMBER), None
    if words or codes or column.category:
        names = {text: text for text in numbers}
        order = sorted(names)
    else:
        known = [(text, value) for text, value in numbers.items() if value is not None]
        names = {text: _name(cells.source, target, text, value) for text, value in known}
        worth = {names[text]: value for text, value in known}
        order = sorted(worth, key=worth.__getitem__)
    _check(cells.source, target, order, cells.rows, numeric=not words)
    index = {name: k for k, name in enumerate(order)}
    coded = column.as_texts()
    return np.array([index[names[text]] for text in coded.distinct], np.int64)[coded.values], tuple(order)


def _distinct(column: Column, task: str | None) -> Sequence[str]:
    """The different texts of a column; of more numbers than can be classes, some that are no whole ones or too many."""
    if column.texts is not None:
        return column.texts
    distinct = np.unique(column.values[~np.isnan(column.values)])
    return [text_of(value) for value in (distinct if task == "classification" else distinct[: FEW + 1]).tolist()]


def _name(source: str, target: str, text: str, value: float) -> str:
    """The class of a number: 1, 1.0 and 1e0 are one."""
    if isinstance(value, float) and abs(value) >= EXACT:
        raise DataError(f"{source}, column {target!r} holds {short(text)}: write a whole number this large as digits")
    return str(int(value)) if float(value).is_integer() else repr(value)


def _check(source: str, target: str, classes: list[str], rows: int, numeric: bool) -> None:
    if len(classes) == 1:
        raise DataError(f"{source}, column {target!r} holds one value only, so that nothing can be learned: add others")
    if len(classes) > max(FEW, rows / 2):
        way_out = ', or say that they are values with task="regression"' if numeric else ""
        raise DataError(
            f"{source}, column {target!r} holds {len(classes)} different {'codes' if numeric else 'texts'} in {rows} "
            f"rows: an identifier can't be learned; choose another column{way_out}"
        )


def _exact(cell: str) -> int | float | None:
    """A cell as a finite number, whole ones written as digits exactly: beyond 2**53 two may be one float."""
    value = number(cell)
    try:
        return value if value is None else int(cell)
    except ValueError:
        return value

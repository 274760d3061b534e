"""What a column of a table is to a network: numbers, truth values, dates, categories, or nothing to learn from."""

import datetime
import re
from collections.abc import Sequence

import numpy as np

from bp_torch.data import faults
from bp_torch.data.columns import Column
from bp_torch.data.faults import number

NUMBER, TRUTH, DATE, CATEGORY = KINDS = ("number", "truth", "date", "category")
FEW = 20  # different texts that are categories in any table
MOST = 500  # texts of a column that have inputs of their own
TRUTHS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?")
NAME = re.compile(r"\d+(?:st|nd|rd|th|[A-Z])")  # of a class or a place, such as 1st or 3B, and no amount
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def kind_of(column: Column) -> str | None:
    """The kind of a column by its cells; None where they are mixed up, or nothing stands in it.

    Texts that are mostly numbers, dates other than 2024-01-31 or amounts such as 1,5 or 5 kg are mixed up: see `wrong`.
    """
    if column.texts is None:
        return None if np.isnan(column.values).all() else NUMBER
    if column.category:
        return CATEGORY
    rows = np.bincount(column.values, minlength=len(column.texts))
    if column.missing().all():
        return None
    there = [(text, int(n)) for text, n in zip(column.texts, rows, strict=True) if n and not faults.is_no_number(text)]
    texts = [text for text, _ in there]
    if not texts:
        return CATEGORY
    if all(text.lower() in TRUTHS for text in texts):
        return TRUTH
    if all(days(text) is not None for text in texts):
        return DATE
    if all(number(text) is not None for text in texts):
        return CATEGORY if faults.are_codes(texts) else NUMBER
    kinds = [(None if number(text) is not None else faults.kind(text), count) for text, count in there]
    words = sum(count for kind, count in kinds if kind in (faults.TEXT, faults.TRUTHS))
    names = len(texts) <= FEW and all(map(NAME.fullmatch, texts))
    return CATEGORY if 2 * words > sum(rows for _, rows in kinds) or names else None


def meant(column: Column) -> str:
    """What a column whose cells are mixed up was to hold: dates where there are such and no numbers, else numbers."""
    dates = any(days(text) is not None for text in column.distinct)
    return DATE if dates and not any(number(text) is not None for text in column.distinct) else NUMBER


def wrong(column: Column, kind: str) -> list[bool]:
    """Which texts of a column are no cells of this kind."""
    return [not faults.is_no_number(text) and value_of(text, kind) is None for text in column.distinct]


def value_of(text: str, kind: str) -> float | None:
    """A cell as a number of this kind, days for dates; None where it is none. Any text is a category, of value 0."""
    if kind == CATEGORY:
        return 0.0
    if kind == DATE:
        return days(text)
    found = number(text)
    if kind == TRUTH:
        return TRUTHS.get(text.lower(), found if found in (0, 1) else None)
    return found


def days(text: str) -> float | None:
    """The days from 1970 to a date, as ISO 8601 writes it, in UTC where it says nothing else; None for other texts."""
    if not ISO.fullmatch(text):
        return None
    try:
        date = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=datetime.UTC)
    return (date - EPOCH) / datetime.timedelta(days=1)


def numbers_of(column: Column, kind: str) -> np.ndarray:
    """The cells (m,) of a column as numbers of this kind, NaN where they are missing or none."""
    if column.texts is None:
        return np.where(np.isin(column.values, (0, 1)), column.values, np.nan) if kind == TRUTH else column.values
    values = (None if faults.is_no_number(text) else value_of(text, kind) for text in column.texts)
    return np.array([np.nan if value is None else value for value in values])[column.values]


def texts_of(column: Column) -> Column:
    """The cells of a column as categories: texts, "" where they are missing."""
    column = column.as_texts()
    texts = tuple("" if faults.is_missing(text) else text for text in column.distinct)
    return Column(column.values, texts)


def is_identifier(column: Column) -> bool:
    """Whether a column of texts names its rows: with more different ones than half of the rows."""
    distinct = sum(not faults.is_missing(text) for text in column.distinct)
    return distinct > max(FEW, int((~column.missing()).sum()) / 2)


def commonest(column: Column, rows: np.ndarray) -> Sequence[str]:
    """The texts of these rows of a column (rows: (m,) bool) that get inputs of their own, sorted, "" at the end."""
    counts = np.bincount(column.values[rows], minlength=len(column.distinct))
    found = [(-int(count), text) for text, count in zip(column.distinct, counts, strict=True) if count and text]
    missing = any(count and not text for text, count in zip(column.distinct, counts, strict=True))
    return [*sorted(text for _, text in sorted(found)[:MOST]), *([""] if missing else [])]

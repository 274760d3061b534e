"""Bad cells of a table, told by column: how many there are, an example of them, and what to do."""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from bp_torch.errors import DataError

MISSING = {"", "?", "na", "n/a", "#n/a", "<na>", "nan", "null"}
NO_NUMBER = MISSING | {"none", "-", "--"}  # what is missing among numbers, and among texts a text
ABSENT, TRUTHS, COMMAS, GROUPS, DATES, SIGNS, NOT_FINITE, TEXT = (
    "missing cells",
    "truth values",
    "decimal commas",
    "commas before three digits",
    "dates or times",
    "numbers with other signs beside their digits",
    "numbers that are not finite",
    "text",
)
PATTERNS = {  # of what is no number; the first that fits says what it is
    TRUTHS: r"(?i:true|false|yes|no)",
    COMMAS: r"[+−-]?(?:\d{1,3}(?:\.\d{3})+|\d*),\d+(?:[eE][+-]?\d+)?",
    DATES: r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}(?:[ T].*)?|\d{1,2}:\d{2}(?::\d{2}.*)?",
    SIGNS: r"[^\w\s]{0,2}\s?[^\w\s]?\d[\d.,_'’\s]*[^\w\s]?[^\W\d_]{0,3}",  # 1,234,567 or 12 % or € 5 or 1_0
}
THOUSANDS = re.compile(r"[+−-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")  # 1,234: who wrote it may mean 1234
POINTS = re.compile(r"[+−-]?[1-9]\d{0,2}\.\d{3}")  # 1.234: in German, 1234
AMOUNT = re.compile(r"[$€£¥]?\s?[+−-]?(?:\d{1,3}(?:[.,'’\s]\d{3})+|\d*)(?:[.,]\d+)?(?:[eE][+-]?\d+)?\s?[$€£¥%‰]?")
PADDED = re.compile(r"[+-]?0\d+")  # a code, such as 007
SHOWN = 3  # columns that a message names of each kind; the others are counted
GROUP = 5  # names of a group that are alike
LONGEST = 40  # characters of a cell or a name that a message shows


class Found(NamedTuple):
    """Bad cells of one kind in one column: how many, the row and text of the first, and whether any holds a point."""

    cells: int
    row: int
    cell: str
    points: bool


Bad = dict[tuple[str, str], Found]
"""What was found, by kind and column."""


def is_missing(cell: str) -> bool:
    """Whether nothing stands in the cell, or a sign for nothing."""
    return cell.strip().lower() in MISSING


def is_no_number(cell: str) -> bool:
    """Whether a cell among numbers, truth values or dates is missing: None and - say so there too."""
    return cell.strip().lower() in NO_NUMBER


def is_float(cell: str) -> bool:
    """Whether Python reads a number here, if only inf or 1_000."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def number(cell: str) -> float | None:
    """A cell as a finite number. Python's own 1_000 is none."""
    return float(cell) if is_float(cell) and math.isfinite(float(cell)) and "_" not in cell else None


def are_codes(texts: Iterable[str]) -> bool:
    """Whether these numbers are codes such as 007, with their zeros: whole ones, of which one begins with a 0."""
    texts = [text for text in texts if not is_no_number(text)]
    return any(map(PADDED.fullmatch, texts)) and all((number(text) or 0.0).is_integer() for text in texts)


def kind(cell: str) -> str:
    """What a cell that is no number is."""
    if is_missing(cell):
        return ABSENT
    if is_float(cell) and "_" not in cell:
        return NOT_FINITE
    text = cell.strip()[:LONGEST]
    return next((name for name, pattern in PATTERNS.items() if re.fullmatch(pattern, text)), TEXT)


def is_amount(cell: str) -> bool:
    """Whether a cell is a number to its reader: also with decimal comma, thousands, currency or per cent."""
    return bool(AMOUNT.fullmatch(cell.strip()[:LONGEST])) and any(map(str.isdigit, cell))


def may_be_thousands(texts: Iterable[str]) -> bool:
    """Whether texts are numbers as 1.234, whose points may part thousands: several, all with three digits after it.

    A number of more digits without a point, such as 1234, says that they don't.
    """
    there = [text for text in texts if not is_no_number(text)]
    points = [text for text in there if "." in text]
    return (
        len(points) > 1
        and all(map(POINTS.fullmatch, points))
        and all(number(text) is not None and (number(text) or 0.0) < 1000 for text in there)
    )


def alike(names: Iterable[str]) -> str | None:
    """Names that differ in nothing but upper and lower case, spaces or how a letter is encoded, in words.

    The words are a format, for what the names are of. None where there are none.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(" ".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
    found = [group for group in groups.values() if len(group) > 1]
    if not found:
        return None
    listed = ", ".join(map(short, found[0][:GROUP])) + " …" * (len(found[0]) > GROUP)
    more = f", and {len(found) - 1} more such group{'s' * (len(found) > 2)}" if len(found) > 1 else ""
    return (
        f"{listed}{more}".replace("{", "{{").replace("}", "}}")
        + " are {} of their own, though they differ only in case, "
        "spaces or encoding: write them alike if they are one"
    )


def note(bad: Bad, column: str, texts: Sequence[str], which: np.ndarray, wrong: Sequence[bool]) -> None:
    """Counts cells of a column among what is bad.

    texts: the different cells. which: (m,) the text of each row, by its number. wrong: whether a text is bad.
    """
    rows = np.bincount(which, minlength=len(texts))
    first = np.full(len(texts), len(which))
    np.minimum.at(first, which, np.arange(len(which)))
    found = sorted((k for k, is_bad in enumerate(wrong) if is_bad and rows[k]), key=first.__getitem__)
    there = [texts[k] for k in found if not is_missing(texts[k])]
    grouped = bool(there) and all(map(THOUSANDS.fullmatch, there))
    for k in found:
        key = GROUPS if grouped and not is_missing(texts[k]) else kind(texts[k]), column
        known = bad.get(key, Found(0, int(first[k]), texts[k], False))
        bad[key] = known._replace(cells=known.cells + int(rows[k]), points=known.points or "." in texts[k])


def error(
    source: str, bad: Bad, rows: int, target: str | None, delimiter: str, place: Callable[[int], str], way_out: str = ""
) -> DataError:
    """All that is bad as one sentence, of bounded length.

    target: the column that can't be left out; None where no column can. delimiter: of the file's cells. place: where a
    row is, in words. way_out: what else can be done about the target's cells.
    """
    parts, bad = [], _merged(bad)
    for what, feature in dict.fromkeys((name, target not in (None, column)) for name, column in bad):
        of_kind = ((column, found) for (name, column), found in bad.items() if name == what)
        columns = [each for each in of_kind if (target not in (None, each[0])) == feature]
        shown = ", ".join(_told(what, column, found, rows, place) for column, found in columns[:SHOWN])
        more = f" and {len(columns) - SHOWN:,} columns more" if len(columns) > SHOWN else ""
        parts.append(f"{what} in {shown}{more}: {_advice(what, dict(columns), feature, delimiter)}")
    return DataError(f"{source} holds {'; '.join([*parts, *([way_out] if way_out else [])])}")


def _merged(bad: Bad) -> Bad:
    """A column of no, se and dk is one of text: its no is no truth value."""
    merged: Bad = {}
    for (what, column), found in bad.items():
        key = (TEXT if what == TRUTHS and (TEXT, column) in bad else what), column
        known = merged.get(key)
        merged[key] = found if known is None else known._replace(cells=known.cells + found.cells)
    return merged


def short(text: str) -> str:
    """A cell or a name in quotes, cut where it is long."""
    text = text.strip()
    return repr(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")


def _told(what: str, column: str, found: Found, rows: int, place: Callable[[int], str]) -> str:
    where = f"in {place(found.row)}"
    example = f"the first {where}" if what == ABSENT else f"{short(found.cell)} {where}"
    return f"column {short(column)} ({found.cells:,} of {rows:,} rows, {example})"


def _advice(what: str, columns: dict[str, Found], feature: bool, delimiter: str) -> str:
    found = list(columns.values())
    cell = found[0].cell.strip()[:LONGEST]
    leave = f", or leave {'it' if len(columns) == 1 else 'them'} out, {leaving(columns)}" if feature else ""
    if what == GROUPS and (delimiter == "," or cell.count(",") > 1 or "." in cell):
        digits, separator = cell.replace(",", "").replace("−", "-"), delimiter.replace("\t", r"\t")
        return f'write {digits}; with pandas, pandas.read_csv(FILE, sep="{separator}", thousands=",") reads thousands'
    if what in (COMMAS, GROUPS):
        point = cell.replace(".", "").replace(",", ".").replace("−", "-")
        either = f", or {cell.replace(',', '')} if it means that" if THOUSANDS.fullmatch(cell) else ""
        thousands = ', thousands="."' if any(each.points for each in found) else ""
        separator = delimiter.replace("\t", r"\t")
        return (
            f'write {point}{either}; with pandas, pandas.read_csv(FILE, sep="{separator}", decimal=","{thousands}) '
            "reads decimal commas"
        )
    if what == DATES:
        return f"write dates as 2024-01-31, which are read as days, and times as numbers{leave}"
    if what == SIGNS:
        return f"write the digits alone, with a point before decimals{leave}"
    return f"correct them{leave or ', or leave out their rows'}"


def leaving(names: Iterable[str]) -> str:
    """The setting that leaves columns out, as it is typed."""
    names = list(names)
    shown = [*(short(name)[1:-1] for name in names[:SHOWN]), *(["…"] * (len(names) > SHOWN))]
    if any("," in name for name in shown):
        return "drop='{}'".format(",".join(f'"{name}"' if "," in name else name for name in shown))
    return f'drop="{",".join(shown)}"'

"""The targets of further rows of a table, by what was learned of its first ones."""

import textwrap
from collections.abc import Sequence

import numpy as np

from bp_torch.data import faults, kinds
from bp_torch.data.columns import Cells
from bp_torch.data.faults import number, short
from bp_torch.errors import DataError


def indices(cells: Cells, target: str, classes: Sequence[str], strict: bool) -> np.ndarray:
    """The class indices (m,) of further rows; −1 for a class that is not known, or a missing cell.

    strict: DataError is raised for them.
    """
    coded = cells.columns[target].as_texts()
    index = {name: k for k, name in enumerate(classes)}
    worth: dict[float | None, int] = {number(name): k for name, k in index.items()} | {None: -1}
    found = [
        index.get(text, worth.get(number(text), -1) if number(text) is not None else -1) for text in coded.distinct
    ]
    which = np.array(found, np.int64)[coded.values]
    if strict and (which < 0).any():
        row = int((which < 0).argmax())
        text = coded.distinct[coded.values[row]]
        what = "no class" if faults.is_missing(text) else f"the class {short(text)}"
        known = textwrap.shorten(", ".join(classes), 200, placeholder=" …")
        raise DataError(
            f"{cells.source}, column {short(target)} holds {what} in {cells.place(row)}, and the rows to train on have "
            f"{known}: correct it, or leave out such rows"
        )
    return which


def values(cells: Cells, target: str, strict: bool) -> np.ndarray:
    """The real values (m,) of further rows; NaN for a cell that is none, or where strict DataError."""
    column = cells.columns[target]
    found = kinds.numbers_of(column, kinds.NUMBER)
    if strict and np.isnan(found).any():
        bad: faults.Bad = {}
        coded = column.as_texts()
        wrong = [number(text) is None for text in coded.distinct]
        faults.note(bad, target, coded.distinct, coded.values, wrong)
        raise faults.error(cells.source, bad, cells.rows, target, cells.delimiter, cells.place)
    return found

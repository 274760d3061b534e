"""What is learned of a table's columns before a network is: their kinds, categories, fill values, means and scales."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from bp_torch.data import faults, kinds
from bp_torch.data.columns import Cells, Column
from bp_torch.data.faults import leaving, short
from bp_torch.data.preprocessing import Feature
from bp_torch.errors import DataError

FAR = 1e6  # times the usual distance from the middle, from which on a cell makes the others nearly one value
SOME = 5000  # rows of which a median is taken


def chosen(cells: Cells, features: Mapping[str, Column]) -> tuple[dict[str, str], faults.Bad, list[str]]:
    """The kind of each column to learn from, what is wrong with others, and why some are left out, in sentences."""
    found: dict[str, str] = {}
    bad: faults.Bad = {}
    empty: list[str] = []
    names: list[str] = []
    unused: list[str] = []
    for name, column in features.items():
        kind = kinds.kind_of(column)
        if column.missing().all():
            empty.append(name)
        elif _is_index(cells, name):
            unused.append("the first column has no name and no value twice: it is left out as an index")
        elif kind is None:
            faults.note(bad, name, column.distinct, column.values, kinds.wrong(column, kinds.meant(column)))
        elif kind == kinds.CATEGORY and not column.category and kinds.is_identifier(column):
            names.append(name)
        elif name in cells.unnamed:
            number = list(cells.columns).index(name) + 1
            raise DataError(
                f"column {number} of {cells.source} has no name: name it, or leave it out, {leaving([name])}"
            )
        else:
            found[name] = kind
    if empty:
        unused.append(f"{_named(empty, 'holds no cell', 'hold no cell')}: {_it(empty)} left out")
    if names:
        what = _named(names, "names the rows", "name the rows")
        unused.append(f"{what}, with more different texts than half of them: {_it(names)} left out")
    return found, bad, unused


def _is_index(cells: Cells, name: str) -> bool:
    """Whether a column is the first, has no name, and no value twice: what pandas writes before its columns."""
    first = next(iter(cells.columns))
    return name == first and first in cells.unnamed and len(np.unique(cells.columns[first].values)) == cells.rows > 1


def _named(names: Sequence[str], one: str, several: str) -> str:
    """Some columns, and what they do."""
    more = f" and {len(names) - faults.SHOWN:,} more" if len(names) > faults.SHOWN else ""
    listed = ", ".join(map(short, names[: faults.SHOWN])) + more
    return f"column {listed} {one}" if len(names) == 1 else f"columns {listed} {several}"


def _it(names: Sequence[str]) -> str:
    return "it is" if len(names) == 1 else "they are"


def fitted_to(
    cells: Cells, found: Mapping[str, str], train: Tensor, notes: list[str]
) -> tuple[tuple[Feature, ...], dict[str, str]]:
    """Each feature, fitted to the rows to train on (m,), and the farthest cells of `_far`; notes: added to."""
    fitted: dict[str, Feature] = {}
    rows = train.numpy()
    numbers = {
        name: kinds.numbers_of(cells.columns[name], kind) for name, kind in found.items() if kind != kinds.CATEGORY
    }
    fills = {name: _fill(column[rows]) for name, column in numbers.items()}
    far: dict[str, str] = {}
    constant: list[str] = []
    if numbers:
        full = [np.where(np.isnan(column), fills[name], column) for name, column in numbers.items()]
        x = torch.as_tensor(np.stack(full), dtype=torch.float64, device="cpu").T
        far = far_cells(cells, tuple(numbers), x)
        means, scales = moments(cells.source, tuple(numbers), x, ~train, far)
        for (name, column), mean, scale in zip(numbers.items(), means.tolist(), scales.tolist(), strict=True):
            missing = bool(np.isnan(column[rows]).any())
            fitted[name] = Feature(name, found[name], fills[name], mean, scale, missing)
            constant += [name] * (scale == 0 and not missing)
    for name in (name for name, kind in found.items() if kind == kinds.CATEGORY):
        column = kinds.texts_of(cells.columns[name])
        texts = kinds.commonest(column, rows)
        fitted[name] = Feature(name, kinds.CATEGORY, categories=tuple(texts))
        constant += [name] * (len(texts) == 1)
        if alike := faults.alike(texts):
            notes.append(f"column {short(name)}: {alike.format('categories')}")
        if len(texts) >= kinds.MOST and len(set(column.distinct)) > len(texts):
            notes.append(
                f"column {short(name)}: its {kinds.MOST} commonest texts have an input each, and the others none"
            )
    if constant:
        what = _named(constant, "tells nothing, with one value", "tell nothing, with one value each")
        them = "it" if len(constant) == 1 else "them"
        notes.append(f"{what} in all rows to train on: leave {them} out, {leaving(constant)}")
    return tuple(fitted[name] for name in found), far


def _fill(column: np.ndarray) -> float:
    """What stands in for a missing cell: the median, as one of the cells."""
    there = np.sort(column[~np.isnan(column)])
    return float(there[(len(there) - 1) // 2]) if len(there) else 0.0


def numbering(cells: Cells, found: Mapping[str, str]) -> str | None:
    """The first of several columns that holds 0 to m − 1 or 1 to m, in order; a sole one may be meant."""
    counts = np.arange(cells.rows, dtype=np.float64)
    if len(found) == 1:
        return None
    for name, kind in found.items():
        values = cells.columns[name].values
        if kind == kinds.NUMBER and values[0] in (0, 1) and np.array_equal(values - values[0], counts):
            return name
    return None


def far_cells(cells: Cells, names: tuple[str, ...], column: Tensor) -> dict[str, str]:
    """The farthest cell of each column that has one very far from all others, in words, by the column's name.

    The usual distance is the median of those from the median; cells on it don't count, so that a column of many zeros
    may hold a one. Medians are of some rows, spread evenly.
    """
    some = column[:: 1 + len(column) // SOME]
    middle = some.median(0).values
    away = (some - middle).abs()
    usual = away.where(away > 0, torch.nan).nanmedian(0).values
    least, most = column.aminmax(dim=0)
    far = {}
    for k in (torch.maximum(most - middle, middle - least) > FAR * usual).nonzero().flatten().tolist():
        row = int((column[:, k] - middle[k]).abs().argmax())
        far[names[k]] = f"column {short(names[k])}: {float(column[row, k]):g} in {cells.place(row)}"
    return far


def moments(
    source: str, names: Sequence[str], column: Tensor, test: Tensor, far: Mapping[str, str]
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (n,) of the training rows of columns (m, n), 0 for a constant.

    Moments are taken in units of a power of two near the largest cell: squares neither overflow nor vanish, and nothing
    is rounded. far: what `_far` found, to be named where it is too far to compute with.
    """
    part = column.T[:, ~test].T
    least, most = part.aminmax(dim=0)
    constant, peak = least == most, torch.maximum(-least, most)
    unit = (peak / (2 * peak.frexp().mantissa)).where(peak > 0, 1)
    part = part / unit
    mean, scale = part.mean(0) * unit, (part.std(0, correction=0) * unit).where(~constant, 0)
    ends = torch.stack(column.aminmax(dim=0))
    scaled = ((ends - mean) / scale).where(scale > 0, 0).to(torch.float32)
    small = ~constant & (scale < torch.finfo(torch.float64).tiny)
    for wild, what in ((small, "small"), (~scaled.isfinite().all(0), "large")):
        if wild.any():
            name = names[int(wild.nonzero()[0])]
            if what == "large" and name in far:
                raise DataError(f"{source}, {far[name]} is too far from the others to compute with: correct it")
            raise DataError(f"{source}, column {name!r} holds numbers too {what} to compute with: rescale it")
    return mean, scale

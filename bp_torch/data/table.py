"""A table in a text file, CSV or TSV, as data to train on."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from bp_torch import checks
from bp_torch.data import cells as reading
from bp_torch.data.faults import short
from bp_torch.data.targets import TASKS, targets, warn_of_near_equals
from bp_torch.errors import DataError
from bp_torch.randomness import generator
from bp_torch.splitting import set_apart

FAR = 1e6  # times the usual distance from the middle, from which on a cell makes the others nearly one value
ONE_IN = 5  # rows is one to test on
SOME = 5000  # rows of which a median is taken


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


def table(
    path: str | Path, *, target: str, task: str | None = None, seed: int = 0, device: str | torch.device = "cpu"
) -> Table:
    """A CSV or TSV file with a header line, as features and one target column.

    path: UTF-8 text; cells are separated by commas, semicolons or tabs, whichever the header line holds most of outside
        quotes. Blank lines are passed over.
    target: the name of the column to predict. Every other column is a feature and must hold finite numbers.
    task: "classification" makes classes of the target, "regression" values. Left out, the cells decide. Text makes
        classes, and so do codes such as 007, with their zeros, and whole numbers of at most 20 distinct values of which
        one repeats. Other numbers are values. Classes are sorted, and 1, 1.0 and 1e0 are one; texts are classes as they
        stand.
    seed: which fifth of the rows is the test part; about the same fifth of every class. A class's only row is one to
        train on.

    Raises ValueError if there is no such column. Raises DataError for a file that is no such table, or not one for the
    task: cells that are missing or not numbers are told by column, with an example. So is a target of more different
    texts than half of the rows (and than 20): an identifier, not classes.
    Warns of classes whose names differ only in case or spaces, of cells so far off that the others of their column
    become nearly one value, and of a feature beside others that only numbers the rows.
    """
    device, seed, path = checks.available_device(device), checks.seed(seed), Path(path)
    if task is not None:
        checks.one_of("task", task, TASKS)
    cells = reading.read(path, target)
    y, classes = targets(path, target, cells, task)
    if len(cells.lines) < 3:
        raise DataError(f"{path} holds {len(cells.lines)} rows below its header: give it 3 at least, for both parts")
    x = torch.frombuffer(cells.features, dtype=torch.float64).view(len(cells.lines), -1)
    order = torch.randperm(len(y), generator=generator("table", seed), dtype=torch.int64, device="cpu")
    test = set_apart(y, classes is not None, order, 1 / ONE_IN)
    if not test.any():
        raise DataError(f"{path}, column {target!r}: no class has two rows, one of them to test on: add rows")
    far, numbering = _far(cells, cells.columns, x), _numbering(x)
    x, mean, scale = _standardised(path, cells.columns, x, test, far)
    target_mean, target_scale = 0.0, 1.0
    if classes is None:
        far |= _far(cells, (target,), y)
        y, centre, width = _standardised(path, [target], y, test, far)
        target_mean, target_scale = float(centre), float(width)
        if target_scale == 0:
            raise DataError(f"{path}, column {target!r}: the rows to train on hold one value only: add others")
    else:
        warn_of_near_equals(path, target, classes)
    if far:
        more = f" (and so in {len(far) - 1:,} columns more)" if len(far) > 1 else ""
        warnings.warn(
            f"{path}, {next(iter(far.values()))}{more} is so far off that the other cells become nearly one value: "
            "correct it, or write logarithms in its column",
            RuntimeWarning,
            stacklevel=2,
        )
    if numbering is not None:
        warnings.warn(
            f"{path}, column {short(cells.columns[numbering])} only numbers the rows: leave it out",
            RuntimeWarning,
            stacklevel=2,
        )
    train, held_out = ((x[rows].to(device), y[rows].to(device)) for rows in (~test, test))
    return Table(train, held_out, classes, cells.columns, mean, scale, target_mean, target_scale)


def _numbering(x: Tensor) -> int | None:
    """The first of several columns (m, n) that holds 0 to m − 1 or 1 to m, in order; a sole one may be meant."""
    if x.shape[1] == 1:
        return None
    counts = torch.arange(len(x), dtype=x.dtype, device="cpu").unsqueeze(1)
    found = (((x == counts) | (x == counts + 1)).all(0) & ((x[-1] - x[0]) == len(x) - 1)).nonzero().flatten().tolist()
    return found[0] if found else None


def _far(cells: reading.Cells, names: tuple[str, ...], column: Tensor) -> dict[str, str]:
    """The farthest cell of each column that has one very far from all others, in words, by the column's name.

    The usual distance is the median of those from the median; cells on it don't count, so that a column of many zeros
    may hold a one. Medians are of some rows, spread evenly.
    """
    some = column[:: 1 + len(column) // SOME]
    middle = some.median(0).values
    away = (some - middle).abs()
    usual = away.where(away > 0, torch.nan).nanmedian(0).values
    most, row = (column - middle).abs().max(0)
    return {
        names[k]: f"column {short(names[k])}: {float(column[row[k], k]):g} in line {cells.lines[int(row[k])]}"
        for k in (most > FAR * usual).nonzero().flatten().tolist()
    }


def _standardised(
    path: Path, names: Sequence[str], column: Tensor, test: Tensor, far: Mapping[str, str]
) -> tuple[Tensor, Tensor, Tensor]:
    """Columns (m, n) scaled by their training rows, in float32; mean and standard deviation (n,), 0 for a constant.

    Moments are taken in units of a power of two near the largest cell: squares neither overflow nor vanish, and nothing
    is rounded. far: what `_far` found, to be named where it is too far to compute with.
    """
    part = column[~test]
    constant = (part == part[0]).all(0)
    peak = part.abs().amax(0)
    unit = (peak / (2 * peak.frexp().mantissa)).where(peak > 0, 1)
    mean, scale = (part / unit).mean(0) * unit, ((part / unit).std(0, correction=0) * unit).where(~constant, 0)
    scaled = ((column - mean) / scale).where(scale > 0, 0).to(torch.float32)
    small = ~constant & (scale < torch.finfo(torch.float64).tiny)
    for wild, what in ((small, "small"), (~scaled.isfinite().all(0), "large")):
        if wild.any():
            name = names[int(wild.nonzero()[0])]
            if what == "large" and name in far:
                raise DataError(f"{path}, {far[name]} is too far from the others to compute with: correct it")
            raise DataError(f"{path}, column {name!r} holds numbers too {what} to compute with: rescale it")
    return scaled, mean, scale

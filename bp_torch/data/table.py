"""A table in a file or a data frame, as data to train on."""

import csv
import difflib
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bp_torch import checks
from bp_torch.data import faults, kinds, sources
from bp_torch.data.cells import LACKS_HEADER, like_cells
from bp_torch.data.columns import Cells
from bp_torch.data.faults import leaving, short
from bp_torch.data.fitting import chosen, far_cells, fitted_to, moments, numbering
from bp_torch.data.preprocessing import Preprocessing, Target
from bp_torch.data.targets import TASKS, targets
from bp_torch.encoding import is_frame
from bp_torch.errors import DataError
from bp_torch.randomness import generator
from bp_torch.splitting import set_apart
from bp_torch.threads import threads

SHARE = 0.2  # of the rows is the test part


class Table(NamedTuple):
    """The rows of a table in two parts, each (x, y), and how they were made from its cells.

    train, test: x (m, n) float32; y (m,) int64 class indices, or for a real-valued target (m, 1) float32.
    classes: the name of each class index; None for a real-valued target.
    columns: the names of the n inputs: of columns of numbers first, then of those that say what is missing, then of the
        categories, such as town=Ulm.
    mean, scale: (n,) float64, mean and standard deviation of the training part: x is (cell − mean) / scale, and 0
        where a feature is constant in the training part (scale 0). 0 and 1 for inputs that are 0 or 1.
    target_mean, target_scale: a real-valued y is (cell − target_mean) / target_scale, likewise; 0 and 1 for classes.
    preprocessing: all of this as one value, to be kept with a network: see `Network.create`.
    """

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    classes: tuple[str, ...] | None
    columns: tuple[str, ...]
    mean: Tensor
    scale: Tensor
    target_mean: float
    target_scale: float
    preprocessing: Preprocessing

    def __repr__(self) -> str:
        """In a line: rows, inputs and target."""
        what = "values" if self.classes is None else f"{len(self.classes)} classes"
        rows = f"{len(self.train[0])} rows to train on, {len(self.test[0])} to test on"
        return f"<Table: {rows}; {len(self.columns)} inputs; {what} of {self.preprocessing.target.name!r}>"


def table(
    source: Any,
    *,
    target: str,
    task: str | None = None,
    drop: str | Sequence[str] = (),
    test_share: float | None = None,
    test_file: Any = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Table:
    """The rows of a file or a data frame, as features and one target column.

    source: the path of a CSV or TSV file with a header line, gzipped or not, or of a Parquet file (where pyarrow is
        installed); or a data frame of pandas or polars. Text is UTF-8; cells are separated by commas, semicolons or
        tabs, whichever the header line holds most of outside quotes. Blank lines are passed over.
    target: the name of the column to predict. Every other column is a feature: numbers; dates such as 2024-01-31, as
        days; truth values, True or yes as 1; and texts, as categories. Codes such as 007 are texts. A missing cell
        (empty, NA, NaN, null, ?) is filled with the column's median, and a further input says that it was missing; a
        missing text is a category of its own. A text that no row to train on has is 0 in all inputs of its column.
    task: "classification" makes classes of the target, "regression" values. Left out, the cells decide. Text makes
        classes, and so do codes such as 007, with their zeros, and whole numbers of at most 20 distinct values of which
        one repeats. Other numbers are values. Classes are sorted, and 1, 1.0 and 1e0 are one; texts are classes as they
        stand.
    drop: columns to leave out, as a list or as a text "a,b".
    test_share: the share of the rows that is the test part, a fifth if left out; about the same of every class. A
        class's only row is one to train on. test_file: the rows to test on, in place of a share.
    seed: which of the rows are the test part.

    Raises ValueError if there is no such column. Raises DataError for what is no such table, or not one for the task:
    cells that are missing in the target, or mixed up in a feature, are told by column, with an example. So is a target
    of more different texts than half of the rows (and than 20): an identifier, not classes.
    Warns of columns that are left out, since they are empty or identifiers, of those that hold one value or only number
    the rows, of classes whose names differ only in case or spaces, and of cells so far off that the others of their
    column become nearly one value.
    """
    device, seed = checks.available_device(device), checks.seed(seed)
    if task is not None:
        checks.one_of("task", task, TASKS)
    if test_share is not None:
        checks.share("test_share", test_share)
        if test_file is not None:
            raise ValueError("test_share and test_file both say which rows to test on: leave one of them away")
    if not is_frame(source) and not isinstance(source, (str, Path)):
        raise ValueError(f"a table must be the path of a file or a data frame, not {type(source).__name__}")
    if not isinstance(target, str):
        raise ValueError(f"target must be the name of a column, a text, not {target!r}")
    cells = sources.read(source, exact=target)
    _check_names(cells, target)
    dropped = list(_dropped(cells, target, drop))
    others = {name: column for name, column in cells.columns.items() if name != target and name not in dropped}
    if not others:
        raise DataError(f"{cells.source} has no column but {target!r}: it needs features too")
    found, bad, unused = chosen(cells, others)
    y, classes = targets(cells, target, task, bad)
    if cells.rows < 3:
        raise DataError(f"{cells.source} holds {cells.rows} rows below its header: give it 3 at least, for both parts")
    if not found:
        raise DataError(f"{cells.source} has no column to learn from but {target!r}: {'; '.join(unused)}")
    labels = torch.as_tensor(
        np.require(y, requirements="W"), dtype=torch.int64 if classes else torch.float64, device="cpu"
    )
    with threads(1):  # memory bounds it, and other threads would wait
        test = torch.zeros(len(y), dtype=torch.bool, device="cpu")
        if test_file is None:
            test = _to_test_on(cells, target, labels, SHARE if test_share is None else test_share, seed)
        made, notes = _fitted(cells, Target(target, classes), found, labels, test)
        for note in [*unused, *_thousands(cells, [*found, *([] if classes else [target])]), *notes]:
            warnings.warn(f"{cells.source}, {note}", RuntimeWarning, stacklevel=2)
        x, y = made.encode_cells(cells, warn=False), labels if classes else made.scaled(labels)
        train, held_out = (x, y), (x[test], y[test])
        if test_file is None:
            train = x[~test], y[~test]
        else:
            held_out = labelled(test_file, made)
        train, held_out = ((x.to(device), y.to(device)) for x, y in (train, held_out))
    mean, scale = made.scaling
    return Table(train, held_out, classes, made.columns, mean, scale, made.target.mean, made.target.scale, made)


def _to_test_on(cells: Cells, target: str, labels: Tensor, share: float, seed: int) -> Tensor:
    """Which rows (m,) are the test part, bool. Raises DataError where no class has a row to spare."""
    order = torch.randperm(len(labels), generator=generator("table", seed), dtype=torch.int64, device="cpu")
    test = set_apart(labels, not labels.is_floating_point(), order, share)
    if not test.any():
        what = "no class has two rows, one of them to test on"
        raise DataError(f"{cells.source}, column {target!r}: {what}: add rows")
    return test


def _thousands(cells: Cells, names: Sequence[str]) -> list[str]:
    """What is to be told of columns of numbers whose points may part thousands, in sentences."""
    columns = [name for name in names if name in cells.grouped]
    if not columns:
        return []
    of = "columns" if len(columns) > 1 else "column"
    listed = ", ".join(map(short, columns[: faults.SHOWN])) + " …" * (len(columns) > faults.SHOWN)
    return [
        f"{of} {listed}: each point stands before three digits, as in 1.234, and is read as a decimal point; if it "
        'parts thousands, write 1234, or give the frame of pandas.read_csv(FILE, sep=";", thousands=".", decimal=",")'
    ]


def _fitted(
    cells: Cells, target: Target, found: Mapping[str, str], labels: Tensor, test: Tensor
) -> tuple[Preprocessing, list[str]]:
    """The preprocessing that the rows give that are not tested on, and what is to be told of the columns.

    found: the kinds of the features. labels: class indices (m,), or values. test: (m,) bool.
    """
    notes: list[str] = []
    features, far = fitted_to(cells, found, ~test, notes)
    if target.classes is None:
        column = labels.unsqueeze(1)
        far |= far_cells(cells, (target.name,), column)
        mean, scale = moments(cells.source, [target.name], column, test, far)
        target = Target(target.name, None, float(mean), float(scale))
        if target.scale == 0:
            what = "the rows to train on hold one value only"
            raise DataError(f"{cells.source}, column {target.name!r}: {what}: add others")
    elif alike := faults.alike(target.classes):
        notes.append(f"column {short(target.name)}: {alike.format('classes')}")
    if far:
        more = f" (and so in {len(far) - 1:,} columns more)" if len(far) > 1 else ""
        notes.append(
            f"{next(iter(far.values()))}{more} is so far off that the other cells become nearly one value: "
            "correct it, or write logarithms in its column"
        )
    if (counting := numbering(cells, found)) is not None:
        notes.append(f"column {short(counting)} only numbers the rows: leave it out, {leaving([counting])}")
    left_out = tuple(name for name in cells.columns if name != target.name and name not in found)
    return Preprocessing(features, target, left_out), notes


def labelled(source: Any, preprocessing: Preprocessing) -> tuple[Tensor, Tensor]:
    """The rows of another file or data frame with the same columns as (x, y), by a preprocessing that was fitted.

    Raises DataError where columns, cells or classes are not those of the table that it was fitted to.
    """
    cells = read_for(source, preprocessing)
    return preprocessing.encode_cells(cells), preprocessing.target_of(cells)


def read_for(source: Any, preprocessing: Preprocessing) -> Cells:
    """The cells of a table whose columns are to be those of the preprocessing; its categories are read as texts."""
    texts = {f.name for f in preprocessing.features if f.kind == kinds.CATEGORY}
    return sources.read(source, texts, exact=preprocessing.target.name)


def names_of(drop: str | Sequence[str]) -> list[str]:
    """Names of columns, of a list or of a text "a,b", in which quotes stand around a name with a comma."""
    if isinstance(drop, str):
        return [name.strip() for name in next(csv.reader([drop], skipinitialspace=True), []) if name.strip()]
    if not isinstance(drop, Sequence):
        raise ValueError(f"drop must list names of columns, not {drop!r}")
    return [str(name) for name in drop]


def _check_names(cells: Cells, target: str) -> None:
    """Raises where the target is none of the columns."""
    names = list(cells.columns)
    if target not in names:
        lacks = LACKS_HEADER if like_cells(names) else ""
        if len(names) == 1:
            lacks = "; cells are to be separated by commas, semicolons or tabs"
        near = difflib.get_close_matches(target, names, 1)
        like = f" (is {short(near[0])} meant?)" if near else ""
        known = textwrap.shorten(", ".join(names[:100]), 500, placeholder=" …")
        raise ValueError(f"{cells.source} has no column {target!r}{like}: its columns are {known}{lacks}")
    if len(names) == 1:
        raise DataError(f"{cells.source} has no column but {target!r}: it needs features too")


def _dropped(cells: Cells, target: str, drop: str | Sequence[str]) -> Sequence[str]:
    """The columns to leave out; raises ValueError for one that is none."""
    names = names_of(drop)
    if isinstance(drop, str) and drop.strip() in cells.columns and not all(name in cells.columns for name in names):
        names = [drop.strip()]  # its name holds a comma
    for name in names:
        if name == target:
            raise ValueError(f"drop must name other columns than {short(name)}, which is to be predicted")
        if name not in cells.columns:
            near = difflib.get_close_matches(name, list(cells.columns), 1)
            like = f": is it {short(near[0])}" if near else ""
            raise ValueError(f"drop must name columns of {cells.source}, which has no {short(name)}{like}")
    return names

"""Data sets by name, and tables by their path, as one type: what the programs train on."""

import csv
import functools
import hashlib
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from bp_torch import checks
from bp_torch.data.digits import digits
from bp_torch.data.idx import as_examples, images
from bp_torch.data.mnist import fashion_mnist, kmnist, mnist
from bp_torch.data.preprocessing import Preprocessing
from bp_torch.data.sources import is_table
from bp_torch.data.table import Table, names_of, table
from bp_torch.data.targets import TASKS
from bp_torch.errors import DataError

DOWNLOADED: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "kmnist": kmnist,
}
DATASETS = ("mnist", "digits", "fashion-mnist", "kmnist", "idx")
OF_DIGITS = ("mnist", "digits")


class Split(NamedTuple):
    """A part of a data set: x (m, n); y (m,) class indices, or (m, 1) if real-valued.

    classes: their names, None for a real-valued target. unit: how much of the target's own unit a step of 1 in y is.
    image: height and width, where a row of x is an image, pixel row by pixel row; None for a table.
    preprocessing: how a table's rows became x.
    """

    x: Tensor
    y: Tensor
    classes: tuple[str, ...] | None
    unit: float = 1.0
    image: tuple[int, int] | None = None
    preprocessing: Preprocessing | None = None


class Choice(NamedTuple):
    """What is asked of a table besides its target: see `table`."""

    task: str | None = None
    drop: str = ""
    test_share: float | None = None
    test_file: str | None = None


def load(
    name: str,
    split: str,
    *,
    root: str | Path | None = None,
    target: str | None = None,
    task: str | None = None,
    drop: str | Sequence[str] = "",
    test_share: float | None = None,
    test_file: str | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Split:
    """A part of a data set: `name` is one of `DATASETS`, or the path of a table's file.

    split: "train" or "test". root: the folder of the IDX files for idx; for what is downloaded, where it is or goes
    ("data" if left out). target: the column to predict, for a table and nothing else. task: "classification" or
    "regression", where a table's cells are not to decide it. drop, test_share, test_file: of a table too, see `table`.

    Raises ValueError for arguments that don't go together, DataError for a data set that can't be had or learned from.
    """
    checks.one_of("split", split, ("train", "test"))
    if not is_table(name):
        checks.one_of("dataset", name, DATASETS)
    if is_table(name) != (target is not None):
        raise ValueError("target must name the column to predict where the data set is a FILE.csv, and only there")
    choice = Choice(task, joined(drop), test_share, test_file)
    check_choice(name, choice)
    if is_table(name):
        both = _table(name, str(target), choice)
        x, y = both.train if split == "train" else both.test
        part = Split(x.clone(), y.clone(), both.classes, both.target_scale, preprocessing=both.preprocessing)
    elif name == "idx":
        if root is None:
            raise ValueError("root must be the folder of the four IDX files, for the data set idx")
        pixels, labels = images(root, split)
        x, y = as_examples(pixels, labels, torch.device("cpu"))
        part = Split(x, y, tuple(map(str, range(int(y.max()) + 1))), image=(pixels.shape[1], pixels.shape[2]))
    else:
        x, y = digits(split) if name == "digits" else DOWNLOADED[name](split, root=root or "data")
        side = math.isqrt(x.shape[1])
        part = Split(x, y, tuple("0123456789"), image=(side, side))
    if split == "train" and part.classes is not None and len(part.classes) < 2:
        raise DataError(f"{name}: all training examples are of one class, so that nothing can be learned")
    y = part.y.to(device) if part.classes else part.y.to(device, dtype)
    return part._replace(x=part.x.to(device, dtype), y=y)


def check_choice(name: str, choice: Choice) -> None:
    """Raises ValueError where what is asked of a table can't be, or where the data set is none."""
    for field, value in choice._asdict().items():
        if value and not is_table(name):
            raise ValueError(f'{field}="{value}" is for a table, FILE.csv: leave it away for {name}')
    if choice.task is not None:
        checks.one_of("task", choice.task, TASKS)
    if choice.test_share is not None:
        checks.share("test_share", choice.test_share)
        if choice.test_file is not None:
            raise ValueError("test_share and test_file both say which rows to test on: leave one of them away")
    if choice.test_file is not None and not is_table(choice.test_file):
        raise ValueError(f"test_file must be a table, FILE.csv, not {choice.test_file!r}")


def joined(drop: str | Sequence[str]) -> str:
    """The names of columns to leave out as a text, with quotes around one that holds a comma."""
    if isinstance(drop, str):
        return drop
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(names_of(drop))
    return line.getvalue()


def _table(path: str, target: str, choice: Choice) -> Table:
    """The table, read once for all that is asked of it; read again where a file is another or has changed."""
    return _read_table(path, target, choice, str(Path(path).resolve()), table_checksum(path, choice.test_file))


@functools.lru_cache(maxsize=1)
def _read_table(path: str, target: str, choice: Choice, file: str, content: str | None) -> Table:
    return table(path, target=target, **choice._asdict())


def table_checksum(path: str | Path, test_file: str | Path | None = None) -> str | None:
    """What a table is recognised by: the SHA-256 of its file, or of both checksums with a test file; None if absent."""
    files = [Path(each).resolve() for each in (path, test_file) if each is not None]
    if not all(file.is_file() for file in files):
        return None
    found = [checksum(file) for file in files]
    return found[0] if len(found) == 1 else hashlib.sha256("".join(found).encode()).hexdigest()


def paper(part: Split) -> float | None:
    """The shade around the images, the median of their border pixels; None for a table."""
    if part.image is None:
        return None
    around = torch.ones(part.image, dtype=torch.bool, device=part.x.device)
    around[1:-1, 1:-1] = False
    return part.x[:, around.flatten()].float().median().item()


def checksum(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(name: str, train: Split, test: Split, test_file: str | None = None) -> str | None:
    """What the data of a run is recognised by: the checksum of a table's files, or of the content of IDX files.

    None for the other data sets, whose files are verified whenever they are read.
    """
    if is_table(name):
        return table_checksum(name, test_file)
    if name != "idx":
        return None
    digest = hashlib.sha256()
    for part in (train.x, train.y, test.x, test.y):
        digest.update(part.float().cpu().numpy().tobytes())
    return digest.hexdigest()

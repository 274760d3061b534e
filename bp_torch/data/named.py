"""Data sets by name, and tables by their path, as one type: what the programs train on."""

import functools
import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from bp_torch import checks
from bp_torch.data.digits import digits
from bp_torch.data.idx import as_examples, images
from bp_torch.data.mnist import fashion_mnist, kmnist, mnist
from bp_torch.data.table import Table, table
from bp_torch.data.targets import TASKS
from bp_torch.errors import DataError

DOWNLOADED: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "kmnist": kmnist,
}
DATASETS = ("mnist", "digits", "fashion-mnist", "kmnist", "idx")
OF_DIGITS = ("mnist", "digits")
TABLES = (".csv", ".tsv")


class Split(NamedTuple):
    """A part of a data set: x (m, n); y (m,) class indices, or (m, 1) if real-valued.

    classes: their names, None for a real-valued target. unit: how much of the target's own unit a step of 1 in y is.
    image: height and width, where a row of x is an image, pixel row by pixel row; None for a table.
    """

    x: Tensor
    y: Tensor
    classes: tuple[str, ...] | None
    unit: float = 1.0
    image: tuple[int, int] | None = None


def load(
    name: str,
    split: str,
    *,
    root: str | Path | None = None,
    target: str | None = None,
    task: str | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Split:
    """A part of a data set: `name` is one of `DATASETS`, or the path of a CSV or TSV file.

    split: "train" or "test". root: the folder of the IDX files for idx; for what is downloaded, where it is or goes
    ("data" if left out). target: the column to predict, for a table and nothing else. task: "classification" or
    "regression", where a table's cells are not to decide it.

    Raises ValueError for arguments that don't go together, DataError for a data set that can't be had or learned from.
    """
    checks.one_of("split", split, ("train", "test"))
    if not is_table(name):
        checks.one_of("dataset", name, DATASETS)
    if is_table(name) != (target is not None):
        raise ValueError("target must name the column to predict where the data set is a FILE.csv, and only there")
    check_task(name, task)
    if is_table(name):
        both = _table(name, str(target), task)
        x, y = both.train if split == "train" else both.test
        part = Split(x.clone(), y.clone(), both.classes, both.target_scale)
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


def check_task(name: str, task: str | None) -> None:
    """Raises ValueError where the task is none, or where the data set has no choice of it."""
    if task is None:
        return
    checks.one_of("task", task, TASKS)
    if not is_table(name):
        raise ValueError(f'task="{task}" is for the target of a FILE.csv: leave it away for {name}')


def scaling(name: str, target: str, task: str | None = None) -> dict[str, object]:
    """How a table's cells were made into numbers, as JSON can hold it: see `Table`."""
    both = _table(name, target, task)
    return {
        "columns": both.columns,
        "mean": both.mean.tolist(),
        "scale": both.scale.tolist(),
        "target_mean": both.target_mean,
        "target_scale": both.target_scale,
    }


def _table(path: str, target: str, task: str | None) -> Table:
    """The table, read once for all that is asked of it; read again where the file is another or has changed."""
    file = Path(path).resolve()
    return _read_table(path, target, task, str(file), checksum(file) if file.is_file() else None)


@functools.lru_cache(maxsize=1)
def _read_table(path: str, target: str, task: str | None, file: str, content: str | None) -> Table:
    return table(path, target=target, task=task)


def paper(part: Split) -> float | None:
    """The shade around the images, the median of their border pixels; None for a table."""
    if part.image is None:
        return None
    around = torch.ones(part.image, dtype=torch.bool, device=part.x.device)
    around[1:-1, 1:-1] = False
    return part.x[:, around.flatten()].float().median().item()


def is_table(name: str) -> bool:
    """Whether a data set's name is a table's path."""
    return Path(name).suffix.lower() in TABLES


def checksum(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(name: str, train: Split, test: Split) -> str | None:
    """What the data of a run is recognised by: the checksum of a table's file, or of the content of IDX files.

    None for the other data sets, whose files are verified whenever they are read.
    """
    if is_table(name):
        return checksum(name)
    if name != "idx":
        return None
    digest = hashlib.sha256()
    for part in (train.x, train.y, test.x, test.y):
        digest.update(part.float().cpu().numpy().tobytes())
    return digest.hexdigest()

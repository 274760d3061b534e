"""What the command-line programs share: the data sets by name, the device, and how bad input ends."""

import argparse
import functools
import hashlib
import json
import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import bp_torch as bp

DOWNLOADED = {"mnist": bp.data.mnist, "fashion-mnist": bp.data.fashion_mnist, "kmnist": bp.data.kmnist}
DATASETS = ("mnist", "digits", "fashion-mnist", "kmnist", "idx")
TABLES = (".csv", ".tsv")
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
NO_MEMORY = ("can't allocate memory", "out of memory", "calculation overflowed")  # as torch says it
KEPT = {  # what config.json may hold by type, other than None; all else in it is for the reader
    str: ("data_dir", "target", "sha256", "hidden", "activation", "cost", "init", "engine", "precision", "device"),
    int: ("epochs", "batch_size", "seed"),
    (int, float): ("lr", "checkpoint_every"),
    list: ("classes", "sizes"),
    dict: ("versions",),
}
KINDS = {str: "text", int: "a whole number", (int, float): "a number", list: "a list", dict: "a table"}


class Split(NamedTuple):
    """A split of a data set: x (m, n); y (m,) class indices, or (m, 1) if real-valued.

    classes: their names, None for a real-valued target. unit: how much of the target's own unit a step of 1 in y is.
    """

    x: Tensor
    y: Tensor
    classes: tuple[str, ...] | None
    unit: float = 1.0


def load(dataset: str, split: str, data_dir: str | None, target: str | None, device: str, dtype: torch.dtype) -> Split:
    """A split ("train" or "test") of a data set by name, or of a table by its path, in this dtype and on this device.

    data_dir: the folder of the IDX files for idx; for what is downloaded, where it is or goes (None: data). target: the
    column to predict, for a table and nothing else.
    """
    if is_table(dataset) != (target is not None):
        raise ValueError("--target COLUMN says what to predict in --dataset FILE.csv: give both or neither")
    if is_table(dataset):
        table = _table(dataset, str(target))
        x, y = table.train if split == "train" else table.test
        found = Split(x, y, table.classes, table.target_scale)
    elif dataset == "idx":
        if data_dir is None:
            raise ValueError("--dataset idx needs --data-dir DIR, the folder of the four IDX files")
        x, y = bp.data.idx(data_dir, split)
        found = Split(x, y, tuple(map(str, range(int(y.max()) + 1))))
    else:
        x, y = bp.data.digits(split) if dataset == "digits" else DOWNLOADED[dataset](split, root=data_dir or "data")
        found = Split(x, y, tuple("0123456789"))
    if split == "train" and found.classes is not None and len(found.classes) < 2:
        raise bp.DataError(f"{dataset}: all training examples are of one class, so that nothing can be learned")
    y = found.y.to(device) if found.classes else found.y.to(device, dtype)
    return found._replace(x=found.x.to(device, dtype), y=y)


_table = functools.cache(lambda path, target: bp.data.table(path, target=target))  # both splits from one reading


def is_table(dataset: str) -> bool:
    return Path(dataset).suffix.lower() in TABLES


def sha256(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def origin(dataset: str, data: Split, test: Split) -> dict[str, str]:
    """What the data of a run is known again by: a table's place and what is in it, or what is in IDX files.

    The files of the other data sets are verified whenever they are read.
    """
    if is_table(dataset):
        return {"dataset": str(Path(dataset).resolve()), "sha256": sha256(dataset)}
    if dataset != "idx":
        return {}
    digest = hashlib.sha256()
    for part in (data.x, data.y, test.x, test.y):
        digest.update(part.float().cpu().numpy().tobytes())
    return {"sha256": digest.hexdigest()}


def folder(dataset: str, data_dir: str | None) -> str | None:
    """The folder that the data was read from, in full, for a run that is evaluated from another one."""
    return None if dataset == "digits" or is_table(dataset) else str(Path(data_dir or "data").resolve())


def read_config(path: Path) -> dict[str, Any]:
    """What the config.json of a run holds; raises ValueError where it is not what scripts/train.py writes."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refused, parse_float=_finite)
        if not isinstance(config, dict) or not isinstance(config.get("dataset"), str):
            raise ValueError("it names no data set")
        if config["dataset"] not in DATASETS and not is_table(config["dataset"]):
            raise ValueError(f"there is no data set {config['dataset']!r}")
        if config.get("dtype") not in (None, *DTYPES):
            raise ValueError(f"dtype is {config['dtype']!r}")
        for kind, names in KEPT.items():
            for name in names:
                value = config.get(name)
                if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
                    raise ValueError(f"{name} is {value!r}, not {KINDS[kind]}")
        if not all(isinstance(name, str) for name in config.get("classes") or ()):
            raise ValueError("classes holds what is no name")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return config


def _refused(constant: str) -> None:
    raise ValueError(f"it holds {constant}")


def _finite(digits: str) -> float:
    if math.isinf(value := float(digits)):
        raise ValueError(f"it holds {digits}")
    return value


def of_run(options: argparse.Namespace, config: dict[str, Any]) -> tuple[str, str | None, str | None]:
    """The data set, folder and target column of a run, by its config.json, where no option says otherwise."""
    dataset = options.dataset or config["dataset"]
    kept = config.get("data_dir")
    data_dir = options.data_dir or (kept if kept and Path(kept).is_dir() and dataset == config["dataset"] else None)
    if not is_table(dataset):
        return dataset, data_dir, options.target
    if Path(dataset).is_file() and sha256(dataset) != config.get("sha256"):
        raise ValueError(
            f"{dataset} is not, or is no longer, the table that {options.run} was trained on: its scaling and its test "
            f"rows would be others; train on it with scripts/train.py"
        )
    return dataset, data_dir, options.target or config.get("target")


def check_fits(test: Split, net: bp.Network, dataset: str, run: Path) -> None:
    """Raises ValueError where a run's network does not take the examples of a data set that was named in its place."""
    if test.x.shape[1] != net.sizes[0]:
        raise ValueError(f"{dataset} has {test.x.shape[1]} inputs, and {run} was trained on {net.sizes[0]}")


def add_data_options(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--dataset",
        type=_dataset,
        default=default,
        metavar="NAME",
        help=f"{', '.join(DATASETS)}, or a table FILE.csv or FILE.tsv (default: {default or 'that of the run'})",
    )
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="where downloads are or go, or the folder of the four files of idx "
        f"(default: {'data' if default else 'that of the run'})",
    )
    parser.add_argument("--target", metavar="COLUMN", help="the column of FILE.csv to predict; the others are features")
    parser.add_argument(
        "--device", default="auto", help="auto (the default: cuda where there is one), cpu, cuda, cuda:N"
    )


def _dataset(name: str) -> str:
    if name not in DATASETS and not is_table(name):
        raise argparse.ArgumentTypeError(
            f"invalid choice: {name!r} (choose from {', '.join(DATASETS)}, or name a FILE.csv or FILE.tsv)"
        )
    return name


def device_named(name: str) -> str:
    return name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def writable(out: Path) -> Path:
    """The folder that --out names, made where it is missing; raises ValueError where nothing can be written into it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise ValueError(f"--out {out} can't be written: {error.strerror}") from error
    return out


def run(main: Callable[[], int]) -> None:
    """Runs a program: bad input ends in one sentence and exit code 2; no traceback.

    A divergence, and what memory doesn't hold, end in one sentence and exit code 1.
    """
    try:
        code = main()
    except (bp.DivergenceError, bp.EngineError) as error:
        code = _say(error, 1)
    except (ValueError, OSError, bp.DataError, bp.CheckpointError) as error:
        code = _say(error, 2)
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, RuntimeError) and not any(sign in str(error) for sign in NO_MEMORY):
            raise
        code = _say("memory does not hold a network or batch of this size: use smaller --hidden or --batch-size", 1)
    except KeyboardInterrupt:
        code = _say("interrupted", 130)
    sys.exit(code)


def _say(what: object, code: int) -> int:
    print(f"{sys.argv[0]}: {what}", file=sys.stderr)
    return code

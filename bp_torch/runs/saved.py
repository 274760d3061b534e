"""A saved run, read from its folder, and the test set that it is evaluated on."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from bp_torch.data import named
from bp_torch.data.named import Split
from bp_torch.data.preprocessing import Preprocessing
from bp_torch.network import Network
from bp_torch.runs import config as configuration
from bp_torch.runs import metrics
from bp_torch.runs.config import Config
from bp_torch.runs.session import WEIGHTS
from bp_torch.saving.checkpoint import load_checkpoint
from bp_torch.state import Position
from bp_torch.training.loop import Record


class Run(NamedTuple):
    """A run as its folder has it: the network as last saved, and where it stands."""

    folder: Path
    config: Config
    net: Network
    position: Position

    @property
    def records(self) -> list[Record]:
        """The records of its epochs; raises ValueError where their file is damaged."""
        return metrics.read(self.folder)


def read(folder: str | Path, device: str | torch.device = "cpu") -> Run:
    """The run in this folder, its network on `device`.

    Raises ValueError for a folder that holds no run, or a damaged one; CheckpointError for damaged weights.
    """
    folder = Path(folder)
    if folder.is_file() and (folder.parent / configuration.FILE).is_file():
        raise ValueError(f"{folder} is a file of a run: name the run's folder, {folder.parent}")
    if not (folder / WEIGHTS).is_file() or not (folder / configuration.FILE).is_file():
        raise ValueError(f"{folder} is not a run folder: name one that training wrote")
    checkpoint, config = load_checkpoint(folder / WEIGHTS, device), configuration.read(folder)
    return Run(folder, config, _with_preprocessing(checkpoint.net, config), checkpoint.position)


def _with_preprocessing(net: Network, config: Config) -> Network:
    """The network with what its run says of a table, where it is of a version that kept it there alone."""
    scaling = config.about.get("table")
    if net.preprocessing is not None or not scaling or not named.is_table(config.dataset):
        return net
    try:
        made = Preprocessing.of_scaling(scaling, str(config.target), config.about["classes"])
        return replace(net, preprocessing=made)
    except (KeyError, TypeError, ValueError):
        return net


def load_test_set(
    run: Run,
    dataset: str | None = None,
    data_dir: str | None = None,
    target: str | None = None,
    test_file: str | None = None,
) -> tuple[str, Split]:
    """The test set of a run, or another one in its place, by name and as data of the network's dtype and device.

    dataset, data_dir, target, test_file: as `Config` has them; left out, the run's own.

    Raises ValueError where the network does not take its examples, or a table is not the one that it was trained on.
    """
    config, like = run.config, run.net.layers[0].w
    name = dataset or config.dataset
    if data_dir is None and config.data_dir and Path(config.data_dir).is_dir() and name == config.dataset:
        data_dir = config.data_dir
    if named.is_table(name):
        if test_file is not None and config.test_file is None:
            raise ValueError(
                f"{run.folder} tests on a share of its table's rows, and was given no test file: to predict the rows "
                f"of {test_file}, name it after the run"
            )
        test_file = test_file or config.test_file
        what = f"with its test file {test_file} is not, or is no longer, what" if test_file else ""
        what = what or "is not, or is no longer, the table that"
        if Path(name).is_file() and named.table_checksum(name, test_file) not in (config.sha256, None):
            raise ValueError(
                f"{name} {what} {run.folder} was trained on, so that its test rows "
                "would be others; to predict rows of another table, name it after the run"
            )
        target = target or config.target
        if target != config.target:
            raise ValueError(f"{run.folder} predicts {config.target!r}, not {target!r}")
    choice = config.choice._replace(test_file=test_file)._asdict() if named.is_table(name) else {}
    with warnings.catch_warnings():
        if choice:  # what a table's columns are was told when the run was trained
            warnings.simplefilter("ignore", RuntimeWarning)
        test = named.load(name, "test", root=data_dir, target=target, device=like.device, dtype=like.dtype, **choice)
    if test.x.shape[1] != run.net.sizes[0]:
        raise ValueError(f"{name} has {test.x.shape[1]} inputs, and {run.folder} was trained on {run.net.sizes[0]}")
    if test.image is not None and "image" in config.about and test.image != config.image(run.net.sizes[0]):
        raise ValueError(
            f"{name} has images of (height, width) {test.image} pixels, and {run.folder} was trained on "
            f"{tuple(config.about['image'])}"
        )
    return name, test

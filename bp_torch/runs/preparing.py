"""What a run begins with: its config with nothing left out, the network before training, and its examples."""

import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from bp_torch import checks
from bp_torch.activations import EXP
from bp_torch.costs import COSTS
from bp_torch.data import download, named
from bp_torch.data.named import Split
from bp_torch.data.preprocessing import Preprocessing
from bp_torch.errors import DataError
from bp_torch.network import Network
from bp_torch.recipe import with_rate
from bp_torch.runs import config as configuration
from bp_torch.runs.config import Config
from bp_torch.runs.examples import held_out, with_indices
from bp_torch.training import loop
from bp_torch.version import VERSION


class Prepared(NamedTuple):
    """As the fields of a `Session` that are called so."""

    config: Config
    net: Network
    data: Split
    test: Split
    validation: Split | None


def prepared(config: Config) -> Prepared:
    """The data, the network before training, and the config with nothing left out.

    Raises ValueError for what can't be trained so, DataError for data that can't be had.
    """
    config = replace(config, device=device_of(config.device))
    data, test = (_load(config, split) for split in ("train", "test"))
    if data.x.shape[1] != test.x.shape[1]:
        raise DataError(f"{config.dataset}: the test examples have {test.x.shape[1]} values, not {data.x.shape[1]}")
    if data.image != test.image:
        raise DataError(
            f"{config.dataset}: the test images are of (height, width) {test.image} pixels, and those to train on of "
            f"{data.image}: put files there that belong together"
        )
    if data.classes is None and config.cost != "quadratic":
        raise ValueError(f"cost must be quadratic for {config.target!r}, which is real-valued, not {config.cost}")
    if data.classes is not None and named.is_table(config.dataset) and COSTS[config.cost].output == EXP:
        raise ValueError(
            f"cost must be softmax_cross_entropy, binary_cross_entropy or quadratic for {config.target!r}, which has "
            f"classes, not {config.cost}, whose outputs are counts and no probabilities"
        )
    test = test._replace(classes=data.classes)  # of IDX files, some may be in the training set only
    book = config.activation == "sigmoid" and config.cost == "quadratic" and config.dataset == "mnist"
    config = replace(config, init=config.init or ("normal" if book else None))
    net = config.network(data.x.shape[1], len(data.classes or ("the value",)), None if data.classes else "identity")
    net = replace(net, preprocessing=data.preprocessing)
    sha256 = named.fingerprint(config.dataset, data, test, config.test_file)
    data, validation = (data, None) if config.patience is None else held_out(data, config.recipe.seed)
    recipe = with_indices(config.recipe, data.classes)
    loop.train(net, data[:2], validation=(validation or test)[:2], recipe=recipe)  # it checks them all now
    config = replace(
        config,
        dataset=str(Path(config.dataset).resolve()) if named.is_table(config.dataset) else config.dataset,
        test_file=None if config.test_file is None else str(Path(config.test_file).resolve()),
        task=task_of(config, data.classes),
        data_dir=_data_dir(config),
        recipe=with_rate(config.recipe, net),
        sha256=sha256,
        about={
            "sizes": net.sizes,
            "classes": data.classes,
            **({"image": data.image, "paper": named.paper(data)} if data.image else {}),
            **({"table": scaling(data.preprocessing)} if data.preprocessing else {}),
            "versions": {"bp_torch": VERSION, "torch": torch.__version__, "python": platform.python_version()},
        },
    )
    return Prepared(config, net, data, test, validation)


def scaling(preprocessing: Preprocessing) -> dict[str, object]:
    """How a table's inputs are called and scaled, and its target, as JSON can hold it: for who reads the config."""
    mean, scale = preprocessing.scaling
    return {
        "columns": preprocessing.columns,
        "mean": mean.tolist(),
        "scale": scale.tolist(),
        "target_mean": preprocessing.target.mean,
        "target_scale": preprocessing.target.scale,
    }


def device_of(name: str) -> str:
    """The device's name; of "auto", cuda where there is one. Raises ValueError for a device that can't be had."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return str(checks.available_device(name))


def task_of(config: Config, classes: Sequence[str] | None) -> str | None:
    """What the cells of a table's target are taken for; None for the other data sets."""
    if not named.is_table(config.dataset):
        return None
    return config.task or ("classification" if classes else "regression")


def _load(config: Config, split: str) -> Split:
    return named.load(
        config.dataset,
        split,
        root=config.data_dir,
        target=config.target,
        **config.choice._asdict(),
        device=config.device,
        dtype=configuration.DTYPES[config.dtype],
    )


def _data_dir(config: Config) -> str | None:
    """The folder that the data was read from, in full, for a run that is evaluated from another one."""
    if config.dataset == "digits" or named.is_table(config.dataset):
        return None
    return str(download.folder(config.data_dir or "data").resolve())

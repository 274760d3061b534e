"""Runs an experiment of the chapter's, and ends in a picture and its numbers: NAME.png and NAME.json.

Each takes less than two minutes on two cores of a CPU, and comes to the same numbers for the same seed on one machine
(times aside).
"""

import argparse
import json
import math
from functools import partial
from pathlib import Path
from typing import Any

from bp_torch import checks
from bp_torch.data.digits import digits
from bp_torch.data.mnist import mnist
from bp_torch.drawing import plain_style
from bp_torch.insight.experiments import ALONE, ON_DATA, Data
from bp_torch.insight.experiments.figures import DPI
from bp_torch.runs.folder import writable

EXAMPLES = [["vanishing"], ["feedback", "--seed", 1, "--out", "mine"], ["all"]]
NAMES = (*ALONE, *ON_DATA)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help=f"{', '.join(NAMES)}, or all")
    parser.add_argument("--dataset", default="mnist", help="of those that train on images: mnist (the default), digits")
    parser.add_argument("--data-dir", default="data", metavar="DIR", help="where MNIST/raw is or goes (default: data)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, batches and examples (default: 0)")
    parser.add_argument("--out", default="runs/experiments", metavar="DIR", help="default: runs/experiments")


def run(options: argparse.Namespace) -> int:
    if options.name is None:
        raise ValueError(f"name an experiment: {', '.join(NAMES)}, or all")
    name = checks.one_of("experiment", options.name, (*NAMES, "all"))
    names = NAMES if name == "all" else (name,)
    seed, dataset = checks.seed(options.seed), checks.one_of("dataset", options.dataset, ("mnist", "digits"))
    data = _data(dataset, options.data_dir) if set(names) & set(ON_DATA) else None
    out = writable(Path(options.out))
    for name in names:
        settings = {"experiment": name, "seed": seed}
        picture, numbers = out / f"{name}.png", out / f"{name}.json"
        with plain_style():
            if data is None or name in ALONE:
                result = ALONE[name](seed)
            else:
                result, settings = ON_DATA[name](seed, data), {**settings, "dataset": dataset}
            result.picture.savefig(picture, dpi=DPI)
        text = json.dumps(_finite({**settings, **result.numbers}), indent=1)
        numbers.write_text(text + "\n", encoding="utf-8")
        print(f"{name}: {result.summary}\n  {picture}\n  {numbers}", flush=True)
    return 0


def _data(name: str, folder: str) -> Data:
    load = partial(mnist, root=folder) if name == "mnist" else digits
    return Data(name, load("train"), load("test"))


def _finite(value: Any) -> Any:
    """The value with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

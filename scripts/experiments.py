"""Runs an experiment of the chapter's, and ends in a picture and its numbers: NAME.png and NAME.json.

Each takes less than two minutes on two cores of a CPU, and comes to the same numbers for the same seed (times aside).
"""

import argparse
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import common
import on_images
import on_neurons
import pictures
from on_images import Data
from pictures import Found

import bp_torch as bp
from bp_torch import checks

EXAMPLE = """examples:
  python scripts/experiments.py vanishing
  python scripts/experiments.py feedback --seed 1 --out /tmp/mine
  python scripts/experiments.py all
"""
ALONE: dict[str, Callable[[int], Found]] = {
    "speed-of-backprop": on_neurons.speed_of_backprop,
    "big-picture": on_neurons.big_picture,
    "saturation": on_neurons.saturation,
}
ON_DATA: dict[str, Callable[[int, Data], Found]] = {
    "slow-learning": on_images.slow_learning,
    "vanishing": on_images.vanishing,
    "feedback": on_images.feedback,
    "mislabelled": on_images.mislabelled,
}
EXPERIMENTS = (*ALONE, *ON_DATA)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help=f"{', '.join(EXPERIMENTS)}, or all")
    parser.add_argument("--dataset", default="mnist", help="of those that train on images: mnist (the default), digits")
    parser.add_argument("--data-dir", default="data", metavar="DIR", help="where MNIST/raw is or goes (default: data)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, batches and examples (default: 0)")
    parser.add_argument("--out", default="runs/experiments", metavar="DIR", help="default: runs/experiments")
    return parser.parse_args()


def main() -> int:
    options = parse()
    if options.name is None:
        raise ValueError(f"name an experiment: {', '.join(EXPERIMENTS)}, or all")
    name = checks.one_of("experiment", options.name, (*EXPERIMENTS, "all"))
    names = EXPERIMENTS if name == "all" else (name,)
    seed, dataset = checks.seed(options.seed), checks.one_of("dataset", options.dataset, ("mnist", "digits"))
    data = _data(dataset, options.data_dir) if set(names) & set(ON_DATA) else None
    out = common.writable(Path(options.out))
    for name in names:
        if data is None or name in ALONE:
            found, settings = ALONE[name](seed), {"experiment": name, "seed": seed}
        else:
            found, settings = ON_DATA[name](seed, data), {"experiment": name, "seed": seed, "dataset": dataset}
        picture, numbers = out / f"{name}.png", out / f"{name}.json"
        found.picture.savefig(picture, dpi=pictures.DPI)
        numbers.write_text(json.dumps(_finite({**settings, **found.numbers}), indent=1) + "\n")
        print(f"{name}: {found.says}\n  {picture}\n  {numbers}", flush=True)
    return 0


def _data(name: str, folder: str) -> Data:
    load = partial(bp.data.mnist, root=folder) if name == "mnist" else bp.data.digits
    return Data(name, load("train"), load("test"))


def _finite(value: Any) -> Any:
    """The value with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    common.run(main)

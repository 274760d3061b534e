"""What the command-line programs share: the data sets by name, the device, and how bad input ends."""

import argparse
import sys
from collections.abc import Callable

import torch
from torch import Tensor

import bp_torch as bp

DATASETS = ("mnist", "digits")


def load(dataset: str, split: str, data_dir: str, net: bp.Network) -> tuple[Tensor, Tensor]:
    """A split of a data set by name, on the network's device and with x in its dtype."""
    like = net.layers[0].w
    if dataset == "mnist":
        x, y = bp.data.mnist(split, root=data_dir, device=like.device)
    else:
        x, y = bp.data.digits(split, device=like.device)
    return x.to(like.dtype), y


def add_data_options(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument("--dataset", choices=DATASETS, default=default, help=f"default: {default or 'that of the run'}")
    parser.add_argument("--data-dir", default="data", metavar="DIR", help="where MNIST/raw is or goes (default: data)")
    parser.add_argument(
        "--device", default="auto", help="auto (the default: cuda where there is one), cpu, cuda, cuda:N"
    )


def device_named(name: str) -> str:
    return name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def run(main: Callable[[], int]) -> None:
    """Runs a program: bad input ends in one sentence and exit code 2, a divergence in exit code 1; no traceback."""
    try:
        code = main()
    except (bp.DivergenceError, bp.EngineError) as error:
        code = _say(error, 1)
    except (ValueError, OSError, bp.DataError, bp.CheckpointError) as error:
        code = _say(error, 2)
    except KeyboardInterrupt:
        code = _say("interrupted", 130)
    sys.exit(code)


def _say(what: object, code: int) -> int:
    print(f"{sys.argv[0]}: {what}", file=sys.stderr)
    return code

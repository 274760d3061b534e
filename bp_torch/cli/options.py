"""Options from the fields of `Config` and `Recipe`: what a field is called, takes and means stands there alone."""

import argparse
from collections.abc import Iterable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from bp_torch.recipe import Recipe
from bp_torch.runs.config import Config

FIELDS = {each.name: each for each in (*fields(Config), *fields(Recipe)) if "help" in each.metadata}
DATA = ("dataset", "data_dir", "target")


def add_fields(parser: argparse.ArgumentParser, names: Iterable[str] = FIELDS, default: str | None = None) -> None:
    """An option for each of these fields. One that is not given is no attribute of what is parsed.

    default: what the help gives as their default; the fields' own if left out.
    """
    for name in names:
        each = FIELDS[name]
        help_, kind = each.metadata["help"], each.metadata["kind"]
        if default is not None:
            help_ = f"{help_.split(' (default')[0]} (default: {default})"
        elif each.default not in (None, MISSING) and "default" not in help_:
            help_ += f" (default: {each.default:g})" if kind is float else f" (default: {each.default})"
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            default=argparse.SUPPRESS,
            metavar=each.metadata["metavar"],
            help=help_,
        )


def given(options: argparse.Namespace) -> dict[str, Any]:
    """The fields that were given on the command line."""
    return {name: value for name, value in vars(options).items() if name in FIELDS}


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """A run's folder, and the data in the place of its own."""
    parser.add_argument("folder", metavar="RUN", type=Path, help="the run's folder")
    add_fields(parser, DATA, default="the run's own")
    add_fields(parser, ["device"])

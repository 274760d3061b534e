"""Options from the fields of `Config` and `Recipe`: what a field is called, takes and means stands there alone."""

import argparse
import shlex
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from bp_torch.recipe import Recipe
from bp_torch.runs.config import Config

FIELDS = {each.name: each for each in (*fields(Config), *fields(Recipe)) if "help" in each.metadata}
DATA = ("dataset", "data_dir", "target", "test_file")
PARTS = ("weight_decay", "schedule", "warmup")
"""Options that name a part of a field: see `parts`."""


def number_or_text(text: str) -> float | str:
    """A rate is a number, or a schedule's text."""
    try:
        return float(text)
    except ValueError:
        return text


LISTS = ("drop", "class_weight")
"""Options whose text lists things, with commas between."""

TYPES: dict[str, Callable[[str], Any]] = {"lr": number_or_text}
"""What reads an option's text where it is not the field's kind."""


class _Joined(argparse.Action):
    """Of an option that lists things: typed twice, it lists those of both."""

    def __call__(self, parser: object, namespace: argparse.Namespace, values: object, option: object = None) -> None:
        before = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, f"{before},{values}" if before else values)


def add_fields(parser: argparse.ArgumentParser, names: Iterable[str] = FIELDS, default: str | None = None) -> None:
    """An option for each of these fields. One that is not given is no attribute of what is parsed.

    default: what the help gives as their default; the fields' own if left out.
    """
    for name in names:
        each = FIELDS[name]
        help_, kind = each.metadata["help"], each.metadata["kind"]
        if not isinstance(help_, str):
            flags = parser.add_mutually_exclusive_group()
            for value, about in help_.items():
                as_value = {"dest": name, "action": "store_const", "const": value, "default": argparse.SUPPRESS}
                flags.add_argument(f"--{value}", help=about, **as_value)
            continue
        if default is not None:
            help_ = f"{help_.split(' (default')[0]} (default: {default})"
        elif each.default not in (None, (), "", MISSING) and "default" not in help_:
            help_ += f" (default: {each.default:g})" if kind is float else f" (default: {each.default})"
        if kind is bool:
            way = {"action": argparse.BooleanOptionalAction, "default": argparse.SUPPRESS}
            parser.add_argument(f"--{name.replace('_', '-')}", help=help_, **way)
            continue
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            action=_Joined if name in LISTS else "store",
            type=TYPES.get(name, kind),
            default=argparse.SUPPRESS,
            metavar=each.metadata["metavar"],
            help=help_,
        )


def given(options: argparse.Namespace) -> dict[str, Any]:
    """The fields that were given on the command line."""
    return {name: value for name, value in vars(options).items() if name in FIELDS}


def typed_option(name: str, value: object = None) -> str:
    """How the option of a field is typed, for a message: --batch-size; with a value that is a flag, --regression."""
    if isinstance(value, bool):
        return f"--{'' if value else 'no-'}{name.replace('_', '-')}"
    if name in FIELDS and not isinstance(FIELDS[name].metadata["help"], str):
        return f"--{value}"
    text = shlex.quote(str(value)) if set(str(value)) & set(" \"'") else str(value)
    return " ".join(["--" + name.replace("_", "-"), *([] if value is None else [text])])


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """A run's folder, and the data in the place of its own."""
    parser.add_argument("folder", metavar="RUN", type=Path, help="the run's folder")
    add_fields(parser, DATA, default="the run's own")
    add_fields(parser, ["device"])

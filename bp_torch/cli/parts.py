"""Options that name a part of a field: --weight-decay of the optimizer, --schedule and --warmup of lr."""

import argparse
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from bp_torch.cli.options import PARTS, typed_option
from bp_torch.optimisers import optimiser
from bp_torch.recipe import Recipe
from bp_torch.schedules import SCHEDULES, Constant, Schedule, schedule


class Asked(NamedTuple):
    """What the command line names: fields as `Config.of` takes them, and the options that each of these came from."""

    fields: dict[str, Any]
    options: dict[str, tuple[str, ...]]


def add_parts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weight-decay", type=float, metavar="X", help="of the optimizer, as torch.optim has it")
    parser.add_argument(
        "--schedule",
        metavar="NAME",
        help=f"of η over the run: {', '.join(SCHEDULES)}; with options: 'cosine(final=0.01)'",
    )
    parser.add_argument("--warmup", type=float, metavar="SHARE", help="of the run, in which η rises to --lr first")


def asked(given: Mapping[str, Any], options: argparse.Namespace, run: Recipe | None = None) -> Asked:
    """The fields that were given, with the parts put into them.

    run: that of the run that goes on, whose values stand where an option is left out. Raises ValueError for what can't
    be, and what is named twice.
    """
    named = Asked(dict(given), {name: (name,) for name in given})
    typed = [part for part in PARTS if getattr(options, part) is not None]
    of_rate = [part for part in ("schedule", "warmup") if part in typed]
    if "weight_decay" in typed:
        _add(named, "optimizer", _with_decay(given.get("optimizer"), options.weight_decay, run), ["weight_decay"])
    if of_rate or (run and "lr" in given):
        _add(named, "lr", _rate(given.get("lr"), options.schedule, options.warmup, run), of_rate)
    return named


def _add(named: Asked, name: str, value: object, parts: list[str]) -> None:
    named.options[name] = (*named.options.get(name, ()), *parts)
    named.fields[name] = value


def _with_decay(rule: str | None, weight_decay: float, run: Recipe | None) -> str:
    if rule and re.search(r"\bweight_decay\b", rule):
        raise _twice("optimizer", "weight_decay", rule)
    own = optimiser(rule or (run or Recipe()).optimizer)
    return str(replace(own, weight_decay=weight_decay))  # pyright: ignore[reportArgumentType]


def _rate(lr: float | str | None, name: str | None, warmup: float | None, run: Recipe | None) -> float | str:
    """lr as a number, or as the text of a schedule."""
    before = run.lr if run else None
    own = before if isinstance(before, Schedule) else Constant(before if isinstance(before, float) else None)
    if isinstance(lr, str):
        if name is not None:
            raise _twice("lr", "schedule", lr)
        name, lr = lr, None
    if name is not None and name != own.name:  # its name alone is what the run has, with all its options
        new = schedule(name)
        if lr is not None and new.rate is not None:
            raise _twice("schedule", "lr", name)
        if warmup is not None and "warmup" in name:
            raise _twice("schedule", "warmup", name)
        own = replace(new, rate=own.rate) if new.rate is None else new
    if lr is not None:
        own = replace(own, rate=lr)
    if warmup is not None:
        own = replace(own, warmup=warmup)
    plain = isinstance(own, Constant) and not own.warmup and not isinstance(before, Schedule)
    return own.rate if plain and own.rate is not None else str(own)


def _twice(one: str, other: str, value: str) -> ValueError:
    return ValueError(f"{typed_option(one, value)} says what {typed_option(other)} does: leave one of them away")

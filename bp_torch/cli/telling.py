"""What training prints of a run: what is trained, on what and how; where it diverged; its times, its quality."""

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from bp_torch.cli.messages import counted, figures, times
from bp_torch.cli.options import typed_option
from bp_torch.errors import DivergenceError
from bp_torch.recipe import Recipe, as_text
from bp_torch.runs import best, metrics, quality
from bp_torch.runs.config import Config
from bp_torch.runs.session import WEIGHTS, Session
from bp_torch.saving.checkpoint import load_checkpoint
from bp_torch.schedules import Schedule
from bp_torch.state import Position
from bp_torch.training.loop import Record

WHOLE = re.compile(r"-?(?:0|[1-9]\d*)")  # as a class of numbers is named, and no code such as 007 is
APART = ("epochs", "batch_size", "lr", "optimizer", "seed", "engine", "precision", "threads")
"""Fields of a recipe that are told in other words, or that change no result but by rounding."""


def of_divergence(session: Session, error: DivergenceError) -> str:
    """Where the training stopped, what the run's folder holds, and what to do."""
    folder, lr = session.folder, session.config.recipe.lr
    kept = load_checkpoint(folder / WEIGHTS).position
    whence = f"after batch {kept.batch} of" if kept.batch else "the start of"
    highest = lr.rate if isinstance(lr, Schedule) and lr.rate is not None else error.lr
    then = f", where η had come to {error.lr:g}" if highest != error.lr else ""
    return (
        f"Training stopped in epoch {error.epoch}, batch {error.batch}{then}: layer {error.layer}, counted from 0, is "
        f"the first that is not finite ({error.what}). The run in {folder} keeps the weights from {whence} epoch "
        f"{kept.epoch}. Start a new run with a smaller --lr than {highest:g}"
    )


def introduce(session: Session) -> None:
    """What is trained, on what, and how."""
    folder, config, net, *_ = session
    recipe = config.recipe
    weights = config.init or ", ".join(dict.fromkeys(activation.init for activation in net.activations))
    print(
        f"{net.sizes}, {config.activation}, {net.activations[-1].name} outputs, {config.cost} cost, {weights} weights; "
        f"{recipe.optimizer}, {_rate(recipe)}, batches of {recipe.batch_size}, {counted(recipe.epochs, 'epoch')}; "
        f"{_others(recipe)}on {config.dataset}, {config.device}; run folder {folder}"
    )
    if session.validation:
        held_out, whole = len(session.validation.x), len(session.validation.x) + len(session.data.x)
        print(
            f"Of the {whole} training examples, {held_out} are held out to validate on, by seed {recipe.seed}. The run "
            f"stops after {counted(config.patience or 0, 'epoch')} without a lower cost on them, and keeps the best."
        )
    if config.init == "normal" and config.dataset == "mnist":
        print(
            "With weights from N(0, 1), the book's own, a digit may be learned late or never; --init scaled avoids it."
        )


def _rate(recipe: Recipe) -> str:
    return f"η by {recipe.lr}" if isinstance(recipe.lr, Schedule) else f"η = {recipe.lr:g}"


def _others(recipe: Recipe) -> str:
    """What else is other than the default: dropout 0.2,0.5, l2 0.1; ..."""
    told = ((each.name, getattr(recipe, each.name)) for each in fields(Recipe) if each.name not in APART)
    default = Recipe()
    parts = [f"{name.replace('_', ' ')} {as_text(name, v)}" for name, v in told if v != getattr(default, name)]
    return f"{', '.join(parts)}; " if parts else ""


def introduce_table(session: Session, guessed: bool) -> None:
    """What the target holds; guessed: whether its cells alone have said so."""
    _, config, _, data, test, *_ = session
    classes = data.classes or ()
    parts = f"{len(session.validation.x)} to validate on, " if session.validation else ""
    kinds = f"{len(classes)} classes, {textwrap.shorten(', '.join(classes), 100)}" if classes else "real-valued"
    print(f"{config.target}: {kinds}; {counted(len(data.x), 'row')} to train on, {parts}{len(test.x)} to test")
    fitted = data.preprocessing
    if fitted is not None and len(fitted.features) != len(fitted.columns):
        print(
            f"{counted(len(fitted.features), 'column')} became {len(fitted.columns)} inputs: {_inputs(fitted.columns)}"
        )
    if guessed and len(classes) > 2 and all(map(WHOLE.fullmatch, classes)):
        print(f"The whole numbers in {config.target} are taken for classes; if they are values, type --regression")
    if unseen := [name for k, name in enumerate(classes) if not (test.y == k).any()]:
        names = textwrap.shorten(", ".join(unseen), 100)
        print(f"Classes without a row to test on: {names}. How well they are learned is not seen.")


def _inputs(names: Sequence[str]) -> str:
    return textwrap.shorten(", ".join(names), 100, placeholder=" …")


def tell_times(folder: Path, records: list[Record], earlier: int, start: Position) -> None:
    """The times of the epochs that were trained now, and of all; start: where the run stood before."""
    whole = times(math.fsum(record.seconds for record in records), metrics.wall_seconds(folder))
    count = len(records) - earlier
    epochs = counted(count, "epoch")
    if start == Position():
        print(f"Trained for {epochs}: {whole}.")
    else:
        if count:
            wall = metrics.wall_seconds(folder, after=earlier)
            now = math.fsum(record.seconds for record in records[earlier:]) - start.seconds
            print(f"Went on for {epochs}: {times(now, None if wall is None else wall - start.seconds)}.")
        print(f"All {len(records)} epochs of the run: {whole}.")


def tell_quality(session: Session, records: list[Record]) -> None:
    """How good the network is at the end, and that the best epoch is no measure of it."""
    _, config, net, _, test, *_ = session
    names = quality.class_names(net, test.classes)
    try:
        first, more = figures(quality.of(net, test), names, config.target)
    except ImportError as error:  # training needs none of it
        first, more = f"no more than the cost, since {error.name} is not installed", []
    examples = counted(len(test.x), "test example")
    if session.validation:
        _tell_choice(records, config)
        cost = net.cost(test.x, test.y)
        print(f"On the {examples}, by which nothing was chosen: {first}, cost {cost:.5f}", *more, sep="\n  ")
        return
    cost = records[-1].validation_cost
    print(f"At the end, on the {examples}: {first}, cost {cost:.5f}", *more, sep="\n  ")
    if records[-1].validation_accuracy is None:
        top = min(records, key=lambda record: (record.validation_cost or 0.0, -record.epoch))
        what = f"test cost {top.validation_cost:.5f}"
    else:
        top = max(records, key=lambda record: (record.validation_accuracy or 0.0, record.epoch))
        what = f"accuracy {top.validation_accuracy:.2%}"
    if top is records[-1]:
        print("  no epoch before was better")
    else:
        print(
            f"  the best epoch was {top.epoch}, {what}: it is the best on these very examples, which flatters it, and "
            f"its weights are not kept; {typed_option('patience')} keeps the best by examples that are held out"
        )


def _tell_choice(records: list[Record], config: Config) -> None:
    """Where a run with a patience stopped, and which epoch's weights it has."""
    kept = best.kept(config, records)
    if kept is None:
        print("No epoch had a finite validation cost: the run has the weights of the last.")
        return
    if len(records) < config.recipe.epochs:
        waited = counted(len(records) - kept.epoch, "epoch")
        print(f"Stopped after epoch {len(records)}, {waited} after the one of the lowest validation cost.")
    print(f"The run has the weights of epoch {kept.epoch}, of the lowest validation cost: {kept.validation_cost:.5f}")

"""Trains a network on MNIST, another set of images or a table, and keeps the run in a folder.

Without options: the book's network, [784, 30, 10] of sigmoid neurons, quadratic cost, on MNIST.
"""

import argparse
import math
import re
import signal
import textwrap
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bp_torch.cli.main import typed
from bp_torch.cli.messages import counted, figures, times
from bp_torch.cli.options import add_fields, given, typed_option
from bp_torch.cli.signals import held_back, terminable
from bp_torch.cli.streams import say
from bp_torch.data import named
from bp_torch.errors import DivergenceError
from bp_torch.insight.check import check
from bp_torch.runs import config as configuration
from bp_torch.runs import metrics, quality
from bp_torch.runs import session as runs
from bp_torch.runs.config import Config
from bp_torch.runs.session import WEIGHTS, Session
from bp_torch.saving.checkpoint import load_checkpoint
from bp_torch.state import Position
from bp_torch.training.loop import Record
from bp_torch.training.progress import with_progress

WHOLE = re.compile(r"-?(?:0|[1-9]\d*)")  # as a class of numbers is named, and no code such as 007 is
EXAMPLES = [
    ["--dataset", "digits"],
    ["--dataset", "flowers.csv", "--target", "species"],
    ["--hidden", 128, "--activation", "relu", "--cost", "softmax_cross_entropy", "--batch-size", 32, "--epochs", 10],
    ["--resume", "runs/mine"],
]


def add_options(parser: argparse.ArgumentParser) -> None:
    add_fields(parser)
    parser.add_argument("--check", action="store_true", help="first hold the gradients to differences of the cost")
    parser.add_argument("--out", metavar="DIR", help="a folder that is new or empty (default: runs/DATASET-TIME)")
    parser.add_argument(
        "--resume", metavar="RUN", help="go on with the run in this folder, with its settings, as if it had not stopped"
    )


def run(options: argparse.Namespace) -> int:
    with terminable(), _opened(options) as session:
        return _train(session, options)


def _opened(options: argparse.Namespace) -> AbstractContextManager[Session]:
    asked = given(options)
    if options.resume is None:
        return runs.begin(Config.of(asked), options.out)
    if options.out is not None:
        raise ValueError("--resume goes on in the run's own folder: leave --out away")
    folder = Path(options.resume)
    config = _moved(folder, configuration.read(folder), asked) if (folder / configuration.FILE).is_file() else None
    return runs.resume(folder, config)


def _moved(folder: Path, config: Config, asked: dict[str, Any]) -> Config:
    """The run's config, with its data where the command line says. Raises ValueError where that says otherwise else."""
    if asked.get("device") == "auto":
        asked = {**asked, "device": runs.device_of("auto")}
    wanted = Config.of({**config.settings(), **asked})
    table = asked.get("dataset")
    if table and named.is_table(table) and Path(table).is_file():
        path = str(Path(table).resolve())
        wanted = replace(wanted, dataset=path)
        if named.checksum(path) == config.sha256:
            config = replace(config, dataset=path)
    config = replace(config, data_dir=wanted.data_dir, task=runs.task_of(config, config.about.get("classes")))
    of_run, on_line = config.settings(), wanted.settings()
    for name in asked:
        if of_run[name] != on_line[name]:
            raise ValueError(
                f"{typed_option(name, on_line[name])} contradicts the run in {folder}, which has {of_run[name]}: leave "
                f"{typed_option(name, on_line[name]).split()[0]} away, or start a new run"
            )
    return config


def _train(session: Session, options: argparse.Namespace) -> int:
    folder, config, net, data, _, position, earlier, _ = session
    epochs = config.recipe.epochs
    _introduce(session)
    if named.is_table(config.dataset):
        _introduce_table(session, guessed=options.resume is None and "task" not in given(options))
    if options.check:
        y = data.y[:20]
        check(net.to(torch.float64), data.x[:20].double(), y if data.classes else y.double())
    if position.epoch > epochs:
        print(f"The run in {folder} is finished: it is trained for {counted(epochs, 'epoch')}.")
    elif options.resume is not None:
        print(f"Going on in epoch {position.epoch}, after batch {position.batch}.")
    records = list(earlier)
    with held_back() as signals:
        training = runs.train(session, stop=lambda: bool(signals))
        try:
            records += with_progress(training, epochs, len(earlier), validation="test")
        except DivergenceError as error:
            say(f"{typed('train')}: {_of_divergence(folder, error)}")
            return 1
        except BrokenPipeError:  # whoever read what is printed has gone: the session saves what was trained, and ends
            return 128 + signal.SIGPIPE
    if signals and len(records) < epochs:
        position = load_checkpoint(folder / WEIGHTS).position
        print(
            f"Stopped by {signals[0].name} in epoch {position.epoch}, after batch {position.batch}; saved in "
            f"{folder / WEIGHTS}. To go on: {typed('train', '--resume', folder)}"
        )
        return 128 + signals[0]
    _tell_times(folder, records, len(earlier), position)
    _tell_quality(session, records)
    print(f"The run is in {folder}. Its curve: {folder / 'curve.png'}")
    print(f"A report of it: {typed('report', folder)}")
    return 0


def _of_divergence(folder: Path, error: DivergenceError) -> str:
    """Where the training stopped, what the run's folder holds, and what to do."""
    kept = load_checkpoint(folder / WEIGHTS).position
    whence = f"after batch {kept.batch} of" if kept.batch else "the start of"
    return (
        f"Training stopped in epoch {error.epoch}, batch {error.batch}: layer {error.layer}, counted from 0, is the "
        f"first that is not finite ({error.what}). The run in {folder} keeps the weights from {whence} epoch "
        f"{kept.epoch}. Start a new run with a smaller --lr than {error.lr:g}"
    )


def _introduce(session: Session) -> None:
    """What is trained, on what, and how."""
    folder, config, net, *_ = session
    recipe = config.recipe
    weights = config.init or ", ".join(dict.fromkeys(activation.init for activation in net.activations))
    print(
        f"{net.sizes}, {config.activation}, {net.activations[-1].name} outputs, {config.cost} cost, {weights} weights; "
        f"η = {recipe.lr:g}, batches of {recipe.batch_size}, "
        f"{counted(recipe.epochs, 'epoch')}; on {config.dataset}, "
        f"{config.device}; run folder {folder}"
    )
    if config.init == "normal" and config.dataset == "mnist":
        print(
            "With weights from N(0, 1), the book's own, a digit may be learned late or never; --init scaled avoids it."
        )


def _introduce_table(session: Session, guessed: bool) -> None:
    """What the target holds; guessed: whether its cells alone have said so."""
    _, config, _, data, test, *_ = session
    classes = data.classes or ()
    kinds = f"{len(classes)} classes, {textwrap.shorten(', '.join(classes), 100)}" if classes else "real-valued"
    print(f"{config.target}: {kinds}; {counted(len(data.x), 'row')} to train on, {len(test.x)} to test")
    if guessed and len(classes) > 2 and all(map(WHOLE.fullmatch, classes)):
        print(f"The whole numbers in {config.target} are taken for classes; if they are values, type --regression")
    if unseen := [name for k, name in enumerate(classes) if not (test.y == k).any()]:
        names = textwrap.shorten(", ".join(unseen), 100)
        print(f"Classes without a row to test on: {names}. How well they are learned is not seen.")


def _tell_times(folder: Path, records: list[Record], earlier: int, start: Position) -> None:
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


def _tell_quality(session: Session, records: list[Record]) -> None:
    """How good the network is at the end, and that the best epoch is no measure of it."""
    _, config, net, _, test, *_ = session
    names = quality.class_names(net, test.classes)
    try:
        first, more = figures(quality.of(net, test), names, config.target)
    except ImportError as error:  # training needs none of it
        first, more = f"no more than the cost, since {error.name} is not installed", []
    cost = records[-1].validation_cost
    print(f"At the end, on the {counted(len(test.x), 'test example')}: {first}, cost {cost:.5f}", *more, sep="\n  ")
    if records[-1].validation_accuracy is None:
        best = min(records, key=lambda record: (record.validation_cost or 0.0, -record.epoch))
        what = f"test cost {best.validation_cost:.5f}"
    else:
        best = max(records, key=lambda record: (record.validation_accuracy or 0.0, record.epoch))
        what = f"accuracy {best.validation_accuracy:.2%}"
    if best is records[-1]:
        print("  no epoch before was better")
    else:
        print(
            f"  the best epoch was {best.epoch}, {what}: it is the best on these very examples, which flatters it, and "
            "its weights are not kept; docs/guide.md says how to keep the best (Training, and when to stop)"
        )

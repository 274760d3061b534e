"""Trains a network on MNIST, another set of images or a table, and keeps the run in a folder.

Without options: the book's network, [784, 30, 10] of sigmoid neurons, quadratic cost, on MNIST.
"""

import argparse
import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from bp_torch.cli import board, parts
from bp_torch.cli.main import typed
from bp_torch.cli.messages import counted
from bp_torch.cli.options import add_fields, given, typed_option
from bp_torch.cli.signals import held_back, terminable
from bp_torch.cli.streams import say
from bp_torch.cli.telling import introduce, introduce_table, of_divergence, tell_quality, tell_times
from bp_torch.data import named
from bp_torch.errors import DivergenceError
from bp_torch.insight.check import check
from bp_torch.insight.summary import summary
from bp_torch.recipe import rule_of
from bp_torch.runs import config as configuration
from bp_torch.runs import session as runs
from bp_torch.runs.config import Config
from bp_torch.runs.preparing import device_of, task_of
from bp_torch.runs.session import WEIGHTS, Session
from bp_torch.saving.checkpoint import load_checkpoint
from bp_torch.training.loop import Record
from bp_torch.training.progress import with_progress

EXAMPLES = [
    ["--dataset", "digits"],
    ["--dataset", "flowers.csv", "--target", "species"],
    ["--hidden", 128, "--activation", "relu", "--cost", "softmax_cross_entropy", "--batch-size", 32, "--epochs", 10],
    ["--resume", "runs/mine"],
]


def add_options(parser: argparse.ArgumentParser) -> None:
    add_fields(parser)
    parts.add_parts(parser)
    parser.add_argument("--summary", action="store_true", help="first print a table of the layers")
    parser.add_argument("--check", action="store_true", help="first hold the gradients to differences of the cost")
    parser.add_argument(
        "--tensorboard",
        action="store_true",
        help=f"write cost, accuracy and η by epoch into the folder's {board.FOLDER}/, for tensorboard --logdir",
    )
    parser.add_argument("--out", metavar="DIR", help="a folder that is new or empty (default: runs/DATASET-TIME)")
    parser.add_argument(
        "--resume", metavar="RUN", help="go on with the run in this folder, with its settings, as if it had not stopped"
    )


def run(options: argparse.Namespace) -> int:
    if options.tensorboard:
        board.writer()
    with terminable(), _opened(options) as session:
        return _train(session, options)


def _opened(options: argparse.Namespace) -> AbstractContextManager[Session]:
    if options.resume is None:
        return runs.begin(Config.of(parts.asked(given(options), options).fields), options.out)
    if options.out is not None:
        raise ValueError("--resume goes on in the run's own folder: leave --out away")
    folder = Path(options.resume)
    config = _moved(folder, configuration.read(folder), options) if (folder / configuration.FILE).is_file() else None
    return runs.resume(folder, config)


def _moved(folder: Path, config: Config, options: argparse.Namespace) -> Config:
    """The run's config, with its data where the command line says. Raises ValueError where that says otherwise else."""
    asked, came_from = parts.asked(given(options), options, run=config.recipe)
    if asked.get("device") == "auto":
        asked = {**asked, "device": device_of("auto")}
    wanted = Config.of({**config.settings(), **asked})
    if named.is_table(wanted.dataset):
        place = {"dataset": wanted.dataset, "test_file": wanted.test_file}
        place = {name: path and str(Path(path).resolve()) for name, path in place.items()}
        if named.table_checksum(str(place["dataset"]), place["test_file"]) is not None:
            wanted = replace(wanted, **place)
        if named.table_checksum(str(place["dataset"]), place["test_file"]) == config.sha256:
            config = replace(config, **place)
    config = replace(config, data_dir=wanted.data_dir, task=task_of(config, config.about.get("classes")))
    of_run, on_line = config.settings(), wanted.settings()
    for name in asked:
        if of_run[name] != on_line[name]:
            told = [typed_option(each, getattr(options, each)) for each in came_from[name]]
            has = "none" if of_run[name] is None else of_run[name]
            raise ValueError(
                f"{' '.join(told)} contradicts the run in {folder}, which has {has}: leave "
                f"{' and '.join(each.split()[0] for each in told)} away, or start a new run"
            )
    return config


def _train(session: Session, options: argparse.Namespace) -> int:
    folder, config, net, data, _, position, earlier, *_ = session
    epochs = config.recipe.epochs
    introduce(session)
    if named.is_table(config.dataset):
        introduce_table(session, guessed=options.resume is None and "task" not in given(options))
    if options.summary:
        batch_size = min(config.recipe.batch_size, len(data.x))
        print(summary(net, batch_size=batch_size, optimizer=rule_of(config.recipe)))
    if options.check:
        y = data.y[:20]
        check(net.to(torch.float64), data.x[:20].double(), y if data.classes else y.double())
    if session.is_over(earlier):
        print(f"The run in {folder} is finished: it is trained for {counted(len(earlier), 'epoch')}.")
    elif options.resume is not None:
        print(f"Going on in epoch {position.epoch}, after batch {position.batch}.")
    records = list(earlier)
    with held_back() as signals, _log(folder, earlier, options.tensorboard) as log:
        training = _logged(runs.train(session, stop=lambda: bool(signals)), log)
        shown = with_progress(training, epochs, len(earlier), config.validation, rate=callable(config.recipe.lr))
        try:
            records += shown
        except DivergenceError as error:
            say(f"{typed('train')}: {of_divergence(session, error)}")
            return 1
        except BrokenPipeError:  # whoever read what is printed has gone: the session saves what was trained, and ends
            return 128 + signal.SIGPIPE
    if signals and not session.is_over(records):
        position = load_checkpoint(folder / WEIGHTS).position
        print(
            f"Stopped by {signals[0].name} in epoch {position.epoch}, after batch {position.batch}; saved in "
            f"{folder / WEIGHTS}. To go on: {typed('train', '--resume', folder)}"
        )
        return 128 + signals[0]
    tell_times(folder, records, len(earlier), position)
    tell_quality(session, records)
    print(f"The run is in {folder}. Its curve: {folder / 'curve.png'}")
    if options.tensorboard:
        print(f"In TensorBoard: {shlex.join(['tensorboard', '--logdir', str(folder)])}")
    print(f"A report of it: {typed('report', folder)}")
    return 0


def _log(
    folder: Path, earlier: tuple[Record, ...], wanted: bool
) -> AbstractContextManager[Callable[[Record], None] | None]:
    return board.opened(folder, earlier) if wanted else nullcontext()


def _logged(records: Iterator[Record], log: Callable[[Record], None] | None) -> Iterator[Record]:
    for record in records:
        if log is not None:
            log(record)
        yield record

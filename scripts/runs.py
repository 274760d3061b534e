"""A run's folder: what it was asked for, what each epoch came to, and the checkpoint that it can go on from."""

import argparse
import fcntl
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

import common

import bp_torch as bp
from bp_torch.training import durable
from bp_torch.training.checkpoint import newest
from bp_torch.training.position import finite

CONFIG, METRICS, WEIGHTS = "config.json", "metrics.jsonl", "weights.safetensors"
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def new_folder(chosen: str | None, dataset: str) -> Path:
    """A new folder, or one that is empty, in which can be written; raises ValueError otherwise."""
    if chosen is None:
        out = Path("runs") / f"{dataset}-{datetime.now():%Y%m%d-%H%M%S-%f}"
    else:
        out = Path(chosen)
        if out.exists() and not out.is_dir():
            raise ValueError(f"--out {out} is a file: name a folder that is new or empty")
        # what a run left that was killed while it wrote its first file does not count: that is swept up
        if out.is_dir() and any(not path.name.startswith(f".{CONFIG}.") for path in out.iterdir()):
            raise ValueError(f"--out {out} is not empty: name a folder that is new or empty")
    return common.writable(out)


def options_of(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options of the command line; with --resume, those that the run was started with.

    Raises ValueError for a --resume that is no run, and where the command line says otherwise than its config.json.
    """
    options = parser.parse_args()
    if options.resume is None:
        return options
    defaults = vars(parser.parse_args([]))
    absent = object()
    parser.set_defaults(**dict.fromkeys(defaults, absent))
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not absent}
    config = _config(Path(options.resume))
    if "device" in given:
        given["device"] = common.device_named(given["device"])
    may_differ = {"data_dir"}  # the data may have moved
    if "dataset" in given and common.is_table(given["dataset"]) and Path(given["dataset"]).is_file():
        given["dataset"] = str(Path(given["dataset"]).resolve())
        if common.sha256(given["dataset"]) == config.get("sha256"):
            may_differ.add("dataset")
    if "out" in given:
        raise ValueError("--resume goes on in the run's own folder: leave --out away")
    for name in config.keys() & given.keys() - may_differ:
        if config[name] != given[name]:
            option = "--" + name.replace("_", "-")
            raise ValueError(
                f"{option} {given[name]} contradicts the run in {options.resume}, which has {config[name]}: leave "
                f"{option} away, or start a new run"
            )
    return argparse.Namespace(
        **{**defaults, **{name: config[name] for name in config.keys() & defaults.keys()}, **given}
    )


def _config(out: Path) -> dict[str, Any]:
    if not (out / CONFIG).is_file():
        raise ValueError(f"--resume {out} is not a run that scripts/train.py started: it has no {CONFIG}")
    return common.read_config(out / CONFIG)


def begin(out: Path, net: bp.Network, settings: dict[str, Any], about: dict[str, Any]) -> None:
    """The folder of a run that has not trained yet: its first checkpoint holds the weights that it starts from.

    settings: what the run depends on. about: what else config.json says of it.
    """
    config = {**settings, "sizes": net.sizes, **about}
    durable.write(out / CONFIG, (json.dumps(config, indent=2) + "\n").encode())
    bp.save(out / WEIGHTS, net, settings=settings)


def resume(out: Path, fresh: bp.Network, settings: dict[str, Any]) -> tuple[bp.Network, bp.Position, list[bp.Record]]:
    """The network, where the run stands, and the records until there; metrics.jsonl is cut to these.

    A run killed before its first checkpoint starts from `fresh`. Raises CheckpointError where no checkpoint can be
    loaded, or it is another run's, or the metrics of an epoch before it are missing.
    """
    try:
        (net, position, saved_with, _), path = newest(out / WEIGHTS, fresh.layers[0].w.device)
    except FileNotFoundError:
        if (out / METRICS).exists() and (out / METRICS).stat().st_size:
            raise bp.CheckpointError(f"{out} has trained, and its {WEIGHTS} is gone: put it back") from None
        net, position, saved_with, path = fresh, bp.Position(), settings, out / WEIGHTS
    if path != out / WEIGHTS:
        print(f"{out / WEIGHTS} can't be loaded: the run goes on from the one before, {path}", file=sys.stderr)
    if saved_with.get("sha256") != settings.get("sha256"):
        raise ValueError(f"{settings['dataset']} has changed since the run began: put the data of then there")
    if _but_place(saved_with) != _but_place(settings) or net.sizes != fresh.sizes:
        raise bp.CheckpointError(f"{path} was saved with other settings than {out / CONFIG} says: put these right")
    lines, records = [], []
    for line in (out / METRICS).read_text(errors="replace").splitlines() if (out / METRICS).exists() else []:
        if len(records) + 1 < position.epoch:
            lines.append(line)
            records.append(_record(line, out / METRICS))
    if [record.epoch for record in records] != list(range(1, position.epoch)):
        raise bp.CheckpointError(
            f"{out / METRICS} does not hold epochs 1 to {position.epoch - 1}, which {path} comes after"
        )
    durable.write(out / METRICS, "".join(f"{line}\n" for line in lines).encode())
    return net, position, records


def _but_place(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without the name of a table, which may have moved: its checksum is among them."""
    return {name: value for name, value in settings.items() if name != "dataset" or "sha256" not in settings}


def _record(line: str, path: Path) -> bp.Record:
    try:
        figures = json.loads(line)
        return bp.Record(**figures, position=bp.Position(figures["epoch"] + 1))
    except (ValueError, TypeError, KeyError) as error:
        raise bp.CheckpointError(f"{path} holds a line that is no epoch's: {line[:80]!r}") from error


def add_metrics(out: Path, record: bp.Record) -> None:
    """Adds an epoch's line to metrics.jsonl; it is on the disk before the checkpoint that comes after it."""
    figures = {name: value for name, value in asdict(record).items() if name != "position"}
    with (out / METRICS).open("a") as file:
        file.write(json.dumps(figures) + "\n")
        file.flush()
        os.fsync(file.fileno())


def kept(
    training: Iterable[bp.Record],
    net: bp.Network,
    save: Callable[[bp.Position], None],
    epochs: int,
    every: float,
    batches: int,
    signals: list[signal.Signals],
) -> Iterator[bp.Record]:
    """Passes on the records of whole epochs, and saves after every so many epochs (of `batches`), or parts of one.

    After a signal it saves at once and ends. The caller is done with a record, its metrics written, before the save.
    """
    saved = 0  # the batch of this epoch that the last save came after
    for record in training:
        batch = record.position.batch
        if record.whole:
            yield record
            due = every < 1 or record.epoch % every == 0 or record.epoch == epochs
        elif finite(net):
            due = every < 1 and batch - saved >= round(every * batches)
        else:
            continue  # nothing to keep: at the epoch's end training names the batch and the layer
        if due or signals:
            save(record.position)
            saved = batch
        if record.whole:
            saved = 0
        if signals:
            return


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Holds the folder against other processes; raises ValueError where one trains in it. It ends with the process."""
    folder = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(folder)
        raise ValueError(f"another process is training the run in {out}: wait for it, or stop it") from None
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(folder)


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends the process as an exception does, so that what has to be cleaned up is."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def signals_kept() -> Iterator[list[signal.Signals]]:
    """Holds back the first SIGINT or SIGTERM: it is in the list, and who looks there stops. A second one ends all."""
    received: list[signal.Signals] = []

    def hold(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number))
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        os.write(2, b"\nStopping at the next batch, to save; a second signal ends at once.\n")

    before = [signal.signal(each, hold) for each in SIGNALS]
    try:
        yield received
    finally:
        for each, handler in zip(SIGNALS, before, strict=True):
            signal.signal(each, handler)

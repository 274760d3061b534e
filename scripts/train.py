"""Trains a network on MNIST, another set of images or a table, and keeps the run in a folder.

Without options: the book's network, [784, 30, 10] of sigmoid neurons, quadratic cost, on MNIST.
"""

import argparse
import contextlib
import platform
import textwrap
import time
from pathlib import Path
from typing import Any

import common
import observations
import plots
import runs
import torch

import bp_torch as bp
from bp_torch import checks
from bp_torch.training.engines import ENGINES, batches_in, checked
from bp_torch.training.engines.common import PRECISIONS
from bp_torch.training.progress import shown

EXAMPLE = """example:
  python scripts/train.py --dataset digits
  python scripts/train.py --dataset flowers.csv --target species
  python scripts/train.py --hidden 128 --activation relu --cost softmax_cross_entropy --batch-size 32 --epochs 10
  python scripts/train.py --resume runs/mine
"""
VERSIONS = {"bp_torch": bp.__version__, "torch": torch.__version__, "python": platform.python_version()}
NOT_SETTINGS = ("out", "data_dir", "check", "resume")
SECONDS_A_WRITE = 5.0  # between writes of the observations, which cost some 10 ms
SECONDS_A_STOP = 0.5  # about as long as a signal waits for the next place to stop at


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common.add_data_options(parser, default="mnist")
    parser.add_argument("--hidden", default="30", help="neurons of the hidden layers, as in 100,50 (default: 30)")
    parser.add_argument(
        "--activation", default="sigmoid", metavar="NAME", help=f"{', '.join(bp.ACTIVATIONS)} (default: sigmoid)"
    )
    parser.add_argument(
        "--cost", default="quadratic", metavar="NAME", help=f"{', '.join(bp.COSTS)} (default: quadratic)"
    )
    parser.add_argument(
        "--init",
        metavar="NAME",
        help=f"{', '.join(bp.INITIALISERS)} (default: normal, as in the book, for MNIST by sigmoid with "
        "quadratic cost; else what fits the activation)",
    )
    parser.add_argument("--epochs", type=int, default=30, help="default: 30")
    parser.add_argument("--batch-size", type=int, default=10, help="examples a step (default: 10)")
    parser.add_argument(
        "--lr",
        type=float,
        help="learning rate η (default: 3, as in the book, for sigmoid with quadratic cost; else 0.1)",
    )
    parser.add_argument(
        "--engine", default="auto", help=f"auto (the default), {', '.join(ENGINES)}: see bp_torch.train"
    )
    parser.add_argument("--precision", default="ieee", help=f"of the products: {', '.join(PRECISIONS)} (default: ieee)")
    parser.add_argument("--dtype", choices=common.DTYPES, default="float32", help="default: float32")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the batches (default: 0)")
    parser.add_argument("--check", action="store_true", help="first hold the gradients to differences of the cost")
    parser.add_argument("--out", metavar="DIR", help="a folder that is new or empty (default: runs/DATASET-TIME)")
    parser.add_argument(
        "--checkpoint-every",
        type=float,
        default=1.0,
        metavar="N",
        help="save every N epochs; 0.1: ten times an epoch (default: 1)",
    )
    parser.add_argument(
        "--resume", metavar="RUN", help="go on with the run in this folder, with its settings, as if it had not stopped"
    )
    return runs.options_of(parser)


def main() -> int:
    options = parse()
    _check(options)
    out = runs.new_folder(options.out, Path(options.dataset).stem) if options.resume is None else Path(options.resume)
    with runs.held(out):
        return _run(options, out)


def _run(options: argparse.Namespace, out: Path) -> int:
    try:
        with runs.terminable():
            data, test = _load(options)
            net, settings = _started(options, data, test)
    except BaseException:
        if options.resume is None:
            with contextlib.suppress(OSError):
                out.rmdir()  # nothing is in it yet, and the next try may name it again
        raise
    position, records = bp.Position(), []
    if options.resume is None:
        runs.begin(
            out,
            net,
            settings,
            {
                "data_dir": common.folder(options.dataset, options.data_dir),
                "classes": data.classes,
                "versions": VERSIONS,
            },
        )
    else:
        net, position, records = runs.resume(out, net, settings)

    print(
        f"{net.sizes}, {options.activation}, {net.activations[-1].name} outputs, {options.cost}, "
        f"on {options.dataset}, {options.device}; run folder {out}"
    )
    if common.is_table(options.dataset):
        classes = textwrap.shorten(", ".join(data.classes or ()), 100)
        kinds = f"{len(data.classes)} classes, {classes}" if data.classes else "real-valued"
        print(f"{options.target}: {kinds}; {len(data.x)} rows to train on, {len(test.x)} to test")
    if options.check:
        y = data.y[:20]
        bp.check(net.to(torch.float64), data.x[:20].double(), y if data.classes else y.double())
    if position.epoch > options.epochs:
        print(f"The run in {out} is finished: all of its {options.epochs} epochs are trained.")
    elif options.resume is not None:
        print(f"Going on in epoch {position.epoch}, after batch {position.batch}.")
    watch = observations.start((data.x, data.y), (test.x, test.y), options.epochs)
    if options.resume is not None:
        observations.restore(watch, out / observations.FILE, until=position.epoch - 1)
    if position == bp.Position():
        observations.look(watch, net, 0)
    started, already = time.perf_counter(), len(records)
    try:
        stopped = _train(options, net, data, test, out, settings, position, records, watch)
    except bp.DivergenceError:
        _keep(out, net, test, records, watch)  # what was learned until then
        raise
    _keep(out, net, test, records, watch)
    if stopped:
        return 128 + stopped
    if len(records) > already:
        print(f"Trained for {len(records) - already} epochs in {time.perf_counter() - started:.1f} s.")
    print(_summary(records))
    print(f"The run is in {out}: {', '.join(sorted(path.name for path in out.iterdir()))}.")
    print(f"A report of it: python scripts/report.py {out}")
    print(f"Its curve: {out / 'curve.png'}")
    return 0


def _check(options: argparse.Namespace) -> None:
    """Says what is wrong with an option before any data is read."""
    options.device = common.device_named(options.device)
    checks.whole("--epochs", options.epochs, 1)
    checks.whole("--batch-size", options.batch_size, 1)
    if options.lr is not None:
        checks.positive("--lr", options.lr)
    if checks.positive("--checkpoint-every", options.checkpoint_every) >= 1 and options.checkpoint_every % 1:
        raise ValueError(f"--checkpoint-every must be a whole number or below 1, not {options.checkpoint_every:g}")
    checked(options.engine, _network(options, 1, 1), options.batch_size, options.precision)


def _load(options: argparse.Namespace) -> tuple[common.Split, common.Split]:
    """The training and the test examples."""
    dtype = common.DTYPES[options.dtype]
    data, test = (
        common.load(options.dataset, split, options.data_dir, options.target, options.device, dtype)
        for split in ("train", "test")
    )
    if data.x.shape[1] != test.x.shape[1]:
        raise bp.DataError(f"{options.dataset}: the test examples have {test.x.shape[1]} values, not {data.x.shape[1]}")
    if data.classes is None and options.cost != "quadratic":
        raise ValueError(f"{options.target} is real-valued: train on it with --cost quadratic, not {options.cost}")
    return data, test._replace(classes=data.classes)  # of IDX files, some may be in the training set only


def _started(options: argparse.Namespace, data: common.Split, test: common.Split) -> tuple[bp.Network, dict[str, Any]]:
    """The network before training, and all that the run depends on; puts defaults in for what was left out."""
    book = options.activation == "sigmoid" and options.cost == "quadratic" and data.classes is not None
    if options.lr is None:
        options.lr = 3.0 if book else 0.1
    if options.init is None and book and options.dataset == "mnist":
        options.init = "normal"
    net = _network(options, data.x.shape[1], len(data.classes or ("the value",)), None if data.classes else "identity")
    checked(options.engine, net, options.batch_size, options.precision)
    settings = {name: value for name, value in vars(options).items() if name not in NOT_SETTINGS}
    return net, {**settings, **common.origin(options.dataset, data, test)}


def _train(
    options: argparse.Namespace,
    net: bp.Network,
    data: common.Split,
    test: common.Split,
    out: Path,
    settings: dict[str, Any],
    position: bp.Position,
    records: list[bp.Record],
    watch: observations.Watch,
) -> int:
    """Trains on from this position, adds to the records, and saves; returns the signal that stopped it, or 0."""
    batches, every = -(-len(data.x) // options.batch_size), options.checkpoint_every
    part = min(batches_in(SECONDS_A_STOP, net, options.batch_size), max(1, round(every * batches)))
    training = bp.train(
        net,
        (data.x, data.y),
        epochs=options.epochs,
        batch_size=options.batch_size,
        lr=options.lr,
        validation=(test.x, test.y),
        seed=options.seed,
        engine=options.engine,
        precision=options.precision,
        every=part,
        start=position,
    )

    def save(position: bp.Position) -> None:
        bp.save(out / runs.WEIGHTS, net, position=position, settings=settings)
        if signals:
            print(
                f"Stopped by {signals[0].name} in epoch {position.epoch}, after batch {position.batch}; saved in "
                f"{out / runs.WEIGHTS}. To go on: python scripts/train.py --resume {out}",
                flush=True,
            )

    written = time.perf_counter()
    with runs.signals_kept() as signals:
        kept = runs.kept(training, net, save, options.epochs, every, batches, signals)
        for record in shown(kept, options.epochs, len(records)):
            records.append(record)
            observations.look(watch, net, record.epoch)
            if time.perf_counter() - written > SECONDS_A_WRITE:
                observations.write(out / observations.FILE, watch, net)
                written = time.perf_counter()
            runs.add_metrics(out, record)
        return signals[0] if signals else 0


def _network(options: argparse.Namespace, inputs: int, outputs: int, output: str | None = None) -> bp.Network:
    return bp.Network.create(
        [inputs, *_widths(options.hidden), outputs],
        hidden=options.activation,
        cost=options.cost,
        output=output,
        init=options.init,
        seed=options.seed,
        device=options.device,
        dtype=common.DTYPES[options.dtype],
    )


def _widths(hidden: str) -> list[int]:
    try:
        return [int(width) for width in hidden.split(",")]
    except ValueError:
        raise ValueError(f"--hidden must list whole numbers, as in 100,50, not {hidden!r}") from None


def _keep(out: Path, net: bp.Network, test: common.Split, records: list[bp.Record], watch: observations.Watch) -> None:
    observations.write(out / observations.FILE, watch, net)
    if test.classes:
        plots.confusion(out / "confusion.png", test.y, net.predict(test.x), test.classes)
    if records:
        plots.curve(out / "curve.png", records, f"{net.sizes} {net.activations[0].name}, {net.cost_function.name}")


def _summary(records: list[bp.Record]) -> str:
    if records[-1].validation_accuracy is None:
        costs = {record.epoch: record.validation_cost or 0.0 for record in records}
        best = min(costs, key=costs.__getitem__)
        return f"Test cost: final {costs[len(costs)]:.5f}, best {costs[best]:.5f} (epoch {best})."
    accuracies = {record.epoch: record.validation_accuracy or 0.0 for record in records}
    best = max(accuracies, key=accuracies.__getitem__)
    return f"Test accuracy: final {accuracies[len(accuracies)]:.2%}, best {accuracies[best]:.2%} (epoch {best})."


if __name__ == "__main__":
    common.run(main)

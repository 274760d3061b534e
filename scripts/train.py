"""Trains a network on MNIST, another set of images or a table, and keeps the run in a folder.

Without options: the book's network, [784, 30, 10] of sigmoid neurons, quadratic cost, on MNIST.
"""

import argparse
import json
import platform
import tempfile
import textwrap
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import common
import plots
import torch

import bp_torch as bp
from bp_torch import checks
from bp_torch.training.engines import ENGINES, checked
from bp_torch.training.engines.common import PRECISIONS
from bp_torch.training.progress import shown

EXAMPLE = """example:
  python scripts/train.py --dataset digits
  python scripts/train.py --dataset flowers.csv --target species
  python scripts/train.py --hidden 128 --activation relu --cost softmax_cross_entropy --batch-size 32 --epochs 10
"""
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


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
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="default: float32")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the batches (default: 0)")
    parser.add_argument("--check", action="store_true", help="first hold the gradients to differences of the cost")
    parser.add_argument("--out", metavar="DIR", help="a folder that is new or empty (default: runs/DATASET-TIME)")
    return parser.parse_args()


def main() -> int:
    options = parse()
    options.device = common.device_named(options.device)
    checks.whole("--epochs", options.epochs, 1)
    checks.whole("--batch-size", options.batch_size, 1)
    if options.lr is not None:
        checks.positive("--lr", options.lr)
    probe = _network(options, 1, 1)  # what is wrong with an option is said before any data is read
    checked(options.engine, probe, options.batch_size, options.precision)
    data, test = (
        common.load(options.dataset, split, options.data_dir, options.target, options.device, DTYPES[options.dtype])
        for split in ("train", "test")
    )
    if data.x.shape[1] != test.x.shape[1]:
        raise bp.DataError(f"{options.dataset}: the test examples have {test.x.shape[1]} values, not {data.x.shape[1]}")
    if data.classes is None and options.cost != "quadratic":
        raise ValueError(f"{options.target} is real-valued: train on it with --cost quadratic, not {options.cost}")
    book = options.activation == "sigmoid" and options.cost == "quadratic" and data.classes is not None
    if options.lr is None:
        options.lr = 3.0 if book else 0.1
    if options.init is None and book and options.dataset == "mnist":
        options.init = "normal"
    net = _network(options, data.x.shape[1], len(data.classes or ("the value",)), None if data.classes else "identity")
    checked(options.engine, net, options.batch_size, options.precision)
    out = _new_folder(options.out, Path(options.dataset).stem)
    settings = {name: value for name, value in vars(options).items() if name not in ("out", "check")}
    settings |= common.origin(options.dataset, options.data_dir)
    versions = {"bp_torch": bp.__version__, "torch": torch.__version__, "python": platform.python_version()}
    (out / "config.json").write_text(
        json.dumps({**settings, "sizes": net.sizes, "classes": data.classes, "versions": versions}, indent=2) + "\n"
    )

    print(
        f"{net.sizes}, {options.activation}, {options.cost}, on {options.dataset}, {options.device}; run folder {out}"
    )
    if common.is_table(options.dataset):
        kinds = (
            f"{len(data.classes)} classes, {textwrap.shorten(', '.join(data.classes), 100)}"
            if data.classes
            else "real-valued"
        )
        print(f"{options.target}: {kinds}; {len(data.x)} rows to train on, {len(test.x)} to test")
    if options.check:
        y = data.y[:20]
        bp.check(net.to(torch.float64), data.x[:20].double(), y if data.classes else y.double())
    records: list[bp.Record] = []
    started = time.perf_counter()
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
    )
    try:
        with (out / "metrics.jsonl").open("w") as metrics:
            for record in shown(training, options.epochs):
                records.append(record)
                metrics.write(json.dumps(asdict(record)) + "\n")
                metrics.flush()
    finally:  # also after a divergence or an interrupt: what was learned until then is kept
        _keep(out, net, test, records)
    seconds = time.perf_counter() - started
    print(f"Trained for {len(records)} epochs in {seconds:.1f} s.")
    print(_summary(records))
    print(f"The run is in {out}: {', '.join(sorted(path.name for path in out.iterdir()))}.")
    print(f"Its curve: {out / 'curve.png'}")
    return 0


def _network(options: argparse.Namespace, inputs: int, outputs: int, output: str | None = None) -> bp.Network:
    return bp.Network.create(
        [inputs, *_widths(options.hidden), outputs],
        hidden=options.activation,
        cost=options.cost,
        output=output,
        init=options.init,
        seed=options.seed,
        device=options.device,
        dtype=DTYPES[options.dtype],
    )


def _widths(hidden: str) -> list[int]:
    try:
        return [int(width) for width in hidden.split(",")]
    except ValueError:
        raise ValueError(f"--hidden must list whole numbers, as in 100,50, not {hidden!r}") from None


def _new_folder(chosen: str | None, dataset: str) -> Path:
    if chosen is None:
        out = Path("runs") / f"{dataset}-{datetime.now():%Y%m%d-%H%M%S-%f}"
    else:
        out = Path(chosen)
        if out.exists() and not out.is_dir():
            raise ValueError(f"--out {out} is a file: name a folder that is new or empty")
        if out.is_dir() and any(out.iterdir()):
            raise ValueError(f"--out {out} is not empty: name a folder that is new or empty")
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise ValueError(f"--out {out} can't be written: {error.strerror}") from error
    return out


def _keep(out: Path, net: bp.Network, test: common.Split, records: list[bp.Record]) -> None:
    bp.save(out / "weights.safetensors", net)
    if test.classes:
        plots.confusion(out / "confusion.png", test.y, net.predict(test.x))
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

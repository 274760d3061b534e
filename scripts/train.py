"""Trains a network on MNIST or on the embedded digits, and keeps the run in a folder.

Without options: the book's network, [784, 30, 10] of sigmoid neurons, quadratic cost, on MNIST.
"""

import argparse
import json
import platform
import tempfile
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import common
import observations
import plots
import torch
from torch import Tensor

import bp_torch as bp
from bp_torch import checks
from bp_torch.training.engines import ENGINES, checked
from bp_torch.training.engines.common import PRECISIONS
from bp_torch.training.progress import shown

EXAMPLE = """example:
  python scripts/train.py --dataset digits
  python scripts/train.py --hidden 128 --activation relu --cost softmax_cross_entropy --batch-size 32 --epochs 10
"""
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
INPUTS = {"mnist": 784, "digits": 64}


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
    book = options.activation == "sigmoid" and options.cost == "quadratic"
    if options.lr is None:
        options.lr = 3.0 if book else 0.1
    if options.init is None and book and options.dataset == "mnist":
        options.init = "normal"
    options.device = common.device_named(options.device)
    checks.whole("--epochs", options.epochs, 1)
    checks.whole("--batch-size", options.batch_size, 1)
    checks.positive("--lr", options.lr)
    net = bp.Network.create(
        [INPUTS[options.dataset], *_widths(options.hidden), 10],
        hidden=options.activation,
        cost=options.cost,
        init=options.init,
        seed=options.seed,
        device=options.device,
        dtype=DTYPES[options.dtype],
    )
    checked(options.engine, net, options.batch_size, options.precision)
    out = _new_folder(options.out, options.dataset)
    try:
        data, test = (common.load(options.dataset, split, options.data_dir, net) for split in ("train", "test"))
    except BaseException:
        out.rmdir()  # nothing is in it yet, and the next try may name it again
        raise
    settings = {name: value for name, value in vars(options).items() if name not in ("out", "data_dir", "check")}
    versions = {"bp_torch": bp.__version__, "torch": torch.__version__, "python": platform.python_version()}
    (out / "config.json").write_text(
        json.dumps({**settings, "sizes": net.sizes, "versions": versions}, indent=2) + "\n"
    )

    print(
        f"{net.sizes}, {options.activation}, {options.cost}, on {options.dataset}, {options.device}; run folder {out}"
    )
    if options.check:
        bp.check(net.to(torch.float64), data[0][:20].double(), data[1][:20])
    records: list[bp.Record] = []
    watch = observations.start(net, data, test, options.epochs)
    started = time.perf_counter()
    training = bp.train(
        net,
        data,
        epochs=options.epochs,
        batch_size=options.batch_size,
        lr=options.lr,
        validation=test,
        seed=options.seed,
        engine=options.engine,
        precision=options.precision,
    )
    try:
        with (out / "metrics.jsonl").open("w") as metrics:
            for record in shown(training, options.epochs):
                records.append(record)
                observations.look(watch, net, record.epoch)
                metrics.write(json.dumps(asdict(record)) + "\n")
                metrics.flush()
    finally:  # also after a divergence or an interrupt: what was learned until then is kept
        _keep(out, net, test, records)
        observations.write(out / observations.FILE, watch, net)
    seconds = time.perf_counter() - started
    best = max(records, key=_accuracy)
    print(f"Trained for {len(records)} epochs in {seconds:.1f} s.")
    print(f"Test accuracy: final {_accuracy(records[-1]):.2%}, best {_accuracy(best):.2%} (epoch {best.epoch}).")
    print(f"The run is in {out}: weights.safetensors, config.json, metrics.jsonl, confusion.png,")
    print(f"observations.safetensors. A report of it: python scripts/report.py {out}")
    print(f"Its curve: {out / 'curve.png'}")
    return 0


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


def _keep(out: Path, net: bp.Network, test: tuple[Tensor, Tensor], records: list[bp.Record]) -> None:
    bp.save(out / "weights.safetensors", net)
    plots.confusion(out / "confusion.png", test[1], net.predict(test[0]))
    if records:
        plots.curve(out / "curve.png", records, f"{net.sizes} {net.activations[0].name}, {net.cost_function.name}")


def _accuracy(record: bp.Record) -> float:
    return record.validation_accuracy or 0.0


if __name__ == "__main__":
    common.run(main)

"""The rows of a table, predicted by a run that was trained on one, as a CSV."""

import csv
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from bp_torch.cli import out as places
from bp_torch.cli.messages import counted, figures
from bp_torch.cli.streams import say
from bp_torch.data.columns import Cells
from bp_torch.data.faults import short
from bp_torch.data.preprocessing import Preprocessing
from bp_torch.data.table import read_for
from bp_torch.network import Network
from bp_torch.runs import quality, saved


def predict(trained: saved.Run, path: Path, out: Path | None) -> None:
    """Writes a line for each row of the table at `path` to `out`, or prints them. See `cli.predict`."""
    net, fitted = trained.net, trained.net.preprocessing
    if not isinstance(fitted, Preprocessing):
        raise ValueError(
            f"{trained.folder} was not trained on a table, or by a version that kept no columns: {path} can't be "
            "predicted"
        )
    if out is not None:
        own = (trained.config.dataset, trained.config.test_file)
        places.checked(out, [path, *(Path(each) for each in own if each is not None)])
    cells = read_for(path, fitted)
    parts = (part.to(net.layers[0].w) for part in fitted.parts(cells))
    outputs = torch.cat([net.forward(part).a[-1].double().cpu() for part in parts])
    shares = fitted.classes and net.activations[-1].reach == (0, 1)  # else they are no probabilities
    classes = quality.class_names(net, fitted.classes) if shares else ()
    with places.opened(out) as file:
        lines = csv.writer(file, delimiter=places.delimiter_of(out), lineterminator="\n")
        lines.writerow([*places.HEADER, *(f"probability {name}" for name in classes)])
        lines.writerows(_lines(net, fitted, outputs))
    told = "\n  ".join([f"{path}, {counted(cells.rows, 'row')}", *_quality(fitted, cells, outputs)])
    if out is None:
        say(told)
    else:
        print(told)
        print(f"The predictions are in {out}")


def _quality(fitted: Preprocessing, cells: Cells, outputs: Tensor) -> list[str]:
    """How good the predictions are, in lines, by the rows that have the target; none where no row has."""
    if fitted.target.name not in cells.columns:
        return []
    y = fitted.target_of(cells, strict=False)
    known = y >= 0 if fitted.classes else y[:, 0].isfinite()
    if not known.any():
        return []
    found = quality.of_outputs(outputs[known], y[known], fitted.classes, fitted.target.scale)
    first, more = figures(found, fitted.classes or (), fitted.target.name)
    count = int(known.sum())
    what = "class that is known" if fitted.classes else "value"
    of = "" if count == cells.rows else f"of the {counted(count, 'row')} with a {what}: "
    return [of + first, *more, *_strange(cells, fitted.target.name, ~known)]


def _strange(cells: Cells, target: str, unknown: Tensor) -> list[str]:
    """The first cell of the target that says something and is no class or value, in a line. unknown: (m,) bool."""
    rows = (unknown.numpy() & ~cells.columns[target].missing()).nonzero()[0].tolist()
    if not rows:
        return []
    texts = cells.columns[target].as_texts()
    cell = short(texts.distinct[texts.values[rows[0]]])
    return [f"{cell} in {cells.place(rows[0])} is none that the network knows ({counted(len(rows), 'such row')})"]


def _lines(net: Network, fitted: Preprocessing, outputs: Tensor) -> Iterator[list[object]]:
    """The cells of each row's line: its number from 1, what is predicted, and the probabilities of the classes."""
    if fitted.classes is None:
        values = fitted.decode(outputs)
        for row, (value,) in enumerate(values.tolist(), start=1):  # pyright: ignore[reportAttributeAccessIssue]
            yield [row, value]
        return
    shares = torch.cat([1 - outputs, outputs], 1) if outputs.shape[1] == 1 else outputs
    told = net.activations[-1].reach == (0, 1)
    for row, (k, each) in enumerate(zip(shares.argmax(1).tolist(), shares.tolist(), strict=True), start=1):
        yield [row, fitted.classes[k], *(round(share, 6) for share in each if told)]

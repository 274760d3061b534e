"""The pictures of a run."""

import statistics
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # pictures go to files; no display is needed

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import ConfusionMatrixDisplay
from torch import Tensor

from bp_torch import Record

CELLS = 40  # classes of a confusion matrix that are all named, with a number in each cell


def curve(path: Path, records: Sequence[Record], title: str) -> None:
    """Cost and test accuracy by epoch, as a PNG."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(title)
    scored = records[-1].validation_accuracy is not None  # real-valued targets have no accuracy
    cost, *others = figure.subplots(1, 1 + scored, squeeze=False)[0]
    epochs = [record.epoch for record in records]
    cost.plot(epochs, [record.cost for record in records], ".-", label="training")
    cost.plot(epochs, [record.validation_cost for record in records], ".-", label="test")
    cost.set(xlabel="epoch", ylabel="cost C", yscale="log")
    cost.legend()
    for accuracy in others:
        shares = [100 * (record.validation_accuracy or 0) for record in records]
        accuracy.plot(epochs, shares, ".-", color="C1", label="test")
        accuracy.set(xlabel="epoch", ylabel="accuracy, %")
        accuracy.legend(loc="lower right")
    for axes in (cost, *others):
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.savefig(path, dpi=110)


def confusion(path: Path, labels: Tensor, predicted: Tensor, names: Sequence[str] | None = None) -> None:
    """How often each true class (rows) was taken for each class (columns), as a PNG.

    names: those of all classes; left out, the classes that occur are shown by number. Above 40 classes the cells have
    no numbers, and only some classes are named.
    """
    numbers = range(len(names)) if names is not None else sorted({*labels.tolist(), *predicted.tolist()})
    shown = [shortened(name) for name in names] if names is not None else [str(c) for c in numbers]
    count = len(shown)
    side = min(max(6.0, 0.33 * count), 13.0)
    figure = Figure(figsize=(side, 0.9 * side), layout="constrained")
    axes = figure.subplots()
    ConfusionMatrixDisplay.from_predictions(
        labels.cpu(),
        predicted.cpu(),
        labels=list(numbers),
        include_values=count <= CELLS,
        text_kw={"fontsize": 10 if count <= 12 else 7},
        ax=axes,
        cmap="Blues",
        colorbar=count > CELLS,
    )
    places = range(0, count, -(-count // CELLS))
    texts, size = [shown[place] for place in places], 10 if count <= 12 else 8
    upright = max(map(len, texts)) > 2
    axes.set_xticks(places, texts, parse_math=False, fontsize=size, rotation=90 if upright else 0)
    axes.set_yticks(places, texts, parse_math=False, fontsize=size)
    axes.set(xlabel="predicted", ylabel="true")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a script that the font lacks is shown as boxes
        figure.savefig(path, dpi=110, bbox_inches="tight")


def shortened(name: str, most: int = 18) -> str:
    """A name on one line, of at most so many letters."""
    line = " ".join(name.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def contenders(path: Path, shapes: list[dict[str, Any]]) -> None:
    """Bars of µs a step (median, with min and max), a panel for each shape; bp's own in another colour."""
    heights = [1 + 0.3 * len(found["rows"]) for found in shapes]
    figure = Figure(figsize=(9, sum(heights)), layout="constrained")
    panels = figure.subplots(len(shapes), squeeze=False, height_ratios=heights)
    for panel, found in zip(panels[:, 0], shapes, strict=True):
        rows = sorted((row for row in found["rows"] if row["times"]), key=lambda row: -statistics.median(row["times"]))
        medians = [statistics.median(row["times"]) for row in rows]
        names = [row["name"] + ("" if row["precision"] == "ieee" else f" {row['precision']}") for row in rows]
        colours = ["tab:blue" if name.startswith("bp ") else "tab:gray" for name in names]
        below = [median - min(row["times"]) for median, row in zip(medians, rows, strict=True)]
        above = [max(row["times"]) - median for median, row in zip(medians, rows, strict=True)]
        bars = panel.barh(names, medians, color=colours, xerr=[below, above])
        panel.bar_label(bars, [f" {median:,.0f}" for median in medians])
        panel.set_xscale("log")
        panel.margins(x=0.15)
        panel.set_title(f"{found['shape']}: {found['sizes']}, batch {found['batch_size']}", fontsize=10)
        panel.set_xlabel("µs a step")
    figure.savefig(path, dpi=100)


def growth(path: Path, found: dict[str, list[dict[str, Any]]]) -> None:
    """µs a step against the width of one hidden layer, and against the number of hidden layers of 256."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    labels = {"width": "width of the one hidden layer", "depth": "hidden layers of 256"}
    for panel, (kind, points) in zip(panels, found.items(), strict=True):
        across = [point["sizes"][1] if kind == "width" else len(point["sizes"]) - 2 for point in points]
        ours = [next(t for name, t in point["times"].items() if name.startswith("bp ")) for point in points]
        panel.plot(across, ours, "o-", label="bp, engine auto")
        for peer in [name for name in points[0]["times"] if not name.startswith("bp ")]:
            panel.plot(across, [point["times"][peer] for point in points], "s--", label=peer)
        panel.set_xscale("log", base=2)
        panel.set_yscale("log")
        panel.set_xlabel(labels[kind])
        panel.set_ylabel("µs a step, batch 32")
        panel.legend()
        panel.grid(alpha=0.3)
    figure.savefig(path, dpi=100)

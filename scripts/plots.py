"""The pictures of a run."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # pictures go to files; no display is needed

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import ConfusionMatrixDisplay
from torch import Tensor

from bp_torch import Record


def curve(path: Path, records: Sequence[Record], title: str) -> None:
    """Cost and test accuracy by epoch, as a PNG."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(title)
    cost, accuracy = figure.subplots(1, 2)
    epochs = [record.epoch for record in records]
    cost.plot(epochs, [record.cost for record in records], ".-", label="training")
    cost.plot(epochs, [record.validation_cost for record in records], ".-", label="test")
    cost.set(xlabel="epoch", ylabel="cost C", yscale="log")
    cost.legend()
    accuracy.plot(
        epochs, [100 * (record.validation_accuracy or 0) for record in records], ".-", color="C1", label="test"
    )
    accuracy.set(xlabel="epoch", ylabel="accuracy, %")
    accuracy.legend(loc="lower right")
    for axes in (cost, accuracy):
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.savefig(path, dpi=110)


def confusion(path: Path, labels: Tensor, predicted: Tensor) -> None:
    """How often each true class (rows) was taken for each class (columns), as a PNG."""
    figure = Figure(figsize=(6, 5.4), layout="constrained")
    axes = figure.subplots()
    ConfusionMatrixDisplay.from_predictions(labels.cpu(), predicted.cpu(), ax=axes, cmap="Blues", colorbar=False)
    axes.set(xlabel="predicted", ylabel="true")
    figure.savefig(path, dpi=110)

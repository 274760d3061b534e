"""The pictures of a run: cost, accuracy and learning rate by epoch, and the confusion matrix."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from bp_torch import drawing
from bp_torch.training.loop import Record

CELLS = 40  # classes of a confusion matrix that are all named, with a number in each cell


@drawing.plain_style()
def curve(path: Path, records: Sequence[Record], title: str, validation: str = "test") -> None:
    """Cost and accuracy by epoch, and the learning rate where it changes, as a PNG.

    The training cost is taken during an epoch, with and without a penalty; that of the validation, which is called so
    here, after it.
    """
    from matplotlib.ticker import MaxNLocator

    scored = records[-1].validation_accuracy is not None  # real-valued targets have no accuracy
    scheduled = len({record.lr for record in records}) > 1
    panels = 1 + scored + scheduled
    figure = drawing.figure(max(9, 4.5 * panels), 3.6)
    figure.suptitle(title)
    cost, *others = figure.subplots(1, panels, squeeze=False)[0]
    epochs, after = [record.epoch for record in records], f"{validation}, after the epoch"
    cost.plot(epochs, [record.cost for record in records], ".-", label="training, during the epoch")
    if any(record.penalty for record in records):
        without = [record.data_cost for record in records]
        cost.plot(epochs, without, ".--", color="C0", label="the same without the penalty")
    cost.plot(epochs, [record.validation_cost for record in records], ".-", color="C1", label=after)
    cost.set(xlabel="epoch", ylabel="cost C", yscale="log")
    cost.legend()
    if scored:
        shares = [100 * (record.validation_accuracy or 0) for record in records]
        others[0].plot(epochs, shares, ".-", color="C1", label=after)
        others[0].set(xlabel="epoch", ylabel="accuracy, %")
        others[0].legend(loc="lower right")
    if scheduled:
        rates = [math.nan if record.lr is None else record.lr for record in records]
        others[-1].plot(epochs, rates, ".-", color="C2")
        others[-1].set(xlabel="epoch", ylabel="learning rate η", ylim=(0, None))
    for axes in (cost, *others):
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.savefig(path, dpi=110)


@drawing.plain_style()
def confusion(path: Path, labels: Tensor, predicted: Tensor, names: Sequence[str] | None = None) -> None:
    """How often each true class (rows) was taken for each class (columns), as a PNG.

    names: those of all classes; left out, the classes that occur are shown by number. Above 40 classes the cells have
    no numbers, and only some classes are named.
    """
    from sklearn.metrics import ConfusionMatrixDisplay

    numbers = range(len(names)) if names is not None else sorted({*labels.tolist(), *predicted.tolist()})
    texts_of_classes = [shortened(name) for name in names] if names is not None else [str(c) for c in numbers]
    count = len(texts_of_classes)
    side = min(max(6.0, 0.33 * count), 13.0)
    figure = drawing.figure(side, 0.9 * side)
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
    texts, size = [texts_of_classes[place] for place in places], 10 if count <= 12 else 8
    upright = max(map(len, texts)) > 2
    axes.set_xticks(places, texts, parse_math=False, fontsize=size, rotation=90 if upright else 0)
    axes.set_yticks(places, texts, parse_math=False, fontsize=size)
    axes.set(xlabel="predicted", ylabel="true")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a script that the font lacks appears as boxes
        figure.savefig(path, dpi=110, bbox_inches="tight")


def shortened(name: str, most: int = 18) -> str:
    """A name on one line, of at most so many letters."""
    line = " ".join(name.split())
    return line if len(line) <= most else line[: most - 1] + "…"

"""The result of an experiment, and its picture, drawn from the numbers that its JSON file holds."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter
from torch import Tensor

from bp_torch import drawing

DPI = 100
BLUE, ORANGE, GREEN, RED, PURPLE = COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7")
"""Told apart by the colour-blind too: M. Okabe and K. Ito, "Color Universal Design" (2008)."""
MARKERS = ("o", "s", "^", "D", "v")


class Result(NamedTuple):
    """The result of an experiment: its numbers, for JSON; its picture; and a sentence or two."""

    numbers: dict[str, Any]
    picture: Figure
    summary: str


def _figure(title: str, width: float, height: float) -> Figure:
    figure = drawing.figure(width, height)
    figure.suptitle(title, fontsize=12)
    return figure


def _ticked(axis: Any) -> None:
    """A log axis over many decades: a mark each second one, and none between."""
    axis.set_major_locator(LogLocator(base=100, numticks=20))
    axis.set_minor_formatter(NullFormatter())


def speed_of_backprop(numbers: dict[str, Any]) -> Figure:
    """Seconds against weights: forward, forward and backward, and a difference for every weight."""
    figure = _figure(
        "A backward pass gives all partial derivatives for the price of one to three forward passes", 10, 4.4
    )
    panel, ratio = figure.subplots(1, 2, width_ratios=[1.5, 1])
    rows = numbers["rows"]
    weights = [row["weights"] for row in rows]
    panel.plot(weights, [row["differences"] for row in rows], ":", color=RED)
    for extrapolated, face, label in (
        (True, "none", "differences, extrapolated from some of the weights"),
        (False, RED, "differences, one forward pass a weight"),
    ):
        drawn = [(row["weights"], row["differences"]) for row in rows if row["extrapolated"] == extrapolated]
        panel.plot([w for w, _ in drawn], [d for _, d in drawn], "s", color=RED, markerfacecolor=face, label=label)
    panel.plot(weights, [row["both"] for row in rows], "^-", color=BLUE, label="forward and backward pass")
    panel.plot(weights, [row["forward"] for row in rows], "o-", color=ORANGE, label="forward pass")
    for seconds, name in ((1, "1 s"), (3600, "1 hour"), (86400, "1 day")):
        panel.axhline(seconds, color="0.85", linewidth=0.8, zorder=0)
        panel.annotate(name, (weights[0], seconds), color="0.45", fontsize=8, va="bottom")
    panel.set(xlabel="weights", ylabel="time for all ∂C/∂w, s", xscale="log", yscale="log")
    panel.set_ylim(top=panel.get_ylim()[1] * 1e5)
    panel.legend(fontsize=9, loc="upper left")
    _ticked(panel.yaxis)
    ratio.plot(weights, [row["backward_to_forward"] for row in rows], "^-", color=BLUE)
    ratio.set(xlabel="weights", ylabel="backward pass / forward pass", xscale="log", ylim=(0, None))
    ratio.grid(alpha=0.3)
    return figure


def big_picture(numbers: dict[str, Any]) -> Figure:
    """Predicted and true ΔC; their relative difference in two dtypes; path sums against gradients."""
    figure = _figure("ΔC ≈ (∂C/∂w) Δw, and ∂C/∂w is a sum over paths", 12, 4.2)
    change, error, paths = figure.subplots(1, 3)
    steps, one = numbers["steps"], numbers["one_weight"]
    for (name, values), colour, marker in zip(one.items(), (ORANGE, BLUE), ("o", "s"), strict=True):
        moved = [(step, abs(true)) for step, true in zip(steps, values["true"], strict=True) if true]
        change.plot(*zip(*moved, strict=True), marker, color=colour, markersize=4, label=f"true, {name}")
        rows = numbers["relative_errors_10_50_90_percent"][name]
        low, median, high = zip(*rows, strict=True)
        error.plot(steps, median, f"{marker}-", color=colour, markersize=3.5, label=name)
        error.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
    predicted = [abs(value) for value in one["float64"]["predicted"]]
    change.plot(steps, predicted, "-", color="black", linewidth=1, label="predicted")
    change.set(xlabel="Δw", ylabel="|ΔC|, of one weight", xscale="log", yscale="log", title="The change itself")
    error.set(xlabel="Δw", ylabel="|true − predicted| / |predicted|", xscale="log", yscale="log")
    error.set_title("Its error: median and 10 to 90 % of all weights", fontsize=10)
    error.axhline(1, color="0.7", linewidth=0.8)
    for panel in (change, error):
        panel.invert_xaxis()
        panel.legend(fontsize=9)
        panel.grid(alpha=0.3)
        _ticked(panel.xaxis)
        _ticked(panel.yaxis)
    gradients, sums = numbers["gradients"], numbers["path_sums"]
    ends = [min(gradients), max(gradients)]
    paths.plot(ends, ends, "-", color="0.6", linewidth=1)
    paths.plot(gradients, sums, "o", color=GREEN, markersize=4)
    paths.set(xlabel="∂C/∂w and ∂C/∂b by backpropagation", ylabel="sum over all paths")
    paths.set_title(f"Paths: they differ by {numbers['path_sums_relative_error']:.0e}", fontsize=10)
    paths.grid(alpha=0.3)
    change.title.set_fontsize(10)
    return figure


def slow_learning(numbers: dict[str, Any]) -> Figure:
    """The mean |∂C_x/∂w| of weights by their input and their neuron's σ′, a panel a layer."""
    figure = _figure("A weight learns slowly from an inactive input, and in a saturated neuron", 10, 4.6)
    panels = figure.subplots(1, len(numbers["layers"]), squeeze=False)[0]
    titles = ("hidden layer: from pixels", "output layer: from hidden neurons")
    for panel, layer, title in zip(panels, numbers["layers"], titles, strict=True):
        cells = list(zip(*layer["mean_slope"], strict=True))
        positive = [v for row in cells for v in row if v > 0]
        norm = LogNorm(min(positive), max(positive))
        mesh = panel.pcolormesh(layer["inputs"], layer["primes"], cells, norm=norm, cmap="cividis")
        figure.colorbar(mesh, ax=panel, label="mean |∂C/∂w| of an example")
        panel.set(xlabel="activation that enters the weight, a_in", ylabel="σ′(z) of the neuron it leads to")
        panel.set_title(title, fontsize=10)
    return figure


def vanishing(numbers: dict[str, Any]) -> Figure:
    """‖δˡ‖ by hidden layer: before training beside the book's, and by epoch; a column for each depth."""
    figure = _figure(
        "The earlier a hidden layer, the smaller its error: before training by the mean, and later for single examples",
        13,
        8.5,
    )
    rows = numbers["rows"]
    panels = figure.subplots(3, len(rows), sharey="row", squeeze=False)
    for (initial, of_mean, of_examples), row in zip(panels.T, rows, strict=True):
        depth = row["hidden_layers"]
        layers = list(range(1, depth + 1))
        for l, median, (low, high) in zip(layers, row["initial_median"], row["initial_range"], strict=True):
            bar = [[median - low], [high - median]]
            initial.errorbar(l, median, bar, fmt=MARKERS[l - 1], color=COLOURS[l - 1], ecolor="0.6", capsize=3)
        if row["initial_book"]:
            initial.scatter(layers, row["initial_book"], marker="x", color="black", s=50, zorder=5)
        initial.set(yscale="log", xlabel="hidden layer", xticks=layers, xlim=(0.5, 5.5))
        initial.set_title(f"{depth} hidden layer{'s' if depth > 1 else ''}", fontsize=10)
        for panel, kind in ((of_mean, "by_epoch"), (of_examples, "by_epoch_of_examples")):
            for l, norms in enumerate(zip(*row[kind], strict=True)):
                panel.plot(norms, color=COLOURS[l], marker=MARKERS[l], markevery=(l * 10, 100), markersize=4)
            panel.set(yscale="log", xlabel="epoch")
        for panel in (initial, of_mean, of_examples):
            panel.grid(alpha=0.3)
    panels[0, 0].set_ylabel("‖mean δ‖ before training")
    panels[1, 0].set_ylabel("‖mean δ‖ in training")
    panels[2, 0].set_ylabel("mean ‖δ‖ of an example in training")
    keys = [
        Line2D([], [], color=colour, marker=marker, label=f"hidden layer {l}")
        for l, (colour, marker) in enumerate(zip(COLOURS, MARKERS, strict=True), start=1)
    ]
    keys.append(Line2D([], [], color="0.6", marker="_", label=f"range of {numbers['networks']} networks"))
    if any(row["initial_book"] for row in rows):
        keys.append(Line2D([], [], color="black", marker="x", linestyle="none", label="the book's figures"))
    figure.legend(handles=keys, loc="outside lower center", ncols=7, fontsize=9)
    return figure


def saturation(numbers: dict[str, Any]) -> Figure:
    """Cost, output and ∂C/∂w of the neuron by epoch, from both starts; a row for each cost."""
    figure = _figure(
        "From a saturated start (solid), w learns slowly at first by the quadratic cost, fastest at first by the "
        "cross-entropy",
        12,
        6,
    )
    panels = figure.subplots(2, 3, sharex=True)
    costs = {"quadratic": "quadratic cost", "binary_cross_entropy": "cross-entropy"}
    labels = {"costs": "cost C", "outputs": "output a (wanted: 0)", "slopes": "∂C/∂w: how fast w learns"}
    for i, curve in enumerate(numbers["curves"]):
        w, b = curve["start"]
        for panel, (kind, label) in zip(panels[i // 2], labels.items(), strict=True):
            panel.plot(curve[kind], ("--", "-")[i % 2], color=(BLUE, RED)[i % 2], label=f"w = {w:g}, b = {b:g}")
            panel.set_ylabel(label)
            panel.set_title(f"{costs[curve['cost']]}, η = {curve['lr']:g}", fontsize=10)
    for panel in panels.flat:
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    lines, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(lines, [f"from {name}" for name in names], loc="outside lower center", ncols=2)
    for panel in panels[1]:
        panel.set_xlabel("epoch")
    return figure


def feedback(numbers: dict[str, Any]) -> Figure:
    """Test accuracy by epoch of each rule, and the angle between its errors and BP2's by hidden layer."""
    figure = _figure("Random matrices in the place of BP2's wᵀ: the network learns to make them useful", 11, 4.4)
    accuracy, angle = figure.subplots(1, 2)
    for run, colour, marker in zip(numbers["runs"], (BLUE, ORANGE, GREEN), MARKERS, strict=False):
        accuracy.plot(
            run["epochs"][1:],
            [100 * a for a in run["accuracy"][1:]],
            f"{marker}-",
            color=colour,
            markersize=3.5,
            label=run["rule"],
        )
        for l, angles in enumerate(zip(*run["angles"], strict=True)):
            angle.plot(
                run["epochs"],
                angles,
                f"{marker}{('-', '--')[l]}",
                color=colour,
                markersize=3.5,
                label=f"{run['rule']}, hidden layer {l + 1}",
            )
    angle.axhline(90, color="black", linewidth=0.8)
    angle.annotate("90°: no relation", (numbers["runs"][0]["epochs"][-1], 90), ha="right", va="bottom", fontsize=9)
    angle.set(xlabel="epoch", ylabel="angle to backpropagation's δ, degrees", ylim=(0, 100))
    accuracy.set(xlabel="epoch", ylabel="test accuracy, %")
    accuracy.legend(fontsize=9, loc="lower right")
    angle.legend(fontsize=9, loc="lower left")
    for panel in (accuracy, angle):
        panel.grid(alpha=0.3)
    return figure


def mislabelled(numbers: dict[str, Any], images: Tensor) -> Figure:
    """The images (m, pixels) with their label, and what the network reads."""
    side = math.isqrt(images.shape[1])
    figure = _figure("The training images with the largest gradient norms: label, and what the network reads", 11, 7)
    panels: Sequence[Axes] = list(figure.subplots(5, math.ceil(len(images) / 5), squeeze=False).flat)
    for panel in panels:
        panel.axis("off")
    for panel, image, row in zip(panels, images, numbers["images"], strict=False):
        panel.imshow(image.view(side, side).numpy(), cmap="gray_r", vmin=0, vmax=1)
        panel.set_title(f"label {row['label']}, read {row['read']}\nnorm {row['norm']:.0f}", fontsize=9)
    return figure

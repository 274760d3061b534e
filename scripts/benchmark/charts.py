"""The benchmark's charts."""

import statistics
from itertools import zip_longest
from pathlib import Path
from typing import Any

from bp_torch import drawing

COLUMNS = 2  # of panels


@drawing.plain_style()
def contenders(path: Path, shapes: list[dict[str, Any]]) -> None:
    """µs a step on a log axis, a panel a shape: a dot at the median, a line from min to max; bp's own in blue."""
    lines = [shapes[i : i + COLUMNS] for i in range(0, len(shapes), COLUMNS)]
    heights = [1 + 0.26 * max(len(shape["rows"]) for shape in line) for line in lines]
    figure = drawing.figure(7 * min(COLUMNS, len(shapes)), sum(heights))
    panels = figure.subplots(len(lines), min(COLUMNS, len(shapes)), squeeze=False, height_ratios=heights)
    for panel, shape in zip_longest(panels.flat, shapes):
        if shape is None:
            panel.axis("off")
            continue
        rows = sorted((row for row in shape["rows"] if row["times"]), key=lambda row: -statistics.median(row["times"]))
        for height, row in enumerate(rows):
            median = statistics.median(row["times"])
            colour = "tab:blue" if row["name"].startswith("bp ") else "tab:gray"
            panel.plot([min(row["times"]), max(row["times"])], [height, height], "-", color=colour, linewidth=2)
            panel.plot(median, height, "o", color=colour)
            figure_of = f"  {median:,.{0 if median >= 100 else 1}f}"
            panel.annotate(figure_of, (max(row["times"]), height), va="center", fontsize=9)
        names = [row["name"] + ("" if row["precision"] == "dtype" else f" {row['precision']}") for row in rows]
        panel.set_yticks(range(len(rows)), names)
        panel.set_ylim(-0.7, len(rows) - 0.3)
        panel.set_xscale("log")
        panel.margins(x=0.1)
        panel.grid(axis="x", which="both", alpha=0.3)
        title = f"{_network(shape)}, batch {shape['batch_size']}, {_threads(shape)}, {RULES[shape['optimizer']]}"
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("µs a step, log scale")
    figure.savefig(path, dpi=100)


def _network(shape: dict[str, Any]) -> str:
    return "-".join(map(str, shape["sizes"]))


def _threads(shape: dict[str, Any]) -> str:
    return f"{shape['threads']} thread{'s' if shape['threads'] > 1 else ''}"


PEERS = {
    "JAX jit + scan": "o",
    "torch.compile of the step": "s",
    "NumPy": "^",
    "torch autograd": "D",
    "scikit-learn": "v",
}
RULES = {"sgd": "plain SGD", "adam": "Adam"}


@drawing.plain_style()
def ratios(path: Path, machines: list[dict[str, Any]]) -> None:
    """Each peer's time over that of bp's fastest row, float32; right of 1, bp is faster.

    A line of panels for each machine, and in it one for each update rule that was timed there.
    """
    lines = [[[s for s in m["shapes"] if s["optimizer"] == rule] for rule in RULES] for m in machines]
    heights = [0.9 + 0.42 * max(map(len, line)) for line in lines]
    figure = drawing.figure(10, sum(heights) + 0.4)
    panels = figure.subplots(len(lines), len(RULES), squeeze=False, sharex=True, height_ratios=heights)
    for of_machine, machine, line in zip(panels, machines, lines, strict=True):
        for panel, rule, shapes in zip(of_machine, RULES.values(), line, strict=True):
            if shapes:
                _panel(panel, shapes)
                panel.set_title(f"{rule}: {machine['machine'].split(';')[0]}", fontsize=9)
            else:
                panel.axis("off")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(PEERS), fontsize=9)
    figure.savefig(path, dpi=100)


def _panel(panel: Any, shapes: list[dict[str, Any]]) -> None:
    """The ratios of some shapes, one below the other."""
    for height, shape in enumerate(reversed(shapes)):
        medians = {
            row["name"]: statistics.median(row["times"])
            for row in shape["rows"]
            if row["times"] and row["precision"] == "dtype"
        }
        ours = min(t for name, t in medians.items() if name.startswith("bp ") and name != "bp native on random numbers")
        for colour, (name, marker) in enumerate(PEERS.items()):
            if name in medians:
                panel.plot(
                    medians[name] / ours, height, marker, color=f"C{colour}", label=name if height == 0 else None
                )
    names = [f"{_network(shape)}\nbatch {shape['batch_size']:,}, {_threads(shape)}" for shape in shapes]
    panel.set_yticks(range(len(names)), reversed(names), fontsize=7.5)
    panel.set_ylim(-0.5, len(names) - 0.5)
    panel.axvline(1, color="black", linewidth=0.8)
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter("{x:g} ×")
    panel.tick_params(labelbottom=True)
    panel.grid(axis="x", which="both", alpha=0.3)
    panel.set_xlabel("time of a step over bp's", fontsize=9)


@drawing.plain_style()
def growth(path: Path, results: dict[str, list[dict[str, Any]]]) -> None:
    """µs a step against the width of one hidden layer, and against the number of hidden layers of 256."""
    figure = drawing.figure(10, 4)
    panels = figure.subplots(1, 2)
    labels = {"width": "width of the one hidden layer", "depth": "hidden layers of 256"}
    for panel, (kind, points) in zip(panels, results.items(), strict=True):
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

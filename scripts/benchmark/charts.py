"""The benchmark's charts."""

import statistics
from pathlib import Path
from typing import Any

from bp_torch import drawing


@drawing.plain_style()
def contenders(path: Path, shapes: list[dict[str, Any]]) -> None:
    """µs a step on a log axis, a panel a shape: a dot at the median, a line from min to max; bp's own in blue."""
    heights = [1 + 0.26 * len(shape["rows"]) for shape in shapes]
    figure = drawing.figure(9, sum(heights))
    panels = figure.subplots(len(shapes), squeeze=False, height_ratios=heights)
    for panel, shape in zip(panels[:, 0], shapes, strict=True):
        rows = sorted((row for row in shape["rows"] if row["times"]), key=lambda row: -statistics.median(row["times"]))
        for height, row in enumerate(rows):
            median = statistics.median(row["times"])
            colour = "tab:blue" if row["name"].startswith("bp ") else "tab:gray"
            panel.plot([min(row["times"]), max(row["times"])], [height, height], "-", color=colour, linewidth=2)
            panel.plot(median, height, "o", color=colour)
            panel.annotate(f"  {median:,.0f}", (max(row["times"]), height), va="center", fontsize=9)
        names = [row["name"] + ("" if row["precision"] == "dtype" else f" {row['precision']}") for row in rows]
        panel.set_yticks(range(len(rows)), names)
        panel.set_ylim(-0.7, len(rows) - 0.3)
        panel.set_xscale("log")
        panel.margins(x=0.1)
        panel.grid(axis="x", which="both", alpha=0.3)
        panel.set_title(f"{shape['shape']}: {shape['sizes']}, batch {shape['batch_size']}", fontsize=10)
        panel.set_xlabel("µs a step, log scale")
    figure.savefig(path, dpi=100)


PEERS = {
    "JAX jit + scan": "o",
    "torch.compile of the step": "s",
    "NumPy": "^",
    "torch autograd": "D",
    "scikit-learn": "v",
}


@drawing.plain_style()
def ratios(path: Path, machines: list[dict[str, Any]]) -> None:
    """Each peer's time over that of bp's fastest row, float32, a panel a machine; right of 1, bp is faster."""
    figure = drawing.figure(10, 3.4)
    panels = figure.subplots(1, len(machines), squeeze=False, sharex=True, sharey=True)[0]
    for panel, machine in zip(panels, machines, strict=True):
        for height, shape in enumerate(reversed(machine["shapes"])):
            medians = {
                row["name"]: statistics.median(row["times"])
                for row in shape["rows"]
                if row["times"] and row["precision"] == "dtype"
            }
            ours = min(median for name, median in medians.items() if name.startswith("bp "))
            for colour, (name, marker) in enumerate(PEERS.items()):
                if name in medians:
                    label = name if height == 0 else None
                    panel.plot(medians[name] / ours, height, marker, color=f"C{colour}", label=label)
        names = [f"{'-'.join(map(str, shape['sizes']))}\nbatch {shape['batch_size']}" for shape in machine["shapes"]]
        panel.set_yticks(range(len(names)), reversed(names), fontsize=8)
        panel.set_ylim(-0.5, len(names) - 0.5)
        panel.axvline(1, color="black", linewidth=0.8)
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter("{x:g} ×")
        panel.grid(axis="x", which="both", alpha=0.3)
        panel.set_title(machine["machine"].split(";")[0], fontsize=9)
        panel.set_xlabel("time of a step over bp's", fontsize=9)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(PEERS), fontsize=9)
    figure.savefig(path, dpi=100)


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

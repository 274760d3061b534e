"""The benchmark's results as Markdown."""

import json
import statistics
from pathlib import Path
from typing import Any

import charts
import gradient_norms
import measure
import memory

CLASSES = {"dtype": "float32", "tf32": "tf32", "bf16": "bf16"}


def table(results: dict[str, Any]) -> str:
    """A shape's rows as Markdown: times, the ratio to bp's best of the class, the share of the rate of products."""
    threads = results["threads"] if results["device"] == "cpu" else 1
    lines = [
        f"### {results['shape']}: {'-'.join(map(str, results['sizes']))}, batch {results['batch_size']}, "
        f"{threads} {'threads' if threads > 1 else 'thread'}",
        "",
        f'{words(results)}. `engine="auto"` takes {results["auto"]}.{_density(results.get("density"))}',
        "",
        "| contender | class | µs a step: median | min | max | × bp's best | share of the products' rate | setup, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(results["rows"], key=lambda row: (row["precision"], _median(row))):
        if not row["times"]:
            lines.append(
                f"| {row['name']} | {CLASSES[row['precision']]} | {row['left_out']} | | | | | {row['setup']:.1f} |"
            )
            continue
        best = min(_median(r) for r in results["rows"] if r["precision"] == row["precision"] and r["name"][:2] == "bp")
        rate = statistics.median(results["rates"][row["precision"]])
        share = results["operations"] / (rate * _median(row) * 1e-6)
        lines.append(
            f"| {row['name']} | {CLASSES[row['precision']]} | {_median(row):,.1f} | {min(row['times']):,.1f} | "
            f"{max(row['times']):,.1f} | {_median(row) / best:.2f} | {share:.0%} | {row['setup']:.1f} |"
        )
    if results["device"] != "cpu":
        epochs = {
            f"{row['name']} {CLASSES[row['precision']]}": _median(row) * 60 / results["batch_size"]
            for row in results["rows"]
        }
        lines += ["", "An epoch of 60,000, ms: " + ", ".join(f"{k} {ms:,.1f}" for k, ms in epochs.items() if ms < 1e9)]
    rates = ", ".join(f"{CLASSES[p]}: {statistics.median(r) / 1e9:,.0f} GFLOP/s" for p, r in results["rates"].items())
    lines += ["", f"Products of large square matrices in the same run, {rates}."]
    if results["shuffling"]:
        lines[-1] += f" Shuffling: {statistics.median(results['shuffling']):,.1f} µs a step."
    return "\n".join([*lines, ""])


def _density(density: dict[str, float] | None) -> str:
    """Of MNIST's digits: how many inputs are not 0."""
    if density is None:
        return " x: random numbers."
    one, *several = density
    of_several = ", ".join(f"{n} examples together: {density[n]:.0%}" for n in several)
    return f" x: MNIST's digits, of whose inputs {density[one]:.0%} are not 0 (of {of_several})."


def words(shape: dict[str, Any]) -> str:
    """The activations, the cost and the update rule of a shape."""
    activations = " and ".join(dict.fromkeys([shape["hidden"], shape["output"]]))
    return f"{charts.RULES[shape['optimizer']]}, {activations}, {shape['cost'].replace('_', ' ')}"


def _median(row: dict[str, Any]) -> float:
    return statistics.median(row["times"]) if row["times"] else float("inf")


def memory_table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "### Memory of a step: " + "-".join(map(str, measure.CIRESAN)),
        "",
        "| batch | contender | peak beyond parameters and data, MB |",
        "|---|---|---|",
    ]
    lines += [f"| {row['batch_size']} | {row['name']} | {row['bytes'] / 1e6:,.1f} |" for row in rows]
    return "\n".join([*lines, ""])


def adam_memory_table(rows: list[dict[str, Any]]) -> str:
    parameters = rows[0]["parameters"] / 1e6
    lines = [
        f"### Memory of a step by Adam: {'-'.join(map(str, memory.ADAM.sizes))}, batch {rows[0]['batch_size']}",
        "",
        "| contender | peak beyond parameters, moments and data, MB | over the parameters |",
        "|---|---|---|",
    ]
    lines += [
        f"| {row['name']} | {row['bytes'] / 1e6:,.0f} | {row['bytes'] / row['parameters']:.2f} |"
        for row in sorted(rows, key=lambda row: row["bytes"])
    ]
    lines += [
        "",
        f"The parameters take {parameters:,.0f} MB, as a whole gradient would, and the moments twice as much. Each",
        "contender has a process to itself, in which it has run once before: the most that lay in memory (VmHWM) while",
        f"it was set up and took {memory.STEPS} steps, less what lay there before and its own parameters and moments.",
    ]
    return "\n".join([*lines, ""])


def per_example_table(results: dict[str, Any]) -> str:
    """Times and memory of all gradient norms, and how they depend on the chunk."""
    ours = results["rows"][0]
    lines = [
        f"### The norm of each example's own gradient: {'-'.join(map(str, results['sizes']))}, "
        f"{results['examples']:,} examples" + (f", {results['threads']} threads" if results["device"] == "cpu" else ""),
        "",
        "| contender | chunk | s: median | min | max | × bp | peak beyond parameters and data, MB | × bp | setup, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(results["rows"], key=_median):
        if not row["times"]:
            lines.append(f"| {row['name']} | | {row['left_out']} | | | | | | |")
            continue
        lines.append(
            f"| {row['name']} | {row['chunk'] or ''} | {_median(row):,.3f} | {min(row['times']):,.3f} | "
            f"{max(row['times']):,.3f} | {_median(row) / _median(ours):,.1f} | {row['bytes'] / 1e6:,.2f} | "
            f"{row['bytes'] / ours['bytes']:,.1f} | {row['setup']:.1f} |"
        )
    lines += [
        "",
        "Each chunk (the examples whose gradients are held at a time) is the fastest of those below, which were timed",
        f"on {gradient_norms.TUNED_ON:,} examples. Loops are timed on {gradient_norms.SAMPLE}. Both are scaled to all.",
        "",
        "| contender | chunk | s | peak, MB |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {c['name']} | {c['chunk']} | {c['seconds']:,.3f} | {c['bytes'] / 1e6:,.2f} |" for c in results["chunks"]
    ]
    return "\n".join([*lines, ""])


def report(out: Path) -> str:
    """benchmarks/README.md, from the JSON files that lie beside it."""
    parts = [
        "# Benchmarks",
        "",
        "Written by `python scripts/benchmark`, whose rules stand at its head. All contenders take the same steps",
        "from the same weights, in turns. Only scikit-learn can't always: its cost is the cross-entropy where ours is",
        "quadratic with sigmoid outputs, and two classes have one output; there its weights are not compared.",
        "plain SGD by bp: what the rule costs, by the same network trained without it. bp native on random numbers:",
        "the same network on inputs of which none is 0; native passes over those of digits that are. The columns:",
        "",
        "- class: what products are computed in. The weights are float32 in each class.",
        "- µs a step: the time of an epoch over its steps, shuffling and gathering included; median, least and most.",
        "- × bp's best: the median over that of bp's fastest row of the class. 2.00: bp takes half as long.",
        "- share of the products' rate: the operations of a step's matrix products a second, over those of torch's",
        "  own product of two 2048 × 2048 matrices (8192 on a GPU) on as many threads in the same run. Above 100 %,",
        "  a step's products run faster than that one.",
        "- setup: seconds to build, compile and warm up.",
        "",
        "Pages of their own: [sparse x](text.md), [scikit-learn's estimators](estimators.md) and",
        "[beside busy processes](load.md).",
        "",
        "The chart has the times of the peers over that of bp's fastest row, float32. Right of the line, bp is faster.",
        "",
        "![Times of the peers over those of bp](speed.png)",
        "",
    ]
    for path in [*sorted(out.glob("cpu*.json")), out / "cuda.json"]:
        if not path.exists():
            parts += [f"## {path.stem}", "", "Not yet measured.", ""]
            continue
        results = json.loads(path.read_text(encoding="utf-8"))
        parts += [f"## {path.stem}", "", f"{results['machine']}.", f"`{results['command']}`", ""]
        parts += [f"![Contenders]({path.stem}.png)", "", *(table(each) for each in results["shapes"])]
        if "memory" in results:
            parts.append(memory_table(results["memory"]))
        if "adam_memory" in results:
            parts.append(adam_memory_table(results["adam_memory"]))
    if (out / "growth.png").exists():
        parts += ["## How the cost grows", "", "`python scripts/benchmark --growth`", "", "![Growth](growth.png)"]
    if (out / "per_example.json").exists():
        per_example = json.loads((out / "per_example.json").read_text(encoding="utf-8"))
        parts += [
            "",
            "## Per example",
            "",
            f"{per_example['machine']}.",
            f"`{per_example['command']}`",
            "",
            per_example_table(per_example),
        ]
    return "\n".join(parts).rstrip() + "\n"

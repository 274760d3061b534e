"""Times an epoch of training by bp_torch and by its peers, and writes a table, JSON and a chart.

All contenders start from the same weights and see the same batches in the same order, and their weights must agree with
a float64 run before any is timed. They take turns, so that drift hits all alike. An epoch includes its shuffle and the
gathering of its batches; compiling, capturing and evaluation are left out. On a CPU the figures are ratios of one run.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import common
import gradient_norms
import measure
import plots
import torch

from bp_torch import checks

EXAMPLE = """examples:
  python scripts/benchmark.py                        # the CPU's shapes, in less than 10 minutes: make benchmark
  python scripts/benchmark.py --shape book --threads 2
  python scripts/benchmark.py --shape cuda --device cuda
"""
SETS = {
    "cpu": ["book", "book100", "medium", "ciresan"],
    "cuda": ["book", "medium", "ciresan", "wide"],
    "all": list(measure.SHAPES),
}
CLASSES = {"ieee": "float32 (IEEE)", "tf32": "tf32 products", "bf16": "bf16 products, float32 weights"}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = [*SETS, *measure.SHAPES]
    parser.add_argument("--shape", nargs="+", metavar="NAME", help=f"{', '.join(known)} (default: the device's set)")
    parser.add_argument("--device", default="cpu", help="cpu (the default), cuda or cuda:N")
    parser.add_argument("--threads", type=int, help="of the CPU (default: 1 for the book's networks, else all)")
    parser.add_argument("--repeats", type=int, default=7, help="epochs timed of each contender (default: 7)")
    parser.add_argument("--steps", type=int, help="in a timed epoch (default: by shape)")
    parser.add_argument("--memory", action="store_true", help="also the peak memory of a step, against autograd")
    parser.add_argument("--growth", action="store_true", help="only: how the time of a step grows with width and depth")
    parser.add_argument("--per-example", action="store_true", help="only: the norm of each example's own gradient")
    parser.add_argument("--out", default="benchmarks", metavar="DIR", help="where the results go (default: benchmarks)")
    parser.add_argument("--part", help=argparse.SUPPRESS)  # this process measures one part, and prints JSON
    return parser.parse_args()


def main() -> int:
    options = parse()
    checks.whole("--repeats", options.repeats, 1)
    for name in ("threads", "steps"):
        if getattr(options, name) is not None:
            checks.whole(f"--{name}", getattr(options, name), 1)
    if options.part:
        print(json.dumps(_part(options)))
        return 0
    device = checks.available_device(options.device).type
    shapes = [shape for name in options.shape or [device] for shape in _named(name)]
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    if options.growth:
        found = _measured("growth", options, 0)
        (out / "growth.json").write_text(json.dumps(found, indent=1) + "\n")
        plots.growth(out / "growth.png", found)
        (out / "README.md").write_text(report(out))
        print(f"The growth is in {out / 'growth.png'} and growth.json.")
        return 0
    origin = {
        "machine": _machine(options.device),
        "command": " ".join(["python", "scripts/benchmark.py", *sys.argv[1:]]),
    }
    if options.per_example:
        found = _measured("per-example", options, options.threads or 0)
        (out / "per_example.json").write_text(json.dumps({**origin, **found}, indent=1) + "\n")
        (out / "README.md").write_text(report(out))
        print(per_example_table(found))
        return 0
    results: dict[str, Any] = {**origin, "shapes": []}
    for shape in shapes:
        found = _measured(shape, options, options.threads or measure.SHAPES[shape].threads)
        results["shapes"].append(found)
        print(table(found), flush=True)
    if options.memory:
        results["memory"] = _measured("memory", options, 0)
        print(memory_table(results["memory"]))
    (out / f"{device}.json").write_text(json.dumps(results, indent=1) + "\n")
    plots.contenders(out / f"{device}.png", results["shapes"])
    (out / "README.md").write_text(report(out))
    print(f"The results are in {out}: {device}.json, {device}.png, README.md.")
    return 0


def _named(name: str) -> list[str]:
    known = {**SETS, **{shape: [shape] for shape in measure.SHAPES}}
    return known[checks.one_of("shape", name, known)]


def _measured(part: str, options: argparse.Namespace, threads: int) -> Any:
    """What a process of its own measures: its numbers of threads have to be set before NumPy, torch and JAX start."""
    cores = sorted(os.sched_getaffinity(0))
    threads = min(threads or len(cores), len(cores))
    environment = {
        **os.environ,
        **{f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS")},
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    command = [sys.executable, __file__, "--part", part, "--device", options.device, "--repeats", str(options.repeats)]
    command += ["--threads", str(threads)]
    command += ["--steps", str(options.steps)] if options.steps else []
    print(f"{part}, {threads} threads ...", file=sys.stderr, flush=True)
    done = subprocess.run(  # noqa: S603 (this very script)
        command,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ValueError(f"{part} could not be measured: see above")
    return json.loads(done.stdout.splitlines()[-1])


def _part(options: argparse.Namespace) -> Any:
    if options.device == "cpu":  # JAX asks the system how many cores there are
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    if options.part == "growth":
        return measure.growth()
    if options.part == "per-example":
        return gradient_norms.time_norms(options.device, options.repeats)
    if options.part == "memory":
        return measure.memory(options.device)
    return measure.time_shape(options.part, options.device, options.repeats, options.steps)


def _machine(device: str) -> str:
    """The device and the versions, in words."""
    if torch.device(device).type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        name = fields.get("model name\t", platform.processor()).strip()
        name += f", {torch.backends.cpu.get_cpu_capability()}, {len(os.sched_getaffinity(0))} cores"
    return f"{name}; Python {platform.python_version()}, torch {torch.__version__}"


def table(found: dict[str, Any]) -> str:
    """A shape's rows as Markdown: times, the ratio to bp's best of the class, the share of the rate of products."""
    lines = [
        f"### {found['shape']}: {'-'.join(map(str, found['sizes']))}, batch {found['batch_size']}, "
        f"{found['threads'] if found['device'] == 'cpu' else 1} "
        f"{'threads' if found['device'] == 'cpu' and found['threads'] > 1 else 'thread'}",
        "",
        "| contender | class | µs a step: median | min | max | × bp's best | share of the products' rate | setup, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(found["rows"], key=lambda row: (row["precision"], _median(row))):
        if not row["times"]:
            lines.append(f"| {row['name']} | {row['precision']} | {row['left_out']} | | | | | {row['setup']:.1f} |")
            continue
        best = min(_median(r) for r in found["rows"] if r["precision"] == row["precision"] and r["name"][:2] == "bp")
        rate = statistics.median(found["rates"][row["precision"]])
        share = found["operations"] / (rate * _median(row) * 1e-6)
        lines.append(
            f"| {row['name']} | {row['precision']} | {_median(row):,.1f} | {min(row['times']):,.1f} | "
            f"{max(row['times']):,.1f} | {_median(row) / best:.2f} | {share:.0%} | {row['setup']:.1f} |"
        )
    if found["device"] != "cpu":
        epochs = {f"{row['name']} {row['precision']}": _median(row) * 60 / found["batch_size"] for row in found["rows"]}
        lines += ["", "An epoch of 60,000, ms: " + ", ".join(f"{k} {ms:,.1f}" for k, ms in epochs.items() if ms < 1e9)]
    rates = ", ".join(f"{p}: {statistics.median(r) / 1e9:,.0f} GFLOP/s" for p, r in found["rates"].items())
    return "\n".join([*lines, "", f"Products of large square matrices in the same run, {rates}.", ""])


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


def per_example_table(found: dict[str, Any]) -> str:
    """Times and memory of all gradient norms, and how they depend on the chunk."""
    ours = found["rows"][0]
    lines = [
        f"### The norm of each example's own gradient: {'-'.join(map(str, found['sizes']))}, "
        f"{found['examples']:,} examples" + (f", {found['threads']} threads" if found["device"] == "cpu" else ""),
        "",
        "| contender | chunk | s: median | min | max | × bp | peak beyond parameters and data, MB | × bp | setup, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(found["rows"], key=_median):
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
        f"| {c['name']} | {c['chunk']} | {c['seconds']:,.3f} | {c['bytes'] / 1e6:,.2f} |" for c in found["chunks"]
    ]
    return "\n".join([*lines, ""])


def report(out: Path) -> str:
    """benchmarks/README.md, from the JSON files that lie beside it."""
    parts = [
        "# Benchmarks",
        "",
        "Written by `scripts/benchmark.py`, whose rules stand at its head. × bp's best: the row's median over that",
        "of the fastest bp row of its class, so 2.00 means that bp is twice as fast. The share is of the rate at which",
        "torch multiplies large square matrices in the same run. scikit-learn draws its own weights and order and has",
        "another cost, so its agreement is not checked. Classes: "
        + "; ".join(f"{k}, {v}" for k, v in CLASSES.items())
        + ".",
        "",
    ]
    for device in ("cpu", "cuda"):
        path = out / f"{device}.json"
        if not path.exists():
            parts += [f"## {device}", "", "Not yet measured.", ""]
            continue
        results = json.loads(path.read_text())
        parts += [f"## {device}", "", f"{results['machine']}.", f"`{results['command']}`", ""]
        parts += [f"![Contenders]({device}.png)", "", *(table(found) for found in results["shapes"])]
        if "memory" in results:
            parts.append(memory_table(results["memory"]))
    if (out / "growth.png").exists():
        parts += ["## How the cost grows", "", "`python scripts/benchmark.py --growth`", "", "![Growth](growth.png)"]
    if (out / "per_example.json").exists():
        found = json.loads((out / "per_example.json").read_text())
        parts += [
            "",
            "## Per example",
            "",
            f"{found['machine']}.",
            f"`{found['command']}`",
            "",
            per_example_table(found),
        ]
    return "\n".join(parts).rstrip() + "\n"


if __name__ == "__main__":
    common.run(main)

"""Times an epoch of training by bp_torch and by its peers, and writes a table, JSON and a chart.

All contenders start from the same weights and see the same batches in the same order, and their weights must agree with
a float64 run before any is timed. They take turns, so that drift hits all alike. An epoch includes its shuffle and the
gathering of its batches; compiling, capturing and evaluation are left out. On a CPU the figures are ratios of one run.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import charts
import gradient_norms
import measure
import memory
import tables
import torch

from bp_torch import checks
from bp_torch.cli.main import ends, prepare

EXAMPLE = """examples:
  python scripts/benchmark                        # the CPU's shapes, in 12 minutes or so: make benchmark
  python scripts/benchmark --shape book --threads 2
  python scripts/benchmark --shape cuda --device cuda
"""
ADAM = [name for name, shape in measure.SHAPES.items() if shape.optimizer == "adam"]
SETS = {
    "cpu": ["book", "book100", "medium", "ciresan", "small", "table", *ADAM],
    "adam": ADAM,
    "cuda": ["book", "medium", "ciresan", "wide"],
    "all": list(measure.SHAPES),
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*SETS, *measure.SHAPES]
    parser.add_argument("--shape", nargs="+", metavar="NAME", help=f"{', '.join(names)} (default: the device's set)")
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
        results = _measured("growth", options, 0)
        _write(out / "growth.json", results)
        charts.growth(out / "growth.png", results)
        (out / "README.md").write_text(tables.report(out), encoding="utf-8")
        print(f"The growth is in {out / 'growth.png'} and growth.json.")
        return 0
    origin = {
        "machine": _machine(options.device),
        "command": " ".join(["python", "scripts/benchmark", *sys.argv[1:]]),
    }
    if options.per_example:
        results = origin | _measured("per-example", options, options.threads or 0)
        _write(out / "per_example.json", results)
        (out / "README.md").write_text(tables.report(out), encoding="utf-8")
        print(tables.per_example_table(results))
        return 0
    results: dict[str, Any] = {**origin, "shapes": []}
    for shape in shapes:
        results["shapes"].append(_measured(shape, options, options.threads or measure.SHAPES[shape].threads))
        print(tables.table(results["shapes"][-1]), flush=True)
    if options.memory:
        results["memory"] = _measured("memory", options, 0)
        print(tables.memory_table(results["memory"]))
    if options.memory and device == "cpu":
        results["adam_memory"] = [_measured(f"memory of {name}", options, 0) for name in memory.ADAM_PEERS]
        print(tables.adam_memory_table(results["adam_memory"]))
    _write(out / f"{device}.json", results)
    charts.contenders(out / f"{device}.png", results["shapes"])
    machines = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob("cpu*.json"))]
    if machines:
        charts.ratios(out / "speed.png", machines)
    (out / "README.md").write_text(tables.report(out), encoding="utf-8")
    print(f"The results are in {out}: {device}.json, {device}.png, speed.png, README.md.")
    return 0


def _write(path: Path, results: Any) -> None:
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _named(name: str) -> list[str]:
    sets = {**SETS, **{shape: [shape] for shape in measure.SHAPES}}
    return sets[checks.one_of("shape", name, sets)]


def _measured(part: str, options: argparse.Namespace, threads: int) -> Any:
    """What a process of its own measures: its numbers of threads have to be set before NumPy, torch and JAX start."""
    cores = sorted(os.sched_getaffinity(0))
    threads = min(threads or len(cores), len(cores))
    environment = {
        **os.environ,
        **{f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS")},
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    if part.startswith("memory of "):
        environment["MALLOC_MMAP_THRESHOLD_"] = "65536"  # what is let go of goes back to the system at once
    command = [sys.executable, __file__, "--part", part, "--device", options.device, "--repeats", str(options.repeats)]
    command += ["--threads", str(threads)]
    command += ["--steps", str(options.steps)] if options.steps else []
    print(f"{part}, {threads} threads ...", file=sys.stderr, flush=True)
    done = subprocess.run(  # noqa: S603 (this very script)
        command,
        env=environment,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise ValueError(f"{part} could not be measured: see above")
    return json.loads(done.stdout.splitlines()[-1])


def _part(options: argparse.Namespace) -> Any:
    if options.device == "cpu":  # JAX asks the system how many cores there are
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    elif (index := torch.device(options.device).index) is not None:  # for what looks at the current device
        torch.cuda.set_device(index)
    if options.part == "growth":
        return measure.growth()
    if options.part == "per-example":
        return gradient_norms.time_norms(options.device, options.repeats)
    if options.part == "memory":
        return memory.of_steps(options.device)
    if options.part.startswith("memory of "):
        return memory.of_adam(options.part.removeprefix("memory of "))
    return measure.time_shape(options.part, options.device, options.repeats, options.steps)


def _machine(device: str) -> str:
    """The device and the versions, in words."""
    if torch.device(device).type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        name = fields.get("model name\t", platform.processor()).strip()
        name += f", {torch.backends.cpu.get_cpu_capability()}, {len(os.sched_getaffinity(0))} cores"
    return f"{name}; Python {platform.python_version()}, torch {torch.__version__}"


if __name__ == "__main__":
    prepare()
    ends("python scripts/benchmark", main)

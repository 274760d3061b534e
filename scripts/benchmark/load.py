"""Times epochs alone and beside busy processes: what a training loses where others use the machine.

    python scripts/benchmark/load.py --out benchmarks/load.md

Each contender takes its epochs alone, beside one process that does nothing but count, and beside two, in turns. The
figures are µs a step and its ratio to that alone. On two cores a fair share is 1.5 and 2 times beside one process and
two, of a contender on both cores; of one on one core, 1 and 1.5 times.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import contenders
import jax_peer
import measure
import torch
import torch_peers
from estimators import machine

from bp_torch.threads import threads

BESIDE = 0, 1, 2
HEAD = """# Beside busy processes

`python scripts/benchmark/load.py --out benchmarks/load.md`: each contender takes its epochs alone, beside one process
that does nothing but count, and beside two, in turns; medians. On two cores a fair share is 1.5 and 2 times the time
alone for who computes on both, and 1 and 1.5 times on one.

*{machine}.*

"""
PEERS = {
    "bp native": contenders.of_engine("native"),
    "bp eager": contenders.of_engine("eager"),
    "torch autograd": torch_peers.autograd,
    "JAX jit + scan": jax_peer.jax_scan,
}
STEPS = {"book": 4000, "medium": 40, "ciresan": 4}


@contextmanager
def busy(processes: int) -> Iterator[None]:
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        time.sleep(0.3)
        yield
    finally:
        for each in started:
            each.kill()
            each.wait()


def measured(shape: str, repeats: int) -> dict[str, dict[int, float]]:
    """µs a step of each contender, by how many processes were beside it."""
    steps, of = STEPS[shape], measure.SHAPES[shape]
    job = measure.job_of(of, "cpu", steps * of.batch_size)
    with threads(of.threads or torch.get_num_threads()):
        started = {name: peer(job) for name, peer in PEERS.items()}
        times: dict[str, dict[int, list[float]]] = {name: {n: [] for n in BESIDE} for name in started}
        for name, contender in started.items():
            measure._timed(contender, job, steps, 0)
            print(f"  {shape}, {name}: ready", file=sys.stderr, flush=True)
        for repeat in range(1, repeats + 1):
            for n in BESIDE:
                with busy(n):
                    for name, contender in started.items():
                        times[name][n].append(measure._timed(contender, job, steps, repeat) / steps * 1e6)
    return {name: {n: statistics.median(each) for n, each in of_name.items()} for name, of_name in times.items()}


def table(results: dict[str, dict[str, dict[int, float]]]) -> str:
    lines = [
        "| network | contender | alone, µs a step | beside one | beside two |",
        "|---|---|---|---|---|",
    ]
    for shape, rows in results.items():
        of = measure.SHAPES[shape]
        count = of.threads or torch.get_num_threads()
        network = f"{'-'.join(map(str, of.sizes))}, batch {of.batch_size}, {count} thread{'s' * (count > 1)}"
        for name, each in rows.items():
            ratios = " | ".join(f"{each[n] / each[0]:.2f} ×" for n in BESIDE[1:])
            lines.append(f"| {network} | {name} | {each[0]:,.1f} | {ratios} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", nargs="+", default=list(STEPS), choices=list(STEPS))
    parser.add_argument("--repeats", type=int, default=7, help="epochs of each contender and load (default: 7)")
    parser.add_argument("--out", help="a Markdown file to write the table to")
    options = parser.parse_args()
    text = table({shape: measured(shape, options.repeats) for shape in options.shape})
    print(text)
    if options.out:
        Path(options.out).write_text(HEAD.format(machine=machine()) + text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Times a first epoch of ten steps in new processes: with an empty cache of libraries, then with the library in it.

A process imports bp_torch first, which is told by itself. The second epoch is what the steps themselves take.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from typing import Any

SHAPES: dict[str, tuple[list[int], int, dict[str, Any]]] = {
    "small": ([784, 30, 10], 10, {}),
    "medium": ([784, 512, 512, 10], 128, {}),
    "medium, adam": ([784, 512, 512, 10], 128, {"optimizer": "adam"}),
}
PROGRAM = """
import time
start = time.perf_counter()
import torch, bp_torch as bp
bp.train
imported = time.perf_counter()
sizes, batch_size, settings = {}
x = torch.rand(10 * batch_size, sizes[0]) * (torch.rand(10 * batch_size, sizes[0]) < 0.1)
data, net = (x, torch.arange(len(x)) % sizes[-1]), bp.Network.create(sizes, seed=0)
times = [time.perf_counter()]
for _ in range(2):
    list(bp.train(net, data, epochs=1, batch_size=batch_size, lr=0.01, engine="native", threads=1, **settings))
    times.append(time.perf_counter())
print(imported - start, times[1] - times[0], times[2] - times[1])
"""


def seconds(shape: str, cache: str) -> list[float]:
    """Of the imports, of the first epoch and of the second."""
    command = [sys.executable, "-c", PROGRAM.format(repr(SHAPES[shape]))]
    environment = {**os.environ, "XDG_CACHE_HOME": cache}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)  # noqa: S603
    return [float(each) for each in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--repeats", type=int, default=10, help="processes of each kind, in turns (default: %(default)s)"
    )
    repeats = parser.parse_args().repeats
    for shape in SHAPES:
        empty: list[list[float]] = []
        full: list[list[float]] = []
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as cache:
                empty.append(seconds(shape, cache))
                full.append(seconds(shape, cache))
        for name, runs in (("compiled", empty), ("in the cache", full)):
            imports, first, second = (statistics.median(times) for times in zip(*runs, strict=True))
            print(f"{shape}, {name}: imports {imports:.2f} s, first {first:.3f} s, second {second:.3f} s")


if __name__ == "__main__":
    main()

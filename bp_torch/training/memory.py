"""Whether memory holds what a step needs, said before it is taken: Linux grants more than there is, and kills later."""

from contextlib import suppress
from pathlib import Path

import torch

from bp_torch.errors import EngineError

SMALL = 16 << 20  # bytes that need not be asked for: to ask takes as long as some steps of a tiny network
LIMITS = "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"  # a container's, of both versions


def free_memory() -> float:
    """Bytes of the machine's memory that can be had, as Linux says; infinite where nothing says it."""
    known = []
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        known.append(1024 * float(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]))
    for path in LIMITS:
        with suppress(OSError, ValueError):  # "max" is no number
            known.append(float(Path(path).read_text(encoding="ascii")))
    return min(known, default=float("inf"))


def check_memory(needed: int, batch_size: int, otherwise: str = "") -> None:
    """Raises EngineError where so many bytes for a step are more than can be had."""
    if needed < SMALL:
        return
    free = free_memory()
    if needed > free:
        fitting = int(batch_size * free / needed / 2)
        smaller = f"try batch_size={fitting}" if fitting else "train a smaller network"
        raise EngineError(
            f"a step of batch_size {batch_size} needs {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are "
            f"free: {smaller}{otherwise}"
        )


def memory_of_a_step(sizes: list[int], batch_size: int, dtype: torch.dtype) -> int:
    """Bytes that an eager step holds at least at a time: each a, and δ and σ′ of the widest hidden layer."""
    return batch_size * (sum(sizes) + 2 * max(sizes[1:-1], default=0)) * dtype.itemsize

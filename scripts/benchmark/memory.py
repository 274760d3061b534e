"""The memory of a step: the most bytes that torch held at a time; of an Adam step, the most that the process did."""

import gc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import contenders
import jax_peer
import measure
import torch
import torch_peers

PEERS = {"bp eager": contenders.of_engine("eager"), "torch autograd": torch_peers.autograd}
ADAM_PEERS = {
    "bp native": contenders.of_engine("native"),
    **PEERS,
    "JAX jit + scan": jax_peer.jax_scan,
    "NumPy": contenders.numpy_loop,
    "scikit-learn": contenders.sklearn_mlp,
}
ADAM = measure.SHAPES["adam-medium"]._replace(sizes=measure.CIRESAN, batch_size=100)
STEPS = 3


def of_steps(device: str, batch_sizes: tuple[int, ...] = (100, 1000)) -> list[dict[str, Any]]:
    """Peak bytes of a step beyond parameters and data, of bp eager and of autograd with the fused SGD."""
    rows = []
    for m in batch_sizes:
        job = measure.job_of(measure.SHAPES["ciresan"]._replace(batch_size=m), device, 2 * m)
        for name, peer in PEERS.items():
            step = partial(peer(job).epoch, torch.arange(m))
            step()  # the first sets up more than a step needs
            rows.append({"name": name, "batch_size": m, "bytes": peak(step, device)})
    return rows


def peak(work: Callable[[], object], device: str) -> int:
    """The most bytes that torch held at a time during `work`, beyond what it held before."""
    if torch.device(device).type == "cuda":  # by the device that is named, whichever is the current one
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    profiler: Any = profile.profiler
    events = [event for event in profiler.kineto_results.events() if event.name() == "[memory]"]
    current = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        current += event.nbytes()
        most = max(most, current)
    return most


def of_adam(name: str) -> dict[str, Any]:
    """Peak bytes of a contender that is set up and takes steps by Adam, beyond parameters, both moments and data.

    It has the process to itself, and has done the same once before: what it loads is not counted. The weights that all
    contenders start from count as data: each works on a copy, which is its parameters.
    """
    peer, m = ADAM_PEERS[name], ADAM.batch_size
    job, order = measure.job_of(ADAM, "cpu", STEPS * m), torch.arange(STEPS * m)
    peer(job).epoch(order)
    most = resident_peak(lambda: peer(job).epoch(order))
    parameters = sum(t.nbytes for layer in job.state.net.layers for t in layer)
    return {"name": name, "batch_size": m, "bytes": most - 3 * parameters, "parameters": parameters}


def resident_peak(work: Callable[[], object]) -> int:
    """The most bytes of the process that lay in memory during `work`, beyond those before, as Linux counts them."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the most is now what there is
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])

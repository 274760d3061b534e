"""The persistent engine: a tiny network's whole epoch in one launch of a Triton kernel, on CUDA.

Not yet measured on a GPU, so "auto" does not choose it.
"""

import importlib.util
import os
from typing import Any

import torch
from torch import Tensor

from bp_torch.training.job import Job, Run

ACTIVATIONS = ("sigmoid", "tanh", "relu")
RESIDENT_ELEMENTS = 32 * 1024  # of the hidden layer's w, padded: half of a multiprocessor's registers
MOST = 256  # neurons of the hidden layer, and of the output layer, and examples of a batch


def why_not(job: Job) -> str | None:
    """Why this engine can't run the job, or None."""
    net = job.state.net
    w, names = net.layers[0].w, [activation.name for activation in net.activations]
    if not (w.is_cuda or interpreted()) or importlib.util.find_spec("triton") is None:
        return "engine='persistent' needs CUDA and Triton: use 'auto'"
    if job.recipe.precision != "dtype" or w.dtype != torch.float32:
        return "engine='persistent' is for torch.float32 and precision='dtype': use 'graph'"
    costs = {"quadratic": "sigmoid", "binary_cross_entropy": "sigmoid", "softmax_cross_entropy": "softmax"}
    fits = len(names) == 2 and names[0] in ACTIVATIONS and costs.get(net.cost_function.name) == names[1]
    if not fits or max(*net.sizes[1:], job.recipe.batch_size) > MOST:
        return (
            f"engine='persistent' is for one hidden layer of {', '.join(ACTIVATIONS)}, sigmoid or softmax outputs, "
            f"and at most {MOST} neurons and examples a batch: use 'graph'"
        )
    return None


def block(job: Job) -> int:
    """An epoch is one launch."""
    return len(job.batch_sizes)


def persistent(job: Job) -> Run:
    """The engine: see `Run`."""
    import triton

    from bp_torch.training.engines.persistent_kernel import epoch_kernel

    net, batch_size = job.state.net, job.recipe.batch_size
    x, y = (t.contiguous() for t in job.data)
    n0, n1, n2 = net.sizes
    rows, p1, p2 = (max(16, triton.next_power_of_2(n)) for n in (batch_size, n1, n2))
    p0 = max(16, triton.next_power_of_2(n0))
    resident = p0 * p1 <= RESIDENT_ELEMENTS
    costs = torch.zeros(rows, dtype=torch.float64, device=x.device)
    constants = dict(M=batch_size, N0=n0, N1=n1, N2=n2, ROWS=rows, TILE=p0 if resident else min(p0, 64), P1=p1, P2=p2)

    launch: Any = epoch_kernel[(1,)]  # one program

    @torch.no_grad()
    def run(order: Tensor, numbers: Tensor) -> float:
        parameters = [t for layer in net.layers for t in layer]
        dense = [t.contiguous() for t in parameters]
        launch(
            x,
            y,
            order.to(x.device),
            numbers.to(x),
            *dense,
            costs,
            -(-len(order) // batch_size),
            (len(order) - 1) % batch_size + 1,
            **constants,
            RESIDENT=resident,
            HIDDEN=net.activations[0].name,
            COST=net.cost_function.name,
            num_warps=16 if resident else 8,
            enable_fp_fusion=True,
        )
        for tensor, value in zip(parameters, dense, strict=True):
            if value is not tensor:
                tensor.copy_(value)
        return costs.sum().item()

    return run


def interpreted() -> bool:
    """Whether Triton runs its kernels on the CPU, in Python: for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"

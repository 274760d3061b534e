"""The persistent engine: a tiny network's whole epoch in one launch of a Triton kernel, on CUDA.

Not yet measured on a GPU, so "auto" does not choose it.
"""

import importlib.util
import os
from typing import Any

import torch
from torch import Tensor

from bp_torch.network import Network
from bp_torch.training.engines.common import Epoch

ACTIVATIONS = ("sigmoid", "tanh", "relu")
RESIDENT_ELEMENTS = 32 * 1024  # of the hidden layer's w, padded: half of a multiprocessor's registers
MOST = 256  # neurons of the hidden layer, and of the output layer, and examples of a batch


def why_not(net: Network, batch_size: int, precision: str) -> str | None:
    """Why this engine can't train the network, or None."""
    w, names = net.layers[0].w, [activation.name for activation in net.activations]
    if not (w.is_cuda or interpreted()) or importlib.util.find_spec("triton") is None:
        return "engine='persistent' needs CUDA and Triton: use 'auto'"
    if precision != "ieee" or w.dtype != torch.float32:
        return "engine='persistent' is for torch.float32 and precision='ieee': use 'graph'"
    costs = {"quadratic": "sigmoid", "binary_cross_entropy": "sigmoid", "softmax_cross_entropy": "softmax"}
    known = len(names) == 2 and names[0] in ACTIVATIONS and costs.get(net.cost_function.name) == names[1]
    if not known or max(*net.sizes[1:], batch_size) > MOST:
        return (
            f"engine='persistent' is for one hidden layer of {', '.join(ACTIVATIONS)}, sigmoid or softmax outputs, "
            f"and at most {MOST} neurons and examples a batch: use 'graph'"
        )
    return None


def block(net: Network, m: int, batch_size: int) -> int:
    """An epoch is one launch."""
    return -(-m // batch_size)


def persistent(net: Network, x: Tensor, y: Tensor, batch_size: int, precision: str) -> Epoch:
    """The engine: see `Epoch`. x (m, n_0), y (m, n_L), on the network's device."""
    import triton

    from bp_torch.training.engines.persistent_kernel import epoch_kernel

    x, y = x.contiguous(), y.contiguous()
    n0, n1, n2 = net.sizes
    rows, p1, p2 = (max(16, triton.next_power_of_2(n)) for n in (batch_size, n1, n2))
    p0 = max(16, triton.next_power_of_2(n0))
    resident = p0 * p1 <= RESIDENT_ELEMENTS
    costs = torch.zeros(rows, dtype=torch.float64, device=x.device)
    constants = dict(M=batch_size, N0=n0, N1=n1, N2=n2, ROWS=rows, TILE=p0 if resident else min(p0, 64), P1=p1, P2=p2)

    launch: Any = epoch_kernel[(1,)]  # one program

    @torch.no_grad()
    def epoch(order: Tensor, lr: float) -> float:
        parameters = [t for layer in net.layers for t in layer]
        dense = [t.contiguous() for t in parameters]
        launch(
            x,
            y,
            order.to(x.device),
            *dense,
            costs,
            -(-len(order) // batch_size),
            (len(order) - 1) % batch_size + 1,
            lr,
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

    return epoch


def interpreted() -> bool:
    """Whether Triton runs its kernels on the CPU, in Python: for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"

"""The persistent engine: a tiny network's whole epoch in one launch of a Triton kernel, on CUDA.

Not yet measured on a GPU, so "auto" does not choose it. The limits are those up to which every kernel compiles for
sm_80 and sm_90 with its values in registers and a fraction of the shared memory: a test compiles them.
"""

import importlib.util
import os
from typing import Any

import torch
from torch import Tensor

from bp_torch.errors import EngineError, reason
from bp_torch.training.job import Job, Run, Steps
from bp_torch.training.plan import PLAIN

ACTIVATIONS = ("sigmoid", "tanh", "relu")
OUTPUTS = {"quadratic": "sigmoid", "binary_cross_entropy": "sigmoid", "softmax_cross_entropy": "softmax"}
MOST_HIDDEN, MOST_OUTPUTS, MOST_EXAMPLES = 64, 16, 16
LEAST = 16  # rows and columns of a product in Triton
TILE = 16  # columns of the hidden layer's w that a product takes at a time
WARPS = 8


def why_not(job: Job) -> str | None:
    """Why this engine can't run the job, or None."""
    net = job.state.net
    w, names = net.layers[0].w, [activation.name for activation in net.activations]
    if not (w.is_cuda or interpreted()) or importlib.util.find_spec("triton") is None:
        return "engine='persistent' needs CUDA and Triton: use engine='auto'"
    if job.recipe.precision != "dtype" or w.dtype != torch.float32:
        return "engine='persistent' is for torch.float32 and precision='dtype': use engine='graph'"
    if job.plan != PLAIN:
        return "engine='persistent' is for plain gradient descent and nothing beside it: use engine='graph'"
    fits = len(names) == 2 and names[0] in ACTIVATIONS and OUTPUTS.get(net.cost_function.name) == names[1]
    fits = fits and net.sizes[1] <= MOST_HIDDEN and net.sizes[2] <= MOST_OUTPUTS
    if not fits or job.recipe.batch_size > MOST_EXAMPLES:
        return (
            "engine='persistent' is for one hidden layer "
            f"of {', '.join(ACTIVATIONS)}, at most {MOST_HIDDEN} neurons wide, "
            f"at most {MOST_OUTPUTS} sigmoid or softmax outputs, and batches of at most {MOST_EXAMPLES}: "
            "use engine='graph'"
        )
    return None


def block(job: Job) -> int:
    """An epoch is one launch."""
    return len(job.batch_sizes)


def constants_of(sizes: list[int], batch_size: int, hidden: str, cost: str) -> dict[str, Any]:
    """What the kernel is compiled for."""
    n0, n1, n2 = sizes
    rows, p1, p2 = (max(LEAST, 1 << (n - 1).bit_length()) for n in (batch_size, n1, n2))
    padded = dict(ROWS=rows, TILE=TILE, P1=p1, P2=p2)
    return dict(M=batch_size, N0=n0, N1=n1, N2=n2, **padded, HIDDEN=hidden, COST=cost)


def persistent(job: Job) -> Run:
    """The engine: see `Run`. Raises EngineError where Triton can't compile or the device can't launch the kernel."""
    from bp_torch.training.engines.persistent_kernel import epoch_kernel

    net, batch_size = job.state.net, job.recipe.batch_size
    x, y = (t.contiguous() for t in job.data)
    constants = constants_of(net.sizes, batch_size, net.activations[0].name, net.cost_function.name)
    costs = torch.zeros(constants["ROWS"], dtype=torch.float64, device=x.device)
    kernel: Any = epoch_kernel[(1,)]  # one program

    def launch(order: Tensor, numbers: Tensor, parameters: list[Tensor]) -> None:
        steps, last = -(-len(order) // batch_size), (len(order) - 1) % batch_size + 1
        data = x, y, order.to(x.device), numbers.to(x)
        with torch.cuda.device_of(x):  # Triton launches on the current device
            kernel(*data, *parameters, costs, steps, last, **constants, num_warps=WARPS, enable_fp_fusion=True)

    @torch.no_grad()
    def run(given: Steps) -> float:
        parameters = [t for layer in net.layers for t in layer]
        dense = [t.contiguous() for t in parameters]
        launch(given.order, given.numbers, dense)
        for tensor, value in zip(parameters, dense, strict=True):
            if value is not tensor:
                tensor.copy_(value)
        return costs.sum().item()

    nothing = (torch.empty(0, dtype=torch.int64, device="cpu"), torch.empty(0, 1, dtype=torch.float64, device="cpu"))
    with torch.no_grad():
        copies = [t.clone(memory_format=torch.contiguous_format) for layer in net.layers for t in layer]
    try:
        launch(*nothing, copies)  # no step: it is compiled, and the device has taken it
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise EngineError(f"the kernel can't run here ({reason(error)}): use engine='graph'") from error
    return run


def interpreted() -> bool:
    """Whether Triton runs its kernels on the CPU, in Python: for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"

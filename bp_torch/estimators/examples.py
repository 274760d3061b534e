"""What an estimator is given, as tensors; and what its network gives for it, chunk by chunk."""

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bp_torch import sparse
from bp_torch.network import Network
from bp_torch.passes import feed_forward, multiplications
from bp_torch.threads import computing, fitting
from bp_torch.trace import Trace

CHUNK_BYTES = 64 << 20  # about what a pass that is asked for once fills at a time


class HeldOut(NamedTuple):
    """Examples that are not trained on: x (m, n_0), their target matrix y (m, n_L), and what they are scored by.

    labels: as the user gave them, (m,) or (m, n_L). weights: (m,), or None. least: as that of `Task`.
    """

    x: Tensor
    y: Tensor
    labels: NDArray[Any]
    weights: NDArray[np.floating] | None
    least: float


class Task(NamedTuple):
    """What is trained on: x (m, n_0), the target matrix y (m, n_L), and the examples' weights (m,), or None.

    least: the mean cost of outputs that meet y, which the loss that is shown leaves out.
    """

    x: Tensor
    y: Tensor
    weights: NDArray[np.floating] | None
    held_out: HeldOut | None
    batch_size: int
    least: float = 0.0


def tensor_of(array: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    """An array, or a sparse matrix of SciPy, as a tensor of this dtype; of the same memory where that can be."""
    if sparse.is_scipy(array):
        rows = array.tocsr().astype(str(dtype).removeprefix("torch."), copy=False)
        if not rows.has_canonical_format:
            rows = rows.copy()
            rows.sum_duplicates()
        return cast(Tensor, sparse.of_scipy(rows, dtype, device))  # whose values this dtype holds by now
    if not array.flags.writeable or any(step < 0 for step in array.strides):
        array = np.array(array)  # torch warns of memory that it must not change
    return torch.as_tensor(array, dtype=dtype, device=device)


def passed(net: Network, x: Tensor) -> Iterator[tuple[slice, Trace]]:
    """The forward passes of the examples x (m, n_0), some rows at a time."""
    rows = max(1, CHUNK_BYTES // (x.element_size() * 2 * (sparse.width(x) + sum(net.sizes[1:]))))
    with torch.inference_mode(), computing(fitting(multiplications(net, x)), x.device.type):
        for k, part in enumerate(sparse.split(x, rows)):
            yield slice(k * rows, k * rows + rows), feed_forward(net, part, lean=True)


def activations(net: Network, x: Tensor, layer: int = -1) -> NDArray[np.floating]:
    """The activations (m, n_l) of a layer for the examples x (m, n_0), counted from the first hidden one."""
    parts = [trace.a[1:][layer] for _, trace in passed(net, x)]
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).cpu().numpy()

"""What the engines share: the step of a precision class, and settings of torch that are put back afterwards."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bp_torch.network import Layer, Network, Trace
from bp_torch.training.step import Rate, mixed_step, sgd_step

Epoch = Callable[[Tensor, float], float]
"""Trains the network it was built for on the examples in this order (int64, on the CPU), with this learning rate;
returns Σ_x C_x, each example's cost taken just before its batch's step. May stop early where that is not finite.

An epoch may be run in parts, of whole blocks of batches (see `Engine`), the last of which takes what is left: all the
state there is lies in the weights."""

Step = Callable[[Tensor, Tensor, Rate], Trace]

PRECISIONS = ("ieee", "tf32", "bf16")


def networks_of(net: Network, precision: str) -> tuple[Network, ...]:
    """The network and, for bf16, its copy in bfloat16, which runs the passes."""
    if precision != "bf16":
        return (net,)
    return net, replace(net, layers=tuple(Layer(w.bfloat16(), b.bfloat16()) for w, b in net.layers))


def step_of(networks: tuple[Network, ...]) -> Step:
    """The step (x, y, rate) -> trace that trains the first of `networks_of`; x as `inputs_of` gives it."""
    return partial(sgd_step, *networks) if len(networks) == 1 else partial(mixed_step, *networks)


def refresh(networks: tuple[Network, ...]) -> None:
    """Makes the copy equal to the network again, whose weights the caller may have changed between two epochs."""
    for copy in networks[1:]:
        for mine, theirs in zip(copy.layers, networks[0].layers, strict=True):
            mine.w.copy_(theirs.w)
            mine.b.copy_(theirs.b)


def inputs_of(x: Tensor, precision: str) -> Tensor:
    """x as the step of this precision class takes it."""
    return x.bfloat16() if precision == "bf16" else x


def batch_cost(net: Network, trace: Trace, y: Tensor) -> Tensor:
    """Σ_x C_x of a batch, 0-D in float64."""
    return net.cost_function.value(trace.z[-1], trace.a[-1], y).sum(dtype=torch.float64)


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """torch's own products of float32 matrices in tf32 where that is asked for, and in float32 otherwise."""
    mkldnn: Any = torch.backends.mkldnn
    backends = torch.backends.cuda.matmul, mkldnn.matmul
    before = [backend.fp32_precision for backend in backends]
    for backend, wanted in zip(backends, ("tf32" if precision == "tf32" else "ieee", "ieee"), strict=True):
        backend.fp32_precision = wanted
    try:
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.fp32_precision = value


@contextmanager
def threads(count: int) -> Iterator[None]:
    """torch's products on the CPU by so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def precision_missing(net: Network, precision: str) -> str | None:
    """Why the network's device can't train it in this precision class, or None."""
    w = net.layers[0].w
    if precision == "ieee":
        return None
    if w.dtype != torch.float32:
        return f"precision={precision!r} is for networks of torch.float32, and this one is of {w.dtype}: use 'ieee'"
    if w.is_cuda:
        known = PRECISIONS if torch.cuda.get_device_capability(w.device) >= (8, 0) else ("ieee",)
    else:
        bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        known = ("ieee", "bf16") if bf16 else ("ieee",)
    if precision in known:
        return None
    return f"precision={precision!r} is not for this {w.device.type} device, which can do {' and '.join(known)}"


def operations(net: Network, batch_size: int) -> int:
    """Floating-point operations of a step's products: three a layer, but for the first, which has no BP2."""
    weights = [layer.w.numel() for layer in net.layers]
    return 2 * batch_size * (3 * sum(weights) - weights[0])

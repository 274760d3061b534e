"""PRECISIONS: what the passes of a step are computed in, one entry each."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bp_torch.network import Network


class Precision(NamedTuple):
    """What the passes are computed in.

    dtype: of the copy of the network that runs them; None: the network itself does. products: what torch multiplies
    float32 matrices in, as its fp32_precision names it.
    """

    dtype: torch.dtype | None
    products: str


PRECISIONS = {
    "dtype": Precision(None, "ieee"),
    "tf32": Precision(None, "tf32"),
    "bf16": Precision(torch.bfloat16, "ieee"),
}


def passes_of(net: Network, precision: str) -> Network | None:
    """The copy of the network that runs the passes; None where the network itself does."""
    dtype = PRECISIONS[precision].dtype
    return None if dtype is None else net.to(dtype)


def refresh(passes: Network | None, net: Network) -> None:
    """Makes the copy equal to the network again, whose weights the caller may have changed between two epochs."""
    if passes is not None:
        for copied, layer in zip(passes.layers, net.layers, strict=True):
            copied.w.copy_(layer.w)
            copied.b.copy_(layer.b)


def inputs_of(x: Tensor, precision: str) -> Tensor:
    """x as the passes take it."""
    return x.to(PRECISIONS[precision].dtype or x.dtype)


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """torch's own products of float32 matrices in tf32 where that is asked for, and in float32 otherwise."""
    mkldnn: Any = torch.backends.mkldnn
    backends = torch.backends.cuda.matmul, mkldnn.matmul
    before = [backend.fp32_precision for backend in backends]
    for backend, wanted in zip(backends, (PRECISIONS[precision].products, "ieee"), strict=True):
        backend.fp32_precision = wanted
    try:
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.fp32_precision = value


def precision_missing(net: Network, precision: str) -> str | None:
    """Why the network's device can't train it in this precision, in a sentence, or None."""
    w = net.layers[0].w
    if precision == "dtype":
        return None
    if w.dtype != torch.float32:
        return f"precision={precision!r} is for networks of torch.float32, and this one is of {w.dtype}: use 'dtype'"
    if w.is_cuda:
        names = tuple(PRECISIONS) if torch.cuda.get_device_capability(w.device) >= (8, 0) else ("dtype",)
    else:
        bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        names = ("dtype", "bf16") if bf16 else ("dtype",)
    if precision in names:
        return None
    return f"precision={precision!r} is not for this {w.device.type} device, which can do {' and '.join(names)}"

"""PRECISIONS: what the passes of a step are computed in, one entry each."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition
from typing import NamedTuple

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


@torch.inference_mode(False)  # what is made in it can't be changed in place outside
@torch.no_grad()
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


_changed = Condition()
_inside: list[str] = []
"""What the products of those who are inside `products_in` are multiplied in: the same for all."""
_put_back: Callable[[], None] | None = None


@contextmanager
def products_in(precision: str, dtype: torch.dtype = torch.float32) -> Iterator[None]:
    """torch's own products of float32 matrices in tf32 where that is asked for, and in float32 otherwise.

    dtype: of the matrices; those of float64 are multiplied in it, whatever is set.
    torch has one setting for all threads. So the first that comes sets it and the last that goes puts the user's back,
    and who wants another waits until then.
    """
    global _put_back
    if dtype == torch.float64:
        yield
        return
    wanted = PRECISIONS[precision].products
    with _changed:
        _changed.wait_for(lambda: not _inside or wanted in _inside)
        if not _inside:
            _put_back = _multiply_in(wanted)
        _inside.append(wanted)
    try:
        yield
    finally:
        with _changed:
            del _inside[-1:]  # in a child forked from inside, there is nothing
            if not _inside:
                _leave()
            _changed.notify_all()


def _leave() -> None:
    global _put_back
    if _put_back is not None:
        _put_back()
    _put_back = None


def _after_fork() -> None:
    """In a child, nobody else is inside any more."""
    global _changed
    _changed = Condition()
    _inside.clear()
    _leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

_OPERATIONS = ("cuda", "matmul"), ("mkldnn", "matmul")


def _multiply_in(products: str) -> Callable[[], None] | None:
    """Sets what torch multiplies in, and returns what puts the user's setting back; None where it fits as it is."""
    get, set_ = torch._C._get_fp32_precision_getter, torch._C._set_fp32_precision_setter
    if products == "ieee" and all(get(*operation) in ("ieee", "none") for operation in _OPERATIONS):
        return None
    own = [_own_setting(*operation) for operation in _OPERATIONS]
    for operation in _OPERATIONS:
        set_(*operation, "ieee")
    older = torch.get_float32_matmul_precision()  # kept beside the others; where they differ, torch refuses to read it
    torch.set_float32_matmul_precision("high" if products == "tf32" else "highest")
    set_("mkldnn", "matmul", "ieee")

    def put_back() -> None:
        torch.set_float32_matmul_precision(older)
        for operation, value in zip(_OPERATIONS, own, strict=True):
            set_(*operation, value)

    return put_back


def _own_setting(backend: str, operation: str) -> str:
    """What was set for this operation itself; "none" where it follows the one above it, which torch tells instead."""
    get, set_ = torch._C._get_fp32_precision_getter, torch._C._set_fp32_precision_setter
    if backend == "generic":
        return get(backend, operation)
    above = ("generic", "all") if operation == "all" else (backend, "all")
    of_above, told = _own_setting(*above), []
    for value in ("ieee", "tf32"):
        set_(*above, value)
        told.append(get(backend, operation))
    set_(*above, of_above)
    return told[0] if told[0] == told[1] else "none"


def precision_missing(net: Network, precision: str) -> str | None:
    """Why the network's device can't train it in this precision, in a sentence, or None."""
    w = net.layers[0].w
    if precision == "dtype":
        return None
    if w.dtype != torch.float32:
        wrong = f"precision={precision!r} is for networks of torch.float32, and this one is of {w.dtype}"
        return f"{wrong}: use precision='dtype'"
    if w.is_cuda:
        names = tuple(PRECISIONS) if torch.cuda.get_device_capability(w.device) >= (8, 0) else ("dtype",)
    else:
        bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        names = ("dtype", "bf16") if bf16 else ("dtype",)
    if precision in names:
        return None
    ways = " or ".join(f"precision={name!r}" for name in names)
    lacks = "" if w.is_cuda or precision != "bf16" else ", which has no bfloat16 instructions (AVX512_BF16 or AMX)"
    return f"precision={precision!r} is not for this {w.device.type} device{lacks}: use {ways}"

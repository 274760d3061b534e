"""What can be the parameters of a network: dense tensors of one dtype and device, in memory of their own."""

from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor

from bp_torch import checks


def check_parameters(layers: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Raises ValueError where (w, b) of some layers can't be a network's parameters."""
    for l, pair in enumerate(layers):
        if not isinstance(pair, tuple) or getattr(pair, "_fields", None) != ("w", "b"):
            raise ValueError(f"layers[{l}] must be a bp.Layer, not {type(pair).__name__}: give bp.Layer(w, b)")
    named = [(f"layers[{l}].{name}", t) for l, pair in enumerate(layers) for name, t in zip("wb", pair, strict=True)]
    for name, t in named:
        if not isinstance(t, Tensor) or t.layout != torch.strided:
            what = f"a tensor of layout {t.layout}" if isinstance(t, Tensor) else type(t).__name__
            raise ValueError(f"{name} must be a dense torch.Tensor, not {what}")
        checks.dtype_of(f"the dtype of {name}", t.dtype)
        if t.is_neg():
            raise ValueError(f"{name} is a view that negates another tensor: give {name}.resolve_neg()")
    first = layers[0][0]
    for l, (w, b) in enumerate(layers):
        n_in = layers[l - 1][1].shape[-1] if l else first.shape[-1] if first.ndim else 0
        if w.ndim < 2 or w.shape[:-1] != b.shape or w.shape[-1] != n_in:
            raise ValueError(
                f"layers[{l}] must have w (…, n_out, {n_in}) and b (…, n_out), "
                f"not {tuple(w.shape)} and {tuple(b.shape)}"
            )
        if w.shape[:-2] != first.shape[:-2]:
            raise ValueError(
                f"layers[{l}] is of {tuple(w.shape[:-2])} networks and layers[0] of {tuple(first.shape[:-2])}: "
                "all layers must be of as many"
            )
        if not w.numel():
            raise ValueError(f"layers[{l}].w is empty, {tuple(w.shape)}: a layer needs at least one neuron")
    for name, t in named:
        if t.dtype != first.dtype or t.device != first.device:
            raise ValueError(
                f"{name} is {t.dtype} on {t.device}, and layers[0].w {first.dtype} on {first.device}: "
                f"give {name}.to(layers[0].w)"
            )
    _own_memory(named)


def _own_memory(tensors: list[tuple[str, Tensor]]) -> None:
    """Raises ValueError where two elements lie in one place: a step for the one would change the other."""
    stretches: list[tuple[int, int, int]] = []
    for k, (name, t) in enumerate(tensors):
        dense = t.is_contiguous() or (t.ndim > 1 and t.mT.is_contiguous())
        if not dense and _offsets(t).unique().numel() < t.numel():
            raise ValueError(f"several elements of {name} lie in one place of its memory: give {name}.clone()")
        with suppress(NotImplementedError):  # torch.func's tensors have no memory
            stretches.append((*_begin(t), k))
    before: list[tuple[int, int, int]] = []  # with their ends, those that reach into the next one
    for memory, first, k in sorted(stretches):
        before = [each for each in before if each[0] == memory and each[1] > first]
        for *_, i in before:
            (other, u), (name, t) = tensors[min(i, k)], tensors[max(i, k)]
            if bool(torch.isin(_places(t), _places(u)).any()):
                raise ValueError(f"{name} shares memory with {other}, and a step changes both: give {name}.clone()")
        before.append((memory, first + _span(tensors[k][1]), k))


def _begin(t: Tensor) -> tuple[int, int]:
    """In which memory a tensor lies, and its first byte in it; 0 is the memory of the device."""
    storage, offset = t.untyped_storage(), int(t.storage_offset()) * t.element_size()
    if storage.device.type == "meta":  # a fake tensor's too: it has no address
        return storage._cdata, offset
    return 0, storage.data_ptr() + offset


def _span(t: Tensor) -> int:
    """Bytes from the first element of a tensor to behind its last."""
    return t.element_size() * (1 + sum((n - 1) * step for n, step in zip(t.shape, t.stride(), strict=True)))


def _places(t: Tensor) -> Tensor:
    """The byte at which each element of a tensor begins in its memory."""
    return _begin(t)[1] + t.element_size() * _offsets(t)


def _offsets(t: Tensor) -> Tensor:
    """How many elements behind its first each element of a tensor lies."""
    count = _span(t) // t.element_size()
    return torch.arange(count, dtype=torch.int64, device="cpu").as_strided(t.shape, t.stride(), 0)

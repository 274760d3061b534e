"""What a user can get wrong, said in one sentence before any work starts. Plain raises: `python -O` keeps them."""

import math
from collections.abc import Iterable
from numbers import Integral, Real

import torch
from torch import Tensor

MOST = 2**63 - 1  # what torch's sizes and indices hold
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def one_of(what: str, name: object, known: Iterable[str]) -> str:
    """`name` itself, if it is one of the known names."""
    known = tuple(known)
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"unknown {what} {name!r}: choose one of {', '.join(known)}")
    return name


def whole(what: str, value: object, least: int) -> int:
    """`value` as an int, if it is a whole number from `least` to 2**63 - 1."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{what} must be a whole number of at least {least}, not {value!r}")
    if int(value) > MOST:
        raise ValueError(f"{what} must be a whole number of at most 2**63 - 1, and it is larger")
    return int(value)


def seed(value: object) -> int:
    """`value` as an int, if it is a seed: torch's CPU generator keeps 32 bits of it."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not 0 <= int(value) < 2**32:
        raise ValueError(f"seed must be a whole number from 0 to 2**32 - 1, not {value!r}")
    return int(value)


def positive(what: str, value: object) -> float:
    """`value` as a float, if it is positive and finite."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < _float(value) < math.inf:
        raise ValueError(f"{what} must be a positive, finite number, not {_in_words(value)}")
    return float(value)


def finite(what: str, value: object) -> float:
    """`value` as a float, if it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(_float(value)):
        raise ValueError(f"{what} must be a finite number, not {_in_words(value)}")
    return float(value)


def _float(value: Real) -> float:
    """A number as a float; infinite where it is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _in_words(value: object) -> str:
    """A value for a message; a whole number of very many digits by their number."""
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a whole number of over 30 digits"
    return repr(value)


def available_device(device: str | torch.device) -> torch.device:
    """`device` as a torch.device, if this machine has it."""
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"unknown device {device!r}: use 'cpu', 'cuda' or 'cuda:N'") from error
    if chosen.type not in ("cpu", "cuda"):
        raise ValueError(f"device {chosen.type!r} is not supported: use 'cpu', 'cuda' or 'cuda:N'")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"{str(chosen)!r} was asked for, and torch sees {torch.cuda.device_count()} CUDA devices: use 'cpu'"
        )
    return chosen


def examples(x: object, n_in: int, like: Tensor) -> Tensor:
    """`x`, if it is a (…, m, n_in) batch of the dtype and on the device of `like` (a weight of the network)."""
    if not isinstance(x, Tensor):
        raise ValueError(f"x must be a torch.Tensor, not {type(x).__name__}: convert it with torch.as_tensor(x)")
    if x.ndim < 2 or x.shape[-1] != n_in:
        raise ValueError(f"x must have the shape (m, {n_in}), one example a row, not {tuple(x.shape)}")
    if x.shape[-2] == 0:
        raise ValueError("x holds no examples: give at least one row")
    _same_dtype("x", x, like)
    _same_device("x", x, like)
    return x


def targets(y: object, x: Tensor, n_out: int, like: Tensor) -> Tensor:
    """The targets of the examples x as a (…, m, n_out) matrix: class indices become one-hot rows."""
    y = indices_or_matrix(y, x, n_out, like)
    return y if y.is_floating_point() else one_hot(y, n_out, like.dtype)


def one_hot(y: Tensor, n_out: int, dtype: torch.dtype) -> Tensor:
    """Class indices (…, m) as rows (…, m, n_out) of zeros and a one."""
    return (y.unsqueeze(-1) == torch.arange(n_out, dtype=torch.int64, device=y.device)).to(dtype)


def indices_or_matrix(y: object, x: Tensor, n_out: int, like: Tensor) -> Tensor:
    """`y`, if it can be the targets of the examples x: class indices (…, m) or a matrix (…, m, n_out)."""
    if not isinstance(y, Tensor):
        raise ValueError(f"y must be a torch.Tensor, not {type(y).__name__}: convert it with torch.as_tensor(y)")
    m = x.shape[-2]
    if y.is_floating_point():
        if y.ndim < 2 or y.shape[-2:] != (m, n_out):
            raise ValueError(
                f"y must be {m} int64 class indices, or a floating matrix of shape ({m}, {n_out}), "
                f"not {y.dtype} of shape {tuple(y.shape)}"
            )
        _same_dtype("y", y, like)
        _same_device("y", y, like)
        return y
    if y.dtype == torch.bool or y.is_complex():
        raise ValueError(
            f"y must be int64 class indices or a {like.dtype} matrix, not {y.dtype}: convert it with y.to(…)"
        )
    if y.ndim < 1 or y.shape[-1] != m:
        raise ValueError(
            f"y must hold one class index for each of the {m} examples of x, not the shape {tuple(y.shape)}"
        )
    _same_device("y", y, like)
    least, most = int(y.min()), int(y.max())
    if least < 0 or most >= n_out:
        raise ValueError(
            f"class indices run from 0 to {n_out - 1} for a network of {n_out} outputs, and y holds "
            f"{least if least < 0 else most}"
        )
    return y


def _same_dtype(name: str, tensor: Tensor, like: Tensor) -> None:
    if tensor.dtype != like.dtype:
        raise ValueError(
            f"{name} is {tensor.dtype} and the network {like.dtype}: convert one, with {name}.to({like.dtype}), say"
        )


def _same_device(name: str, tensor: Tensor, like: Tensor) -> None:
    if tensor.device != like.device:
        raise ValueError(f"{name} is on {tensor.device} and the network on {like.device}: move one, with .to(device)")

"""What a user can get wrong, said in one sentence before any work starts. Plain raises: `python -O` keeps them."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, cast

import torch
from torch import Tensor

from bp_torch import given, sparse
from bp_torch.errors import reason

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


def within(what: str, value: object, low: float, high: float = math.inf) -> float:
    """`value` as a float, if it is a number from `low` to below `high`."""
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= _float(value) < high:
        bounds = f"from {low:g} to below {high:g}" if high < math.inf else f"of {low:g} or more, and finite"
        raise ValueError(f"{what} must be a number {bounds}, not {_in_words(value)}")
    return float(value)


def flag(what: str, value: object) -> bool:
    """`value` as a bool, if it is True or False, of NumPy's kind too."""
    if type(value).__name__ not in ("bool", "bool_"):  # NumPy's is called so, before its version 2 and after
        raise ValueError(f"{what} must be True or False, not {value!r}")
    return bool(value)


def share(what: str, value: object) -> float:
    """`value` as a float, if it is a number between 0 and 1, neither of them included."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < _float(value) < 1:
        raise ValueError(f"{what} must be a number above 0 and below 1, not {_in_words(value)}")
    return float(value)


def pairs(what: str, value: object, example: str) -> list[tuple[object, object]]:
    """A mapping's pairs, or those of its text, as in "0:1,3:5"; a number in a text is one."""
    if isinstance(value, Mapping):
        return list(cast(Mapping[object, object], value).items())
    read: list[tuple[object, object]] = []
    for part in str(value).split(","):
        name, colon, number = part.rpartition(":")
        try:
            read.append((name.strip(), float(number if colon else "none")))
        except ValueError:
            raise ValueError(f"{what} must be names with numbers, as in {example}, not {value!r}") from None
    return read


def betas(value: object) -> tuple[float, float]:
    """`value` as two floats, if it is a pair of numbers from 0 to below 1."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f"betas must be two numbers, as in (0.9, 0.999), not {value!r}")
    return within("betas[0]", value[0], 0, 1), within("betas[1]", value[1], 0, 1)


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


def dtype_of(what: str, dtype: object) -> torch.dtype:
    """`dtype`, if a network can be of it."""
    if dtype not in DTYPES:
        raise ValueError(f"{what} must be one of {', '.join(map(str, DTYPES))}, not {dtype}")
    return cast(torch.dtype, dtype)


def entries(what: str, values: object, kind: type, table: str) -> None:
    """Raises ValueError where values are not all of this kind, as those of a table of the package are."""
    for value in values if isinstance(values, Sequence) and not isinstance(values, str) else [values]:
        if not isinstance(value, kind):
            found = f"{table}[{value!r}]" if isinstance(value, str) else f"an entry of {table}"
            raise ValueError(f"{what} must be bp.{kind.__name__}, not {type(value).__name__}: give {found}")


def examples(x: object, n_in: int, like: Tensor) -> Tensor:
    """`x`, if it is a (…, m, n_in) batch of the dtype and on the device of `like` (a weight of the network).

    What is no tensor becomes one, where that loses nothing: see `given`. A sparse one, of torch or of SciPy, (m, n_in),
    is returned in compressed rows.
    """
    if not isinstance(x, Tensor):
        x = _of_scipy(x, like) if sparse.is_scipy(x) else given.examples(x, like)
    if x.layout in sparse.LAYOUTS:
        x = _compressed(x, like)
    else:
        _dense("x", x)
    if x.ndim < 2 or x.shape[-1] != n_in:
        raise ValueError(f"x must have the shape (m, {n_in}), one example a row, not {tuple(x.shape)}")
    if x.shape[-2] == 0:
        raise ValueError("x holds no examples: give at least one row")
    if not _broadcast(x.shape[:-2], like.shape[:-2]):
        raise ValueError(
            f"x is of {tuple(x.shape[:-2])} batches and the network a stack of {tuple(like.shape[:-2])}: give one "
            "batch for all, (m, n_0), or one a network, (K, m, n_0)"
        )
    _same_dtype("x", x, like)
    _same_device("x", x, like)
    return x


def targets(y: object, x: Tensor, n_out: int, like: Tensor) -> Tensor:
    """The targets of the examples x as a (…, m, n_out) matrix: class indices become one-hot rows."""
    y = indices_or_matrix(y, x, n_out, like)
    return y if y.is_floating_point() else one_hot(y, n_out, like.dtype)


def tensor_of_targets(y: object, m: int, n_out: int, like: Tensor) -> Tensor:
    """`y` as a tensor, which nothing else is known of yet."""
    return y if isinstance(y, Tensor) else given.targets(y, m, n_out, like)


def one_hot(y: Tensor, n_out: int, dtype: torch.dtype) -> Tensor:
    """Class indices (…, m) as rows (…, m, n_out) of zeros and a one. One output tells two classes: as its 0 or 1."""
    if n_out == 1:
        return y.unsqueeze(-1).to(dtype)
    return (y.long().unsqueeze(-1) == torch.arange(n_out, dtype=torch.int64, device=y.device)).to(dtype)


def indices_or_matrix(y: object, x: Tensor, n_out: int, like: Tensor) -> Tensor:
    """`y`, if it can be the targets of the examples x: class indices (…, m), as int64, or a matrix (…, m, n_out).

    What is no tensor becomes one: see `given.targets`. Leading dimensions are those of a stack, or of several batches
    x: for one network and one batch, (m,) or (m, n_out).
    """
    m = x.shape[-2]
    y = tensor_of_targets(y, m, n_out, like)
    _dense("y", y)
    leading = like.shape[:-2] if x.ndim == 2 else torch.broadcast_shapes(x.shape[:-2], like.shape[:-2])
    if y.is_floating_point():
        if y.ndim < 2 or y.shape[-2:] != (m, n_out) or not _broadcast(y.shape[:-2], leading, leading):
            hint = ""
            if y.shape == (m,):
                hint = ": give y.long() for classes, y.unsqueeze(1) for values" if n_out == 1 else ": give y.long()"
            raise ValueError(
                f"y must be {m} int64 class indices, or a floating matrix of shape ({m}, {n_out}), "
                f"not {y.dtype} of shape {tuple(y.shape)}{hint}"
            )
        _same_dtype("y", y, like)
        _same_device("y", y, like)
        return y
    if y.dtype == torch.bool or y.is_complex():
        way = "y.long()" if y.shape[-1:] == (m,) and y.ndim == 1 else f"y.to({like.dtype})"
        raise ValueError(f"y must be int64 class indices or a {like.dtype} matrix, not {y.dtype}: give {way}")
    if y.ndim < 1 or y.shape[-1] != m or not _broadcast(y.shape[:-1], leading, leading):
        way = ""
        if y.ndim > 1:
            classes = "y.flatten()" if y.numel() == m else "y.argmax(-1)"
            way = f": give {classes} for classes, y.to({like.dtype}) for a matrix of targets"
        raise ValueError(
            f"y must hold one class index for each of the {m} examples of x, ({m},), not the shape "
            f"{tuple(y.shape)}{way}"
        )
    _same_device("y", y, like)
    y = y.long()
    least, most, classes = int(y.min()), int(y.max()), max(2, n_out)
    if least < 0 or most >= classes:
        values = ": values must be floating numbers" if n_out == 1 else ""
        raise ValueError(
            f"class indices run from 0 to {classes - 1} for a network of {n_out} output{'s' * (n_out > 1)}, and y "
            f"holds {least if least < 0 else most}{values}"
        )
    return y


def reached(name: str, y: Tensor, reach: tuple[float, float], output: str, sums_to_one: bool) -> None:
    """Raises ValueError for targets (m, n_out) that outputs can't be: beyond their reach, or no shares of one whole.

    output: what the outputs are called. Values that are not finite are left to training, which names them.
    """
    low, high = reach
    rounding = 8 * torch.finfo(y.dtype).eps
    within = ((y >= low - rounding) & (y <= high + rounding)) | ~y.isfinite()
    if not bool(within.all()):
        row, column = (~within).nonzero()[0].tolist()
        bounds = f"from {low:g} to {high:g}" if high < math.inf else f"{low:g} and more"
        raise ValueError(
            f"{name}: y[{row}, {column}] is {y[row, column]:g}, and {output} outputs are {bounds}: scale the targets, "
            "or make the network with cost='quadratic' and output='identity'"
        )
    if not sums_to_one:
        return
    sums = y.sum(-1, dtype=torch.float64)
    whole = ((sums - 1).abs() <= max(1e-3, rounding)) | ~sums.isfinite()
    if not bool(whole.all()):
        row = int((~whole).nonzero()[0])
        way = "divide each row by its sum, or use cost='binary_cross_entropy' for several classes at once"
        if y.shape[-1] == 1:
            way = "one output tells two classes with cost='binary_cross_entropy'"
        raise ValueError(
            f"{name}: y[{row}] sums to {sums[row]:g}, and the targets of {output} outputs are shares that sum to 1: "
            f"{way}"
        )


def result_of(what: str, like: Tensor, function: Callable[..., object], *arguments: object) -> Tensor:
    """What an own function gives, if it is a tensor like `like`."""
    try:
        result = function(*arguments)
    except Exception as error:
        raise ValueError(
            f"{what} fails for a tensor of {like.dtype} ({reason(error)}): write it with torch's own functions, "
            "torch.sin for math.sin, say"
        ) from error
    if not isinstance(result, Tensor) or (result.shape, result.dtype) != (like.shape, like.dtype):
        shown = f"{result.dtype} of {tuple(result.shape)}" if isinstance(result, Tensor) else type(result).__name__
        raise ValueError(f"{what} must give {like.dtype} of {tuple(like.shape)} here, not {shown}")
    return result


def _broadcast(shape: torch.Size, other: torch.Size, to: torch.Size | None = None) -> bool:
    """Whether two shapes go together; `to`: and give this one."""
    if not shape:  # as it mostly is; torch takes its time
        return to in (None, other)
    try:
        return to in (None, torch.broadcast_shapes(shape, other))
    except RuntimeError:
        return False


def _of_scipy(x: Any, like: Tensor) -> Tensor:
    """A sparse matrix of SciPy as a tensor like the network, where that loses nothing."""
    if len(x.shape) != 2:
        raise ValueError(f"sparse x must have the shape (m, n), one example a row, not {tuple(x.shape)}")
    _for_sparse(like)
    if x.dtype.kind == "c":
        raise ValueError(f"x is a sparse matrix of {x.dtype}: give real numbers, as x.real has them")
    made = sparse.of_scipy(x, like.dtype, like.device)
    if made is None:
        name = str(like.dtype).removeprefix("torch.")
        raise ValueError(
            f"x is a sparse matrix of {x.dtype}, and {like.dtype}, as the network is, does not hold its values "
            f"exactly: round them with x.astype({name!r})"
        )
    return made


def _compressed(x: Tensor, like: Tensor) -> Tensor:
    if x.ndim != 2:
        raise ValueError(f"sparse x must have the shape (m, n), one example a row, not {tuple(x.shape)}")
    _for_sparse(like)
    return sparse.canonical(x)


def _for_sparse(like: Tensor) -> None:
    if like.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"sparse x needs a network of torch.float32 or torch.float64, not {like.dtype}: give net.to(torch.float32)"
        )


def _dense(name: str, tensor: Tensor) -> None:
    if tensor.is_nested:
        raise ValueError(f"{name} is a nested tensor, and it must be one block: give torch.stack({name}.unbind())")
    if tensor.layout != torch.strided:
        raise ValueError(f"{name} is a tensor of layout {tensor.layout}, and it must be dense: give {name}.to_dense()")


def _same_dtype(name: str, tensor: Tensor, like: Tensor) -> None:
    if tensor.dtype != like.dtype:
        raise ValueError(
            f"{name} is {tensor.dtype} and the network {like.dtype}: convert one, with {name}.to({like.dtype}), say"
        )


def _same_device(name: str, tensor: Tensor, like: Tensor) -> None:
    if tensor.device != like.device:
        raise ValueError(
            f"{name} is on {tensor.device} and the network on {like.device}: give {name}.to({str(like.device)!r})"
        )

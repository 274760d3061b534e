"""What people have their numbers in, as tensors: NumPy's arrays and what becomes one, frames and columns, lists.

It is done where it loses nothing: the network's dtype holds every value. So a number is never rounded that its owner
did not ask to round.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class HasArray(Protocol):
    """An array, a frame, a column of one: what NumPy can make an array of."""

    def __array__(self) -> Any: ...


Given = Tensor | HasArray | Sequence[Any]
"""What examples and targets can be given as."""

_NUMPY = {torch.float64: np.float64, torch.float32: np.float32, torch.float16: np.float16, torch.int64: np.int64}
_AT_A_TIME = 1 << 18  # values that are compared, so that they stay in a core's cache
_MOST_WHOLE = 2**62  # beyond it a whole number that was rounded up may not fit its own dtype


class _UnfitError(Exception):
    """Why something is not taken, for the middle of a sentence."""


class _Parts(NamedTuple):
    """One array; or the columns (m,) of a frame whose columns are of several dtypes."""

    arrays: list[NDArray[Any]]
    columns: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        first = self.arrays[0].shape
        return (*first, len(self.arrays)) if self.columns else first

    @property
    def whole(self) -> bool:
        """Whether all are of whole numbers, or of true and false."""
        return all(array.dtype.kind in "biu" for array in self.arrays)


def shape(value: object) -> tuple[int, ...]:
    """The shape of a tensor, an array or a frame; () for what has none."""
    if isinstance(value, Tensor) and value.is_nested:
        return ()
    found = getattr(value, "shape", ())
    return found if isinstance(found, tuple) else ()


def examples(x: object, like: Tensor) -> Tensor:
    """`x`, which is no tensor, as one of the dtype and on the device of `like`. Raises ValueError where it can't be."""
    try:
        return _joined("x", _parts("x", x), like.dtype).to(like.device)
    except _UnfitError as why:
        line = as_tensor("x", x, like.dtype, like)
        raise ValueError(f"x must be a torch.Tensor, not {type(x).__name__}{why}: give {line}") from None


def targets(y: object, m: int, n_out: int, like: Tensor) -> Tensor:
    """`y`, which is no tensor, as the targets of m examples: class indices, int64, or a matrix of the dtype of `like`.

    Whole numbers, and true and false, are class indices (m,), also in a column (m, 1); where there is one for each
    output, (m, n_out), they are a matrix. Other numbers are a matrix; of one output also as (m,). Raises ValueError.
    """
    try:
        parts = _parts("y", y)
        alone = like.ndim == 2  # of a stack, leading dimensions may be meant
        matrix = not parts.whole or (alone and parts.shape == (m, n_out))
        result = _joined("y", parts, like.dtype if matrix else torch.int64).to(like.device)
    except _UnfitError as why:
        if holds_names(y):
            raise ValueError(
                "y must be a torch.Tensor, and it holds names: with all classes in a list, names, give their numbers, "
                "torch.as_tensor([names.index(name) for name in y])"
            ) from None
        flat = ".flatten()" if getattr(y, "shape", None) == (m, 1) else ""
        column = ".view(-1, 1)" if n_out == 1 else ""
        raise ValueError(
            f"y must be a torch.Tensor, not {type(y).__name__}{why}: give class indices ({m},) as "
            f"{as_tensor('y', y, torch.int64, like)}{flat}, or a matrix ({m}, {n_out}) as "
            f"{as_tensor('y', y, like.dtype, like)}{column}"
        ) from None
    if alone and matrix and result.shape == (m,):
        if n_out > 1:
            line = as_tensor("y", y, torch.int64, like)
            raise ValueError(
                f"y must be class indices ({m},) of whole numbers, or a matrix ({m}, {n_out}), not {result.dtype} of "
                f"shape ({m},): give {line}"
            )
        return result.unsqueeze(1)
    return result.flatten() if alone and not matrix and result.shape == (m, 1) else result


def numbers(value: Any) -> Tensor:
    """A tensor as it is, all else in float64 on the CPU. Raises TypeError, ValueError or RuntimeError."""
    if isinstance(value, Tensor):
        return value
    if not hasattr(value, "__array__"):
        return torch.as_tensor(value, dtype=torch.float64, device="cpu")
    try:
        return _joined("it", _parts("it", value), torch.float64)
    except _UnfitError as why:
        raise TypeError(f"not {type(value).__name__}{why}") from None


def as_tensor(name: str, value: object, dtype: torch.dtype, like: Tensor) -> str:
    """The line that makes a tensor of this dtype of an array, a data frame, a sparse matrix or a list."""
    device = "" if like.device.type == "cpu" else f", device={str(like.device)!r}"
    kind = "float" if dtype.is_floating_point else "int"
    dense = f"{name}.toarray()" if hasattr(value, "toarray") else name
    if hasattr(value, "to_numpy"):  # a frame's columns may be of several dtypes
        dense = f"{name}.to_numpy().astype({kind})"
    elif not _torch_reads(getattr(value, "__array_interface__", {})):
        dense = f"{name}.astype({kind})"
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], Tensor):
        return f"torch.stack([*{name}]).to(dtype={dtype}{device})"
    return f"torch.as_tensor({dense}, dtype={dtype}{device})"


def _parts(name: str, value: Any) -> _Parts:
    """`value` as arrays of numbers. Raises _UnfitError; ValueError where a frame lacks values or holds others."""
    if hasattr(value, "to_numpy") and len(shape(value)) == 2:
        return _of_frame(name, value)
    if hasattr(value, "to_numpy") and len(shape(value)) == 1:
        array = _of_column(name, value)
    elif isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(f"{name} lacks values, where its mask is set: fill them, as {name}.filled(0) does")
    elif hasattr(value, "__array__") or (isinstance(value, (list, tuple, range)) and not _holds_tensors(value)):
        try:
            array = np.asarray(value)
        except Exception:  # what an object of any class raises; a list whose rows are not equally long
            raise _UnfitError from None
    else:
        raise _UnfitError
    if array.dtype.kind not in "biuf":
        raise _UnfitError(f" of {array.dtype}")
    return _Parts([array])


def _of_frame(name: str, frame: Any) -> _Parts:
    """A frame of pandas, polars or their like: one array, where its columns are of one dtype, else one a column."""
    of_polars, dtypes = hasattr(frame, "null_count"), list(frame.dtypes)
    if not dtypes:
        raise ValueError(f"{name} has no columns: give at least one")
    alike = len(set(dtypes)) == 1
    if alike and (not any(frame.null_count().row(0)) if of_polars else isinstance(dtypes[0], np.dtype)):
        array = np.asarray(frame.to_numpy())
        if array.dtype.kind in "biuf":
            return _Parts([array])
    columns = frame.get_columns() if of_polars else [frame.iloc[:, k] for k in range(frame.shape[1])]
    arrays = []
    for label, column in zip(frame.columns, columns, strict=True):
        arrays.append(_of_column(f"{name}, in its column {label!r},", column))
        if arrays[-1].dtype.kind not in "biuf":
            raise ValueError(
                f"{name} must hold numbers, and its column {label!r} is of {column.dtype}: leave it out, or make "
                "numbers of it, as pandas.get_dummies does of text"
            )
    return _Parts(arrays, columns=True)


def _of_column(what: str, column: Any) -> NDArray[Any]:
    """A column of a frame. Raises ValueError where it lacks values; NaN, in a column of plain floats, is a value."""
    if hasattr(column, "null_count"):  # polars
        lacks = bool(column.null_count())
    else:
        lacks = not isinstance(column.dtype, np.dtype) and bool(column.isna().any())
    if lacks:
        raise ValueError(f"{what} lacks values: fill them, or leave these rows out")
    return np.asarray(column.to_numpy())


def _joined(name: str, parts: _Parts, dtype: torch.dtype) -> Tensor:
    """The parts as one tensor of this dtype, on the CPU. Raises _UnfitError where that would change a value."""
    tensors = [_tensor(array, dtype) for array in parts.arrays]
    for k, (array, tensor) in enumerate(zip(parts.arrays, tensors, strict=True)):
        place = _first_changed(array, tensor)
        if place is not None:
            shown = ", ".join(map(str, [*place, k] if parts.columns else place))
            value = array[place].item()
            raise _UnfitError(f" of {array.dtype}, for {dtype} would round {name}[{shown}], {value!r}")
    return torch.stack(tensors, 1) if parts.columns else tensors[0]


def exactly(array: NDArray[Any], dtype: torch.dtype) -> Tensor | None:
    """An array of numbers as a tensor on the CPU; None where this dtype does not hold them all."""
    if array.dtype.kind not in "biuf":
        return None
    tensor = _tensor(array, dtype)
    return tensor if _first_changed(array, tensor) is None else None


def _tensor(array: NDArray[Any], dtype: torch.dtype) -> Tensor:
    """Converted by torch, which is quicker at it; from memory that it takes: in rows, forwards, and writable."""
    own = array.dtype.newbyteorder("=") if array.dtype.itemsize <= 8 else np.dtype(np.float64)  # torch's largest
    with np.errstate(over="ignore"):  # `_first_changed` finds it
        taken = np.require(array, own, ["C", "A", "W"])
    return torch.as_tensor(taken, dtype=None, device="cpu").to(dtype)


def _first_changed(array: NDArray[Any], tensor: Tensor) -> tuple[int, ...] | None:
    """Where the tensor first holds another value than the array; NaN is NaN."""
    wide = array.dtype.kind in "iu" and array.dtype.itemsize == 8  # which NumPy deems float64 to hold
    if tensor.dtype in _NUMPY and not wide and np.can_cast(array.dtype, _NUMPY[tensor.dtype]):
        return None
    array, tensor = np.atleast_1d(array), torch.atleast_1d(tensor)
    rows = max(1, _AT_A_TIME // max(1, array[:1].size))
    for first in range(0, len(array), rows):
        part = tensor[first : first + rows]
        now = part.float().numpy() if tensor.dtype == torch.bfloat16 else part.numpy()
        changed = np.argwhere(_changed(array[first : first + rows], now))
        if len(changed):
            row, *rest = changed[0].tolist()
            return (first + row, *rest)
    return None


def _changed(values: NDArray[Any], now: NDArray[Any]) -> NDArray[np.bool_]:
    if values.dtype.kind == "f":
        return (now.astype(np.result_type(now, values)) != values) & ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        same = (now.astype(values.dtype) == values) & (values <= _MOST_WHOLE) & (values >= -_MOST_WHOLE)
    return ~same


def _holds_tensors(values: Sequence[Any]) -> bool:
    return any(isinstance(value, Tensor) for value in values)


def _torch_reads(array: Mapping[str, Any]) -> bool:
    """Whether torch takes an array as it is, by what NumPy says of it: of numbers, little-endian, forwards."""
    order, kind = array.get("typestr", "|f")[:2]
    return order != ">" and kind in "biufc" and all(step >= 0 for step in array.get("strides") or ())


def holds_names(y: object) -> bool:
    """Whether a list, an array or a column of a frame holds text."""
    if isinstance(y, (str, bytes)) or not (isinstance(y, Sequence) or len(shape(y)) == 1):
        return False
    return isinstance(next(iter(cast(Iterable[object], y)), None), str)

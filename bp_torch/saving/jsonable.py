"""Nested tables of tensors and numbers, such as an optimiser's state, as JSON with the tensors taken out."""

from typing import Any

from torch import Tensor

PLAIN = (str, bool, int, float, type(None))


def packed(value: Any, prefix: str, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON can hold it; its tensors are put into `tensors`, under names that begin with `prefix`.

    A table becomes {"dict": [[key, value], …]}, since JSON's keys are text only, a tensor {"tensor": its name}.
    Raises ValueError for what is neither a table, a row, a tensor, a number nor text.
    """
    if isinstance(value, Tensor):
        name = f"{prefix}{len(tensors)}"
        tensors[name] = value.detach().clone().contiguous()  # a clone: safetensors refuses tensors that share memory
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[packed(k, prefix, tensors), packed(v, prefix, tensors)] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        return {"list" if isinstance(value, list) else "tuple": [packed(each, prefix, tensors) for each in value]}
    if not isinstance(value, PLAIN):
        raise ValueError(f"an optimiser's state of tensors and numbers can be saved, and this one holds {value!r}")
    return value


def unpacked(value: Any, tensors: dict[str, Tensor]) -> Any:
    """What `packed` was given; takes its tensors out of `tensors`. Raises ValueError, KeyError or TypeError."""
    if isinstance(value, PLAIN):
        return value
    ((kind, of),) = value.items()
    if kind == "tensor":
        return tensors.pop(of).clone()
    if kind == "dict":
        return {unpacked(k, tensors): unpacked(v, tensors) for k, v in of}
    return {"list": list, "tuple": tuple}[kind](unpacked(each, tensors) for each in of)

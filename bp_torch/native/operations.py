"""The operations of torch that can be printed, and the C++ text of each elementwise one.

An element is a `real` (the network's dtype) or a `bool`. An entry of the tables takes the texts of an operation's
arguments by torch's own names for them: an argument that it has no name for (a rounding mode, say) can't be printed.
"""

import math
from collections.abc import Callable

import torch

from bp_torch.errors import EngineError

aten = torch.ops.aten
Text = Callable[..., str]


class UnprintableError(EngineError):
    """What can't be printed exactly; the message names it."""


def number(value: object, dtype: torch.dtype) -> str:
    """A Python number as an element of this dtype."""
    if not isinstance(value, (int, float)):
        raise UnprintableError(f"the argument {value}")
    if dtype == torch.bool:
        return "true" if value else "false"
    if math.isinf(value):
        return f"real({'-' if value < 0 else ''}__builtin_inf())"
    if abs(value) > torch.finfo(dtype).max or int(float(value)) != int(value):
        raise UnprintableError(f"the number {value}, which {dtype} does not hold")
    return f"real({float(value)!r})"


def whole(value: object) -> str:
    """A Python number as a whole number of 32 bits, which C++ counts in modulo 2³²."""
    if not isinstance(value, int) or not -(2**31) <= value < 2**31:
        raise UnprintableError(f"the argument {value} of whole numbers")
    return f"uint32_t({value % 2**32}u)"


def _plus(self: str, other: str, alpha: str | None = None) -> str:
    return f"({self} + {other})" if alpha is None else f"({self} + {alpha} * {other})"


def _minus(self: str, other: str, alpha: str | None = None) -> str:
    return f"({self} - {other})" if alpha is None else f"({self} - {alpha} * {other})"


def _clamp(self: str, min: str | None = None, max: str | None = None) -> str:  # noqa: A002 (torch's names)
    low = self if min is None else f"larger({self}, {min})"
    return low if max is None else f"smaller({low}, {max})"


def _addcmul(self: str, tensor1: str, tensor2: str, value: str | None = None) -> str:
    return f"({self} + {'' if value is None else f'{value} * '}{tensor1} * {tensor2})"


def _square(self: str, exponent: str) -> str:
    if exponent != "real(2.0)":
        raise UnprintableError("a power other than the square")
    return f"square({self})"


def _function(name: str) -> Text:
    return lambda self: f"{name}({self})"


def _operator(symbol: str) -> Text:
    return lambda self, other: f"({self} {symbol} {other})"


# From reals to a real.
ARITHMETIC: dict[object, Text] = {
    aten.add: _plus,
    aten.add_: _plus,
    aten.sub: _minus,
    aten.rsub: lambda self, other, alpha=None: _minus(other, self, alpha),
    aten.mul: _operator("*"),
    aten.mul_: _operator("*"),
    aten.div: _operator("/"),
    aten.addcmul: _addcmul,
    aten.neg: lambda self: f"(-{self})",
    aten.reciprocal: lambda self: f"(1 / {self})",
    aten.pow: _square,
    aten.abs: _function("abs"),
    aten.sign: _function("sign"),
    aten.sqrt: _function("sqrt"),
    aten.exp: _function("exp"),
    aten.expm1: _function("expm1"),
    aten.log: _function("log"),
    aten.log1p: _function("log1p"),
    aten.sin: _function("sin"),
    aten.cos: _function("cos"),
    aten.tanh: _function("tanh"),
    aten.erf: _function("erf"),
    aten.sigmoid: lambda self: f"(1 / (1 + exp(-{self})))",
    aten.relu: lambda self: f"larger({self}, real(0))",
    aten.clamp: _clamp,
    aten.clamp_min: _clamp,
    aten.clamp_max: _clamp,
    aten.maximum: lambda self, other: f"larger({self}, {other})",
    aten.minimum: lambda self, other: f"smaller({self}, {other})",
}

# From reals to a bool.
COMPARISONS: dict[object, Text] = {
    aten.gt: _operator(">"),
    aten.ge: _operator(">="),
    aten.lt: _operator("<"),
    aten.le: _operator("<="),
    aten.eq: _operator("=="),
    aten.ne: _operator("!="),
}

# From bools to a bool.
LOGIC: dict[object, Text] = {
    aten.logical_and: _operator("&"),
    aten.logical_or: _operator("|"),
    aten.logical_xor: _operator("!="),
    aten.logical_not: lambda self: f"(!{self})",
    aten.bitwise_and: _operator("&"),
    aten.bitwise_or: _operator("|"),
    aten.bitwise_xor: _operator("!="),
    aten.bitwise_not: lambda self: f"(!{self})",
}

# From whole numbers (int32) to one: overflow wraps around, and a shift to the right brings in copies of the sign.
WHOLE: dict[object, Text] = {
    aten.mul: _operator("*"),
    aten.bitwise_and: _operator("&"),
    aten.bitwise_xor: _operator("^"),
    aten.__rshift__: lambda self, other: f"uint32_t(int32_t({self}) >> {other})",
}

# From whole numbers to a bool.
WHOLE_COMPARISONS: dict[object, Text] = {
    aten.ge: lambda self, other: f"(int32_t({self}) >= int32_t({other}))",
}

ELEMENTWISE = {*ARITHMETIC, *COMPARISONS, *LOGIC, *WHOLE, aten.where, aten._to_copy}
IN_PLACE = {aten.add_, aten.mul_}
TRANSPOSES = {aten.transpose, aten.t}
CONSTANTS = {
    **dict.fromkeys((aten.ones, aten.ones_like, aten.new_ones), 1),
    **dict.fromkeys((aten.zeros, aten.zeros_like, aten.new_zeros), 0),
    **dict.fromkeys((aten.full, aten.full_like, aten.new_full, aten.scalar_tensor), None),  # the value is an argument
}
SOFTMAX = {aten._softmax, aten._log_softmax}
UPDATES = {aten.addmm_, aten.addmv_, aten.copy_}
COMPOSED: dict[object, Callable[..., torch.Tensor]] = {  # torch's one call for several operations
    aten.addmm: lambda b, a, w: aten.mm(a, w).add_(b),
    aten.elu: lambda z: torch.where(z > 0, z, torch.expm1(z)),
    aten.softplus: lambda z: z.clamp(min=0) + torch.log1p(torch.exp(-z.abs())),
    aten.silu: lambda z: z * z.sigmoid(),
    aten.gelu: lambda z: z * (0.5 * (1 + torch.erf(z * math.sqrt(0.5)))),
}
PLACES = {aten.arange, aten.view}  # an element's place in its matrix
PRINTED = {*ELEMENTWISE, *TRANSPOSES, *CONSTANTS, *SOFTMAX, *UPDATES, *PLACES, aten.unsqueeze, aten.mm, aten.sum}

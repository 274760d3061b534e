"""ACTIVATIONS: one entry each, the function f and its derivative σ′ side by side. To add one, add one entry.

`derivative(z, a)` gets the weighted input z and the activation a = f(z), and most entries need a alone.
f and σ′ are elementwise: a tensor of any shape, floating dtype and device gives one of the same.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from bp_torch import pickling


@dataclass(frozen=True)
class Activation:
    """An elementwise activation function and its derivative.

    name: how `Network.create`, files and messages refer to it.
    f: z -> a.
    derivative: (z, a) -> σ′(z), where a = f(z); write it in terms of a where that is possible.
    init: the initialiser (a key of `INITIALISERS`) that suits a layer of it; the default of `Network.create`.
    needs_z: whether `derivative` reads z. Where it doesn't, training keeps a alone.
    reach: the bounds of a, lowest and highest. Targets beyond them are refused. Outputs without a bound on both sides
        are values, not classes: see `Network.predict`.

    An own one is taken wherever a name is. It pickles where its functions do: those that are written by def at the top
    of a module. To save a network that has it by `bp.save`, register it first, and register it again before loading the
    file: `bp.ACTIVATIONS["softsign"] = mine`, with "softsign" as its name.
    """

    name: str
    f: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor, Tensor], Tensor]
    init: str = "xavier"
    needs_z: bool = True
    reach: tuple[float, float] = (-math.inf, math.inf)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """See `pickling`. It never changes, and so a copy of it is itself."""
        return pickling.reduced(self)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


LEAK = 0.01  # the slope of leaky_relu below zero, torch's default too


def _normal_density(z: Tensor) -> Tensor:
    return torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _silu_derivative(z: Tensor, a: Tensor) -> Tensor:
    s = z.sigmoid()
    return s + a * (1 - s)


aten = torch.ops.aten  # the calls of torch.nn.functional

# Where torch has a function, f is that, so that a network computes what torch's module of it does, to the bit:
# elu(z) = z or e^z − 1, softplus(z) = ln(1 + e^z), silu(z) = z σ(z), gelu(z) = z Φ(z).
# σ′ of the sigmoid is a(1 − a), multiplied out to a − a·a: one kernel.
ACTIVATIONS: dict[str, Activation] = {
    entry.name: entry
    for entry in (
        Activation("identity", lambda z: z, lambda z, a: torch.ones_like(a), needs_z=False),
        Activation(
            "sigmoid",
            torch.sigmoid,
            lambda z, a: torch.addcmul(a, a, a, value=-1),
            init="scaled",
            needs_z=False,
            reach=(0, 1),
        ),
        Activation("tanh", torch.tanh, lambda z, a: 1 - a * a, needs_z=False, reach=(-1, 1)),
        Activation("relu", torch.relu, lambda z, a: a.sign(), init="he", needs_z=False, reach=(0, math.inf)),
        Activation(
            "leaky_relu",
            lambda z: torch.maximum(z, LEAK * z),
            lambda z, a: (a > 0).to(a.dtype).clamp(min=LEAK),
            init="he",
            needs_z=False,
        ),
        Activation(
            "elu",
            aten.elu.default,
            lambda z, a: a.clamp(max=0) + 1,
            init="he",
            needs_z=False,
            reach=(-1, math.inf),
        ),
        Activation(
            "softplus",
            aten.softplus.default,
            lambda z, a: -torch.expm1(-a),
            init="he",
            needs_z=False,
            reach=(0, math.inf),
        ),
        Activation("silu", aten.silu.default, _silu_derivative, init="he", reach=(-0.2785, math.inf)),
        Activation(
            "gelu",
            aten.gelu.default,
            lambda z, a: torch.special.ndtr(z) + z * _normal_density(z),
            init="he",
            reach=(-0.17, math.inf),
        ),
    )
}


def _softmax(z: Tensor) -> Tensor:
    return z.softmax(-1)


def _no_elementwise_derivative(z: Tensor, a: Tensor) -> Tensor:
    raise ValueError("softmax mixes its outputs, so it has no σ′ to multiply by: use it with softmax_cross_entropy")


# Activations of outputs only, and not in ACTIVATIONS. Of softmax, each a_j depends on every z_k, which ⊙σ′ can't say;
# e^z overflows for a z that a hidden layer may well have.
SOFTMAX = Activation("softmax", _softmax, _no_elementwise_derivative, reach=(0, 1))
EXP = Activation("exp", torch.exp, lambda z, a: a, needs_z=False, reach=(0, math.inf))
OUTPUTS = {entry.name: entry for entry in (SOFTMAX, EXP)}

pickling.ENTRIES[Activation] = pickling.Entries(ACTIVATIONS, {**ACTIVATIONS, **OUTPUTS}, "bp.ACTIVATIONS")

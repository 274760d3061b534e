"""COSTS: one entry each, the cost C_x of an example and the error δᴸ it gives the output layer (BP1) side by side.

A cost is a function of the network's outputs and of the parameter y, of nothing else (the chapter's assumption 2), and
C is the mean of C_x over the examples (assumption 1). To add one, add one entry: the tests hold every entry's error to
be the derivative of its value.

z and a are the output layer's weighted input and activation, y the targets, all (…, m, n_L).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from bp_torch import pickling
from bp_torch.activations import ACTIVATIONS, EXP, SOFTMAX, Activation
from bp_torch.equations import output_error


@dataclass(frozen=True)
class Cost:
    """A cost function of the network's outputs.

    name: how `Network.create`, files and messages refer to it.
    value: (z, a, y) -> C_x (…, m), each example's own cost.
    error: (activation, z, a, y) -> δᴸ = ∂C_x/∂z (…, m, n_L), where `activation` is the output layer's.
    output: the output activation that `error` was derived for; None where any will do.
    sums_to_one: whether the targets of an example are shares of one whole. `train` refuses others.

    An own one is taken wherever a name is. It pickles as an own `Activation` does. To save a network that has it,
    register it first, and register it again before loading the file: `bp.COSTS["huber"] = mine`, with "huber" as its
    name.
    """

    name: str
    value: Callable[[Tensor, Tensor, Tensor], Tensor]
    error: Callable[[Activation, Tensor, Tensor, Tensor], Tensor]
    output: Activation | None = None
    sums_to_one: bool = False

    def __reduce_ex__(self, protocol: Any) -> Any:
        """As an `Activation`."""
        return pickling.reduced(self)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


def _quadratic_value(z: Tensor, a: Tensor, y: Tensor) -> Tensor:
    """C_x = ½‖y − a‖²."""
    return 0.5 * (y - a).square().sum(-1)


def _quadratic_error(activation: Activation, z: Tensor, a: Tensor, y: Tensor) -> Tensor:
    """BP1 as printed, with ∇ₐC = a − y."""
    return output_error(a - y, activation.derivative(z, a))


def _binary_cross_entropy_value(z: Tensor, a: Tensor, y: Tensor) -> Tensor:
    """C_x = −Σ_j [y ln a + (1 − y) ln(1 − a)], with a = σ(z) put in: Σ_j max(z, 0) − y z + ln(1 + e^−|z|)."""
    return (z.clamp(min=0) - y * z + torch.log1p(torch.exp(-z.abs()))).sum(-1)


def _binary_cross_entropy_error(activation: Activation, z: Tensor, a: Tensor, y: Tensor) -> Tensor:
    """δ = a − y: ∇ₐC = (a − y) / (a(1 − a)), and σ′ = a(1 − a) cancels."""
    return a - y


def _softmax_cross_entropy_value(z: Tensor, a: Tensor, y: Tensor) -> Tensor:
    """C_x = −Σ_j y_j ln softmax(z)_j, by log-sum-exp; finite, for 0 · (−∞) is no number: float16 would meet it."""
    return -(y * z.log_softmax(-1).clamp(min=torch.finfo(z.dtype).min)).sum(-1)


def _softmax_cross_entropy_error(activation: Activation, z: Tensor, a: Tensor, y: Tensor) -> Tensor:
    """δ_j = a_j Σ_k y_k − y_j: softmax and BP1 in one, with the whole Jacobian. It is a − y, for y that sum to 1."""
    return a * y.sum(-1, keepdim=True) - y


def _poisson_value(z: Tensor, a: Tensor, y: Tensor) -> Tensor:
    """C_x = Σ_j a − y z, with a = e^z: −ln of Poisson's probability of y for the mean a, but for ln y!, as in torch."""
    return (a - y * z).sum(-1)


def _poisson_error(activation: Activation, z: Tensor, a: Tensor, y: Tensor) -> Tensor:
    """δ = a − y: ∇ₐC = 1 − y/a, and σ′ = a cancels."""
    return a - y


COSTS: dict[str, Cost] = {
    entry.name: entry
    for entry in (
        Cost("quadratic", _quadratic_value, _quadratic_error),
        Cost(
            "binary_cross_entropy",
            _binary_cross_entropy_value,
            _binary_cross_entropy_error,
            output=ACTIVATIONS["sigmoid"],
        ),
        Cost(
            "softmax_cross_entropy",
            _softmax_cross_entropy_value,
            _softmax_cross_entropy_error,
            output=SOFTMAX,
            sums_to_one=True,
        ),
        Cost("poisson", _poisson_value, _poisson_error, output=EXP),
    )
}

pickling.ENTRIES[Cost] = pickling.Entries(COSTS, dict(COSTS), "bp.COSTS")

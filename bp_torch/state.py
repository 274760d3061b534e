"""What a training step changes, and where a run stands."""

import math
from typing import NamedTuple

from bp_torch import checks
from bp_torch.network import Layer, Network


class State(NamedTuple):
    """All that a step changes, in place.

    net: the network. slots: what an update rule keeps for each parameter, of its shape; plain gradient descent keeps
    nothing.
    """

    net: Network
    slots: tuple[tuple[Layer, ...], ...] = ()

    def copy(self) -> tuple[Layer, ...]:
        """Copies of all tensors, for `restore`."""
        return tuple(Layer(w.clone(), b.clone()) for w, b in self._layers())

    def restore(self, copies: tuple[Layer, ...]) -> None:
        """Puts the values of an earlier `copy` back into the same tensors."""
        for layer, values in zip(self._layers(), copies, strict=True):
            for tensor, value in zip(layer, values, strict=True):
                tensor.copy_(value)

    def _layers(self) -> tuple[Layer, ...]:
        return (*self.net.layers, *(layer for slot in self.slots for layer in slot))


class Position(NamedTuple):
    """Where a run stands: in this epoch (from 1), after so many of its batches.

    cost_sum: Σ C_x over the examples of these batches. seconds: their time. With the weights, the data and the
    arguments of `train`, it is all that the rest of a run depends on.
    """

    epoch: int = 1
    batch: int = 0
    cost_sum: float = 0.0
    seconds: float = 0.0

    def checked(self) -> "Position":
        """Itself, if a run can stand there; raises ValueError."""
        checks.whole("a position's epoch", self.epoch, 1)
        checks.whole("a position's batch", self.batch, 0)
        for name, value in (("cost_sum", self.cost_sum), ("seconds", self.seconds)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ValueError(f"a position's {name} must be a finite number, not {value!r}")
        return self


def is_finite(net: Network) -> bool:
    """Whether every weight and bias is finite."""
    return all(bool(t.isfinite().all()) for layer in net.layers for t in layer)

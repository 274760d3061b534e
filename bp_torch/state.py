"""What a training step changes, and where a run stands."""

from typing import NamedTuple

import torch

from bp_torch import checks
from bp_torch.network import Layer, Network


class State(NamedTuple):
    """All that a step changes, in place.

    net: the network. slots: what an update rule keeps for each parameter, of its shape; plain gradient descent keeps
    nothing.
    """

    net: Network
    slots: tuple[tuple[Layer, ...], ...] = ()

    def twin(self) -> "State":
        """The same values in memory of their own."""
        return State(self.net.to(), tuple(tuple(Layer(w.clone(), b.clone()) for w, b in slot) for slot in self.slots))

    @torch.inference_mode()
    def copy(self) -> tuple[Layer, ...]:
        """Copies of all tensors, for `restore`."""
        return tuple(Layer(w.clone(), b.clone()) for w, b in self._layers())

    @torch.inference_mode()
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


def checked_position(name: str, value: object) -> Position:
    """`value` as a position of plain numbers, if a run can stand there; None is the start of a run.

    name: the argument's, for the message. Raises ValueError.
    """
    if value is None:
        return Position()
    if not isinstance(value, Position):
        what = f"bp.Position(*{name})" if isinstance(value, (tuple, list)) else "bp.Position(epoch)"
        raise ValueError(f"{name} must be a bp.Position, such as a record's, not {type(value).__name__}: write {what}")
    epoch, batch = (
        checks.whole("a position's epoch", value.epoch, 1),
        checks.whole("a position's batch", value.batch, 0),
    )
    cost_sum, seconds = (checks.finite(f"a position's {of}", getattr(value, of)) for of in ("cost_sum", "seconds"))
    if seconds < 0:
        raise ValueError(f"a position's seconds must be at least 0, not {seconds:g}")
    if batch == 0 and (cost_sum or seconds):
        raise ValueError(
            f"a position's cost_sum and seconds must be 0 where its batch is 0, not {cost_sum:g} and {seconds:g}: they "
            f"are of the batches done in its epoch; write bp.Position({epoch})"
        )
    return Position(epoch, batch, cost_sum, seconds)


def is_finite(net: Network) -> bool:
    """Whether every weight and bias is finite."""
    return bool(torch.stack([t.isfinite().all() for layer in net.layers for t in layer]).all())

"""What a training step changes, and where a run stands."""

import math
from typing import NamedTuple

import torch

from bp_torch import checks, many
from bp_torch.borrowed import Borrowed, Kept
from bp_torch.network import Network
from bp_torch.trace import Layer
from bp_torch.updates import Optimiser
from bp_torch.vector import layers_in, vector_of

Slots = tuple[tuple[Layer, ...], ...]
"""What an update rule keeps: for each of its slots, tensors like those of every layer."""


class Values(NamedTuple):
    """Copies of what a state holds: of its tensors, and of what a borrowed optimiser keeps."""

    layers: tuple[Layer, ...]
    of_borrowed: Kept | None = None


class State(NamedTuple):
    """All that a step changes, in place.

    net: the network. slots: what the update rule keeps for each parameter; plain gradient descent keeps nothing.
    borrowed: an optimiser that takes the steps in a rule's place, and keeps what it keeps itself.
    """

    net: Network
    slots: Slots = ()
    borrowed: Borrowed | None = None

    def twin(self, device: torch.device | None = None) -> "State":
        """The same values in memory of their own, on a device, if one is given."""
        slots = tuple(tuple(Layer(*(t.to(device, copy=True) for t in layer)) for layer in slot) for slot in self.slots)
        return State(self.net.to(device=device), slots)

    @torch.inference_mode()
    def copy(self, into: Values | None = None) -> Values:
        """Copies of it all, for `restore`. into: an earlier copy, whose tensors then hold them."""
        if into is None:
            layers = tuple(Layer(w.clone(), b.clone()) for w, b in self.layers())
        else:
            layers = into.layers
            many.copy([t for layer in layers for t in layer], [t for layer in self.layers() for t in layer])
        return Values(layers, None if self.borrowed is None else self.borrowed.copy())

    @torch.inference_mode()
    def restore(self, values: Values) -> None:
        """Puts the values of an earlier `copy` back into the same tensors, and into the optimiser."""
        for layer, of_layer in zip(self.layers(), values.layers, strict=True):
            for tensor, value in zip(layer, of_layer, strict=True):
                tensor.copy_(value)
        if self.borrowed is not None and values.of_borrowed is not None:
            self.borrowed.restore(values.of_borrowed)

    def layers(self) -> tuple[Layer, ...]:
        """All tensors: the network's, then slot by slot."""
        return (*self.net.layers, *(layer for slot in self.slots for layer in slot))


class Position(NamedTuple):
    """Where a run stands: in this epoch (from 1), after so many of its batches.

    cost_sum: Σ C_x over the examples of these batches, each times its weight. seconds: their time. slots: what the
    optimiser keeps, in the tensors that the training goes on to change, as it does the network's. taken: the steps that
    it took before epoch 1 of this run, on other examples, perhaps: rules such as Adam's count them. With the weights,
    the data and the arguments of `train`, it is all that the rest of a run depends on.
    """

    epoch: int = 1
    batch: int = 0
    cost_sum: float = 0.0
    seconds: float = 0.0
    slots: Slots = ()
    taken: int = 0


def checked_position(name: str, value: object) -> Position:
    """`value` as a position of plain numbers, if a run can stand there; None is the start of a run.

    name: the argument's, for the message. Raises ValueError.
    """
    if value is None:
        return Position()
    if not isinstance(value, Position):
        what = f"bp.Position(*{name})" if isinstance(value, (tuple, list)) else "bp.Position(epoch)"
        what = f"{name}={name}.position" if isinstance(getattr(value, "position", None), Position) else what
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
    if not _are_slots(value.slots):
        raise ValueError(f"a position's slots must be a record's, not {value.slots!r}: write bp.Position({epoch})")
    taken = checks.whole("a position's taken", value.taken, 0)
    return Position(epoch, batch, cost_sum, seconds, value.slots, taken)


def _are_slots(value: object) -> bool:
    slots = value if isinstance(value, tuple) else (None,)
    return all(isinstance(slot, tuple) and all(isinstance(layer, Layer) for layer in slot) for slot in slots)


def state_of(net: Network, slots: Slots, rule: Optimiser) -> State:
    """The state of a training by this rule, of these slots."""
    return State(net, slots, rule if isinstance(rule, Borrowed) else None)


@torch.inference_mode(False)  # what a graph captures is changed outside of that mode
def started(net: Network, rule: Optimiser, position: Position) -> State:
    """What a run begins or goes on with: the network, and what the rule keeps, copied from the position or fresh.

    Raises ValueError where the position does not hold what the rule keeps for this network, where its dtype does not
    hold the rule's eps, or where a borrowed optimiser is not for it.
    """
    _check_eps(net.layers[0].w.dtype, rule)
    vector = vector_of(net.layers)
    if vector is not None:
        fresh = tuple(layers_in(torch.full_like(vector, fill), net.layers) for _, fill in rule.slots)
    else:
        fresh = tuple(
            tuple(Layer(*(torch.full_like(t, fill) for t in layer)) for layer in net.layers) for _, fill in rule.slots
        )
    state = state_of(net, fresh, rule)
    if state.borrowed is not None:
        state.borrowed.check(net.parameters())
    if position.slots or position[:2] != (1, 0) or position.taken:
        if _shapes(position.slots) != _shapes(fresh):
            raise ValueError(
                f"start does not hold what optimizer={str(rule)!r} keeps for this network: go on with the optimizer "
                "and the position that were saved together"
            )
        State(net, fresh).restore(Values((*net.layers, *(layer for slot in position.slots for layer in slot))))
    return state


def _check_eps(dtype: torch.dtype, rule: Optimiser) -> None:
    """The number that keeps a rule from dividing by 0 would itself be 0: float16 begins at 6e-8."""
    eps = getattr(rule, "eps", 0.0)
    if eps and not torch.tensor(eps, dtype=dtype, device="cpu"):
        raise ValueError(
            f"{dtype} does not hold eps={eps:g} of {rule.name}, which would divide by 0: give "
            f"optimizer='{rule.name}(eps=1e-4)', or train a network of torch.bfloat16 or torch.float32"
        )


def _shapes(slots: Slots) -> list[list[torch.Size]]:
    return [[t.shape for layer in slot for t in layer] for slot in slots]


def is_finite(net: Network) -> bool:
    """Whether every weight and bias is finite."""
    if math.isfinite(many.norms(net.parameters()).sum().item()):
        return True  # else it may be too large for the dtype though no weight is
    return bool(torch.stack([t.isfinite().all() for layer in net.layers for t in layer]).all())

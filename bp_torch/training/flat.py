"""The parameters of a small network as one vector, and so for what a rule keeps: a rule's calls are then a few a step.

Rules are elementwise, so that the values are the same, to the bit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from bp_torch import many
from bp_torch.state import State
from bp_torch.trace import Layer
from bp_torch.training.plan import Plan

FEW = 1 << 16  # elements: from about there on, the memory takes longer than the calls


class Flat(NamedTuple):
    """state: as the one it was made of, but in these vectors: the parameters, then each slot. tensors: all of it."""

    state: State
    vectors: tuple[Tensor, ...]
    tensors: list[Tensor]


def flat(state: State, plan: Plan) -> Flat | None:
    """Memory for a state; None where its parameters are many, or don't all change by one rule alone."""
    parameters = state.net.parameters()
    count = sum(t.numel() for t in parameters)
    alike = len(plan.rules) == 1 and not plan.is_plain and plan.max_norm is None and state.borrowed is None
    if not alike or count > FEW:
        return None
    vectors = tuple(parameters[0].new_empty(count) for _ in range(1 + len(state.slots)))
    layers, *slots = (_layers_in(vector, state.net.layers) for vector in vectors)
    there = State(replace(state.net, layers=layers), tuple(slots))
    return Flat(there, vectors, _tensors_of(there))


def _tensors_of(state: State) -> list[Tensor]:
    return [t for layer in state.layers() for t in layer]


def _layers_in(vector: Tensor, like: tuple[Layer, ...]) -> tuple[Layer, ...]:
    parts = iter(vector.split([t.numel() for layer in like for t in layer]))
    return tuple(Layer(*(next(parts).view(t.shape) for t in layer)) for layer in like)


@contextmanager
def held(state: State, there: Flat) -> Iterator[State]:
    """The state with its values in the vectors; afterwards they are where they were."""
    own = _tensors_of(state)
    many.copy(there.tensors, own)
    try:
        yield there.state
    finally:
        many.copy(own, there.tensors)

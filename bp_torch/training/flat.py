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
from bp_torch.training.plan import Plan
from bp_torch.vector import layers_in, vector_of

FEW = 1 << 16  # elements: from about there on, the memory takes longer than the calls


class Flat(NamedTuple):
    """state: as the one it was made of, but in these vectors: the parameters, then each slot.

    own, copies: the tensors that did not lie in a vector, and where they now do.
    """

    state: State
    vectors: tuple[Tensor, ...]
    own: list[Tensor]
    copies: list[Tensor]


def flat(state: State, plan: Plan) -> Flat | None:
    """A state in vectors; None where its parameters are many, or don't all change by one rule alone."""
    parameters = state.net.parameters()
    count = sum(t.numel() for t in parameters)
    alike = len(plan.rules) == 1 and not plan.is_plain and plan.max_norm is None and state.borrowed is None
    if not alike or count > FEW:
        return None
    vectors, own, copies, parts = [], [], [], []
    for layers in (state.net.layers, *state.slots):
        vector = vector_of(layers)
        if vector is None:
            vector = parameters[0].new_empty(count)
            parts.append(layers_in(vector, layers))
            own += [t for layer in layers for t in layer]
            copies += [t for layer in parts[-1] for t in layer]
        else:
            parts.append(layers)
        vectors.append(vector)
    there = State(replace(state.net, layers=parts[0]), tuple(parts[1:])) if own else state
    return Flat(there, tuple(vectors), own, copies)


@contextmanager
def held(there: Flat) -> Iterator[State]:
    """The state in its vectors, with the values of now; afterwards its own tensors have those of then."""
    many.copy(there.copies, there.own)
    try:
        yield there.state
    finally:
        many.copy(there.own, there.copies)

"""Job: all that an engine is built for, and Steps: what it is given to run."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from bp_torch import dropout, sparse, threads
from bp_torch.network import Network
from bp_torch.recipe import Recipe
from bp_torch.state import State
from bp_torch.training.batches import batch_sizes
from bp_torch.training.plan import Plan

A_VISIT = 50  # operations that take as long as a rule does on a weight that lies in memory, with its means


class Steps(NamedTuple):
    """Consecutive steps of an epoch, all on the CPU.

    order: the examples (int64) of their batches, one after the other. numbers: a row a step, as `numbers_table` gives
    them. keys: a row a step, as `dropout.keys_table` gives them.
    """

    order: Tensor
    numbers: Tensor
    keys: Tensor

    def part(self, first: int, end: int | None, batch_size: int) -> "Steps":
        """The steps from the first to before the end; None: to the last."""
        if not first and (end is None or end == len(self.numbers)):
            return self
        until = None if end is None else end * batch_size
        return Steps(self.order[first * batch_size : until], self.numbers[first:end], self.keys[first:end])


Run = Callable[[Steps], float]
"""Trains the job's network by these steps; returns Σ_x C_x (times the examples' weights), each example's cost taken
just before its batch's step. It may stop early where that is not finite.

An epoch may be run in parts, of whole blocks of batches (see `Engine`), the last of which takes what is left: all that
passes from one part to the next lies in the state."""


class Job(NamedTuple):
    """What is trained (state), on what (data) and how (recipe).

    data: x (m, n_0), dense or sparse, and the target matrix y (m, n_L). The recipe's lr is given, unless a
    borrowed optimiser has its own, and its batch_size is that of a step,
    and at most m. plan: what a step does besides the four equations. weights: the examples' (m,), if they have any.
    """

    state: State
    data: tuple[Tensor, Tensor]
    recipe: Recipe
    plan: Plan = Plan()
    weights: Tensor | None = None

    @property
    def batch_sizes(self) -> Tensor:
        """How many examples each batch of an epoch holds (batches,)."""
        return batch_sizes(len(self.data[0]), self.recipe.batch_size)

    @property
    def sizes_of_batches(self) -> list[int]:
        """The sizes that occur: one, or two where the last batch is smaller."""
        m, batch_size = len(self.data[0]), self.recipe.batch_size
        return list(dict.fromkeys([batch_size, (m - 1) % batch_size + 1]))

    @property
    def operations(self) -> int:
        """As the function `operations`."""
        return operations(self.state.net, self.recipe.batch_size, sparse.width(self.data[0]))

    @property
    def work(self) -> int:
        """The same, and what it takes a rule on sparse x to change all weights of the first layer, in operations."""
        rule_visits_all = not (self.plan.is_plain or self.plan.rules[0].optimiser.is_lazy)
        visited = self.state.net.layers[0].w.numel() if sparse.is_sparse(self.data[0]) and rule_visits_all else 0
        return self.operations + A_VISIT * visited

    @property
    def threads(self) -> int:
        """How many threads of the CPU its steps run on: the recipe's, or what their size is worth."""
        return self.recipe.threads or threads.fitting(self.operations // 2, threads.A_STEP)

    def keys(self, epoch: int) -> Tensor:
        """What `Steps.keys` are in this epoch."""
        batches = -(-len(self.data[0]) // self.recipe.batch_size)
        return dropout.keys_table(batches, self.plan.dropout, self.recipe.seed, epoch)


def operations(net: Network, batch_size: int, width: int | None = None) -> int:
    """Floating-point operations of a step's products. width: how many values a row of x stores, if not all."""
    first, *others = operations_of_layers(net, batch_size)
    return (first if width is None else first // net.sizes[0] * width) + sum(others)


def operations_of_layers(net: Network, batch_size: int) -> list[int]:
    """Those of each layer, a multiplication and an addition: three products, but for the first, which has no BP2."""
    return [2 * batch_size * (3 if l else 2) * layer.w.numel() for l, layer in enumerate(net.layers)]

"""Job: all that an engine is built for."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from bp_torch import threads
from bp_torch.network import Network
from bp_torch.optimisers import Optimiser
from bp_torch.recipe import Recipe, rule_of
from bp_torch.state import State
from bp_torch.training.batches import batch_sizes

Run = Callable[[Tensor, Tensor], float]
"""Trains the job's network on the examples in this order (int64, on the CPU), with the numbers of each step (steps, S)
as `numbers_table` gives them; returns Σ_x C_x, each example's cost taken just before its batch's step. It may stop
early where that is not finite.

An epoch may be run in parts, of whole blocks of batches (see `Engine`), the last of which takes what is left: all that
passes from one part to the next lies in the state."""


class Job(NamedTuple):
    """What is trained (state), on what (data) and how (recipe).

    data: x (m, n_0) and the target matrix y (m, n_L). The recipe's lr is given, and its batch_size is at most m.
    """

    state: State
    data: tuple[Tensor, Tensor]
    recipe: Recipe

    @property
    def rule(self) -> Optimiser:
        """How a gradient changes a parameter."""
        return rule_of(self.recipe)

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
        return operations(self.state.net, self.recipe.batch_size)

    @property
    def threads(self) -> int:
        """How many threads of the CPU its steps run on: the recipe's, or what their size is worth."""
        return self.recipe.threads or threads.fitting(self.operations // 2, threads.A_STEP)


def operations(net: Network, batch_size: int) -> int:
    """Floating-point operations of a step's products: three a layer, but for the first, which has no BP2."""
    weights = [layer.w.numel() for layer in net.layers]
    return 2 * batch_size * (3 * sum(weights) - weights[0])

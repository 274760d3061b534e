"""Borrowed: an optimiser of torch.optim in the place of an entry of `OPTIMISERS`.

It changes the network's tensors itself, by the gradients that it finds in their `.grad`; training fills that, and
leaves it as it was. Its rates and what it keeps are its own: who borrowed it saves them and goes on with it.
"""

import copy
import inspect
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from bp_torch.updates import Numbers, Optimiser

Kept = tuple[dict[Tensor, Any], list[dict[str, Any]]]
"""What an optimiser of torch.optim keeps for each parameter, and its groups with their rates and other options."""


@dataclass(frozen=True)
class Borrowed(Optimiser):
    """An optimiser of torch.optim, or of a class derived from torch.optim.Optimizer."""

    optimizer: torch.optim.Optimizer

    def __str__(self) -> str:
        """Its class's name, for messages."""
        return type(self.optimizer).__name__

    def numbers(self, rate: Tensor | float, t: Tensor) -> Numbers:
        return ()

    @property
    def lr(self) -> float:
        """That of its first group of parameters at present; NaN where it has none."""
        return float(self.optimizer.param_groups[0].get("lr", math.nan))

    @cached_property
    def needs_closure(self) -> bool:
        """Whether its step evaluates the cost itself, as often as it likes: that of LBFGS does."""
        closure = inspect.signature(self.optimizer.step).parameters.get("closure")
        return closure is not None and closure.default is inspect.Parameter.empty

    def holds(self, parameter: Tensor) -> bool:
        """Whether it changes this very tensor."""
        return any(parameter is held for held in self._held())

    def check(self, parameters: Iterable[Tensor]) -> None:
        """Raises ValueError where it can't change a network of these parameters."""
        if isinstance(self.optimizer, torch.optim.SparseAdam):
            raise ValueError(
                "SparseAdam takes sparse gradients alone, and these are dense: give torch.optim.Adam, or for sparse x "
                "optimizer='sparse_adam'"
            )
        own = {id(t) for t in parameters}
        held = {id(t) for t in self._held()}
        if not held or held - own:
            raise ValueError(
                f"optimizer must hold tensors of this network and no others: make it of them, {self}(net.parameters())"
            )

    def _held(self) -> list[Tensor]:
        return [t for group in self.optimizer.param_groups for t in group["params"]]

    @torch.inference_mode(False)
    def copy(self) -> Kept:
        """A copy of what it keeps, for `restore`.

        It is exact; `load_state_dict` gives a float32 that is kept for a float64 parameter the parameter's dtype.
        """
        return self._copied((dict(self.optimizer.state), self.optimizer.param_groups))

    @torch.inference_mode(False)
    def restore(self, kept: Kept) -> None:
        """Gives it back what it kept at an earlier `copy`."""
        state, groups = self._copied(kept)
        self.optimizer.state.clear()
        self.optimizer.state.update(state)
        for group, before in zip(self.optimizer.param_groups, groups, strict=False):  # the caller may have added some
            group.update(before)

    def _copied(self, kept: Kept) -> Kept:
        """A copy in which the parameters are the network's own tensors."""
        return copy.deepcopy(kept, {id(parameter): parameter for parameter in self._held()})

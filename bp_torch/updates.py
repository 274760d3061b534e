"""What every update rule is: the class of the entries of `OPTIMISERS`.

A rule is elementwise and pure: (w, g, *slots, *numbers) -> (w, *slots), where g is ∂C/∂w, the slots are tensors like w
that the rule keeps for it, and the numbers are the step's scalars. These are computed for many steps at once, in
float64, from the rate η and the step's number t (from 1) alone: a rule has no counter.
"""

from dataclasses import replace
from typing import ClassVar

from torch import Tensor

from bp_torch import checks, choices

Numbers = tuple[Tensor | float, ...]

Updated = tuple[Tensor, ...]
"""The new w and the new slots, in the order in which they came."""


class Optimiser:
    """What the entries share. Each is a frozen dataclass: its fields are its options.

    name: how `train`, files and messages refer to it. rate: η where none is given; None: what fits the network.
    is_lazy: whether, of a sparse x, the weights of inputs that a step's examples don't use stay as they are, and what
    is kept for them.
    """

    name: ClassVar[str]
    rate: ClassVar[float | None] = None
    is_lazy: ClassVar[bool] = False
    weight_decay: float

    def with_decay(self, factor: float) -> "Optimiser":
        """The same with a weight_decay so many times as large."""
        return replace(self, weight_decay=self.weight_decay * factor)  # pyright: ignore[reportArgumentType]

    @property
    def slots(self) -> tuple[tuple[str, float], ...]:
        """The tensors kept for each parameter: what they are called, and what they are filled with at first."""
        return ()

    @property
    def is_plain(self) -> bool:
        """Whether w ← w − η ∂C/∂w is all of it: BP3 and BP4 then change b and w in place, and no gradient exists."""
        return False

    def numbers(self, rate: Tensor | float, t: Tensor) -> Numbers:
        """The scalars of the steps t (steps,), in float64, for the rate η: each like t, or one number for all.

        rate: one for all, or one a step (steps,).
        """
        raise NotImplementedError

    def update(self, w: Tensor, g: Tensor, *rest: Tensor) -> Updated:
        """The rule: `rest` are the slots, then the numbers."""
        raise NotImplementedError

    def _within(self, low: float, high: float, *options: str) -> None:
        """Checks that these options are numbers from low to below high, and keeps them as floats."""
        for option in options:
            self._put(option, checks.within(option, getattr(self, option), low, high))

    def _either(self, option: str) -> None:
        """Checks that an option is True or False."""
        self._put(option, checks.flag(option, getattr(self, option)))

    def _put(self, option: str, value: object) -> None:
        object.__setattr__(self, option, value)  # a frozen value is set once, when it is made

    def __str__(self) -> str:
        """The entry as text that `optimiser` reads."""
        return choices.written(self.name, self)


def decayed(w: Tensor, g: Tensor, decay: Tensor, weight_decay: float) -> Tensor:
    """g + λw: weight decay as the gradient of ½λ‖w‖², biases included."""
    return g + decay * w if weight_decay else g

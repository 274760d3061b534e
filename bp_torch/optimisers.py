"""OPTIMISERS: how a step changes a parameter by its gradient, one entry each: what is kept for it, and the rule.

Names, meanings and defaults are torch.optim's, and the tests hold each entry to it. A rule is elementwise and pure:
(w, g, *slots, *numbers) -> (w, *slots), where g is ∂C/∂w, the slots are tensors like w that the rule keeps for it, and
the numbers are the step's scalars. These are computed for many steps at once, in float64, from the rate η and the
step's number t (from 1) alone: a rule has no counter. To add one, add one entry.
"""

from dataclasses import dataclass, fields, replace
from typing import ClassVar

from torch import Tensor

from bp_torch import checks, choices

Numbers = tuple[Tensor | float, ...]

Updated = tuple[Tensor, ...]
"""The new w and the new slots, in the order in which they came."""


class Optimiser:
    """What the entries share. Each is a frozen dataclass: its fields are its options.

    name: how `train`, files and messages refer to it. rate: η where none is given; None: what fits the network.
    """

    name: ClassVar[str]
    rate: ClassVar[float | None] = None
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

    def __str__(self) -> str:
        """The entry as text that `optimiser` reads."""
        return choices.written(self.name, self)


def _decayed(w: Tensor, g: Tensor, decay: Tensor, weight_decay: float) -> Tensor:
    """g + λw: weight decay as the gradient of ½λ‖w‖², biases included."""
    return g + decay * w if weight_decay else g


@dataclass(frozen=True, kw_only=True)
class SGD(Optimiser):
    """Gradient descent, plain or with momentum, as torch.optim.SGD.

    g ← g + λw; v ← μv + (1 − dampening) g, at first g; then w ← w − ηv, or with Nesterov's momentum w − η(g + μv).
    Source: I. Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013).
    """

    name: ClassVar[str] = "sgd"
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        checks.within("momentum", self.momentum, 0, 1)
        checks.within("dampening", self.dampening, 0, 1)
        checks.within("weight_decay", self.weight_decay, 0)
        if self.nesterov and (not self.momentum or self.dampening):
            raise ValueError("nesterov=True needs a momentum and no dampening: bp.SGD(momentum=0.9, nesterov=True)")

    @property
    def slots(self) -> tuple[tuple[str, float], ...]:
        return (("momentum_buffer", 0.0),) if self.momentum else ()

    @property
    def is_plain(self) -> bool:
        return not self.momentum and not self.weight_decay

    def numbers(self, rate: Tensor | float, t: Tensor) -> Numbers:
        if not self.momentum:
            return rate, self.weight_decay
        later = t.gt(1).to(t.dtype)  # the first step's gradient begins the sum, undampened
        return rate, self.weight_decay, self.momentum, self.momentum * later, 1 - self.dampening * later

    def update(self, w: Tensor, g: Tensor, *rest: Tensor) -> Updated:
        if not self.momentum:
            rate, decay = rest
            return (w - rate * _decayed(w, g, decay, self.weight_decay),)
        v, rate, decay, momentum, kept, taken = rest
        g = _decayed(w, g, decay, self.weight_decay)
        v = kept * v + taken * g
        return w - rate * (g + momentum * v if self.nesterov else v), v


@dataclass(frozen=True, kw_only=True)
class Adam(Optimiser):
    """Adam, as torch.optim.Adam: m and v are running means of g and g², w ← w − η m̂ / (√v̂ + ε).

    m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ) undo that both begin at 0. Source: D. Kingma and J. Ba, "Adam: A Method for
    Stochastic Optimization" (2015), algorithm 1.
    """

    name: ClassVar[str] = "adam"
    rate: ClassVar[float | None] = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", checks.betas(self.betas))
        checks.within("eps", self.eps, 0)
        checks.within("weight_decay", self.weight_decay, 0)

    @property
    def slots(self) -> tuple[tuple[str, float], ...]:
        return ("exp_avg", 0.0), ("exp_avg_sq", 0.0)

    def numbers(self, rate: Tensor | float, t: Tensor) -> Numbers:
        b1, b2 = self.betas
        return rate / (1 - b1**t), (1 - b2**t) ** -0.5, b1, 1 - b1, b2, 1 - b2, self.eps, self._decay(rate)

    def _decay(self, rate: Tensor | float) -> Tensor | float:
        return self.weight_decay

    def update(self, w: Tensor, g: Tensor, *rest: Tensor) -> Updated:
        m, v, step, unbias, b1, of_g, b2, of_square, eps, decay = rest
        w, g = self._after_decay(w, g, decay)
        m = b1 * m + of_g * g
        v = b2 * v + of_square * g * g
        return w - step * m / (unbias * v.sqrt() + eps), m, v

    def _after_decay(self, w: Tensor, g: Tensor, decay: Tensor) -> tuple[Tensor, Tensor]:
        return w, _decayed(w, g, decay, self.weight_decay)


@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """Adam with its weight decay beside the gradient: w ← w − ηλw first, as torch.optim.AdamW.

    Source: I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization" (2019), algorithm 2.
    """

    name: ClassVar[str] = "adamw"
    weight_decay: float = 1e-2

    def _decay(self, rate: Tensor | float) -> Tensor | float:
        return 1 - rate * self.weight_decay

    def _after_decay(self, w: Tensor, g: Tensor, decay: Tensor) -> tuple[Tensor, Tensor]:
        return (w * decay if self.weight_decay else w), g


@dataclass(frozen=True, kw_only=True)
class RMSprop(Optimiser):
    """RMSprop, as torch.optim.RMSprop: s ← αs + (1 − α) g², w ← w − ηg / (√s + ε).

    centered takes the square of a running mean of g from s; momentum sums the quotients. Source: G. Hinton, Neural
    Networks for Machine Learning, lecture 6 (2012).
    """

    name: ClassVar[str] = "rmsprop"
    rate: ClassVar[float | None] = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False

    def __post_init__(self) -> None:
        checks.within("alpha", self.alpha, 0, 1)
        checks.within("eps", self.eps, 0)
        checks.within("weight_decay", self.weight_decay, 0)
        checks.within("momentum", self.momentum, 0, 1)

    @property
    def slots(self) -> tuple[tuple[str, float], ...]:
        kept = [("square_avg", 0.0)]
        kept += [("grad_avg", 0.0)] if self.centered else []
        kept += [("momentum_buffer", 0.0)] if self.momentum else []
        return tuple(kept)

    def numbers(self, rate: Tensor | float, t: Tensor) -> Numbers:
        return rate, self.alpha, 1 - self.alpha, self.eps, self.weight_decay, self.momentum

    def update(self, w: Tensor, g: Tensor, *rest: Tensor) -> Updated:
        *slots, rate, alpha, of_g, eps, decay, momentum = rest
        g = _decayed(w, g, decay, self.weight_decay)
        square = alpha * slots[0] + of_g * g * g
        kept, variance = [square], square
        if self.centered:
            mean = alpha * slots[1] + of_g * g
            kept, variance = [square, mean], square - mean * mean
        change = g / (variance.sqrt() + eps)
        if self.momentum:
            change = momentum * slots[-1] + change
            kept.append(change)
        return w - rate * change, *kept


@dataclass(frozen=True, kw_only=True)
class Adagrad(Optimiser):
    """Adagrad, as torch.optim.Adagrad: s ← s + g², w ← w − η_t g / (√s + ε), with η_t = η / (1 + (t − 1) lr_decay).

    Source: J. Duchi et al., "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization" (2011).
    """

    name: ClassVar[str] = "adagrad"
    rate: ClassVar[float | None] = 1e-2
    lr_decay: float = 0.0
    weight_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10

    def __post_init__(self) -> None:
        for each in fields(self):
            checks.within(each.name, getattr(self, each.name), 0)

    @property
    def slots(self) -> tuple[tuple[str, float], ...]:
        return (("sum", self.initial_accumulator_value),)

    def numbers(self, rate: Tensor | float, t: Tensor) -> Numbers:
        return rate / (1 + (t - 1) * self.lr_decay), self.eps, self.weight_decay

    def update(self, w: Tensor, g: Tensor, *rest: Tensor) -> Updated:
        total, rate, eps, decay = rest
        g = _decayed(w, g, decay, self.weight_decay)
        total = total + g * g
        return w - rate * g / (total.sqrt() + eps), total


OPTIMISERS: dict[str, type[Optimiser]] = {entry.name: entry for entry in (SGD, Adam, AdamW, RMSprop, Adagrad)}


def optimiser(choice: str | Optimiser) -> Optimiser:
    """The optimiser of a name, of a name with options, as in "adam(betas=(0.9, 0.99))", or the one that is given.

    Raises ValueError for a name, an option or a value that can't be had.
    """
    if isinstance(choice, Optimiser):
        return choice
    return choices.read("optimizer", choice, OPTIMISERS, "adam(eps=1e-7)")

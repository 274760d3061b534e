"""OPTIMISERS: how a step changes a parameter by its gradient, one entry each: what is kept for it, and the rule.

Names, meanings and defaults are torch.optim's, and the tests hold each entry to it; Lion is as it was published. What a
rule is made of is told in `updates`; Adam and its kin stand in `adam`. To add one, add one entry.
"""

import math
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from bp_torch import checks, choices
from bp_torch.adam import Adam, Adamax, AdamW, NAdam, SparseAdam
from bp_torch.borrowed import Borrowed
from bp_torch.updates import Numbers, Optimiser, Updated, decayed


@dataclass(frozen=True, kw_only=True)
class SGD(Optimiser):
    """Gradient descent, plain or with momentum, as torch.optim.SGD.

    g ← g + λw; v ← μv + (1 − dampening) g, and v = g in the first step; then w ← w − ηv, or with Nesterov's momentum
    w ← w − η(g + μv). Source: I. Sutskever et al., "On the importance of initialization and momentum in deep learning"
    (2013). There η stands within v, as in the book's chapter 3: it is the same while η is constant.
    """

    name: ClassVar[str] = "sgd"
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        self._within(0, 1, "momentum", "dampening")
        self._within(0, math.inf, "weight_decay")
        self._either("nesterov")
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
            return (w - rate * decayed(w, g, decay, self.weight_decay),)
        v, rate, decay, momentum, kept, taken = rest
        g = decayed(w, g, decay, self.weight_decay)
        v = kept * v + taken * g
        return w - rate * (g + momentum * v if self.nesterov else v), v


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
        self._within(0, 1, "alpha", "momentum")
        self._within(0, math.inf, "eps", "weight_decay")
        self._either("centered")

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
        g = decayed(w, g, decay, self.weight_decay)
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
        self._within(0, math.inf, *(each.name for each in fields(self)))

    @property
    def slots(self) -> tuple[tuple[str, float], ...]:
        return (("sum", self.initial_accumulator_value),)

    def numbers(self, rate: Tensor | float, t: Tensor) -> Numbers:
        return rate / (1 + (t - 1) * self.lr_decay), self.eps, self.weight_decay

    def update(self, w: Tensor, g: Tensor, *rest: Tensor) -> Updated:
        total, rate, eps, decay = rest
        g = decayed(w, g, decay, self.weight_decay)
        total = total + g * g
        return w - rate * g / (total.sqrt() + eps), total


@dataclass(frozen=True, kw_only=True)
class Adadelta(Optimiser):
    """Adadelta, as torch.optim.Adadelta: Δ = √(d + ε) / √(s + ε) g, w ← w − ηΔ; s and d are means of g² and of Δ².

    Source: M. Zeiler, "ADADELTA: An Adaptive Learning Rate Method" (2012), algorithm 1.
    """

    name: ClassVar[str] = "adadelta"
    rate: ClassVar[float | None] = 1.0
    rho: float = 0.9
    eps: float = 1e-6
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        self._within(0, 1, "rho")
        self._within(0, math.inf, "eps", "weight_decay")

    @property
    def slots(self) -> tuple[tuple[str, float], ...]:
        return ("square_avg", 0.0), ("acc_delta", 0.0)

    def numbers(self, rate: Tensor | float, t: Tensor) -> Numbers:
        return rate, self.rho, 1 - self.rho, self.eps, self.weight_decay

    def update(self, w: Tensor, g: Tensor, *rest: Tensor) -> Updated:
        square, of_changes, rate, rho, of_new, eps, decay = rest
        g = decayed(w, g, decay, self.weight_decay)
        square = rho * square + of_new * g * g
        change = (of_changes + eps).sqrt() / (square + eps).sqrt() * g
        of_changes = rho * of_changes + of_new * change * change
        return w - rate * change, square, of_changes


@dataclass(frozen=True, kw_only=True)
class Lion(Optimiser):
    """Lion: w ← w − η (sign(β₁m + (1 − β₁) g) + λw), then m ← β₂m + (1 − β₂) g. But for the
    decay, every step is of the size η.

    Source: X. Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023), algorithm 2; names and defaults are
    those of its authors' program. torch.optim has no Lion.
    """

    name: ClassVar[str] = "lion"
    rate: ClassVar[float | None] = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        self._put("betas", checks.betas(self.betas))
        self._within(0, math.inf, "weight_decay")

    @property
    def slots(self) -> tuple[tuple[str, float], ...]:
        return (("exp_avg", 0.0),)

    def numbers(self, rate: Tensor | float, t: Tensor) -> Numbers:
        b1, b2 = self.betas
        return rate, b1, 1 - b1, b2, 1 - b2, self.weight_decay

    def update(self, w: Tensor, g: Tensor, *rest: Tensor) -> Updated:
        m, rate, b1, of_g, b2, of_new, decay = rest
        change = decayed(w, (b1 * m + of_g * g).sign(), decay, self.weight_decay)
        return w - rate * change, b2 * m + of_new * g


_ENTRIES = (SGD, Adam, AdamW, RMSprop, Adagrad, Adamax, NAdam, Adadelta, Lion, SparseAdam)
OPTIMISERS: dict[str, type[Optimiser]] = {entry.name: entry for entry in _ENTRIES}


def optimiser(choice: str | Optimiser | torch.optim.Optimizer) -> Optimiser:
    """The optimiser of a name, of a name with options, as in "adam(betas=(0.9, 0.99))", or the one that is given.

    One of torch.optim is `Borrowed`.

    Raises ValueError for a name, an option or a value that can't be had.
    """
    if isinstance(choice, Optimiser):
        return choice
    if isinstance(choice, torch.optim.Optimizer):
        return Borrowed(choice)
    if isinstance(choice, type):
        raise ValueError(f"optimizer is the class {choice.__name__}: make one of it, as in bp.Adam(eps=1e-7)")
    return choices.read("optimizer", choice, OPTIMISERS, "adam(eps=1e-7)")

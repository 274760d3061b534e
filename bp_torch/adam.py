"""Adam and its kin, entries of `OPTIMISERS`: a step by running means of the gradient and of its size."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bp_torch import checks
from bp_torch.updates import Numbers, Optimiser, Updated, decayed


@dataclass(frozen=True, kw_only=True)
class _OfMeans(Optimiser):
    """What Adam and its kin share: running means of g and of its size, and two ways to decay."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        self._put("betas", checks.betas(self.betas))
        self._within(0, math.inf, "eps", "weight_decay")

    @property
    def _decoupled(self) -> bool:
        """Whether w ← w − ηλw stands beside the gradient; else the decay is part of it, g + λw."""
        return False

    def _decay(self, rate: Tensor | float) -> Tensor | float:
        return 1 - rate * self.weight_decay if self._decoupled else self.weight_decay

    def _decayed(self, w: Tensor, g: Tensor, decay: Tensor) -> tuple[Tensor, Tensor]:
        if self._decoupled:
            return (w * decay if self.weight_decay else w), g
        return w, decayed(w, g, decay, self.weight_decay)


@dataclass(frozen=True, kw_only=True)
class Adam(_OfMeans):
    """Adam, as torch.optim.Adam: m and v are running means of g and g², w ← w − η m̂ / (√v̂ + ε).

    m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ) undo that both begin at 0. Source: D. Kingma and J. Ba, "Adam: A Method for
    Stochastic Optimization" (2015), algorithm 1. amsgrad takes the largest v so far for v: S. Reddi et al., "On the
    Convergence of Adam and Beyond" (2018), algorithm 2.
    """

    name: ClassVar[str] = "adam"
    rate: ClassVar[float | None] = 1e-3
    amsgrad: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._either("amsgrad")

    @property
    def slots(self) -> tuple[tuple[str, float], ...]:
        means = ("exp_avg", 0.0), ("exp_avg_sq", 0.0)
        return (*means, ("max_exp_avg_sq", 0.0)) if self.amsgrad else means

    def numbers(self, rate: Tensor | float, t: Tensor) -> Numbers:
        b1, b2 = self.betas
        return rate / (1 - b1**t), (1 - b2**t) ** -0.5, b1, 1 - b1, b2, 1 - b2, self.eps, self._decay(rate)

    def update(self, w: Tensor, g: Tensor, *rest: Tensor) -> Updated:
        m, v, *largest, step, unbias, b1, of_g, b2, of_square, eps, decay = rest
        w, g = self._decayed(w, g, decay)
        m = b1 * m + of_g * g
        v = b2 * v + of_square * g * g
        largest = [each.maximum(v) for each in largest]
        return w - step * m / (unbias * (*largest, v)[0].sqrt() + eps), m, v, *largest


@dataclass(frozen=True, kw_only=True)
class SparseAdam(Optimiser):
    """Adam for sparse x that changes only the weights of inputs which the batch uses, as torch.optim.SparseAdam.

    The means of the others wait, too: they are of the batches that used the input. Its ε stands beside √v, before that
    is unbiased. All other parameters, and the weights of a dense x, change at each step.
    """

    name: ClassVar[str] = "sparse_adam"
    rate: ClassVar[float | None] = 1e-3
    is_lazy: ClassVar[bool] = True
    weight_decay: ClassVar[float] = 0.0  # pyright: ignore[reportIncompatibleVariableOverride]
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        self._put("betas", checks.betas(self.betas))
        self._within(0, math.inf, "eps")

    @property
    def slots(self) -> tuple[tuple[str, float], ...]:
        return ("exp_avg", 0.0), ("exp_avg_sq", 0.0)

    def numbers(self, rate: Tensor | float, t: Tensor) -> Numbers:
        b1, b2 = self.betas
        return rate * (1 - b2**t).sqrt() / (1 - b1**t), b1, 1 - b1, b2, 1 - b2, self.eps

    def update(self, w: Tensor, g: Tensor, *rest: Tensor) -> Updated:
        m, v, step, b1, of_g, b2, of_square, eps = rest
        m = b1 * m + of_g * g
        v = b2 * v + of_square * g * g
        return w - step * m / (v.sqrt() + eps), m, v


@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """Adam with its weight decay beside the gradient: w ← w − ηλw first, as torch.optim.AdamW.

    Source: I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization" (2019), algorithm 2.
    """

    name: ClassVar[str] = "adamw"
    weight_decay: float = 1e-2

    @property
    def _decoupled(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class Adamax(_OfMeans):
    """Adam by the largest size of g in place of v, as torch.optim.Adamax: u ← max(β₂u, |g| + ε), w ← w − η m̂ / u.

    Source: D. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization" (2015), algorithm 2.
    """

    name: ClassVar[str] = "adamax"
    rate: ClassVar[float | None] = 2e-3

    @property
    def slots(self) -> tuple[tuple[str, float], ...]:
        return ("exp_avg", 0.0), ("exp_inf", 0.0)

    def numbers(self, rate: Tensor | float, t: Tensor) -> Numbers:
        b1, b2 = self.betas
        return rate / (1 - b1**t), b1, 1 - b1, b2, self.eps, self.weight_decay

    def update(self, w: Tensor, g: Tensor, *rest: Tensor) -> Updated:
        m, u, step, b1, of_g, b2, eps, decay = rest
        w, g = self._decayed(w, g, decay)
        m = b1 * m + of_g * g
        u = (b2 * u).maximum(g.abs() + eps)
        return w - step * m / u, m, u


@dataclass(frozen=True, kw_only=True)
class NAdam(_OfMeans):
    """Adam with Nesterov's momentum, as torch.optim.NAdam: the step looks ahead by the momentum μ of the next one.

    w ← w − η ((1 − μ_t) / (1 − Π_t) g + μ_t+1 / (1 − Π_t+1) m) / (√v̂ + ε), where μ_t = β₁ (1 − ½ 0.96^(ψt)), Π_t is the
    product of μ_1 … μ_t, and ψ = momentum_decay. Source: T. Dozat, "Incorporating Nesterov Momentum into Adam" (2016).
    """

    name: ClassVar[str] = "nadam"
    rate: ClassVar[float | None] = 2e-3
    momentum_decay: float = 4e-3
    decoupled_weight_decay: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._within(0, math.inf, "momentum_decay")
        self._either("decoupled_weight_decay")

    @property
    def _decoupled(self) -> bool:
        return self.decoupled_weight_decay

    @property
    def slots(self) -> tuple[tuple[str, float], ...]:
        return ("exp_avg", 0.0), ("exp_avg_sq", 0.0)

    def numbers(self, rate: Tensor | float, t: Tensor) -> Numbers:
        (b1, b2), product, following = self.betas, self._product(t), self._momentum(t + 1)
        of_step = rate * (1 - self._momentum(t)) / (1 - product), rate * following / (1 - product * following)
        return *of_step, (1 - b2**t) ** -0.5, b1, 1 - b1, b2, 1 - b2, self.eps, self._decay(rate)

    def _momentum(self, t: Tensor) -> Tensor:
        return self.betas[0] * (1 - 0.5 * 0.96 ** (self.momentum_decay * t))

    def _product(self, t: Tensor) -> Tensor:
        """Π_t of each t by itself, with q = 0.96^ψ: β₁ᵗ exp Σᵢ ln(1 − ½qⁱ), and ln(1 − x) is −Σₖ xᵏ / k.

        The sums over i = 1 … t are then geometric ones, and no term from the 53rd on is seen in float64.
        """
        log_q, total = self.momentum_decay * math.log(0.96), torch.zeros_like(t)
        for k in range(1, 53):
            geometric = (k * log_q * t).expm1() * math.exp(k * log_q) / math.expm1(k * log_q) if log_q else t
            total -= geometric / (k * 2**k)
        return self.betas[0] ** t * total.exp()

    def update(self, w: Tensor, g: Tensor, *rest: Tensor) -> Updated:
        m, v, of_gradient, of_mean, unbias, b1, of_g, b2, of_square, eps, decay = rest
        w, g = self._decayed(w, g, decay)
        m = b1 * m + of_g * g
        v = b2 * v + of_square * g * g
        return w - (of_gradient * g + of_mean * m) / (unbias * v.sqrt() + eps), m, v

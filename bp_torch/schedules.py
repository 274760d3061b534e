"""SCHEDULES: the rate η by the progress of a run, one entry each. To add one, add one entry.

Progress p runs from 0 to 1 over the whole run: step k of N, from 0, is taken at k/N. A schedule is a function of p
alone. So it does not depend on where a run is stopped, and a longer run has the same curve, drawn out.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from bp_torch import checks, choices

WARMUP_FROM = 0.01
"""The share of η that a warm-up begins with: a step at the rate 0 would be lost."""

ROUNDING = 1e-9  # of a quotient of shares; far below the progress of one step


@dataclass(frozen=True)
class Schedule:
    """What the entries share. Each is a frozen dataclass: its fields are its options.

    rate: η, the highest rate; None: what fits the network and the optimiser.
    warmup: a share of the run, from its start, in which the rate rises in a line, from a hundredth of what it would be
        to the whole, as torch's LinearLR. 0: none. Source: P. Goyal et al., "Accurate, Large Minibatch SGD" (2017).
    """

    name: ClassVar[str]
    rate: float | None = None
    warmup: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        if self.rate is not None:
            self._put("rate", checks.positive("rate", self.rate))
        self._put("warmup", checks.within("warmup", self.warmup, 0, 1))

    def _put(self, option: str, value: object) -> None:
        object.__setattr__(self, option, value)  # a frozen value is set once, when it is made

    def rates(self, progress: Tensor) -> Tensor:
        """The rates at these values of the progress, of any shape, in float64: finite, and 0 or more.

        0 itself is the rate where a curve touches it: that of coslog4 does at p = 0, 1/15, 1/5 and 7/15. Raises
        ValueError where the schedule names no rate.
        """
        if self.rate is None:
            raise ValueError(f"the schedule names no rate: give it one first, as in {self.name}(0.1)")
        share = self.share(progress)
        if self.warmup:
            share = share * (WARMUP_FROM + (1 - WARMUP_FROM) * (progress / self.warmup).clamp(max=1))
        return self.rate * share

    def __call__(self, progress: float) -> float:
        """The rate at one value of the progress. Raises ValueError where it is not from 0 to 1."""
        if not 0 <= progress <= 1:
            raise ValueError(f"a schedule is a function of the progress, from 0 to 1, not {progress!r}")
        return self.rates(torch.tensor(progress, dtype=torch.float64, device="cpu")).item()

    def share(self, p: Tensor) -> Tensor:
        """The share of η at the progress p, without the warm-up's factor; like p."""
        raise NotImplementedError

    def _after_warmup(self, p: Tensor) -> Tensor:
        """The progress through what is left after the warm-up: a curve that falls from η does so from there."""
        return ((p - self.warmup) / (1 - self.warmup)).clamp(min=0)

    def __str__(self) -> str:
        """The entry as text that `schedule` reads."""
        return choices.written(self.name, self)


@dataclass(frozen=True)
class Constant(Schedule):
    """η throughout."""

    name: ClassVar[str] = "constant"

    def share(self, p: Tensor) -> Tensor:
        return torch.ones_like(p)


@dataclass(frozen=True)
class Linear(Schedule):
    """η (1 − p): falls in a line towards 0. p counts from the warm-up's end."""

    name: ClassVar[str] = "linear"

    def share(self, p: Tensor) -> Tensor:
        return 1 - self._after_warmup(p)


@dataclass(frozen=True, kw_only=True)
class Step(Schedule):
    """η γⁿ: n grows by one at each of the shares `at` of the run, or after `every` such share.

    Left out, `at` is (0.5, 0.75). The shares are those of the whole run, warm-up included. Source of the default:
    K. He et al., "Deep Residual Learning for Image Recognition" (2016), section 4.2.
    """

    name: ClassVar[str] = "step"
    at: tuple[float, ...] | None = None
    every: float | None = None
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.at is not None:
            if self.every is not None:
                raise ValueError("step takes at or every, not both: each says when the rate falls")
            if not isinstance(self.at, (tuple, list)) or not self.at:
                raise ValueError(f"at must be shares of the run, as in (0.5, 0.75), not {self.at!r}")
            self._put("at", tuple(checks.share(f"at[{k}]", each) for k, each in enumerate(self.at)))
        if self.every is not None:
            self._put("every", checks.share("every", self.every))
        self._put("gamma", checks.share("gamma", self.gamma))

    def share(self, p: Tensor) -> Tensor:
        if self.every is not None:
            return self.gamma ** torch.floor(p / self.every + ROUNDING)
        falls = torch.zeros_like(p)
        for each in self.at or (0.5, 0.75):
            falls += p + ROUNDING >= each
        return self.gamma**falls


@dataclass(frozen=True, kw_only=True)
class Exponential(Schedule):
    """η finalᵖ: falls by the same factor in each step, to the share `final` of η. p counts from the warm-up's end.

    torch's ExponentialLR with γ = final^(1/N).
    """

    name: ClassVar[str] = "exponential"
    final: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        self._put("final", checks.share("final", self.final))

    def share(self, p: Tensor) -> Tensor:
        return self.final ** self._after_warmup(p)


def _cosine(start: float, end: float, p: Tensor) -> Tensor:
    """Half a cosine from one value, at p = 0, to another, at p = 1."""
    return end + (start - end) * (1 + torch.cos(math.pi * p)) / 2


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """η (f + (1 − f) ½ (1 + cos πp)): half a cosine to the share f, `final`, of η. p counts from the warm-up's end.

    torch's CosineAnnealingLR. Source: I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm
    Restarts" (2017), equation 5, without restarts.
    """

    name: ClassVar[str] = "cosine"
    final: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._put("final", checks.within("final", self.final, 0, 1))

    def share(self, p: Tensor) -> Tensor:
        return _cosine(1.0, self.final, self._after_warmup(p))


@dataclass(frozen=True, kw_only=True)
class OneCycle(Schedule):
    """Half a cosine from η / div_factor up to η, at the share pct_start of the run, and half a cosine down again.

    At p = 1 it is η / (div_factor · final_div_factor). Options and defaults are those of torch's OneCycleLR, of which
    the peak comes one step earlier and the last step is at p = 1. The momentum stays as it is. Source: L. Smith and
    N. Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates" (2018).
    """

    name: ClassVar[str] = "one_cycle"
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup:
            raise ValueError("one_cycle has a warm-up of its own: give pct_start, its share of the run, not warmup")
        self._put("pct_start", checks.share("pct_start", self.pct_start))
        for option in ("div_factor", "final_div_factor"):
            self._put(option, checks.within(option, getattr(self, option), 1))

    def share(self, p: Tensor) -> Tensor:
        low = 1 / self.div_factor
        rising = _cosine(low, 1.0, p / self.pct_start)
        falling = _cosine(1.0, low / self.final_div_factor, (p - self.pct_start) / (1 - self.pct_start))
        return torch.where(p < self.pct_start, rising, falling)


@dataclass(frozen=True)
class Coslog4(Schedule):
    """η ½ (1 − cos(2π log₂(1 + 15p))): four waves between 0 and η, each twice as long as the one before.

    Source: D. Holzmüller et al., "Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on Tabular Data" (2024).
    """

    name: ClassVar[str] = "coslog4"

    def share(self, p: Tensor) -> Tensor:
        return (1 - torch.cos(2 * math.pi * torch.log2(1 + 15 * p))) / 2


constant, linear, step, exponential = Constant, Linear, Step, Exponential
cosine, one_cycle, coslog4 = Cosine, OneCycle, Coslog4

SCHEDULES: dict[str, type[Schedule]] = {
    entry.name: entry for entry in (Constant, Linear, Step, Exponential, Cosine, OneCycle, Coslog4)
}


def schedule(choice: str | Schedule) -> Schedule:
    """The schedule of a name, of a name with options, as in "cosine(0.1, warmup=0.05)", or the one that is given.

    Raises ValueError for a name, an option or a value that can't be had.
    """
    if isinstance(choice, Schedule):
        return choice
    return choices.read("schedule", choice, SCHEDULES, "cosine(0.1, warmup=0.05)")

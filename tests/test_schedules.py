"""SCHEDULES: each held to its closed form and, where there is one, to torch's; as text, and what is refused."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

import bp_torch as bp
from bp_torch import schedules
from bp_torch.schedules import SCHEDULES, WARMUP_FROM, Schedule, schedule

N = 40
PROGRESS = torch.arange(N, dtype=torch.float64) / N
OPTIONS: list[Schedule] = [
    *(entry() for entry in SCHEDULES.values()),
    *(entry(0.3) for entry in SCHEDULES.values()),
    *(entry(0.3, warmup=0.25) for name, entry in SCHEDULES.items() if name != "one_cycle"),
    schedules.step(0.3, at=(0.2, 0.7, 0.9), gamma=0.5),
    schedules.step(0.3, every=0.15, gamma=0.7, warmup=0.1),
    schedules.exponential(0.3, final=1e-4),
    schedules.cosine(0.3, final=0.1, warmup=0.05),
    schedules.one_cycle(0.3, pct_start=0.5, div_factor=10, final_div_factor=100),
]


def torchs(make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler], steps: int = N) -> torch.Tensor:
    """The rates of torch's scheduler before each of so many steps, from 0.3 on."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    scheduler, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return torch.tensor(rates, dtype=torch.float64)


def assert_equal(mine: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(mine, wanted, rtol=1e-12, atol=1e-15)


TORCHS: list[tuple[Schedule, Callable[[Any], lr_scheduler.LRScheduler]]] = [
    (schedules.constant(0.3), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
    (schedules.linear(0.3), lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, total_iters=N)),
    (schedules.step(0.3), lambda o: lr_scheduler.MultiStepLR(o, [20, 30])),
    (schedules.step(0.3, at=(0.3, 0.7), gamma=0.5), lambda o: lr_scheduler.MultiStepLR(o, [12, 28], gamma=0.5)),
    (schedules.step(0.3, every=0.1), lambda o: lr_scheduler.StepLR(o, 4)),
    (schedules.exponential(0.3, final=0.02), lambda o: lr_scheduler.ExponentialLR(o, gamma=0.02 ** (1 / N))),
    (schedules.cosine(0.3), lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=N)),
    (schedules.cosine(0.3, final=0.1), lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=N, eta_min=0.03)),
    (schedules.constant(0.3, warmup=0.25), lambda o: lr_scheduler.LinearLR(o, WARMUP_FROM, total_iters=10)),
]


def _named(value: object) -> str:
    """Two processes that run the tests must call them alike: a function's text holds its address."""
    return "torch" if callable(value) and not isinstance(value, Schedule) else str(value)[:40]


@pytest.mark.parametrize(("mine", "make"), TORCHS, ids=_named)
def test_rates_are_torchs(mine: Schedule, make: Callable[[Any], lr_scheduler.LRScheduler]) -> None:
    assert_equal(mine.rates(PROGRESS), torchs(make))


@pytest.mark.parametrize(
    ("mine", "make"),
    [
        (schedules.cosine(0.3, warmup=0.25), lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=30)),
        (schedules.linear(0.3, warmup=0.25), lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, total_iters=30)),
        (
            schedules.exponential(0.3, final=0.1, warmup=0.25),
            lambda o: lr_scheduler.ExponentialLR(o, gamma=0.1 ** (1 / 30)),
        ),
    ],
    ids=_named,
)
def test_what_falls_begins_to_fall_after_the_warmup(mine: Schedule, make: Callable[[Any], Any]) -> None:
    """As torch's SequentialLR has it: the warm-up, then the schedule from its start."""
    rates = mine.rates(PROGRESS)
    assert_equal(rates[:10], torchs(lambda o: lr_scheduler.LinearLR(o, WARMUP_FROM, total_iters=10), 10))
    assert_equal(rates[10:], torchs(make, 30))


def test_a_warmup_does_not_move_the_falls_of_step() -> None:
    plain, warmed = (schedules.step(0.3, warmup=warmup).rates(PROGRESS) for warmup in (0.0, 0.25))
    assert torch.equal(plain[10:], warmed[10:])
    assert warmed[0].item() == pytest.approx(0.003)
    assert bool((warmed[:10].diff() > 0).all())


@pytest.mark.parametrize("options", [{}, {"pct_start": 0.5, "div_factor": 10.0, "final_div_factor": 100.0}])
def test_one_cycle_is_torchs(options: dict[str, Any]) -> None:
    """torch counts so that step pct_start · N − 1 is the highest, and step N − 1 the end: at that progress."""
    wanted = torchs(lambda o: lr_scheduler.OneCycleLR(o, 0.3, total_steps=N + 1, cycle_momentum=False, **options), N)
    start, k = options.get("pct_start", 0.3), torch.arange(N, dtype=torch.float64)
    highest = start * (N + 1) - 1
    progress = torch.where(k < highest, start * k / highest, start + (1 - start) * (k - highest) / (N - highest))
    mine = schedules.one_cycle(0.3, **options)
    assert_equal(mine.rates(progress), wanted)


def test_the_ends_of_one_cycle() -> None:
    rate = schedules.one_cycle(1.0)
    assert [rate(0), rate(0.3), rate(1)] == pytest.approx([1 / 25, 1.0, 1 / 25e4], rel=1e-9)
    assert rate(0.15) == pytest.approx((1 + 1 / 25) / 2)


def test_coslog4_is_four_waves_each_twice_as_long() -> None:
    rate = schedules.coslog4(2.0)
    for p in (0.0, 0.03, 0.2, 0.77, 1.0):
        assert rate(p) == pytest.approx(2 / 2 * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * p))))
    assert [rate((2**wave - 1) / 15) for wave in range(5)] == pytest.approx([0.0] * 5, abs=1e-12)
    assert [rate((2 ** (wave + 0.5) - 1) / 15) for wave in range(4)] == pytest.approx([2.0] * 4)


@pytest.mark.parametrize("entry", [entry for entry in OPTIONS if entry.rate], ids=str)
@pytest.mark.parametrize("steps", [1, 2, 7, 10_000])
def test_every_rate_is_finite_and_from_0_to_the_highest(entry: Schedule, steps: int) -> None:
    progress = torch.arange(steps, dtype=torch.float64) / steps
    rates = entry.rates(progress)
    assert (rates.dtype, rates.shape) == (torch.float64, (steps,))
    assert bool((rates.isfinite() & (rates >= 0) & (rates <= 0.3 + 1e-15)).all())
    if entry.name != "coslog4":
        assert bool((rates > 0).all())
    assert entry(progress[-1].item()) == rates[-1].item()


def test_falls_are_where_they_are_said_whatever_the_number_of_steps() -> None:
    for steps in (10, 30, 70, 1000, 123_450):
        progress = torch.arange(steps, dtype=torch.float64) / steps
        for entry in (schedules.step(1.0, at=tuple(k / 10 for k in range(1, 10))), schedules.step(1.0, every=0.1)):
            falls = entry.rates(progress).log10().round().diff().nonzero().flatten() + 1
            assert falls.tolist() == [steps * k // 10 for k in range(1, 10)]


@pytest.mark.parametrize("entry", OPTIONS, ids=str)
def test_a_schedule_is_its_text_and_pickles_and_copies(entry: Schedule) -> None:
    assert schedule(str(entry)) == entry == pickle.loads(pickle.dumps(entry)) == copy.deepcopy(entry)  # noqa: S301 (ours)
    assert hash(schedule(str(entry))) == hash(entry)
    assert schedule(entry) is entry


def test_texts_and_names() -> None:
    assert str(schedules.cosine(0.1, warmup=0.05)) == "cosine(0.1, warmup=0.05)"
    assert str(schedules.step(at=[0.5])) == "step(at=(0.5,))"  # pyright: ignore[reportArgumentType]
    assert schedule("cosine") == schedules.cosine() == schedule("cosine()")
    assert schedule("cosine(rate=1)") == schedules.cosine(1.0)
    assert bp.schedules is schedules
    assert bp.SCHEDULES is SCHEDULES
    for name, entry in SCHEDULES.items():
        assert getattr(schedules, name) is entry
        assert entry.name == name


REFUSED: list[tuple[Any, str]] = [
    (
        "cosin",
        "unknown schedule 'cosin': choose one of constant, linear, step, exponential, cosine, one_cycle, coslog4",
    ),
    (None, "unknown schedule None"),
    (0.1, "unknown schedule 0.1"),
    ("cosine(", "schedule must be a name with its options, as in cosine(0.1, warmup=0.05), not 'cosine('"),
    ("cosine(0.1, 0.2)", "must be a name with its options"),
    ("cosine(0.1, rate=0.1)", "must be a name with its options"),
    ("cosine(final=0.1, final=0.2)", "must be a name with its options"),
    ("cosine(x)", "must be a name with its options"),
    ("cosine()(0.1)", "must be a name with its options"),
    ("(0.1)", "must be a name with its options"),
    ("cosine({[]: 1})", "must be a name with its options"),
    ("cosine(gamma=1)", "unknown option of cosine 'gamma': choose one of rate, warmup, final"),
    ("cosine(0)", "rate must be a positive, finite number, not 0"),
    ("cosine(-1)", "rate must be a positive, finite number"),
    ("cosine(1e999)", "rate must be a positive, finite number"),
    ("cosine('a')", "rate must be a positive, finite number"),
    ("cosine(warmup=1)", "warmup must be a number from 0 to below 1, not 1"),
    ("cosine(warmup=-0.1)", "warmup must be"),
    ("cosine(final=1.0)", "final must be a number from 0 to below 1"),
    ("exponential(final=0)", "final must be a number above 0 and below 1, not 0"),
    ("step(gamma=0)", "gamma must be a number above 0 and below 1, not 0"),
    ("step(gamma=True)", "gamma must be"),
    ("step(at=0.5)", "at must be shares of the run, as in (0.5, 0.75), not 0.5"),
    ("step(at=())", "at must be shares of the run"),
    ("step(at=(0.5, 1))", "at[1] must be a number above 0 and below 1, not 1"),
    ("step(every=0)", "every must be a number above 0 and below 1"),
    ("step(at=(0.5,), every=0.1)", "step takes at or every, not both"),
    ("one_cycle(warmup=0.1)", "one_cycle has a warm-up of its own: give pct_start"),
    ("one_cycle(pct_start=0)", "pct_start must be a number above 0 and below 1"),
    ("one_cycle(div_factor=0.5)", "div_factor must be a number of 1 or more, and finite, not 0.5"),
    ("one_cycle(final_div_factor=0)", "final_div_factor must be a number of 1 or more"),
]


@pytest.mark.parametrize(("choice", "words"), REFUSED, ids=_named)
def test_what_is_no_schedule_is_refused(choice: Any, words: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (its words are compared)
        schedule(choice)
    assert words in str(caught.value)


def test_a_schedule_without_a_rate_and_a_progress_that_is_none_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the schedule names no rate: give it one first, as in cosine\(0\.1\)"):
        schedules.cosine().rates(PROGRESS)
    for progress in (2, -0.1, math.nan):
        with pytest.raises(ValueError, match="a schedule is a function of the progress, from 0 to 1"):
            schedules.cosine(0.1)(progress)


@pytest.mark.parametrize("lr", ["0.1", "cosin", "cosine(0)", ""])
def test_a_text_that_is_no_rate_is_refused_with_the_schedules_there_are(lr: str) -> None:
    with pytest.raises(ValueError, match=r"lr must be a number or a schedule, and '.*' is none: (unk|rate)"):
        bp.Recipe(lr=lr)

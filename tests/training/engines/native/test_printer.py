"""What is printed, how often, and what can't be."""

import pytest
import torch
from engine_cases import BATCH, SIZES, data, network
from jobs import job

import bp_torch as bp
from bp_torch.training import engines
from bp_torch.training.engines.native import printer


def test_what_can_not_be_printed_is_named_and_auto_goes_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = bp.Activation("cumulative", lambda z: z.cumsum(-1), lambda z, a: torch.ones_like(a))
    net = bp.Network.create(SIZES, hidden=odd, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"engine='native' can't print aten\.cumsum.*: use engine='eager'"):
        bp.train(net, data(net), engine="native")
    monkeypatch.setattr(engines, "WORTH_A_BUILD", 0.0)
    assert engines.choose(job(net, 100, batch_size=BATCH)) == "eager"


def test_a_step_is_recorded_once_for_each_size_of_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """By `train`'s check, the choice of an engine and its build together, and not again by another run of its kind."""
    keys, record = [], printer.record_step
    monkeypatch.setattr(printer, "record_step", lambda key: keys.append(key) or record(key))
    printer._remembered.cache_clear()
    for seed in (0, 1):
        net = network(("sigmoid", "quadratic", "sigmoid"))
        list(bp.train(net, data(net), epochs=1, batch_size=BATCH, seed=seed, engine="native"))
    assert [key.m for key in keys] == [10, 7]


def test_an_own_function_is_recorded_anew_for_each_run() -> None:
    """What it looks up may have changed since: a slope, say. It need not be hashable either."""

    class Scaled:
        slope = 1.0
        __hash__ = None  # pyright: ignore[reportAssignmentType]

        def __eq__(self, other: object) -> bool:
            return self is other

        def __call__(self, z: torch.Tensor) -> torch.Tensor:
            return self.slope * z

    f = Scaled()
    own = bp.Activation("scaled", f, lambda z, a: f.slope * torch.ones_like(a))
    costs = []
    for slope in (1.0, 0.5):
        f.slope = slope
        for engine in ("eager", "native"):
            net = bp.Network.create(SIZES, hidden=own, seed=1, dtype=torch.float64)
            costs.append([record.cost for record in bp.train(net, data(net), epochs=2, lr=0.1, engine=engine)])
    assert costs[1] == pytest.approx(costs[0])
    assert costs[3] == pytest.approx(costs[2])
    assert costs[3] != pytest.approx(costs[1])

"""Differences are the gradients, and the times say how much of them was measured. No time itself is tested."""

import pytest
import reference
import torch

import bp_torch as bp
from bp_torch.insight import speed


def test_differences_are_the_gradients() -> None:
    net = reference.network([3, 4, 2])
    x, y = reference.examples(net, 5)
    before = [t.clone() for layer in net.layers for t in layer]
    wanted = torch.cat([gradient.w.flatten() for gradient in net.gradients(x, y)])
    assert speed.differences(net, x, y) == pytest.approx(wanted.tolist(), rel=1e-2, abs=1e-4)
    chosen = [19, 0, 12]
    some = speed.differences(net, x, y, chosen)
    assert some == pytest.approx(wanted[chosen].tolist(), rel=1e-2, abs=1e-4)
    assert all(torch.equal(t, was) for t, was in zip((t for layer in net.layers for t in layer), before, strict=True))


def test_times_say_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    net = bp.Network.create([3, 4, 2])
    x, y = torch.rand(5, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(5, 2)
    passes = []
    measured = speed.times(net, x, y, lambda: passes.append(1), seconds=60)
    assert measured.weights == measured.differenced == 20
    assert min(measured.forward, measured.differences) > 0
    assert len(passes) == 201  # one to warm up

    clock = iter(range(10**6))
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(clock))
    measured = speed.times(net, x, y, lambda: None, seconds=0.5)
    assert measured.differenced == 10
    assert (measured.forward, measured.both) == (1, 1)
    assert measured.differences == pytest.approx(measured.weights * 2 / 10)  # begun, looked at once, ended
    with pytest.raises(ValueError, match="seconds must be a positive"):
        speed.times(net, x, y, lambda: None, seconds=0)

"""A GPU, as far as a CPU can see it: devices, and how often the host waits."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fake_gpu import DEVICE, Graphs, Waits, fake_gpu
from torch.utils._pytree import tree_leaves

import bp_torch as bp
from bp_torch.insight import big_picture, feedback, learning_speed, observe
from bp_torch.training import batches, engines, loop

Case = Callable[[bp.Network, torch.Tensor, torch.Tensor], object]
p = bp.per_example

CALLS: dict[str, Case] = {
    "forward": lambda net, x, y: net.forward(x),
    "gradients": lambda net, x, y: net.gradients(x, y),
    "cost": lambda net, x, y: net.cost(x, y),
    "predict": lambda net, x, y: net.predict(x),
    "accuracy": lambda net, x, y: net.accuracy(x, y),
    "to a dtype": lambda net, x, y: net.to(torch.float64).layers,
    "to a device": lambda net, x, y: net.to(device="cpu").to(device=DEVICE).layers,
    "backprop": bp.backprop,
    "stack": lambda net, x, y: bp.backprop(bp.stack([net, net]), x, y),
    "gradient_norms": lambda net, x, y: [p.gradient_norms(net, x, y, by_layer=layers) for layers in (False, True)],
    "clipped_sum": lambda net, x, y: p.clipped_sum(net, x, y, 1.0),
    "second_moment": p.second_moment,
    "noise_scale": p.noise_scale,
    "gram": p.gram,
    "ntk": lambda net, x, y: p.ntk(net, x),
    "influence": lambda net, x, y: [p.influence(net, (x, y), (x, y), similarity=name) for name in p.SIMILARITIES],
    "top_influences": lambda net, x, y: p.top_influences(net, (x, y), (x, y), 3),
    "error_norms": learning_speed.error_norms,
    "feedback": lambda net, x, y: feedback.angles(net, x, y, feedback.feedback_alignment(net)),
    "direct feedback": lambda net, x, y: feedback.angles(net, x, y, feedback.direct_feedback_alignment(net)),
    "cost_changes": lambda net, x, y: big_picture.cost_changes(net, x, y, (0, 1, 1), [0.1]),
    "check": lambda net, x, y: (
        bp.check(net.to(torch.float64), x.double(), y.double() if y.is_floating_point() else y) and None
    ),
    "spread": lambda net, x, y: x[observe.spread(len(x), 10).to(x.device)],
}


def _network(**settings: Any) -> bp.Network:
    return bp.Network.create([8, 5, 3], device=DEVICE, **settings)


def _data(labels: bool = True, m: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    y = torch.zeros(m, dtype=torch.int64) if labels else torch.full((m, 3), 0.5)
    return torch.full((m, 8), 0.5, device=DEVICE), y.to(DEVICE)


@pytest.mark.parametrize("labels", [True, False], ids=["class indices", "a matrix"])
@pytest.mark.parametrize("case", CALLS)
def test_what_is_public_makes_its_tensors_on_the_networks_own_gpu(
    case: str, labels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case == "accuracy" and not labels:
        pytest.skip("real-valued targets have none")
    with fake_gpu(monkeypatch):
        result = CALLS[case](_network(), *_data(labels))
        assert {t.device for t in tree_leaves(result) if isinstance(t, torch.Tensor)} <= {DEVICE}


@pytest.mark.parametrize("cost", bp.COSTS)
@pytest.mark.parametrize("hidden", bp.ACTIVATIONS)
def test_each_activation_and_cost_stays_on_its_gpu(cost: str, hidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_gpu(monkeypatch):
        trace = bp.backprop(_network(hidden=hidden, cost=cost), *_data())
        assert {t.device for t in tree_leaves(trace)} == {DEVICE}


def test_what_a_run_observes_comes_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_gpu(monkeypatch):
        net, data = _network(), _data()
        observed = observe.observe(net, data, _data(m=3))
        assert {t.device for t in observed.values()} == {torch.device("cpu")}
        slopes = learning_speed.slopes(net, *data, 0)
        assert slopes.mean.device == slopes.pairs.device == DEVICE


def _waits(waits: Waits, engine: str, precision: str, epochs: int) -> int:
    net, data = _network(), _data(m=25)
    waits.count = 0
    records = list(
        bp.train(net, data, validation=data, epochs=epochs, lr=0.1, engine=engine, precision=precision, batch_size=7)
    )
    assert len(records) == epochs
    return waits.count


@pytest.mark.parametrize("precision", ["dtype", "tf32", "bf16"])
@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_an_epoch_on_a_gpu_waits_for_it_five_times_at_most(
    engine: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many batches and chunks it has: the cost (twice with a rest), the weights' finiteness, the validation."""
    monkeypatch.setattr(batches, "CHUNK_BYTES", 1)
    monkeypatch.setattr(loop, "EVALUATED_BYTES", 1000)
    monkeypatch.setattr("bp_torch.training.engines.compiled.STEPS_CAPTURED", 2)
    with fake_gpu(monkeypatch) as waits:
        Graphs(monkeypatch)
        assert _waits(waits, engine, precision, 3) - _waits(waits, engine, precision, 1) <= 2 * 5


def test_auto_on_a_gpu_goes_around_a_capture_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of an own activation with .item() does. The stream of before is the current one again."""
    engines.say_once.cache_clear()
    with fake_gpu(monkeypatch):
        graphs = Graphs(monkeypatch, error=RuntimeError("operation not permitted when stream is capturing\nand more"))
        with pytest.warns(RuntimeWarning, match=r"as engine='eager' does: .*\(operation not permitted"):
            assert len(list(bp.train(_network(), _data(), epochs=1))) == 1
        assert graphs.captures
        assert graphs.streams == ["the default stream"]
        with pytest.raises(
            bp.EngineError, match=r"can't be captured as a CUDA graph \(operation .*\): use engine='eag"
        ):
            list(bp.train(_network(), _data(), epochs=1, engine="graph"))


def test_auto_on_a_gpu_goes_around_a_graph_that_its_memory_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    engines.say_once.cache_clear()
    with fake_gpu(monkeypatch):
        Graphs(monkeypatch, error=torch.OutOfMemoryError("tried to allocate 2 TiB"))
        with pytest.warns(RuntimeWarning, match="as engine='eager' does: tried to allocate 2 TiB"):
            assert len(list(bp.train(_network(), _data(), epochs=1))) == 1


def test_a_graph_is_captured_on_the_warm_ups_stream_of_the_networks_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's own stream for captures lies on the first device that it ever captured on."""
    with fake_gpu(monkeypatch):
        graphs = Graphs(monkeypatch)
        list(bp.train(_network(), _data(), epochs=1, engine="graph"))
        ((stream, mode, devices),) = graphs.captures
        assert stream is not None
        assert mode == "thread_local"  # what another thread does on the GPU does not end the capture
        assert devices == [DEVICE]

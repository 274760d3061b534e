"""ENGINES: which one auto takes, what all of them do alike, and what is refused."""

import math
from pathlib import Path

import pytest
import reference
import torch
from engine_cases import BATCH, data, network
from jobs import job

import bp_torch as bp
from bp_torch.native import build
from bp_torch.threads import threads
from bp_torch.training import engines
from bp_torch.training.engines import compiled
from bp_torch.training.engines.native import engine as native_engine
from bp_torch.training.job import Job, Run


@pytest.fixture(autouse=True)
def few_unrolled_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "LAYERS_COMPILED", 6)


@pytest.mark.parametrize("engine", ["eager", "native", "compiled"])
def test_weights_that_the_caller_changes_between_epochs_count(engine: str) -> None:
    nets = [network(("sigmoid", "quadratic", "sigmoid")) for _ in range(2)]
    for net, name in zip(nets, ("eager", engine), strict=True):
        for record in bp.train(net, data(net), epochs=3, batch_size=BATCH, lr=0.1, engine=name):
            if record.epoch == 1:
                net.layers[1].w.mul_(0.5)
                net.layers[0].b.add_(1)
    assert reference.relative_error(nets[1].layers[1].w, nets[0].layers[1].w) < 1e-12


@pytest.mark.parametrize("engine", ["native", "compiled"])
def test_building_leaves_the_weights_alone(engine: str) -> None:
    net = network(("sigmoid", "quadratic", "sigmoid"))
    before = [t.clone() for layer in net.layers for t in layer]
    engines.ENGINES[engine].build(job(net, data(net), batch_size=BATCH))
    assert all(torch.equal(now, then) for now, then in zip((t for l in net.layers for t in l), before, strict=True))


@pytest.mark.parametrize("engine", ["native", "compiled"])
def test_a_divergence_is_named_by_every_engine(engine: str) -> None:
    net = network(("relu", "quadratic", "identity"))
    x, y = data(net)
    x[3, 2] = math.nan
    before = net.layers[0].w.clone()
    with pytest.raises(bp.DivergenceError, match=r"epoch 1, .*layers\[0\] \(its input x\)"):
        list(bp.train(net, (x, y), batch_size=BATCH, lr=0.01, engine=engine))
    assert torch.equal(net.layers[0].w, before)


@pytest.mark.parametrize(("elsewhere", "large"), [(False, "eager"), (True, "native")])
def test_auto_builds_for_long_runs_only(monkeypatch: pytest.MonkeyPatch, elsewhere: bool, large: str) -> None:
    monkeypatch.setattr(engines, "_other_than_intel", lambda: elsewhere)
    net = bp.Network.create([784, 30, 10])
    assert engines.choose(job(net, 60_000)) == "native"
    assert engines.choose(job(net, 1_000, epochs=1)) == "eager"
    huge = bp.Network.create([2000, 2000, 2000])
    assert engines.choose(job(huge, 10_000, batch_size=100, epochs=10_000)) == large


def test_auto_runs_a_tiny_network_on_one_thread_and_puts_the_setting_back(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    eager = engines.ENGINES["eager"]

    def build(job: Job) -> Run:
        run = eager.build(job)
        return lambda steps: (counts.append(torch.get_num_threads()), run(steps))[1]

    monkeypatch.setitem(engines.ENGINES, "eager", eager._replace(build=build))
    with threads(2):
        for sizes in ([20, 6], [2000, 2000, 6]):
            net = bp.Network.create(sizes)
            x, y = torch.full((20, sizes[0]), 0.1), torch.full((20, 6), 0.5)
            for _ in bp.train(net, (x, y), epochs=1, batch_size=10):
                assert torch.get_num_threads() == 2
    assert counts == [1, 2]


def test_without_a_compiler_auto_says_so_once_and_runs_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (build, native_engine, compiled):
        monkeypatch.setattr(module, "compiler", lambda: None)
    monkeypatch.setattr(engines, "WORTH_A_BUILD", 0.0)
    engines.say_once.cache_clear()
    net = network(("sigmoid", "quadratic", "sigmoid"))
    with pytest.warns(RuntimeWarning, match=r"no C\+\+ compiler was found.*engine='eager'"):
        list(bp.train(net, data(net), epochs=1))
    list(bp.train(net, data(net), epochs=1))  # warnings are errors here: it does not say it again
    for engine in ("native", "compiled"):
        with pytest.raises(ValueError, match=rf"engine='{engine}' needs a C\+\+ compiler"):
            bp.train(net, data(net), engine=engine)


def test_auto_goes_around_a_compiler_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "compiler", lambda: "/bin/false")
    monkeypatch.setattr(engines, "WORTH_A_BUILD", 0.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    engines.say_once.cache_clear()
    net = network(("sigmoid", "quadratic", "sigmoid"))
    before = net.layers[0].w.clone()
    with pytest.warns(RuntimeWarning, match="engine='auto' runs as engine='eager' does: .*false failed"):
        list(bp.train(net, data(net), epochs=1))
    assert not torch.equal(net.layers[0].w, before)


REFUSED = [
    (
        dict(engine="graph"),
        "engine='graph' is for CUDA, and the network is on the CPU: use engine='native' or engine='eager'",
    ),
    (
        dict(precision="tf32"),
        "precision='tf32' is not for this cpu device: use precision='dtype'( or precision='bf16')?$",
    ),
    (dict(precision="fp8"), "unknown precision 'fp8': choose one of dtype, tf32, bf16"),
    (dict(engine="warp"), "unknown engine 'warp': choose one of auto, eager, native, compiled, graph, persistent"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[str(arguments) for arguments, _ in REFUSED])
def test_what_the_device_can_not_do_is_refused_at_once(arguments: dict, message: str) -> None:
    net = network(("sigmoid", "quadratic", "sigmoid"), torch.float32)
    with pytest.raises(ValueError, match=message):
        bp.train(net, data(net), **arguments)


def test_out_of_memory_suggests_a_smaller_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_):
        raise torch.OutOfMemoryError("tried to allocate 2 TiB")

    monkeypatch.setitem(engines.ENGINES, "eager", engines.ENGINES["eager"]._replace(build=build))
    net = network(("sigmoid", "quadratic", "sigmoid"))
    with pytest.raises(bp.EngineError, match="does not hold a step of batch_size 10: try batch_size=5"):
        list(bp.train(net, data(net), engine="eager"))

"""Every engine takes the eager engine's steps: 200 of them, with a ragged last batch and a change of lr in between."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import reference
import torch

import bp_torch as bp
from bp_torch.network import feed_forward
from bp_torch.training import engines
from bp_torch.training.engines import common, compiled, cpp, native

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
SIZES, EXAMPLES, BATCH, EPOCHS = [20, 13, 17, 6], 97, 10, 20  # ten batches an epoch, the last of seven
QUICK = [("sigmoid", "quadratic", "sigmoid"), ("relu", "softmax_cross_entropy", "softmax")]  # the others are slow


@pytest.fixture(autouse=True)
def few_unrolled_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "LAYERS_COMPILED", 6)


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    with common.threads(request.param):
        yield request.param


def _network(case: tuple[str, str, str], dtype: torch.dtype = torch.float64, device: str = "cpu") -> bp.Network:
    hidden, cost, output = case
    return bp.Network.create(
        SIZES, hidden=hidden, cost=cost, output=output, init="scaled", seed=1, dtype=dtype, device=device
    )


def _data(net: bp.Network) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = reference.examples(net, EXAMPLES)
    like = net.layers[0].w
    return x.to(like), y.to(like)


def _halved_midway(epoch: int) -> float:
    return 0.01 if epoch <= EPOCHS // 2 else 0.005


def _run(net: bp.Network, engine: str, precision: str = "ieee") -> list[float]:
    records = bp.train(
        net,
        _data(net),
        epochs=EPOCHS,
        batch_size=BATCH,
        lr=_halved_midway,
        seed=7,
        engine=engine,
        precision=precision,
    )
    return [record.cost for record in records]


def _agrees(engine: str, case: tuple[str, str, str], dtype: torch.dtype, device: str = "cpu") -> None:
    eager, other = _network(case, dtype, device), _network(case, dtype, device)
    costs, other_costs = _run(eager, "eager"), _run(other, engine)
    assert other_costs == pytest.approx(costs, rel=TOLERANCE[dtype])
    for mine, theirs in zip(eager.layers, other.layers, strict=True):
        for wanted, got in zip(mine, theirs, strict=True):
            assert reference.relative_error(got, wanted) < TOLERANCE[dtype]


@pytest.mark.parametrize("case", reference.CASES, ids="-".join)
def test_native_takes_the_eager_steps(case: tuple[str, str, str]) -> None:
    with common.threads(1):
        _agrees("native", case, torch.float64)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id="-".join(case), marks=[] if case in QUICK else pytest.mark.slow)
        for case in reference.CASES
    ],
)
def test_native_takes_the_eager_steps_in_float32(case: tuple[str, str, str]) -> None:
    with common.threads(1):
        _agrees("native", case, torch.float32)


def test_native_on_several_threads_takes_the_eager_steps() -> None:
    with common.threads(2):
        _agrees("native", ("sigmoid", "softmax_cross_entropy", "softmax"), torch.float64)


@pytest.mark.parametrize(
    ("sizes", "batch_size"),
    [([1, 1], 1), ([3, 1, 2], 4), ([130, 70, 50, 33], 33), ([40, 1100, 3], 5), ([1100, 6, 5, 4, 3, 2], 40)],
    ids=str,
)
def test_native_products_of_every_form(sizes: list[int], batch_size: int, threads: int) -> None:
    """Sizes on both sides of a tile, of a panel, of a block of the inner dimension, and of what is packed."""
    nets = [bp.Network.create(sizes, init="scaled", seed=2, dtype=torch.float64) for _ in range(2)]
    x, y = reference.examples(nets[0], 2 * batch_size + 1)
    for net, engine in zip(nets, ("eager", "native"), strict=True):
        list(bp.train(net, (x, y), epochs=2, batch_size=batch_size, lr=1.0, engine=engine))
    for mine, theirs in zip(nets[0].layers, nets[1].layers, strict=True):
        assert reference.relative_error(theirs.w, mine.w) < 1e-12
        assert reference.relative_error(theirs.b, mine.b) < 1e-12


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id="-".join(case), marks=[] if case in QUICK else pytest.mark.slow)
        for case in reference.CASES
    ],
)
def test_compiled_takes_the_eager_steps(case: tuple[str, str, str]) -> None:
    _agrees("compiled", case, torch.float64)


@pytest.mark.parametrize(
    "case", [pytest.param(case, id="-".join(case), marks=pytest.mark.slow) for case in reference.CASES]
)
def test_compiled_takes_the_eager_steps_in_float32(case: tuple[str, str, str]) -> None:
    _agrees("compiled", case, torch.float32)


def test_compiled_is_not_compiled_again_for_another_lr() -> None:
    torch._dynamo.utils.counters.clear()
    _run(_network(("sigmoid", "quadratic", "sigmoid")), "compiled")
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.gpu
@pytest.mark.parametrize("engine", ["graph", "compiled"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("case", reference.CASES, ids="-".join)
def test_cuda_engines_take_the_eager_steps(case: tuple[str, str, str], dtype: torch.dtype, engine: str) -> None:
    _agrees(engine, case, dtype, "cuda")


@pytest.mark.parametrize("engine", ["eager", "native", "compiled"])
def test_weights_that_the_caller_changes_between_epochs_count(engine: str) -> None:
    nets = [_network(("sigmoid", "quadratic", "sigmoid")) for _ in range(2)]
    for net, name in zip(nets, ("eager", engine), strict=True):
        for record in bp.train(net, _data(net), epochs=3, batch_size=BATCH, lr=0.1, engine=name):
            if record.epoch == 1:
                net.layers[1].w.mul_(0.5)
                net.layers[0].b.add_(1)
    assert reference.relative_error(nets[1].layers[1].w, nets[0].layers[1].w) < 1e-12


@pytest.mark.parametrize("engine", ["native", "compiled"])
def test_building_leaves_the_weights_alone(engine: str) -> None:
    net = _network(("sigmoid", "quadratic", "sigmoid"))
    before = [t.clone() for layer in net.layers for t in layer]
    x, y = _data(net)
    engines.ENGINES[engine].build(net, x, y, BATCH, "ieee")
    assert all(torch.equal(now, then) for now, then in zip((t for l in net.layers for t in l), before, strict=True))


def test_native_takes_weights_and_data_that_are_not_contiguous() -> None:
    plain = bp.Network.create([6, 5, 4], seed=0, dtype=torch.float64)
    layers = tuple(bp.Layer(w.mT.contiguous().mT, b) for w, b in plain.layers)
    strided = bp.Network(tuple(bp.Layer(w, b.clone()) for w, b in layers), plain.activations, plain.cost_function)
    x, y = reference.examples(plain, 23)
    list(bp.train(plain, (x, y), epochs=2, batch_size=5, engine="eager"))
    list(bp.train(strided, (x.mT.contiguous().mT, y), epochs=2, batch_size=5, engine="native"))
    assert reference.relative_error(strided.layers[0].w, plain.layers[0].w) < 1e-12


@pytest.mark.parametrize("engine", ["native", "compiled"])
def test_a_divergence_is_named_by_every_engine(engine: str) -> None:
    net = _network(("relu", "quadratic", "identity"))
    x, y = _data(net)
    x[3, 2] = math.nan
    before = net.layers[0].w.clone()
    with pytest.raises(bp.DivergenceError, match=r"epoch 1, .*layers\[0\] \(its input x\)"):
        list(bp.train(net, (x, y), batch_size=BATCH, lr=0.01, engine=engine))
    assert torch.equal(net.layers[0].w, before)


def test_an_own_activation_is_printed() -> None:
    softsign = bp.Activation("softsign", lambda z: z / (1 + z.abs()), lambda z, a: 1 / (1 + z.abs()) ** 2)
    nets = [bp.Network.create(SIZES, hidden=softsign, seed=1, dtype=torch.float64) for _ in range(2)]
    for net, engine in zip(nets, ("eager", "native"), strict=True):
        list(bp.train(net, _data(net), epochs=2, lr=1.0, engine=engine))
    assert reference.relative_error(nets[1].layers[0].w, nets[0].layers[0].w) < 1e-12


def test_what_can_not_be_printed_is_named_and_auto_goes_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = bp.Activation("cumulative", lambda z: z.cumsum(-1), lambda z, a: torch.ones_like(a))
    net = bp.Network.create(SIZES, hidden=odd, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"engine='native' can't print aten\.cumsum.*: use engine='eager'"):
        bp.train(net, _data(net), engine="native")
    monkeypatch.setattr(engines, "WORTH_A_BUILD", 0.0)
    assert engines.choose(net, BATCH, "ieee", 1000) == "eager"


@pytest.mark.parametrize(("elsewhere", "large"), [(False, "eager"), (True, "native")])
def test_auto_builds_for_long_runs_only(monkeypatch: pytest.MonkeyPatch, elsewhere: bool, large: str) -> None:
    monkeypatch.setattr(engines, "_other_than_intel", lambda: elsewhere)
    net = bp.Network.create([784, 30, 10])
    assert engines.choose(net, 10, "ieee", steps=6_000 * 30) == "native"
    assert engines.choose(net, 10, "ieee", steps=100) == "eager"
    assert engines.choose(bp.Network.create([2000, 2000, 2000]), 100, "ieee", steps=10**6) == large


def test_auto_runs_a_tiny_network_on_one_thread_and_puts_the_setting_back(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    built = engines.ENGINES["eager"]

    def spied(*arguments):
        epoch = built.build(*arguments)
        return lambda order, lr: (seen.append(torch.get_num_threads()), epoch(order, lr))[1]

    monkeypatch.setitem(engines.ENGINES, "eager", built._replace(build=spied))
    with common.threads(2):
        for sizes in ([20, 6], [2000, 2000, 6]):
            net = bp.Network.create(sizes)
            x, y = torch.full((20, sizes[0]), 0.1), torch.full((20, 6), 0.5)
            for _ in bp.train(net, (x, y), epochs=1, batch_size=10):
                assert torch.get_num_threads() == 2
    assert seen == [1, 2]


def test_without_a_compiler_auto_says_so_once_and_runs_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "compiler", lambda: None)
    monkeypatch.setattr(engines, "WORTH_A_BUILD", 0.0)
    engines.say_once.cache_clear()
    net = _network(("sigmoid", "quadratic", "sigmoid"))
    with pytest.warns(RuntimeWarning, match=r"no C\+\+ compiler was found.*engine='eager'"):
        list(bp.train(net, _data(net), epochs=1))
    list(bp.train(net, _data(net), epochs=1))  # warnings are errors here: it does not say it again
    for engine in ("native", "compiled"):
        with pytest.raises(ValueError, match=rf"engine='{engine}' needs a C\+\+ compiler"):
            bp.train(net, _data(net), engine=engine)


def test_a_compiler_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\necho 'step.cpp:1: error: no room on the disk' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(native, "compiler", lambda: str(broken))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(bp.EngineError, match=r"failed \(step\.cpp:1: error: no room on the disk"):
        native.build("int x;", 1)
    assert list((tmp_path / "bp_torch").iterdir()) == []


def test_auto_goes_around_a_compiler_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(native, "compiler", lambda: "/bin/false")
    monkeypatch.setattr(engines, "WORTH_A_BUILD", 0.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    engines.say_once.cache_clear()
    net = _network(("sigmoid", "quadratic", "sigmoid"))
    before = net.layers[0].w.clone()
    with pytest.warns(RuntimeWarning, match="engine='auto' runs as engine='eager' does: .*false failed"):
        list(bp.train(net, _data(net), epochs=1))
    assert not torch.equal(net.layers[0].w, before)


def test_without_a_home_that_can_be_written_a_library_is_built_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    net = _network(("sigmoid", "quadratic", "sigmoid"))
    list(bp.train(net, _data(net), epochs=1, engine="native"))


def test_a_built_library_is_found_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code = cpp.source(bp.Network.create([3, 2]), [4])
    native.build(code, 1)
    (library,) = (tmp_path / "bp_torch").iterdir()
    written = library.stat().st_mtime_ns
    native.build(code, 1)
    assert library.stat().st_mtime_ns == written


REFUSED = [
    (dict(engine="graph"), "engine='graph' is for CUDA, and the network is on the CPU: use 'native' or 'eager'"),
    (dict(precision="tf32"), "precision='tf32' is not for this cpu device, which can do ieee( and bf16)?$"),
    (dict(precision="fp8"), "unknown precision 'fp8': choose one of ieee, tf32, bf16"),
    (dict(engine="warp"), "unknown engine 'warp': choose one of auto, eager, native, compiled, graph, persistent"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[str(arguments) for arguments, _ in REFUSED])
def test_what_the_device_can_not_do_is_refused_at_once(arguments: dict, message: str) -> None:
    net = _network(("sigmoid", "quadratic", "sigmoid"), torch.float32)
    with pytest.raises(ValueError, match=message):
        bp.train(net, _data(net), **arguments)


def test_precision_classes_are_for_float32() -> None:
    net = _network(("sigmoid", "quadratic", "sigmoid"))
    with pytest.raises(ValueError, match=r"for networks of torch\.float32, and this one is of torch\.float64"):
        bp.train(net, _data(net), precision="bf16")


@pytest.mark.parametrize("engine", ["eager", "compiled"])
def test_bf16_keeps_float32_weights_and_follows_float32(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "precision_missing", lambda net, precision: None)  # correct, if slow, on any CPU
    exact, mixed = (_network(("relu", "softmax_cross_entropy", "softmax"), torch.float32) for _ in range(2))
    costs, mixed_costs = _run(exact, "eager"), _run(mixed, engine, "bf16")
    assert mixed_costs == pytest.approx(costs, rel=1e-2)
    for wanted, got in zip(exact.layers, mixed.layers, strict=True):
        assert got.w.dtype == torch.float32
        assert 0 < reference.relative_error(got.w, wanted.w) < 1e-2


@pytest.mark.parametrize("asked", ["ieee", "tf32"])
def test_the_callers_own_setting_of_products_is_put_back(asked: str) -> None:
    mkldnn: Any = torch.backends.mkldnn
    cuda, cpu = torch.backends.cuda.matmul, mkldnn.matmul
    before = cuda.fp32_precision, cpu.fp32_precision
    try:
        cuda.fp32_precision, cpu.fp32_precision = "tf32", "bf16"
        with common.products_in(asked):
            assert (cuda.fp32_precision, cpu.fp32_precision) == (asked, "ieee")
        assert (cuda.fp32_precision, cpu.fp32_precision) == ("tf32", "bf16")
        list(bp.train(net := _network(("sigmoid", "quadratic", "sigmoid"), torch.float32), _data(net), epochs=1))
    finally:
        cuda.fp32_precision, cpu.fp32_precision = before


def test_small_steps_are_not_lost_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps below bfloat16's resolution add up in the float32 weights."""
    monkeypatch.setattr(engines, "precision_missing", lambda net, precision: None)
    net = _network(("sigmoid", "quadratic", "sigmoid"), torch.float32)
    before = net.layers[0].w.clone()
    list(bp.train(net, _data(net), epochs=1, batch_size=BATCH, lr=1e-4, engine="eager", precision="bf16"))
    assert 0 < reference.relative_error(net.layers[0].w, before) < 1e-3


def test_training_keeps_no_weighted_input_that_the_derivative_does_not_need() -> None:
    for activation in bp.ACTIVATIONS.values():
        z = torch.linspace(-2, 2, 9, dtype=torch.float64)
        a = activation.f(z)
        if not activation.needs_z:
            assert torch.equal(activation.derivative(torch.full_like(z, math.nan), a), activation.derivative(z, a))
        net = bp.Network.create([3, 4, 2], hidden=activation)
        trace = feed_forward(net, torch.ones(5, 3), lean=True)
        assert (trace.z[0] is trace.a[1]) == (not activation.needs_z)


def test_torch_compile_that_fails_ends_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("/nonexistent/g++",))
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
    net = _network(("sigmoid", "quadratic", "sigmoid"))
    with pytest.raises(bp.EngineError, match=r"torch.compile failed \(.*\): use engine='eager'"):
        list(bp.train(net, _data(net), engine="compiled"))


def test_out_of_memory_suggests_a_smaller_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_):
        raise torch.OutOfMemoryError("tried to allocate 2 TiB")

    monkeypatch.setitem(engines.ENGINES, "eager", engines.ENGINES["eager"]._replace(build=build))
    net = _network(("sigmoid", "quadratic", "sigmoid"))
    with pytest.raises(bp.EngineError, match="does not hold a step of batch_size 10: try batch_size=5"):
        list(bp.train(net, _data(net), engine="eager"))

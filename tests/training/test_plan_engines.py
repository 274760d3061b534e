"""A plan in each engine: all take the eager engine's steps, which are held to autograd; what one can't it names."""

import itertools
from typing import Any

import plan_reference as oracle
import pytest
import reference
import torch
from fake_gpu import DEVICE, Graphs, fake_gpu

import bp_torch as bp
from bp_torch.training import batches, engines

SIZES, M, BATCH = [20, 13, 6], 47, 10  # widths that fill no vector; five batches, the last of seven
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
COUNTS = 0.1 + torch.rand(M, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

ALL: dict[str, Any] = dict(
    dropout=(0.2, 0.5),
    l2=2.0,
    l1=0.5,
    max_norm=1.5,
    sample_weight=COUNTS,
    clip_norm=0.5,
    clip_value=0.05,
    label_smoothing=0.1,
    lr="cosine(0.01, warmup=0.2)",
    rate_factors={"biases": 2, "first": 0.5},
)
FEATURES: dict[str, dict[str, Any]] = {
    "dropout": dict(dropout=(0.3, 0.5), seed=2),
    "penalties": dict(l2=2.0, l1=0.5),
    "max_norm": dict(max_norm=1.5),
    "weights": dict(sample_weight=COUNTS),
    "clip_norm by the errors": dict(clip_norm=0.3, batch_size=4),
    "clip_norm by the gradients": dict(clip_norm=0.1, batch_size=M),
    "clip_value": dict(clip_value=0.02),
    "schedule": dict(lr="one_cycle(0.2)"),
    "factors": dict(
        rate_factors={"biases": 0.1, "last": 0}, optimizer="sgd(weight_decay=0.1)", decay_factors="first:3"
    ),
    "adam with all": dict(optimizer="adam", **ALL),
    "plain with dropout and weights": dict(dropout=0.5, sample_weight=COUNTS, lr="coslog4(0.1)"),
    "momentum with all": dict(
        optimizer="sgd(momentum=0.9, nesterov=True, weight_decay=0.1)", decay_factors="biases:0", **ALL
    ),
}
QUICK = {"plain with dropout and weights"}
each_feature = pytest.mark.parametrize(
    "settings",
    [pytest.param(each, marks=() if name in QUICK else pytest.mark.slow, id=name) for name, each in FEATURES.items()],
)


def network(dtype: torch.dtype = torch.float64, sizes: list[int] = SIZES) -> bp.Network:
    return oracle.network(("gelu", "softmax_cross_entropy", "softmax"), sizes).to(dtype)


def data(net: bp.Network, m: int = M) -> tuple[torch.Tensor, torch.Tensor]:
    x, _ = reference.examples(net.to(torch.float64), m)
    return x.to(net.layers[0].w), (torch.arange(m) % net.sizes[-1]).to(net.layers[0].w.device)


def train(net: bp.Network, **settings: Any) -> list[bp.Record]:
    given: dict[str, Any] = dict(epochs=3, batch_size=BATCH, lr=0.1)
    return list(bp.train(net, data(net), **{**given, **settings}))


def tensors(net: bp.Network, last: bp.Record) -> list[torch.Tensor]:
    """The parameters, and what the optimiser keeps."""
    return [*itertools.chain(*net.layers), *(t for slot in last.position.slots for layer in slot for t in layer)]


def assert_agree(settings: dict[str, Any], engine: str, dtype: torch.dtype, threads: int = 1) -> None:
    nets = [network(dtype) for _ in range(2)]
    runs = [
        train(net, engine=name, threads=threads, **settings) for net, name in zip(nets, ("eager", engine), strict=True)
    ]
    for mine, wanted in zip(*runs, strict=True):
        assert mine.cost == pytest.approx(wanted.cost, rel=TOLERANCE[dtype])
        assert mine.lr == wanted.lr
    for wanted, got in zip(*(tensors(net, run[-1]) for net, run in zip(nets, runs, strict=True)), strict=True):
        assert (got - wanted).norm() <= TOLERANCE[dtype] * wanted.norm()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@each_feature
def test_native_takes_the_eager_steps(settings: dict[str, Any], dtype: torch.dtype) -> None:
    assert_agree(settings, "native", dtype)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(
            {**FEATURES["adam with all"], "batch_size": M, "epochs": 9}, id="adam with all, one size of batch"
        ),
        pytest.param(FEATURES["adam with all"], id="adam with all", marks=pytest.mark.slow),
        pytest.param(FEATURES["clip_norm by the gradients"], id="clip_norm by the gradients", marks=pytest.mark.slow),
        pytest.param(FEATURES["momentum with all"], id="momentum with all", marks=pytest.mark.slow),
    ],
)
def test_native_takes_the_eager_steps_on_two_threads(settings: dict[str, Any]) -> None:
    assert_agree(settings, "native", torch.float32, threads=2)


@pytest.mark.slow
@pytest.mark.parametrize("settings", FEATURES.values(), ids=FEATURES)
def test_compiled_takes_the_eager_steps(settings: dict[str, Any]) -> None:
    assert_agree(settings, "compiled", torch.float64)


def dropped(engine: str, threads: int = 1, every: int | None = None) -> list[list[bool]]:
    """Which inputs of a batch of one example were left in, step by step: whose weights changed. Of no other layer."""
    net = bp.Network.create([40, 3], dtype=torch.float64, seed=1)
    x, y = torch.ones(6, 40, dtype=torch.float64), torch.zeros(6, 3, dtype=torch.float64)
    settings: dict[str, Any] = dict(dropout=(0.5, 0.5), batch_size=1, engine=engine, threads=threads, lr=0.1, every=1)
    before, seen, start = net.layers[0].w.clone(), [], None
    for record in bp.train(net, (x, y), epochs=2, **settings):
        seen.append((net.layers[0].w != before).any(0).tolist())
        before = net.layers[0].w.clone()
        if every == len(seen):
            start = record.position
            break
    if start is not None:
        for _ in bp.train(net, (x, y), epochs=2, start=start, **settings):
            seen.append((net.layers[0].w != before).any(0).tolist())
            before = net.layers[0].w.clone()
    return seen


def test_every_engine_thread_count_and_resumed_run_drops_the_same_neurons() -> None:
    wanted = dropped("eager")
    assert len(wanted) == 12
    assert len(set(map(tuple, wanted))) == 12
    assert dropped("eager", threads=2) == wanted
    assert dropped("eager", every=4) == wanted
    assert dropped("native") == wanted
    assert dropped("native", threads=2) == wanted
    assert dropped("native", every=7) == wanted


def test_accumulation_is_refused_by_native_and_auto_goes_around_it(recwarn: pytest.WarningsRecorder) -> None:
    net = network()
    with pytest.raises(ValueError, match="engine='native' can't accumulate batches into a step: use engine='auto', or"):
        bp.train(net, data(net), accumulate=2, engine="native")
    nets = [network() for _ in range(2)]
    for each, engine in zip(nets, ("eager", "auto"), strict=True):
        train(each, accumulate=2, engine=engine, epochs=1, **{"dropout": 0.5})
    assert not recwarn
    assert torch.equal(nets[0].layers[0].w, nets[1].layers[0].w)


@pytest.mark.parametrize("settings", [dict(accumulate=3), *FEATURES.values()], ids=["accumulation", *FEATURES])
def test_auto_refuses_no_mixture(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does what it chooses for a long run, of which native says that it can print it."""
    from bp_torch.training.engines import ENGINES

    asked = []
    monkeypatch.setattr(engines, "WORTH_A_BUILD", 0.0)
    monkeypatch.setitem(
        ENGINES,
        "native",
        ENGINES["native"]._replace(build=lambda job: asked.append(job) or ENGINES["eager"].build(job)),
    )
    net = network(sizes=[5, 4, 3])
    (record,) = bp.train(net, data(net), epochs=1, **settings)
    assert record.cost > 0
    assert bool(asked) == ("accumulate" not in settings)


NOT_PLAIN: list[dict[str, Any]] = [
    dict(dropout=0.5),
    dict(l2=1.0),
    dict(clip_norm=1.0),
    dict(max_norm=1.0),
    dict(sample_weight=COUNTS[:M]),
    dict(accumulate=2),
    dict(rate_factors={"biases": 0.5}),
    dict(optimizer="adam"),
]


@pytest.mark.parametrize("settings", NOT_PLAIN, ids=str)
def test_persistent_refuses_by_name(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bp_torch.training.engines.persistent.interpreted", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    net = network(torch.float32, [20, 5, 3])
    with pytest.raises(
        ValueError, match="engine='persistent' is for plain gradient descent and nothing beside it: use"
    ):
        bp.train(net, data(net), engine="persistent", **settings)


GPU: dict[str, dict[str, Any]] = {
    "all": dict(optimizer="adamw", **ALL),
    "class weights and a clipped plain step": dict(class_weight={0: 2.0}, clip_norm=0.1),
    "parts": dict(accumulate=2, clip_norm=0.1, dropout=0.5),
}


@pytest.mark.parametrize("engine", ["eager", "graph"])
@pytest.mark.parametrize("settings", GPU.values(), ids=GPU)
def test_nothing_leaves_the_gpu_and_no_step_waits_for_it(
    settings: dict[str, Any], engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch waits for the cost, twice with a rest, for the weights' finiteness and for the penalty."""
    monkeypatch.setattr(batches, "CHUNK_BYTES", 1)
    monkeypatch.setattr("bp_torch.training.engines.compiled.STEPS_CAPTURED", 2)

    def of_two_epochs(batch_size: int) -> int:
        """How much more often the host waits in three epochs than in one."""
        counts = []
        for epochs in (1, 3):
            net = bp.Network.create([8, 5, 3], hidden="tanh", cost="softmax_cross_entropy", device=DEVICE)
            x, y = torch.full((13, 8), 0.5, device=DEVICE), torch.zeros(13, dtype=torch.int64, device=DEVICE)
            given: dict[str, Any] = {**settings, "lr": "cosine(0.1)", "batch_size": batch_size, "engine": engine}
            if "sample_weight" in given:
                given["sample_weight"] = torch.ones(13, device=DEVICE)
            waits.count = 0
            assert len(list(bp.train(net, (x, y), epochs=epochs, **given))) == epochs
            counts.append(waits.count)
        return counts[1] - counts[0]

    with fake_gpu(monkeypatch) as waits:
        Graphs(monkeypatch)
        assert of_two_epochs(7) <= 2 * (3 + ("l2" in settings))
        assert of_two_epochs(2) <= 2 * (3 + ("l2" in settings))


@pytest.mark.gpu
@pytest.mark.parametrize("engine", ["graph", pytest.param("compiled", marks=pytest.mark.slow)])
@pytest.mark.parametrize("settings", [*FEATURES.values(), dict(accumulate=2, dropout=0.5)], ids=[*FEATURES, "parts"])
def test_engines_on_the_gpu_take_the_eager_steps(settings: dict[str, Any], engine: str) -> None:
    """Those of the CPU too: the same neurons are dropped."""
    nets = [network().to(device=device) for device in ("cpu", "cuda", "cuda")]
    for net, name in zip(nets, ("eager", "eager", engine), strict=True):
        train(net, engine=name, **settings)
    for got in nets[1:]:
        for mine, wanted in zip(itertools.chain(*got.layers), itertools.chain(*nets[0].layers), strict=True):
            assert reference.relative_error(mine.cpu(), wanted) < 1e-9


def test_bf16_passes_have_masters_and_slots_in_float32() -> None:
    if not torch.cpu._is_avx512_bf16_supported():
        pytest.skip("this CPU has no bf16 instructions")
    nets = [network(torch.float32) for _ in range(2)]
    settings = {**FEATURES["adam with all"], "clip_value": None, "max_norm": None}
    runs = [train(net, engine="eager", precision=p, **settings) for net, p in zip(nets, ("dtype", "bf16"), strict=True)]
    for wanted, got in zip(*(tensors(net, run[-1]) for net, run in zip(nets, runs, strict=True)), strict=True):
        assert got.dtype == torch.float32
        assert not torch.equal(got, wanted)
    for (before, _), mine, wanted in zip(network(torch.float32).layers, nets[1].layers, nets[0].layers, strict=True):
        assert (mine.w - wanted.w).norm() < 0.2 * (wanted.w - before).norm()
    assert runs[1][-1].cost == pytest.approx(runs[0][-1].cost, rel=0.02)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_networks_of_16_bits_are_trained_by_every_plan(dtype: torch.dtype) -> None:
    net = network(dtype)
    records = train(net, engine="eager", **{**FEATURES["adam with all"], "optimizer": "sgd(momentum=0.5)"})
    assert all(torch.isfinite(t).all() and t.dtype == dtype for t in tensors(net, records[-1]))


@pytest.mark.parametrize("m", [4, 200], ids=["by the errors", "by the gradients"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_norms_of_16_bits_are_those_of_float32(dtype: torch.dtype, m: int) -> None:
    """Squares of float16 vanish below 1e-4, as those of a wide layer's gradients, and overflow from 256 on."""
    nets = [bp.Network.create([2000, 10], cost="softmax_cross_entropy", dtype=dtype) for _ in range(2)]
    nets[1] = nets[1].to(torch.float32)
    generator = torch.Generator().manual_seed(0)
    x, y = 0.01 * torch.randn(m, 2000, generator=generator).to(dtype), torch.arange(m) % 10
    for net in nets:
        net.layers[0].w.zero_()
        given: dict[str, Any] = dict(epochs=1, batch_size=m, lr=1.0, engine="eager", optimizer="sgd(momentum=0.1)")
        list(bp.train(net, (x.to(net.layers[0].w), y), clip_norm=0.005, **given))
    got, wanted = (net.layers[0].w.float() for net in nets)
    assert (got - wanted).norm() < 0.01 * wanted.norm()
    for weight, most in ((2e-4, 0.005), (300, 100.0)):
        nets[0].layers[0].w.fill_(weight)
        (record,) = bp.train(nets[0], (0 * x, y), epochs=1, l2=1.0, max_norm=most, lr=1e-3, engine="eager")
        w = nets[0].layers[0].w.float()
        torch.testing.assert_close(w.norm(dim=1), torch.full((10,), most), rtol=0.01, atol=0)
        assert record.penalty == pytest.approx((w.double() ** 2).sum().item() / (2 * m), rel=1e-6)

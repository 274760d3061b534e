"""The native engine takes the eager steps, and its own, where it skips the zeros of its inputs."""

import math
from typing import Any

import pytest
import reference
import torch
from torch import Tensor

import bp_torch as bp
from bp_torch.training.engines.native import compressed, engine

Data = tuple[Tensor, Tensor]


def slow(value: object) -> object:
    return pytest.param(value, id=str(value), marks=pytest.mark.slow)


N_IN, EXAMPLES = 150, 67


def examples(density: float, dtype: torch.dtype = torch.float64, m: int = EXAMPLES) -> Data:
    """Inputs of which this share is not zero; the first row is all zeros, and two columns are never active."""
    rng = torch.Generator().manual_seed(3)
    x = torch.randn(m, N_IN, generator=rng, dtype=dtype)
    x = x * (torch.rand(m, N_IN, generator=rng) < density)
    x[0], x[:, 5], x[:, -1] = 0, 0, 0
    return x, torch.randint(0, 4, (m,), generator=rng)


def trained(
    monkeypatch: pytest.MonkeyPatch, data: Data, how: str, sizes: tuple[int, ...] = (20,), **settings: Any
) -> Any:
    """The network, and its last cost. how: eager, dense or skipping."""
    monkeypatch.setattr(compressed, "pays", lambda x, neurons, plain: how == "skipping")
    compressions = []
    made = compressed.compressed
    monkeypatch.setattr(compressed, "compressed", lambda *given: compressions.append(1) or made(*given))
    net = bp.Network.create([N_IN, *sizes, 4], hidden="tanh", cost="softmax_cross_entropy", seed=1, dtype=data[0].dtype)
    settings = {"epochs": 2, "batch_size": 10, "threads": 1, **settings}
    records = list(bp.train(net, data, engine="eager" if how == "eager" else "native", **settings))
    assert bool(compressions) == (how == "skipping")
    monkeypatch.undo()
    return net, records[-1].cost


def same(one: bp.Network, other: bp.Network, within: float) -> None:
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert reference.relative_error(theirs, mine) < within


@pytest.mark.parametrize("density", [0.0, 0.05, 0.3, 1.0])  # of one printed step
def test_skipping_zeros_takes_the_eager_steps_at_any_density(monkeypatch: pytest.MonkeyPatch, density: float) -> None:
    data = examples(density)
    settings: dict[str, Any] = dict(lr=0.1, epochs=29, batch_size=10)  # 203 steps
    nets = [trained(monkeypatch, data, how, **settings) for how in ("eager", "dense", "skipping")]
    for net, cost in nets[:2]:
        same(net, nets[2][0], 1e-10)
        assert cost == pytest.approx(nets[2][1], rel=1e-10)


@pytest.mark.parametrize(
    "settings",
    [
        dict(optimizer="adam", l2=0.3, label_smoothing=0.1),
        dict(optimizer="sgd(momentum=0.9,nesterov=True)", lr=0.05, dropout=(0.0, 0.3), class_weight="balanced"),
        slow(dict(optimizer="adamw(amsgrad=True)", clip_value=0.01)),
        slow(dict(optimizer="lion(weight_decay=0.1)", rate_factors={"first": 0.5}, l1=0.1)),
        slow(dict(lr=0.1, batch_size=33)),
        dict(lr=0.1, batch_size=1, sizes=(5, 3)),
        dict(lr=0.1, batch_size=67, sizes=(131, 8), threads=2),
        slow(dict(optimizer="rmsprop", batch_size=12, sizes=(70,), threads=2)),
        slow(dict(lr=0.1, batch_size=6, sizes=())),
    ],
    ids=str,
)
def test_skipping_zeros_with_any_rule(monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]) -> None:
    data = examples(0.1)
    same(
        trained(monkeypatch, data, "eager", **settings)[0], trained(monkeypatch, data, "skipping", **settings)[0], 1e-10
    )


def test_skipping_zeros_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    data = examples(0.2, torch.float32)
    same(trained(monkeypatch, data, "eager", lr=0.1)[0], trained(monkeypatch, data, "skipping", lr=0.1)[0], 1e-5)


@pytest.mark.parametrize("settings", [dict(dropout=(0.2, 0.2)), dict(max_norm=1.0), dict(clip_norm=1.0)], ids=str)
def test_what_needs_all_inputs_skips_none(monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]) -> None:
    monkeypatch.setattr(compressed, "pays", lambda x, neurons, plain: True)
    monkeypatch.setattr(compressed, "compressed", lambda *_: pytest.fail("zeros were skipped"))
    net = bp.Network.create([N_IN, 8, 4], seed=1, dtype=torch.float64)
    list(bp.train(net, examples(0.1), epochs=1, engine="native", **settings))


def test_zeros_are_skipped_where_most_inputs_are_zero() -> None:
    assert compressed.pays(examples(0.1)[0], 9, plain=True)
    assert not compressed.pays(examples(0.6)[0], 9, plain=True)
    assert not compressed.pays(examples(0.2)[0], 9, plain=False)
    assert not compressed.pays(torch.zeros(9, 3), 9, plain=True)
    assert compressed.pays(torch.zeros(1, N_IN), 9, plain=True)
    x = examples(0.1)[0]
    x.numpy()
    assert [compressed.pays(x, neurons, plain=True) for neurons in (9, 90)] == [False, True]


@pytest.mark.parametrize(
    ("place", "value", "layer"), [("x", math.nan, 0), ("x", math.inf, 0), ("w", math.nan, 0), ("w", math.inf, 0)]
)
def test_what_is_not_finite_is_named(monkeypatch: pytest.MonkeyPatch, place: str, value: float, layer: int) -> None:
    """In w, at an input that is never active: no product meets it, and the check of the weights finds it."""
    monkeypatch.setattr(compressed, "pays", lambda x, neurons, plain: True)
    x, y = examples(0.1)
    net = bp.Network.create([N_IN, 8, 4], seed=1, dtype=torch.float64)
    (x[7] if place == "x" else net.layers[0].w[3])[5] = value
    with pytest.raises((bp.DivergenceError, ValueError)):
        list(bp.train(net, (x, y), epochs=1, engine="native"))


@pytest.mark.parametrize("by_numpy", [False, True])
def test_examples_that_are_changed_between_epochs_count_as_they_are(
    monkeypatch: pytest.MonkeyPatch, by_numpy: bool
) -> None:
    nets = []
    monkeypatch.setattr(compressed, "SEEN_AGAIN", 2)
    for how in ("eager", "native"):
        monkeypatch.setattr(compressed, "pays", lambda x, neurons, plain: True)
        x, y = examples(0.1)
        net = bp.Network.create([N_IN, 8, 4], seed=1, dtype=torch.float64)
        for _ in bp.train(net, (x, y), epochs=3, engine=how):
            if by_numpy:
                x.numpy()[2, 0] += 1  # a row that is in no sample
            else:
                x[0, 0] += 1
        nets.append(net)
    same(*nets, within=1e-10)


def test_examples_in_memory_that_is_not_contiguous(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = examples(0.1)
    strided = x.mT.contiguous().mT
    same(trained(monkeypatch, (x, y), "eager")[0], trained(monkeypatch, (strided, y), "skipping")[0], 1e-10)


def test_compressed_rows_are_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = examples(0.3)
    monkeypatch.setattr(compressed, "pays", lambda x, neurons, plain: True)
    kept = []
    made = engine.compressed.compressed
    monkeypatch.setattr(compressed, "compressed", lambda *given: kept.append(made(*given)) or kept[-1])
    list(bp.train(bp.Network.create([N_IN, 4], seed=1, dtype=torch.float64), (x, y), epochs=1, engine="native"))
    rows = kept[0]
    if len(rows.first):
        assert torch.equal(rows.values[: rows.first[-1]], x[x != 0])
        assert torch.equal(rows.first.diff(), (x != 0).sum(1))
    else:  # a CPU without AVX-512
        assert rows.values is x
    assert rows.is_of(x)
    assert not rows.is_of(x + 1)

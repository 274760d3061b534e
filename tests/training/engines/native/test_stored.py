"""The native engine on sparse x takes the eager steps, and those of the same x dense."""

import math
from typing import Any

import numpy as np
import pytest
import reference
import scipy.sparse
import torch
from jobs import job
from torch import Tensor

import bp_torch as bp
from bp_torch.training import engines
from bp_torch.training.engines.native import compressed

N_IN, EXAMPLES = 150, 67
WEIGHTS = torch.rand(EXAMPLES, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def examples(density: float, dtype: torch.dtype = torch.float64, index: str = "int32") -> tuple[Any, Tensor]:
    """Inputs of which this share is stored, some as zeros; the first row has none, and two columns are never used."""
    rng = torch.Generator().manual_seed(3)
    x = torch.randn(EXAMPLES, N_IN, generator=rng, dtype=dtype)
    x = x * (torch.rand(EXAMPLES, N_IN, generator=rng) < density)
    x[0], x[:, 5], x[:, -1] = 0, 0, 0
    rows: Any = scipy.sparse.csr_array(x.numpy())
    rows.indices, rows.indptr = rows.indices.astype(index), rows.indptr.astype(index)
    rows.data[::7] = 0
    return rows, torch.randint(0, 4, (EXAMPLES,), generator=rng)


def network(dtype: torch.dtype = torch.float64, sizes: tuple[int, ...] = (20,)) -> bp.Network:
    return bp.Network.create([N_IN, *sizes, 4], hidden="tanh", cost="softmax_cross_entropy", seed=1, dtype=dtype)


def trained(
    x: Any, y: Tensor, engine: str, sizes: tuple[int, ...] = (20,), **settings: Any
) -> tuple[bp.Network, float]:
    """The network, and its last cost."""
    net = network(torch.float32 if x.dtype == np.float32 else torch.float64, sizes)
    settings = {"epochs": 2, "batch_size": 10, "threads": 1, "lr": 0.1, **settings}
    return net, list(bp.train(net, (x, y), engine=engine, **settings))[-1].cost


def same(one: tuple[bp.Network, float], other: tuple[bp.Network, float], within: float = 1e-10) -> None:
    for mine, theirs in zip(one[0].parameters(), other[0].parameters(), strict=True):
        assert reference.relative_error(theirs, mine) < within
    assert one[1] == pytest.approx(other[1], rel=within)


@pytest.mark.parametrize("density", [0.0, 0.05, 0.3, 1.0])  # of one printed step
def test_sparse_x_takes_the_eager_and_the_dense_steps(monkeypatch: pytest.MonkeyPatch, density: float) -> None:
    x, y = examples(density)
    found = trained(x, y, "native", epochs=29)  # 203 steps
    same(found, trained(x, y, "eager", epochs=29))
    monkeypatch.setattr(compressed, "pays", lambda x, neurons, plain: False)
    same(found, trained(torch.tensor(x.toarray()), y, "native", epochs=29))
    assert torch.equal(found[0].layers[0].w[:, 5], trained(x, y, "eager", epochs=1)[0].layers[0].w[:, 5])


RULES: dict[str, dict[str, Any]] = {
    "adam, penalties, two threads": dict(optimizer="adam", l2=0.3, l1=0.1, label_smoothing=0.1, threads=2),
    "lazy": dict(optimizer="sparse_adam", sample_weight=WEIGHTS, dropout=(0.0, 0.3), batch_size=3, sizes=(70,)),
}
SLOW: dict[str, dict[str, Any]] = {
    "one example": dict(batch_size=1, sizes=(5, 3), epochs=1),
    "all, two threads": dict(batch_size=EXAMPLES, sizes=(131, 8), threads=2, class_weight="balanced"),
    "momentum": dict(optimizer="sgd(momentum=0.9,nesterov=True,weight_decay=0.1)", lr="cosine(0.1)"),
    "factors": dict(optimizer="adamw(amsgrad=True)", rate_factors={"first": 0.5}, decay_factors="biases:0"),
    "clip_value": dict(clip_value=0.01, dropout=(0.0, 0.3)),
    "lazy, all": dict(optimizer="sparse_adam", batch_size=EXAMPLES, threads=2),
    "no hidden layer": dict(sizes=(), batch_size=6),
    "wide": dict(sizes=(300,), batch_size=6, threads=2),
} | {name: dict(optimizer=name, batch_size=33) for name, rule in bp.OPTIMISERS.items() if not rule.is_lazy}
CASES = [*(pytest.param(case, id=name) for name, case in RULES.items())]
CASES += [pytest.param(case, id=name, marks=pytest.mark.slow) for name, case in SLOW.items()]


@pytest.mark.parametrize("settings", CASES)
def test_any_rule_takes_the_eager_steps(settings: dict[str, Any]) -> None:
    x, y = examples(0.1)
    settings = {"epochs": 4} | settings
    same(trained(x, y, "native", **settings), trained(x, y, "eager", **settings))


@pytest.mark.slow
def test_float32_takes_the_eager_steps() -> None:
    x, y = examples(0.2, torch.float32)
    same(trained(x, y, "native"), trained(x, y, "eager"), 1e-5)


@pytest.mark.slow
def test_indices_of_64_bits() -> None:
    same(trained(*examples(0.2, index="int64"), "native"), trained(*examples(0.2), "eager"))


def test_places_in_any_order_and_given_twice() -> None:
    x, y = examples(0.2)
    coo = x.tocoo()
    shuffled = np.random.default_rng(0).permutation(2 * x.nnz)
    rows, columns, values = (np.tile(each, 2)[shuffled] for each in (*coo.coords, coo.data / 2))
    order = np.argsort(rows, kind="stable")
    bounds = np.r_[0, np.bincount(rows, minlength=len(y)).cumsum()]
    twice = scipy.sparse.csr_array((values[order], columns[order], bounds), shape=x.shape)
    assert not twice.has_canonical_format
    same(trained(twice, y, "native"), trained(x, y, "eager"))


def test_values_that_are_changed_between_epochs_count_as_they_are() -> None:
    nets = []
    for engine in ("eager", "native"):
        rows, y = examples(0.1)
        bounds, columns, values = map(torch.as_tensor, (rows.indptr, rows.indices, rows.data))
        x = torch.sparse_csr_tensor(bounds, columns, values, rows.shape, check_invariants=True)
        net, cost = network(), 0.0
        for record in bp.train(net, (x, y), epochs=3, engine=engine, lr=0.1, threads=1):
            cost = record.cost
            rows.data[3] += 1
        nets.append((net, cost))
    same(*nets)


@pytest.mark.parametrize(("place", "value"), [("x", math.nan), ("x", math.inf), ("w", math.nan), ("w", math.inf)])
def test_what_is_not_finite_is_named(place: str, value: float) -> None:
    """In w, at an input that is never used: no product meets it, and the check of the weights finds it."""
    x, y = examples(0.1)
    net = network()
    if place == "x":
        x.data[20] = value
    else:
        net.layers[0].w[3, 5] = value
    with pytest.raises(bp.DivergenceError, match="its input x" if place == "x" else "w"):
        list(bp.train(net, (x, y), epochs=1, engine="native", lr=0.1, threads=1))


@pytest.mark.parametrize("settings", [dict(dropout=(0.2, 0.2)), dict(max_norm=1.0), dict(clip_norm=1.0)], ids=str)
def test_what_needs_all_weights_is_told_and_runs_eagerly(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    x, y = examples(0.1)
    with pytest.raises(ValueError, match="engine='native' takes a sparse x without clip_norm, max_norm and dropout of"):
        trained(x, y, "native", **settings)
    monkeypatch.setattr(engines, "WORTH_A_BUILD", 0.0)
    same(trained(x, y, "auto", **settings), trained(x, y, "eager", **settings))


def test_auto_weighs_what_is_stored_and_what_a_rule_visits() -> None:
    words = 20_000
    bounds, columns = torch.arange(0, 81, 8), torch.arange(80)
    x = torch.sparse_csr_tensor(bounds, columns, torch.ones(80), (10, words), check_invariants=True)
    net = bp.Network.create([words, 10, 2])
    data = x, torch.zeros(10, 2)
    settings: dict[str, Any] = dict(batch_size=10, epochs=200)
    assert engines.choose(job(net, data, **settings)) == "eager"
    assert engines.choose(job(net, data, **settings, optimizer="sparse_adam")) == "eager"
    assert engines.choose(job(net, data, **settings, optimizer="adam")) == "native"
    assert engines.choose(job(net, data, **settings | dict(epochs=300))) == "native"  # a millisecond a step, by eager


def test_no_dense_x_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million words: as a matrix these twenty rows would be 160 MB."""
    words = 1_000_000
    x: Any = scipy.sparse.random_array((20, words), density=2e-5, format="csr", rng=0)
    net = bp.Network.create([words, 1], output="identity", dtype=torch.float64)
    monkeypatch.setattr(Tensor, "to_dense", None)
    needed: list[int] = []
    monkeypatch.setattr("bp_torch.training.engines.native.engine.check_memory", lambda size, *_: needed.append(size))
    list(bp.train(net, (x, torch.ones(20, 1, dtype=torch.float64)), epochs=1, batch_size=5, lr=0.1, engine="native"))
    assert needed[0] < 10_000_000  # a number for each word, of the order of w

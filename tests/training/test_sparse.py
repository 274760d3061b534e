"""Training on sparse x: every rule and setting takes the steps of the same x dense."""

from typing import Any

import pytest
import scipy.sparse
import torch
from torch import Tensor

import bp_torch as bp
from bp_torch import sparse
from bp_torch.training import batches, engines

RNG = torch.Generator().manual_seed(0)
M, SIZES = 60, [29, 8, 4]
X = torch.randn(M + 20, SIZES[0], generator=RNG, dtype=torch.float64)
X[torch.rand(X.shape, generator=RNG) < 0.85] = 0
X[:, 7], X[3:6] = 0, 0  # a word that nobody says, and examples of no words
Y = torch.randint(0, SIZES[-1], (M + 20,), generator=RNG)
WEIGHTS = torch.rand(M, generator=RNG, dtype=torch.float64) * (torch.rand(M, generator=RNG) < 0.8)

FEATURES: dict[str, dict[str, Any]] = {
    "of one example": dict(batch_size=1),
    "of all": dict(batch_size=M),
    "dropout": dict(dropout=(0.3, 0.4)),
    "accumulate": dict(accumulate=3, batch_size=5, dropout=(0.3, 0.4), sample_weight=WEIGHTS),
    "penalties": dict(l2=2.0, l1=0.5),
    "max_norm": dict(max_norm=0.5),
    "clip_norm by the errors": dict(clip_norm=0.3, batch_size=5),
    "clip_norm by the gradients": dict(clip_norm=0.3, batch_size=M, l2=0.1),
    "clip_value": dict(clip_value=0.02),
    "weights": dict(sample_weight=WEIGHTS, class_weight="balanced", label_smoothing=0.1),
    "factors": dict(rate_factors={"first": 0.5, "biases": 2}, optimizer="adamw", decay_factors="biases:0"),
    "momentum": dict(optimizer="sgd(momentum=0.9, nesterov=True, weight_decay=0.1)", lr="cosine(0.1)"),
    "adam with all": dict(
        optimizer="adam(amsgrad=True)", dropout=(0.2, 0.1), l2=1.0, clip_norm=1.0, sample_weight=WEIGHTS, max_norm=2.0
    ),
    "threads": dict(threads=2),
}
FEATURES |= {name: dict(optimizer=name) for name, rule in bp.OPTIMISERS.items() if not rule.is_lazy}


def network() -> bp.Network:
    return bp.Network.create(SIZES, hidden="tanh", cost="softmax_cross_entropy", seed=1, dtype=torch.float64)


def rows(x: Tensor) -> Any:
    return scipy.sparse.csr_array(x.numpy())


def trained(brought: Any, y: Tensor = Y[:M], net: bp.Network | None = None, **settings: Any) -> list[bp.Record]:
    """The records of 50 steps; net is changed."""
    net = net or network()
    held_out = X[M:] if isinstance(brought, Tensor) and brought.layout == torch.strided else rows(X[M:]).tocsc()
    settings = {"batch_size": 6, "epochs": 5} | settings
    return list(bp.train(net, (brought, y), validation=(held_out, Y[M:]), **settings))


def same(ours: tuple[bp.Network, list[bp.Record]], dense: tuple[bp.Network, list[bp.Record]]) -> None:
    for a, b in zip(ours[0].parameters(), dense[0].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    for a, b in zip(ours[1], dense[1], strict=True):
        assert a.cost == pytest.approx(b.cost, abs=1e-10)
        assert a.validation_cost == pytest.approx(b.validation_cost, abs=1e-10)
        assert a.validation_accuracy == b.validation_accuracy


@pytest.mark.parametrize("settings", FEATURES.values(), ids=FEATURES)
def test_the_steps_are_those_of_the_dense_x(settings: dict[str, Any]) -> None:
    net, reference = network(), network()
    same(
        (net, trained(rows(X[:M]), net=net, **settings)),
        (reference, trained(X[:M], net=reference, engine="eager", **settings)),
    )
    assert all(t.is_contiguous() for t in net.parameters())


@pytest.mark.parametrize("name", ["LBFGS", "NAdam"])
def test_an_optimiser_of_torchs_takes_it(name: str) -> None:
    options = dict(line_search_fn="strong_wolfe", max_iter=4) if name == "LBFGS" else {}
    both = []
    for x in (rows(X[:M]), X[:M]):
        net = network()
        borrowed = getattr(torch.optim, name)(net.parameters(), **options)
        both.append((net, trained(x, net=net, optimizer=borrowed, batch_size=30)))
    same(*both)


def _torchs_steps(net: bp.Network, batch_size: int, epochs: int) -> torch.optim.SparseAdam:
    """torch.optim.SparseAdam on the gradients of the dense x: it is given those of the inputs that are used."""
    theirs = torch.optim.SparseAdam(net.parameters(), lr=0.05, betas=(0.8, 0.9))
    for epoch in range(1, epochs + 1):
        for index in batches.shuffled(M, 0, epoch).split(batch_size):
            gradients = [t for layer in net.gradients(X[index], Y[index]) for t in layer]
            for parameter, g in zip(net.parameters(), gradients, strict=True):
                given = torch.ones_like(g)
                if parameter is net.layers[0].w:
                    given = (X[index] != 0).any(0).expand_as(g)
                places = given.nonzero().T
                parameter.grad = torch.sparse_coo_tensor(places, g[tuple(places)], g.shape, check_invariants=True)
            theirs.step()
    return theirs


@pytest.mark.parametrize("batch_size", [1, 6], ids=["of one example, some of no words", "of six"])
def test_the_lazy_adam_takes_torchs_sparse_steps(batch_size: int) -> None:
    settings: dict[str, Any] = dict(batch_size=batch_size, epochs=4)
    net, torchs = network(), network()
    theirs = _torchs_steps(torchs, **settings)
    *_, last = trained(rows(X[:M]), net=net, optimizer="sparse_adam(betas=(0.8, 0.9))", lr=0.05, **settings)
    for a, b in zip(net.parameters(), torchs.parameters(), strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-10, atol=1e-10)
    kept = theirs.state[torchs.layers[0].w]
    torch.testing.assert_close(last.position.slots[0][0].w, kept["exp_avg"], rtol=1e-10, atol=1e-10)
    assert torch.equal(net.layers[0].w[:, 7], network().layers[0].w[:, 7])  # a word that nobody says


LAZILY: dict[str, dict[str, Any]] = {
    "accumulate": dict(accumulate=2, batch_size=3),
    "clip_norm": dict(clip_norm=0.1),
    "weights and hidden dropout": dict(sample_weight=WEIGHTS, dropout=(0.0, 0.5)),
}


@pytest.mark.parametrize("settings", LAZILY.values(), ids=LAZILY)
def test_the_lazy_adam_is_adam_where_all_inputs_are_used(settings: dict[str, Any]) -> None:
    full = X[:M] + 1.0
    both = []
    for x in (rows(full), full):
        net = network()
        both.append((net, trained(x, net=net, optimizer="sparse_adam", engine="eager", **settings)))
    same(*both)


@pytest.mark.parametrize(
    ("settings", "what"),
    [(dict(l2=0.1), "l2"), (dict(max_norm=1.0), "max_norm"), (dict(dropout=(0.1, 0.0)), "dropout of the inputs")],
)
def test_the_lazy_adam_names_what_is_of_all_weights(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=f"changes some weights alone, and {what} is of all: do without it, or use "):
        bp.train(network(), (rows(X[:M]), Y[:M]), optimizer="sparse_adam", **settings)


def test_examples_without_a_target_are_left_out() -> None:
    y = Y[:M].clone()
    y[::3] = -100
    net, reference = network(), network()
    same(
        (net, trained(rows(X[:M]), y, net)),
        (reference, trained(X[:M], y, reference)),
    )


def test_the_validation_goes_chunk_by_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bp_torch.training.loop.EVALUATED_BYTES", 1)
    monkeypatch.setattr(batches, "CHUNK_BYTES", 1)
    net, reference = network(), network()
    same((net, trained(rows(X[:M]), net=net)), (reference, trained(X[:M], net=reference)))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "sparse_adam"])
def test_a_run_that_stopped_within_an_epoch_goes_on_to_the_bit(optimizer: str) -> None:
    settings: dict[str, Any] = dict(optimizer=optimizer, dropout=0.3, batch_size=6, epochs=2, every=4)
    net, x = network(), rows(X[:M])
    whole = list(bp.train(net, (x, Y[:M]), **settings))
    again = network()
    record = next(r for r in bp.train(again, (x, Y[:M]), **settings) if r.position.batch == 8)
    rest = list(bp.train(again, (x, Y[:M]), start=record.position, **settings))
    assert all(map(torch.equal, again.parameters(), net.parameters()))
    assert rest[-1].cost == whole[-1].cost


def test_what_is_kept_within_an_epoch_is_that_of_then() -> None:
    """A step runs on a copy of the first layer's weights: each record finds them, and Adam's means, in their place."""
    net, x = network(), rows(X[:M])
    for record in bp.train(net, (x, Y[:M]), optimizer="adam", batch_size=6, epochs=1, every=1):
        w, (mean, _) = net.layers[0].w, record.position.slots
        assert not torch.equal(w, network().layers[0].w)
        assert mean[0].w.abs().sum() > 0
        break


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_value_that_is_not_finite_is_named(value: float) -> None:
    x, net = rows(X[:M]), network()
    x.data[x.indptr[7]] = value
    kept = net.to()
    with pytest.raises(bp.DivergenceError, match="its input x") as dense:
        list(bp.train(net.to(), (torch.tensor(x.toarray()), Y[:M]), engine="eager"))
    with pytest.raises(bp.DivergenceError, match="its input x") as caught:
        list(bp.train(net, (x, Y[:M])))
    assert str(caught.value) == str(dense.value)
    assert all(map(torch.equal, net.parameters(), kept.parameters()))


def test_validation_data_that_are_not_finite_are_named_by_their_row() -> None:
    x = rows(X[M:])
    x.data[x.indptr[5]] = torch.nan
    with pytest.raises(ValueError, match="validation: x holds NaN or Inf, first in row 5"):
        bp.train(network(), (rows(X[:M]), Y[:M]), validation=(x, Y[M:]))


def test_what_needs_a_dense_x_says_so() -> None:
    data = rows(X[:M]), Y[:M]
    for engine in set(engines.ENGINES) - {"eager", "native"}:
        with pytest.raises(ValueError, match=f"engine='{engine}' takes a dense x, and this one is sparse: use engine="):
            bp.train(network(), data, engine=engine)
    net = network().to(torch.float32)
    single = data[0].astype("float32"), Y[:M]
    with pytest.raises(ValueError, match=r"precision='(bf16|tf32)' is (for a dense x|not for this cpu)"):
        bp.train(net, single, precision="bf16")


def test_fit_takes_it_and_a_checkpoint_keeps_it(tmp_path: Any) -> None:
    net, x = network(), rows(X[:M])
    records = bp.fit(net, (x, Y[:M]), epochs=3, validation=(x, Y[:M]), patience=2)
    bp.save(tmp_path / "net.safetensors", net)
    assert torch.equal(bp.load(tmp_path / "net.safetensors").predict(x), net.predict(x))
    assert len(records) == 3


def test_no_dense_x_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million words: as a matrix these twenty rows would be 160 MB."""
    words = 1_000_000
    x: Any = scipy.sparse.random_array((20, words), density=2e-5, format="csr", rng=0)
    net = bp.Network.create([words, 1], output="identity", dtype=torch.float64)
    monkeypatch.setattr(sparse, "gathered", None)  # a gradient as large as w
    monkeypatch.setattr(Tensor, "to_dense", None)
    list(bp.train(net, (x, torch.ones(20, 1, dtype=torch.float64)), epochs=1, batch_size=5, lr=0.1))

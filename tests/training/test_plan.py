"""What a step does besides the four equations: whole runs held to torch.autograd and torch.optim, in float64."""

from itertools import chain
from typing import Any

import plan_reference as oracle
import pytest
import torch
import torch.nn.functional as F

import bp_torch as bp
from bp_torch.training.batches import shuffled

NORM, DROPOUT = 0.3, (0.2, 0.5, 0.3)  # below and above what the gradients' norms are
ADAM: dict[str, Any] = dict(optimizer=torch.optim.Adam)

SAME: dict[str, dict[str, Any]] = {  # arguments of both
    "plain": {},
    "l2": dict(l2=3.0),
    "l1": dict(l1=0.7),
    "both penalties": dict(l2=3.0, l1=0.7),
    "max_norm": dict(max_norm=0.8),
    "dropout": dict(dropout=DROPOUT),
    "dropout of the inputs": dict(dropout=(0.4, 0.0, 0.0)),
    "dropout of one hidden layer": dict(dropout=(0.0, 0.0, 0.6)),
    "clip_norm by the errors": dict(clip_norm=NORM),
    "clip_norm by the gradients": dict(clip_norm=0.1, batch_size=oracle.EXAMPLES, epochs=6),
    "clip_norm that never clips": dict(clip_norm=1e6),
    "clip_value": dict(clip_value=0.02),
    "both clips": dict(clip_norm=NORM, clip_value=0.05),
    "a clipped penalty": dict(l2=3.0, l1=0.7, clip_norm=NORM),
    "clipped and dropped": dict(dropout=DROPOUT, clip_norm=NORM, seed=3),
    "all": dict(dropout=DROPOUT, l2=3.0, l1=0.7, max_norm=0.8, clip_norm=NORM, clip_value=0.1, seed=3),
    "batches of one": dict(dropout=DROPOUT, l2=3.0, clip_norm=NORM, batch_size=1, epochs=1),
}


def weights(m: int = oracle.EXAMPLES) -> torch.Tensor:
    return 0.1 + torch.rand(m, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def train(net: bp.Network, data: Any = None, **settings: Any) -> list[bp.Record]:
    given: dict[str, Any] = dict(epochs=oracle.EPOCHS, batch_size=oracle.BATCH, lr=0.1, engine="eager")
    return list(bp.train(net, oracle.data(net) if data is None else data, **{**given, **settings}))


@pytest.mark.parametrize("settings", SAME.values(), ids=SAME)
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_gradient_descent_is_autograds(settings: dict[str, Any], weighted: bool) -> None:
    net = oracle.network()
    wanted = oracle.trained(net, oracle.data(net), **settings, weights=weights() if weighted else None)
    records = train(net, **settings, sample_weight=weights() if weighted else None)
    oracle.assert_same(net, records, wanted)


@pytest.mark.parametrize("settings", SAME.values(), ids=SAME)
def test_adam_is_torchs(settings: dict[str, Any]) -> None:
    net = oracle.network()
    wanted = oracle.trained(net, oracle.data(net), **settings, **ADAM, lr=0.02, weights=weights())
    records = train(net, **settings, optimizer="adam", lr=0.02, sample_weight=weights())
    oracle.assert_same(net, records, wanted)


@pytest.mark.parametrize("case", oracle.CASES, ids="-".join)
@pytest.mark.parametrize("dropout", [DROPOUT, (0.0, 0.5, 0.5)], ids=["with the inputs", "hidden layers"])
def test_the_mask_stands_in_both_passes(case: tuple[str, str, str], dropout: tuple[float, ...]) -> None:
    """σ′ is of the activation before its mask. Each activation, so that a wrong one is seen."""
    net = oracle.network(case)
    records = train(net, dropout=dropout, clip_norm=2.0)
    start = oracle.network(case)
    oracle.assert_same(net, records, oracle.trained(start, oracle.data(start), dropout=dropout, clip_norm=2.0))


@pytest.mark.parametrize(
    ("rule", "optimizer", "options"),
    [
        (
            "sgd(momentum=0.9, weight_decay=0.01, nesterov=True)",
            torch.optim.SGD,
            dict(momentum=0.9, weight_decay=0.01, nesterov=True),
        ),
        ("rmsprop(centered=True, weight_decay=0.1)", torch.optim.RMSprop, dict(centered=True, weight_decay=0.1)),
        ("adamw(weight_decay=0.3)", torch.optim.AdamW, dict(weight_decay=0.3)),
        ("adagrad(weight_decay=0.1)", torch.optim.Adagrad, dict(weight_decay=0.1)),
    ],
)
def test_each_rule_takes_the_same_gradients(rule: str, optimizer: Any, options: dict[str, Any]) -> None:
    """A mixture of all, and factors of some parameters as torch's groups have them."""
    shared: dict[str, Any] = dict(dropout=DROPOUT, l2=1.0, max_norm=0.9, clip_norm=NORM, clip_value=0.1)
    net = oracle.network()
    wanted = oracle.trained(
        net,
        oracle.data(net),
        **shared,
        optimizer=optimizer,
        options=options,
        lr=lambda p: 0.05 * (1 - p),
        weights=weights(),
        rates=[(0.5, 0.05), (1.0, 0.1), (2.0, 0.2)],
        decays=[(3.0, 0.0), (1.0, 0.0), (1.0, 0.0)],
    )
    records = train(
        net,
        **shared,
        optimizer=rule,
        lr="linear(0.05)",
        sample_weight=weights(),
        rate_factors={"biases": 0.1, "first": 0.5, "last": 2},
        decay_factors="biases:0,first:3",
    )
    oracle.assert_same(net, records, wanted)


@pytest.mark.parametrize("factors", [{}, {"weights": 1.0}, {"biases": 0.0}, {"weights": 0}, {"first": 0.0, "last": 3}])
def test_factors_of_plain_descent(factors: dict[str, float]) -> None:
    net, start = oracle.network(), oracle.network()
    f = {"weights": 1.0, "biases": 1.0, "first": 1.0, "last": 1.0, **factors}
    rates = [(each * f["weights"], each * f["biases"]) for each in (f["first"], 1.0, f["last"])]
    records = train(net, rate_factors=factors)
    oracle.assert_same(net, records, oracle.trained(start, oracle.data(start), rates=rates))


def test_the_first_layer_can_be_the_last() -> None:
    net, start = (oracle.network(sizes=[7, 4]) for _ in range(2))
    records = train(net, rate_factors={"first": 0.5, "last": 3, "biases": 2})
    oracle.assert_same(net, records, oracle.trained(start, oracle.data(start), rates=[(1.5, 3.0)]))


SCHEDULES = [
    "cosine(0.2, warmup=0.3)",
    "one_cycle(0.2)",
    "coslog4(0.3)",
    "step(0.2, at=(0.4, 0.7))",
    "exponential(0.2)",
]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_is_asked_for_each_step(schedule: str, optimizer: str) -> None:
    from bp_torch.schedules import schedule as read

    net, theirs, last = oracle.network(), read(schedule), 14 / 15
    torchs = ADAM if optimizer == "adam" else {}
    wanted = oracle.trained(net, oracle.data(net), **torchs, lr=lambda p: theirs(p))
    records = train(net, lr=schedule, optimizer=optimizer)
    oracle.assert_same(net, records, wanted)
    assert records[-1].lr == pytest.approx(theirs(last), rel=1e-12)
    assert [record.lr for record in records] == pytest.approx([theirs(k / 15) for k in (4, 9, 14)], rel=1e-12)


def test_a_function_of_the_epoch_is_asked_once_an_epoch() -> None:
    net, asked = oracle.network(), []
    wanted = oracle.trained(net, oracle.data(net), lr=lambda p: 0.1 / (1 + int(p * 3 + 1e-9)))
    records = train(net, lr=lambda epoch: asked.append(epoch) or 0.1 / epoch)
    oracle.assert_same(net, records, wanted)
    assert asked == [1, 2, 3]


def test_the_books_l2_shrinks_weights_and_not_biases() -> None:
    """w ← (1 − ηλ/n) w − η ∂C₀/∂w, b ← b − η ∂C₀/∂b: chapter 3, "Overfitting and regularization"."""
    net = oracle.network()
    x, y = oracle.data(net)
    eta, lambda_, n = 0.5, 2.0, len(x)
    gradients = net.gradients(x, y)
    wanted = [
        (w * (1 - eta * lambda_ / n) - eta * g.w, b - eta * g.b)
        for (w, b), g in zip(net.layers, gradients, strict=True)
    ]
    cost = net.cost(x, y).item()
    (record,) = train(net, epochs=1, batch_size=n, lr=eta, l2=lambda_)
    for mine, theirs in zip(net.layers, wanted, strict=True):
        for got, expected in zip(mine, theirs, strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)
    assert record.data_cost == pytest.approx(cost, rel=1e-12)
    squares = sum((w**2).sum().item() for w, _ in net.layers)
    assert record.penalty == pytest.approx(lambda_ / (2 * n) * squares, rel=1e-12)
    assert record.cost == pytest.approx(record.data_cost + record.penalty, rel=1e-15)


def test_weight_decay_is_l2_with_biases_and_in_no_cost() -> None:
    """torch's λ is the book's λ/n; its weight_decay is of the biases too, and no factor of them makes it the book's."""
    nets = [oracle.network() for _ in range(2)]
    penalised = train(nets[0], l2=0.3 * oracle.EXAMPLES)
    decayed = train(nets[1], optimizer="sgd(weight_decay=0.3)", decay_factors={"biases": 0})
    for got, wanted in zip(chain(*nets[0].layers), chain(*nets[1].layers), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-14)
    assert [r.data_cost for r in penalised] == pytest.approx([r.cost for r in decayed], rel=1e-12)
    assert {r.penalty for r in decayed} == {0.0}


def test_a_cost_within_an_epoch_is_the_mean_so_far() -> None:
    net, (x, y), counts = oracle.network(), oracle.data(oracle.network()), weights()
    records = train(net, (x, y), epochs=1, every=1, l1=0.5, sample_weight=counts)
    order = shuffled(len(x), 0, 1)
    seen = [counts[order[: 5 * k]].sum().item() / counts.max().item() for k in range(1, 5)]
    means = [r.position.cost_sum / of for r, of in zip(records[:-1], seen, strict=True)]
    assert [r.data_cost for r in records[:-1]] == pytest.approx(means, rel=1e-12)
    assert all(r.penalty > 0 for r in records)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        dict(optimizer="adam", lr=0.02),
        dict(dropout=DROPOUT, seed=5),
        dict(dropout=DROPOUT, optimizer="adam", l2=1.0, clip_norm=NORM, max_norm=0.8, sample_weight=True),
        dict(clip_norm=0.1, clip_value=0.02),
    ],
    ids=str,
)
@pytest.mark.parametrize(("batch_size", "accumulate"), [(5, 2), (3, 3), (1, 7), (4, 6), (5, 100)])
def test_accumulated_batches_are_one_larger_batch(settings: dict[str, Any], batch_size: int, accumulate: int) -> None:
    """Of 23 examples, so that the last step is of fewer, and of parts that are not whole. The same neurons drop."""
    nets = [oracle.network() for _ in range(2)]
    given: dict[str, Any] = dict(settings, sample_weight=weights() if "sample_weight" in settings else None)
    parts = train(nets[0], **given, batch_size=batch_size, accumulate=accumulate)
    whole = train(nets[1], **given, batch_size=batch_size * accumulate)
    for got, wanted in zip(chain(*nets[0].layers), chain(*nets[1].layers), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-11, atol=1e-13)
    assert [r.cost for r in parts] == pytest.approx([r.cost for r in whole], rel=1e-12)


def test_accumulation_passes_no_more_than_a_batch_through_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []
    net = oracle.network()
    from bp_torch.training import step as module

    passed = module.feed_forward
    monkeypatch.setattr(module, "feed_forward", lambda net, x, **given: rows.append(len(x)) or passed(net, x, **given))
    train(net, epochs=1, batch_size=3, accumulate=3)
    assert rows == [3, 3, 3, 3, 3, 3, 3, 2]


def test_smoothed_classes_are_torchs() -> None:
    net = oracle.network()
    x, _ = oracle.data(net)
    y = torch.arange(len(x)) % 4
    layers = [bp.Layer(w.clone().requires_grad_(), b.clone().requires_grad_()) for w, b in net.layers]
    z, _ = oracle.outputs(net, layers, x, [None] * 3)
    cost = F.cross_entropy(z, y, label_smoothing=0.2)
    gradients = torch.autograd.grad(cost, list(chain(*layers)))
    wanted = [t - 0.1 * g for t, g in zip(chain(*net.layers), gradients, strict=True)]
    (record,) = train(net, (x, y), epochs=1, batch_size=len(x), label_smoothing=0.2)
    assert record.cost == pytest.approx(cost.item(), rel=1e-12)
    for got, expected in zip(chain(*net.layers), wanted, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-13)


def test_weighted_classes_are_torchs() -> None:
    """The mean over Σ w of each batch, as F.cross_entropy has it with weight."""
    net = oracle.network()
    x, _ = oracle.data(net)
    y = torch.arange(len(x)) % 4
    table = torch.tensor([1.0, 3.0, 0.5, 2.0], dtype=torch.float64)
    layers = [bp.Layer(w.clone().requires_grad_(), b.clone().requires_grad_()) for w, b in net.layers]
    theirs = torch.optim.SGD(list(chain(*layers)), lr=0.1)
    for index in shuffled(len(x), 0, 1).split(5):
        z, _ = oracle.outputs(net, layers, x[index], [None] * 3)
        for parameter, gradient in zip(
            chain(*layers),
            torch.autograd.grad(F.cross_entropy(z, y[index], weight=table), list(chain(*layers))),
            strict=True,
        ):
            parameter.grad = gradient
        theirs.step()
    train(net, (x, y), epochs=1, class_weight={1: 3, 2: 0.5, 3: 2.0})
    for got, expected in zip(chain(*net.layers), chain(*layers), strict=True):
        torch.testing.assert_close(got, expected.detach(), rtol=1e-11, atol=1e-13)

"""The loop: against autograd with torch.optim.SGD, its records, and what stops it."""

import json
import math
from collections.abc import Callable
from typing import Any

import pandas
import pytest
import reference
import torch

import bp_torch as bp
from bp_torch.training import engines, loop
from bp_torch.training.batches import shuffled
from bp_torch.training.job import Job, Run, Steps


def _parameters(net: bp.Network) -> list[torch.Tensor]:
    return [t for layer in net.layers for t in layer]


@pytest.mark.parametrize("case", reference.CASES, ids="-".join)
def test_ten_steps_are_autograds_ten_steps(case: tuple[str, str, str]) -> None:
    """A trajectory: the last batch of each epoch is ragged (7, 7, 7, 7, 2), two epochs, weights and recorded cost."""
    net = reference.network([5, 4, 3], *case)
    x, y = reference.examples(net, 30)
    layers = reference.leaves(net)
    optimiser = torch.optim.SGD([t for layer in layers for t in layer], lr=0.1)
    records = bp.train(net, (x, y), epochs=2, batch_size=7, lr=0.1, seed=4)
    for epoch, record in enumerate(records, start=1):
        total = 0.0
        for batch in shuffled(30, 4, epoch).split(7):
            optimiser.zero_grad()
            cost = reference.cost(net, layers, x[batch], y[batch])
            cost.backward()
            optimiser.step()
            total += cost.item() * len(batch)
        assert record.epoch == epoch
        assert record.cost == pytest.approx(total / 30, rel=1e-10)
    for got, wanted in zip(_parameters(net), (t for layer in layers for t in layer), strict=True):
        assert reference.relative_error(got, wanted.detach()) < 1e-10


def test_the_same_seed_gives_the_same_weights_to_the_bit() -> None:
    runs = []
    for seed in (0, 0, 1):
        net = bp.Network.create([64, 10])
        list(bp.train(net, bp.data.digits("train"), epochs=2, lr=1.0, seed=seed))
        runs.append(net.layers[0].w)
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


@pytest.mark.gpu
@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_the_same_seed_gives_the_same_weights_to_the_bit_on_the_same_gpu(engine: str) -> None:
    nets = [bp.Network.create([64, 30, 10], device="cuda") for _ in range(2)]
    for net in nets:
        list(bp.train(net, bp.data.digits("train", device="cuda"), epochs=3, lr=1.0, engine=engine))
    for one, other in zip(*(_parameters(net) for net in nets), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("cost", [name for name in bp.COSTS if name != "poisson"])  # whose e^z overflows
def test_saturated_outputs_in_half_precision_have_a_finite_cost_and_the_right_error(
    cost: str, dtype: torch.dtype
) -> None:
    """The whole pass at z = ±1e4, outputs wrong: δ = a − y, and zero for quadratic, whose σ′ is zero there."""
    net = bp.Network.create([2, 2], cost=cost, dtype=dtype)
    net.layers[0].w.copy_(torch.tensor([[1e4, 0], [0, -1e4]]))
    net.layers[0].b.zero_()
    trace = bp.backprop(net, torch.ones(3, 2, dtype=dtype), torch.ones(3, dtype=torch.int64))
    assert trace.z[0].tolist() == [[torch.tensor(1e4, dtype=dtype).item(), torch.tensor(-1e4, dtype=dtype).item()]] * 3
    assert trace.cost.isfinite()
    assert trace.delta[0].tolist() == [[0, 0] if cost == "quadratic" else [1, -1]] * 3
    assert all(
        t.isfinite().all()
        for layer in net.gradients(torch.ones(3, 2, dtype=dtype), torch.ones(3).long())
        for t in layer
    )


def test_records() -> None:
    net = bp.Network.create([64, 10], cost="softmax_cross_entropy")
    test = bp.data.digits("test")
    records = list(bp.train(net, bp.data.digits("train"), epochs=3, batch_size=32, lr=0.1, validation=test))
    assert [record.epoch for record in records] == [1, 2, 3]
    assert records[2].cost < records[0].cost
    assert records[2].validation_cost == pytest.approx(net.cost(*test).item())
    assert records[2].validation_accuracy == pytest.approx(net.accuracy(*test))
    assert all(record.examples_per_second == pytest.approx(1437 / record.seconds) for record in records)


def test_without_validation_or_classes_there_is_no_accuracy() -> None:
    net = bp.Network.create([1, 4, 1], hidden="tanh", output="identity")
    x = torch.linspace(-1, 1, 20).unsqueeze(1)
    (record,) = bp.train(net, (x, x**2), epochs=1, lr=0.01)
    assert record.validation_cost is record.validation_accuracy is None
    (record,) = bp.train(net, (x, x**2), epochs=1, lr=0.01, validation=(x, x**2))
    assert record.validation_cost is not None
    assert record.validation_accuracy is None


def test_a_batch_larger_than_the_data_is_the_whole_data() -> None:
    net, whole = reference.network([5, 3]), reference.network([5, 3])
    x, y = reference.examples(net, 6)
    list(bp.train(net, (x, y), epochs=2, batch_size=100, lr=0.1))
    list(bp.train(whole, (x, y), epochs=2, batch_size=6, lr=0.1))
    assert torch.equal(net.layers[0].w, whole.layers[0].w)


def test_bfloat16_learns() -> None:
    x, y = bp.data.digits("train")
    net = bp.Network.create([64, 32, 10], hidden="relu", cost="softmax_cross_entropy", dtype=torch.bfloat16)
    *_, record = bp.train(net, (x.bfloat16(), y), epochs=5, batch_size=16, lr=0.1)
    assert net.accuracy(x.bfloat16(), y) > 0.9
    assert math.isfinite(record.cost)


def _diverging(**change: object) -> tuple[bp.Network, torch.Tensor, torch.Tensor]:
    net = bp.Network.create([3, 4, 2], hidden="relu", output="identity")
    rng = torch.Generator().manual_seed(0)
    return net, torch.randn(50, 3, generator=rng), torch.randn(50, 2, generator=rng)


def test_nan_in_the_data_is_named() -> None:
    net, x, y = _diverging()
    row = 17
    x[row, 1] = math.nan
    batch = shuffled(50, 0, 1).tolist().index(row) // 5 + 1
    before = [t.clone() for t in _parameters(net)]
    with pytest.raises(bp.DivergenceError, match=rf"epoch 1, batch {batch}: .*layers\[0\] \(its input x\)") as caught:
        list(bp.train(net, (x, y), batch_size=5, lr=0.01))
    assert (caught.value.epoch, caught.value.batch, caught.value.layer) == (1, batch, 0)
    assert all(torch.equal(now, then) for now, then in zip(_parameters(net), before, strict=True))


def test_inf_in_the_targets_is_named() -> None:
    net, x, y = _diverging()
    y[0, 0] = math.inf
    with pytest.raises(bp.DivergenceError, match=r"layers\[1\] \(its targets y\)"):
        list(bp.train(net, (x, y), batch_size=5, lr=0.01))


def test_nan_in_a_weight_is_named() -> None:
    net, x, y = _diverging()
    net.layers[1].w[0, 0] = math.nan
    with pytest.raises(bp.DivergenceError, match=r"epoch 1, batch 1: .*layers\[1\] \(its weighted input z\)"):
        list(bp.train(net, (x, y), batch_size=5, lr=0.01))


def test_a_learning_rate_too_large_stops_and_keeps_the_epoch_before() -> None:
    net, x, y = _diverging()
    x *= 100
    before: list[torch.Tensor] = [t.clone() for t in _parameters(net)]
    with pytest.raises(bp.DivergenceError, match=r"try a smaller lr than 0\.5") as caught:
        for _ in bp.train(net, (x, y), batch_size=25, lr=0.5):
            before = [t.clone() for t in _parameters(net)]
    assert caught.value.epoch >= 1
    assert all(t.isfinite().all() for t in _parameters(net))
    assert all(torch.equal(now, then) for now, then in zip(_parameters(net), before, strict=True))


def test_weights_that_overflow_behind_a_finite_cost_stop_it_too() -> None:
    """A saturated sigmoid hides an infinite weight from the cost."""
    net = bp.Network.create([1, 1], init="normal")
    x, y = torch.full((4, 1), 3e38), torch.ones(4, 1)
    net.layers[0].w.fill_(3e38)
    net.layers[0].b.fill_(math.inf)
    with pytest.raises(bp.DivergenceError, match="not finite"):
        list(bp.train(net, (x, y), epochs=1, batch_size=4, lr=1.0))


def _overflowing() -> tuple[bp.Network, tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Finite weights and training data; a validation example whose cost overflows."""
    net = bp.Network.create([3, 4, 2], hidden="relu", cost="softmax_cross_entropy")
    x, y = torch.full((20, 3), 0.5), torch.zeros(20, dtype=torch.int64)
    return net, (x, y), (torch.tensor([[0.5, 0.5, 0.5], [3e38, 3e38, 3e38], [-3e38, 3e38, 3e38]]), y[:3])


def test_a_validation_cost_that_is_not_finite_is_said_once_and_has_no_perfect_accuracy() -> None:
    net, data, held_out = _overflowing()
    for layer in net.layers:
        layer.w.fill_(2.0)
    with pytest.warns(RuntimeWarning, match=r"validation cost of epoch 1 is (nan|inf), though .* smaller lr") as said:
        records = list(bp.train(net, data, epochs=2, lr=1e-3, validation=held_out))
    assert len(said) == 1
    assert all(math.isfinite(record.cost) for record in records)
    assert records[-1].validation_cost is not None
    assert not math.isfinite(records[-1].validation_cost)
    assert records[-1].validation_accuracy is not None
    assert records[-1].validation_accuracy <= 1 / 3  # an output that is NaN has no class


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_and_inf_in_the_validation_data_are_refused_by_name_before_work_starts(value: float) -> None:
    net, x, y = _diverging()
    bad_x, bad_y = x.clone(), y.clone()
    bad_x[17, 1] = bad_y[3, 0] = value
    for name, row, validation in (("x", 17, (bad_x, y)), ("y", 3, (x, bad_y))):
        with pytest.raises(ValueError, match=f"validation: {name} holds NaN or Inf, first in row {row}: leave"):
            bp.train(net, (x, y), validation=validation)


def test_validation_runs_in_chunks_and_comes_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    net = bp.Network.create([64, 10], cost="softmax_cross_entropy")
    x, y = bp.data.digits("test")
    rows = []
    of = loop.outputs
    monkeypatch.setattr(loop, "outputs", lambda net, x, calls: rows.append(len(x)) or of(net, x, calls))
    monkeypatch.setattr(loop, "EVALUATED_BYTES", 4 * 2 * 74 * 100)
    (record,) = bp.train(net, (x, y), epochs=1, lr=0.1, validation=(x, y))
    assert rows == [100, 100, 100, 60]
    assert record.validation_cost == pytest.approx(net.cost(x, y).item())
    assert record.validation_accuracy == pytest.approx(net.accuracy(x, y))


MEMORY = [
    torch.OutOfMemoryError("tried to allocate 2 TiB"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 2 TiB"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 2 TiB"),  # not on Linux
    MemoryError(),
]


@pytest.mark.parametrize("error", MEMORY, ids=lambda error: type(error).__name__)
def test_a_validation_that_memory_does_not_hold_is_one_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_, **__):
        raise error

    net, x, y = _diverging()
    monkeypatch.setattr(loop, "outputs", full)
    with pytest.raises(bp.EngineError, match=r"validation of 50 examples: validate on fewer .* the end of epoch 1 \("):
        list(bp.train(net, (x, y), lr=1e-3, validation=(x, y), engine="eager"))


@pytest.mark.parametrize("error", MEMORY, ids=lambda error: type(error).__name__)
def test_targets_that_memory_does_not_hold_are_one_sentence(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_, **__):
        raise error

    net, x, _ = _diverging()
    monkeypatch.setattr(loop.checks, "one_hot", full)
    with pytest.raises(bp.EngineError, match="memory does not hold the targets as a matrix: train on fewer examples"):
        bp.train(net, (x, torch.zeros(50, dtype=torch.int64)))


def test_a_divergence_whose_place_memory_does_not_hold_leaves_the_weights_of_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The epoch is replayed to find it, step by step."""

    def full(*_, **__):
        raise torch.OutOfMemoryError("tried to allocate 2 TiB")

    net, x, y = _diverging()
    x[17, 1] = math.nan
    before = [t.clone() for t in _parameters(net)]
    monkeypatch.setattr("bp_torch.training.divergence.replay", full)
    with pytest.raises(bp.EngineError, match="does not hold a step of batch_size 5"):
        list(bp.train(net, (x, y), batch_size=5, lr=0.01, engine="eager"))
    assert all(torch.equal(now, then) for now, then in zip(_parameters(net), before, strict=True))


@pytest.mark.parametrize("error", [*MEMORY, ZeroDivisionError("my own")], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("start", [bp.Position(1, 2), bp.Position(2)], ids=["after a batch", "at an epoch"])
def test_an_engine_that_fails_in_the_midst_of_an_epoch_leaves_the_weights_of_its_start(
    start: bp.Position, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = engines.ENGINES["eager"].build

    def build(job: Job) -> Run:
        run, calls = built(job), []

        def limited(steps: Steps) -> float:
            calls.append(run(steps))
            if len(calls) == 3:
                raise error
            return calls[-1]

        return limited

    monkeypatch.setitem(engines.ENGINES, "eager", engines.ENGINES["eager"]._replace(build=build))
    net, x, y = _diverging()
    before = [t.clone() for t in _parameters(net)]
    whence = "after batch 2 of epoch 1" if start.batch else "the start of epoch 2"
    wanted, words = bp.EngineError, f"does not hold a step of batch_size 5: try batch_size=2.* from {whence}"
    if isinstance(error, ZeroDivisionError):
        wanted, words = ZeroDivisionError, "my own"
    with pytest.raises(wanted, match=words):
        list(bp.train(net, (x, y), batch_size=5, lr=1e-3, engine="eager", every=2, start=start))
    assert all(torch.equal(now, then) for now, then in zip(_parameters(net), before, strict=True))


ARGUMENTS = [
    (dict(epochs=0), "epochs must be a whole number of at least 1, not 0"),
    (dict(epochs=1.5), "epochs"),
    (dict(batch_size=0), "batch_size must be a whole number of at least 1, not 0"),
    (dict(batch_size=-10), "batch_size"),
    (dict(batch_size=True), "batch_size"),
    (dict(lr=0.0), "lr must be a positive, finite number, not 0.0"),
    (dict(lr=-1), "lr"),
    (dict(lr=math.nan), "lr"),
    (dict(lr=math.inf), "lr"),
    (dict(lr="fast"), "lr"),
    (dict(seed=-1), "seed"),
    (dict(engine="warp"), "unknown engine 'warp': choose one of auto, eager"),
    (dict(precision="fp8"), "unknown precision 'fp8'"),
    (dict(validation=torch.zeros(3, 3)), r"validation must be a pair \(x, y\), not Tensor"),
]


@pytest.mark.parametrize(("arguments", "message"), ARGUMENTS, ids=[str(arguments) for arguments, _ in ARGUMENTS])
def test_arguments_are_refused_when_train_is_called(arguments: dict, message: str) -> None:
    net, x, y = _diverging()
    with pytest.raises(ValueError, match=message):
        bp.train(net, (x, y), **arguments)


@pytest.mark.parametrize("function", [bp.train, bp.fit], ids=["train", "fit"])
def test_x_and_y_apart_are_told_to_be_a_pair(function: Callable[..., object]) -> None:
    net, x, y = _diverging()
    for arguments in ((net, x, y), (net, (x, y), (x, y))):
        with pytest.raises(TypeError, match=rf"give the data as one pair, bp\.{function.__name__}\(net, \(x, y\)\)"):
            function(*arguments)


@pytest.mark.gpu
def test_the_gpu_follows_the_cpu() -> None:
    weights = []
    for device in ("cpu", "cuda"):
        net = bp.Network.create([64, 20, 10], seed=0, device=device, dtype=torch.float64)
        x, y = bp.data.digits("train", device=device)
        list(bp.train(net, (x.double(), y), epochs=2, lr=1.0))
        weights.append(net.layers[0].w.cpu())
    assert reference.relative_error(weights[1], weights[0]) < 1e-9


def test_real_valued_targets_have_no_accuracy_where_those_held_out_are_zeros_and_ones() -> None:
    net = bp.Network.create([1, 4, 1], hidden="tanh", output="identity")
    x = torch.linspace(-1, 1, 20).unsqueeze(1)
    ends = (x[[0, -1]], torch.tensor([[0.0], [1.0]]))
    (record,) = bp.train(net, (x, x**2), epochs=1, lr=0.01, validation=ends)
    assert record.validation_cost == pytest.approx(net.cost(*ends).item())
    assert record.validation_accuracy is None
    classes = (x, (x > 0).to(x.dtype))
    (record,) = bp.train(net, classes, epochs=1, lr=0.01, validation=ends)
    assert record.validation_accuracy is not None


@pytest.mark.parametrize("hidden", ["sigmoid", "relu", "gelu"])
@pytest.mark.parametrize(
    ("cost", "output"),
    [("quadratic", None), ("quadratic", "identity"), ("binary_cross_entropy", None), ("softmax_cross_entropy", None)],
)
def test_the_rate_left_out_fits_what_is_trained(hidden: str, cost: str, output: str | None) -> None:
    net = bp.Network.create([64, 30, 10], hidden=hidden, cost=cost, output=output)
    engine = "eager" if hidden == "gelu" else "native"
    *_, last = bp.train(net, bp.data.digits("train"), validation=bp.data.digits("test"), epochs=10, engine=engine)
    assert last.validation_accuracy is not None
    assert last.validation_accuracy > 0.8


def test_a_record_is_a_dict_of_plain_numbers() -> None:
    """JSON and loggers take it; a list of them is a pandas frame."""
    net = bp.Network.create([64, 8, 10], hidden="relu", cost="softmax_cross_entropy")
    train, test = bp.data.digits("train"), bp.data.digits("test")
    settings = dict[str, Any](epochs=1, optimizer="adam", lr=bp.schedules.cosine(0.01), l2=0.1)
    *_, before, last = bp.train(net, train, validation=test, every=70, **settings)
    figures = last.as_dict()
    assert list(figures) == [
        *("epoch", "cost", "validation_cost", "validation_accuracy", "seconds", "examples_per_second", "lr", "penalty"),
        "data_cost",
    ]
    assert {type(value) for value in figures.values()} == {int, float}
    assert json.loads(json.dumps(figures)) == figures
    assert all(figures[name] == getattr(last, name) for name in figures)
    assert before.as_dict()["validation_cost"] is None
    frame = pandas.DataFrame([record.as_dict() for record in (before, last)])
    assert frame["cost"].tolist() == [before.cost, last.cost]

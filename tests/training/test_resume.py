"""A run that stopped and went on ends, to the bit, as the run that never stopped."""

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import reference
import torch
from jobs import job

import bp_torch as bp
from bp_torch.training import engines
from bp_torch.training.batches import shuffled
from bp_torch.training.engines import compiled
from bp_torch.training.job import Job, Run, Steps

EXAMPLES, BATCH, EPOCHS = 97, 10, 3  # ten batches an epoch, the last of seven


@pytest.fixture(autouse=True)
def few_unrolled_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "LAYERS_COMPILED", 9)  # three steps of three layers
    monkeypatch.setattr(engines, "precision_missing", lambda net, precision: None)  # bf16: correct, if slow, on any CPU


def _network(dtype: torch.dtype = torch.float32) -> bp.Network:
    return bp.Network.create([20, 13, 17, 6], cost="softmax_cross_entropy", seed=1, dtype=dtype)


def _data(net: bp.Network) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = reference.examples(net, EXAMPLES)
    return x.to(net.layers[0].w), y.to(net.layers[0].w)


def _train(net: bp.Network, start: bp.Position | None = None, **arguments: Any) -> Iterator[bp.Record]:
    """lr changes with the epoch: it is asked for again where a run goes on."""
    settings: dict[str, Any] = {"epochs": EPOCHS, "batch_size": BATCH, "lr": lambda epoch: 0.3 / epoch, "seed": 7}
    data = arguments.pop("data", None) or _data(net)
    return bp.train(net, data, validation=_data(net), start=start, **{**settings, **arguments})


def _figures(records: list[bp.Record]) -> list[tuple[object, ...]]:
    """What does not depend on the clock, of whole epochs."""
    return [(r.epoch, r.cost, r.validation_cost, r.validation_accuracy) for r in records if r.whole]


def _assert_resumes(tmp_path: Path, dtype: torch.dtype = torch.float32, step: int = 1, **arguments: Any) -> None:
    """Stops at each place there is (or each so many), saves, loads, goes on, and compares with the run left alone."""
    alone = _network(dtype)
    wanted = list(_train(alone, **arguments))
    for stop in range(0, len(wanted), step):
        net = _network(dtype)
        records = list(islice(_train(net, **arguments), stop + 1))
        position = records[-1].position
        bp.save(tmp_path / "net.safetensors", net, position=position)
        loaded = bp.load_checkpoint(tmp_path / "net.safetensors")
        assert loaded.position is not None
        assert loaded.position[:4] == position[:4]
        records += _train(loaded.net, loaded.position, **arguments)
        assert _figures(records) == _figures(wanted)
        for got, expected in zip(loaded.net.layers, alone.layers, strict=True):
            assert torch.equal(got.w, expected.w)
            assert torch.equal(got.b, expected.b)
        for mine, theirs in zip(records[-1].position.slots, wanted[-1].position.slots, strict=True):
            assert all(torch.equal(got.w, expected.w) for got, expected in zip(mine, theirs, strict=True))


@pytest.mark.parametrize(
    ("engine", "others"),
    [
        ("eager", dict(accumulate=1)),
        ("eager", dict(accumulate=3, batch_size=4)),
        ("native", dict(accumulate=1)),
    ],
    ids=["eager", "eager, in parts", "native"],
)
def test_a_resumed_run_of_a_whole_plan_is_the_uninterrupted_one_to_the_bit(
    tmp_path: Path, engine: str, others: dict[str, Any]
) -> None:
    """The masks, the rates and the counters are those of the step, wherever it is gone on from."""
    m = EXAMPLES if engine == "eager" else 90  # where no batch is smaller, half is compiled
    _assert_resumes(
        tmp_path,
        step=4,
        data=(_data(_network())[0][:m], torch.arange(m) % 6),
        engine=engine,
        every=1,
        lr="cosine(0.01, warmup=0.1)",
        optimizer="adam(weight_decay=0.01)",
        dropout=(0.2, 0.5),
        class_weight="0:2,3:0.5",
        sample_weight=[1 + k % 3 for k in range(m)],
        label_smoothing=0.1,
        l2=0.5,
        max_norm=2.0,
        clip_norm=0.5,
        decay_factors={"biases": 0},
        **others,
    )


@pytest.mark.parametrize("every", [1, 3, None])
@pytest.mark.parametrize(
    ("engine", "dtype", "precision"),
    [
        ("eager", torch.float32, "dtype"),
        ("eager", torch.float64, "dtype"),
        ("eager", torch.bfloat16, "dtype"),
        ("eager", torch.float32, "bf16"),
        ("native", torch.float32, "dtype"),
        pytest.param("native", torch.float64, "dtype", marks=pytest.mark.slow),
        ("auto", torch.float32, "dtype"),
    ],
    ids=str,
)
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(
    tmp_path: Path, engine: str, dtype: torch.dtype, precision: str, every: int | None
) -> None:
    """From batches in the midst of an epoch, and from the ends of epochs."""
    step = 1 if engine == "eager" else 6  # a native engine takes a third of a second to start
    _assert_resumes(tmp_path, dtype, step, engine=engine, precision=precision, every=every)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["dtype", "bf16"])
def test_a_resumed_compiled_run_is_the_uninterrupted_one_to_the_bit(tmp_path: Path, precision: str) -> None:
    _assert_resumes(tmp_path, step=7, engine="compiled", precision=precision, every=1)


@pytest.mark.gpu
@pytest.mark.parametrize("engine", ["eager", "graph", "compiled"])
def test_a_resumed_run_on_the_gpu_is_the_uninterrupted_one_to_the_bit(tmp_path: Path, engine: str) -> None:
    def run(net: bp.Network, start: bp.Position | None) -> Iterator[bp.Record]:
        x, y = (t.cuda() for t in _data(_network()))
        return bp.train(net, (x, y), epochs=2, batch_size=BATCH, lr=0.3, engine=engine, every=1, start=start)

    alone, net = (_network().to(device="cuda") for _ in range(2))
    list(run(alone, None))
    first = next(run(net, None))
    bp.save(tmp_path / "net.safetensors", net, position=first.position)
    loaded = bp.load_checkpoint(tmp_path / "net.safetensors", "cuda")
    list(run(loaded.net, loaded.position))
    for got, wanted in zip(loaded.net.layers, alone.layers, strict=True):
        assert torch.equal(got.w, wanted.w)
        assert torch.equal(got.b, wanted.b)


@pytest.mark.parametrize("engine", ["eager", "native"])
def test_where_an_epoch_is_cut_changes_no_bit_of_the_weights(engine: str) -> None:
    whole = _network()
    list(_train(whole, engine=engine))
    for every in (1, 2, 7, 100):
        net = _network()
        records = list(_train(net, engine=engine, every=every))
        assert all(torch.equal(a.w, b.w) for a, b in zip(net.layers, whole.layers, strict=True))
        assert len(records) == EPOCHS * math.ceil(10 / min(every, 10))


def test_a_record_within_an_epoch_says_how_far_it_is() -> None:
    net = _network()
    records = list(_train(net, epochs=1, every=4))
    assert [(r.epoch, r.position.epoch, r.position.batch, r.whole) for r in records] == [
        (1, 1, 4, False),
        (1, 1, 8, False),
        (1, 2, 0, True),
    ]
    assert records[0].position.cost_sum == pytest.approx(records[0].cost * 40)
    assert records[0].validation_cost is None
    assert records[2].validation_cost is not None
    assert 0 < records[0].seconds < records[1].seconds < records[2].seconds


def test_engines_that_run_several_batches_as_one_are_cut_between_these(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engines.ENGINES, "eager", engines.ENGINES["eager"]._replace(block=lambda job: 4))
    net = _network()
    assert [r.position.batch for r in _train(net, epochs=1, every=1, engine="eager")] == [4, 8, 0]
    assert [r.position.batch for r in _train(net, epochs=1, every=5, engine="eager")] == [8, 0]
    with pytest.raises(ValueError, match="runs 4 batches as one and can't start after batch 6"):
        next(_train(net, bp.Position(1, 6), engine="eager"))
    a_job = job(bp.Network.create([20, 13, 6]), EXAMPLES, batch_size=BATCH)
    blocks = {name: entry.block(a_job) for name, entry in engines.ENGINES.items()}
    assert blocks == {"eager": 4, "native": 1, "compiled": 4, "graph": 9, "persistent": 10}


def test_a_finished_run_has_nothing_left_to_train() -> None:
    assert list(_train(_network(), bp.Position(EPOCHS + 1))) == []


NO_NUMBERS: list[Any] = [math.nan, math.inf, 10**400, True, "1", None]
NO_COUNTS: list[Any] = [1.0, True, "1", None, 2**63]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(start=bp.Position(1, 10)), "start is after batch 10, and an epoch has 10"),
        (dict(start=bp.Position(0)), "a position's epoch must be a whole number of at least 1"),
        (dict(start=bp.Position(1, -1)), "a position's batch"),
        (dict(start=(1, 2, 0.0, 0.0)), r"start must be a bp\.Position, .*: write bp\.Position\(\*start\)"),
        (dict(start=3), r"start must be a bp\.Position, such as a record's, not int: write bp\.Position\(epoch\)"),
        (dict(start=bp.Position(1, 0, 1e9, 5.0)), "cost_sum and seconds must be 0 where its batch is 0"),
        (dict(start=bp.Position(1, 1, 1.0, -1.0)), "a position's seconds must be at least 0, not -1"),
        *(
            (dict(start=bp.Position(1, 1, *rest)), "a position's (cost_sum|seconds) must be a finite number")
            for value in NO_NUMBERS
            for rest in ((value, 0.0), (0.0, value))
        ),
        *(
            (dict(start=bp.Position(*first)), "a position's (epoch|batch) must be a whole number")
            for value in NO_COUNTS
            for first in ((value, 0), (1, value))
        ),
        (dict(start=bp.Position(taken=-1)), "a position's taken must be a whole number of at least 0, not -1"),
        (dict(start=bp.Position(EPOCHS + 1, 1)), f"start is in epoch {EPOCHS + 1}, and there are {EPOCHS}"),
        (dict(start=bp.Position(EPOCHS + 2)), f"start is in epoch {EPOCHS + 2}, and there are {EPOCHS}"),
        (dict(every=0), "every must be a whole number of at least 1, not 0"),
    ],
    ids=str,
)
def test_what_a_run_cant_start_from_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _train(_network(), **arguments)


def test_auto_chooses_the_same_engine_where_a_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The choice is by the length of the whole run, not of what is left of it."""
    jobs = []
    choose = engines.choose
    monkeypatch.setattr(engines, "choose", lambda job: jobs.append(job) or choose(job))
    for start in (None, bp.Position(3, 9)):
        next(_train(_network(), start))
    assert [job.recipe.epochs for job in jobs] == [EPOCHS] * 2


@pytest.mark.parametrize("engine", ["eager", "native"])
@pytest.mark.parametrize("start", [None, bp.Position(2, 4)], ids=["from the start", "resumed"])
def test_a_divergence_in_a_part_of_an_epoch_is_named(engine: str, start: bp.Position | None) -> None:
    """The batch is the epoch's, whichever part and whichever resumed run it happens in."""
    net = _network()
    x, y = _data(net)
    before = [layer.w.clone() for layer in net.layers]
    epoch, first = (1, 0) if start is None else (start.epoch, start.batch)
    x[shuffled(EXAMPLES, 0, epoch)[65], 2] = math.nan
    whence = f"after batch {first} of epoch {epoch}" if first else f"the start of epoch {epoch}"
    with pytest.raises(bp.DivergenceError, match=rf"epoch {epoch}, batch 7: .*its input x.* from {whence}"):
        list(bp.train(net, (x, y), batch_size=BATCH, lr=0.01, engine=engine, every=2, start=start))
    assert all(torch.equal(layer.w, w) for layer, w in zip(net.layers, before, strict=True))


def test_a_divergence_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    """Saved at every record until it diverges: what is on the disk is finite, and of before."""
    net = bp.Network.create([3, 4, 2], hidden="relu", output="identity")
    generator = torch.Generator().manual_seed(0)
    x, y = 100 * torch.randn(50, 3, generator=generator), torch.randn(50, 2, generator=generator)
    bp.save(tmp_path / "net.safetensors", net)
    saved = [bp.Position()]
    with pytest.raises(bp.DivergenceError):
        for record in bp.train(net, (x, y), batch_size=5, lr=0.5, every=1):
            try:
                bp.save(tmp_path / "net.safetensors", net, position=record.position)
            except ValueError:  # weights that are no longer finite are not saved
                continue
            saved.append(record.position)
    loaded = bp.load_checkpoint(tmp_path / "net.safetensors")
    assert loaded.position == saved[-1]
    assert all(t.isfinite().all() for layer in loaded.net.layers for t in layer)


@pytest.mark.parametrize(("batch_size", "advice"), [(128, "try batch_size=64"), (1, "train a smaller network")])
def test_out_of_memory_in_the_midst_of_a_run_leaves_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int, advice: str
) -> None:
    """The second epoch of an engine that runs out of the GPU's memory there."""
    built = engines.ENGINES["eager"].build

    def build(job: Job) -> Run:
        run, calls = built(job), []

        def limited(steps: Steps) -> float:
            calls.append(steps)
            if len(calls) == 2:
                raise torch.OutOfMemoryError("tried to allocate 2 TiB")
            return run(steps)

        return limited

    monkeypatch.setitem(engines.ENGINES, "eager", engines.ENGINES["eager"]._replace(build=build))
    net = bp.Network.create([64, 10])
    with pytest.raises(bp.EngineError, match=rf"does not hold a step of batch_size {batch_size}: {advice}"):
        for record in bp.train(net, bp.data.digits("train"), epochs=2, batch_size=batch_size, lr=0.1, engine="eager"):
            bp.save(tmp_path / "net.safetensors", net, position=record.position)
    assert bp.load_checkpoint(tmp_path / "net.safetensors").position == bp.Position(2)


@pytest.mark.parametrize("engine", ["eager", "native"])
def test_adam_counts_the_steps_of_chunks_of_different_sizes(engine: str) -> None:
    """A run that goes on with other examples takes up the rule's count of steps where it stood, as torch's does."""
    rng = torch.Generator().manual_seed(1)
    nets = [bp.Network.create([5, 4, 2], seed=2, dtype=torch.float64) for _ in range(2)]
    theirs = torch.optim.Adam(nets[1].parameters(), lr=0.01)
    start = bp.Position()
    for m, batch_size in ((20, 4), (7, 3), (1, 5), (12, 12)):
        x = torch.randn(m, 5, generator=rng, dtype=torch.float64)
        y = torch.rand(m, 2, generator=rng, dtype=torch.float64)
        (record,) = bp.train(
            nets[0],
            (x, y),
            epochs=1,
            batch_size=batch_size,
            lr=0.01,
            optimizer="adam",
            shuffle=False,
            start=start,
            engine=engine,
        )
        steps = -(-m // batch_size)
        assert record.position.taken == start.taken
        start = bp.Position(slots=record.position.slots, taken=start.taken + steps)
        for rows in torch.arange(m).split(batch_size):
            gradients = [t for layer in nets[1].gradients(x[rows], y[rows]) for t in layer]
            for parameter, gradient in zip(nets[1].parameters(), gradients, strict=True):
                parameter.grad = gradient
            theirs.step()
    for mine, wanted in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-12, atol=1e-14)

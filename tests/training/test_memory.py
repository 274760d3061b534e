"""Memory that a step needs is asked for in one sentence, before it is taken, and sizes beyond 2³¹ are counted right."""

import re

import pytest
import torch
from jobs import job

import bp_torch as bp
from bp_torch.training import engines, memory
from bp_torch.training.engines.native import engine as native_engine
from bp_torch.training.engines.native import source
from bp_torch.training.job import Steps

WIDE, ROWS = [4, 20_000, 2], 110_000  # a hidden layer's activations alone are 2.2e9 elements


@pytest.fixture
def one_gigabyte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 1e9)


def wide(engine: str, sizes: list[int] = WIDE) -> engines.Job:
    net = bp.Network.create(sizes, hidden="relu", cost="softmax_cross_entropy")
    return job(net, ROWS, batch_size=ROWS, epochs=10_000, engine=engine)


@pytest.mark.usefixtures("one_gigabyte")
@pytest.mark.parametrize("engine", ["eager", "native"])
def test_a_step_that_memory_does_not_hold_is_one_sentence(engine: str) -> None:
    with pytest.raises(bp.EngineError) as error:
        engines.start(wide(engine))
    said = re.fullmatch(
        r"a step of batch_size 110000 needs (\d+\.\d) GB of memory, and 1\.0 GB are free: try batch_size=(\d+)"
        r"(, or engine='eager')?",
        str(error.value),
    )
    assert said
    assert 2 * 8.8 <= float(said[1]) < 40
    assert 0 < int(said[2]) < ROWS


@pytest.mark.usefixtures("one_gigabyte")
def test_a_step_in_parts_needs_the_memory_of_a_part() -> None:
    net = bp.Network.create(WIDE, hidden="relu", cost="softmax_cross_entropy")
    engines.start(job(net, ROWS, batch_size=ROWS // 200, accumulate=200, engine="eager"))
    with pytest.raises(bp.EngineError, match="a step of batch_size 55000 needs"):
        engines.start(job(net, ROWS, batch_size=ROWS // 2, accumulate=2, engine="eager"))


@pytest.mark.usefixtures("one_gigabyte")
def test_auto_goes_on_as_eager_where_eager_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "choose", lambda job: "native")
    monkeypatch.setattr(native_engine, "_elements", lambda library, m: 2**31)
    engines.say_once.cache_clear()
    net = bp.Network.create([4, 3, 2])
    before = net.layers[0].w.clone()
    with pytest.warns(RuntimeWarning, match="engine='auto' runs as engine='eager' does: .* needs 8.6 GB"):
        list(bp.train(net, (torch.full((20, 4), 0.5), torch.arange(20) % 2), epochs=1))
    assert not torch.equal(net.layers[0].w, before)


@pytest.mark.parametrize("sizes", [WIDE, [20_000, 2]], ids=str)
def test_a_workspace_of_more_than_2_to_the_31_elements_is_counted_right(sizes: list[int]) -> None:
    """Of x, y, and what the step computes, each in rows of whole lines of 16 floats."""
    library = native_engine._library(source.source_of(wide("native", sizes)), 1)
    elements = native_engine._elements(library, ROWS)
    widest = -(-max(sizes) // 16) * 16 * ROWS
    assert 2**31 < widest < elements < 4 * widest


def test_examples_beyond_2_to_the_31_elements_are_read_where_they_lie() -> None:
    """Of the examples only the last rows are ever touched, so that the rest takes no memory."""
    m = 110_000_000
    x, y = torch.empty(m, 20), torch.empty(m, 2)
    assert x.numel() > 2**31
    rows = torch.Generator().manual_seed(0)
    x[-50:], y[-50:] = torch.rand(50, 20, generator=rows), torch.rand(50, 2, generator=rows)
    order, weights = torch.arange(m - 1, m - 51, -1), []
    for engine in ("eager", "native"):
        net = bp.Network.create([20, 5, 2], seed=0)
        run = engines.ENGINES[engine].build(job(net, (x, y), batch_size=10))
        run(Steps(order, torch.full((5, 1), -0.1, dtype=torch.float64), torch.empty(5, 0, dtype=torch.int32)))
        weights.append(net.layers[0].w)
    assert torch.allclose(*weights, atol=1e-6)
    assert not torch.equal(weights[0], bp.Network.create([20, 5, 2], seed=0).layers[0].w)


def test_free_memory_is_that_of_the_machine() -> None:
    assert memory.free_memory() > 1e8

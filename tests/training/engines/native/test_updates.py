"""A rule runs on the tiles of BP4's product: as it does on a matrix of the sums, and without that matrix."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import reference
import torch
from jobs import job
from torch import Tensor

import bp_torch as bp
from bp_torch.native import build, padding
from bp_torch.native.printer import Printer
from bp_torch.native.record import graph_of, record
from bp_torch.native.updates import updates
from bp_torch.optimisers import Optimiser
from bp_torch.threads import threads
from bp_torch.training.engines.native import engine, source

SIZES = [100, 37, 1, 20, 2]  # tiles and panels that are whole, ragged and one wide


@contextmanager
def unfused() -> Iterator[None]:
    """Steps are printed with a matrix for each product's sums."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "Printer", partial(Printer, fuse=False))
        _forget()
        yield
    _forget()


def _forget() -> None:
    for kept in (source._printed, source._of_the_package):
        kept.cache_clear()


def trained(rule: Optimiser, dtype: torch.dtype, count: int, **settings: Any) -> list[Tensor]:
    """The parameters after four steps."""
    net = bp.Network.create(SIZES, hidden="tanh", init="scaled", seed=3, dtype=dtype)
    x, y = (t.to(dtype) for t in reference.examples(net, 66))
    given: dict[str, Any] = dict(engine="native", optimizer=rule, lr=0.01, batch_size=33) | settings
    with threads(count):
        list(bp.train(net, (x, y), epochs=2, **given))
    return [t for layer in net.layers for t in layer]


slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("rule", "dtype"),
    [
        (bp.Adam(eps=0.0), torch.float32),  # 0 / 0 beyond a row's last column
        (bp.SGD(momentum=0.9, nesterov=True), torch.float64),
        pytest.param(bp.Adam(), torch.float64, marks=slow),
        pytest.param(bp.Lion(), torch.float32, marks=slow),
        pytest.param(bp.RMSprop(momentum=0.9, centered=True), torch.float32, marks=slow),
        pytest.param(bp.Adagrad(weight_decay=0.1), torch.float64, marks=slow),
    ],
    ids=str,
)
def test_the_rule_on_tiles_is_to_the_bit_that_on_a_matrix(rule: Optimiser, dtype: torch.dtype) -> None:
    on_tiles = [trained(rule, dtype, count) for count in (1, 2)]
    with unfused():
        on_a_matrix = trained(rule, dtype, 1)
    for each in on_tiles:
        assert all(map(torch.equal, each, on_a_matrix))


@pytest.mark.parametrize("name", [name for name in bp.OPTIMISERS if name != "sgd"])
@pytest.mark.parametrize("also", [{}, {"l2": 0.1, "l1": 0.1}, {"clip_value": 0.1}], ids=str)
def test_each_rule_runs_on_tiles(name: str, also: dict[str, float]) -> None:
    net = bp.Network.create([5, 4, 3], cost="softmax_cross_entropy")
    printed = source.of(job(net, 10, batch_size=5, optimizer=name, **also))
    assert (printed.count("[=](int i, int first"), printed.count("Into{")) == (4, 0)


def workspace(net: bp.Network, **settings: Any) -> int:
    return engine._elements(build.build(source.of(job(net, 10, batch_size=5, **settings)), 1), 5)


def test_no_gradient_of_the_weights_lies_in_memory() -> None:
    """Adam's workspace is smaller than one layer's weights."""
    net = bp.Network.create([200, 300, 10])
    assert workspace(net, optimizer="adam") < net.layers[0].w.numel()
    with unfused():
        assert workspace(net, optimizer="adam") > net.layers[0].w.numel()


def test_weights_of_a_norm_at_most_are_changed_from_a_matrix() -> None:
    """Their rule needs whole rows."""
    both = [trained(bp.Adam(), torch.float64, 1, engine=name, max_norm=0.3) for name in ("native", "eager")]
    for mine, theirs in zip(*both, strict=True):
        assert reference.relative_error(mine, theirs) < 1e-12


def recorded(change: Any) -> list[Any]:
    """The updates among what `change` does to δ (5, 4), a (5, 3) and two parameters (4, 3)."""

    def run(*tensors: Tensor) -> Tensor:
        change(*tensors)
        return tensors[0].sum()

    graph = graph_of(record(run, [torch.ones(shape) for shape in ((5, 4), (5, 3), (4, 3), (4, 3))]))
    return [(each.sums is not None, len(each.nodes)) for each in updates(list(graph.nodes))]


def test_what_waits_for_its_last_copy() -> None:
    def together(delta: Tensor, a: Tensor, w: Tensor, m: Tensor) -> None:
        kept = m * 0.9 + delta.mT @ a
        w.copy_(w - kept)
        m.copy_(kept)

    def apart(delta: Tensor, a: Tensor, w: Tensor, m: Tensor) -> None:
        g = delta.mT @ a
        w.copy_(w - g)
        m.copy_(m + g)

    def read_between(delta: Tensor, a: Tensor, w: Tensor, m: Tensor) -> None:
        kept, view = m * 0.9 + delta.mT @ a, w.mT
        w.copy_(w - kept)
        m.copy_((a @ view).mT @ a + kept)

    def changed_between(delta: Tensor, a: Tensor, w: Tensor, m: Tensor) -> None:
        g = delta.mT @ a
        changed = w * m
        m.addmm_(delta.mT, a)
        w.copy_(changed - g)

    def read_elsewhere(delta: Tensor, a: Tensor, w: Tensor, m: Tensor) -> None:
        g = delta.mT @ a
        w.copy_(w - g)
        m.copy_(m + (a @ g.mT).mT @ a)

    assert recorded(together) == [(True, 5)]
    assert recorded(apart) == [(True, 4)]
    assert recorded(read_between) == []
    assert recorded(changed_between) == []
    assert recorded(read_elsewhere) == [(True, 2), (False, 2)]


def test_rows_of_whole_vectors_are_changed_where_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others in a padded copy: with the same bits, wherever a parameter begins in memory."""
    padded, copied = padding.padded, []
    monkeypatch.setattr(padding, "padded", lambda t: copied.append(t.shape) or padded(t))

    def shifted(t: Tensor) -> Tensor:
        return torch.empty(t.numel() + 1)[1:].view(t.shape).copy_(t)

    x, y = torch.rand(50, 64, generator=torch.Generator().manual_seed(0)), torch.arange(50) % 16
    net = bp.Network.create([64, 32, 16], hidden="relu", cost="softmax_cross_entropy")
    apart = bp.Network(
        tuple(bp.Layer(*map(shifted, layer)) for layer in net.layers), net.activations, net.cost_function
    )
    for each, copies in ((net, 0), (apart, 4)):  # the slots begin at whole vectors
        copied.clear()
        list(bp.train(each, (x, y), epochs=2, batch_size=7, optimizer="adam", engine="native"))
        assert len(copied) == copies
    for mine, theirs in zip(net.layers, apart.layers, strict=True):
        assert torch.equal(mine.w, theirs.w)
        assert torch.equal(mine.b, theirs.b)

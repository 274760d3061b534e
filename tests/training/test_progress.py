"""fit: training run to its end, with a display, or to its best, with those weights."""

import itertools
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from tqdm import tqdm

import bp_torch as bp
from bp_torch.training.stopping import early_stopping

ROWS, HELD_OUT = 60, 40


def split() -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """A few digits to learn by heart, and some to validate on, of which a quarter is named wrongly."""
    x, y = (part[: ROWS + HELD_OUT] for part in bp.data.digits("train"))
    wrong = y[ROWS:].clone()
    wrong[::4] = (wrong[::4] + 1) % 10
    return (x[:ROWS], y[:ROWS]), (x[ROWS:], wrong)


def network() -> bp.Network:
    return bp.Network.create([64, 20, 10], hidden="relu", cost="softmax_cross_entropy", seed=0)


def tensors(net: bp.Network) -> list[torch.Tensor]:
    return list(itertools.chain(*net.layers))


def assert_same(net: bp.Network, other: bp.Network) -> None:
    for mine, wanted in zip(tensors(net), tensors(other), strict=True):
        assert torch.equal(mine, wanted)


def test_fit_prints_a_line_an_epoch_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    net = bp.Network.create([64, 10])
    records = bp.fit(net, bp.data.digits("train"), epochs=3, lr=1.0, validation=bp.data.digits("test"))
    assert len(records) == 3
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert f"accuracy {records[2].validation_accuracy:.2%}" in lines[2]


def test_fit_displays_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    bp.fit(bp.Network.create([64, 10]), bp.data.digits("train"), epochs=2, lr=1.0)
    printed = capsys.readouterr()
    assert "2/2" in printed.err
    assert printed.out == ""


class _Shell:
    config: ClassVar = {"IPKernelApp": {}}


def _in_a_kernel(monkeypatch: pytest.MonkeyPatch, bar: type) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=_Shell))  # pyright: ignore[reportArgumentType]
    monkeypatch.setitem(sys.modules, "tqdm.autonotebook", SimpleNamespace(tqdm=bar))  # pyright: ignore[reportArgumentType]


def test_fit_displays_tqdm_s_bar_in_a_notebook(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []

    class Bar(tqdm):
        def update(self, n: float | None = 1) -> bool | None:
            shown.append((self.n, self.postfix))
            return super().update(n)

    _in_a_kernel(monkeypatch, Bar)
    bp.fit(bp.Network.create([64, 10]), bp.data.digits("train"), epochs=2, lr=1.0)
    assert [(n, str(figures)[:4]) for n, figures in shown] == [(0, "cost"), (1, "cost")]
    assert capsys.readouterr().out == ""


def test_a_notebook_without_widgets_has_the_plain_bar_and_no_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """tqdm itself decides, as in a kernel without ipywidgets, and would warn."""
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=_Shell))  # pyright: ignore[reportArgumentType]
    for name in ("tqdm.autonotebook", "tqdm.notebook"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    bp.fit(bp.Network.create([64, 10]), bp.data.digits("train"), epochs=2, lr=1.0)
    printed = capsys.readouterr()
    assert "2/2" in printed.err
    assert printed.out == ""


@pytest.mark.parametrize("terminal", [True, False])
def test_fit_is_quiet_where_no_progress_is_asked_for(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    settings: dict[str, Any] = dict(epochs=2, validation=0.1, patience=1, progress=False)
    assert len(bp.fit(bp.Network.create([64, 10]), bp.data.digits("train"), **settings)) == 2
    assert capsys.readouterr() == ("", "")
    with pytest.raises(ValueError, match="progress must be True or False, not 0"):
        bp.fit(bp.Network.create([64, 10]), bp.data.digits("train"), progress=0)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.5), ("adam", 0.01)])
def test_fit_stops_and_keeps_what_a_loop_by_hand_does(optimizer: str, lr: float) -> None:
    train, validation = split()
    settings: dict[str, Any] = dict(epochs=200, optimizer=optimizer, lr=lr, engine="eager", validation=validation)
    by_hand, net, patience = network(), network(), 4
    best_cost, best_epoch, best, last = math.inf, 0, by_hand, 0
    for record in bp.train(by_hand, train, **settings):
        assert record.validation_cost is not None
        if record.validation_cost < best_cost:
            best_cost, best_epoch, best = record.validation_cost, record.epoch, by_hand.to()
        last = record.epoch
        if last - best_epoch == patience:
            break
    records = bp.fit(net, train, patience=patience, **settings)
    assert 1 < best_epoch < last == len(records) < 200
    assert min(records, key=lambda record: record.validation_cost or math.inf).epoch == best_epoch
    assert_same(net, best)
    last_kept = network()
    bp.fit(last_kept, train, patience=patience, restore_best=False, **settings)
    assert_same(last_kept, by_hand)


@pytest.mark.parametrize("monitor", ["validation_accuracy", "validation_cost", "cost"])
def test_restore_best_alone_runs_through_and_keeps_the_best(monitor: str) -> None:
    train, validation = split()
    settings: dict[str, Any] = dict(epochs=12, lr=0.5, engine="eager", validation=validation)
    net, by_hand = network(), network()
    records = bp.fit(net, train, restore_best=True, monitor=monitor, **settings)
    assert len(records) == 12
    sign = -1 if monitor == "validation_accuracy" else 1
    best = min(records, key=lambda record: sign * getattr(record, monitor))  # of equals the first
    for record in bp.train(by_hand, train, **settings):
        if record.epoch == best.epoch:
            break
    assert_same(net, by_hand)


def test_a_run_goes_on_from_its_best_epoch_to_the_bit() -> None:
    """What Adam keeps is put back with the weights, so that the best record's position is theirs."""
    train, validation = split()
    settings: dict[str, Any] = dict(optimizer="adam", lr=0.01, engine="eager", validation=validation)
    whole, net = network(), network()
    list(bp.train(whole, train, epochs=60, **settings))
    records = bp.fit(net, train, epochs=60, patience=3, **settings)
    best = min(records, key=lambda record: record.validation_cost or math.inf)
    assert best.epoch < records[-1].epoch < 60
    list(bp.train(net, train, epochs=60, start=best.position, **settings))
    assert_same(net, whole)


def _told(net: bp.Network, figures: list[float]) -> Iterator[bp.Record]:
    """Records of these validation costs, one an epoch and one amid it, of a net that holds its epoch's number."""
    train, validation = split()
    (record,) = bp.train(network(), train, epochs=1, validation=validation)
    for epoch, figure in enumerate(figures, start=1):
        net.layers[0].w.fill_(epoch - 0.5)
        amid = bp.Position(epoch, 2, 1.0, 1.0)
        yield replace(record, epoch=epoch, validation_cost=None, validation_accuracy=None, position=amid)
        net.layers[0].w.fill_(epoch)
        yield replace(record, epoch=epoch, validation_cost=figure, position=bp.Position(epoch + 1))


@pytest.mark.parametrize(
    ("figures", "patience", "epochs", "best"),
    [
        ([3, 2, 1, 2, 2, 2, 0], 3, 6, 3),
        ([3, 2, 1, 2, 2, 0, 9], 3, 7, 6),
        ([3, 3, 3, 3], 2, 3, 1),  # a tie is no improvement
        ([3, 2, 2, 1, 1, 1], 2, 6, 4),
        ([math.nan, 3, math.nan, math.nan, 1], 2, 4, 2),
        ([math.inf, math.nan, 1, 2], 2, 2, None),
        ([math.inf, 3, 2], 1, 1, None),
        ([3, 2, 4, 1, 5], None, 5, 4),
    ],
)
def test_when_it_stops(figures: list[float], patience: int | None, epochs: int, best: int | None) -> None:
    net = network()
    records = list(early_stopping(_told(net, figures), net, bp.SGD(), "validation_cost", patience, True))
    assert [record.epoch for record in records if record.whole] == list(range(1, epochs + 1))
    assert net.layers[0].w[0, 0].item() == (best or epochs)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), bp.DivergenceError(4, 1, 0, "its cost", 0.1, 0)])
def test_a_run_that_an_error_ends_has_its_best_weights_too(error: BaseException) -> None:
    net = network()

    def failing() -> Iterator[bp.Record]:
        yield from _told(net, [3, 1, 2])
        raise error

    with pytest.raises(type(error)):
        list(early_stopping(failing(), net, bp.SGD(), "validation_cost", None, True))
    assert net.layers[0].w[0, 0].item() == 2


def test_without_patience_fit_is_as_train() -> None:
    train, validation = split()
    net, other = network(), network()
    records = bp.fit(net, train, epochs=8, lr=0.5, validation=validation, engine="eager")
    *_, last = bp.train(other, train, epochs=8, lr=0.5, validation=validation, engine="eager")
    assert [record.epoch for record in records] == list(range(1, 9))
    assert records[-1].validation_cost == last.validation_cost
    assert_same(net, other)


REFUSED: list[tuple[dict[str, Any], str]] = [
    (dict(patience=3), "monitor='validation_cost' needs validation data: give validation=(x, y), or monitor='cost'"),
    (dict(restore_best=True), "monitor='validation_cost' needs validation data"),
    (dict(patience=3, monitor="validation_accuracy"), "monitor='validation_accuracy' needs validation data"),
    (
        dict(patience=3, monitor="val_loss", validation=1),
        "unknown monitor 'val_loss': choose one of validation_cost, validation_accuracy, cost",
    ),
    (dict(monitor=None, validation=1), "unknown monitor None"),
    (dict(monitor="cost"), "monitor='cost' says what patience and restore_best go by: give one of them, too"),
    (dict(patience=0, validation=1), "patience must be a whole number of at least 1, not 0"),
    (dict(patience=2.0, validation=1), "patience must be a whole number of at least 1, not 2.0"),
    (dict(patience=True, validation=1), "patience must be a whole number"),
    (dict(patience=math.inf, validation=1), "patience must be a whole number"),
]


@pytest.mark.parametrize(("options", "words"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_can_not_be_monitored_is_refused_before_any_work(options: dict[str, Any], words: str) -> None:
    train, validation = split()
    if "validation" in options:
        options = {**options, "validation": validation}
    net, untouched = network(), network()
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (its words are compared)
        bp.fit(net, train, epochs=1, **options)
    assert words in str(caught.value)
    assert_same(net, untouched)


@pytest.mark.parametrize("valued", ["train", "validation"])
def test_an_accuracy_of_values_is_refused(valued: str) -> None:
    net = bp.Network.create([4, 2], output="identity", seed=0)
    x = torch.linspace(-1, 1, 40).view(10, 4)
    values, classes = (x, x[:, :2]), (x, torch.eye(2)[torch.arange(10) % 2])
    pairs = (values, classes) if valued == "train" else (classes, values)
    with pytest.raises(ValueError, match="monitor='validation_accuracy' needs classes as targets, not values"):
        bp.fit(net, pairs[0], validation=pairs[1], patience=2, monitor="validation_accuracy", lr=0.1)

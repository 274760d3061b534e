"""fit: training run to its end, with a display."""

import pytest

import bp_torch as bp


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

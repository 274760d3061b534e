"""The report of a run: what it holds, that it needs nothing else, and how bad input ends."""

import base64
import json
import re
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from programs import call
from run_folders import KINDS, SECTIONS, run_of_kind
from torch import Tensor

import bp_torch as bp
from bp_torch.data import Split
from bp_torch.runs import observations, pictures, saved
from bp_torch.runs.report import EPOCHS, MISTAKES, NEURONS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the digits, with its report."""
    out = tmp_path_factory.mktemp("runs") / "digits"
    assert (
        call("train", "--dataset", "digits", "--hidden", "12,9", "--epochs", 3, "--engine", "eager", "--out", out) == 0
    )
    assert call("report", out) == 0
    return out


def contents(run: Path) -> dict[str, Any]:
    """What is embedded in the page."""
    text = (run / "report.html").read_text(encoding="utf-8")
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert match is not None
    return json.loads(match[1])


def unpacked(packed: dict[str, Any]) -> Tensor:
    array = np.frombuffer(base64.b64decode(packed["data"]), dtype=np.dtype("<" + packed["dtype"]))
    return torch.from_numpy(array.copy()).view(packed["shape"])


def test_the_page_is_whole_and_needs_nothing_else(run: Path) -> None:
    text = (run / "report.html").read_text(encoding="utf-8")
    for section in SECTIONS:
        assert f'<section id="{section}">' in text
    for equation in ("BP1", "BP2", "BP3", "BP4"):
        assert f"<b>{equation}</b>" in text or f'tag("{equation}' in text
    assert not re.search(r"https?:|\bimport\b.*from|@import|url\(|fetch\(|XMLHttpRequest", text)
    outside = [target for target in re.findall(r"(?:src|href)\s*=\s*[\"']([^\"'$]*)", text) if target]
    assert all(target.startswith(("#", "data:")) for target in outside)
    assert "{{" not in text
    assert len(text.encode()) < 3_000_000


def test_errors_and_activations_are_the_networks_own(run: Path) -> None:
    net, (x, y) = bp.load(run / "weights.safetensors"), bp.data.digits("test")
    observed = contents(run)["observed"]
    assert observed["epochs"] == [0, 1, 2, 3]
    chosen = torch.tensor(observed["chosen"])
    assert y[chosen].tolist() == observed["labels"] == list(range(10))
    assert torch.equal(unpacked(observed["x"]), x[chosen])
    trace = bp.backprop(net, x[chosen], y[chosen])
    untrained = bp.Network.create([64, 12, 9, 10])
    first = bp.backprop(untrained, x[chosen], y[chosen])
    for l in range(3):
        torch.testing.assert_close(unpacked(observed[f"delta.{l}"])[-1], trace.delta[l], rtol=1e-5, atol=1e-9)
        torch.testing.assert_close(unpacked(observed[f"a.{l}"])[-1], trace.a[l + 1])
        torch.testing.assert_close(unpacked(observed[f"delta.{l}"])[0], first.delta[l], rtol=1e-5, atol=1e-9)
    for l in (1, 2):
        torch.testing.assert_close(unpacked(observed[f"w.{l}"])[-1], net.layers[l].w)


def test_the_test_set_is_told_as_it_is(run: Path) -> None:
    net, (x, y) = bp.load(run / "weights.safetensors"), bp.data.digits("test")
    content, predicted = contents(run), net.predict(x)
    test = content["test"]
    assert test["accuracy"] == net.accuracy(x, y)
    assert test["recall"] == [((predicted == y) & (y == c)).sum().item() / (y == c).sum().item() for c in range(10)]
    assert test["balanced"] == pytest.approx(sum(test["recall"]) / 10)
    assert (test["share"], test["counts"]) == (max(test["counts"]) / len(y), y.bincount().tolist())
    for i in range(10):
        for j in range(10):
            assert test["confusion"][i][j] == int(((y == i) & (predicted == j)).sum())
    costs = [row["cost"] for row in test["mistakes"]]
    assert costs == sorted(costs, reverse=True)
    assert len(costs) == min(test["wrong"], MISTAKES)
    for row, pixels in zip(test["mistakes"], unpacked(test["pixels"]), strict=True):
        assert (row["true"], row["predicted"]) == (y[row["index"]], predicted[row["index"]])
        assert row["true"] != row["predicted"]
        assert torch.equal(pixels, (x[row["index"]] * 255).round().to(torch.uint8))
        one = slice(row["index"], row["index"] + 1)
        assert row["cost"] == pytest.approx(net.cost(x[one], y[one]).item(), rel=1e-5)
    weights = unpacked(content["weights"]["values"]).float() * content["weights"]["scale"] / 127
    off = (weights - net.layers[0].w).abs()
    assert off.quantile(0.99) < content["weights"]["scale"] / 200
    assert content["records"]["epoch"] == [1, 2, 3]
    assert content["config"]["hidden"] == "12,9"


def test_a_run_without_observations_is_reported_without_them(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old"
    shutil.copytree(run, old)
    (old / observations.FILE).unlink()
    assert call("report", old) == 0
    assert contents(old)["observed"] is None
    assert "has no observations.safetensors" in capsys.readouterr().out


@pytest.mark.parametrize("kind", KINDS)
def test_any_run_gets_a_report(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = run_of_kind(kind, tmp_path / "run", epochs=30 if kind == "wide" else 2)
    classes = ("no", "yes") if kind == "one output" else None
    test = Split(*pair, classes)
    monkeypatch.setattr(saved, "load_test_set", lambda *_: ("the test set", test))
    assert call("report", tmp_path / "run") == 0
    content = contents(tmp_path / "run")
    sides = {25: [5, 5], 36: [6, 6], 784: [28, 28]}  # of a run that does not say: square, if it can be
    assert content["image"] == sides.get(KINDS[kind][0][0])
    assert (content["test"]["accuracy"] is None) == (kind == "real targets")
    assert (content["test"]["confusion"] is None) == (kind in ("real targets", "many classes"))
    assert (tmp_path / "run" / "report.html").stat().st_size < 3_000_000


def test_what_was_observed_is_restored_for_a_run_that_goes_on(run: Path) -> None:
    watch = observations.start(bp.data.digits("train"), bp.data.digits("test"), 6)
    observations.restore(watch, run / "nowhere", until=2)
    assert watch.by_epoch == {}
    observations.restore(watch, run, until=2)
    assert sorted(watch.by_epoch) == [0, 1, 2]
    for name, values in observations.read(run).values.items():
        torch.testing.assert_close(watch.by_epoch[2][name], values[2], equal_nan=True)


def ends_badly(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert call("report", *arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    return printed.err


def test_what_is_not_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for name in ("", "nowhere", "file"):
        assert "is not a run folder: name one that training wrote" in ends_badly(capsys, tmp_path / name)


DAMAGES: list[tuple[str, bytes | None, str]] = [
    ("config.json", b"{", "config.json is damaged"),
    ("config.json", b"[]", "config.json is damaged: it names no data set"),
    ("config.json", b'{"dataset": "digits", "lr": NaN}', "config.json is damaged: it holds NaN"),
    ("config.json", b"\xff", "config.json is damaged"),
    ("config.json", b"[" * 100_000, "config.json is damaged"),
    ("config.json", b'{"dataset": "digits", "lr": 1e999}', "config.json is damaged: it holds 1e999"),
    ("metrics.jsonl", b"{\n", "metrics.jsonl is damaged"),
    ("metrics.jsonl", b"3\n", "metrics.jsonl is damaged"),
    ("metrics.jsonl", b'{"epoch": 1}\n', "metrics.jsonl is damaged: cost is None"),
    (
        "metrics.jsonl",
        b'{"epoch": 1, "cost": 1%s, "seconds": 1}\n' % (b"0" * 400),
        "metrics.jsonl is damaged: cost is out",
    ),
    ("observations.safetensors", b"", "observations.safetensors is damaged"),
    ("observations.safetensors", None, "observations.safetensors is damaged"),
    ("weights.safetensors", None, "weights.safetensors is damaged"),
]


@pytest.mark.parametrize(("name", "damage", "message"), DAMAGES)
def test_a_damaged_file_is_one_sentence(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, damage: bytes | None, message: str
) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(run, bad)
    (bad / "report.html").unlink()
    whole = (bad / name).read_bytes()
    (bad / name).write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert message in ends_badly(capsys, bad)
    assert not (bad / "report.html").exists()


def test_observations_of_another_network_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(run, bad)
    bp.save(bad / "weights.safetensors", bp.Network.create([64, 5, 10]))
    assert "is of a network [64, 12, 9, 10], and the run's is [64, 5, 10]" in ends_badly(capsys, bad)


def test_tensors_that_do_not_fit_are_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    bad = tmp_path / "bad"
    shutil.copytree(run, bad)
    with safe_open(bad / observations.FILE, framework="pt") as file:
        about = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    for change in (
        {"delta.0": tensors["delta.0"][:, :, :3].clone()},
        {"a.1": tensors["a.1"].double()},
        {"epochs": torch.tensor([0, 2, 1, 3])},
        {"w.9": torch.zeros(2)},
        {"followed.x": torch.zeros(10, 63)},
    ):
        save_file(tensors | change, bad / observations.FILE, metadata=about)
        assert "observations.safetensors is damaged" in ends_badly(capsys, bad)


def test_a_line_that_is_being_written_is_left_out(run: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(run, half)
    for more in ("{", '{"epoch": 4, "cost": 0.1, "seconds": 1.0}'):
        with (half / "metrics.jsonl").open("a") as file:
            file.write(more)
        assert call("report", half) == 0
        assert contents(half)["records"]["epoch"] == [1, 2, 3]
    (half / "metrics.jsonl").write_text("{")
    assert call("report", half) == 0
    assert contents(half)["records"] is None


def test_many_epochs_are_thinned_and_what_they_come_to_is_not(run: Path, tmp_path: Path) -> None:
    long = tmp_path / "long"
    shutil.copytree(run, long)
    rows = [
        {"epoch": e, "cost": 1 / e, "validation_cost": 2 / e, "validation_accuracy": 0.9 if e == 777 else 0.5}
        | {"seconds": 0.25 if e == 5 else 0.125, "examples_per_second": 123456.789 + e}
        for e in range(1, 30_001)
    ]
    (long / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert call("report", long) == 0
    content = contents(long)
    epochs = content["records"]["epoch"]
    assert (len(epochs), epochs[0], epochs[-1]) == (EPOCHS, 1, 30_000)
    assert {after - before for before, after in pairwise(epochs)} <= {15, 16}
    assert content["records"]["cost"] == [1 / e for e in epochs]
    totals = {"epochs": 30_000, "seconds": 3750.125, "wall": None, "median": 0.125, "least": 0.125, "most": 0.25}
    assert content["totals"] == totals | {"rate": 123456.789 + 15_001, "best": [0.9, 777], "kept": None}
    assert (long / "report.html").stat().st_size < 3_000_000


def test_records_of_before_rates_and_penalties_were_kept_are_read(run: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(run, old)
    rows = [json.loads(line) for line in (old / "metrics.jsonl").read_text().splitlines()]
    older = [{name: value for name, value in row.items() if name not in ("lr", "penalty")} for row in rows]
    (old / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in older))
    assert [(record.lr, record.penalty, record.data_cost) for record in saved.read(old).records] == [
        (None, 0.0, row["cost"]) for row in rows
    ]
    assert call("report", old) == 0
    assert contents(old)["records"]["lr"] == [None] * 3
    assert contents(run)["records"]["lr"] == [3.0] * 3
    pictures.curve(tmp_path / "curve.png", saved.read(old).records, "old")


def test_both_costs_and_the_rate_are_told_of_a_run_with_a_penalty_a_schedule_and_a_patience(
    run: Path, tmp_path: Path
) -> None:
    out, options = tmp_path / "run", ["--hidden", 8, "--epochs", 4, "--engine", "eager", "--seed", 1]
    options += ["--schedule", "linear", "--lr", 0.5, "--l2", 2.0, "--patience", 3]
    assert call("train", "--dataset", "digits", *options, "--out", out) == 0
    assert call("report", out) == 0
    content, records = contents(out), saved.read(out).records
    assert content["validation"] == "validation"
    batches = 130  # of the 1293 examples that are trained on
    wanted = [0.5 * (1 - (batches * epoch - 1) / (4 * batches)) for epoch in range(1, 5)]
    assert content["records"]["lr"] == pytest.approx(wanted)
    net, told = bp.load(out / "best.safetensors"), content["records"]
    lowest = content["totals"]["kept"]
    assert lowest == 1 + min(range(4), key=lambda e: told["validation_cost"][e])
    squares = sum(layer.w.double().square().sum().item() for layer in net.layers)
    assert told["penalty"][lowest - 1] == pytest.approx(2.0 / (2 * 1293) * squares, rel=1e-5)
    for folder, panels in ((run, 2), (out, 3)):  # cost and accuracy; where it changes, the rate
        with Image.open(folder / "curve.png") as picture:
            assert picture.width == 110 * 4.5 * panels
    assert told["data_cost"] == pytest.approx([record.cost - record.penalty for record in records])


NAMES = ["</script><b>bold</b>", "a&b", "ü", "{{script}}", "$x^", '"quoted"', "<!--", "7", "plain", "n" * 200]


def test_classes_are_content_by_name_and_nothing_put_in_is_code(run: Path, tmp_path: Path) -> None:
    named = tmp_path / "{{script}}"
    shutil.copytree(run, named)
    config = json.loads((named / "config.json").read_text())
    (named / "config.json").write_text(json.dumps(config | {"classes": NAMES}))
    assert call("report", named) == 0
    content = contents(named)
    assert (content["classes"], content["name"]) == (NAMES, "{{script}}")
    text, plain = ((folder / "report.html").read_text(encoding="utf-8") for folder in (named, run))
    assert "<title>{{script}}: a run of bp_torch</title>" in text
    assert text.count("<script") == plain.count("<script")
    assert text.rpartition("</script>\n<script>")[2] == plain.rpartition("</script>\n<script>")[2]
    assert contents(run)["classes"] == list("0123456789")
    (named / "config.json").write_text(json.dumps(config | {"classes": NAMES[:3]}))
    assert call("report", named) == 0
    assert contents(named)["classes"] == list("0123456789")


def test_real_values_that_are_zeros_and_ones_are_no_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = run_of_kind("one output", tmp_path / "run")
    for classes in (None, ("no", "yes")):
        test = Split(*pair, classes)
        monkeypatch.setattr(saved, "load_test_set", lambda *_, test=test: ("the test set", test))
        assert call("report", tmp_path / "run") == 0
        content = contents(tmp_path / "run")
        assert content["classes"] == (classes and list(classes))
        assert (content["test"]["accuracy"] is None) == (content["observed"]["labels"] is None) == (classes is None)


def test_a_table_is_told_by_column_and_its_numbers_are_exact(tmp_path: Path) -> None:
    rows = [f"{2000 + k % 17},{k % 5},7,{1e6 + 12.5 * (k % 17) - 50 * (k % 5) + k % 3}" for k in range(120)]
    (tmp_path / "rents.csv").write_text("\n".join(["year,distance,constant,rent", *rows]) + "\n")
    options = ["--dataset", tmp_path / "rents.csv", "--target", "rent", "--epochs", 2, "--lr", 0.1, "--engine", "eager"]
    assert call("train", *options, "--hidden", 70, "--out", tmp_path / "run") == 0
    assert call("report", tmp_path / "run") == 0
    content, net = contents(tmp_path / "run"), bp.load(tmp_path / "run" / "weights.safetensors")
    with pytest.warns(RuntimeWarning, match="column 'constant' tells nothing"):
        result, table = bp.data.table(tmp_path / "rents.csv", target="rent"), content["table"]
    assert (table["columns"], table["target"]) == (["year", "distance", "constant"], "rent")
    worst = [row["index"] for row in content["test"]["mistakes"]]
    x, y = (t[worst] for t in result.test)
    assert torch.equal(unpacked(content["test"]["pixels"]), x)
    assert [row["true"] for row in content["test"]["mistakes"]] == y[:, 0].tolist()
    assert [row["predicted"] for row in content["test"]["mistakes"]] == pytest.approx(
        net.forward(x).a[-1][:, 0].tolist()
    )
    assert table["mean"][2] == 7
    assert torch.equal(unpacked(content["weights"]["values"]), net.layers[0].w[:NEURONS])
    assert content["test"]["r2"] == pytest.approx(1 - (content["test"]["error"] / content["test"]["spread"]) ** 2)


def test_a_table_whose_scaling_does_not_fit_is_told_without_it(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    for table in ({}, {"columns": 3}, {"columns": ["a"], "mean": [0.0], "scale": [1.0]}):
        (tmp_path / "run" / "config.json").write_text(json.dumps(config | {"table": table}))
        assert call("report", tmp_path / "run") == 0
        assert contents(tmp_path / "run")["table"] is None

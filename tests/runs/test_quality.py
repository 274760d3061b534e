"""How good a run is: what stands beside accuracy, error and the best epoch, and which time is which."""

import json
import math
import re
import sys
from pathlib import Path

import pytest
import torch
from programs import call
from torch import Tensor

import bp_torch as bp
from bp_torch.data import Split
from bp_torch.runs import metrics, pictures, quality


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    for picture in ("confusion", "curve"):
        monkeypatch.setattr(pictures, picture, lambda *_: None)


def telling(outputs: Tensor) -> bp.Network:
    """A network whose outputs for row i of the unit matrix are row i of these."""
    net = bp.Network.create([len(outputs), outputs.shape[1]], output="identity")
    net.layers[0].w.copy_(outputs.T)
    net.layers[0].b.zero_()
    return net


def told(predicted: list[int], true: list[int], classes: tuple[str, ...]) -> quality.OfClasses:
    """The quality of these predictions."""
    net = telling(torch.nn.functional.one_hot(torch.tensor(predicted), len(classes)).float())
    found = quality.of(net, Split(torch.eye(len(true)), torch.tensor(true), classes))
    assert isinstance(found, quality.OfClasses)
    return found


def test_recall_and_balanced_accuracy_show_a_class_that_is_missed() -> None:
    found = told([0] * 9 + [1], [0] * 8 + [1, 1], ("no", "yes", "never seen"))
    assert found.accuracy == 0.9
    assert (found.commonest, found.share) == (0, 0.8)
    assert found.recall == (1.0, 0.5, None)
    assert found.counts == (8, 2, 0)
    assert found.balanced == 0.75


def test_a_prediction_of_a_class_without_examples_counts_as_a_mistake_and_warns_of_nothing() -> None:
    found = told([2, 2, 1], [0, 1, 1], ("a", "b", "c"))
    assert found.recall == (0.0, 0.5, None)
    assert found.balanced == 0.25


def test_outputs_without_bounds_are_held_to_classes_too() -> None:
    """`predict` gives their values; of one output, what exceeds a half is the second class."""
    net = telling(torch.tensor([[-3.0], [0.4], [0.6], [7.0]]))
    assert quality.predicted_classes(net, torch.eye(4)).tolist() == [0, 0, 1, 1]
    found = quality.of(net, Split(torch.eye(4), torch.tensor([0, 1, 1, 1]), ("no", "yes")))
    assert isinstance(found, quality.OfClasses)
    assert found.accuracy == 0.75


@pytest.mark.parametrize("unit", [1.0, 250.0])
def test_r_squared_has_no_unit_and_the_error_has_the_targets(unit: float) -> None:
    y = torch.tensor([[-1.0], [0.0], [1.0], [2.0]])
    found = quality.of(telling(y + torch.tensor([[0.1], [-0.1], [0.1], [-0.1]])), Split(torch.eye(4), y, None, unit))
    assert isinstance(found, quality.OfValues)
    assert found.error == pytest.approx(0.1 * unit)
    assert found.spread == pytest.approx(math.sqrt(1.25) * unit)
    assert found.r2 == pytest.approx(1 - 0.01 / 1.25)


@pytest.mark.parametrize("rows", [1, 3])
def test_r_squared_of_equal_values_is_none(rows: int) -> None:
    y = torch.full((rows, 1), 0.1)
    found = quality.of(telling(y + 1), Split(torch.eye(rows), y, None))
    assert isinstance(found, quality.OfValues)
    assert found.error == pytest.approx(1.0)
    assert found.r2 is None


def test_outputs_that_are_not_finite_have_no_error() -> None:
    y = torch.tensor([[0.0], [2.0]])
    assert quality.of(telling(torch.tensor([[1.0], [math.inf]])), Split(torch.eye(2), y, None)) == (None, 1.0, None)


def rare(path: Path, rows: int = 300, yes: int = 22) -> Path:
    """A table in which few rows are "yes", and nothing tells them."""
    lines = [f"{k * 37 % 101},{k * 53 % 89},{'yes' if k < yes else 'no'}" for k in range(rows)]
    path.write_text("\n".join(["age,income,churned", *lines]) + "\n")
    return path


def rents(path: Path) -> Path:
    lines = [f"{20 + k % 17},{k % 5},{1000 + 12.5 * (k % 17) - 50 * (k % 5) + k % 3}" for k in range(120)]
    path.write_text("\n".join(["area,distance,rent", *lines]) + "\n")
    return path


def trained(path: Path, target: str, out: Path, *more: object) -> None:
    options = ["--epochs", 4, "--lr", 0.1, "--engine", "eager", *more]
    assert call("train", "--dataset", path, "--target", target, *options, "--out", out) == 0


def test_the_programs_say_what_accuracy_is_to_be_held_against(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(rare(tmp_path / "churn.csv"), "churned", tmp_path / "run")
    assert call("predict", tmp_path / "run") == 0
    by_train, by_predict = capsys.readouterr().out.split("Its curve")
    x, y = bp.data.table(tmp_path / "churn.csv", target="churned").test
    no = int((y == 0).sum())
    for printed in (by_train, by_predict):
        assert f"{len(x)} test examples: accuracy {no / len(x):.2%}" in printed
        assert f'always "no", the commonest class: accuracy {no / len(x):.2%}, so that the network is no bet' in printed
        assert "balanced accuracy 50.00%" in printed
        assert f'recall of each class: "no" 100.0% of {no}, "yes" 0.0% of {len(x) - no}' in printed


def test_of_many_classes_the_worst_recalls_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"{k % 30},{f'c{k % 30:02}'}" for k in range(300)]
    (tmp_path / "many.csv").write_text("\n".join(["a,kind", *lines]) + "\n")
    trained(tmp_path / "many.csv", "kind", tmp_path / "run")
    found = re.search(r"recall of the 5 worst of 30 classes: (.*)", capsys.readouterr().out)
    assert found is not None
    assert len(re.findall(r'"c\d\d" [\d.]+% of 2', found[1])) == 5


def metric(epoch: int, accuracy: float | None, cost: float) -> str:
    return json.dumps(
        {"epoch": epoch, "cost": 1.0, "validation_cost": cost, "validation_accuracy": accuracy, "seconds": 1}
    )


@pytest.mark.parametrize("best", [2, 4])
@pytest.mark.parametrize("target", ["churned", "rent"])
def test_the_final_figure_comes_first_and_the_best_epoch_is_said_to_flatter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str, best: int
) -> None:
    path = (rare if target == "churned" else rents)(tmp_path / "table.csv")
    trained(path, target, tmp_path / "run")
    lines = [
        metric(e, (0.99 if e == best else 0.5) if target == "churned" else None, 0.1 if e == best else 0.7)
        for e in range(1, 5)
    ]
    (tmp_path / "run" / metrics.FILE).write_text("\n".join(lines) + "\n")
    capsys.readouterr()
    assert call("train", "--resume", tmp_path / "run") == 0
    final, _, rest = capsys.readouterr().out.partition("At the end, on the ")[2].partition("\n")
    assert ("accuracy" if target == "churned" else "root mean square error") in final
    if best == 4:
        assert "no epoch before was better" in rest
    else:
        what = "accuracy 99.00%" if target == "churned" else "test cost 0.10000"
        assert f"the best epoch was 2, {what}: it is the best on these very examples, which flatters it" in rest
        assert "its weights are not kept" in rest


def test_r_squared_stands_beside_the_root_mean_square_error_in_the_targets_unit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(rents(tmp_path / "rents.csv"), "rent", tmp_path / "run")
    assert call("predict", tmp_path / "run") == 0
    printed = capsys.readouterr().out
    table = bp.data.table(tmp_path / "rents.csv", target="rent")
    x, y = (t.double() for t in table.test)
    outputs = bp.load(tmp_path / "run" / "weights.safetensors").to(torch.float64).forward(x).a[-1]
    error, spread = (outputs - y).square().mean().sqrt() * table.target_scale, y.std(correction=0) * table.target_scale
    figures = f"root mean square error {error:.5g} (in rent), R² {1 - (error / spread) ** 2:.4f}, cost"
    assert printed.count(figures) == 2
    assert printed.count(f"always their mean: root mean square error {spread:.5g}") == 2


def test_values_no_better_than_their_mean_are_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(rents(tmp_path / "rents.csv"), "rent", tmp_path / "run", "--lr", 1e-9, "--init", "normal")
    told = r"always their mean: root mean square error [\d.]+, so that the network is no better than this"
    assert re.search(told, capsys.readouterr().out)


def test_training_without_scikit_learn_ends_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    trained(rents(tmp_path / "rents.csv"), "rent", tmp_path / "run")
    assert "examples: no more than the cost, since sklearn.metrics is not installed, cost 0." in capsys.readouterr().out


TIMES = r"([\d.]+) s of training alone, ([\d.]+) s with preparing, evaluating and saving"


def test_each_time_says_what_it_is_of_and_the_report_has_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    trained(rents(tmp_path / "rents.csv"), "rent", out)
    printed = capsys.readouterr().out
    found = re.search(r"Trained for 4 epochs: " + TIMES, printed)
    assert found is not None
    alone, wall = map(float, found.groups())
    assert alone <= wall
    assert len(re.findall(r"^epoch .* s of training  ", printed, re.MULTILINE)) == 4
    assert call("report", out) == 0
    totals = json.loads((out / "report.html").read_text().partition('id="data">')[2].partition("</script>")[0])[
        "totals"
    ]
    assert (totals["seconds"], totals["wall"]) == (pytest.approx(alone, abs=0.006), pytest.approx(wall, abs=0.006))


def test_a_run_that_went_on_says_the_times_of_both_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    path = rents(tmp_path / "rents.csv")
    config = bp.runs.Config(dataset=str(path), target="rent", recipe=bp.Recipe(epochs=5, lr=0.1, engine="eager"))
    with bp.runs.begin(config, out) as session:
        records = bp.runs.train(session)
        assert [next(records).epoch for _ in range(2)] == [1, 2]
    first = [json.loads(line) for line in (out / metrics.FILE).read_text().splitlines()]
    assert call("train", "--resume", out) == 0
    printed = capsys.readouterr().out
    lines = [json.loads(line) for line in (out / metrics.FILE).read_text().splitlines()]
    assert lines[:2] == first
    for words, some in (("Went on for 3 epochs: ", lines[2:]), ("All 5 epochs of the run: ", lines)):
        found = re.search(words + TIMES, printed)
        assert found is not None
        for time, name in zip(map(float, found.groups()), ("seconds", metrics.WALL), strict=True):
            assert time == pytest.approx(sum(line[name] for line in some), abs=0.006)


def test_a_part_of_an_epoch_before_it_went_on_is_in_both_its_times(tmp_path: Path) -> None:
    path, stops = rents(tmp_path / "rents.csv"), iter([False, True])
    recipe = bp.Recipe(epochs=1, lr=0.1, batch_size=1, engine="eager")
    config = bp.runs.Config(dataset=str(path), target="rent", recipe=recipe, checkpoint_every=0.1)
    with bp.runs.begin(config, tmp_path / "run") as session:
        assert list(bp.runs.train(session, stop=lambda: next(stops))) == []
    before = bp.load_checkpoint(tmp_path / "run" / "weights.safetensors").position
    assert before.batch > 0
    with bp.runs.resume(tmp_path / "run") as session:
        (record,) = bp.runs.train(session)
    wall = metrics.wall_seconds(tmp_path / "run")
    assert wall is not None
    assert before.seconds < record.seconds <= wall


def test_the_time_of_epochs_of_older_versions_is_not_made_up(tmp_path: Path) -> None:
    (tmp_path / metrics.FILE).write_text(
        metric(1, None, 0.5) + "\n" + metric(2, None, 0.5)[:-1] + ', "wall_seconds": 2.5}\n'
    )
    assert metrics.wall_seconds(tmp_path) is None
    assert metrics.wall_seconds(tmp_path, after=1) == 2.5

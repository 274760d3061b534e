"""Each experiment, in a small form, ends in a picture and in numbers that show what the chapter claims."""

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from programs import call

import bp_torch as bp
from bp_torch.cli import experiments
from bp_torch.insight.experiments import figures, images, neurons

ROOT = Path(__file__).parents[3]
Run = Callable[..., tuple[dict[str, Any], str]]

needs_mnist = pytest.mark.skipif(not (ROOT / "data/MNIST/raw").is_dir(), reason="MNIST is not in data/")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs an experiment as a user does, with arguments that make it small: its numbers, and what was printed."""

    def run(name: str, *arguments: str, **small: object) -> tuple[dict[str, Any], str]:
        table = experiments.ALONE if name in experiments.ALONE else experiments.ON_DATA
        monkeypatch.setitem(table, name, partial(table[name], **small))
        arguments = ("--dataset", "digits", "--out", str(tmp_path / "out"), *arguments)
        code = call("experiments", name, *arguments)
        printed = capsys.readouterr()
        assert code == 0, printed.err
        assert [path.name for path in sorted((tmp_path / "out").iterdir())] == [f"{name}.json", f"{name}.png"]
        for kind in ("png", "json"):
            assert str(tmp_path / "out" / f"{name}.{kind}") in printed.out
        with Image.open(tmp_path / "out" / f"{name}.png") as picture:
            assert picture.width >= 1000
        numbers = json.loads((tmp_path / "out" / f"{name}.json").read_text(), parse_constant=pytest.fail)
        assert numbers["experiment"] == name
        return numbers, printed.out

    return run


def test_speed_of_backprop(run: Run) -> None:
    numbers, _ = run("speed-of-backprop", decades=(1, 2))
    for row in numbers["rows"]:
        assert row["extrapolated"] == (row["differenced"] < row["weights"])
        assert row["differences"] > 0
    assert [row["weights"] for row in numbers["rows"]] == [8, 98]
    assert numbers["rows"][1]["differences"] > numbers["rows"][1]["both"]  # 99 forward passes


def test_extrapolation_is_marked_in_the_picture() -> None:
    rows = [
        {
            "weights": 10**n,
            "forward": 1,
            "both": 2,
            "differences": 10**n,
            "backward_to_forward": 1,
            "extrapolated": n > 3,
        }
        for n in range(2, 6)
    ]
    panel = figures.speed_of_backprop({"rows": rows}).axes[0]
    drawn = {str(line.get_label()): np.asarray(line.get_xdata()).tolist() for line in panel.lines}
    assert drawn["differences, one forward pass a weight"] == [100, 1000]
    assert drawn["differences, extrapolated from some of the weights"] == [10_000, 100_000]


def test_big_picture(run: Run) -> None:
    numbers, _ = run("big-picture", sizes=(3, 4, 2))
    steps = numbers["steps"]
    assert steps[0] / steps[-1] == pytest.approx(1e8)
    medians = {name: [row[1] for row in rows] for name, rows in numbers["relative_errors_10_50_90_percent"].items()}
    assert min(medians["float64"]) < 1e-5
    assert 1e-4 < min(medians["float32"]) < 0.05
    assert medians["float32"][-1] == 1  # the weight does not even change
    at = {step: medians["float64"][i] for i, step in enumerate(steps)}
    assert at[1e-4] / at[1e-2] == pytest.approx(1e-2, rel=0.3)  # in proportion to Δw
    assert numbers["path_sums"] == pytest.approx(numbers["gradients"], rel=1e-10)
    assert numbers["path_sums_relative_error"] < 1e-12


def test_saturation(run: Run) -> None:
    """Nielsen, chapter 3: the quadratic cost ends at 0.09 and 0.20."""
    numbers, printed = run("saturation")
    good, slow, other, quick = numbers["curves"]
    assert (good["outputs"][0], slow["outputs"][0]) == (pytest.approx(0.82, abs=0.005), pytest.approx(0.98, abs=0.005))
    assert (good["outputs"][-1], slow["outputs"][-1]) == (
        pytest.approx(0.09, abs=0.005),
        pytest.approx(0.20, abs=0.005),
    )
    assert slow["first_to_fastest"] < 0.15
    assert slow["fastest_epoch"] > 150
    assert quick["first_to_fastest"] == other["first_to_fastest"] == 1
    assert quick["slopes"][0] > 50 * slow["slopes"][0]  # σ′ has gone
    assert "The output after 300 epochs is 0.20" in printed
    assert len(good["costs"]) == numbers["epochs"] + 1 == 301


def test_slow_learning(run: Run) -> None:
    numbers, _ = run("slow-learning", epochs=2)
    assert numbers["dataset"] == "digits"
    assert len(numbers["layers"]) == 2
    for layer in numbers["layers"]:
        assert layer["active_to_inactive"] > 5
        assert layer["free_to_saturated"] > 5


def test_vanishing(run: Run) -> None:
    numbers, _ = run("vanishing", epochs=2, networks=3, depths=(1, 3))
    assert numbers["initial_to_book"] is None
    for row in numbers["rows"]:
        depth = row["hidden_layers"]
        assert len(row["by_epoch"]) == len(row["by_epoch_of_examples"]) == 2 + 1
        assert {len(norms) for norms in row["by_epoch"]} == {depth} == {len(row["initial_median"])}
        assert row["initial_median"] == sorted(row["initial_median"])
        for kind in ("by_epoch", "by_epoch_of_examples"):
            assert row[kind][0] == sorted(row[kind][0])
    assert numbers["rows"][1]["last_to_first"] > 5


def test_feedback(run: Run) -> None:
    numbers, printed = run("feedback", epochs=2, looks=1)
    plain, *random = numbers["runs"]
    assert [run["rule"] for run in numbers["runs"]] == [
        "backpropagation",
        "feedback alignment",
        "direct feedback alignment",
    ]
    assert plain["angles"] == []
    assert plain["epochs"] == [float(epoch) for epoch in range(11)]  # ten epochs of the digits for two of MNIST
    for rule in numbers["runs"]:
        assert rule["accuracy"][-1] > 0.9
    for rule in random:
        assert min(rule["angles"][0]) > 75
        assert max(rule["angles"][-1]) < 80
    assert f"feedback alignment {random[0]['accuracy'][-1]:.2%}" in printed


def test_mislabelled(run: Run) -> None:
    numbers, _ = run("mislabelled", epochs=1, count=7)
    norms = [row["norm"] for row in numbers["images"]]
    assert norms == sorted(norms, reverse=True)
    assert len(norms) == 7
    assert norms[-1] > 10 * numbers["median_norm"]
    assert numbers["misread_of_shown"] > 3 * numbers["misread_of_all"]


def test_wrong_labels_are_found() -> None:
    """One in a hundred labels is made wrong: most of them are among the largest norms."""
    (x, y), test = bp.data.digits("train"), bp.data.digits("test")
    wrong = set(range(0, len(y), 100))
    y = y.clone()
    y[::100] = (y[::100] + 3) % 10
    data = images.Data("digits", (x, y), test)
    numbers = images.mislabelled(0, data, epochs=1, count=len(wrong)).numbers
    assert len(wrong & {row["image"] for row in numbers["images"]}) > 0.7 * len(wrong)


def test_the_same_seed_gives_the_same_numbers(run: Run) -> None:
    small = {"epochs": 1, "networks": 2, "depths": (2,)}
    first, again, other = (run("vanishing", "--seed", seed, **small)[0] for seed in ("4", "4", "5"))
    assert first == again
    assert first["rows"] != other["rows"]
    assert neurons.big_picture(1).numbers == neurons.big_picture(1).numbers


def test_what_is_no_number_is_null() -> None:
    assert experiments._finite({"a": [math.nan, (1.5, math.inf)], "b": "nan"}) == {"a": [None, [1.5, None]], "b": "nan"}


LIST = "speed-of-backprop, big-picture, saturation, slow-learning, vanishing, feedback, mislabelled"
BAD = [
    ([], f"name an experiment: {LIST}, or all"),
    (["vanshing"], f"unknown experiment 'vanshing': choose one of {LIST}, all"),
    (["vanishing", "--dataset", "cifar"], "unknown dataset 'cifar': choose one of mnist, digits"),
    (["saturation", "--dataset", "cifar"], "unknown dataset 'cifar'"),
    (["saturation", "--seed", "-1"], "seed must be a whole number from 0"),
    (["saturation", "--out", "{file}"], "can't be written"),
    (["saturation", "--out", "{file}/out"], "can't be written"),
    (["mislabelled", "--data-dir", "{file}"], "MNIST could not be loaded"),
    (["all", "--data-dir", "{file}"], "MNIST could not be loaded"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_is_one_sentence_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    monkeypatch.chdir(tmp_path)
    assert call("experiments", *(argument.format(file=file) for argument in arguments)) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == [file]


def mnist() -> images.Data:
    return experiments._data("mnist", str(ROOT / "data"))


@needs_mnist
@pytest.mark.slow
def test_initial_errors_are_the_books_within_a_factor_of_2() -> None:
    for seed in (0, 1000):
        numbers = images.vanishing(seed, mnist(), epochs=1).numbers
        books = [row["initial_book"] for row in numbers["rows"]]
        assert books == [None, *images.BOOK.values(), None]
        low, high = numbers["initial_to_book"]
        assert 0.5 < low < high < 2


@needs_mnist
@pytest.mark.slow
def test_feedback_alignment_learns_mnist() -> None:
    numbers = images.feedback(0, mnist(), epochs=2, looks=1).numbers
    for run in numbers["runs"]:
        assert run["accuracy"][-1] >= 0.95
        for before, after in zip(*(run["angles"][i] for i in (0, -1) if run["angles"]), strict=True):
            assert after < 60 < 80 < before

"""predict RUN rows.csv: a line for each row, in the table's own words."""

import csv
import gzip
import io
import json
from pathlib import Path

import pytest
import torch
from programs import call

import bp_torch as bp
from bp_torch import runs
from bp_torch.data import Preprocessing
from bp_torch.data.table import labelled

QUICK = ["--hidden", 4, "--epochs", 2, "--engine", "eager", "--activation", "relu", "--cost", "softmax_cross_entropy"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run on a table of people, and people.csv and new.csv, without the target, beside it."""
    monkeypatch.chdir(tmp_path)
    rows = [f"{k},{k if k % 7 else ''},{('Ulm', 'Bonn', '')[k % 3]},{('no', 'yes')[k % 2]}" for k in range(1, 61)]
    Path("people.csv").write_text("\n".join(["id,age,town,bought", *rows]) + "\n")
    Path("new.csv").write_text(
        "town,id,age\n" + "".join(f"{town},9,{k}\n" for k, town in enumerate(["Ulm", "Rom", ""]))
    )
    assert call("train", "--dataset", "people.csv", "--target", "bought", "--drop", "id", *QUICK, "--out", "run") == 0
    return tmp_path


def lines(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_rows_without_the_target_are_predicted_in_their_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert call("predict", "run", "new.csv") == 0
    printed = capsys.readouterr()
    found = lines(printed.out)
    assert [line["row"] for line in found] == ["1", "2", "3"]
    assert list(found[0]) == ["row", "prediction", "probability no", "probability yes"]
    assert "column 'town' holds 'Rom' (1 row), for which the network has no input" in printed.err
    assert printed.err.splitlines()[-1] == "new.csv, 3 rows"
    run = runs.read("run")
    assert isinstance(run.net.preprocessing, Preprocessing)
    with pytest.warns(RuntimeWarning, match="'Rom'"):
        x, _ = labelled(_with_target("new.csv"), run.net.preprocessing)
    outputs = run.net.forward(x).a[-1]
    for line, shares in zip(found, outputs.tolist(), strict=True):
        assert [float(line["probability no"]), float(line["probability yes"])] == pytest.approx(shares, abs=1e-6)
        assert line["prediction"] == ("no", "yes")[shares[1] > shares[0]]


def _with_target(name: str) -> Path:
    header, *rows = Path(name).read_text().splitlines()
    path = Path("labelled.csv")
    path.write_text("\n".join([f"{header},bought", *(f"{row},no" for row in rows)]) + "\n")
    return path


def test_with_the_target_it_is_said_how_good_the_predictions_are(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert call("predict", "run", "people.csv", "--out", "p.csv") == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("people.csv, 60 rows\n  accuracy ")
    assert printed.out.endswith("The predictions are in p.csv\n")
    asked, given = (lines(Path(name).read_text()) for name in ("people.csv", "p.csv"))
    right = [a["bought"] == b["prediction"] for a, b in zip(asked, given, strict=True)]
    assert f"accuracy {sum(right) / 60:.2%}" in printed.out
    assert "id" not in printed.err


REFUSED = [
    (["predict", "run", "short.csv"], "short.csv lacks 'age', which the network was trained on (is 'aged' meant?)"),
    (["predict", "run", "none.csv"], "there is no file none.csv"),
    (["predict", "run", "new.csv", "people.csv"], "one table is predicted at a time: name new.csv alone"),
    (["predict", "run", "new.csv", "--out", "new.csv"], "--out names new.csv itself: name another file"),
    (["predict", "run", "--out", "p.csv"], "--out is for the predictions of a table's rows"),
    (["predict", "run", "new.csv", "--dataset", "people.csv"], "--dataset names the run's test set"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[" ".join(arguments) for arguments, _ in REFUSED])
def test_what_cant_be_predicted_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    Path("short.csv").write_text("aged,town\n1,Ulm\n")
    capsys.readouterr()
    assert call(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err.splitlines()[-1]


def test_values_are_in_the_targets_own_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("a,b,price\n" + "".join(f"{k % 10},{k // 10},{1000 + 3 * (k % 10)}\n" for k in range(100)))
    options = ["--dataset", "t.csv", "--target", "price", "--regression", "--engine", "eager", "--out", "run"]
    assert call("train", *options) == 0
    assert call("predict", "run", "t.csv", "--out", "p.csv") == 0
    values = [float(line["prediction"]) for line in lines(Path("p.csv").read_text())]
    assert max(abs(value - 1000 - 3 * (k % 10)) for k, value in enumerate(values)) < 15


def test_a_run_whose_checkpoint_has_no_preprocessing_predicts_by_its_config(folder: Path) -> None:
    """As those of earlier versions, of tables of numbers."""
    Path("n.csv").write_text("a,b,t\n" + "".join(f"{k % 7},{k % 5},{'xy'[k % 2]}\n" for k in range(50)))
    assert call("train", "--dataset", "n.csv", "--target", "t", *QUICK, "--out", "old") == 0
    assert call("predict", "old", "n.csv", "--out", "expected.csv") == 0
    run = runs.read("old")
    bare = bp.Network(run.net.layers, run.net.activations, run.net.cost_function)
    bp.save("old/weights.safetensors", bare, position=run.position, settings=run.config.settings())
    assert bp.load("old/weights.safetensors").preprocessing is None
    assert call("predict", "old", "n.csv", "--out", "old.csv") == 0
    assert Path("old.csv").read_text() == Path("expected.csv").read_text()
    assert call("train", "--resume", "old") == 0


def test_a_test_file_and_a_share_are_kept_in_the_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--dataset", "people.csv", "--target", "bought", "--drop", "id", *QUICK]
    _with_target("new.csv")
    assert call("train", *options, "--test-file", "labelled.csv", "--out", "by-file") == 0
    assert call("train", *options, "--test-share", 0.5, "--out", "by-share") == 0
    capsys.readouterr()
    assert call("predict", "by-file") == 0
    assert "3 test examples" in capsys.readouterr().out
    assert call("predict", "by-share") == 0
    assert "30 test examples" in capsys.readouterr().out
    assert call("train", "--resume", "by-file") == 0
    Path("labelled.csv").rename("moved.csv")
    assert call("predict", "by-file") == 2
    assert call("predict", "by-file", "--test-file", "moved.csv") == 0
    Path("moved.csv").write_text(Path("moved.csv").read_text() + "Ulm,3,4,no\n")
    assert call("predict", "by-file", "--test-file", "moved.csv") == 2
    assert json.loads(Path("by-file/config.json").read_text())["drop"] == "id"
    assert call("report", "by-share") == 0
    assert torch.isfinite(runs.read("by-share").net.layers[0].w).all()


def test_a_run_goes_on_where_its_table_and_its_test_file_have_moved(folder: Path) -> None:
    options = ["--dataset", "people.csv", "--target", "bought", "--drop", "id", *QUICK]
    _with_target("new.csv")
    assert call("train", *options, "--test-file", "labelled.csv", "--out", "by-file") == 0
    Path("elsewhere").mkdir()
    for name in ("people.csv", "labelled.csv"):
        Path(name).rename(Path("elsewhere") / name)
    places = ["--dataset", "elsewhere/people.csv", "--test-file", "elsewhere/labelled.csv"]
    assert call("train", "--resume", "by-file") == 2
    assert call("train", "--resume", "by-file", *places) == 0
    Path("elsewhere/labelled.csv").write_text("id,age,town,bought\n1,2,Ulm,no\n")
    assert call("train", "--resume", "by-file", *places) == 2


def test_the_inputs_that_columns_became_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "--resume", "run") == 0
    told = "2 columns became 5 inputs: age, age missing, town=Bonn, town=Ulm, town missing\n"
    assert told in capsys.readouterr().out


def test_rows_without_a_class_that_is_known_are_predicted_and_left_out_of_the_quality(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, *rows = Path("people.csv").read_text().splitlines()
    changed = [row.replace(",yes", (",", ",perhaps")[k // 2 % 2]) if k < 8 else row for k, row in enumerate(rows)]
    Path("some.csv").write_text("\n".join([header, *changed]) + "\n")
    Path("none.csv").write_text("\n".join([header, *(row.rsplit(",", 1)[0] + "," for row in rows)]) + "\n")
    capsys.readouterr()
    assert call("predict", "run", "some.csv", "--out", "p.csv") == 0
    told = capsys.readouterr().out
    assert "some.csv, 60 rows\n  of the 56 rows with a class that is known: accuracy " in told
    assert "'perhaps' in line " in told
    assert call("predict", "run", "none.csv", "--out", "p.csv") == 0
    assert capsys.readouterr().out == "none.csv, 60 rows\nThe predictions are in p.csv\n"
    assert len(lines(Path("p.csv").read_text())) == 60
    Path("words.csv").write_text("age,town\nold,Ulm\n")
    assert call("predict", "run", "words.csv") == 2
    assert "--drop" not in capsys.readouterr().err


KEPT = ["people.csv", "run/weights.safetensors", "run/config.json", "notes.txt", "row.csv", "linked.csv"]


@pytest.mark.parametrize("name", KEPT)
def test_predictions_replace_no_file_but_predictions(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    Path("notes.txt").write_text("my notes\n")
    Path("row.csv").write_text("row,predictions\n1,2\n")
    Path("linked.csv").symlink_to("people.csv")
    before = Path(name).read_bytes()
    capsys.readouterr()
    assert call("predict", "run", "new.csv", "--out", name) == 2
    assert f"--out {'names' if name in ('people.csv', 'linked.csv') else name} " in capsys.readouterr().err
    assert Path(name).read_bytes() == before


@pytest.mark.parametrize("name", ["p.csv", "p.tsv", "p.csv.gz", "p.TSV.GZ"])
def test_predictions_are_written_as_their_file_is_called(folder: Path, name: str) -> None:
    for _ in range(2):  # its own file is replaced
        assert call("predict", "run", "new.csv", "--out", name) == 0
    content = Path(name).read_bytes()
    text = (gzip.decompress(content) if "gz" in name.lower() else content).decode()
    assert text.startswith("row\tprediction\tprob" if "tsv" in name.lower() else "row,prediction,prob")
    assert len(text.splitlines()) == 4


UNWRITTEN = {
    "p.parquet": "--out p.parquet would be a CSV under that name: name a .csv, .tsv, .csv.gz or .tsv.gz file",
    "none/p.csv": "--out none/p.csv can't be written: there is no folder none",
    "run": "--out run can't be written: it is a folder",
}


@pytest.mark.parametrize("name", UNWRITTEN)
def test_where_predictions_cant_go_is_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    capsys.readouterr()
    assert call("predict", "run", "new.csv", "--out", name) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(UNWRITTEN[name])


def test_counts_are_no_cost_for_the_classes_of_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert call("train", "--dataset", "people.csv", "--target", "bought", "--cost", "poisson", "--out", "counts") == 2
    assert "counts and no probabilities" in capsys.readouterr().err
    assert not Path("counts").exists()


def test_a_test_file_for_a_run_that_has_none_is_named_for_what_it_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert call("predict", "run", "--test-file", "new.csv") == 2
    assert "to predict the rows of new.csv, name it after the run" in capsys.readouterr().err


def test_an_option_that_lists_columns_may_be_typed_twice(folder: Path) -> None:
    options = ["--dataset", "people.csv", "--target", "bought", "--drop", "id", "--drop", "town", *QUICK]
    assert call("train", *options, "--out", "fewer") == 0
    assert json.loads(Path("fewer/config.json").read_text())["drop"] == "id,town"


@pytest.mark.filterwarnings("error")
def test_values_of_a_table_read_by_pandas_warn_of_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("v.csv").write_text("a,b,price\n" + "".join(f"{k % 10},{k % 7},{k + 0.5}\n" for k in range(400)))
    options = ["--hidden", 4, "--epochs", 1, "--engine", "eager"]
    assert call("train", "--dataset", "v.csv", "--target", "price", *options, "--out", "values") == 0
    assert call("predict", "values", "v.csv", "--out", "p.csv") == 0
    assert "not writable" not in capsys.readouterr().err

"""What columns become: numbers, truth values, dates, categories; what is kept of it, and other rows by it."""

import datetime
import json
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from tablefiles import made

import bp_torch as bp
from bp_torch.data import Preprocessing, Table
from bp_torch.data.table import labelled

PEOPLE = "age,town,smoker,born,code,bought\n" + "".join(
    f"{k if k % 7 else ''},{('Ulm', 'Bonn', 'Köln', '')[k % 4]},{('True', 'false')[k % 2]},2024-01-{k % 28 + 1:02},"
    f"{('01067', '80331')[k % 3 == 0]},{'xyz'[k % 3]}\n"
    for k in range(1, 85)
)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return made(tmp_path, PEOPLE, "people.csv")


@pytest.fixture
def table(people: Path) -> Table:
    return bp.data.table(people, target="bought")


def rows(result: Table) -> list[list[float]]:
    return sorted(torch.cat([result.train[0], result.test[0]]).tolist())


def test_columns_of_every_kind_become_inputs(table: Table) -> None:
    towns = ("town=Bonn", "town=Köln", "town=Ulm", "town missing")
    assert table.columns == ("age", "smoker", "born", "age missing", *towns, "code=01067", "code=80331")
    assert {f.name: f.kind for f in table.preprocessing.features} == {
        "age": "number",
        "town": "category",
        "smoker": "truth",
        "born": "date",
        "code": "category",
    }
    x = torch.cat([table.train[0], table.test[0]])
    cells = x.double() * table.scale + table.mean
    assert sorted(set(cells[:, 1].round().tolist())) == [0, 1]
    assert cells[:, 2].min().round() == datetime.date(2024, 1, 1).toordinal() - datetime.date(1970, 1, 1).toordinal()
    assert (x[:, 4:8].sum(1) == 1).all()
    assert (x[:, 8:].sum(1) == 1).all()
    assert x[:, 3].sum() == 12
    filled = cells[x[:, 3] == 1, 0]
    assert torch.allclose(filled, filled[:1].expand(len(filled)))


def test_what_is_fitted_comes_back_from_json_and_from_a_pickle_to_the_bit(table: Table, people: Path) -> None:
    fitted = table.preprocessing
    for again in (
        Preprocessing.from_json(json.loads(json.dumps(fitted.as_json()))),
        pickle.loads(pickle.dumps(fitted)),  # noqa: S301
    ):
        assert again == fitted
        x, y = labelled(people, again)
        assert sorted(x.tolist()) == rows(table)
        assert y.bincount().tolist() == [28, 28, 28]


def test_the_rows_of_a_frame_are_those_of_the_file_in_any_order_of_columns(table: Table, people: Path) -> None:
    frame = pd.read_csv(people, dtype={"code": str})
    x = table.preprocessing.encode(frame)
    assert sorted(x.tolist()) == rows(table)
    assert torch.equal(table.preprocessing.encode(frame[list(reversed(frame.columns))].drop(columns="bought")), x)
    assert torch.equal(table.preprocessing.encode(pl.read_csv(people, schema_overrides={"code": pl.String})), x)
    nullable = frame.convert_dtypes()
    assert torch.equal(table.preprocessing.encode(nullable), x)
    assert torch.equal(table.preprocessing.encode(frame.assign(born=pd.to_datetime(frame["born"]))), x)
    assert torch.equal(table.preprocessing.encode(frame.assign(town=frame["town"].astype("category"))), x)


def test_a_table_may_be_a_frame(people: Path, table: Table) -> None:
    frame = pd.read_csv(people, dtype={"code": str})
    for given in (frame, frame.convert_dtypes(), pl.read_csv(people, schema_overrides={"code": pl.String})):
        result = bp.data.table(given, target="bought")
        assert result.preprocessing == table.preprocessing
        assert torch.equal(result.train[0], table.train[0])
    as_classes = bp.data.table(frame.assign(age=frame["age"].astype("category")), target="bought")
    assert "age=1" in as_classes.columns


@pytest.mark.parametrize("name", ["people.csv.gz", "people.parquet"])
def test_packed_files_and_parquet(tmp_path: Path, people: Path, table: Table, name: str) -> None:
    frame = pd.read_csv(people, dtype={"code": str})
    if name.endswith("parquet"):
        frame.to_parquet(tmp_path / name)
    else:
        frame.to_csv(tmp_path / name, index=False)
    result = bp.data.table(tmp_path / name, target="bought")
    assert result.preprocessing == table.preprocessing
    assert torch.equal(result.test[0], table.test[0])


def test_columns_are_left_out_and_named(tmp_path: Path) -> None:
    path = made(tmp_path, "a,nothing,name,t\n" + "".join(f"{k % 5},,n{k},{'xy'[k % 2]}\n" for k in range(60)))
    with pytest.warns(RuntimeWarning) as said:
        result = bp.data.table(path, target="t")
    assert result.columns == ("a",)
    assert result.preprocessing.left_out == ("nothing", "name")
    assert [str(each.message).removeprefix(f"{path}, ") for each in said] == [
        "column 'nothing' holds no cell: it is left out",
        "column 'name' names the rows, with more different texts than half of them: it is left out",
    ]
    assert bp.data.table(path, target="t", drop=["nothing", "name"]).columns == ("a",)
    assert bp.data.table(path, target="t", drop="nothing, name").columns == ("a",)
    with pytest.raises(ValueError, match=r"drop must name columns of .*, which has no 'nane': is it 'name'"):
        bp.data.table(path, target="t", drop="nane")
    with pytest.raises(ValueError, match="drop must list names of columns, not 3"):
        bp.data.table(path, target="t", drop=3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="a table must be the path of a file or a data frame, not ndarray"):
        bp.data.table(np.zeros((3, 2)), target="t")
    with pytest.raises(ValueError, match="drop must name other columns than 't', which is to be predicted"):
        bp.data.table(path, target="t", drop="t")


def test_an_index_that_pandas_wrote_is_left_out(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.arange(40) % 7, "t": list("xy") * 20}).sample(frac=1, random_state=0)
    frame.to_csv(tmp_path / "t.csv")
    with pytest.warns(RuntimeWarning, match="the first column has no name and no value twice: it is left out"):
        assert bp.data.table(tmp_path / "t.csv", target="t").columns == ("a",)
    frame.index = [1] * 40
    frame.to_csv(tmp_path / "t.csv")
    with pytest.raises(bp.DataError, match=r'column 1 of .* has no name: name it, or leave it out, drop="Unnamed: 0"'):
        bp.data.table(tmp_path / "t.csv", target="t")
    assert bp.data.table(tmp_path / "t.csv", target="t", drop="Unnamed: 0").columns == ("a",)


@pytest.mark.parametrize(("share", "count"), [(None, 16), (0.1, 8), (0.25, 20), (0.5, 40), (0.9, 72)])
def test_the_share_of_the_rows_to_test_on(tmp_path: Path, share: float | None, count: int) -> None:
    path = made(tmp_path, "a,t\n" + "".join(f"{k},{'xy'[k % 2]}\n" for k in range(80)))
    result = bp.data.table(path, target="t", test_share=share)
    assert result.test[1].bincount().tolist() == [count // 2] * 2
    with pytest.raises(ValueError, match="test_share must be a number above 0 and below 1, not 1"):
        bp.data.table(path, target="t", test_share=1)


def test_a_file_of_rows_to_test_on(tmp_path: Path, people: Path) -> None:
    other = made(
        tmp_path, "bought,code,born,smoker,town,age\nx,80331,2024-02-29,no,Ulm,\ny,01067,2024-01-01,yes,,3\n", "o.csv"
    )
    result = bp.data.table(people, target="bought", test_file=other)
    assert len(result.train[0]) == 84
    assert result.test[1].tolist() == [0, 1]
    assert result.test[0][:, 3].tolist() == [1, 0]
    for text, message in {
        "bought,town\nx,Ulm\n": r"lacks 'age', 'smoker', 'born' and 1 more, which the network was trained on",
        PEOPLE.replace(
            ",z\n", ",w\n"
        ): r"column 'bought' holds the class 'w' in line 3, and the rows to train on have x, y, z",
        PEOPLE.replace(",z\n", ",\n"): r"column 'bought' holds no class in line 3",
        re.sub(",[^,]*\n", "\n", PEOPLE): "lacks the column 'bought', which is to be predicted",
    }.items():
        with pytest.raises(bp.DataError, match=message):
            bp.data.table(people, target="bought", test_file=made(tmp_path, text, "o.csv"))
    with pytest.raises(ValueError, match="test_share and test_file both say which rows"):
        bp.data.table(people, target="bought", test_file=other, test_share=0.3)


DIFFERENT = {
    "Age,town,smoker,born,code\n1,Ulm,yes,2024-01-01,01067\n": "lacks 'age', which the network was trained on (is",
    "age,town,smoker,born,code\nold,Ulm,yes,2024-01-01,01067\n": "text in column 'age' (1 of 1 rows, 'old' in line 2)",
    "age,town,smoker,born,code\n1,Ulm,7,2024-01-01,01067\n": "column 'smoker' holds numbers (7 in line 2), and it held",
    "age,town,smoker,born,code\n1,Ulm,maybe,2024-01-01,01067\n": "column 'smoker' held truth values",
    "age,town,smoker,born,code\n1,Ulm,no,01.01.2024,01067\n": "column 'born' held dates such as 2024-01-31",
    "age,town,smoker,born,code\n1,Ulm,no,17,01067\n": "column 'born' holds numbers (17 in line 2), and it held dates",
    "age,town,smoker,born,code\n1e300,Ulm,no,2024-01-01,01067\n": "column 'age': the number in line 2 is too far from",
    "age,town,smoker,born,code\n": "holds no rows",
}


@pytest.mark.parametrize("text", DIFFERENT)
def test_rows_that_differ_from_the_fitted_ones_are_refused_by_name(tmp_path: Path, people: Path, text: str) -> None:
    other = made(tmp_path, text, "other.csv")
    with pytest.raises(bp.DataError, match=re.escape(DIFFERENT[text])):
        bp.data.table(people, target="bought", test_file=other)


def test_what_the_network_has_no_input_for_is_warned_of(table: Table) -> None:
    frame = pd.DataFrame(
        {"age": [1.0], "town": ["Rom"], "smoker": [None], "born": ["2024-01-01"], "code": ["80331"], "colour": ["red"]}
    )
    with pytest.warns(RuntimeWarning) as said:
        x = table.preprocessing.encode(frame)
    assert str(said[0].message) == (
        "the data frame: 'colour' was not in the training, and passed over; column 'town' holds 'Rom' (1 row), for "
        "which the network has no input; column 'smoker' lacks 1 cell, and lacked none when the network was trained"
    )
    assert said[0].filename == __file__
    assert x[0, 4:8].tolist() == [0, 0, 0, 0]


def test_of_very_many_categories_the_commonest_have_inputs(tmp_path: Path) -> None:
    texts = [f"t{k % 600}" for k in range(2000)]
    path = made(tmp_path, "a,b,t\n" + "".join(f"{k % 3},{text},{'xy'[k % 2]}\n" for k, text in enumerate(texts)))
    with pytest.warns(RuntimeWarning, match="column 'b': its 500 commonest texts have an input each, and the others"):
        assert len(bp.data.table(path, target="t").columns) == 501


def test_damaged_json_is_refused(table: Table) -> None:
    good = table.preprocessing.as_json()
    for bad in (
        {},
        good | {"features": [{"name": 3, "kind": "number"}]},
        good | {"features": [{"name": "a", "kind": "colour"}]},
        good | {"features": [{"name": "a", "kind": "number", "mean": float("nan")}]},
        good | {"features": [{"name": "a", "kind": "number", "other": 1}]},
        good | {"target": {"name": "t"}},
    ):
        with pytest.raises(ValueError, match="its preprocessing"):
            Preprocessing.from_json(bad)


def test_a_network_keeps_it_through_files_pickles_and_copies(table: Table, tmp_path: Path) -> None:
    net = bp.Network.create([10, 4, 3], cost="softmax_cross_entropy", preprocessing=table.preprocessing)
    bp.save(tmp_path / "net.safetensors", net)
    for again in (bp.load(tmp_path / "net.safetensors"), net.to(torch.float64), pickle.loads(pickle.dumps(net))):  # noqa: S301
        assert again.preprocessing == table.preprocessing
    assert bp.stack([net, net]).preprocessing == table.preprocessing
    assert table.preprocessing.decode(torch.tensor([2, 0])) == ["z", "x"]
    with pytest.raises(ValueError, match="the preprocessing makes 10 inputs, and the network has 4"):
        bp.Network.create([4, 3], preprocessing=table.preprocessing)


def test_values_come_back_in_their_own_unit(tmp_path: Path) -> None:
    path = made(tmp_path, "a,price\n" + "".join(f"{k},{1000 + 2.5 * k}\n" for k in range(40)))
    result = bp.data.table(path, target="price")
    values = result.preprocessing.decode(result.test[1])
    assert isinstance(values, torch.Tensor)
    assert torch.allclose(values[:, 0], 1000 + 2.5 * (result.test[0].double() * result.scale + result.mean)[:, 0])


def test_a_network_takes_frames_with_the_tables_columns(people: Path) -> None:
    frame = pd.read_csv(people, dtype={"code": str})
    table = bp.data.table(frame, target="bought")
    net = bp.Network.create([10, 8, 3], hidden="relu", cost="softmax_cross_entropy", preprocessing=table.preprocessing)
    list(bp.train(net, table.train, epochs=3))
    x = table.preprocessing.encode(frame)
    y = torch.tensor([table.classes.index(name) for name in frame["bought"]]) if table.classes else x
    assert torch.equal(net.predict(frame), net.predict(x))
    assert torch.equal(net.predict_proba(frame.drop(columns="bought")), net.forward(x).a[-1])
    assert net.accuracy(frame, y) == net.accuracy(x, y) == net.accuracy(frame, frame["bought"])
    assert net.cost(frame, pl.Series(frame["bought"].tolist())) == net.cost(x, y)
    with pytest.raises(
        bp.DataError, match="y, column 'bought' holds the class 'w' in row 0, and the rows to train on have"
    ):
        net.accuracy(frame, frame["bought"].replace("y", "w"))
    assert torch.equal(net.to(torch.float64).forward(frame).a[0], x.double())
    with pytest.raises(bp.DataError, match="the data frame lacks 'age', which the network was trained on"):
        net.predict(frame.drop(columns="age"))


def test_none_and_dashes_are_missing_among_numbers_and_texts_among_texts(tmp_path: Path) -> None:
    cells = ["None", "-", "--", "3", "4", "5"]
    path = made(tmp_path, "a,b,t\n" + "".join(f"{cells[k % 6]},{('-', 'red')[k % 2]},{k % 3}\n" for k in range(60)))
    result = bp.data.table(path, target="t")
    assert result.columns == ("a", "a missing", "b=-", "b=red")
    classes = bp.data.table(
        made(tmp_path, "a,t\n" + "".join(f"{k},{cells[k % 6]}\n" for k in range(60))), target="t"
    ).classes
    assert classes == ("-", "--", "3", "4", "5", "None")


def test_columns_without_a_name_and_a_cell_are_left_out(tmp_path: Path) -> None:
    path = made(tmp_path, "a,t,\n" + "".join(f"{k % 7},{'xy'[k % 2]},\n" for k in range(40)))
    with pytest.warns(RuntimeWarning, match="column 'Unnamed: 2' holds no cell: it is left out"):
        assert bp.data.table(path, target="t").columns == ("a",)


def test_categories_that_differ_only_in_case_are_warned_of(tmp_path: Path) -> None:
    path = made(tmp_path, "a,t\n" + "".join(f"{('red', 'Red', '{0}')[k % 3]},{'xy'[k % 2]}\n" for k in range(40)))
    with pytest.warns(RuntimeWarning, match="column 'a': 'Red', 'red' are categories of their own, though they differ"):
        bp.data.table(path, target="t")


ROWS = {
    "65+ among ages": (
        "age,t\n",
        lambda k: "65+" if k % 11 == 0 else 18 + k % 40,
        "'65+' in line 2): write the digits",
    ),
    "5 kg": ("w,t\n", lambda k: f"{k % 6} kg", "'0 kg' in line 2): write the digits alone"),
    "thousands": ("w,t\n", lambda k: f'"{k % 6 + 1},234"', "write 1234; with pandas"),
    "31.01.2024": ("d,t\n", lambda k: f"{k % 28 + 1:02}.01.2024", "write dates as 2024-01-31"),
    "times": ("d,t\n", lambda k: f"{k % 24:02}:30", 'and times as numbers, or leave it out, drop="d"'),
}


@pytest.mark.parametrize("what", ROWS)
def test_cells_that_may_mean_a_number_are_not_made_categories_in_silence(tmp_path: Path, what: str) -> None:
    header, cell, message = ROWS[what]
    path = made(tmp_path, header + "".join(f"{cell(k)},{'xy'[k % 2]}\n" for k in range(60)))
    with pytest.raises(bp.DataError, match=re.escape(message)):
        bp.data.table(path, target="t")


@pytest.mark.parametrize(
    "cells", [("1st", "2nd", "3rd"), ("18-25", "26-40", "41-65"), ("3A", "3B", "4A"), ("1", "A", "B")]
)
def test_names_with_digits_are_categories(tmp_path: Path, cells: tuple[str, ...]) -> None:
    path = made(tmp_path, "a,t\n" + "".join(f"{cells[k % 3]},{'xy'[k % 2]}\n" for k in range(60)))
    assert bp.data.table(path, target="t").columns == tuple(f"a={cell}" for cell in cells)


def test_a_network_is_trained_on_frames_as_on_tensors(people: Path) -> None:
    frame = pd.read_csv(people, dtype={"code": str})
    choices: list[tuple[str, dict[str, Any]]] = [
        ("bought", {"cost": "softmax_cross_entropy"}),
        ("age", {"output": "identity"}),
    ]
    for target, options in choices:
        rows = frame.dropna()
        table = bp.data.table(rows, target=target)
        x, y = table.preprocessing.encode(rows), table.preprocessing.encode_target(rows[target])
        sizes = [len(table.columns), 6, len(table.classes or "1")]
        nets = [bp.Network.create(sizes, preprocessing=table.preprocessing, **options) for _ in range(2)]
        for net, pair in zip(nets, ((rows, rows[target]), (x, y)), strict=True):
            *_, last = bp.train(net, pair, epochs=2, validation=pair)
            assert last.validation_cost == net.cost(*pair)
        assert torch.equal(nets[0].layers[0].w, nets[1].layers[0].w)


def test_names_and_rows_go_through_the_preprocessing_or_are_told_how() -> None:
    frame = pd.DataFrame({"a": [1.0, 2, 3, 4, 5, 6] * 3, "kind": ["x", "y", "z"] * 6})
    table = bp.data.table(frame, target="kind")
    net = bp.Network.create([1, 4, 3], cost="softmax_cross_entropy", preprocessing=table.preprocessing)
    some = frame[frame["kind"] != "x"]
    expected = net.accuracy(some, some["kind"])
    for names in (list(some["kind"]), np.array(some["kind"], object), np.array(list(some["kind"]))):
        assert net.accuracy(some, names) == expected
    with pytest.raises(bp.DataError, match="the class 'w'"):
        net.accuracy(some, ["w"] * len(some))
    rows: list[tuple[object, str]] = [
        ("cust.csv", r"pandas.read_csv\('cust.csv'\)"),
        (frame.iloc[0], r"frame.iloc\[\[0\]\]"),
        (frame.to_dict("records"), r"pandas.DataFrame\(x\)"),
        ({"a": 1}, r"pandas.DataFrame\(\[x\]\)"),
    ]
    for given, way in rows:
        with pytest.raises(ValueError, match=f"x must be a data frame .*: give {way}"):
            net.predict(given)  # pyright: ignore[reportArgumentType]


def test_codes_whose_zeros_were_lost_are_refused(tmp_path: Path) -> None:
    path = made(
        tmp_path, "zip,t\n" + "".join(f"{('01067', '80331', '04109')[k % 3]},{'xyz'[k % 3]}\n" for k in range(60))
    )
    table = bp.data.table(path, target="t")
    with pytest.raises(bp.DataError, match=r"'zip' holds numbers such as 1067.*'01067'.*dtype=\{\"zip\": str\}"):
        table.preprocessing.encode(pd.read_csv(path))
    assert table.preprocessing.encode(pd.read_csv(path, dtype={"zip": str})).sum() == 60


@pytest.mark.filterwarnings("ignore:.*the first column has no name")
@pytest.mark.parametrize("name", ["Unnamed: 0", ""])
def test_an_index_that_went_through_a_file_is_left_out_of_a_frame_too(name: str) -> None:
    frame = pd.DataFrame({name: range(40), "a": [k % 7 for k in range(40)], "kind": ["xy"[k % 2] for k in range(40)]})
    made_of = bp.data.table(frame, target="kind").preprocessing
    assert made_of.columns == ("a",)
    made_of = bp.data.table(frame[["a", "kind"]], target="kind").preprocessing
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made_of.encode(frame)


def test_a_network_has_an_output_for_each_class_of_its_preprocessing(table: Table) -> None:
    count, made_of = len(table.columns), table.preprocessing
    classes = len(made_of.classes or ())
    for outputs in (classes + 1, classes + 2):
        with pytest.raises(ValueError, match=f"of {classes} classes, and the network has {outputs} outputs"):
            bp.Network.create([count, outputs], preprocessing=made_of)


def test_a_table_is_shown_in_a_line(table: Table) -> None:
    assert repr(table).startswith("<Table: ")
    assert len(repr(table)) < 120


def test_what_is_no_name_of_a_column_is_told(tmp_path: Path) -> None:
    path = made(tmp_path, 'churn,"income, total",a\n' + "".join(f"{k % 2},{k % 5},{k % 3}\n" for k in range(30)))
    with pytest.raises(ValueError, match=r"target must be the name of a column, a text, not \['churn'\]"):
        bp.data.table(path, target=["churn"])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"no column 'chrun' \(is 'churn' meant\?\)"):
        bp.data.table(path, target="chrun")
    for drop in ("income, total", '"income, total"'):
        assert bp.data.table(path, target="churn", drop=drop).columns == ("a",)
    with pytest.raises(bp.DataError, match="is a spreadsheet: save it as CSV"):
        bp.data.table(tmp_path / "t.xlsx", target="a")

"""A table's target: what is taken for classes, and what is said where that may be a slip."""

from pathlib import Path

import pytest
import torch
from tablefiles import made, refusal

import bp_torch as bp


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        (["0", "1", "2"], ("0", "1", "2")),
        (["10", "9", "10.0"], ("9", "10")),
        (["-1", "1e0"], ("-1", "1")),
        (["0", "1", "A", "B"], ("0", "1", "A", "B")),
        (["yes", "no"], ("no", "yes")),
        (["0.5", "1.5"], None),
        ([f"{k}" for k in range(20)], tuple(map(str, range(20)))),
        ([f"{k}" for k in range(21)], None),
    ],
    ids=str,
)
def test_what_is_taken_for_classes(tmp_path: Path, cells: list[str], classes: tuple[str, ...] | None) -> None:
    text = "a,t\n" + "".join(f"{k},{cell}\n" for k, cell in enumerate(cells * 5))
    result = bp.data.table(made(tmp_path, text), target="t")
    assert result.classes == classes
    if classes:
        assert int(torch.cat([result.train[1], result.test[1]]).max()) == len(classes) - 1


def test_distinct_whole_numbers_that_never_repeat_are_values(tmp_path: Path) -> None:
    text = "a,t\n" + "".join(f"{k},{10 * k}\n" for k in range(8))
    assert bp.data.table(made(tmp_path, text), target="t").classes is None


@pytest.mark.parametrize("cells", [["<=50K", ">50K"], ["1st", "2nd", "3rd"], ["18-25", "26-40"], ["1.2.3", "1.2.4"]])
def test_names_with_digits_are_classes(tmp_path: Path, cells: list[str]) -> None:
    text = "a;t\n" + "".join(f"{k};{cell}\n" for k, cell in enumerate(cells * 5))
    assert bp.data.table(made(tmp_path, text), target="t").classes == tuple(sorted(cells))


def test_decimal_commas_are_classes_where_that_is_said(tmp_path: Path) -> None:
    path = made(tmp_path, "a;size\n" + "".join(f"{k};{k % 3},5\n" for k in range(9)))
    assert bp.data.table(path, target="size", task="classification").classes == ("0,5", "1,5", "2,5")


def test_a_column_of_distinct_texts_is_no_target(tmp_path: Path) -> None:
    """Each text would be a class and an output of the network: with many rows, more than memory holds."""
    path = made(tmp_path, "a,kind\n" + "".join(f"{k},id{k % 26}\n" for k in range(50)))
    assert "column 'kind' holds 26 different texts in 50 rows: an identifier can't be learned; choose another" in (
        refusal(path)
    )
    half = made(tmp_path, "a,kind\n" + "".join(f"{k},id{k % 25}\n" for k in range(50)))
    few = made(tmp_path, "a,kind\n" + "".join(f"{k},id{k}\n" for k in (*range(20), 0)), "few.csv")
    for path, count in ((half, 25), (few, 20)):
        classes = bp.data.table(path, target="kind").classes
        assert classes is not None
        assert len(classes) == count


def test_whole_numbers_beyond_float64_stay_different_classes(tmp_path: Path) -> None:
    """2**53 and 2**53 + 1 are one float64."""
    cells = [f"{2**53 + 1}", f"{2**53}", "0", f"+{2**53}", "-1e0", f"{10**30}"]
    path = made(tmp_path, "a,kind\n" + "".join(f"{k},{cell}\n" for k, cell in enumerate(cells * 5)))
    result = bp.data.table(path, target="kind")
    assert result.classes == ("-1", "0", f"{2**53}", f"{2**53 + 1}", f"{10**30}")
    assert torch.cat([result.train[1], result.test[1]]).bincount().tolist() == [5, 5, 10, 5, 5]
    words = refusal(made(tmp_path, "a,kind\n" + 3 * f"1,{2**53 + 1}.0\n2,{2**53}\n"))
    assert f"column 'kind' holds '{2**53 + 1}.0': write a whole number this large as digits" in words


@pytest.mark.parametrize("task", [None, "classification"])
@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        (["01", "1", "002"], ("002", "01", "1")),
        (["007", "12"], ("007", "12")),
        (["-01", "00", "+01"], ("+01", "-01", "00")),
        (["01067", "80331", "20095", "A1"], ("01067", "20095", "80331", "A1")),
        ([f"{k:05}" for k in range(30)], tuple(f"{k:05}" for k in range(30))),
        (["0", "10", "2.0"], ("0", "2", "10")),
    ],
    ids=lambda value: ",".join(value or ("auto",))[:30],
)
def test_codes_keep_their_zeros(tmp_path: Path, cells: list[str], classes: tuple[str, ...], task: str | None) -> None:
    path = made(tmp_path, "a,t\n" + "".join(f"{k},{cell}\n" for k, cell in enumerate(cells * 5)))
    assert bp.data.table(path, target="t", task=task).classes == classes


def test_a_padded_number_among_decimals_is_a_value(tmp_path: Path) -> None:
    path = made(tmp_path, "a,t\n" + "".join(f"{k},{cell}\n" for k, cell in enumerate(["00", "0.5", "01.25"] * 5)))
    assert bp.data.table(path, target="t").classes is None


ROOMS = [str(k % 14 + 1) for k in range(70)]


def test_whole_numbers_are_values_where_that_is_said(tmp_path: Path) -> None:
    path = made(tmp_path, "a,rooms\n" + "".join(f"{k},{rooms}\n" for k, rooms in enumerate(ROOMS)))
    assert len(bp.data.table(path, target="rooms").classes or ()) == 14
    result = bp.data.table(path, target="rooms", task="regression")
    assert result.classes is None
    y = torch.cat([result.train[1], result.test[1]]).double() * result.target_scale + result.target_mean
    assert sorted(y.flatten().round(decimals=4).tolist()) == sorted(map(float, ROOMS))
    padded = made(tmp_path, "a,t\n" + "".join(f"{k},0{k % 5}\n" for k in range(20)))
    assert bp.data.table(padded, target="t", task="regression").classes is None


def test_numbers_are_classes_where_that_is_said(tmp_path: Path) -> None:
    cells = ["0.5", "0.50", "1e1", "-3", "10"] * 5
    path = made(tmp_path, "a,t\n" + "".join(f"{k},{cell}\n" for k, cell in enumerate(cells)))
    assert bp.data.table(path, target="t").classes is None
    assert bp.data.table(path, target="t", task="classification").classes == ("-3", "0.5", "10")
    many = made(tmp_path, "a,t\n" + "".join(f"{k},{k % 25}\n" for k in range(100)))
    assert bp.data.table(many, target="t").classes is None
    assert bp.data.table(many, target="t", task="classification").classes == tuple(map(str, range(25)))


CONTRADICTIONS = {
    ("regression", "x y z w"): "holds text in column 't' (20 of 20 rows, 'x' in line 2): correct them, or leave out",
    ("regression", "1 2 x 3"): "holds text in column 't' (5 of 20 rows, 'x' in line 4): correct them, or leave out",
    ("regression", "1,5 2,5 2 3"): "holds decimal commas in column 't' (10 of 20 rows, '1,5' in line 2): write 1.5",
    ("regression", "5 5 5 5"): "column 't': the rows to train on hold one value only",
    ("classification", "1 1.0 1e0 1"): "column 't' holds one value only",
}


@pytest.mark.parametrize(("task", "cells"), CONTRADICTIONS)
def test_a_task_that_contradicts_the_cells_is_one_sentence(tmp_path: Path, task: str, cells: str) -> None:
    path = made(tmp_path, "a;t\n" + "".join(f"{k};{cell}\n" for k, cell in enumerate(cells.split() * 5)))
    with pytest.raises(bp.DataError) as caught:
        bp.data.table(path, target="t", task=task)
    assert CONTRADICTIONS[task, cells] in str(caught.value)
    if "in column" in str(caught.value):
        assert str(caught.value).endswith('; leave task="regression" away for classes')


def test_values_of_their_own_are_no_classes_and_an_unknown_task_is_named(tmp_path: Path) -> None:
    path = made(tmp_path, "a,t\n" + "".join(f"{k},{k / 7}\n" for k in range(50)))
    words = (
        "holds 50 different codes in 50 rows: an identifier can't be learned; choose another column, or say that they"
    )
    with pytest.raises(bp.DataError, match=words):
        bp.data.table(path, target="t", task="classification")
    with pytest.raises(ValueError, match="unknown task 'ranking': choose one of classification, regression"):
        bp.data.table(path, target="t", task="ranking")
    with pytest.raises(ValueError, match=r'task="regression" is for a table, FILE.csv: leave it away'):
        bp.data.load("digits", "train", task="regression")


@pytest.mark.parametrize(
    ("cells", "named"),
    [
        (["yes", "YES ", "Yes", "no"], "'YES', 'Yes', 'yes' are"),
        (["New York", "New  York", "Rome"], "'New  York', 'New York' are"),
        (["caf\u00e9", "cafe\u0301", "bar"], "'cafe\u0301', 'caf\u00e9' are"),
        (["a", "A", "b", "B", "c", "C"], "'A', 'a', and 2 more such groups are"),
        (["a", "A", "b", "B"], "'A', 'a', and 1 more such group are"),
    ],
    ids=["case", "spaces", "encoding", "several", "two"],
)
def test_classes_that_differ_only_in_case_or_spaces_are_warned_of(tmp_path: Path, cells: list[str], named: str) -> None:
    """They stay classes of their own."""
    path = made(tmp_path, "a,t\n" + "".join(f"{k},{cell}\n" for k, cell in enumerate(cells * 5)))
    with pytest.warns(RuntimeWarning) as caught:
        classes = bp.data.table(path, target="t").classes
    assert classes == tuple(sorted(cell.strip() for cell in cells))
    assert [str(warning.message) for warning in caught] == [
        f"{path}, column 't': {named} classes of their own, though they differ only in case, spaces or encoding: write "
        "them alike if they are one"
    ]
    assert caught[0].filename == __file__

"""Tables: what is read, what the cells become, and which rows are tested on."""

import math
import re
import tracemalloc
import warnings
from importlib import import_module
from pathlib import Path

import pytest
import torch
from tablefiles import made, refusal

import bp_torch as bp


def flowers(rows: int = 30, separator: str = ",", end: str = "\n") -> str:
    """Two features, 10·k and k², and one of three kinds."""
    lines = [f"length{separator}area{separator}kind"]
    lines += [f"{10 * k}{separator}{k * k}{separator}{('iris', 'aster', 'rose')[k % 3]}" for k in range(rows)]
    return end.join(lines) + end


def test_strings_in_the_target_become_sorted_classes(tmp_path: Path) -> None:
    result = bp.data.table(made(tmp_path, flowers()), target="kind")
    classes = result.classes
    assert classes is not None
    assert classes == ("aster", "iris", "rose")
    assert result.columns == ("length", "area")
    (x, y), (x_test, y_test) = result.train, result.test
    assert (x.shape, x_test.shape, x.dtype, y.dtype) == ((24, 2), (6, 2), torch.float32, torch.int64)
    rows = (torch.cat([x, x_test]).double() * result.scale + result.mean).round().long()
    for (length, area), label in zip(rows.tolist(), torch.cat([y, y_test]).tolist(), strict=True):
        assert area == (length // 10) ** 2
        assert classes[label] == ("iris", "aster", "rose")[length // 10 % 3]
    assert sorted(rows[:, 0].tolist()) == [10 * k for k in range(30)]
    assert y_test.bincount().tolist() == [2, 2, 2]


def test_features_are_standardised_by_the_training_part_alone(tmp_path: Path) -> None:
    text = "a,b,constant,kind\n" + "".join(f"{2 * k},{math.exp(k / 10)},7,{'xy'[k % 2]}\n" for k in range(50))
    with pytest.warns(RuntimeWarning, match="column 'constant' tells nothing, with one value in all rows to train on"):
        result = bp.data.table(made(tmp_path, text), target="kind")
    x, x_test = result.train[0], result.test[0]
    assert x[:, :2].mean(0).abs().max() < 1e-6
    assert x[:, :2].std(0, correction=0).tolist() == pytest.approx([1, 1], abs=1e-6)
    assert x_test[:, :2].mean(0).abs().min() > 1e-3
    assert not x[:, 2].any()
    assert not x_test[:, 2].any()


def test_the_split_depends_on_the_seed_alone(tmp_path: Path) -> None:
    path = made(tmp_path, flowers())
    first, again, other = (bp.data.table(path, target="kind", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.test[0], again.test[0])
    assert torch.equal(first.train[0], again.train[0])
    assert sorted((other.test[0] * other.scale + other.mean)[:, 0].tolist()) != pytest.approx(
        sorted((first.test[0] * first.scale + first.mean)[:, 0].tolist())
    )


def test_a_real_valued_target_is_standardised_and_can_be_read_back(tmp_path: Path) -> None:
    text = "a,price\n" + "".join(f"{k},{1000 + 2.5 * k}\n" for k in range(40))
    result = bp.data.table(made(tmp_path, text), target="price")
    x, y = result.train
    assert result.classes is None
    assert (y.shape, y.dtype) == ((32, 1), torch.float32)
    assert y.mean().abs() < 1e-6
    a, price = x.double() * result.scale + result.mean, y.double() * result.target_scale + result.target_mean
    assert torch.allclose(price, 1000 + 2.5 * a)


@pytest.mark.parametrize("separator", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["", "BOM"])
def test_dialects(tmp_path: Path, separator: str, end: str, mark: str) -> None:
    expected = bp.data.table(made(tmp_path, flowers(), "plain.csv"), target="kind")
    result = bp.data.table(made(tmp_path, mark + flowers(30, separator, end)), target="kind")
    assert torch.equal(result.train[0], expected.train[0])
    assert result.columns == expected.columns


def test_quotes_spaces_and_blank_lines(tmp_path: Path) -> None:
    text = '"a, in m", kind \n 1 ,"x, y"\n\n2,"x, y"\n3," z "\n\n4,z\n'
    result = bp.data.table(made(tmp_path, text), target="kind")
    assert result.classes == ("x, y", "z")
    assert result.columns == ("a, in m",)


REFUSED = {
    "empty": ("", "is empty"),
    "blank": ("\n\n", "is empty"),
    "header only": ("a,kind\n", "holds 0 rows"),
    "two rows": ("a,kind\n1,x\n2,y\n", "holds 2 rows"),
    "no header": ("1,2\n3,4\n5,6\n", "put a header line with the columns' names there"),
    "unnamed column": (",a,kind\n0,1,x\n", "column 1 of"),
    "two columns of one name": ("a,a,kind\n0,1,x\n", "2 columns named 'a'"),
    "target only": ("kind\nx\ny\nx\n", "has no column but 'kind'"),
    "open quote": ('a,kind\n"1,x\n2,y\n', "is not a CSV table"),
    "text after a quote": ('a,kind\n"1"2,x\n', "is not a CSV table"),
    "not UTF-8": (b"a,kind\n1,\xff\n", "is not UTF-8 text"),
    "UTF-16": ("a,kind\n1,x\n".encode("utf-16"), "is not UTF-8 text"),
    "NUL": ("a,kind\n1,\0\n2,x\n3,x\n", "NUL characters"),
    "one class": ("a,kind\n1,x\n2,x\n3,x\n", "one value only"),
    "one number": ("a,kind\n1,5\n2,5\n3,5\n", "one value only"),
    "numbers too large": ("a,kind\n" + 9 * "1.7e308,x\n" + 5 * "-1.7e308,y\n", "numbers too large"),
    "numbers too small": ("a,kind\n0,x\n5e-324,y\n0,x\n5e-324,y\n", "numbers too small"),
    "one class, written in two ways": ("a,kind\n1,1\n2,1.0\n3,1e0\n", "one value only"),
    "no class of two rows": ("a,kind\n1,x\n2,y\n3,z\n", "no class has two rows, one of them to test on: add rows"),
    "a huge cell": ("a,kind\n" + "1" * 200_000 + ",x\n", "is not a CSV table"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_csv_fault_names_the_file(tmp_path: Path, fault: str) -> None:
    text, message = REFUSED[fault]
    assert message in refusal(made(tmp_path, text))


def test_missing_file_and_bad_arguments(tmp_path: Path) -> None:
    assert "there is no file" in refusal(tmp_path / "none.csv")
    assert "there is no file" in refusal(tmp_path)
    path = made(tmp_path, flowers())
    with pytest.raises(ValueError, match="has no column 'colour': its columns are length, area, kind"):
        bp.data.table(path, target="colour")
    with pytest.raises(ValueError, match="seed must be a whole number"):
        bp.data.table(path, target="kind", seed=-1)


@pytest.mark.parametrize("first", ["0,0.0,yes", "5.1,3.5,setosa", "1,1,yes", ",1,2"])
def test_a_header_that_looks_like_cells_is_asked_about(tmp_path: Path, first: str) -> None:
    path = made(tmp_path, first + "\n" + flowers().split("\n", 1)[1])
    with pytest.raises((ValueError, bp.DataError)) as caught:
        bp.data.table(path, target="kind")
    assert str(caught.value).endswith(" (does the file lack its header line?)")


def test_a_header_of_names_is_not_asked_about(tmp_path: Path) -> None:
    for text in ("Na,2020,kind\n", "a,a,kind\n"):
        with pytest.raises((ValueError, bp.DataError)) as caught:
            bp.data.table(made(tmp_path, text + "1,2,x\n"), target="sort")
        assert "header line" not in str(caught.value)


def test_a_line_without_end_is_refused_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("bp_torch.data.cells"), "LONGEST_LINE", 1 << 16)
    path = made(tmp_path, b"a" * (1 << 25))
    tracemalloc.start()
    words = refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "has a line of over 65,536 characters" in words
    assert peak < 1 << 20


def test_a_header_of_many_names_is_checked_in_one_pass(tmp_path: Path) -> None:
    """Counting each name anew would take minutes."""
    names = [f"c{k}" for k in range(100_000)]
    assert "2 columns named 'c7'" in refusal(made(tmp_path, ",".join([*names, "c7", "kind"])))


QUOTED_HEADERS = {
    '"size (cm; ft; in)",y': "size (cm; ft; in)",
    ' "size, cm, ft";y': "size, cm, ft",
    '"a ""b;c;d"" e",y': 'a "b;c;d" e',
    '"size\n(cm; ft)";y': "size\n(cm; ft)",
    '"a,b,c"\ty': "a,b,c",
    'size 5";y': 'size 5"',
}


@pytest.mark.parametrize("header", QUOTED_HEADERS, ids=repr)
@pytest.mark.parametrize("before", ["", "\n", " \n\r\n"], ids=repr)
def test_what_is_quoted_in_the_header_separates_nothing(tmp_path: Path, header: str, before: str) -> None:
    separator = header[-2]
    text = before + header + "\n" + "".join(f"{k}{separator}{'uv'[k % 2]}\n" for k in range(6))
    result = bp.data.table(made(tmp_path, text), target="y")
    assert (result.columns, result.classes) == ((QUOTED_HEADERS[header],), ("u", "v"))
    turned = before + f"y{separator}{header[:-2].lstrip()}\n"
    turned += "".join(f"{'uv'[k % 2]}{separator}{k}\n" for k in range(6))
    assert bp.data.table(made(tmp_path, turned), target="y").columns == result.columns


def test_lines_of_spaces_are_passed_over_and_counted(tmp_path: Path) -> None:
    rows = "1,u\n2,v\n3,u\n"
    expected = bp.data.table(made(tmp_path, "a,kind\n" + rows, "plain.csv"), target="kind")
    result = bp.data.table(made(tmp_path, "\ufeff\n  \na,kind\n \n" + rows + "   \n \t"), target="kind")
    assert torch.equal(result.train[0], expected.train[0])
    words = refusal(made(tmp_path, "\n  \na,kind\n1,u\n \n2,\n"))
    assert "missing cells in column 'kind' (1 of 2 rows, the first in line 6)" in words


@pytest.mark.parametrize("separator", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
def test_a_space_before_a_quote(tmp_path: Path, separator: str) -> None:
    """It belongs to a cell between tabs, and then so do the quotes."""
    text = f'a{separator} "kind"\n' + "".join(f'{k}{separator} "{"uv"[k % 2]}"\n' for k in range(6))
    tabs = separator == "\t"
    result = bp.data.table(made(tmp_path, text), target='"kind"' if tabs else "kind")
    assert result.classes == (('"u"', '"v"') if tabs else ("u", "v"))


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    assert "can't be read: File name too long" in refusal(tmp_path / f"{'n' * 300}.csv")


@pytest.mark.parametrize("name", ["table.npz", "table.pt"])
def test_a_file_of_another_format_is_refused_and_csv_named(tmp_path: Path, name: str) -> None:
    """torch.save's pickle, and the zip of numpy.savez: neither is opened as what it is."""
    torch.save({"x": torch.ones(3)}, tmp_path / name)
    words = refusal(tmp_path / name)
    assert "save it as CSV in UTF-8" in words


@pytest.mark.parametrize("size", [1e200, 1e-200, 1e300, 1e-290, 1.0])
def test_cells_of_any_size_are_scaled_right(tmp_path: Path, size: float) -> None:
    """Features and a real-valued target; their squares would overflow, or vanish."""
    rows = "".join(f"{2 * k * size!r},{(3 * k + 1) * size!r},{k / 2}\n" for k in range(50))
    result = bp.data.table(made(tmp_path, "a,b,t\n" + rows), target="b")
    x, y = result.train
    for column in (x[:, 0], y[:, 0]):
        assert column.mean().abs() < 1e-6
        assert column.std(correction=0) == pytest.approx(1, abs=1e-6)
    assert torch.allclose(x[:, 0], x[:, 1], atol=1e-6)
    k = x[:, 1].double() * result.scale[1] + result.mean[1]
    assert torch.allclose((y[:, 0].double() * result.target_scale + result.target_mean) / size, 6 * k + 1)


def test_a_cell_of_the_test_part_too_far_off_to_compute_with_is_named(tmp_path: Path) -> None:
    """Scaled by the training part it would be infinite; which part a row is in, its owner can't know."""
    for column, target in (("a", "t"), ("t", "t")):
        refused = set()
        for row in range(20):
            cells = {"a": [str(k / 7) for k in range(20)], "t": [str(k / 3) for k in range(20)]}
            cells[column][row] = "1e200"
            text = "a,t\n" + "".join(f"{a},{t}\n" for a, t in zip(*cells.values(), strict=True))
            words = rf"column {column!r}: 1e\+200 in line {row + 2} is (so|too) far"
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    bp.data.table(made(tmp_path, text), target=target)
                except bp.DataError as error:
                    refused.add(row)
                    assert re.search(f"{words} from the others to compute with: correct it$", str(error))  # noqa: PT017
                else:
                    assert re.search(words, str(caught[0].message))
        assert len(refused) == 4


def test_a_header_whose_cells_nothing_separates_is_told_what_does(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"its columns are a\|t; cells are to be separated by commas, semicolons or tabs"
    ):
        bp.data.table(made(tmp_path, "a|t\n1|x\n2|y\n"), target="t")


def test_a_cell_so_far_off_that_the_others_become_one_value_is_warned_of(tmp_path: Path) -> None:
    cells = [str(k) for k in range(30)]
    cells[7] = "1e200"
    path = made(tmp_path, "a,b,t\n" + "".join(f"{2 * k},{cell},{'xy'[k % 2]}\n" for k, cell in enumerate(cells)))
    with pytest.warns(RuntimeWarning, match=r"column 'b': 1e\+200 in line 9 is so far off that the other cells become"):
        assert bp.data.table(path, target="t").scale.isfinite().all()
    path = made(tmp_path, "a,b\n" + "".join(f"{k},{cell}\n" for k, cell in enumerate(cells)))
    with pytest.warns(RuntimeWarning, match=r"column 'b': 1e\+200 in line 9 is so far off"):
        bp.data.table(path, target="b")


def test_a_rare_one_among_zeros_is_not_far_off(tmp_path: Path) -> None:
    cells = ["0"] * 60
    cells[0] = cells[1] = "1"
    path = made(tmp_path, "a,t\n" + "".join(f"{cell},{'xy'[k % 2]}\n" for k, cell in enumerate(cells)))
    assert bp.data.table(path, target="t").columns == ("a",)


@pytest.mark.parametrize("first", [0, 1])
def test_a_column_that_only_numbers_the_rows_is_warned_of(tmp_path: Path, first: int) -> None:
    rows = [f"{k + first},{k * k},{'xy'[k % 2]}\n" for k in range(9)]
    path = made(tmp_path, "id,area,kind\n" + "".join(rows))
    with pytest.warns(RuntimeWarning, match="column 'id' only numbers the rows: leave it out"):
        bp.data.table(path, target="kind")
    bp.data.table(made(tmp_path, "id,area,kind\n" + "".join(reversed(rows))), target="kind")
    alone = "".join(f"{k + first},{'xy'[k % 2]}\n" for k in range(9))
    bp.data.table(made(tmp_path, "month,kind\n" + alone), target="kind")


@pytest.mark.parametrize("kinds", ["xyx", "xxxxy", "xxyyz", "xyxyxyxyxyz", "abcdefgha", "xxxxxxxxxy"])
@pytest.mark.parametrize("seed", range(12))
def test_training_sees_every_class_whatever_the_seed(tmp_path: Path, kinds: str, seed: int) -> None:
    """A class's only row is trained on; a row to test on comes from a class of more."""
    path = made(tmp_path, "a,kind\n" + "".join(f"{k},{kind}\n" for k, kind in enumerate(kinds)))
    result = bp.data.table(path, target="kind", seed=seed)
    assert result.train[1].unique().tolist() == list(range(len(set(kinds))))
    assert 1 <= len(result.test[1]) <= 1 + len(kinds) // 5


def test_the_names_of_many_columns_are_shown_in_bounded_length(tmp_path: Path) -> None:
    path = made(tmp_path, ",".join([*(f"column{k}" for k in range(5000)), "kind"]) + "\n")
    with pytest.raises(ValueError, match="its columns are column0, column1, ") as caught:
        bp.data.table(path, target="colour")
    assert len(str(caught.value)) < 700

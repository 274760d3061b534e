"""Tables: what the cells become, what is taken for classes, and how bad cells are named."""

import math
import tracemalloc
from importlib import import_module
from pathlib import Path

import pytest
import torch

import bp_torch as bp


def made(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def flowers(rows: int = 30, separator: str = ",", end: str = "\n") -> str:
    """Two features, 10·k and k², and one of three kinds."""
    lines = [f"length{separator}area{separator}kind"]
    lines += [f"{10 * k}{separator}{k * k}{separator}{('iris', 'aster', 'rose')[k % 3]}" for k in range(rows)]
    return end.join(lines) + end


def refusal(path: Path, target: str = "kind") -> str:
    with pytest.raises(bp.DataError) as caught:
        bp.data.table(path, target=target)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


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
    text = "a,b,constant,kind\n" + "".join(f"{k},{math.exp(k / 10)},7,{'xy'[k % 2]}\n" for k in range(50))
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


def test_a_real_valued_target_is_standardised_and_can_be_read_back(tmp_path: Path) -> None:
    text = "a,price\n" + "".join(f"{k},{1000 + 2.5 * k}\n" for k in range(40))
    result = bp.data.table(made(tmp_path, text), target="price")
    x, y = result.train
    assert result.classes is None
    assert (y.shape, y.dtype) == ((32, 1), torch.float32)
    assert y.mean().abs() < 1e-6
    a, price = x.double() * result.scale + result.mean, y.double() * result.target_scale + result.target_mean
    assert torch.allclose(price, 1000 + 2.5 * a)


def test_distinct_whole_numbers_that_never_repeat_are_values(tmp_path: Path) -> None:
    text = "a,t\n" + "".join(f"{k},{10 * k}\n" for k in range(8))
    assert bp.data.table(made(tmp_path, text), target="t").classes is None


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


BAD_CELLS = [
    ("10,,iris", "row 2 (line 4), column 'area' is missing"),
    (" ,4,iris", "row 2 (line 4), column 'length' is missing"),
    ("10,?,iris", "row 2 (line 4), column 'area' is missing"),
    ("10,NaN,iris", "row 2 (line 4), column 'area' is missing"),
    ("10,4,", "row 2 (line 4), column 'kind' is missing"),
    ("10,4,NA", "row 2 (line 4), column 'kind' is missing"),
    ("1O,4,iris", "row 2 (line 4), column 'length' holds '1O', which is not a finite number"),
    ("10,inf,iris", "row 2 (line 4), column 'area' holds 'inf', which is not a finite number"),
    ("10,1e999,iris", "row 2 (line 4), column 'area' holds '1e999', which is not a finite number"),
    ("1_0,4,iris", "row 2 (line 4), column 'length' holds '1_0', which is not a finite number"),
    ("10,iris", "row 2 (line 4) has 2 cells, and the header 3"),
    ("10,4,iris,", "row 2 (line 4) has 4 cells, and the header 3"),
]


@pytest.mark.parametrize(("row", "message"), BAD_CELLS, ids=[row for row, _ in BAD_CELLS])
def test_missing_and_non_numeric_cells_are_named_by_row_and_column(tmp_path: Path, row: str, message: str) -> None:
    """The bad row is the second below the header, and line 4 of the file after a blank line."""
    text = f"length,area,kind\n0,0,rose\n\n{row}\n20,4,iris\n30,9,iris\n"
    assert message in refusal(made(tmp_path, text))


def test_many_bad_cells_are_counted(tmp_path: Path) -> None:
    text = "length,area,kind\n" + 4 * "x,,rose\n"
    words = refusal(made(tmp_path, text))
    assert "row 3 (line 4), column 'length' holds 'x', which is not a finite number; and 3 more." in words


@pytest.mark.parametrize("slip", ["inf", "1_0", "1e999"])
def test_a_slip_among_whole_numbers_is_no_class(tmp_path: Path, slip: str) -> None:
    text = f"a,t\n1,0\n2,1\n3,{slip}\n4,0\n"
    assert f"row 3 (line 4), column 't' holds '{slip}'" in refusal(made(tmp_path, text), "t")


def test_a_slip_in_a_real_valued_target_is_no_class(tmp_path: Path) -> None:
    text = "a,t\n" + "".join(f"{k},{k / 7}\n" for k in range(30)) + "30,4,2\n".replace("4,2", "4.2.")
    assert "row 31 (line 32), column 't' holds '4.2.', which is not a finite number" in refusal(
        made(tmp_path, text), "t"
    )


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
    "numbers too large": ("a,kind\n1e308,x\n-1e308,y\n1e308,x\n-1e308,y\n", "numbers too large"),
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


def test_a_line_without_end_is_refused_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("bp_torch.data.table"), "LONGEST_LINE", 1 << 16)
    path = made(tmp_path, b"a" * (1 << 25))
    tracemalloc.start()
    words = refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "has a line of over 65,536 characters" in words
    assert peak < 1 << 20


def test_a_column_of_distinct_texts_is_no_target(tmp_path: Path) -> None:
    """Each text would be a class and an output of the network: with many rows, more than memory holds."""
    path = made(tmp_path, "a,kind\n" + "".join(f"{k},id{k % 26}\n" for k in range(50)))
    assert "column 'kind' holds 26 different texts in 50 rows: an identifier can't be learned; choose another" in (
        refusal(path)
    )
    half = made(tmp_path, "a,kind\n" + "".join(f"{k},id{k % 25}\n" for k in range(50)))
    few = made(tmp_path, "a,kind\n" + "".join(f"{k},id{k}\n" for k in range(20)), "few.csv")
    for path, count in ((half, 25), (few, 20)):
        classes = bp.data.table(path, target="kind").classes
        assert classes is not None
        assert len(classes) == count


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
    words = refusal(made(tmp_path, "\n  \na,kind\n1,u\n \n,v\n"))
    assert "row 2 (line 6), column 'a' is missing" in words


@pytest.mark.parametrize("separator", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
def test_a_space_before_a_quote(tmp_path: Path, separator: str) -> None:
    """It belongs to a cell between tabs, and then so do the quotes."""
    text = f'a{separator} "kind"\n' + "".join(f'{k}{separator} "{"uv"[k % 2]}"\n' for k in range(6))
    tabs = separator == "\t"
    result = bp.data.table(made(tmp_path, text), target='"kind"' if tabs else "kind")
    assert result.classes == (('"u"', '"v"') if tabs else ("u", "v"))


def test_whole_numbers_beyond_float64_stay_different_classes(tmp_path: Path) -> None:
    """2**53 and 2**53 + 1 are one float64."""
    cells = [f"{2**53 + 1}", f"{2**53}", "0", f"+{2**53}", "-1e0", f"{10**30}"]
    path = made(tmp_path, "a,kind\n" + "".join(f"{k},{cell}\n" for k, cell in enumerate(cells * 5)))
    result = bp.data.table(path, target="kind")
    assert result.classes == ("-1", "0", f"{2**53}", f"{2**53 + 1}", f"{10**30}")
    assert torch.cat([result.train[1], result.test[1]]).bincount().tolist() == [5, 5, 10, 5, 5]
    words = refusal(made(tmp_path, "a,kind\n" + 3 * f"1,{2**53 + 1}.0\n2,{2**53}\n"))
    assert f"column 'kind' holds '{2**53 + 1}.0': write a whole number this large as digits" in words


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    assert "can't be read: File name too long" in refusal(tmp_path / f"{'n' * 300}.csv")


@pytest.mark.parametrize("name", ["table.npz", "table.pt"])
def test_a_file_of_another_format_is_refused_and_csv_named(tmp_path: Path, name: str) -> None:
    """torch.save's pickle, and the zip of numpy.savez: neither is opened as what it is."""
    torch.save({"x": torch.ones(3)}, tmp_path / name)
    words = refusal(tmp_path / name)
    assert "save it as CSV in UTF-8" in words

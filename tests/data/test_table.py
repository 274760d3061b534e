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


BAD_CELLS = {
    "10,,iris": "holds missing cells in column 'area' (1 of 4 rows, the first in line 4): fill them, or leave out",
    " ,4,iris": "holds missing cells in column 'length' (1 of 4 rows, the first in line 4)",
    "10,?,iris": "holds missing cells in column 'area' (1 of 4 rows, the first in line 4)",
    "10,NaN,iris": "holds missing cells in column 'area' (1 of 4 rows, the first in line 4)",
    "10,4,": "holds missing cells in column 'kind' (1 of 4 rows, the first in line 4)",
    "10,4,NA": "holds missing cells in column 'kind' (1 of 4 rows, the first in line 4)",
    "1O,4,iris": "in column 'length' (1 of 4 rows, '1O' in line 4): write the digits alone",
    "10,inf,iris": "holds numbers that are not finite in column 'area' (1 of 4 rows, 'inf' in line 4): correct them",
    "10,1e999,iris": "holds numbers that are not finite in column 'area' (1 of 4 rows, '1e999' in line 4): correct",
    "1_0,4,iris": "in column 'length' (1 of 4 rows, '1_0' in line 4): write the digits alone",
    "10,wide,iris": "holds text in column 'area' (1 of 4 rows, 'wide' in line 4): correct them, or leave out",
    "10,iris": "row 2 (line 4) has 2 cells, and the header 3: correct the row",
    "10,4,iris,": "row 2 (line 4) has 4 cells, and the header 3: correct the row (a ',' within a cell needs quotes",
}


@pytest.mark.parametrize("row", BAD_CELLS)
def test_missing_and_non_numeric_cells_are_named_by_column_and_line(tmp_path: Path, row: str) -> None:
    """The bad row is the second below the header, and line 4 of the file after a blank line."""
    text = f"length,area,kind\n0,0,rose\n\n{row}\n20,4,iris\n30,9,iris\n"
    assert BAD_CELLS[row] in refusal(made(tmp_path, text))


def test_bad_cells_are_told_by_column_with_a_count_an_example_and_what_to_do(tmp_path: Path) -> None:
    rows = [f"2024-01-{k % 28 + 1:02},{'' if k % 3 else k},{('Ulm', 'Bonn')[k % 2]},{k},iris\n" for k in range(9300)]
    words = refusal(made(tmp_path, "day,size,town,area,kind\n" + "".join(rows)))
    assert words.split(" holds ")[1].split("; ") == [
        "dates or times in column 'day' (9,300 of 9,300 rows, '2024-01-01' in line 2): leave the column out, or write "
        "numbers, the days since a first one, say",
        "text in column 'town' (9,300 of 9,300 rows, 'Ulm' in line 2): leave the column out, or write a column of 0 "
        "and 1 for each text, as pandas.get_dummies(rows) makes them",
        "missing cells in column 'size' (6,200 of 9,300 rows, the first in line 3): leave the column out, or fill them",
    ]


@pytest.mark.parametrize("cell", ["", "text", "1,5", "2024-01-05", "5 kg", "inf", "x" * 9000, "9" * 9000])
def test_many_bad_columns_are_counted_in_a_message_of_bounded_length(tmp_path: Path, cell: str) -> None:
    names = [f"column {k} of a name {'which is long ' * 20}" for k in range(500)]
    rows = (";".join([*(cell for _ in names), kind]) for kind in "xyx")
    words = refusal(made(tmp_path, "\n".join([";".join([*names, "kind"]), *rows])))
    assert "column 'column 2 of a name which is long which …' (3 of 3 rows, " in words
    assert " and 497 columns more: " in words
    assert len(words) < 900


def test_every_kind_of_bad_cell_at_once_stays_within_bounds(tmp_path: Path) -> None:
    cells = ["", "text", "1,5", "2024-01-05", "5 kg", "inf"] * 100
    header = ";".join(f"c{k}{'c' * 100}" for k in range(len(cells)))
    words = refusal(made(tmp_path, f"{header};kind\n" + 3 * f"{';'.join(cells)};x\n"))
    assert words.count(" and 97 columns more: ") == 6
    assert len(words) < 3000


DECIMALS = {
    "-0,773": 'write -0.773; pandas.read_csv(FILE, sep=";", decimal=",") reads decimal commas',
    "−0,5": "write -0.5;",
    "1.234,56": "write 1234.56;",
    ",5": "write .5;",
    "2,5e-3": "write 2.5e-3;",
    "1,234": "write 1.234, or 1234 if it means that;",
}


@pytest.mark.parametrize("separator", [";", "\t", ","], ids=["semicolon", "tab", "comma"])
@pytest.mark.parametrize("cell", DECIMALS)
def test_decimal_commas_get_a_hint(tmp_path: Path, cell: str, separator: str) -> None:
    """Also as a target, of which they would make classes; between commas they stand in quotes."""
    quoted = f'"{cell}"' if separator == "," else cell
    rows = "".join(f"{quoted}{separator}{k % 2}\n" for k in range(6))
    path = made(tmp_path, f"a{separator}kind\n{rows}")
    of_rows = f"(6 of 6 rows, '{cell}' in line 2): {DECIMALS[cell]}"
    assert f"holds decimal commas in column 'a' {of_rows}" in refusal(path)
    turned = "".join(f"{k}{separator}{quoted if k % 2 else 3}\n" for k in range(6))
    words = refusal(made(tmp_path, f"a{separator}kind\n{turned}"))
    assert f"holds decimal commas in column 'kind' (3 of 6 rows, '{cell}' in line 3): {DECIMALS[cell]}" in words
    assert words.endswith('; if these are names of classes, say task="classification"')


def test_decimal_commas_are_classes_where_that_is_said(tmp_path: Path) -> None:
    path = made(tmp_path, "a;size\n" + "".join(f"{k};{k % 3},5\n" for k in range(9)))
    assert bp.data.table(path, target="size", task="classification").classes == ("0,5", "1,5", "2,5")


@pytest.mark.parametrize("cell", ["1,234,567", "12 %", "€ 5", "5 kg", "$1,200.50", "1'234", "1 234", "4.2.", "-5°"])
def test_numbers_with_other_signs_are_no_text(tmp_path: Path, cell: str) -> None:
    words = refusal(made(tmp_path, f"a;kind\n1;x\n{cell};y\n2;x\n"))
    assert f"numbers with other signs beside their digits in column 'a' (1 of 3 rows, {cell!r} in line 3)" in words


@pytest.mark.parametrize("cell", ["2024-01-05", "05.01.2024", "1/5/24", "2024-01-05T10:00:00Z", "10:30", "10:30:05.5"])
def test_dates_and_times_are_no_text(tmp_path: Path, cell: str) -> None:
    words = refusal(made(tmp_path, f"a;kind\n1;x\n{cell};y\n2;x\n"))
    assert f"dates or times in column 'a' (1 of 3 rows, {cell!r} in line 3): leave the column out, or" in words


@pytest.mark.parametrize("slip", ["inf", "1_0", "1e999"])
def test_a_slip_among_whole_numbers_is_no_class(tmp_path: Path, slip: str) -> None:
    text = f"a,t\n1,0\n2,1\n3,{slip}\n4,0\n"
    assert f"in column 't' (1 of 4 rows, '{slip}' in line 4)" in refusal(made(tmp_path, text), "t")


def test_a_slip_in_a_real_valued_target_is_no_class(tmp_path: Path) -> None:
    text = "a,t\n" + "".join(f"{k},{k / 7}\n" for k in range(30)) + "30,4.2.\n"
    assert "in column 't' (1 of 31 rows, '4.2.' in line 32)" in refusal(made(tmp_path, text), "t")


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


def test_a_line_without_end_is_refused_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("bp_torch.data.cells"), "LONGEST_LINE", 1 << 16)
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
    few = made(tmp_path, "a,kind\n" + "".join(f"{k},id{k}\n" for k in (*range(20), 0)), "few.csv")
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
    assert "missing cells in column 'a' (1 of 2 rows, the first in line 6)" in words


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


@pytest.mark.parametrize("size", [1e200, 1e-200, 1e300, 1e-290, 1.0])
def test_cells_of_any_size_are_scaled_right(tmp_path: Path, size: float) -> None:
    """Features and a real-valued target; their squares would overflow, or vanish."""
    rows = "".join(f"{k * size!r},{(3 * k + 1) * size!r},{k / 2}\n" for k in range(50))
    result = bp.data.table(made(tmp_path, "a,b,t\n" + rows), target="b")
    x, y = result.train
    for column in (x[:, 0], y[:, 0]):
        assert column.mean().abs() < 1e-6
        assert column.std(correction=0) == pytest.approx(1, abs=1e-6)
    assert torch.allclose(x[:, 0], x[:, 1], atol=1e-6)
    k = x[:, 1].double() * result.scale[1] + result.mean[1]
    assert torch.allclose((y[:, 0].double() * result.target_scale + result.target_mean) / size, 6 * k + 1)


def test_a_cell_so_far_off_that_the_others_become_one_value_is_warned_of(tmp_path: Path) -> None:
    cells = [str(k) for k in range(30)]
    cells[7] = "1e200"
    path = made(tmp_path, "a,b,t\n" + "".join(f"{k},{cell},{'xy'[k % 2]}\n" for k, cell in enumerate(cells)))
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


@pytest.mark.parametrize("kinds", ["xyx", "xxxxy", "xxyyz", "xyxyxyxyxyz", "abcdefgha", "xxxxxxxxxy"])
@pytest.mark.parametrize("seed", range(12))
def test_training_sees_every_class_whatever_the_seed(tmp_path: Path, kinds: str, seed: int) -> None:
    """A class's only row is trained on; a row to test on comes from a class of more."""
    path = made(tmp_path, "a,kind\n" + "".join(f"{k},{kind}\n" for k, kind in enumerate(kinds)))
    result = bp.data.table(path, target="kind", seed=seed)
    assert result.train[1].unique().tolist() == list(range(len(set(kinds))))
    assert 1 <= len(result.test[1]) <= 1 + len(kinds) // 5


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
    ("regression", "x y z w"): "holds text in column 't' (20 of 20 rows, 'x' in line 2): ",
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
    with pytest.raises(ValueError, match=r'task="regression" is for the target of a FILE.csv: leave it away'):
        bp.data.load("digits", "train", task="regression")


@pytest.mark.parametrize(
    ("cells", "named"),
    [
        (["yes", "YES ", "Yes", "no"], "'YES', 'Yes', 'yes' are"),
        (["New York", "New  York", "Rome"], "'New  York', 'New York' are"),
        (["caf\u00e9", "cafe\u0301", "bar"], "'cafe\u0301', 'caf\u00e9' are"),
        (["a", "A", "b", "B", "c", "C"], "'A', 'a', and 2 more such groups are"),
    ],
    ids=["case", "spaces", "encoding", "several"],
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


def test_the_names_of_many_columns_are_shown_in_bounded_length(tmp_path: Path) -> None:
    path = made(tmp_path, ",".join([*(f"column{k}" for k in range(5000)), "kind"]) + "\n")
    with pytest.raises(ValueError, match="its columns are column0, column1, ") as caught:
        bp.data.table(path, target="colour")
    assert len(str(caught.value)) < 700

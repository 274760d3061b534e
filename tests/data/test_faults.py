"""Bad cells are told by column: how many, an example, and what to do; no target makes classes of them."""

import warnings
from pathlib import Path

import pytest
from tablefiles import made, refusal

import bp_torch as bp

BAD_CELLS = {
    "10,4,": "holds missing cells in column 'kind' (1 of 4 rows, the first in line 4)",
    "10,4,NA": "holds missing cells in column 'kind' (1 of 4 rows, the first in line 4)",
    "1O,4,iris": "in column 'length' (1 of 4 rows, '1O' in line 4): write the digits alone",
    "10,inf,iris": "holds numbers that are not finite in column 'area' (1 of 4 rows, 'inf' in line 4): correct them",
    "10,1e999,iris": "holds numbers that are not finite in column 'area' (1 of 4 rows, '1e999' in line 4): correct",
    "1_0,4,iris": "in column 'length' (1 of 4 rows, '1_0' in line 4): write the digits alone",
    "10,wide,iris": "holds text in column 'area' (1 of 4 rows, 'wide' in line 4): correct them, or leave it out, drop=",
    "10,iris": "row 2 (line 4) has 2 cells, and the header 3: correct the row",
    "10,4,iris,": "row 2 (line 4) has 4 cells, and the header 3: correct the row (a ',' within a cell needs quotes",
}


@pytest.mark.parametrize("row", BAD_CELLS)
def test_missing_and_non_numeric_cells_are_named_by_column_and_line(tmp_path: Path, row: str) -> None:
    """The bad row is the second below the header, and line 4 of the file after a blank line."""
    text = f"length,area,kind\n0,0,rose\n\n{row}\n20,4,iris\n30,9,iris\n"
    assert BAD_CELLS[row] in refusal(made(tmp_path, text))


def test_bad_cells_are_told_by_column_with_a_count_an_example_and_what_to_do(tmp_path: Path) -> None:
    cells = ("", "wide", "7", "8", "9")
    rows = [f"{k % 28 + 1:02}.01.2024,{cells[k % 5]},{k},{'12 %' if k % 2 else 3},iris\n" for k in range(9300)]
    words = refusal(made(tmp_path, "day,size,area,share,kind\n" + "".join(rows)))
    assert words.split(" holds ")[1].split("; ") == [
        "dates or times in column 'day' (9,300 of 9,300 rows, '01.01.2024' in line 2): write dates as 2024-01-31, "
        'which are read as days, and times as numbers, or leave it out, drop="day"',
        "text in column 'size' (1,860 of 9,300 rows, 'wide' in line 3): correct them, or leave it out, drop=\"size\"",
        "numbers with other signs beside their digits in column 'share' (4,650 of 9,300 rows, '12 %' in line 3): write "
        'the digits alone, with a point before decimals, or leave it out, drop="share"',
    ]


@pytest.mark.parametrize("cell", ["1,5", "31.01.2024", "5 kg", "inf", "9" * 9000])
def test_many_bad_columns_are_counted_in_a_message_of_bounded_length(tmp_path: Path, cell: str) -> None:
    names = [f"column {k} of a name {'which is long ' * 20}" for k in range(500)]
    rows = (";".join([*(cell for _ in names), kind]) for kind in "xyx")
    words = refusal(made(tmp_path, "\n".join([";".join([*names, "kind"]), *rows])))
    assert "column 'column 2 of a name which is long which …' (3 of 3 rows, " in words
    assert " and 497 columns more: " in words
    assert len(words) < 900


def test_every_kind_of_bad_cell_at_once_stays_within_bounds(tmp_path: Path) -> None:
    cells = ["1,5", "31.01.2024", "5 kg", "inf"] * 100
    header = ";".join(f"c{k}{'c' * 100}" for k in range(len(cells)))
    words = refusal(made(tmp_path, f"{header};kind\n" + 3 * f"{';'.join(cells)};x\n"))
    assert words.count(" and 97 columns more: ") == 4
    assert len(words) < 3000


DECIMALS = {
    "-0,773": 'write -0.773; with pandas, pandas.read_csv(FILE, sep="SEP", decimal=",") reads decimal commas',
    "−0,5": "write -0.5;",
    "1.234,56": 'write 1234.56; with pandas, pandas.read_csv(FILE, sep="SEP", decimal=",", thousands=".") reads',
    ",5": "write .5;",
    "2,5e-3": "write 2.5e-3;",
}


@pytest.mark.parametrize("separator", [";", "\t", ","], ids=["semicolon", "tab", "comma"])
@pytest.mark.parametrize("cell", DECIMALS)
def test_decimal_commas_get_a_hint(tmp_path: Path, cell: str, separator: str) -> None:
    """Also as a target, of which they would make classes; between commas they stand in quotes."""
    quoted = f'"{cell}"' if separator == "," else cell
    rows = "".join(f"{quoted}{separator}{k % 2}\n" for k in range(6))
    path = made(tmp_path, f"a{separator}kind\n{rows}")
    advice = DECIMALS[cell].replace("SEP", separator.replace("\t", r"\t"))
    of_rows = f"(6 of 6 rows, '{cell}' in line 2): {advice}"
    assert f"holds decimal commas in column 'a' {of_rows}" in refusal(path)
    turned = "".join(f"{k}{separator}{quoted if k % 2 else 3}\n" for k in range(6))
    words = refusal(made(tmp_path, f"a{separator}kind\n{turned}"))
    assert f"holds decimal commas in column 'kind' (3 of 6 rows, '{cell}' in line 3): {advice}" in words
    assert words.endswith('; if these are names of classes, say task="classification"')


@pytest.mark.parametrize(
    ("cell", "separator", "advice"),
    [
        ("1,234", ",", 'write 1234; with pandas, pandas.read_csv(FILE, sep=",", thousands=",") reads thousands'),
        ("1,234,567", ";", 'write 1234567; with pandas, pandas.read_csv(FILE, sep=";", thousands=",")'),
        ("12,345.60", ",", 'write 12345.60; with pandas, pandas.read_csv(FILE, sep=",", thousands=",")'),
        ("1,234", ";", "write 1.234, or 1234 if it means that;"),
        ("1,234", "\t", "write 1.234, or 1234 if it means that;"),
    ],
)
def test_commas_before_three_digits_may_part_thousands(tmp_path: Path, cell: str, separator: str, advice: str) -> None:
    for target, header in (("t", f"a{separator}t"), ("a", f"a{separator}b")):
        rows = "".join(f'"{cell}"{separator}{k % 2}\n"98,765"{separator}{k % 2}\n' for k in range(4))
        words = refusal(made(tmp_path, f"{header}\n{rows}"), target)
        assert f"holds commas before three digits in column 'a' (8 of 8 rows, '{cell}' in line 2): {advice}" in words


@pytest.mark.parametrize("rows", [30, 500])
def test_points_before_three_digits_in_a_file_of_semicolons_are_warned_of(tmp_path: Path, rows: int) -> None:
    lines = "".join(
        f"{1 + k % 9}.{100 + k % 900};{12 + k % 50}.{k % 1000:03};0.{k % 1000:03};{k}\n" for k in range(rows)
    )
    path = made(tmp_path, f"price;rent;share;n\n{lines}")
    with pytest.warns(RuntimeWarning, match="columns 'rent', 'price': each point stands before three digits"):
        bp.data.table(path, target="price", drop="n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = lines.replace("1.100;", "1234;")  # no point in a number of four digits: points are decimal
        bp.data.table(made(tmp_path, f"price;rent;share;n\n{plain}"), target="price", drop="rent,n")
        bp.data.table(made(tmp_path, f"price;rent;share;n\n{lines}".replace(";", ",")), target="price", drop="n")


def test_a_column_of_dates_names_the_cell_that_is_odd(tmp_path: Path) -> None:
    rows = "".join(f"2024-01-{k:02},{'xy'[k % 2]}\n" for k in range(1, 20))
    words = refusal(made(tmp_path, f"d,kind\n{rows}31.01.2024,x\n"))
    assert "dates or times in column 'd' (1 of 20 rows, '31.01.2024' in line 21)" in words


def test_points_between_thousands_are_seen_after_the_first_decimal_comma_too(tmp_path: Path) -> None:
    words = refusal(made(tmp_path, "a;kind\n234,50;x\n1.234,50;y\n2,5;x\n"))
    assert 'write 234.50; with pandas, pandas.read_csv(FILE, sep=";", decimal=",", thousands=".")' in words


@pytest.mark.parametrize("cells", ["12 %|15 %", "€ 5|$1,200.50", "1'000|2'000.5", "1 000|5"])
def test_amounts_in_other_notations_are_no_classes_in_silence(tmp_path: Path, cells: str) -> None:
    text = "a;t\n" + "".join(f"{k};{cell}\n" for k, cell in enumerate(cells.split("|") * 5))
    words = refusal(made(tmp_path, text), "t")
    assert "numbers with other signs beside their digits in column 't'" in words
    assert words.endswith('with a point before decimals; if these are names of classes, say task="classification"')


@pytest.mark.parametrize("cell", ["12 %", "€ 5", "5 kg", "$1,200.50", "1'234", "1 234", "4.2.", "-5°"])
def test_numbers_with_other_signs_are_no_text(tmp_path: Path, cell: str) -> None:
    words = refusal(made(tmp_path, f"a;kind\n1;x\n{cell};y\n2;x\n"))
    assert f"numbers with other signs beside their digits in column 'a' (1 of 3 rows, {cell!r} in line 3)" in words


@pytest.mark.parametrize("cell", ["2024-01-05", "05.01.2024", "1/5/24", "2024-02-30", "10:30", "10:30:05.5"])
def test_dates_and_times_are_no_text(tmp_path: Path, cell: str) -> None:
    words = refusal(made(tmp_path, f"a;kind\n1;x\n{cell};y\n2;x\n"))
    assert f"dates or times in column 'a' (1 of 3 rows, {cell!r} in line 3): write dates as 2024-01-31" in words


@pytest.mark.parametrize("slip", ["inf", "1_0", "1e999"])
def test_a_slip_among_whole_numbers_is_no_class(tmp_path: Path, slip: str) -> None:
    text = f"a,t\n1,0\n2,1\n3,{slip}\n4,0\n"
    assert f"in column 't' (1 of 4 rows, '{slip}' in line 4)" in refusal(made(tmp_path, text), "t")


def test_a_slip_in_a_real_valued_target_is_no_class(tmp_path: Path) -> None:
    text = "a,t\n" + "".join(f"{k},{k / 7}\n" for k in range(30)) + "30,4.2.\n"
    assert "in column 't' (1 of 31 rows, '4.2.' in line 32)" in refusal(made(tmp_path, text), "t")


def test_the_bad_cells_of_features_and_target_are_told_at_once(tmp_path: Path) -> None:
    """Each with its own advice: the target can't be left out."""
    path = made(tmp_path, "town;size;price\n" + "".join(f"Ulm;{k or '3 kg'};{k % 4},5\n" for k in range(8)))
    signs = (
        "numbers with other signs beside their digits in column 'size' (1 of 8 rows, '3 kg' in line 2): write the "
        'digits alone, with a point before decimals, or leave it out, drop="size"; '
    )
    commas = "decimal commas in column 'price' (8 of 8 rows, '0,5' in line 2): write 0.5"
    assert signs + commas in refusal(path, "price")
    with pytest.raises(bp.DataError, match=r"text in column 'town' \(8 of 8 rows, 'Ulm' in line 2\): correct them, or"):
        bp.data.table(path, target="town", task="regression")

"""The quick reader of text files reads as the slow one does, or leaves the file to it."""

import csv
import io
import tempfile
from pathlib import Path

import fuzz
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import bp_torch as bp
from bp_torch.data import cells, quick, sources
from bp_torch.data.columns import Cells, Column
from bp_torch.data.kinds import texts_of

TIMES = settings(max_examples=60, deadline=None, database=None)
CELL = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=False).map(repr),
    st.sampled_from(["", "NA", "nan", "?", " ", "007", "-0.0", "+1", "1e400", "inf", "1_0", "0x1", "١", "1,5", "True"]),
    st.text(st.sampled_from('ab é"\n\r,;\t1.'), max_size=5),
)


def alike(one: Cells, other: Cells) -> bool:
    """Whether both hold the same cells, but for the numbers by which texts are coded."""
    if (one.rows, list(one.columns), one.delimiter) != (other.rows, list(other.columns), other.delimiter):
        return False
    for mine, theirs in zip(one.columns.values(), other.columns.values(), strict=True):
        if mine.missing().all() and theirs.missing().all():
            continue
        if (mine.texts is None) != (theirs.texts is None):
            return False
        if mine.texts is None or theirs.texts is None:
            if not np.array_equal(mine.values, theirs.values, equal_nan=True):
                return False
        elif texts(mine) != texts(theirs):
            return False
    return True


def texts(column: Column) -> list[str]:
    """The cells of a column, "" for those that are missing."""
    column = texts_of(column)
    return [column.distinct[k] for k in column.values]


def check(data: bytes, exact: str | None = None) -> bool:
    """Holds both readers to each other; says whether the quick one has read the file."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(quick, "SEEN", 2)
        path = Path(folder) / "table.csv"
        path.write_bytes(data)
        try:
            found = quick.read(path, exact=exact)
        except bp.DataError:
            found = None
        if found is None:
            return False
        assert alike(found, cells.read(path, exact=exact)), data
        return True


@pytest.mark.parametrize("path", fuzz.corpus("csv"), ids=lambda path: path.name)
def test_corpus(path: Path) -> None:
    check(path.read_bytes())


@TIMES
@given(
    st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=2, max_size=12), st.sampled_from(",;\t"), st.booleans()
)
@example([["1", "2", "x"], ["2", "3", "y"], ["007", "4", "z"], ["8", str(2**53 + 1), "z"]], ",", False)
@example([["1", "2", "x"], ["2", "3", "y"], ["1e400", "4", ""], ["", "", ""]], ",", True)
def test_any_cells(rows: list[list[str]], separator: str, quoted: bool) -> None:
    file = io.StringIO()
    style = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    csv.writer(file, delimiter=separator, quoting=style, lineterminator="\n").writerows([["a", "b", "c"], *rows])
    check(file.getvalue().encode(), exact="b")


@TIMES
@given(st.text(st.sampled_from('a1,;\t\n\r" .-e0é\ufeff'), max_size=60))
@example('1,2\n3,4\n"1"2,5\n')
@example('1,2\n3,4\n""2,5\n')
@example("1,2\n3,4\n5\n6,7,8\n")
@example("1,2\n3,4\n5,6,7\n8\n")
@example("1,2\n3,4\n  \n5,6\n")
@example('1,2\n3,4\n"5\n6",7\n')
@example("1,2\r3,4\r5,6\r")
def test_any_text(text: str) -> None:
    check(f"a,b\n{text}".encode())


PLAIN = {
    "numbers": "a,b\n" + "".join(f"{k},{k / 7}\n" for k in range(9)),
    "CRLF and a byte order mark": "\ufeffa;b\r\n" + "".join(f"{k};{k / 7}\r\n" for k in range(9)),
    "quoted": 'a\tb\n"1"\t"x\ny"\n"2"\t"say ""a"""\n"3"\t"z"\n',
    "missing": "a,b\n1,\n2,3\nNA,4\n,nan\n",
    "late text": "a,b\n1,2\n2,3\nx,4\n",
    "late codes": "a,b\n1,2\n2,3\n007,4\n",
    "late codes in quotes": 'a,b\n1,2\n2,3\n"007",4\n',
    "late infinity": "a,b\n1,2\n2,3\n1e999,4\n",
    "small numbers": "a,b\n1e-05,2\n2,3\n3,4\n",
}


@pytest.mark.parametrize("what", PLAIN)
def test_the_quick_reader_reads(what: str) -> None:
    assert check(PLAIN[what].encode())


@pytest.mark.parametrize(
    "text",
    ["a,b\n1,2\n2,3\n4\n5,6,7\n", 'a,b\n1,2\n2,3\n"1"2,3\n', "a,b\n1,2\n2,3\n\xff,3\n", "a,b\n1,2\n2,3\n1,\0\n"],
)
def test_a_fault_is_left_to_the_slow_reader_to_tell(text: str, tmp_path: Path) -> None:
    assert not check(text.encode("latin-1"))
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(bp.DataError, match=r"t\.csv"):
        sources.read(tmp_path / "t.csv")


def test_a_row_is_found_again_by_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "SEEN", 2)
    (tmp_path / "t.csv").write_text('a,b\n1,2\n\n3,"x\ny"\n5,6\n')
    found = quick.read(tmp_path / "t.csv")
    assert found is not None
    assert [found.place(row) for row in range(3)] == ["line 2", "line 5", "line 6"]

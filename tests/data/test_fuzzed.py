"""The readers on files that hypothesis makes up, and on the corpus that tests/fuzz.py keeps."""

import csv
import gzip
import io
import re
import tempfile
import warnings
from pathlib import Path

import fuzz
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from idxfiles import idx_bytes, write

import bp_torch as bp

SIZES = st.integers(0, 2**32 - 1) | st.integers(0, 40) | st.sampled_from([2**31, 2**32 - 1])
QUICK = settings(max_examples=150, deadline=None, database=None)


@pytest.mark.parametrize(
    ("reader", "path"), [(reader, path) for reader in fuzz.READERS for path in fuzz.corpus(reader)], ids=str
)
def test_corpus(tmp_path: Path, reader: str, path: Path) -> None:
    check, _, _ = fuzz.READERS[reader]
    check(path.read_bytes(), tmp_path)


@QUICK
@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 5), st.booleans(), st.data())
def test_idx_files_of_any_content_are_read_back(m: int, height: int, width: int, packed: bool, data: st.DataObject):
    pixels = data.draw(st.binary(min_size=m * height * width, max_size=m * height * width))
    classes = data.draw(st.binary(min_size=m, max_size=m))
    images = torch.tensor(list(pixels), dtype=torch.uint8).view(m, height, width)
    labels = torch.tensor(list(classes), dtype=torch.uint8)
    content = {"train-images-idx3-ubyte": idx_bytes(images), "train-labels-idx1-ubyte": idx_bytes(labels)}
    if packed:
        content = {f"{name}.gz": gzip.compress(file) for name, file in content.items()}
    with tempfile.TemporaryDirectory() as folder:
        x, y = bp.data.idx(write(Path(folder), content), "train")
    assert torch.equal(x, images.flatten(1).float() / 255)
    assert torch.equal(y, labels.long())


@QUICK
@given(st.binary(max_size=64) | st.binary(max_size=64).map(lambda data: b"\x1f\x8b\x08" + data))
@example(b"")
def test_idx_reader_on_any_bytes(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fuzz.check_idx(data, Path(folder))


@QUICK
@given(
    st.sampled_from([1, 3, 0, 2, 255]), st.lists(SIZES, max_size=4), st.binary(max_size=100), st.booleans(), st.data()
)
def test_idx_reader_on_any_header(
    dims: int, sizes: list[int], values: bytes, packed: bool, data: st.DataObject
) -> None:
    file = bytes([0, 0, 8, dims]) + b"".join(n.to_bytes(4, "big") for n in sizes) + values
    if packed:
        stream = bytearray(gzip.compress(file))
        stream[-4:] = data.draw(st.just(stream[-4:]) | st.binary(min_size=4, max_size=4))
        file = bytes(stream)
    with tempfile.TemporaryDirectory() as folder:
        fuzz.check_idx(file, Path(folder))


@QUICK
@given(st.text(alphabet='a1,;\t\n\r" .-e\ufeff\0é', max_size=80).map(str.encode) | st.binary(max_size=60))
def test_csv_reader_on_any_text(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fuzz.check_csv(b"a,kind\n" + data, Path(folder))
        fuzz.check_csv(data, Path(folder))


NUMBER = st.floats(-1e6, 1e6, allow_subnormal=False).map(repr) | st.integers(-1000, 1000).map(str)
CELL = NUMBER | st.sampled_from(["", "nan", "1e999", "x", "1_0"])
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
KINDS = TEXT | NUMBER | st.sampled_from(["007", "7", "7.0", "-0,5", "Yes", "yes"])


@QUICK
@given(st.lists(st.tuples(CELL, NUMBER, KINDS), max_size=12), st.sampled_from(",;\t"))
def test_csv_reader_on_any_cells(rows: list[tuple[str, str, str]], separator: str) -> None:
    file = io.StringIO()
    csv.writer(file, delimiter=separator).writerows([("a", "b", "kind"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        fuzz.check_csv(file.getvalue().encode(), Path(folder))


@QUICK
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=6, max_size=12))
@example([1e200 * k for k in range(6)])
@example([1e-200 * k for k in range(6)])
@example([1e16, 1e16 + 2] * 3)
def test_a_column_that_differs_in_training_differs_after_scaling(cells: list[float]) -> None:
    """Whatever the size of its numbers; else it is refused by name."""
    text = "a,kind\n" + "".join(f"{cell!r},{k % 2}\n" for k, cell in enumerate(cells))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        path = Path(folder) / "table.csv"
        path.write_text(text)
        try:
            table = bp.data.table(path, target="kind")
        except bp.DataError as error:
            words = "column 'a'(: .* is too far from the others| holds numbers too (large|small)) to compute with: "
            assert re.search(words, str(error))  # noqa: PT017
            return
    x = table.train[0][:, 0]
    assert (table.scale.item() == 0) == (len(x.unique()) == 1)
    assert len(x.unique()) > 1 or len(set(cells)) < 3


@pytest.mark.parametrize("reader", fuzz.READERS)
def test_the_fuzzer_itself(reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs, and what it finds lands in the corpus and ends it with 1."""
    (tmp_path / reader).mkdir()
    monkeypatch.setattr(fuzz, "CORPUS", tmp_path)
    monkeypatch.setattr("sys.argv", ["fuzz.py", reader, "--minutes", "0.005"])
    assert fuzz.main() == 0

    def broken(data: bytes, folder: Path) -> str:
        raise KeyError

    monkeypatch.setitem(fuzz.READERS, reader, (broken, *fuzz.READERS[reader][1:]))
    assert fuzz.main() == 1
    assert fuzz.corpus(reader)

"""Where the predictions of a table go: a file that is refused where another one would be lost."""

import gzip
import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

HEADER = ("row", "prediction")  # what a file of predictions begins with
OTHERS = (".parquet", ".feather", ".xlsx", ".xls", ".ods", ".json", ".zip", ".bz2", ".xz", ".zst")


def checked(out: Path, kept: Iterable[Path]) -> None:
    """Raises ValueError where predictions can't go to `out`: no CSV, no place, or a file that holds something else.

    kept: files that are none of predictions, whatever they begin with.
    """
    if out.suffix.lower() in OTHERS:
        raise ValueError(f"--out {out} would be a CSV under that name: name a .csv, .tsv, .csv.gz or .tsv.gz file")
    if out.is_dir() or not out.parent.is_dir():
        what = "it is a folder" if out.is_dir() else f"there is no folder {out.parent}"
        raise ValueError(f"--out {out} can't be written: {what}")
    for path in kept:
        if os.path.realpath(path) == os.path.realpath(out) or (
            out.exists() and path.exists() and out.samefile(path)
        ):  # a hard link, or a name whose case the file system passes over
            raise ValueError(f"--out names {path} itself: name another file")
    if out.is_file() and out.stat().st_size and not _of_predictions(out):
        raise ValueError(
            f"--out {out} is a file that predict did not write, and it would be lost: name a new file, or delete it"
        )
    if (out.exists() and not os.access(out, os.W_OK)) or (not out.exists() and not os.access(out.parent, os.W_OK)):
        raise ValueError(f"--out {out} can't be written: Permission denied")


def _of_predictions(path: Path) -> bool:
    """Whether a file begins as one of predictions does."""
    begins = [delimiter.join(HEADER).encode() for delimiter in ",\t"]
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.GzipFile(path) if packed else path.open("rb") as file:
            first = file.read(len(begins[0]) + 1)
    except (OSError, EOFError):
        return False
    return any(first in (begin + end for end in (b",", b"\t", b"\n")) for begin in begins)


def delimiter_of(out: Path | None) -> str:
    """What stands between the cells, by the file's name."""
    return "\t" if out is not None and out.name.lower().removesuffix(".gz").endswith(".tsv") else ","


@contextmanager
def opened(out: Path | None) -> Iterator[TextIO]:
    """The file to write to, gzipped where its name says so; standard output without one."""
    if out is None:
        yield sys.stdout
        return
    try:
        with out.open("wb") as file:
            packed = gzip.GzipFile("", "wb", fileobj=file, mtime=0) if out.suffix.lower() == ".gz" else file
            with io.TextIOWrapper(packed, encoding="utf-8", newline="") as text:  # pyright: ignore[reportArgumentType]
                yield text
    except OSError as error:
        raise ValueError(f"--out {out} can't be written: {error.strerror or error}") from error

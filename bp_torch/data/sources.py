"""Where a table comes from: a CSV or TSV file, gzipped or not, a Parquet file, or a data frame."""

from collections.abc import Container
from pathlib import Path
from typing import Any

from bp_torch.data import cells, quick
from bp_torch.data.columns import Cells, of_frame
from bp_torch.encoding import is_frame
from bp_torch.errors import DataError

TEXTS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
PARQUET = ".parquet"
SHEETS = (".xlsx", ".xls", ".xlsm", ".ods")


def read(source: Any, as_text: Container[str] = (), exact: str | None = None) -> Cells:
    """The cells of a table: of a file by its path, or of a data frame of pandas or polars.

    as_text: columns that are no numbers, whatever they hold. exact: one whose whole numbers beyond float64's own
        precision are to stay apart. Raises DataError for what is no table.
    """
    if is_frame(source):
        return of_frame(source, exact=exact)
    path = Path(source)
    if told := of_sheet(str(path)):
        raise DataError(told)
    if path.name.lower().endswith(PARQUET):
        return _of_parquet(path, exact)
    return quick.read(path, as_text, exact) or cells.read(path, as_text, exact)


def of_sheet(name: str) -> str | None:
    """The sentence for a path that is a spreadsheet's by its name; None for others."""
    if not name.lower().endswith(SHEETS):
        return None
    return f"{name} is a spreadsheet: save it as CSV in UTF-8, or give the frame of pandas.read_excel in Python"


def is_table(name: str) -> bool:
    """Whether a data set's name is a table's path."""
    return name.lower().endswith((*TEXTS, PARQUET))


def _of_parquet(path: Path, exact: str | None) -> Cells:
    import pandas

    if not path.is_file():
        raise DataError(f"there is no file {path}: name a CSV, TSV or Parquet file")
    try:
        frame = pandas.read_parquet(path)
    except ImportError:
        raise DataError(f"{path} needs pyarrow to be read: install it, pip install pyarrow, or save as CSV") from None
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error
    except ValueError as error:  # pyarrow's own errors are ValueErrors
        raise DataError(f"{path} is no Parquet file ({' '.join(str(error).split())}): save it anew") from error
    return of_frame(frame, str(path), exact)._replace(place=lambda row: f"row {row + 1}")

"""metrics.jsonl: one line an epoch, what a `Record` says of it."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from bp_torch import checks
from bp_torch.saving import durable
from bp_torch.state import Position
from bp_torch.training.loop import Record

FILE = "metrics.jsonl"
NAMES = tuple(each.name for each in fields(Record) if each.name != "position")
REQUIRED = ("epoch", "cost", "seconds")


def append(folder: Path, record: Record) -> None:
    """Adds an epoch's line; it is on the disk when this returns."""
    with (folder / FILE).open("a", encoding="utf-8") as file:
        file.write(_line(record))
        file.flush()
        os.fsync(file.fileno())


def write(folder: Path, records: Sequence[Record]) -> None:
    """Makes the file hold these records, whole or not at all."""
    durable.write(folder / FILE, "".join(map(_line, records)).encode())


def read(folder: Path, epochs: int | None = None) -> list[Record]:
    """The records of the epochs, or of so many; none where there is no such file.

    A last line without its end is left out: it is being written, or was when the run was killed. Raises ValueError for
    a line that is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    try:
        lines = path.read_bytes().rpartition(b"\n")[0].decode().split("\n")
        return [_record(json.loads(line)) for line in [line for line in lines if line.strip()][:epochs]]
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _line(record: Record) -> str:
    values = asdict(record)
    return json.dumps({name: values[name] for name in NAMES}) + "\n"


def _record(values: dict[str, float | None]) -> Record:
    figures = {name: values.get(name) for name in NAMES}
    for name, value in figures.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            if value is not None or name in REQUIRED:
                raise ValueError(f"{name} is {value!r}")
        elif isinstance(value, int) and abs(value) > checks.MOST:
            raise ValueError(f"{name} is out of range")
    epoch = figures["epoch"]
    if not isinstance(epoch, int) or epoch < 1:
        raise ValueError(f"epoch is {epoch!r}")
    if figures["examples_per_second"] is None:
        figures["examples_per_second"] = math.nan
    return Record(**figures, position=Position(epoch + 1))  # pyright: ignore[reportArgumentType]

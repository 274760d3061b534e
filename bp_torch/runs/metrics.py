"""metrics.jsonl: one line an epoch, what a `Record` says of it, and the seconds that went by for it.

`seconds` is the time of training alone; `wall_seconds` is that of the whole epoch, from the end of the one before: with
evaluating and saving, and in the first epoch of a session with preparing the engine.
"""

import json
import math
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from bp_torch import checks
from bp_torch.saving import durable
from bp_torch.state import Position
from bp_torch.training.loop import Record

FILE = "metrics.jsonl"
NAMES = tuple(each.name for each in fields(Record) if each.name != "position")
REQUIRED = ("epoch", "cost", "seconds")
WALL = "wall_seconds"


def append(folder: Path, record: Record, wall_seconds: float) -> None:
    """Adds an epoch's line; it is on the disk when this returns."""
    with (folder / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record.as_dict() | {WALL: wall_seconds}) + "\n")
        file.flush()
        os.fsync(file.fileno())


def cut(folder: Path, epochs: int) -> None:
    """Leaves so many lines in the file, whole or not at all."""
    lines = _lines(folder, epochs)
    durable.write(folder / FILE, "".join(json.dumps(values) + "\n" for values, _ in lines).encode())


def read(folder: Path, epochs: int | None = None) -> list[Record]:
    """The records of the epochs, or of so many; none where there is no such file.

    A last line without its end is left out: it is being written, or was when the run was killed. Raises ValueError for
    a line that is damaged.
    """
    return [record for _, record in _lines(folder, epochs)]


def wall_seconds(folder: Path, after: int = 0) -> float | None:
    """The seconds that went by for all epochs after this one; None where older versions ran some, which don't say."""
    lines = _lines(folder)[after:]
    known = [values[WALL] for values, _ in lines if values.get(WALL) is not None]
    return math.fsum(known) if len(known) == len(lines) else None


def _lines(folder: Path, epochs: int | None = None) -> list[tuple[dict[str, Any], Record]]:
    """What the lines of the file hold, and the records that they make."""
    path = folder / FILE
    if not path.is_file():
        return []
    try:
        lines = path.read_bytes().rpartition(b"\n")[0].decode().split("\n")
        values = [json.loads(line) for line in [line for line in lines if line.strip()][:epochs]]
        return [(each, _record(each)) for each in values]
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _record(values: dict[str, Any]) -> Record:
    for name in (*NAMES, WALL):
        value = values.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            if value is not None or name in REQUIRED:
                raise ValueError(f"{name} is {value!r}")
        elif isinstance(value, int) and abs(value) > checks.MOST:
            raise ValueError(f"{name} is out of range")
    figures: dict[str, Any] = {name: values.get(name) for name in NAMES}
    epoch = figures["epoch"]
    if not isinstance(epoch, int) or epoch < 1:
        raise ValueError(f"epoch is {epoch!r}")
    if figures["penalty"] is None:  # of versions that knew none
        figures["penalty"] = 0.0
    if figures["examples_per_second"] is None:
        figures["examples_per_second"] = math.nan
    return Record(**figures, position=Position(epoch + 1))

"""--tensorboard: a run's figures by epoch, in event files of its folder that TensorBoard shows."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

from bp_torch.training.loop import Record

FOLDER = "tensorboard"
FIGURES = ("cost", "data_cost", "validation_cost", "validation_accuracy", "lr")


def writer() -> Callable[..., Any]:
    """torch's SummaryWriter; raises ValueError where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError(
            f"--tensorboard needs tensorboard, which can't be imported ({error}): pip install tensorboard, or leave "
            "--tensorboard out"
        ) from error
    return SummaryWriter


@contextmanager
def opened(folder: Path, earlier: tuple[Record, ...]) -> Iterator[Callable[[Record], None]]:
    """What logs an epoch, as a context that closes the file.

    The earlier epochs are written anew, and the files of before removed: they may hold epochs that a killed run lost
    and has to train again, and lack others. An earlier epoch is dated by the time of training alone.
    """
    into = folder / FOLDER
    for path in into.glob("events.out.tfevents.*"):
        path.unlink()
    events = writer()(log_dir=str(into))

    def log(record: Record, when: float | None = None) -> None:
        figures = record.as_dict()
        for name in FIGURES:
            if figures[name] is not None:
                events.add_scalar(name, figures[name], record.epoch, walltime=when)
        events.flush()

    try:
        seconds = [record.seconds for record in earlier]
        began = time.time() - math.fsum(seconds)
        for record, after in zip(earlier, accumulate(seconds), strict=True):
            log(record, began + after)
        yield log
    finally:
        events.close()

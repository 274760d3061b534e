"""A run's folder: taken, locked against other processes, and given back."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from bp_torch.runs import config as configuration


def new_folder(chosen: str | Path | None, dataset: str) -> Path:
    """A new folder, or one that is empty, in which can be written; raises ValueError otherwise."""
    if chosen is None:
        return writable(Path("runs") / f"{dataset}-{datetime.now():%Y%m%d-%H%M%S-%f}")
    folder = Path(chosen)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: name a folder that is new or empty")
    # what a run left that was killed while it wrote its first file does not count: that is swept up
    if folder.is_dir() and any(not path.name.startswith(f".{configuration.FILE}.") for path in folder.iterdir()):
        raise ValueError(f"{folder} is not empty: name a folder that is new or empty")
    return writable(folder)


def writable(folder: Path) -> Path:
    """The folder, made where it is missing; raises ValueError where nothing can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(f"{folder} can't be written: {error.strerror}") from error
    return folder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks the folder against other processes; the lock ends with the process, however that ends."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ValueError(f"another process is training the run in {folder}: wait for it, or stop it") from None
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(handle)


def leave(folder: Path) -> None:
    """Takes a folder in which nothing has been trained away, so that the next try may name it again."""
    with contextlib.suppress(OSError):
        (folder / configuration.FILE).unlink(missing_ok=True)
        folder.rmdir()

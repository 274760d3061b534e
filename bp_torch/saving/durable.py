"""A file that is there whole or not at all, through kill -9, a full disk or a power cut; the one before it is kept."""

import contextlib
import errno
import glob
import os
import secrets
from pathlib import Path


def previous(path: str | Path) -> Path:
    """Where `write` keeps the generation before: net.previous.safetensors for net.safetensors."""
    path = Path(path)
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def write(path: str | Path, content: bytes, keep_previous: bool = False) -> None:
    """Makes `content` the file at `path`: at every instant either the old or the new file is there, whole.

    It is written beside it, flushed to the disk, read back, and then renamed. With keep_previous the old file stays, as
    `previous(path)`; it is linked before and renamed after the new one stands, so that a damaged old file never
    replaces a sound previous one while there is no new one yet. Raises OSError; the files are then as they were.
    """
    path = Path(path)
    _sweep(path)
    temporary = _written(path, content, ".tmp")
    old = temporary.with_suffix(".old")
    try:
        if keep_previous and path.exists():
            old = _second_name(path, old)
        os.replace(temporary, path)
        if old.exists():
            os.replace(old, previous(path))
    finally:
        for left in (temporary, old):
            left.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _written(path: Path, content: bytes, suffix: str) -> Path:
    """A temporary file beside `path` that holds this content on the disk, verified."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{suffix}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if temporary.read_bytes() != content:
            raise OSError(errno.EIO, "what was read back is not what was written", str(path))
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _second_name(path: Path, name: Path) -> Path:
    """The file at `path` under a second name; where the file system has no links, a copy."""
    try:
        os.link(path, name)
    except OSError:
        return _written(path, path.read_bytes(), ".old")
    return name


def _sweep(path: Path) -> None:
    """Removes what processes that were killed in the midst of a `write` to this path left behind."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.*"):
        pid = left.name.removeprefix(f".{path.name}.").split("-")[0]
        if left.suffix in (".tmp", ".old") and pid.isdigit() and not _alive(int(pid)):
            left.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    if pid == os.getpid():
        return True  # another thread's, perhaps
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without it: the rename is as durable as that makes it
            os.fsync(handle)
    finally:
        os.close(handle)

"""A file that is there whole or not at all, through kill -9, a full disk or a power cut; the one before it is kept."""

import contextlib
import errno
import glob
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path


class HalfWrittenError(OSError):
    """The new file stands, and the one before it could neither become the previous one nor be put back.

    filename: where the one before is, until the next `write`. filename2: where it was to go.
    """


def previous(path: str | Path) -> Path:
    """Where `write` keeps the generation before: net.previous.safetensors for net.safetensors.

    Of a symbolic link it is beside the file that the link points to.
    """
    path = _file_behind(Path(path))
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def write(path: str | Path, content: bytes, sound: Callable[[bytes], bool] | None = None) -> None:
    """Makes `content` the file at `path`: at every instant either the old or the new file is there, whole.

    It is written beside it, flushed to the disk, read back, and then renamed. The mode and the owner of the file that
    was there stay; of a symbolic link, the file that it points to is replaced.

    sound: says of a file's content whether it is undamaged. If it is given, the old file becomes `previous(path)`,
    unless it is damaged and the previous one is not. Both are replaced or neither.

    Raises OSError; the files are then as they were. Only HalfWrittenError says otherwise.
    """
    path = _file_behind(Path(path))
    _refuse_other_than_files(path)
    before = _file_behind(previous(path))
    _sweep(path)
    _sweep(before)
    keep = sound is not None and path.exists() and (_is_sound(path, sound) or not _is_sound(before, sound))
    if keep:
        _refuse_other_than_files(before)
    temporary = _written(path, content, path)
    old = None
    try:
        if keep:
            old = _second_name(path, before)
        os.replace(temporary, path)
        if old:
            _rename_or_put_back(old, before, path)
    except HalfWrittenError:
        old = None  # it stays
        raise
    finally:
        for left in (temporary, old):
            if left:
                _remove(left)
    _sync_folder(path.parent)


def _file_behind(path: Path) -> Path:
    """The path itself; of a symbolic link, that of the file it points to. Raises OSError for a link to itself."""
    if not path.is_symlink():
        return path
    behind = Path(os.path.realpath(path))
    if behind.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return behind


def _refuse_other_than_files(path: Path) -> None:
    """Raises OSError for a folder or a device, which a rename fails on or would replace."""
    if path.exists() and not path.is_file():
        code = errno.EISDIR if path.is_dir() else errno.EINVAL
        raise OSError(code, os.strerror(code), str(path), None, str(path))


def _is_sound(file: Path, sound: Callable[[bytes], bool]) -> bool:
    try:
        return file.is_file() and sound(file.read_bytes())
    except OSError:
        return False


def _rename_or_put_back(old: Path, before: Path, path: Path) -> None:
    """Renames the second name of the old file to `before`; where that fails, the old file goes back to `path`."""
    try:
        os.replace(old, before)
    except OSError as error:
        try:
            back = _second_name(old, path)
            try:
                os.replace(back, path)
            finally:
                _remove(back)
        except OSError:
            raise HalfWrittenError(error.errno, error.strerror, str(old), None, str(before)) from error
        raise


def _written(path: Path, content: bytes, like: Path) -> Path:
    """A temporary file beside `path` that holds this content on the disk, verified; mode and owner are those of `like`.

    Until it has them nobody else can read it.
    """
    temporary = _temporary(path, ".tmp")
    try:
        before = os.stat(like) if like.exists() else None
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if before is None else 0o600)
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if temporary.read_bytes() != content:
            raise OSError(errno.EIO, "what was read back is not what was written", str(path))
        if before is not None:
            with contextlib.suppress(OSError):  # only root gives files away
                os.chown(temporary, before.st_uid, before.st_gid)
            with contextlib.suppress(OSError):  # a file system without modes
                os.chmod(temporary, stat.S_IMODE(before.st_mode))
    except BaseException:
        _remove(temporary)
        raise
    return temporary


def _second_name(file: Path, beside: Path) -> Path:
    """A second, temporary name of the file, in the folder of `beside`; where that can't be linked, a copy."""
    name = _temporary(beside, ".old")
    try:
        os.link(file, name)
    except OSError:
        return _written(beside, file.read_bytes(), file)
    return name


def _temporary(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{suffix}")


def _remove(file: Path) -> None:
    with contextlib.suppress(OSError):  # litter does not make a save fail
        file.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Removes what processes that were killed in the midst of a `write` to this path left behind."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.*"):
        pid = left.name.removeprefix(f".{path.name}.").split("-")[0]
        if left.suffix in (".tmp", ".old") and pid.isdigit() and not _alive(int(pid)):
            _remove(left)


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
    """Makes the renames durable, where that can be: they are done, and no failure of this takes them back."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

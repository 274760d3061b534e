"""The cache folder: compiled libraries, each under a hash of what it was made from and one of its bytes.

So a damaged library is seen before it is loaded, and made anew. Beside the libraries lie symbolic links to them, under
a hash of what tells a source from all others before it is printed: what is linked has been printed and compiled before.
The folder is for all versions of the package, and what was used the longest ago goes when it is full.
"""

import ctypes
import hashlib
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

MOST = 256 << 20  # bytes of libraries, which are of 20 to 200 KB each
SPARED = 600  # seconds since its last use in which nothing goes: another process may be about to load it


def folder() -> Path | None:
    """Where libraries are kept; None without a home, or where there can't be such a folder."""
    try:
        found = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "bp_torch"
        found.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return found


def library(within: Path, made_from: str) -> tuple[ctypes.CDLL, str] | None:
    """The library that was made from that, and its file's name, if it is there, is whole and can be loaded."""
    with suppress(OSError):
        for path in within.glob(f"{made_from}-*.so"):
            if found := _loaded(path):
                return found, path.name
    return None


def linked(within: Path, link: str) -> ctypes.CDLL | None:
    """The library that this link leads to, on the same terms."""
    with suppress(OSError):
        return _loaded(within / Path(os.readlink(within / link)).name)
    return None


def _loaded(path: Path) -> ctypes.CDLL | None:
    if not path.is_file() or path.name != _name(path, path.name.partition("-")[0]):
        return None
    with suppress(OSError):  # of another user, perhaps
        os.utime(path)
    return ctypes.CDLL(str(path))


def keep(made: Path, within: Path, made_from: str) -> str | None:
    """Puts a library into the folder in the place of damaged ones; its name there, or None where that can't be done."""
    with suppress(OSError), tempfile.TemporaryDirectory(dir=within, ignore_cleanup_errors=True) as work:
        copy = shutil.copyfile(made, Path(work, made.name))
        for old in within.glob(f"{made_from}-*.so"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        name = _name(made, made_from)
        os.replace(copy, within / name)
        with suppress(OSError):  # of a file that another process has removed meanwhile
            _make_room(within)
        return name
    return None


def keep_link(within: Path, link: str, name: str) -> None:
    """Lets a link lead to the library of this name; leaves it alone where that can't be done."""
    with suppress(OSError), tempfile.TemporaryDirectory(dir=within, ignore_cleanup_errors=True) as work:
        made = Path(work, link)
        made.symlink_to(name)
        os.replace(made, within / link)


def _name(path: Path, made_from: str) -> str:
    return f"{made_from}-{hashlib.sha256(path.read_bytes()).hexdigest()}.so"


def _make_room(within: Path) -> None:
    """Removes the libraries that were used the longest ago until the others fit, and what else is of no use any more.

    Another process may do the same at the same time, or load one that goes: then it makes it anew.
    """
    now = time.time()
    with os.scandir(within) as entries:
        found = [(each.stat(follow_symlinks=False), Path(each.path)) for each in entries]
    old = [(seen, path) for seen, path in found if seen.st_mtime < now - SPARED]
    total = sum(seen.st_size for seen, path in found if path.suffix == ".so")
    for seen, path in sorted(old, key=lambda each: each[0].st_mtime):
        if path.suffix == ".so" and total > MOST:
            path.unlink(missing_ok=True)
            total -= seen.st_size
    for _, path in old:
        if path.is_symlink() and not path.exists():
            path.unlink(missing_ok=True)
        elif path.is_dir() and not path.is_symlink() and path.suffix != ".so":  # of a process that was killed
            shutil.rmtree(path, ignore_errors=True)

"""The files of MNIST and its kin: verified each time they are opened, downloaded by torchvision where none is good.

What is trusted is a checksum, never a name. An extracted file that lies about (torchvision leaves them) is therefore
not read, unless it is one of MNIST's four, whose content is known too.
"""

import fcntl
import hashlib
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bp_torch.errors import DataError

TIMEOUT = 15.0  # seconds without a byte after which a mirror is given up


class Sha256(NamedTuple):
    """Of a file as it is downloaded, and of what is in it."""

    compressed: str
    content: str


# The official MNIST files, each by the MD5 that torchvision gives it. torchvision checks this MD5 once, after a
# download; the SHA-256 is checked here whenever the file is opened. A file with another MD5 (Fashion-MNIST, KMNIST, a
# mirror of your own put into torchvision's `resources`) is held to that MD5: no official SHA-256 of them is known.
OFFICIAL = {
    "f68b3c2dcbeaaa9fbdd348bbdeb94873": Sha256(  # train-images-idx3-ubyte.gz
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "d53e105ee54ea40749a09fcbcd1e9432": Sha256(  # train-labels-idx1-ubyte.gz
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "9fb629c4189551a2d022fa330f9573f3": Sha256(  # t10k-images-idx3-ubyte.gz
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    "ec29112dd5afa0611ce80d1b7f02629c": Sha256(  # t10k-labels-idx1-ubyte.gz
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}


def folder(root: str | Path) -> Path:
    """The folder of this name, ~ being the user's home. Raises DataError where there is no such home."""
    try:
        return Path(root).expanduser()
    except RuntimeError as error:
        raise DataError(f"{root} can't be found, since there is no such home folder: write its whole path") from error


def opened(raw: Path, name: str, md5: str | None) -> tuple[Path, BinaryIO] | None:
    """The verified file `name` (ending in .gz) of the folder `raw`, open at its start; None if there is no good one.

    It is hashed through the descriptor that is returned, so what was verified is what will be read.
    """
    known = OFFICIAL.get(md5 or "")
    candidates = [(raw / name, "sha256", known.compressed) if known else (raw / name, "md5", md5)]
    if known:
        candidates.append(((raw / name).with_suffix(""), "sha256", known.content))
    for path, algorithm, digest in candidates:
        if path.is_file():
            with ExitStack() as stack:
                file = stack.enter_context(path.open("rb"))
                if digest in (None, hashlib.file_digest(file, algorithm).hexdigest()):
                    file.seek(0)
                    stack.pop_all()  # it stays open, for the caller
                    return path, file
    return None


def fetch(raw: Path, resources: Sequence[tuple[str, str | None]], mirrors: Sequence[str]) -> None:
    """Sees to it that all files are in the folder `raw`, verified: one process downloads, others wait for it.

    resources: (name, MD5) of each file; mirrors: addresses that a name is added to. A file that is good is left alone.
    A download goes to a folder of its own and gets its name only once verified, so one that is killed leaves nothing
    that is taken for whole. Raises OSError: with the errors of all mirrors, or where `raw` can't be written.
    """
    raw.mkdir(parents=True, exist_ok=True)
    with _locked(raw.parent / ".download.lock"):
        unfinished = raw / ".download"
        shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed: under the lock it is nobody's
        try:
            for name, md5 in resources:
                good = opened(raw, name, md5)
                if good:
                    good[1].close()
                else:
                    _from_a_mirror(raw, unfinished, name, md5, mirrors)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _from_a_mirror(raw: Path, unfinished: Path, name: str, md5: str | None, mirrors: Sequence[str]) -> None:
    from torchvision.datasets.utils import download_url

    errors = []
    for mirror in mirrors:
        try:
            with _timeout(TIMEOUT):
                download_url(f"{mirror}{name}", unfinished, name, md5)
            good = opened(unfinished, name, md5)
            if good:
                good[1].close()
                os.replace(unfinished / name, raw / name)
                return
            errors.append(f"Tried {mirror}: its {name} does not have the official SHA-256")
        except (OSError, RuntimeError, ValueError, HTTPException) as error:
            errors.append(f"Tried {mirror}: {' '.join(str(error).split()) or type(error).__name__}")
        (unfinished / name).unlink(missing_ok=True)  # torchvision leaves what it refused
    there = "the one that is there is damaged" if (raw / name).is_file() else "it is not there"
    raise ConnectionError(f"{name}: {there}, and could not be downloaded. {'. '.join(errors)}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a lock between processes; it ends with the process, however that ends."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Sockets made meanwhile (in the whole process) give up after so long without a byte: torchvision sets nothing."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)

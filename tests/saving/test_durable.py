"""Through a failure or kill -9 at any instant the old file or the new one is there, whole, and nothing else stays."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bp_torch.saving import durable

OLD, NEW, OLDER = b"old" * 1000, b"new" * 1000, b"older" * 1000


def _before(folder: Path) -> Path:
    path = folder / "file.bin"
    path.write_bytes(OLD)
    durable.previous(path).write_bytes(OLDER)
    return path


@pytest.mark.parametrize("missing_links", [False, True], ids=["links", "no links"])
def test_the_file_before_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing_links: bool) -> None:
    path = _before(tmp_path)
    if missing_links:
        monkeypatch.setattr("os.link", _fails(os.link, 0, errno.EPERM))
    durable.write(path, NEW, keep_previous=True)
    assert (path.read_bytes(), durable.previous(path).read_bytes()) == (NEW, OLD)
    durable.write(path, OLD)
    assert (path.read_bytes(), durable.previous(path).read_bytes()) == (OLD, OLD)
    assert len(list(tmp_path.iterdir())) == 2


def _fails(function: Callable[..., Any], after: int, code: int) -> Callable[..., Any]:
    """The function, until it has been called so often; then it fails."""
    left = [after]

    def failing(*arguments: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(code, os.strerror(code))
        return function(*arguments, **more)

    return failing


@pytest.mark.parametrize(("call", "after"), [("fsync", 0), ("replace", 0), ("replace", 1)])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_a_failure_leaves_whole_files_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, after: int, code: int
) -> None:
    path = _before(tmp_path)
    monkeypatch.setattr(f"os.{call}", _fails(getattr(os, call), after, code))
    with pytest.raises(OSError, match=os.strerror(code)):
        durable.write(path, NEW, keep_previous=True)
    assert path.read_bytes() == (OLD if (call, after) != ("replace", 1) else NEW)
    assert durable.previous(path).read_bytes() == OLDER
    assert len(list(tmp_path.iterdir())) == 2


def test_what_is_read_back_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _before(tmp_path)
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: read(self)[:-1] + b"?")
    with pytest.raises(OSError, match="not what was written"):
        durable.write(path, NEW)
    monkeypatch.undo()
    assert path.read_bytes() == OLD
    assert len(list(tmp_path.iterdir())) == 2


def _child(code: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Runs the code in a process of its own, in which `write` is durable's: durable.py needs nothing but Python."""
    opening = f"import sys, os, signal; sys.path.insert(0, {os.path.dirname(durable.__file__)!r}); import durable\n"
    command = [sys.executable, "-B", "-c", opening + code]
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)


def test_a_disk_that_fills_up_leaves_the_old_file(tmp_path: Path) -> None:
    """A limit on the size of a file, met in the midst of writing it."""
    path = _before(tmp_path)
    limit = """
import resource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
"""
    done = _child(limit + f"durable.write({str(path)!r}, b'x' * 9999)")
    assert "File too large" in done.stderr
    assert path.read_bytes() == OLD
    assert len(list(tmp_path.iterdir())) == 2


KILLED = """
real, left = os.{call}, [{after}]

def killing(*arguments, **more):
    left[0] -= 1
    if left[0] < 0 and {before}:
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*arguments, **more)
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

os.{call} = killing
durable.write({path!r}, {content!r}, keep_previous=True)
"""


@pytest.mark.parametrize(("call", "after"), [("fsync", 0), ("fsync", 1), ("link", 0), ("replace", 0), ("replace", 1)])
@pytest.mark.parametrize("before", [True, False], ids=["before it", "behind it"])
def test_kill_9_at_each_step_of_a_save_leaves_the_old_or_the_new(
    tmp_path: Path, call: str, after: int, before: bool
) -> None:
    """A process is killed just before or just behind each call that changes the disk; the next save sweeps up."""
    path = _before(tmp_path)
    done = _child(KILLED.format(call=call, after=after, before=before, path=str(path), content=NEW))
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() in (OLD, NEW)
    assert durable.previous(path).read_bytes() in (OLDER, OLD)
    durable.write(path, NEW, keep_previous=True)
    assert path.read_bytes() == NEW
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_file_never_replaces_the_sound_one_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the new file stands, the previous one is the only one that may load."""
    path = _before(tmp_path)
    monkeypatch.setattr("os.replace", _fails(os.replace, 0, errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        durable.write(path, NEW, keep_previous=True)
    assert durable.previous(path).read_bytes() == OLDER


def test_only_what_dead_processes_left_is_swept_up(tmp_path: Path) -> None:
    path = _before(tmp_path)
    gone = subprocess.Popen(["true"])  # noqa: S607
    gone.wait()
    dead = [tmp_path / f".file.bin.{gone.pid}-0a.tmp", tmp_path / f".file.bin.{gone.pid}-0a.old"]
    previous_file = [tmp_path / f".file.bin.{pid}-0a.tmp" for pid in (os.getpid(), os.getppid(), "mine")]
    previous_file += [tmp_path / f".other.bin.{gone.pid}-0a.tmp"]
    for each in dead + previous_file:
        each.touch()
    durable.write(path, NEW)
    assert sorted(tmp_path.iterdir()) == sorted([*previous_file, path, durable.previous(path)])

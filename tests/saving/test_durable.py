"""Through a failure or kill -9 at any instant the old file or the new one is there, whole, and nothing else stays."""

import errno
import os
import signal
import stat
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
    durable.write(path, NEW, sound=bool)
    assert (path.read_bytes(), durable.previous(path).read_bytes()) == (NEW, OLD)
    durable.write(path, OLD)
    assert (path.read_bytes(), durable.previous(path).read_bytes()) == (OLD, OLD)
    assert len(list(tmp_path.iterdir())) == 2


def _fails(function: Callable[..., Any], after: int, code: int, times: int = 99) -> Callable[..., Any]:
    """The function, until it has been called so often; then it fails, so many times."""
    left = [after]

    def failing(*arguments: Any, **more: Any) -> Any:
        left[0] -= 1
        if -times <= left[0] < 0:
            raise OSError(code, os.strerror(code))
        return function(*arguments, **more)

    return failing


@pytest.mark.parametrize("missing_links", [False, True], ids=["links", "no links"])
@pytest.mark.parametrize(("call", "after"), [("fsync", 0), ("replace", 0), ("replace", 1)])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_a_failure_leaves_both_files_as_they_were_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, after: int, code: int, missing_links: bool
) -> None:
    path = _before(tmp_path)
    if missing_links:
        monkeypatch.setattr("os.link", _fails(os.link, 0, errno.EPERM))
    monkeypatch.setattr(f"os.{call}", _fails(getattr(os, call), after, code, times=1))
    with pytest.raises(OSError, match=os.strerror(code)):
        durable.write(path, NEW, sound=bool)
    assert (path.read_bytes(), durable.previous(path).read_bytes()) == (OLD, OLDER)
    assert len(list(tmp_path.iterdir())) == 2


def test_where_nothing_can_be_put_back_all_three_files_are_kept_until_the_next_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _before(tmp_path)
    monkeypatch.setattr("os.replace", _fails(os.replace, 1, errno.EIO))
    with pytest.raises(durable.HalfWrittenError) as raised:
        durable.write(path, NEW, sound=bool)
    assert (path.read_bytes(), durable.previous(path).read_bytes()) == (NEW, OLDER)
    assert Path(raised.value.filename).read_bytes() == OLD
    assert raised.value.filename2 == str(durable.previous(path))
    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_or_a_device_in_the_place_of_either_file_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(OLD)
    (durable.previous(path) / "kept").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        durable.write(path, NEW, sound=bool)
    assert path.read_bytes() == OLD
    assert (durable.previous(path) / "kept").is_dir()
    with pytest.raises(IsADirectoryError):
        durable.write(durable.previous(path), NEW)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="Invalid argument"):
        durable.write(pipe, NEW, sound=bool)
    assert pipe.is_fifo()
    assert len(list(tmp_path.iterdir())) == 3
    for folder in ("", ".", "/"):  # paths without a name
        with pytest.raises(IsADirectoryError):
            durable.write(folder, NEW, sound=bool)


def test_what_fails_after_the_files_stand_does_not_fail_the_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that can be written and not read, say, can't be flushed."""
    path = _before(tmp_path)
    monkeypatch.setattr("os.open", _fails(os.open, 1, errno.EACCES))
    durable.write(path, NEW, sound=bool)
    assert (path.read_bytes(), durable.previous(path).read_bytes()) == (NEW, OLD)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o755], ids=oct)
@pytest.mark.parametrize("missing_links", [False, True], ids=["links", "no links"])
def test_the_mode_of_a_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, missing_links: bool
) -> None:
    path = tmp_path / "file.bin"
    durable.write(path, OLD)
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode  # a new one has that of any new file
    path.chmod(mode)
    if missing_links:
        monkeypatch.setattr("os.link", _fails(os.link, 0, errno.EPERM))
    for content in (NEW, OLD, NEW):
        durable.write(path, content, sound=bool)
        assert [stat.S_IMODE(file.stat().st_mode) for file in (path, durable.previous(path))] == [mode, mode]


def test_a_private_file_is_never_readable_by_others_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _before(tmp_path)
    path.chmod(0o600)
    modes = []
    flush = os.fsync
    monkeypatch.setattr("os.fsync", lambda handle: modes.append(os.stat(handle).st_mode & 0o777) or flush(handle))
    durable.write(path, NEW, sound=bool)
    assert modes[0] == 0o600


@pytest.mark.parametrize("previous_is_a_link", [False, True])
def test_a_symbolic_link_stays_one_and_the_file_it_points_to_is_replaced(
    tmp_path: Path, previous_is_a_link: bool
) -> None:
    store, here, third = (tmp_path / name for name in ("store", "here", "third"))
    for folder in (store, here, third):
        folder.mkdir()
    path, link = store / "real.bin", here / "file.bin"
    link.symlink_to(Path("..", "store", "real.bin"))
    if previous_is_a_link:
        (store / "real.previous.bin").symlink_to(third / "before.bin")
    for content in (OLDER, OLD, NEW):  # the first through a link to nothing
        durable.write(link, content, sound=bool)
    assert link.is_symlink()
    assert (path.read_bytes(), durable.previous(link).read_bytes()) == (NEW, OLD)
    assert not path.is_symlink()
    assert durable.previous(link) == durable.previous(path)
    assert durable.previous(path).is_symlink() == previous_is_a_link
    assert [path.name for path in here.iterdir()] == ["file.bin"]
    assert len(list(third.iterdir())) == previous_is_a_link
    loop = here / "loop.bin"
    loop.symlink_to(loop)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        durable.write(loop, NEW)
    assert loop.is_symlink()


def test_a_damaged_file_does_not_become_the_previous_one_where_that_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"

    def sound(content: bytes) -> bool:
        return content in (OLD, NEW, OLDER)

    path.write_bytes(b"damaged")
    durable.write(path, OLDER, sound)  # there is no better one
    assert durable.previous(path).read_bytes() == b"damaged"
    durable.write(path, OLD, sound)
    path.write_bytes(b"damaged")
    durable.write(path, NEW, sound)
    assert (path.read_bytes(), durable.previous(path).read_bytes()) == (NEW, OLDER)


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
durable.write({path!r}, {content!r}, sound=bool)
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
    durable.write(path, NEW, sound=bool)
    assert path.read_bytes() == NEW
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_file_never_replaces_the_sound_one_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the new file stands, the previous one is the only one that may load."""
    path = _before(tmp_path)
    monkeypatch.setattr("os.replace", _fails(os.replace, 0, errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        durable.write(path, NEW, sound=bool)
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

"""Compiled libraries: kept, found again, made again where they are damaged, and what a failing compiler ends in."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_cases import data, network

import bp_torch as bp
from bp_torch.native import build
from bp_torch.training import engines

SETPRIV, MOUNT, UMOUNT = (shutil.which(name) or "" for name in ("setpriv", "mount", "umount"))
ROOT = os.name == "posix" and os.geteuid() == 0
CODE = 'extern "C" int answer() { return 42; }'
AUTO_AND_NATIVE = """
import warnings, torch, bp_torch as bp
from bp_torch.training import engines
engines.WORTH_A_BUILD = 0.0  # auto takes native, though the run is short
warnings.simplefilter("ignore", RuntimeWarning)
for engine in ("auto", "native"):
    net = bp.Network.create([3, 2])
    try:
        list(bp.train(net, (torch.full((4, 3), 0.1), torch.full((4, 2), 0.5)), epochs=1, engine=engine))
        print(engine, "trained")
    except bp.EngineError as error:
        print(engine, error)
"""


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty cache, and nothing loaded; an own temporary folder, in which nothing is left behind."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    forget()
    yield tmp_path / "cache" / "bp_torch"
    forget()
    assert list(temporary.iterdir()) == []


def forget() -> None:
    build._found.cache_clear()
    build._built.cache_clear()


def answer() -> int:
    """What the library says, loaded anew."""
    forget()
    return build.build(CODE, 1).answer()


def compiler_that(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> Path:
    path = folder / "compiler"
    path.write_text(script)
    path.chmod(0o755)
    monkeypatch.setenv("CXX", str(path))
    return path


def program(**environment: str | None) -> list[str]:
    """What auto and native end in, in a process with these variables in its environment."""
    variables = {name: value for name, value in {**os.environ, **environment}.items() if value is not None}
    done = subprocess.run(
        [sys.executable, "-c", AUTO_AND_NATIVE], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_compiler_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path) -> None:
    compiler_that(monkeypatch, tmp_path, "#!/bin/sh\necho 'step.cpp:1: error: no room on the disk' >&2\nexit 1\n")
    with pytest.raises(bp.EngineError, match=r"failed \(step\.cpp:1: error: no room on the disk"):
        build.build("int x;", 1)
    assert not cache.exists() or list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("#!/bin/true\n", r"failed \(exit status 0, and no library\): name another one by CXX, or use engine='eager'"),
        ("just text\n", r"can't be run \(.*\): name another one by CXX, or use engine='eager'"),
        ("#!/bin/sh\nprintf '\\377' >&2; exit 1\n", r"failed \("),
        ("#!/bin/sh\necho text > step.so\n", r"can't be loaded \(.*\): set XDG_CACHE_HOME"),
    ],
    ids=["true", "a text file", "words in no encoding", "no library"],
)
def test_what_is_no_compiler_is_named_and_auto_goes_around_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path, script: str, message: str
) -> None:
    compiler_that(monkeypatch, tmp_path, script)
    monkeypatch.chdir(tmp_path)  # for what it writes where it is asked what it is
    net = network(("sigmoid", "quadratic", "sigmoid"))
    with pytest.raises(bp.EngineError, match=message):
        list(bp.train(net, data(net), epochs=1, engine="native"))
    monkeypatch.setattr(engines, "WORTH_A_BUILD", 0.0)
    engines.say_once.cache_clear()
    with pytest.warns(RuntimeWarning, match="engine='auto' runs as engine='eager' does"):
        list(bp.train(net, data(net), epochs=1))
    assert not cache.exists() or list(cache.iterdir()) == []


def test_a_built_library_is_found_again(cache: Path) -> None:
    assert answer() == 42
    (library,) = cache.glob("*.so")
    written = library.stat().st_ino
    assert answer() == 42
    assert library.stat().st_ino == written


def test_a_library_is_loaded_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    first = build.build(CODE, 1)
    monkeypatch.setattr(ctypes, "CDLL", None)
    monkeypatch.setattr(build, "_run", None)
    assert build.build(CODE, 1) is first


def _halved(library: Path) -> None:
    library.write_bytes(library.read_bytes()[: library.stat().st_size // 2])


def _a_byte_changed(library: Path) -> None:
    library.write_bytes(library.read_bytes()[:-1] + b"!")


def _a_folder(library: Path) -> None:
    library.unlink()
    (library / "inside").mkdir(parents=True)


def _of_another(library: Path) -> None:
    """Whole, and by its name; but of another source."""
    other = b"of another source"
    library.write_bytes(other)
    library.rename(library.with_name(f"{library.name.partition('-')[0]}-{hashlib.sha256(other).hexdigest()}.so"))


DAMAGES = [_halved, lambda library: library.write_bytes(b""), _a_byte_changed, _a_folder, lambda p: p.chmod(0)]


@pytest.mark.parametrize("damage", DAMAGES, ids=["half", "emptied", "a byte", "a folder", "unreadable"])
def test_a_damaged_library_is_made_again(cache: Path, damage) -> None:
    answer()
    (library,) = cache.glob("*.so")
    whole = library.read_bytes()
    damage(library)
    assert answer() == 42
    (library,) = cache.glob("*.so")
    assert library.read_bytes() == whole


def test_what_is_whole_and_can_not_be_loaded_is_gone_around(cache: Path) -> None:
    answer()
    (library,) = cache.glob("*.so")
    _of_another(library)
    assert answer() == 42


def test_a_cache_that_can_not_be_written_leaves_nothing_in_the_temporary_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The fixture looks. Nowhere: a folder of the system's, and a file in the folder's place."""
    (tmp_path / "file").touch()
    for place in ("/proc/nowhere", str(tmp_path / "file")):
        monkeypatch.setenv("XDG_CACHE_HOME", place)
        assert answer() == 42


def test_a_cache_that_no_program_may_run_from_is_gone_around(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """As on a disk that is mounted noexec; and the other way round, with the temporary folder."""
    answer()
    load = ctypes.CDLL
    for barred in (cache, Path(tempfile.gettempdir())):

        def elsewhere(path: str, barred: Path = barred) -> ctypes.CDLL:
            if Path(path).is_relative_to(barred):
                raise OSError("failed to map segment from shared object")
            return load(path)

        monkeypatch.setattr(ctypes, "CDLL", elsewhere)
        assert answer() == 42
        shutil.rmtree(cache)


def test_where_no_library_can_be_loaded_one_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise OSError(f"{path}: failed to map segment from shared object")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    with pytest.raises(bp.EngineError, match=r"can't be loaded \(.*map segment.*\): set XDG_CACHE_HOME .*'eager'"):
        build.build(CODE, 1)


def test_a_full_cache_disk_is_gone_around(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    assert answer() == 42
    assert not cache.exists() or list(cache.iterdir()) == []


def test_without_a_home_auto_and_native_train(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    assert answer() == 42


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [dict(TORCH_COMPILE_DISABLE="1"), dict(XDG_CACHE_HOME="/proc/nowhere"), dict(LC_ALL="C", PYTHONUTF8="0")],
    ids=str,
)
def test_auto_and_native_train_in_any_environment(environment: dict[str, str | None]) -> None:
    assert program(**environment) == ["auto trained", "native trained"]


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT and SETPRIV), reason="needs root")
def test_auto_and_native_train_for_a_user_without_a_home() -> None:
    variables = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # the fixture's lies where this user may not go
        os.chown(folder, 54321, -1)
        command = [SETPRIV, "--reuid", "54321", "--clear-groups", sys.executable, "-c", AUTO_AND_NATIVE]
        environment = {**variables, "TMPDIR": folder}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        left = os.listdir(folder)
    assert done.stdout.splitlines() == ["auto trained", "native trained"], done.stderr
    assert left == []


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT and MOUNT and UMOUNT), reason="needs root")
@pytest.mark.parametrize("options", ["noexec", "size=8k"])
def test_auto_and_native_train_with_a_cache_on_a_disk_that_is_full_or_noexec(tmp_path: Path, options: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run([MOUNT, "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        for _ in range(2):  # the second finds what the first has left
            assert program(XDG_CACHE_HOME=str(disk)) == ["auto trained", "native trained"]
    finally:
        subprocess.run([UMOUNT, str(disk)], check=True)


def test_a_compiler_is_looked_for_again_when_another_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usual = build.compiler()
    named = compiler_that(monkeypatch, tmp_path, "#!/bin/sh\n")
    assert build.compiler() == str(named)
    monkeypatch.setenv("CXX", "")
    assert build.compiler() == usual

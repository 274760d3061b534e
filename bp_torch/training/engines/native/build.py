"""The C++ compiler: printed source to a library, kept in a cache folder.

A library's name in the cache is a hash of all that it was made from (its source, the compiler's flags, and what the
compiler says of itself and of this CPU) and one of its bytes: a damaged one is seen before it is loaded, and made anew.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path

from bp_torch.errors import EngineError

FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
    "-shared",
    "-fPIC",
    "-w",
)


def compiler() -> str | None:
    """The C++ compiler's path: the one that CXX names, or a usual one."""
    return _compiler(os.environ.get("CXX"), os.environ.get("PATH"))


@cache
def _compiler(named: str | None, path: str | None) -> str | None:
    candidates = [named, "g++", "clang++", "c++"]
    return next((found for name in candidates if name and (found := shutil.which(name, path=path))), None)


def build(code: str, threads: int) -> ctypes.CDLL:
    """The library compiled from this source, for one thread or for several; loaded once in a process.

    It comes from the cache where it is there whole. Where nothing can be kept, it is compiled for this process alone.
    Raises EngineError where there is no compiler, with the compiler's first error where it refuses, and where this
    machine lets no library be loaded.
    """
    cxx = compiler()
    if cxx is None:
        raise EngineError("there is no C++ compiler: install g++, or use engine='eager'")
    return _built(code, cxx, threads > 1)


@lru_cache(maxsize=256)
def _built(code: str, cxx: str, parallel: bool) -> ctypes.CDLL:
    flags = (*FLAGS, "-DTHREADS", "-pthread") if parallel else FLAGS
    macros = _macros(cxx, flags)
    if "__AVX512F__" in macros and "__clang__" not in macros:
        flags += ("-mprefer-vector-width=512",)
    made_from = hashlib.sha256("\0".join([code, " ".join(flags), macros]).encode()).hexdigest()[:32]
    folder = _cache_folder()
    if folder is not None and (library := _kept(folder, made_from)):
        return library
    failure = None
    for parent in (None, folder)[: 1 if folder is None else 2]:  # programs may be barred from the temporary folder
        try:
            with tempfile.TemporaryDirectory(dir=parent, prefix="bp_torch-", ignore_cleanup_errors=True) as work:
                path = _compiled(code, cxx, flags, Path(work))
                library = ctypes.CDLL(str(path))
                if folder is not None:
                    _keep(path, folder, made_from)
                return library
        except (OSError, EngineError) as error:
            failure = error
    if isinstance(failure, EngineError):
        raise failure
    raise EngineError(
        f"the compiled step can't be loaded ({failure}): set XDG_CACHE_HOME to a folder on a disk that has room and "
        "that programs may run from, or use engine='eager'"
    )


def _compiled(code: str, cxx: str, flags: tuple[str, ...], work: Path) -> Path:
    """The library, in the folder `work`."""
    source, library = work / "step.cpp", work / "step.so"
    source.write_text(code, encoding="utf-8")
    done = _run(cxx, *flags, source.name, "-o", library.name, folder=work)
    if done.returncode or not library.is_file():
        lines = done.stderr.splitlines() or [f"exit status {done.returncode}, and no library"]
        error = next((line for line in lines if "error" in line), lines[0][:200])
        raise EngineError(f"the C++ compiler {cxx} failed ({error}): name another one by CXX, or use engine='eager'")
    return library


@cache
def _macros(cxx: str, flags: tuple[str, ...]) -> str:
    """What the compiler defines: its version, and what this CPU can do."""
    return _run(cxx, *flags, "-dM", "-E", "-x", "c++", os.devnull).stdout


def _run(*command: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 (the user's own compiler)
            command,
            cwd=folder,
            env=None if folder is None else {**os.environ, "TMPDIR": str(folder)},  # its own files go there too
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            start_new_session=True,  # Ctrl-C is for the caller to handle, not for the compiler
        )
    except OSError as error:
        raise EngineError(
            f"the C++ compiler {command[0]} can't be run ({error}): name another one by CXX, or use engine='eager'"
        ) from error


def _cache_folder() -> Path | None:
    """Where libraries are kept; None without a home, or where there can't be such a folder."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "bp_torch"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return folder


def _kept(folder: Path, made_from: str) -> ctypes.CDLL | None:
    """The library in the cache, if it is there, is whole and can be loaded."""
    with suppress(OSError):
        for path in folder.glob(f"{made_from}-*.so"):
            if path.is_file() and path.name == _name(path, made_from):
                return ctypes.CDLL(str(path))
    return None


def _keep(library: Path, folder: Path, made_from: str) -> None:
    """Puts the library into the cache in the place of damaged ones; leaves the cache alone where that can't be done."""
    with suppress(OSError), tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as work:
        copy = shutil.copyfile(library, Path(work, library.name))
        for old in folder.glob(f"{made_from}-*.so"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        os.replace(copy, folder / _name(library, made_from))


def _name(library: Path, made_from: str) -> str:
    return f"{made_from}-{hashlib.sha256(library.read_bytes()).hexdigest()}.so"

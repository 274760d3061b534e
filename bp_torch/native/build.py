"""The C++ compiler: printed source to a library, kept in a cache folder.

A library is made from its source, the compiler's flags, and what the compiler says of itself and of this CPU. To ask
the compiler takes a process, and to print a source some time: a library is found without either by what the source is
made of, the compiler's file and what the system tells of the CPU.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import takewhile
from pathlib import Path

from bp_torch.errors import EngineError
from bp_torch.native import kept

FLAGS = (
    "-std=c++17",
    "-O2",  # and of -O3 the two that the loops need: the others take a compiler longer, and made some loops slower
    "-ftree-vectorize",
    "-fvect-cost-model=dynamic",
    "-fpeel-loops",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
    "-fopenmp-simd",
    "-shared",
    "-fPIC",
    "-w",
)
THREADED = ("-DTHREADS", "-pthread")
CPU = {"vendor_id", "cpu family", "model", "stepping", "flags"}  # what Linux tells of a CPU of Intel's or AMD's
CPU |= {"CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features"}  # of ARM's


def compiler() -> str | None:
    """The C++ compiler's path: the one that CXX names, or a usual one."""
    return _compiler(os.environ.get("CXX"), os.environ.get("PATH"))


@cache
def _compiler(named: str | None, path: str | None) -> str | None:
    candidates = [named, "g++", "clang++", "c++"]
    return next((found for name in candidates if name and (found := shutil.which(name, path=path))), None)


@dataclass(frozen=True)
class Source:
    """C++ that is printed when it is needed.

    made_of: a text that tells it from all others, from process to process. printed: gives it; None: it is that text.
    """

    made_of: str
    printed: Callable[[], str] | None = field(default=None, compare=False)

    @property
    def code(self) -> str:
        return self.made_of if self.printed is None else self.printed()


def build(source: Source | str, threads: int) -> ctypes.CDLL:
    """The library compiled from this source, for one thread or for several; loaded once in a process.

    It comes from the cache where it is there whole. Where nothing can be kept, it is compiled for this process alone.
    Raises EngineError where there is no compiler, with the compiler's first error where it refuses, and where this
    machine lets no library be loaded.
    """
    cxx = compiler()
    if cxx is None:
        raise EngineError("there is no C++ compiler: install g++, or use engine='eager'")
    return _found(Source(source) if isinstance(source, str) else source, cxx, threads > 1)


@lru_cache(maxsize=256)
def _found(source: Source, cxx: str, parallel: bool) -> ctypes.CDLL:
    """The library by the link to it, or else by its code, which is then linked."""
    flags, folder, of = (*FLAGS, *THREADED * parallel), kept.folder(), _identity(cxx)
    if folder is None or of is None:
        return _built(source.code, cxx, flags)[0]
    link = _hash(source.made_of, *flags, of)
    if (found := kept.linked(folder, link)) is None:
        found, name = _built(source.code, cxx, flags)
        if name is not None:
            kept.keep_link(folder, link, name)
    return found


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


def _identity(cxx: str) -> str | None:
    """The compiler's file and this CPU; None where the file may be there to call another one, or a CPU isn't told."""
    try:
        path = Path(cxx).resolve()
        with path.open("rb") as file:
            is_compiler = file.read(4) == b"\x7fELF" and any(name in path.name for name in ("g++", "clang"))
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            cpu = [line for line in takewhile(str.strip, file) if line.partition(":")[0].strip() in CPU]
        seen = path.stat()
    except OSError:
        return None
    return f"{path} {seen.st_size} {seen.st_mtime_ns} {seen.st_ino} {cpu}" if is_compiler and cpu else None


@lru_cache(maxsize=256)
def _built(code: str, cxx: str, flags: tuple[str, ...]) -> tuple[ctypes.CDLL, str | None]:
    """The library, and its name in the cache, if it is there."""
    macros = _macros(cxx, flags)
    if "__AVX512F__" in macros and "__clang__" not in macros:
        flags += ("-mprefer-vector-width=512",)
    made_from, folder = _hash(code, " ".join(flags), macros), kept.folder()
    if folder is not None and (found := kept.library(folder, made_from)):
        return found
    failure = None
    for parent in (None, folder)[: 1 if folder is None else 2]:  # programs may be barred from the temporary folder
        try:
            with tempfile.TemporaryDirectory(dir=parent, prefix="bp_torch-", ignore_cleanup_errors=True) as work:
                path = _compiled(code, cxx, flags, Path(work))
                library = ctypes.CDLL(str(path))
                return library, None if folder is None else kept.keep(path, folder, made_from)
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

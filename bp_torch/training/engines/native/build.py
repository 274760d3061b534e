"""The C++ compiler: printed source to a library, kept in a cache folder.

A library's name in the cache depends on its source, the compiler's flags and what the compiler says of this CPU.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from bp_torch.errors import EngineError


@cache
def compiler() -> str | None:
    """The C++ compiler's path."""
    candidates = [os.environ.get("CXX"), "g++", "clang++", "c++"]
    return next((path for name in candidates if name and (path := shutil.which(name))), None)


def build(code: str, threads: int) -> ctypes.CDLL:
    """The library compiled from this source, for one thread or for several; from the cache where it is there.

    Raises EngineError with the compiler's first error where it refuses.
    """
    cxx = compiler()
    if cxx is None:
        raise EngineError("there is no C++ compiler: install g++, or use engine='eager'")
    flags = ["-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC", "-w"]
    flags += ["-fopenmp"] if threads > 1 else []
    macros = _run(cxx, *flags, "-dM", "-E", "-x", "c++", os.devnull).stdout
    if "__AVX512F__" in macros and "__clang__" not in macros:
        flags.append("-mprefer-vector-width=512")
    key = hashlib.blake2b("\0".join([code, " ".join(flags), macros]).encode(), digest_size=16)
    folder = _cache_folder()
    library = folder / f"{key.hexdigest()}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as work:
            Path(work, "step.cpp").write_text(code)
            done = _run(cxx, *flags, "step.cpp", "-o", "step.so", folder=work)
            if done.returncode:
                error = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
                raise EngineError(f"the C++ compiler {cxx} failed ({error}): use engine='eager'")
            os.replace(Path(work, "step.so"), library)
    return ctypes.CDLL(str(library))


def _run(*command: str, folder: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 (the user's own compiler)
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,  # Ctrl-C is for the caller to handle, not for the compiler
    )


def _cache_folder() -> Path:
    """Where libraries are kept; where nothing can be written there, a new temporary folder."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bp_torch"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="bp_torch-"))
    return folder

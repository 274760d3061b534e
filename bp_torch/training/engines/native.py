"""The native engine: the step printed as C++ (see cpp.py) and compiled for this CPU once; an epoch is a loop in it.

The compiled library is kept in a cache folder, under a name that depends on its source, the compiler and the CPU.
"""

import ctypes
import hashlib
import math
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from bp_torch.errors import EngineError
from bp_torch.network import Network
from bp_torch.training.engines import cpp
from bp_torch.training.engines.common import Epoch, operations

ALIGNMENT = 64  # bytes: the widest vector
CALL_OPERATIONS = 2_000_000_000  # a call trains for about 50 ms, so that an interrupt is soon seen


def why_not(net: Network, batch_size: int, precision: str) -> str | None:
    """Why this engine can't train the network, or None."""
    w = net.layers[0].w
    if w.device.type != "cpu" or w.dtype not in cpp.REAL or precision != "ieee":
        return "engine='native' is for CPUs, torch.float32 or torch.float64, and precision='ieee'"
    if compiler() is None:
        return "engine='native' needs a C++ compiler (g++ or clang++, or the one that CXX names): install one"
    try:
        cpp.source(net, [1])
    except cpp.UnprintableError as error:
        return f"engine='native' can't print {error}: use engine='eager' or 'compiled'"
    return None


def native(net: Network, x: Tensor, y: Tensor, batch_size: int, precision: str) -> Epoch:
    """The engine: see `Epoch`. x (m, n_0), y (m, n_L), on the CPU."""
    x, y, threads = x.contiguous(), y.contiguous(), torch.get_num_threads()
    sizes = [m for m in (batch_size, len(x) % batch_size) if m]
    library = build(cpp.source(net, sizes), threads)
    number = {torch.float32: ctypes.c_float, torch.float64: ctypes.c_double}[x.dtype]
    pointers = [_padded(t) for layer in net.layers for t in layer]
    addresses = (ctypes.c_void_p * len(pointers))(*(padded.data_ptr() for _, padded in pointers))
    workspaces = {m: _aligned((getattr(library, f"workspace_{m}")(),), x.dtype) for m in sizes}

    def run(order: Tensor, m: int, lr: float) -> float:
        function = getattr(library, f"run_{m}")
        function.restype = ctypes.c_double
        return function(
            ctypes.c_void_p(x.data_ptr()),
            ctypes.c_void_p(y.data_ptr()),
            ctypes.c_void_p(order.data_ptr()),
            ctypes.c_int64(len(order) // m),
            number(-lr / m),
            addresses,
            ctypes.c_void_p(workspaces[m].data_ptr()),
            threads,
        )

    def epoch(order: Tensor, lr: float) -> float:
        total, whole = 0.0, len(order) // batch_size * batch_size
        a_call = batch_size * max(1, CALL_OPERATIONS // operations(net, batch_size))
        calls = [*(order[:whole].split(a_call) if whole else ()), *([order[whole:]] if whole < len(order) else [])]
        for tensor, padded in pointers:
            _columns(padded, tensor).copy_(tensor)
        try:
            for part in calls:
                total += run(part, min(batch_size, len(part)), lr)
                if not math.isfinite(total):
                    break
        finally:
            for tensor, padded in pointers:
                tensor.copy_(_columns(padded, tensor))
        return total

    return epoch


@cache
def compiler() -> str | None:
    """The C++ compiler's path."""
    candidates = [os.environ.get("CXX"), "g++", "clang++", "c++"]
    return next((found for name in candidates if name and (found := shutil.which(name))), None)


def build(code: str, threads: int) -> ctypes.CDLL:
    """The library compiled from this source, for one thread or for several; from the cache where it is there.

    Raises EngineError with the compiler's first error where it refuses.
    """
    cxx = compiler()
    if cxx is None:
        raise EngineError("there is no C++ compiler: install g++, or use engine='eager'")
    flags = ["-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC", "-w"]
    flags += ["-fopenmp"] if threads > 1 else []
    macros = subprocess.run(  # noqa: S603 (the user's own compiler)
        [cxx, *flags, "-dM", "-E", "-x", "c++", os.devnull], capture_output=True, check=False, start_new_session=True
    )
    if b"__AVX512F__" in macros.stdout and b"__clang__" not in macros.stdout:
        flags.append("-mprefer-vector-width=512")
    key = hashlib.blake2b(b"\0".join([code.encode(), " ".join(flags).encode(), macros.stdout]), digest_size=16)
    folder = _cache_folder()
    library = folder / f"{key.hexdigest()}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as work:
            Path(work, "step.cpp").write_text(code)
            done = subprocess.run(  # noqa: S603
                [cxx, *flags, "step.cpp", "-o", "step.so"],
                cwd=work,
                capture_output=True,
                text=True,
                check=False,
                start_new_session=True,  # Ctrl-C is for the caller to handle, not for the compiler
            )
            if done.returncode:
                error = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
                raise EngineError(f"the C++ compiler {cxx} failed ({error}): use engine='eager'")
            os.replace(Path(work, "step.so"), library)
    return ctypes.CDLL(str(library))


def _cache_folder() -> Path:
    """Where libraries are kept; where nothing can be written there, a new temporary folder."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bp_torch"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="bp_torch-"))
    return folder


def _padded(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """A parameter, and memory for it with rows of whole, aligned vectors; beyond its columns stay zeros."""
    width = ALIGNMENT // tensor.element_size()
    columns = -(-tensor.shape[-1] // width) * width
    return tensor, _aligned((*tensor.shape[:-1], columns), tensor.dtype)


def _aligned(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Zeros. torch's own memory on the CPU is aligned to 64 bytes."""
    return torch.zeros(shape, dtype=dtype)


def _columns(padded: Tensor, like: Tensor) -> Tensor:
    return padded[..., : like.shape[-1]]

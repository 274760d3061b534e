"""How many threads a computation on the CPU runs on: few for a small one, whatever torch's own setting is.

A second thread is worth its wake-up in large computations only; beside another busy process, waiting for it may take
hundreds of times as long as a small computation does.
"""

import ctypes
import os
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from threading import Lock
from typing import Any, TypeVar

import torch

A_STEP = 50_000_000  # multiplications in a step, of which there are many: from there on, more threads pay
A_CALL = 1_000_000_000  # in a pass that is asked for once: below that, there is too little to gain

_runtime = ctypes.PyDLL(torch._C.__file__)  # torch's, and with it the OpenMP and the MKL that it is linked with
_setters = [
    getattr(_runtime, name)
    for name in ("omp_set_num_threads", "MKL_Set_Num_Threads_Local")  # a torch may be built without
    if hasattr(_runtime, name)
]
for _setter in _setters:
    _setter.argtypes = [ctypes.c_int]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """torch's computations on the CPU by so many threads, in this thread of Python alone; its setting is put back."""
    before = torch.get_num_threads()
    if count == before:
        yield
        return
    try:
        _set(count)
        yield
    finally:
        _set(before)


def computing(count: int, device: str) -> AbstractContextManager[None]:
    """On so many threads, and in the tensors' own dtype."""
    if torch.is_autocast_enabled(device):
        return _computing(count, device)
    return nullcontext() if count == torch.get_num_threads() else threads(count)  # small trainings ask often


@contextmanager
def _computing(count: int, device: str) -> Iterator[None]:
    with threads(count), own_dtype(device):
        yield


@contextmanager
def own_dtype(device: str) -> Iterator[None]:
    """In the tensors' own dtype: the autocast that a caller is in would multiply in another."""
    if torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            yield
    else:
        yield


def fitting(multiplications: int, worth: int = A_CALL) -> int:
    """How many threads so many multiplications are worth: one, or from `worth` on torch's own setting."""
    return 1 if multiplications < worth else torch.get_num_threads()


F = TypeVar("F", bound=Callable[..., Any])


def by_size(multiplications: Callable[..., int], worth: int = A_CALL) -> Callable[[F], F]:
    """Lets a function of a network run on as many threads as what it does is worth, and in the network's own dtype.

    multiplications says what it does, of its arguments as the caller gave them, checked by nobody. worth: from how many
    on more threads pay; `A_STEP` for what is done again and again.
    """

    def decorator(function: F) -> F:
        @wraps(function)
        def sized(*args: Any, **kwargs: Any) -> Any:
            device = (args[0] if args else kwargs["net"]).layers[0].w.device.type
            with computing(fitting(multiplications(*args, **kwargs), worth), device):
                return function(*args, **kwargs)

        return sized  # pyright: ignore[reportReturnType]

    return decorator


def _set(count: int) -> None:
    """torch's number of threads for this thread of Python.

    torch.set_num_threads also sets what threads that are still to come begin with, for good: a training in one thread
    would change the user's next one. So OpenMP and MKL are told directly, where that does it.
    """
    for setter in _setters:
        setter(count)
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


_held: dict[object, Lock] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_held.clear)


@contextmanager
def alone(key: Hashable) -> Iterator[None]:
    """One thread of Python at a time for each key."""
    with _held.setdefault(key, Lock()):
        try:
            yield
        finally:
            _held.pop(key, None)


def _end_pool() -> None:
    """Ends the threads of torch's OpenMP before each fork of the process; the next computation starts them anew.

    They would not be there in the child, and GNU's OpenMP waits for them for ever. Others see to it themselves.
    """
    _runtime.omp_pause_resource_all(1)  # softly: settings are kept


if hasattr(os, "register_at_fork") and hasattr(_runtime, "omp_pause_resource_all"):
    _runtime.omp_pause_resource_all.argtypes, _runtime.omp_pause_resource_all.restype = [ctypes.c_int], ctypes.c_int
    os.register_at_fork(before=_end_pool)

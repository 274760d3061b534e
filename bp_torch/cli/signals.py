"""Ctrl-C and SIGTERM: what has to be cleaned up is, and what has been trained is saved."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends the process as an exception does, so that what has to be cleaned up is; ignored, it stays so."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def held_back() -> Iterator[list[signal.Signals]]:
    """Holds back the first SIGINT or SIGTERM: it is in the list, and who looks there stops. A second one ends all.

    A signal that the process was started to ignore, as a shell's background jobs ignore SIGINT, stays ignored.
    """
    received: list[signal.Signals] = []
    heeded = [each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]

    def hold(number: int, frame: FrameType | None) -> None:
        received.append(signal.Signals(number))
        for each in heeded:
            signal.signal(each, signal.SIG_DFL)
        with suppress(OSError):  # whoever read it has gone: that shall not keep the run from being saved
            os.write(2, b"\nStopping at the next batch, to save; a second signal ends at once.\n")

    before = {each: signal.signal(each, hold) for each in heeded}
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)

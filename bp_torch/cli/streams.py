"""stdin, stdout and stderr as a program needs them: open, and never what ends it."""

import codecs
import contextlib
import os
import signal
import sys


def repair() -> None:
    """Opens what of the three is closed, onto nothing; and lets a letter that stdout or stderr can't show be \\u03b7.

    A closed one's number would go to the next file that is opened, and messages would then be written into that.
    """
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(handle, True)
    os.close(handle)
    codecs.register_error("bp_torch", _shown)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (it stays open)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="bp_torch")


def _shown(error: UnicodeError) -> tuple[str | bytes, int]:
    """One letter that an encoding lacks: a byte of a file's name as it is, else its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letter = error.object[error.start]
    handler = codecs.lookup_error("surrogateescape" if "\udc80" <= letter <= "\udcff" else "backslashreplace")
    return handler(UnicodeEncodeError(error.encoding, error.object, error.start, error.start + 1, error.reason))


def flushed(code: int) -> int:
    """The exit code `code`, once all that was printed is out; another where that fails, since it was lost."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            broken = isinstance(error, BrokenPipeError)  # whoever read it has gone
            code = code or (128 + signal.SIGPIPE if broken else 2)
            if not broken:
                say(f"what was printed could not be written: {error.strerror}")
            os.dup2(
                os.open(os.devnull, os.O_WRONLY), stream.fileno()
            )  # Python flushes again at its end, and would complain
    return code


def say(line: str) -> None:
    """Prints a line on stderr, if that can still be written."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr)

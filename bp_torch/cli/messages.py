"""The package's messages as a command line's user reads them."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from bp_torch.cli.options import FIELDS
from bp_torch.cli.streams import say


def as_options(message: str) -> str:
    """A message with options for settings: --batch-size for batch_size, --regression for task="regression"."""
    message = re.sub(r'\btask="(\w+)"', r"--\1", message)
    name, must, rest = message.partition(" must ")
    option = CALLED.get(name, name)
    return f"--{option.replace('_', '-')}{must}{rest}" if must and option in FIELDS else message


CALLED = {"root": "data_dir"}
"""Settings that an option calls otherwise."""


@contextmanager
def warnings_in_a_line(program: str) -> Iterator[None]:
    """Each of the package's warnings is one line on stderr, without the place in the code that it comes from."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", RuntimeWarning)
        warnings.showwarning = lambda message, *_: say(f"{program}: {message}")
        yield

"""How pictures are drawn: with matplotlib's own defaults, whatever the user's matplotlibrc asks for."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ONE_AT_A_TIME = threading.Lock()  # matplotlib's settings are the whole process's


@contextmanager
def plain_style() -> Iterator[None]:
    """Figures made and saved meanwhile have matplotlib's default style: none that needs LaTeX or a font, say."""
    import matplotlib.style

    with _ONE_AT_A_TIME, matplotlib.style.context("default"):
        yield


def figure(width: float, height: float) -> "Figure":
    """An empty figure in inches. It goes to a file: no display is needed, and matplotlib only now."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")

"""The package's messages as a command line's user reads them."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bp_torch.cli.options import FIELDS, PARTS, typed_option
from bp_torch.cli.streams import say
from bp_torch.runs.pictures import shortened
from bp_torch.runs.quality import OfClasses, OfValues

NO_BETTER = ", so that the network is no better than this"
ALL, WORST = 8, 5  # classes whose recall is told; of more, so many of the worst


def as_options(message: str) -> str:
    """A message with options for settings: --batch-size for batch_size, --regression for task="regression"."""
    message = SETTING.sub(_as_option, message)
    message = re.sub(r"\btorch\.(?=b?float)", "", message).replace(" a smaller lr", " a smaller --lr")
    name, must, rest = message.partition(" must ")
    option = CALLED.get(name, name)
    return f"--{option.replace('_', '-')}{must}{rest}" if must and option in (*FIELDS, *PARTS) else message


SETTING = re.compile(r"""\b(\w+)=(?:'([\w-]+|[^']*"[^']*)'|"([^"]+)"|(\d+))(?!\w)""")
"""A setting as Python's users type it."""


def _as_option(found: re.Match[str]) -> str:
    name, *values = found.groups()
    return typed_option(name, next(filter(None, values))) if name in FIELDS else found[0]


CALLED = {"root": "data_dir", "rate": "lr"}
"""Settings that an option calls otherwise."""


@contextmanager
def warnings_in_a_line(program: str) -> Iterator[None]:
    """Each of the package's warnings is one line on stderr, without the place in the code that it comes from."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", RuntimeWarning)
        warnings.showwarning = lambda message, *_: say(f"{program}: {as_options(str(message))}")
        yield


def figures(quality: OfClasses | OfValues, names: Sequence[str], target: str | None) -> tuple[str, list[str]]:
    """The first figure of a quality, and lines of what it is to be held against.

    names: of the classes. target: what a real value is, and is counted in.
    """
    if isinstance(quality, OfValues):
        spread = f"always their mean: root mean square error {quality.spread:.5g}"
        if quality.error is None:
            return "no root mean square error, since outputs are not finite", [spread]
        if quality.error >= quality.spread:
            spread += NO_BETTER
        r2 = "no R², since they all have one value" if quality.r2 is None else f"R² {quality.r2:.4f}"
        return f"root mean square error {quality.error:.5g} (in {target}), {r2}", [spread]
    always = f'always "{shortened(names[quality.commonest], 30)}", the commonest class: accuracy {quality.share:.2%}'
    if quality.accuracy <= quality.share:
        always += NO_BETTER
    told = [(share, c) for c, share in enumerate(quality.recall) if share is not None]
    some = told if len(told) <= ALL else sorted(told)[:WORST]
    recalls = ", ".join(f'"{shortened(names[c], 30)}" {share:.1%} of {quality.counts[c]}' for share, c in some)
    if missing := len(quality.recall) - len(told):
        recalls += f"; of {missing} more there is no test example"
    which = "of each class" if some is told else f"of the {WORST} worst of {len(told)} classes"
    return (
        f"accuracy {quality.accuracy:.2%}",
        [
            always,
            f"balanced accuracy {quality.balanced:.2%}, the mean of the classes' recalls",
            f"recall {which}: {recalls}",
        ],
    )


def counted(count: int, thing: str) -> str:
    """1 row, 2 rows."""
    return f"{count} {thing}{'s' * (count != 1)}"


def times(training: float, wall: float | None) -> str:
    """Two times of the same epochs, in seconds, by what was done in them; wall: None where it isn't known."""
    more = "" if wall is None else f", {wall:.2f} s with preparing, evaluating and saving"
    return f"{training:.2f} s of training alone{more}"

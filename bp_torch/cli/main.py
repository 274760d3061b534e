"""Which program runs, how it is typed, and how it ends.

Bad input ends in one sentence and exit code 2. A divergence, and what memory doesn't hold, end in one sentence and exit
code 1. There is no traceback, once the package is imported.
"""

import argparse
import difflib
import importlib
import logging
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from bp_torch.cli import streams
from bp_torch.version import VERSION

NAME = "bp-torch"
HELP = Path(__file__).with_name("help")
COMMANDS = {
    "train": "trains a network and keeps the run in a folder",
    "predict": "evaluates a run on its test set, predicts a table's rows, or reads digits from image files",
    "report": "makes one page of a run",
    "check": "holds the gradients to differences of the cost, on this machine",
    "experiments": "makes the chapter's statements into pictures",
}
"""The programs, each a module of this folder with `add_options` and `run`."""


def main(program: str | None = None) -> NoReturn:
    """Runs the program of this name on the command line's arguments; without a name, the first argument is it."""
    prepare()
    arguments = sys.argv[1:]
    try:
        if program is None:
            program, arguments = _chosen(arguments)
        command = str(program)
        options = arguments[: arguments.index("--")] if "--" in arguments else arguments
        if "--help" in options or "-h" in options:
            print(help_of(command), end="")
            sys.exit(0)
        if unknown := _unknown(command, options):
            sys.exit(_say(typed(command), unknown, 2))
        module = importlib.import_module(f"bp_torch.cli.{command}")
        options = parser_of(command).parse_args(arguments)
    except SystemExit as ended:  # argparse's, after --help or its own message
        sys.exit(streams.flushed(int(ended.code or 0)))
    except KeyboardInterrupt:
        sys.exit(_say(typed(program or "train"), "interrupted", 130))
    ends(typed(command), lambda: module.run(options))


def parser_of(command: str) -> argparse.ArgumentParser:
    """What parses the options of a program. To make it takes seconds, since torch is imported."""
    module = importlib.import_module(f"bp_torch.cli.{command}")
    parser = argparse.ArgumentParser(
        prog=typed(command),
        description=module.__doc__,
        epilog="\n  ".join(["examples:", *(typed(command, *example) for example in module.EXAMPLES)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_options(parser)
    return parser


def help_of(command: str) -> str:
    """What --help of a program prints, at once: the text of its parser, which `make help` keeps in a file."""
    text = (HELP / f"{command}.txt").read_text(encoding="utf-8")
    return text.replace(f"{NAME} {command}", typed(command))


def _unknown(command: str, options: list[str]) -> str | None:
    """The sentence for an option that the program's help does not name: at once, where its parser takes seconds.

    An option that is new is unknown until `make help` has put it there.
    """
    known = set(re.findall(r"--[a-z][\w-]*", help_of(command)))
    for option in (each.partition("=")[0] for each in options if each.startswith("--")):
        if option not in known:
            near = difflib.get_close_matches(option, known, 1)
            meant = f"did you mean {near[0]}? " if near else ""
            return f"there is no option {option}: {meant}{typed(command, '--help')} lists them"
    return None


def prepare() -> None:
    """Makes this process one that neither a terminal nor a locale nor matplotlib's settings end."""
    streams.repair()
    os.environ["MPLBACKEND"] = "Agg"  # pictures go to files; no display is needed
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # a home that can't be written, a font: nothing to act on


def _chosen(arguments: list[str]) -> tuple[str, list[str]]:
    """The program that the first argument names, and its own arguments. "help train" is "train --help"."""
    parser = argparse.ArgumentParser(
        prog=shlex.join(_called()),
        description="Feed-forward networks trained by backpropagation written out by hand.",
        usage="%(prog)s [-h] [--version] PROGRAM ...",
        epilog="\n".join(["programs:", *(f"  {name:<12} {what}" for name, what in COMMANDS.items())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"bp_torch {VERSION}")
    parser.add_argument("program", metavar="PROGRAM", nargs="?", default="", help="its own options: PROGRAM --help")
    if not arguments or arguments == ["help"]:
        arguments = ["--help"]
    if arguments[0] == "help":
        arguments = [arguments[1], "--help"]
    name = parser.parse_args(arguments[:1]).program
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
        sys.exit(_say(parser.prog, f"there is no program {name!r}: {meant}", 2))
    return name, arguments[1:]


def _called() -> list[str]:
    """How the command was called: by its name, or as a module."""
    script = Path(sys.argv[0])
    as_module = script.name == "__main__.py" and script.parent.name == "bp_torch"
    return ["python", "-m", "bp_torch"] if as_module else [NAME]


def typed(command: str, *arguments: object) -> str:
    """How a user types a program, as the one that runs was typed: by scripts/ of a checkout, bp-torch or python -m."""
    script = Path(sys.argv[0])
    by_script = script.stem in COMMANDS and script.suffix == ".py"
    program = ["python", script.with_name(f"{command}.py")] if by_script else [*_called(), command]
    return shlex.join([*map(str, program), *(_no_option(each) for each in arguments)])


def _no_option(argument: object) -> str:
    """An argument's text; a path that begins like an option gets ./ before it."""
    text = str(argument)
    return os.path.join(os.curdir, text) if isinstance(argument, Path) and text.startswith("-") else text


def ends(program: str, run: Callable[[], int]) -> NoReturn:
    """Runs a program's work, and ends the process with its exit code. program: as the user typed it."""
    from bp_torch.cli.messages import as_options, warnings_in_a_line
    from bp_torch.errors import CheckpointError, DataError, DivergenceError, EngineError, is_of_memory

    try:
        with warnings_in_a_line(program):
            code = run()
    except SystemExit as ended:  # SIGTERM's
        code = int(ended.code or 0)
    except (DivergenceError, EngineError) as error:
        code = _say(program, as_options(str(error)), 1)
    except BrokenPipeError:  # whoever read what is printed has gone
        code = 128 + signal.SIGPIPE
    except (ValueError, OSError, DataError, CheckpointError) as error:
        code = _say(program, as_options(_of_system(error) or str(error)), 2)
    except (RuntimeError, MemoryError) as error:
        if not is_of_memory(error):
            raise
        what = "memory does not hold a network or batch of this size: use smaller --hidden or --batch-size"
        code = _say(program, what, 1)
    except KeyboardInterrupt:
        code = _say(program, "interrupted", 130)
    sys.exit(streams.flushed(code))


def _of_system(error: Exception) -> str | None:
    """The sentence for a file that can't be had, a full disk and their like; None for other errors."""
    if not isinstance(error, OSError) or not error.strerror:
        return None
    if error.filename is None:
        return f"what was to be printed or saved could not be written ({error.strerror})"
    return f"{error.filename} can't be read or written: {error.strerror}"


def _say(program: str, what: object, code: int) -> int:
    streams.say(f"{program}: {what}")
    return code

"""Keeps what --help of each program prints in bp_torch/cli/help/. To be run after a change of options: `make help`."""

import os
import sys

from bp_torch.cli.main import COMMANDS, HELP, NAME, parser_of


def text_of(command: str) -> str:
    """The help of a program, as one types it who has no checkout, in 80 columns and without colours."""
    sys.argv = [NAME]
    os.environ.update(COLUMNS="80", NO_COLOR="1")
    return parser_of(command).format_help()


if __name__ == "__main__":
    HELP.mkdir(exist_ok=True)
    for command in COMMANDS:
        (HELP / f"{command}.txt").write_text(text_of(command), encoding="utf-8")

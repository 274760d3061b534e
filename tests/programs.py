"""Runs the programs in this process."""

import os

import pytest

from bp_torch.cli import main


def call(command: str, *arguments: object) -> int:
    """Runs a program as `python scripts/COMMAND.py` does: its exit code."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setenv("MPLBACKEND", os.environ.get("MPLBACKEND", ""))  # it is the program's to set
        patch.setattr("sys.argv", [f"scripts/{command}.py", *map(str, arguments)])
        main(command)
    return int(str(ended.value.code))

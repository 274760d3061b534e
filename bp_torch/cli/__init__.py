"""The programs: `bp-torch train` and its siblings. Options, printing and exit codes live here and nowhere else."""

from bp_torch.cli.main import main

__all__ = ["main"]

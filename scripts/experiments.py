"""Runs an experiment: `bp-torch experiments`, from a checkout."""

from bp_torch.cli import main

if __name__ == "__main__":
    main("experiments")

"""Evaluates a run, or reads digits: `bp-torch predict`, from a checkout."""

from bp_torch.cli import main

if __name__ == "__main__":
    main("predict")

"""Checks the gradients: `bp-torch check`, from a checkout."""

from bp_torch.cli import main

if __name__ == "__main__":
    main("check")

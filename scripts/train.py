"""Trains a network: `bp-torch train`, from a checkout."""

from bp_torch.cli import main

if __name__ == "__main__":
    main("train")

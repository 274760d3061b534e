"""Reports on a run: `bp-torch report`, from a checkout."""

from bp_torch.cli import main

if __name__ == "__main__":
    main("report")

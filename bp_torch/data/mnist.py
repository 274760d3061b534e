"""MNIST, downloaded by torchvision."""

from pathlib import Path

import torch
from torch import Tensor

from bp_torch import checks
from bp_torch.errors import DataError


def mnist(split: str, *, root: str | Path = "data", device: str | torch.device = "cpu") -> tuple[Tensor, Tensor]:
    """The MNIST digits of 28×28 pixels: x (m, 784) float32 in [0, 1], y (m,) int64.

    split: "train" (60,000 digits) or "test" (10,000). root: the folder that holds MNIST/raw, or gets it by download.

    Raises DataError where the files are neither there nor to be had; no other data set is ever put in their place.
    Source: Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits".
    """
    checks.one_of("split", split, ("train", "test"))
    device = checks.available_device(device)
    try:
        from torchvision.datasets import MNIST
    except ImportError as error:
        raise DataError("MNIST is loaded by torchvision, which is not installed: pip install torchvision") from error
    try:
        found = MNIST(root, train=split == "train", download=True)
    except (OSError, RuntimeError, EOFError, ValueError, AssertionError) as error:
        raise DataError(_advice(Path(root) / "MNIST" / "raw", MNIST.resources, error)) from error
    x = found.data.to(device).flatten(1).to(torch.float32) / 255
    return x, found.targets.to(device, torch.int64)


def _advice(raw: Path, resources: list[tuple[str, str]], error: Exception) -> str:
    names = ", ".join(name for name, _ in resources)
    return (
        f"MNIST could not be loaded from {raw} or downloaded into it. What was tried: {' '.join(str(error).split())} "
        f"To use it without a network, put the four files {names} into {raw.resolve()}. "
        f"To train without a download: python scripts/train.py --dataset digits"
    )

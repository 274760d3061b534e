"""The set that needs no download: scikit-learn's handwritten digits."""

import torch
from torch import Tensor

from bp_torch import checks


def digits(split: str, *, device: str | torch.device = "cpu") -> tuple[Tensor, Tensor]:
    """1,797 handwritten digits of 8×8 pixels: x (m, 64) float32 in [0, 1], y (m,) int64.

    split: "train" (1,437 digits) or "test" (360); the split is fixed, and holds every digit in equal shares. Source:
    E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits" (UCI, 1998), as scikit-learn ships it.
    """
    checks.one_of("split", split, ("train", "test"))
    device = checks.available_device(device)
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    train, test = train_test_split(range(len(labels)), test_size=360, stratify=labels, random_state=0)
    chosen = train if split == "train" else test
    x = torch.tensor(pixels[chosen] / 16, dtype=torch.float32, device=device)
    return x, torch.tensor(labels[chosen], dtype=torch.int64, device=device)

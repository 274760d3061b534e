"""Data sets as a pair (x, y): x (m, n) floats in [0, 1], one example a row; y (m,) int64 class indices."""

from bp_torch.data.digits import digits
from bp_torch.data.mnist import mnist

__all__ = ["digits", "mnist"]

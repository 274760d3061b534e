"""Numbers of 16 bits, widened for their squares: in float16 these overflow from 256 on, and vanish below 1e-4."""

from torch import Tensor


def widened(t: Tensor) -> Tensor:
    """t in float32 where its dtype has 16 bits; else t itself."""
    return t.float() if t.dtype.itemsize < 4 else t

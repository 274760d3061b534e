"""Data sets as a pair (x, y): x (m, n) floats, one example a row; y (m,) int64 class indices.

Pixels lie in [0, 1]. Only `table` has real-valued targets too: a column y (m, 1). `load` has them all by name.
"""

from bp_torch.data.digits import digits
from bp_torch.data.idx import idx
from bp_torch.data.mnist import fashion_mnist, kmnist, mnist
from bp_torch.data.named import Split, load
from bp_torch.data.pictures import picture, seen
from bp_torch.data.preprocessing import Preprocessing
from bp_torch.data.table import Table, table

__all__ = [
    "Preprocessing",
    "Split",
    "Table",
    "digits",
    "fashion_mnist",
    "idx",
    "kmnist",
    "load",
    "mnist",
    "picture",
    "seen",
    "table",
]

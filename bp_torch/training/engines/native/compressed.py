"""Examples without their zeros, as the printed step takes them: see zeros.h."""

import ctypes
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bp_torch.native import density

MOST_BY_RULE = 0.5  # of the inputs of a few examples, the share that may be active: a rule changes all weights
NEURONS = 64  # of the first layer, from which on an epoch earns that its examples are compressed
SEEN_AGAIN = 64  # before each epoch
SLACK = 64  # bytes behind the values, which are read by whole vectors


class Compressed(NamedTuple):
    """A bit for each input, the values of those that are not 0, row after row, and where each row's begin.

    Where the CPU lacks AVX-512, which expands them quickly, values are the rows as they are, and the others are empty.
    sample: some of the examples, to see by whether they have been changed since; version: torch's count of changes.
    """

    bits: Tensor
    values: Tensor
    first: Tensor
    sample: Tensor
    version: int

    @property
    def addresses(self) -> Any:
        return (ctypes.c_void_p * 3)(*(t.data_ptr() for t in self[:3]))

    def is_of(self, x: Tensor) -> bool:
        """Whether x is as it was: by torch's count of changes and a sample; not known of NumPy's memory."""
        seen = _version(x) == self.version and torch.equal(x[density.some(len(x), SEEN_AGAIN)], self.sample)
        return seen and not is_shared(x)


def is_shared(x: Tensor) -> bool:
    """Whether NumPy has the same memory, whose writes torch does not count. Then torch can't resize it."""
    return not x.untyped_storage().resizable()


def pays(x: Tensor, neurons: int, plain: bool) -> bool:
    """Whether a step on these examples (m, n_0) is the faster for skipping their zeros, by a look at some of them.

    neurons: of the first layer. plain: whether it is the step of plain gradient descent.
    """
    if is_shared(x) and neurons < NEURONS:  # shared memory is compressed anew in each epoch
        return False
    return density.is_sparse_enough(x, density.MOST if plain else MOST_BY_RULE)


def compressed(library: ctypes.CDLL, x: Tensor) -> Compressed:
    """The examples x (m, n_0), as the library takes them."""
    x = x.resolve_neg().contiguous()
    m, n = x.shape
    if not library.is_compressed():
        nothing = torch.empty(0, dtype=torch.int64, device="cpu")
        return Compressed(nothing, x, nothing, x[density.some(m, SEEN_AGAIN)], _version(x))
    bits = torch.empty(m * -(-n // 64), dtype=torch.int64, device="cpu")
    values = torch.empty(m * n + SLACK, dtype=x.dtype, device="cpu")  # what is not written takes no memory
    first = torch.empty(m + 1, dtype=torch.int64, device="cpu")
    compress = library.compress
    compress.argtypes = [ctypes.c_void_p, ctypes.c_int64, *[ctypes.c_void_p] * 3]
    compress.restype = None
    compress(x.data_ptr(), m, bits.data_ptr(), values.data_ptr(), first.data_ptr())
    return Compressed(bits, values, first, x[density.some(m, SEEN_AGAIN)], _version(x))


def _version(x: Tensor) -> int:
    return 0 if x.is_inference() else x._version

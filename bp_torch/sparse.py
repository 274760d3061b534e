"""Sparse x: a matrix (m, n) of which only the stored values take memory and time, as a torch.sparse_csr tensor.

torch's own products take it. What torch lacks for it stands here: rows, masks, and the columns that some rows use. The
functions of rows and values take a dense x too, so that a caller need not ask which it has. A row's columns are in
order and distinct (`canonical`); a stored 0 is allowed.
"""

import warnings
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from bp_torch import given

LAYOUTS = (torch.sparse_csr, torch.sparse_csc, torch.sparse_coo, torch.sparse_bsr, torch.sparse_bsc)
"""torch's sparse ones, all of which become the first."""


class Active(NamedTuple):
    """The columns that are not zero throughout: their numbers (k,), in order, and what they hold, CSR (k, m)."""

    numbers: Tensor
    values: Tensor


def is_sparse(x: Tensor) -> bool:
    """Whether x is a sparse tensor in compressed rows."""
    return x.layout == torch.sparse_csr


def is_scipy(x: object) -> bool:
    """Whether x is one of SciPy's sparse matrices or arrays, of any format."""
    return hasattr(x, "tocsr") and hasattr(x, "nnz")


def stored(x: object) -> int | None:
    """How many values a sparse x stores, torch's of any layout or SciPy's; None for all that is not sparse."""
    if is_scipy(x):
        return cast(Any, x).nnz
    return x._nnz() if isinstance(x, Tensor) and x.layout in LAYOUTS else None


@cache
def _warned() -> None:
    """Lets torch warn, once and unheard, that its sparse tensors are in beta state."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        index = torch.zeros(2, dtype=torch.int64, device="cpu")
        torch.sparse_csr_tensor(index, index[:0], index[:0], (1, 1), dtype=torch.float32, device="cpu")


def compressed(bounds: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A sparse tensor (m, n). bounds (m + 1,): row i is stored from bounds[i] to before bounds[i + 1]."""
    _warned()
    return torch.sparse_csr_tensor(
        bounds, columns, values, shape, dtype=values.dtype, device=values.device, check_invariants=False
    )


def of_scipy(x: Any, dtype: torch.dtype, device: torch.device) -> Tensor | None:
    """SciPy's x (m, n) as a tensor; None where this dtype does not hold its values exactly."""
    rows = x.tocsr()
    values = given.exactly(rows.data, dtype)
    if values is None:
        return None
    parts = (each if each.flags.writeable else each.copy() for each in (rows.indptr, rows.indices))  # else torch warns
    bounds, columns = (torch.as_tensor(each, dtype=None, device=device) for each in parts)
    return compressed(bounds, columns, values.to(device), rows.shape)


def canonical(x: Tensor) -> Tensor:
    """A sparse tensor (m, n) of any of torch's layouts in compressed rows, its columns in order and distinct.

    x itself, if it is so. Values of one place are summed. Raises ValueError for indices that are out of bounds.
    """
    _warned()
    x = x if is_sparse(x) else x.to_sparse_csr()
    bounds, columns, (m, n) = x.crow_indices(), x.col_indices(), x.shape
    sound = len(bounds) == m + 1 and int(bounds[0]) == 0 and int(bounds[-1]) == len(columns) == len(x.values())
    if not sound or bool((bounds.diff() < 0).any()) or bool(((columns < 0) | (columns >= n)).any()):
        raise ValueError(
            f"the indices of this sparse tensor don't fit its shape {(m, n)}: make it with check_invariants=True to "
            "see where"
        )
    places = row_numbers(x) * n + columns
    if bool((places.diff() > 0).all()):
        return x
    places, which = places.unique(return_inverse=True)
    values = x.values().new_zeros(len(places)).index_add_(0, which, x.values())
    return compressed(_bounds((places // n).bincount(minlength=m)), places % n, values, (m, n))


def values(x: Tensor) -> Tensor:
    """The stored values (nnz,) of a sparse x; a dense one itself."""
    return x.values() if is_sparse(x) else x


def with_values(x: Tensor, stored: Tensor) -> Tensor:
    """A sparse x with these values (nnz,) in the places of its own; of a dense one, the values themselves."""
    if not is_sparse(x):
        return stored
    return compressed(x.crow_indices(), x.col_indices(), stored, x.shape)


def width(x: Tensor) -> int:
    """How many numbers a row of x holds: its length; of a sparse x the mean of what is stored, rounded up."""
    return -(-x.values().numel() // max(1, len(x))) if is_sparse(x) else x.shape[-1]


def row_bytes(x: Tensor) -> int:
    """The memory of a row of x, of a sparse one on average with its indices."""
    index = x.col_indices().element_size() if is_sparse(x) else 0
    return max(1, width(x)) * (x.element_size() + index)


def row_numbers(x: Tensor) -> Tensor:
    """The row (nnz,) of each stored value of a sparse x, int64."""
    counts = x.crow_indices().diff()
    return torch.arange(len(x), dtype=torch.int64, device=x.device).repeat_interleave(counts)


def places(x: Tensor, first: int = 0) -> Tensor:
    """Each stored value's number (nnz,) among all m n places of a sparse x that has `first` rows before it, int64."""
    return (row_numbers(x) + first) * x.shape[-1] + x.col_indices()


def pick(x: Tensor, which: Tensor | slice) -> Tensor:
    """Rows of x: those of an index (k,), in its order, or those that are True (m,); slice(None): all."""
    if isinstance(which, slice):
        return x[which] if not is_sparse(x) else x
    if which.dtype == torch.bool:
        which = which.nonzero().squeeze(1)
    if not is_sparse(x):
        return x.index_select(0, which)
    begin = x.crow_indices()
    counts = begin.diff().index_select(0, which)
    bounds = _bounds(counts)
    shift = (begin.index_select(0, which) - bounds[:-1]).repeat_interleave(counts)
    stored = torch.arange(len(shift), dtype=torch.int64, device=x.device) + shift
    columns, picked = x.col_indices().index_select(0, stored), x.values().index_select(0, stored)
    return compressed(bounds, columns, picked, (len(which), x.shape[-1]))


def split(x: Tensor, rows: int) -> list[Tensor]:
    """x in parts of so many rows, the last one of what is left; they share its memory, but for a sparse x's bounds."""
    if not is_sparse(x):
        return list(x.split(rows))
    bounds = x.crow_indices()
    edges = bounds[::rows].tolist()
    if (len(bounds) - 1) % rows:
        edges.append(x.values().numel())
    return [
        compressed(
            bounds[k * rows : (k + 1) * rows + 1] - first,
            x.col_indices()[first:end],
            x.values()[first:end],
            (min(rows, len(x) - k * rows), x.shape[-1]),
        )
        for k, (first, end) in enumerate(pairwise(edges))
    ]


def masked(x: Tensor, mask: Tensor) -> Tensor:
    """x times a mask like it; of a sparse x, one of its stored values alone (nnz,) is taken too."""
    if not is_sparse(x):
        return x * mask
    if mask.ndim > 1:
        mask = mask[row_numbers(x), x.col_indices()]
    return with_values(x, x.values() * mask)


def active(x: Tensor) -> Active:
    """The columns of a sparse x (m, n) that are used: what BP4 changes the weights of."""
    columns, order = x.col_indices().sort(stable=True)
    numbers, counts = columns.unique_consecutive(return_counts=True)
    held = compressed(_bounds(counts), row_numbers(x)[order], x.values()[order], (len(numbers), len(x)))
    return Active(numbers.long(), held)


def of_rows(numbers: Tensor, x: Tensor) -> Tensor:
    """A number for each row of x (m,) as it meets the row's `values`: (nnz,) for a sparse x, (m, 1) for a dense one."""
    return numbers[row_numbers(x)] if is_sparse(x) else numbers.unsqueeze(-1)


def row_norms(x: Tensor) -> Tensor:
    """‖row‖ of each row of a sparse x (m,), in float64; scaled before it is squared."""
    limits, sizes, rows = torch.finfo(torch.float64), x.values().double().abs(), row_numbers(x)
    largest = sizes.new_zeros(len(x)).scatter_reduce(0, rows, sizes, "amax").clamp_(limits.tiny, limits.max)
    squares = (sizes / largest[rows]).square()
    return sizes.new_zeros(len(x)).index_add_(0, rows, squares).sqrt_().mul_(largest)


def narrowed(x: Tensor, numbers: Tensor) -> Tensor:
    """A sparse x of these columns alone (k,), which are in order and all that it stores."""
    columns = torch.searchsorted(numbers, x.col_indices())
    return compressed(x.crow_indices().to(columns.dtype), columns, x.values(), (len(x), len(numbers)))


def products(x: Tensor, other: Tensor) -> Tensor:
    """x · x′ of all pairs of rows of two matrices (m, n) and (m′, n), both dense or both sparse: dense (m, m′)."""
    product = x @ other.mT
    return product.to_dense() if product.layout != torch.strided else product


def _bounds(counts: Tensor) -> Tensor:
    """Where each of some rows begins, and the end: 0 and the running sums of how much they store."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0, dtype=counts.dtype)])


def entering(a: Tensor, w: Tensor) -> Tensor:
    """w a for the rows of a sparse a (m, n_in): (…, m, n_out) for w (…, n_out, n_in)."""
    product = a @ w.flatten(0, -2).mT
    return product if w.ndim == 2 else product.unflatten(1, w.shape[:-1]).movedim(0, -2)


def gathered(delta: Tensor, a: Tensor) -> Tensor:
    """δᵀa (…, n_out, n_in) of δ (…, m, n_out) and a sparse a (m, n_in), dense; it lies in memory column by column."""
    used = active(a)
    total = delta.new_zeros(a.shape[-1], delta.shape[:-2].numel() * delta.shape[-1])
    total.index_add_(0, used.numbers, used.values @ delta.movedim(-2, 0).flatten(1))  # twice as fast as index_copy_
    return total.mT.unflatten(0, (*delta.shape[:-2], delta.shape[-1]))


def gather_into(w: Tensor, delta: Tensor, a: Tensor) -> None:
    """w ← w + δᵀa in place, for w (n_out, n_in), δ (m, n_out) and a sparse a (m, n_in): in the columns that a uses."""
    used = active(a)
    w.mT.index_add_(0, used.numbers, used.values @ delta)

"""Sparse x against the same x dense: the maths. Training stands in training/test_sparse.py."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import Tensor

import bp_torch as bp
from bp_torch import clipping, dropout, equations, per_example, sparse
from bp_torch.insight.learning_speed import slopes

RNG = torch.Generator().manual_seed(0)
M, SIZES = 23, [17, 6, 4]
X = torch.randn(M, SIZES[0], generator=RNG, dtype=torch.float64)
X[torch.rand(X.shape, generator=RNG) < 0.8] = 0
X[4], X[:, 7] = 0, 0  # an example of nothing, and a word that nobody says
Y = torch.randint(0, SIZES[-1], (M,), generator=RNG)
NET = bp.Network.create(SIZES, hidden="tanh", cost="softmax_cross_entropy", seed=1, dtype=torch.float64)
STACK = bp.stack([NET, bp.Network.create(SIZES, hidden="tanh", cost="softmax_cross_entropy", dtype=torch.float64)])


def rows(x: Tensor = X) -> Any:
    """As SciPy has it: `Any`, since the passes name tensors alone."""
    return scipy.sparse.csr_array(x.numpy())


def compressed(x: Tensor = X) -> Tensor:
    made = sparse.of_scipy(rows(x), x.dtype, x.device)
    assert made is not None
    return made


def doubled() -> Tensor:
    """X with each row's columns backwards, each value in two halves, and a stored 0."""
    i, k = (t.flip(0) for t in X.nonzero(as_tuple=True))
    both, order = torch.cat([i, i, torch.tensor([4])]), torch.cat([k, k, torch.tensor([2])])
    values = torch.cat([X[i, k] / 2, X[i, k] / 2, torch.zeros(1, dtype=X.dtype)])
    by_row = both.sort(stable=True).indices
    bounds = torch.cat([torch.zeros(1, dtype=torch.int64), both.bincount(minlength=M).cumsum(0)])
    return sparse.compressed(bounds, order[by_row], values[by_row], tuple(X.shape))


FORMS: dict[str, Callable[[], Any]] = {
    "torch CSR": compressed,
    "torch CSR, int32": lambda: sparse.compressed(
        compressed().crow_indices().int(), compressed().col_indices().int(), compressed().values(), (M, SIZES[0])
    ),
    "torch CSR, unsorted, with duplicates": doubled,
    # torch warns of its beta state where the first one of a process is made: the package makes that
    "torch CSC": lambda: compressed().to_sparse_csc(),
    "torch COO": lambda: compressed().to_sparse_coo(),
    "SciPy csr_array": rows,
    "SciPy csr_matrix": lambda: scipy.sparse.csr_matrix(X.numpy()),
    "SciPy csc": lambda: scipy.sparse.csc_matrix(X.numpy()),
    "SciPy coo": lambda: scipy.sparse.coo_array(X.numpy()),
    "SciPy lil": lambda: scipy.sparse.lil_array(X.numpy()),
}
each_form = pytest.mark.parametrize("form", FORMS)


def close(ours: Any, reference: Any) -> None:
    torch.testing.assert_close(ours, reference, rtol=1e-12, atol=1e-12)


@each_form
@pytest.mark.parametrize("net", [NET, STACK], ids=["one", "stack"])
def test_passes_are_those_of_the_dense_x(form: str, net: bp.Network) -> None:
    x = FORMS[form]()
    close(net.forward(x).a[1:], net.forward(X).a[1:])
    close(net.cost(x, Y), net.cost(X, Y))
    close(net.gradients(x, Y), net.gradients(X, Y))
    assert all(t.is_contiguous() for layer in net.gradients(x, Y) for t in layer)
    assert torch.equal(net.predict(x), net.predict(X))
    assert net.accuracy(x, Y) == net.accuracy(X, Y)
    close(bp.backprop(net, x, Y).delta, bp.backprop(net, X, Y).delta)


def test_a_canonical_tensor_is_taken_as_it_is() -> None:
    x = compressed()
    assert NET.forward(x).a[0] is x
    brought = rows()
    assert NET.forward(brought).a[0].values().data_ptr() == brought.data.ctypes.data  # no copy


def test_what_is_given_stays_as_it_is() -> None:
    parts = np.ones(4), np.array([3, 3, 2, 0]), np.array([0, 2, 4])
    brought: Any = scipy.sparse.csr_array(parts, shape=(2, SIZES[0]))
    kept = brought.copy()
    NET.forward(brought)
    assert (brought.indices == kept.indices).all()
    assert (brought.data == kept.data).all()
    read_only = rows()
    for part in (read_only.data, read_only.indices, read_only.indptr):
        part.flags.writeable = False
    close(NET.cost(read_only, Y), NET.cost(X, Y))


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, np.uint16, np.float32, np.float64])
def test_counts_become_the_networks_dtype_where_that_loses_nothing(dtype: type) -> None:
    net, counts = NET.to(torch.float32), X != 0
    close(net.cost(rows(counts).astype(dtype), Y), net.cost(counts.float(), Y))


@pytest.mark.parametrize(
    "values", [X, torch.full(X.shape, 2**24 + 1), X * 1e300], ids=["fractions", "large counts", "beyond it"]
)
def test_a_dtype_that_would_round_is_named_with_the_way_out(values: Tensor) -> None:
    net, x = NET.to(torch.float32), rows(values)
    with pytest.raises(ValueError, match=r"does not hold its values exactly: round them with x\.astype\('float32'\)"):
        net.forward(x)
    with np.errstate(over="ignore"):
        net.forward(x.astype("float32"))


def test_counts_beyond_what_float64_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="does not hold its values exactly"):
        NET.forward(rows(torch.full(X.shape, 2**53 + 1)))


BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: compressed().to(torch.float32), r"x is torch\.float32 and the network torch\.float64"),
    (lambda: compressed(X[:, 1:]), r"x must have the shape \(m, 17\), one example a row, not \(23, 16\)"),
    (lambda: scipy.sparse.csr_array((0, 17)), "x holds no examples"),
    (lambda: scipy.sparse.coo_array(np.ones(17)), r"sparse x must have the shape \(m, n\), one example a row"),
    (lambda: X.expand(2, M, 17).to_sparse_coo(), r"sparse x must have the shape \(m, n\)"),
    (lambda: rows().astype(complex), "x is a sparse matrix of complex128: give real numbers"),
    (lambda: broken(columns=[17]), r"the indices of this sparse tensor don't fit its shape \(1, 17\)"),
    (lambda: broken(columns=[-1]), "the indices of this sparse tensor don't fit"),
    (lambda: broken(bounds=[0, 2]), "the indices of this sparse tensor don't fit"),
    (lambda: broken(bounds=[1, 1]), "the indices of this sparse tensor don't fit"),
]


def broken(bounds: list[int] | None = None, columns: list[int] | None = None) -> Tensor:
    one = torch.ones(1, dtype=torch.float64)
    return sparse.compressed(torch.tensor(bounds or [0, 1]), torch.tensor(columns or [3]), one, (1, 17))


@pytest.mark.parametrize(("make", "message"), BAD, ids=[message[:30] for _, message in BAD])
def test_what_is_wrong_with_a_sparse_x_is_said_before_any_work(make: Callable[[], Any], message: str) -> None:
    for use in (NET.forward, NET.predict, lambda x: bp.train(NET, (x, Y)), lambda x: bp.backprop(NET, x, Y)):
        with pytest.raises(ValueError, match=message):
            use(make())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_networks_of_sixteen_bits_take_no_sparse_x(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=r"needs a network of torch\.float32 or torch\.float64"):
        NET.to(dtype).forward(compressed())


def test_no_warning_of_torchs_reaches_the_user() -> None:
    code = (
        "import warnings; warnings.simplefilter('error'); import scipy.sparse, bp_torch as bp; "
        "net = bp.Network.create([9, 3]); net.forward(scipy.sparse.eye_array(9, format='csr', dtype='float32'))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_rows_of_a_sparse_x() -> None:
    x, index = compressed(), torch.tensor([3, 22, 4, 3, 0])
    close(sparse.pick(x, index).to_dense(), X[index])
    close(sparse.pick(x, Y == 1).to_dense(), X[Y == 1])
    assert sparse.pick(x, slice(None)) is x
    for size in (1, 5, M, M + 1):
        parts = sparse.split(x, size)
        assert [len(part) for part in parts] == [len(part) for part in X.split(size)]
        close(torch.cat([part.to_dense() for part in parts]), X)
    close(sparse.row_norms(x * 1e200) / 1e200, X.norm(dim=1))
    assert sparse.width(x) == -(-int((X != 0).sum()) // M)


def test_the_active_columns_are_those_that_somebody_uses() -> None:
    used = sparse.active(compressed())
    assert torch.equal(used.numbers, (X != 0).any(0).nonzero().squeeze(1))
    close(used.values.to_dense(), X.T[used.numbers])


def test_the_step_touches_no_weight_of_an_input_that_nobody_uses() -> None:
    w, delta = torch.full((6, 17), torch.nan, dtype=torch.float64), torch.ones(M, 6, dtype=torch.float64)
    used = sparse.active(compressed()).numbers
    w[:, used] = 1.0
    equations.weight_update(w, delta, compressed())
    close(w[:, used], 1 + delta.T @ X[:, used])
    assert w[:, 7].isnan().all()


def test_the_mask_of_the_stored_values_is_that_of_the_whole() -> None:
    keys = tuple(dropout.keys_table(1, (0.4,), seed=0, epoch=1)[0])
    scale, x = torch.tensor(1 / 0.6, dtype=torch.float64), compressed()
    whole = dropout.mask(M, 17, keys, scale, first=5)
    own = dropout.mask_at(sparse.places(x, 5).to(torch.int32), keys, scale)
    close(sparse.masked(x, own).to_dense(), X * whole)
    close(sparse.masked(x, whole).to_dense(), X * whole)


def test_the_norm_of_the_gradients_by_the_errors() -> None:
    delta = torch.randn(M, 6, generator=RNG, dtype=torch.float64)
    close(clipping.square_by_errors(delta, compressed()), clipping.square_by_errors(delta, X))
    assert clipping.pays([50_000, 100, 20], 200, 100)
    assert not clipping.pays([50_000, 100, 20], 200)


PER_EXAMPLE: dict[str, Callable[[Any], Any]] = {
    "gradient_norms": lambda x: per_example.gradient_norms(NET, x, Y, block_size=5),
    "by layer": lambda x: per_example.gradient_norms(NET, x, Y, by_layer=True),
    "clipped_sum": lambda x: per_example.clipped_sum(NET, x, Y, 0.1, block_size=5),
    "second_moment": lambda x: per_example.second_moment(NET, x, Y, block_size=1),  # some blocks hold nothing
    "noise_scale": lambda x: torch.tensor(per_example.noise_scale(NET, x, Y)[2:4]),
    "gram": lambda x: per_example.gram(NET, x, Y, block_size=5),
    "gram of huge x": lambda x: per_example.gram(NET, x * 1e200, Y),
    "ntk": lambda x: per_example.ntk(NET, x, block_size=5),
    "influence": lambda x: per_example.influence(NET, (x, Y), (X[:3], Y[:3]) if x is X else (x[:3], Y[:3])),
    "top_influences": lambda x: per_example.top_influences(NET, (x, Y), (x, Y), 2, similarity="cosine").values,
}


@pytest.mark.parametrize("what", PER_EXAMPLE)
def test_what_each_example_says_is_that_of_the_dense_x(what: str) -> None:
    close(PER_EXAMPLE[what](rows()), PER_EXAMPLE[what](X))


def test_the_check_of_the_gradients_takes_it() -> None:
    assert bp.check(NET, rows(), Y)


def test_the_slopes_of_the_first_layer_need_the_zeros() -> None:
    with pytest.raises(ValueError, match="slopes of layer 0 counts the zeros of x too, and this x is sparse"):
        slopes(NET, rows(), Y, 0)


def test_masks_of_a_seen_batch_go_with_it() -> None:
    seen = bp.batch_of(NET, M, epoch=1, batch=2, batch_size=5, dropout=(0.4, 0.3))
    batch = rows()[seen.rows.numpy()]
    dense = bp.backprop(NET, X[seen.rows], Y[seen.rows], seen.masks)
    ours = bp.backprop(NET, batch, Y[seen.rows], seen.masks)
    close(ours.delta, dense.delta)
    close(ours.into(0).to_dense(), dense.into(0))

"""Arrays, frames and lists in the place of tensors: taken where no value changes, else a sentence says what to do."""

import datetime
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch

import bp_torch as bp
from bp_torch import per_example
from bp_torch.insight import big_picture, feedback, learning_speed, observe, speed
from bp_torch.passes import multiplications

X = np.arange(15.0).reshape(5, 3) / 4  # float32 holds a quarter
Y = np.array([0, 1, 0, 1, 1])
TX, TY = torch.tensor(X, dtype=torch.float32), torch.tensor(Y)


def _read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def _unaligned(array: np.ndarray) -> np.ndarray:
    raw = bytearray(array.nbytes + 1)
    result = np.frombuffer(raw, array.dtype, offset=1).reshape(array.shape)
    result[...] = array
    return result


EXAMPLES = {
    "float64": X,
    "float32": X.astype(np.float32),
    "float16": X.astype(np.float16),
    "longdouble": X.astype(np.longdouble),
    "big-endian": X.astype(">f4"),
    "read-only": _read_only(X.astype(np.float32)),
    "unaligned": _unaligned(X.astype(np.float32)),
    "Fortran": np.asfortranarray(X.astype(np.float32)),
    "backwards": X.astype(np.float32)[::-1][::-1],
    "every other": np.repeat(X, 2, 0)[::2],
    "masked, nothing missing": np.ma.MaskedArray(X),
    "lists": X.tolist(),
    "tuples": tuple(map(tuple, X)),
    "rows": list(X),
    "frame": pd.DataFrame(X),
    "frame of float32": pd.DataFrame(X.astype(np.float32)),
    "frame of both": pd.DataFrame({"a": X[:, 0], "b": X[:, 1].astype(np.float32), "c": X[:, 2]}),
    "columns of one name": pd.DataFrame(X, columns=["a", "a", "b"]),
    "nullable": pd.DataFrame(X).astype("Float64"),
    "Arrow": pd.DataFrame(X).astype("double[pyarrow]"),
    "sparse columns": pd.DataFrame(X).astype(pd.SparseDtype("float64")),
    "polars": pl.DataFrame(X),
    "polars of both": pl.DataFrame(X).with_columns(pl.col("column_0").cast(pl.Float32)),
}
WHOLE = {
    "int64": Y,
    "uint8": Y.astype(np.uint8),
    "bool": Y.astype(bool),
    "big-endian": Y.astype(">i2"),
    "column": Y[:, None],
    "series": pd.Series(Y),
    "nullable": pd.Series(Y, dtype="Int64"),
    "nullable bool": pd.Series(Y == 1, dtype="boolean"),
    "category": pd.Series(Y).astype("category"),
    "frame": pd.DataFrame({"y": Y}),
    "polars": pl.Series(Y),
    "list": Y.tolist(),
}
ONES = {
    "float64": np.eye(2)[Y],
    "int64": np.eye(2, dtype=int)[Y],
    "dummies": pd.get_dummies(pd.Series(Y)),
    "polars dummies": pl.Series("y", Y).to_dummies(),
}


def network(n: int = 2, **settings: Any) -> bp.Network:
    return bp.Network.create([3, 4, n], **settings)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_examples_are_taken_as_they_are(kind: str) -> None:
    net = network(cost="softmax_cross_entropy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trace = net.forward(EXAMPLES[kind])
    assert torch.equal(trace.a[0], TX)
    assert torch.equal(trace.a[-1], net.forward(TX).a[-1])
    assert torch.equal(net.predict_proba(TX), net.predict_proba(EXAMPLES[kind]))


@pytest.mark.parametrize("kind", [*WHOLE, *(f"ones, {kind}" for kind in ONES)])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_classes_are_taken_as_they_are(kind: str, n: int) -> None:
    net = network(n, cost="binary_cross_entropy")
    y = ONES[kind[6:]] if kind.startswith("ones") else WHOLE[kind]
    if kind.startswith("ones") and n != 2:
        with pytest.raises(ValueError, match="y must"):
            net.cost(X, y)
        return
    assert torch.equal(net.cost(X, y), net.cost(TX, TY))
    assert net.accuracy(X, y) == net.accuracy(TX, TY)


@pytest.mark.parametrize("kind", [np.array, pd.Series, pl.Series, list, lambda y: np.array(y)[:, None]])
def test_values_are_a_column(kind: Callable[[Any], Any]) -> None:
    net, values = network(1, output="identity"), Y * 1.5
    assert torch.equal(net.cost(X, kind(values)), net.cost(TX, torch.tensor(values, dtype=torch.float32).view(-1, 1)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_network_s_own_dtype_is_what_counts(dtype: torch.dtype) -> None:
    net = network(dtype=dtype)
    assert net.forward(X).a[0].dtype == dtype
    finer = X + 1 / 1024
    if dtype == torch.float64:
        assert torch.equal(net.forward(X + 0.1).a[0], torch.tensor(X + 0.1))
    else:
        with pytest.raises(ValueError, match=rf"{dtype} would round x"):
            net.forward(finer + 4)


def test_nan_and_infinity_stay() -> None:
    x = X.copy()
    x[0, 0], x[1, 1] = np.nan, np.inf
    into = network().forward(x).a[0]
    assert into[0, 0].isnan()
    assert into[1, 1].isinf()
    assert network().forward(pd.DataFrame(x)).a[0][0, 0].isnan()


def _lacking() -> np.ma.MaskedArray[Any, Any]:
    return np.ma.MaskedArray(X, mask=X > 3)


REFUSED = {
    "rounded": (
        X + 0.1,
        r"not ndarray of float64, for torch.float32 would round x\[0, 0\], 0.1: give torch.as_tensor",
    ),
    "one rounded": (X + np.eye(5, 3)[::-1] / 10, r"would round x\[2, 2\]"),
    "too large": (X * 1e300, r"would round x\[0, 1\]"),
    "a whole number of 25 bits": (
        np.full((5, 3), 2**24 + 1),
        r"of int64, .*round x\[0, 0\], 16777217: give",
    ),
    "of 64 bits": (np.full((5, 3), 2**64 - 1, np.uint64), "would round"),
    "of 63 bits": (np.full((5, 3), -(2**63) + 1), "would round"),
    "frame, rounded": (pd.DataFrame(X + 0.1), r"not DataFrame of float64, .*x.to_numpy\(\).astype\(float\)"),
    "column, rounded": (pd.DataFrame({"a": X[:, 0], "b": Y, "c": X[:, 2] + 0.1}), r"round x\[0, 2\]"),
    "objects": (
        X.astype(object),
        r"not ndarray of object: give torch.as_tensor\(x.astype\(float\),",
    ),
    "text": (X.astype(str), "not ndarray of <U32"),
    "complex": (X + 0j, "not ndarray of complex128"),
    "dates": (X.astype("M8[s]"), "of datetime64"),
    "ragged": ([[1, 2, 3], [1, 2]], "must be a torch.Tensor, not list"),
    "tensors": ([torch.zeros(3)] * 5, r"not list: give torch.stack\(\[\*x\]\)"),
    "None": (None, "must be a torch.Tensor, not NoneType"),
    "names": ("abc", "must be a torch.Tensor, not str"),
    "a table": ({"a": [1]}, "must be a torch.Tensor, not dict"),
    "masked": (_lacking(), "x lacks values, where its mask is set: fill them"),
    "NA": (
        pd.DataFrame(X).astype("Float64").mask(X > 3),
        "x, in its column 1, lacks values: fill them, or leave",
    ),
    "Arrow null": (pd.DataFrame(X).astype("double[pyarrow]").mask(X > 3), "x, in its column 1, lacks values"),
    "polars null": (pl.DataFrame({"a": [1, None], "b": [1, 2], "c": [1, 2]}), "x, in its column 'a', lacks values"),
    "column of text": (
        pd.DataFrame({"a": ["u"] * 5, "b": Y, "c": Y}),
        "column 'a' is of str: leave it out, or make",
    ),
    "column of objects": (pd.DataFrame({"a": np.array([1, 2], object), "b": [1, 2], "c": [1, 2]}), "'a' is of object"),
    "polars text": (pl.DataFrame({"a": ["u"] * 5, "b": Y, "c": Y}), "'a' is of String"),
    "dates of polars": (pl.DataFrame({"a": [datetime.date(2026, 1, 1)], "b": [1], "c": [1]}), "'a' is of Date"),
    "no columns": (pd.DataFrame(), "x has no columns"),
    "one row": (X[0], r"x must have the shape \(m, 3\), one example a row, not \(3,\)"),
    "a series": (pd.Series(X[0]), r"x must have the shape \(m, 3\)"),
    "no rows": (X[:0], "x holds no examples"),
    "sparse": (scipy.sparse.csr_matrix(X + 0.1), "does not hold its values exactly"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_examples_that_would_change_are_refused(kind: str) -> None:
    x, words = REFUSED[kind]
    for use in (network().predict, lambda x: bp.train(network(), (x, Y))):
        with pytest.raises(ValueError, match=words):
            use(x)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (Y + 0.1, r"y must be a torch.Tensor, not ndarray of float64, .*class indices \(5,\).*or a matrix \(5, 2\)"),
        (Y * 1.0, r"y must be class indices \(5,\) of whole numbers, or a matrix \(5, 2\).*give torch.as_tensor\(y"),
        (pd.Series(["a", "b", "a", "a", "b"]), "it holds names: with all classes in a list, names, give"),
        (pl.Series(["a", "b", "a", "a", "b"]), "it holds names"),
        (Y.astype(object), "not ndarray of object"),
        (pd.Series([0, 1, None, 1, 0], dtype="Int64"), "y lacks values"),
        (Y[:3], "one class index for each of the 5 examples"),
        (Y + 5, "y holds 6"),
        (np.full(5, 2**64 - 1, np.uint64), "torch.int64 would round y"),
        (None, "y must be a torch.Tensor, not NoneType"),
    ],
    ids=range(10),
)
def test_targets_that_would_change_are_refused(y: Any, words: str) -> None:
    for use in (lambda y: network().cost(X, y), lambda y: bp.fit(network(), (X, y), epochs=1)):
        with pytest.raises(ValueError, match=words):
            use(y)


def test_whole_numbers_of_one_output_are_classes() -> None:
    with pytest.raises(ValueError, match=r"run from 0 to 1 .* holds 7: values must be floating numbers"):
        network(1, output="identity").cost(X, Y * 7)


USES: dict[str, Callable[..., Any]] = {
    "gradients": lambda net, x, y: net.gradients(x, y),
    "backward": lambda net, x, y: list(net.backward(net.forward(x), y)),
    "cost": lambda net, x, y: net.cost(x, y),
    "accuracy": lambda net, x, y: net.accuracy(x, y),
    "predict": lambda net, x, y: net.predict(x),
    "backprop": lambda net, x, y: bp.backprop(net, x, y),
    "check": lambda net, x, y: bp.check(net, x, y),
    "norms": per_example.gradient_norms,
    "clipped": lambda net, x, y: per_example.clipped_sum(net, x, y, 1.0),
    "moment": per_example.second_moment,
    "noise": per_example.noise_scale,
    "gram": lambda net, x, y: per_example.gram(net, x, y, (x, y)),
    "ntk": lambda net, x, y: per_example.ntk(net, x, x),
    "influence": lambda net, x, y: per_example.influence(net, (x, y), (x, y)),
    "top": lambda net, x, y: per_example.top_influences(net, (x, y), (x, y), 1),
    "error norms": learning_speed.error_norms,
    "slopes": lambda net, x, y: learning_speed.slopes(net, x, y, 0),
    "angles": lambda net, x, y: feedback.angles(net, x, y, feedback.feedback_alignment(net)),
    "changes": lambda net, x, y: big_picture.cost_changes(net, x, y, (0, 0, 0), [0.1]),
    "differences": lambda net, x, y: speed.differences(net, x, y, [0, 3]),
    "observe": lambda net, x, y: observe.observe(net, (x, y), (x, y)),
    "train": lambda net, x, y: [r.cost for r in bp.train(net.to(), (x, y), validation=(x, y), epochs=2, seed=1)],
    "fit": lambda net, x, y: [
        r.validation_accuracy
        for r in bp.fit(
            net.to(), (x, y), validation=(x, y), epochs=2, patience=2, monitor="validation_accuracy", progress=False
        )
    ],
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("made", [np.asarray, pd.DataFrame])
def test_every_place_takes_them(use: str, made: Callable[[Any], Any]) -> None:
    net, y = network(dtype=torch.float64), Y if made is np.asarray else pd.Series(Y)
    np.testing.assert_equal(_flat(USES[use](net, made(X), y)), _flat(USES[use](net, TX.double(), TY)))


def _flat(value: Any) -> list[Any]:
    if isinstance(value, torch.Tensor):
        return [value.numpy()]
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, (list, tuple)):
        return [value]
    return [each for part in value for each in _flat(part)]


def test_weights_of_examples_are_taken_too() -> None:
    def cost(weights: Any) -> float:
        return next(iter(bp.train(network(), (X, Y), epochs=1, sample_weight=weights))).cost

    weights = np.array([0.1, 2, 0, 1, 3])
    wanted = cost(torch.tensor(weights))
    for given in (
        weights,
        _read_only(weights),
        weights[::-1][::-1],
        pd.Series(weights),
        pl.Series(weights),
        weights.tolist(),
    ):
        assert cost(given) == wanted
    with pytest.raises(ValueError, match="sample_weight must be 5 numbers, one an example"):
        cost(["a"] * 5)


def test_examples_without_a_target_are_left_out_of_arrays_too() -> None:
    def cost(x: Any, y: Any) -> float:
        return next(iter(bp.train(network(), (x, y), epochs=1, validation=(x, y)))).cost

    assert cost(X, np.where(Y == 0, -100, Y)) == cost(X[Y == 1], Y[Y == 1])


def test_a_large_array_has_the_threads_of_a_tensor() -> None:
    net, x = bp.Network.create([3, 4]), np.zeros((1000, 3), np.float32)
    assert multiplications(net, x) == multiplications(net, torch.from_numpy(x)) == multiplications(net, pd.DataFrame(x))
    assert multiplications(net, x[0]) == multiplications(net, None) == 0

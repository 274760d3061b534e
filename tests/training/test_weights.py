"""What examples and classes count for, and what targets are softened to."""

import math
from itertools import chain
from typing import Any

import numpy as np
import plan_reference as oracle
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

import bp_torch as bp
from bp_torch.labels import labels_of
from bp_torch.training.weighting import sample_weights, weighted

M = oracle.EXAMPLES
CLASSES = torch.tensor([0, 0, 0, 1, 1, 3] * 4)[:M]  # none is of class 2


def _train(net: bp.Network, data: Any, **settings: Any) -> bp.Record:
    given: dict[str, Any] = dict(epochs=3, batch_size=len(data[0]), lr=0.3, engine="eager")
    *_, last = bp.train(net, data, **{**given, **settings})
    return last


def _same(net: bp.Network, other: bp.Network, *, rtol: float = 1e-12, atol: float = 1e-14) -> None:
    for mine, theirs in zip(chain(*net.layers), chain(*other.layers), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=rtol, atol=atol)


@pytest.mark.parametrize("case", oracle.CASES, ids="-".join)
def test_a_whole_weight_repeats_the_row(case: tuple[str, str, str]) -> None:
    """In a full batch; a weight of 0 leaves it out."""
    nets = [oracle.network(case) for _ in range(2)]
    x, y = oracle.data(nets[0])
    times = torch.arange(M) % 4
    one = _train(nets[0], (x, y), sample_weight=times, optimizer="adam", lr=0.01)
    other = _train(nets[1], (x.repeat_interleave(times, 0), y.repeat_interleave(times, 0)), optimizer="adam", lr=0.01)
    _same(*nets, rtol=1e-8, atol=1e-10)
    assert one.cost == pytest.approx(other.cost, rel=1e-12)


def test_a_weight_of_0_is_a_row_left_out() -> None:
    """To the bit: in the batches that there are, in the number of them, and in n of the penalties."""
    nets = [oracle.network() for _ in range(2)]
    x, y = oracle.data(nets[0])
    x[4], y[7] = math.nan, y[8]  # what is left out may be anything
    counts = (torch.arange(M) % 4 != 0).double()
    left = counts > 0
    assert not left[4]
    settings: dict[str, Any] = dict(batch_size=5, l2=2.0, dropout=0.5, clip_norm=1.0)
    one = _train(nets[0], (x, y), sample_weight=counts, **settings)
    other = _train(nets[1], (x[left], y[left]), **settings)
    _same(*nets, rtol=0, atol=0)
    assert (one.cost, one.penalty) == (other.cost, other.penalty)


@pytest.mark.parametrize("scale", [1e-300, 1e-3, 7.0, 1e300])
def test_only_the_ratios_of_weights_count(scale: float) -> None:
    nets = [oracle.network() for _ in range(2)]
    data, counts = oracle.data(nets[0]), 1 + torch.arange(M, dtype=torch.float64)
    records = [
        _train(net, data, sample_weight=each, batch_size=5)
        for net, each in zip(nets, (counts, scale * counts), strict=True)
    ]
    _same(*nets)
    assert records[1].cost == pytest.approx(records[0].cost, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1e30, 1e37])
@pytest.mark.parametrize("engine", ["eager", "native"])
def test_no_scale_of_weights_is_too_small_or_too_large_for_float32(scale: float, engine: str) -> None:
    nets = [oracle.network().to(torch.float32) for _ in range(2)]
    (x, y), counts = oracle.data(oracle.network()), 1 + torch.arange(M, dtype=torch.float64) % 3
    for net, each in zip(nets, (counts, scale * counts), strict=True):
        record = _train(net, (x.float(), y.float()), sample_weight=each, batch_size=5, engine=engine)
        assert math.isfinite(record.cost)
    _same(*nets, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("dtype", "small"), [(torch.float32, 1e-44), (torch.float16, 1e-6)], ids=str)
def test_weights_too_small_for_the_dtype_are_0(dtype: torch.dtype, small: float) -> None:
    """A batch of nothing but such would be divided by a sum whose inverse the dtype does not hold."""
    nets = [oracle.network().to(dtype) for _ in range(2)]
    (x, y), counts = oracle.data(oracle.network()), 1 + torch.arange(M, dtype=torch.float64) % 3
    counts[:17] = small
    for net, each in zip(nets, (counts, counts.where(counts >= 1, 0)), strict=True):
        _train(net, (x.to(dtype), y.to(dtype)), sample_weight=each, batch_size=3, optimizer="sgd(momentum=0.5)")
    _same(*nets, rtol=0, atol=0)


def test_weights_of_one_are_no_weights() -> None:
    nets = [oracle.network() for _ in range(2)]
    data = oracle.data(nets[0])
    records = [_train(net, data, sample_weight=w) for net, w in zip(nets, (None, [1] * M), strict=True)]
    _same(*nets, rtol=0, atol=0)
    assert records[0].cost == records[1].cost


@pytest.mark.parametrize(
    "make",
    [
        list,
        tuple,
        lambda values: [value / 10 for value in values],
        np.array,
        lambda values: np.array(values, dtype=np.int16),
        lambda values: np.array(values)[::-1][::-1],
        torch.tensor,
        lambda values: torch.tensor(values, dtype=torch.float16),
        lambda values: torch.tensor(values, dtype=torch.float64, requires_grad=True),
        lambda values: torch.tensor(values).repeat_interleave(2)[::2],
    ],
)
def test_weights_come_as_what_holds_numbers(make: Any) -> None:
    values = [k % 3 for k in range(M)]
    nets = [oracle.network() for _ in range(2)]
    data = oracle.data(nets[0])
    given = make(values)
    _train(nets[0], data, sample_weight=given)
    _train(nets[1], data, sample_weight=torch.tensor(values, dtype=torch.float64))
    _same(*nets, rtol=0, atol=0)


def test_a_mask_of_rows_is_weights() -> None:
    nets = [oracle.network() for _ in range(2)]
    x, y = oracle.data(nets[0])
    chosen = torch.arange(M) % 3 > 0
    _train(nets[0], (x, y), sample_weight=chosen)
    _train(nets[1], (x[chosen], y[chosen]))
    _same(*nets, rtol=0, atol=0)


def test_weights_are_not_changed_and_changes_do_not_come_through() -> None:
    nets = [oracle.network() for _ in range(2)]
    data, counts = oracle.data(nets[0]), 1 + torch.arange(M, dtype=torch.float64)
    before = counts.clone()
    records = bp.train(nets[0], data, sample_weight=counts, epochs=2, lr=0.1, engine="eager")
    next(records)
    assert torch.equal(counts, before)
    counts.zero_()
    list(records)
    list(bp.train(nets[1], data, sample_weight=before, epochs=2, lr=0.1, engine="eager"))
    _same(*nets, rtol=0, atol=0)


def _of_classes(
    class_weight: Any, y: torch.Tensor = CLASSES, outputs: int = 4, sample_weight: Any = None
) -> torch.Tensor | None:
    """The weights that class_weight gives the examples."""
    x = torch.zeros(len(y), 2, dtype=torch.float64)
    counts = None if sample_weight is None else sample_weights(sample_weight, x, None)
    matrix = torch.nn.functional.one_hot(y, max(outputs, 2)).double() if outputs > 1 else y.double().unsqueeze(1)
    return weighted(x, matrix, y, counts, class_weight).weights


def test_balanced_is_scikit_learns() -> None:
    """Of the classes that are there."""
    there = np.unique(CLASSES.numpy())
    theirs = dict(zip(there.tolist(), compute_class_weight("balanced", classes=there, y=CLASSES.numpy()), strict=True))
    mine = _of_classes("balanced")
    assert mine is not None
    wanted = torch.tensor([theirs[c] for c in CLASSES.tolist()], dtype=torch.float64)
    torch.testing.assert_close(mine / mine.mean(), wanted / wanted.mean(), rtol=1e-14, atol=0)


def test_classes_of_one_output_and_of_one_hot_rows_have_weights() -> None:
    y = torch.tensor([0, 1, 1, 0, 0, 1, 0])
    for outputs in (1, 2):
        mine = _of_classes({1: 3}, y, outputs)
        assert mine is not None
        torch.testing.assert_close(mine / mine[0], 1 + 2 * y.double())
    nets = [oracle.network() for _ in range(2)]
    x, _ = oracle.data(nets[0])
    _train(nets[0], (x, CLASSES), class_weight={0: 2, 3: 0.5})
    _train(nets[1], (x, torch.nn.functional.one_hot(CLASSES, 4).double()), class_weight="0:2,3:0.5")
    _same(*nets, rtol=0, atol=0)


def test_balanced_classes_that_are_balanced_count_alike() -> None:
    assert _of_classes("balanced", torch.tensor([0, 1, 2, 3] * 3)) is None


def test_class_weights_multiply_those_of_the_examples() -> None:
    counts = 1 + torch.arange(M, dtype=torch.float64)
    mine = _of_classes({0: 2, 1: 5}, sample_weight=counts)
    table = torch.tensor([2.0, 5.0, 1.0, 1.0], dtype=torch.float64)
    assert mine is not None
    torch.testing.assert_close(mine / mine[0], counts * table[CLASSES] / (counts[0] * 2))


def test_a_class_of_weight_0_is_left_out() -> None:
    nets = [oracle.network() for _ in range(2)]
    x, _ = oracle.data(nets[0])
    left = CLASSES != 1
    _train(nets[0], (x, CLASSES), class_weight={1: 0}, batch_size=5)
    _train(nets[1], (x[left], CLASSES[left]), batch_size=5)
    _same(*nets, rtol=0, atol=0)


def test_balanced_counts_no_example_of_weight_0() -> None:
    """Nor does a class that has none left be there to be named."""
    nets = [oracle.network() for _ in range(2)]
    x, _ = oracle.data(nets[0])
    counts = torch.arange(M) % 3 > 0
    _train(nets[0], (x, CLASSES), class_weight="balanced", sample_weight=counts)
    _train(nets[1], (x[counts], CLASSES[counts]), class_weight="balanced")
    _same(*nets, rtol=0, atol=0)
    with pytest.raises(ValueError, match="class_weight names class 3, of which there is no example: there are 0, 1"):
        bp.train(nets[0], (x, CLASSES), class_weight={3: 2}, sample_weight=(CLASSES != 3))


def test_validation_is_unweighted_and_unsmoothed() -> None:
    net = oracle.network()
    x, _ = oracle.data(net)
    (record,) = bp.train(
        net,
        (x, CLASSES),
        validation=(x, CLASSES),
        epochs=1,
        lr=0.1,
        class_weight="balanced",
        label_smoothing=0.3,
        l2=5.0,
        engine="eager",
    )
    assert record.validation_cost == pytest.approx(net.cost(x, CLASSES).item(), rel=1e-12)
    assert record.validation_accuracy == net.accuracy(x, CLASSES)


def _smoothed(y: torch.Tensor, epsilon: float, matrix: torch.Tensor | None = None) -> list[list[float]]:
    matrix = y if matrix is None else matrix
    x = torch.zeros(len(y), 1, dtype=torch.float64)
    return weighted(x, matrix.double(), labels_of(y), label_smoothing=epsilon).y.tolist()


def test_what_smoothing_makes_of_targets() -> None:
    one_hot = torch.tensor([[0.0, 1, 0, 0], [1, 0, 0, 0]])
    wanted = [pytest.approx([0.05, 0.85, 0.05, 0.05]), pytest.approx([0.85, 0.05, 0.05, 0.05])]
    assert _smoothed(one_hot, 0.2) == wanted
    assert _smoothed(torch.tensor([1, 0]), 0.2, one_hot) == wanted
    two = [pytest.approx([0.1]), pytest.approx([0.9])]
    assert _smoothed(torch.tensor([[0.0], [1.0]]), 0.2) == two  # one output that tells two classes
    assert _smoothed(torch.tensor([0, 1]), 0.2, torch.tensor([[0.0], [1.0]])) == two
    labels = torch.tensor([[1.0, 1, 0], [0, 0, 0]])  # several at once, each true or false
    assert _smoothed(labels, 0.2) == [pytest.approx([0.9, 0.9, 0.1]), pytest.approx([0.1] * 3)]
    soft = torch.tensor([[0.5, 0.25, 0.25]])
    assert _smoothed(soft, 0.3) == [pytest.approx([0.45, 0.275, 0.275])]


NUMBERS = f"sample_weight must be {M} numbers, one an example"
REFUSED: list[tuple[dict[str, Any], str]] = [
    (dict(sample_weight=[1] * (M - 1)), f"{NUMBERS}, not of shape (22,)"),
    (dict(sample_weight=torch.ones(M, 1)), f"{NUMBERS}, not of shape (23, 1)"),
    (dict(sample_weight=2.0), f"{NUMBERS}, not of shape ()"),
    (dict(sample_weight="balanced"), NUMBERS),
    (dict(sample_weight=["1"] * M), NUMBERS),
    (dict(sample_weight=[None] * M), NUMBERS),
    (dict(sample_weight={}), NUMBERS),
    (dict(sample_weight=torch.ones(M, dtype=torch.complex64)), NUMBERS),
    (dict(sample_weight=torch.ones(M).to_sparse()), NUMBERS),
    (dict(sample_weight=[1] * 3 + [-0.5] + [1] * (M - 4)), "sample_weight[3] is -0.5: weights must be finite"),
    (dict(sample_weight=[1] * 5 + [math.nan] * (M - 5)), "sample_weight[5] is nan: weights must be finite"),
    (dict(sample_weight=[math.inf] * M), "sample_weight[0] is inf: weights must be finite"),
    (dict(sample_weight=[0] * M), "all weights of the examples are 0"),
    (dict(class_weight={0: 0, 1: 0, 3: 0}), "all weights of the examples are 0"),
    (dict(class_weight={0: 0, 3: 0}, sample_weight=(CLASSES != 1)), "all weights of the examples are 0"),
    (dict(class_weight={2: 1.0}), "class_weight names class 2, of which there is no example: there are 0, 1, 3"),
    (dict(class_weight={7: 1.0}), "class_weight names class 7, of which there is no example"),
    (dict(class_weight={1: -1}), "class_weight of class 1 must be a number of 0 or more, and finite, not -1"),
    (dict(class_weight={1: math.nan}), "class_weight of class 1 must be a number"),
    (dict(class_weight={1: "3"}), "class_weight of class 1 must be a number"),
    (dict(class_weight={-1: 3}), "a class of class_weight must be a whole number of at least 0, not -1"),
    (dict(class_weight={1.5: 3}), "a class of class_weight must be a whole number of at least 0, not 1.5"),
    (dict(class_weight={True: 3}), "a class of class_weight must be a whole number of at least 0, not True"),
    (dict(class_weight="equal"), "class_weight must be names with numbers, as in balanced or 0:1,3:5, not 'equal'"),
    (dict(class_weight=""), "class_weight must be"),
    (dict(class_weight=[1, 2, 1, 1]), 'class_weight must be "balanced" or {class: weight}, not [1, 2, 1, 1]'),
    (dict(class_weight=np.array([1, 2, 1, 1])), 'class_weight must be "balanced" or {class: weight}, not array('),
    (dict(class_weight=torch.ones(4)), 'class_weight must be "balanced" or {class: weight}, not tensor('),
    (dict(class_weight=2.0), 'class_weight must be "balanced" or {class: weight}, not 2.0'),
    (dict(class_weight={}, sample_weight=[0] * M), "all weights of the examples are 0"),
    (dict(label_smoothing=1.0), "label_smoothing must be a number from 0 to below 1, not 1.0"),
    (dict(label_smoothing=-0.1), "label_smoothing must be"),
    (dict(label_smoothing=True), "label_smoothing must be"),
]


@pytest.mark.parametrize(("settings", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_cant_be_used_is_refused_before_any_work(settings: dict[str, Any], words: str) -> None:
    net = oracle.network()
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (its words are compared)
        bp.train(net, (oracle.data(net)[0], CLASSES), **settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["values", "labels", "shares"])
def test_targets_without_classes_have_no_class_weight(kind: str) -> None:
    net = oracle.network(("tanh", "binary_cross_entropy", "sigmoid"))
    x, y = oracle.data(net)
    y = {"values": 0.3 + 0.1 * y, "labels": y.gt(0.2).double().index_fill(0, torch.tensor(0), 1.0), "shares": y}[kind]
    choices: list[Any] = ["balanced", {0: 2.0}]
    for class_weight in choices:
        with pytest.raises(ValueError, match="class_weight needs one class for each example: give sample_weight inst"):
            bp.train(net, (x, y), class_weight=class_weight)
    if kind == "values":
        with pytest.raises(ValueError, match="label_smoothing is for classes, and y holds values: leave it away"):
            bp.train(net, (x, y), label_smoothing=0.1)
    else:
        bp.train(net, (x, y), label_smoothing=0.1)


def test_weights_and_smoothing_of_regression() -> None:
    """Values can be weighted, and not be smoothed."""
    net = oracle.network(("elu", "quadratic", "identity"))
    x, y = oracle.data(net)
    wanted = oracle.trained(net, (x, 3 * y), weights=1 + torch.arange(M, dtype=torch.float64), epochs=1)
    records = list(
        bp.train(net, (x, 3 * y), epochs=1, batch_size=5, lr=0.1, sample_weight=range(1, M + 1), engine="eager")
    )
    oracle.assert_same(net, records, wanted)
    with pytest.raises(ValueError, match="label_smoothing is for classes"):
        bp.train(net, (x, 3 * y), label_smoothing=0.1)

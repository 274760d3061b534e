"""validation=0.1: a share of the examples is held out by the seed, and is what a pair of its own would be."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import Tensor

import bp_torch as bp
from bp_torch.splitting import set_apart, to_validate_on

X = torch.rand(100, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(3).repeat_interleave(torch.tensor([70, 29, 1]))


def network(**settings: Any) -> bp.Network:
    return bp.Network.create([4, 5, 3], **settings)


def records(x: Any, y: Any, net: bp.Network | None = None, **settings: Any) -> list[tuple[float, ...]]:
    made = bp.train(net or network(), (x, y), **{"epochs": 2, "engine": "eager"} | settings)
    return [(r.cost, r.validation_cost or 0.0, r.validation_accuracy or 0.0) for r in made]


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_share_is_what_a_pair_of_its_own_would_be(share: float, seed: int) -> None:
    apart = to_validate_on(Y, True, seed, share)
    pair = X[apart], Y[apart]
    wanted = records(X[~apart], Y[~apart], validation=pair, seed=seed)
    assert records(X, Y, validation=share, seed=seed) == wanted
    assert records(X.double().numpy(), Y.numpy(), validation=share, seed=seed) == wanted
    counts = Y[apart].bincount(minlength=3)
    assert (counts[:2] - share * torch.tensor([70, 29])).abs().max() <= 1
    assert counts[2] == 0  # a class has an example to train on


def test_weights_go_with_their_examples_and_those_without_a_target_are_neither() -> None:
    weights, y = torch.rand(100, generator=torch.Generator().manual_seed(1)), Y.clone()
    y[::3] = -100
    known = y >= 0
    apart = to_validate_on(y[known], True, 0, 0.2)
    x, y_known, weights_known = X[known], y[known], weights[known]
    wanted = records(
        x[~apart], y_known[~apart], sample_weight=weights_known[~apart], validation=(x[apart], y_known[apart])
    )
    assert records(X, y, sample_weight=weights, validation=0.2) == wanted


def test_values_labels_and_sparse_examples_are_held_out_too() -> None:
    values = torch.rand(100, 3, generator=torch.Generator().manual_seed(2))
    labels = (values > 0.5).float()
    for y in (values, labels):
        apart = to_validate_on(y, False, 0, 0.1)
        assert int(apart.sum()) == 10
        assert records(X, y, validation=0.1) == records(X[~apart], y[~apart], validation=(X[apart], y[apart]))
    rows = X * (X > 0.5)
    dense = records(rows, Y, validation=0.2)
    np.testing.assert_allclose(records(scipy.sparse.csr_matrix(rows.numpy()), Y, validation=0.2), dense, rtol=1e-5)


def test_a_run_goes_on_with_the_same_part() -> None:
    whole = network()
    wanted = records(X, Y, whole, validation=0.1, epochs=3)
    net = network()
    first = next(bp.train(net, (X, Y), validation=0.1, epochs=3, engine="eager"))
    assert records(X, Y, net, validation=0.1, epochs=3, start=first.position) == wanted[1:]


@pytest.mark.parametrize(
    ("x", "y", "share", "words"),
    [
        (X, Y, 0.0, "validation must be a number above 0 and below 1, not 0.0"),
        (X, Y, 1.5, "validation must be a number above 0 and below 1, not 1.5"),
        (X, Y, True, "validation must be a number above 0 and below 1, not True"),
        (X[:3], torch.rand(3, 3), 0.1, "validation=0.1 can't be held out of 3 examples"),
        (X[:1], Y[:1], 0.5, "can't be held out of 1 examples"),
        (X[:3], torch.rand(3, 3), 0.99, "can't be held out of 3 examples, with some for both parts"),
        (
            torch.where(torch.arange(100).unsqueeze(1) == 7, torch.nan, X),
            Y,
            0.1,
            "data: x holds NaN or Inf, first in row 7",
        ),
        (X, Y, "0.1", r"validation must be a pair \(x, y\), not str"),
    ],
    ids=range(8),
)
def test_a_share_that_cant_be_had(x: Tensor, y: Tensor, share: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        bp.train(network(output="sigmoid"), (x, y), validation=share)


@pytest.mark.parametrize("k", [2, 3, 5, 10])
@pytest.mark.parametrize("m", [1, 4, 30, 101])
def test_one_in_k_is_every_kth(m: int, k: int) -> None:
    """As runs that are to be gone on with had it."""
    order = torch.randperm(m, generator=torch.Generator().manual_seed(m))
    wanted = torch.zeros(m, dtype=torch.bool)
    wanted[order[k // 2 :: k]] = True
    assert torch.equal(set_apart(torch.zeros(m), False, order, 1 / k), wanted)


def test_each_class_has_an_example_left() -> None:
    y = torch.tensor([0, 0, 1, 2, 2, 2, 4])
    for seed in range(20):
        apart = to_validate_on(y, True, seed, 0.95)
        assert y[~apart].unique().tolist() == [0, 1, 2, 4]
        assert apart.any()

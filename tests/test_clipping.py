"""The norm of all gradients by the errors of the examples, and what is clipped by it."""

import math
from typing import Any

import plan_reference as oracle
import pytest
import torch

import bp_torch as bp
from bp_torch import clipping


def _random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("shape", [(1, 3, 4), (7, 1, 4), (7, 5, 1), (9, 6, 11), (40, 3, 2)])
def test_the_norm_by_the_errors_is_that_of_the_gradients(shape: tuple[int, int, int]) -> None:
    m, n_out, n_in = shape
    delta, a = _random(m, n_out), _random(m, n_in, seed=1)
    by_errors, by_gradients = clipping.square_by_errors(delta, a), clipping.square(delta.mT @ a, delta.sum(0))
    torch.testing.assert_close(by_errors, by_gradients, rtol=1e-12, atol=0)
    assert by_errors.shape == by_gradients.shape == (1,)


def test_gradients_that_cancel_are_no_square_root_of_a_negative_number() -> None:
    """Of examples whose gradients sum to nothing, rounding leaves a square of either sign."""
    squares = []
    for seed in range(50):
        delta = _random(6, 3, seed=seed, dtype=torch.float32)
        delta -= delta.mean(0)
        squares.append(clipping.square_by_errors(delta, torch.full((6, 4), 0.3)))
        shrinkage = clipping.shrinkage([squares[-1]], torch.tensor(1.0))
        assert shrinkage.item() == 1
    assert min(squares) < 0


@pytest.mark.parametrize("most", [1e-3, 1.0, 100.0])
def test_what_all_are_multiplied_by_is_torchs(most: float) -> None:
    gradients = [_random(3, 4, seed=2), _random(3, seed=3), _random(2, 3, seed=4), _random(2, seed=5)]
    theirs = [torch.nn.Parameter(g) for g in gradients]
    for parameter, g in zip(theirs, gradients, strict=True):
        parameter.grad = g.clone()
    torch.nn.utils.clip_grad_norm_(theirs, most)
    squares = [clipping.square(*pair) for pair in (gradients[:2], gradients[2:])]
    shrinkage = clipping.shrinkage(squares, torch.tensor(most, dtype=torch.float64))
    for parameter, g in zip(theirs, gradients, strict=True):
        torch.testing.assert_close(g * shrinkage, parameter.grad, rtol=1e-12, atol=0)


def test_a_gradient_that_is_not_finite_is_not_hidden() -> None:
    """Clipped by its norm it would be 0 or NaN in all; the run says where it came from."""
    x, y = oracle.data(oracle.network())
    for number in (math.nan, math.inf):
        bad = x.clone()
        bad[3, 2] = number
        for batch_size in (5, len(x)):
            with pytest.raises(bp.DivergenceError, match="its input x"):
                list(bp.train(oracle.network(), (bad, y), clip_norm=1.0, lr=0.1, batch_size=batch_size, engine="eager"))


@pytest.mark.parametrize("sizes", [[7, 6, 5, 4], [784, 30, 10], [2, 50, 2]])
def test_the_norm_is_had_from_errors_where_these_are_few(sizes: list[int]) -> None:
    pays = [m for m in range(1, 2000) if clipping.pays(sizes, m)]
    assert pays == list(range(1, len(pays) + 1))
    assert 0 < len(pays) < 1999
    assert clipping.pays(sizes, 1)


@pytest.mark.parametrize("settings", [{}, dict(dropout=0.4), dict(sample_weight=range(1, 24))], ids=str)
@pytest.mark.parametrize("batch_size", [2, 5, 23])
def test_both_ways_to_the_norm_are_one(
    settings: dict[str, Any], batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    nets = [oracle.network() for _ in range(2)]
    for net, by_errors in zip(nets, (True, False), strict=True):
        monkeypatch.setattr(clipping, "pays", lambda sizes, m, by_errors=by_errors: by_errors)
        given: dict[str, Any] = dict(epochs=2, lr=0.1, batch_size=batch_size, clip_norm=0.1, engine="eager", **settings)
        list(bp.train(net, oracle.data(net), **given))
    for mine, theirs in zip(nets[0].layers, nets[1].layers, strict=True):
        torch.testing.assert_close(mine.w, theirs.w, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(mine.b, theirs.b, rtol=1e-12, atol=1e-14)

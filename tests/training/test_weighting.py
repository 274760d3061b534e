"""What examples count for: those without a target or of weight 0 are not there at all."""

import pytest
import torch
from torch import Tensor

import bp_torch as bp

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 3, (60,), generator=torch.Generator().manual_seed(1))
LEFT = torch.arange(60) % 7 != 0


def _trained(x: Tensor, y: Tensor, weights: object = None) -> list[Tensor]:
    net = bp.Network.create([4, 5, 3], hidden="tanh", cost="softmax_cross_entropy")
    *_, last = bp.train(net, (x, y), epochs=2, sample_weight=weights)
    return [torch.tensor(last.cost), *(t for layer in net.layers for t in layer)]


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_an_example_of_class_minus_100_is_left_out(dtype: torch.dtype) -> None:
    weights = torch.rand(60, generator=torch.Generator().manual_seed(2)) + 0.1
    x, y = X.clone(), torch.where(LEFT, Y, -100).to(dtype)
    x[~LEFT] = torch.nan
    for given, kept in ((None, None), (weights, weights[LEFT])):
        for got, wanted in zip(_trained(x, y, given), _trained(X[LEFT], Y[LEFT], kept), strict=True):
            assert torch.equal(got, wanted)


def test_validation_examples_without_a_target_are_left_out() -> None:
    net = bp.Network.create([4, 5, 3], hidden="tanh", cost="softmax_cross_entropy")
    for validation in ((X, torch.where(LEFT, Y, -100)), (X[LEFT], Y[LEFT])):
        (record,) = bp.train(net.to(), (X, Y), epochs=1, validation=validation)
        assert record.validation_cost == pytest.approx(net_cost(net))


def net_cost(net: bp.Network) -> float:
    """Of the examples with a target, after the epoch that the test trains."""
    trained = net.to()
    list(bp.train(trained, (X, Y), epochs=1))
    return trained.cost(X[LEFT], Y[LEFT]).item()


def test_targets_of_which_all_are_missing_are_refused() -> None:
    net = bp.Network.create([4, 5, 3], hidden="tanh", cost="softmax_cross_entropy")
    with pytest.raises(ValueError, match="data: all class indices are -100"):
        bp.train(net, (X, torch.full((60,), -100)))

"""The prediction of ΔC comes true as Δw shrinks, and the network is left as it was."""

import pytest
import reference
import torch

import bp_torch as bp
from bp_torch.insight.big_picture import cost_changes


@pytest.mark.parametrize("weight", [(0, 1, 2), (1, 1, 0)])
def test_the_change_is_predicted_with_an_error_of_order_two(weight: tuple[int, int, int]) -> None:
    net = reference.network([3, 4, 2])
    x, y = reference.examples(net, 5)
    before = [t.clone() for layer in net.layers for t in layer]
    change = cost_changes(net, x, y, weight, [1e-1, 1e-2, 1e-3])
    errors = [abs(true - predicted) for true, predicted in zip(change.true, change.predicted, strict=True)]
    assert errors[1] / errors[0] == pytest.approx(1e-2, rel=0.3)
    assert errors[2] / errors[1] == pytest.approx(1e-2, rel=0.3)
    l, j, k = weight
    slope = reference.gradients(net, x, y)[l].w[j, k].item()
    assert change.predicted == pytest.approx([slope * step for step in (1e-1, 1e-2, 1e-3)])
    assert all(torch.equal(t, was) for t, was in zip((t for layer in net.layers for t in layer), before, strict=True))


def test_in_float32_a_tiny_change_is_no_change() -> None:
    net = reference.network([3, 4, 2])
    x, y = reference.examples(net, 5)
    single = cost_changes(net.to(torch.float32), x.float(), y.float(), (0, 1, 2), [1e-9])
    double = cost_changes(net, x, y, (0, 1, 2), [1e-7])
    assert single.true == [0]
    assert double.true == pytest.approx(double.predicted, rel=1e-4)


@pytest.mark.parametrize("weight", [(2, 0, 0), (0, 4, 0), (0, 0, 3), (-1, 0, 0)])
def test_bad_input_says_what_to_do(weight: tuple[int, int, int]) -> None:
    net = reference.network([3, 4, 2])
    with pytest.raises(ValueError, match="there is no weight"):
        cost_changes(net, *reference.examples(net, 5), weight, [1e-3])
    with pytest.raises(ValueError, match="one network at a time"):
        cost_changes(bp.stack([net]), *reference.examples(net, 5), (0, 0, 0), [1e-3])

"""Random matrices in BP2's place: with w itself they are BP2, and their angle to it is what it should be."""

import math
from collections.abc import Callable

import pytest
import reference
import torch

import bp_torch as bp
from bp_torch.insight.feedback import angles, direct_feedback_alignment, feedback_alignment
from bp_torch.passes import Feedback, errors
from bp_torch.state import State
from bp_torch.training.step import Batch, step

RULES = [feedback_alignment, direct_feedback_alignment]


@pytest.mark.parametrize("case", reference.CASES, ids="-".join)
def test_with_w_itself_it_is_bp2_to_the_bit(case: tuple[str, str, str]) -> None:
    net = reference.network([4, 3, 5, 2], *case)
    x, y = reference.examples(net, 6)
    trace = bp.backprop(net, x, y)
    rule = feedback_alignment(net, matrices={l: net.layers[l].w for l in (1, 2)})
    for l, delta in errors(net, trace, trace.delta[-1], rule):
        assert torch.equal(delta, trace.delta[l])


def test_direct_feedback_takes_the_outputs_error() -> None:
    """With the product of the layers' w from the outputs down, a linear network's direct errors are BP2's."""
    net = reference.network([4, 3, 5, 2], "identity")
    x, y = reference.examples(net, 6)
    trace = bp.backprop(net, x, y)
    w = [layer.w for layer in net.layers]
    rule = direct_feedback_alignment(net, matrices={1: w[2] @ w[1], 2: w[2]})
    for l, delta in errors(net, trace, trace.delta[-1], rule):
        torch.testing.assert_close(delta, trace.delta[l])


def test_with_one_hidden_layer_both_have_the_same_form() -> None:
    net = reference.network([4, 3, 2])
    b = {1: torch.ones(2, 3, dtype=torch.float64)}
    x, y = reference.examples(net, 6)
    trace = bp.backprop(net, x, y)
    one, other = (dict(errors(net, trace, trace.delta[-1], rule(net, matrices=b))) for rule in RULES)
    assert torch.equal(one[0], other[0])
    wanted = trace.delta[1].sum(1, keepdim=True) * trace.a[1] * (1 - trace.a[1])
    torch.testing.assert_close(one[0], wanted)


@pytest.mark.parametrize("rule", RULES)
def test_the_seed_decides_the_matrices(rule: Callable[..., Feedback]) -> None:
    net = reference.network([4, 30, 20, 2])
    x, y = reference.examples(net, 6)
    trace = bp.backprop(net, x, y)
    first, again, other = (dict(errors(net, trace, trace.delta[-1], rule(net, seed=s))) for s in (1, 1, 2))
    assert all(torch.equal(first[l], again[l]) for l in range(3))
    assert not torch.equal(first[0], other[0])
    assert torch.equal(first[2], trace.delta[2])


def test_angles() -> None:
    net = reference.network([4, 3, 2])
    x, y = reference.examples(net, 6)

    def turned(l, delta, top, sigma_prime):
        below = (delta @ net.layers[l].w) * sigma_prime
        return torch.stack([below[:, 1], -below[:, 0], torch.zeros_like(below[:, 2])], 1)

    flip: Feedback = lambda l, delta, top, sigma_prime: -2 * (delta @ net.layers[l].w) * sigma_prime  # noqa: E731
    assert angles(net, x, y, feedback_alignment(net, matrices={1: net.layers[1].w})) == pytest.approx([0], abs=1e-5)
    assert angles(net, x, y, flip) == pytest.approx([180], abs=1e-5)
    assert angles(net, x, y, turned) == pytest.approx([90])
    assert angles(reference.network([4, 2]), *reference.examples(reference.network([4, 2]), 3), flip) == []


def test_an_example_without_error_has_no_angle() -> None:
    net = reference.network([4, 3, 2])
    x, y = reference.examples(net, 2)
    y[0] = net.forward(x).a[-1][0]  # the first example's cost is 0
    rule = feedback_alignment(net, seed=5)
    assert angles(net, x, y, rule) == pytest.approx(angles(net, x[1:], y[1:], rule))
    assert math.isnan(angles(net, x[:1], y[:1], rule)[0])


def test_random_matrices_start_unrelated_and_come_to_agree() -> None:
    """What T. Lillicrap et al. found: the weights learn to make random feedback useful."""
    x, y = bp.data.digits("train")
    one_hot = torch.nn.functional.one_hot(y, 10).float()
    for rule_of in RULES:
        net = bp.Network.create([64, 100, 100, 10], hidden="tanh", cost="softmax_cross_entropy", seed=0)
        rule = rule_of(net, seed=0)
        before, numbers = angles(net, x, y, rule), (x.new_tensor(-0.5 / len(x)),)
        for _ in range(150):
            step(State(net), Batch(x, one_hot, x.new_ones(len(x))), numbers, feedback=rule)
        after = angles(net, x, y, rule)
        assert all(75 < angle < 105 for angle in before)
        assert max(after) < 75
        assert net.accuracy(x, y) > 0.9


@pytest.mark.parametrize("rule", RULES)
def test_bad_input_says_what_to_do(rule: Callable[..., Feedback]) -> None:
    net = reference.network([4, 3, 5, 2])
    with pytest.raises(ValueError, match="one network at a time"):
        rule(bp.stack([net]))
    with pytest.raises(ValueError, match="seed must be a whole number"):
        rule(net, seed=-1)
    right = {1: torch.ones(5 if rule is feedback_alignment else 2, 3, dtype=torch.float64), 2: net.layers[2].w}
    rule(net, matrices=right)
    with pytest.raises(ValueError, match=r"each of the layers \[1, 2\], and got \[1\]"):
        rule(net, matrices={1: right[1]})
    with pytest.raises(ValueError, match=r"matrix of layer 1 must be \(\d, 3\), torch.float64"):
        rule(net, matrices={**right, 1: right[1].mT})
    with pytest.raises(ValueError, match=r"matrix of layer 2 must be \(2, 5\), torch.float64, on cpu, not .*float32"):
        rule(net, matrices={**right, 2: right[2].float()})

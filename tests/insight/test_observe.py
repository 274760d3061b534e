"""What is seen of a network while it learns: held to the pass itself, and to loops over single examples."""

import pytest
import reference
import torch

import bp_torch as bp
from bp_torch.insight.observe import (
    BINS,
    bounds,
    epochs_to_keep,
    examples_to_follow,
    kept_neurons,
    kept_weights,
    observe,
    spread,
)


@pytest.mark.parametrize("case", [("sigmoid", "quadratic", "sigmoid"), ("silu", "softmax_cross_entropy", "softmax")])
def test_what_is_seen_is_what_backprop_computes(case: tuple[str, str, str]) -> None:
    net = reference.network([4, 3, 5, 2], *case)
    probe, followed = reference.examples(net, 7), reference.examples(net, 3, seed=6)
    observed = observe(net, probe, followed)
    trace, gradients = bp.backprop(net, *probe), net.gradients(*probe)
    for l, gradient in enumerate(gradients):
        single = [bp.backprop(net, x[None], y[None]).delta[l].norm() for x, y in zip(*probe, strict=True)]
        assert observed["error_norm"][l].item() == pytest.approx(sum(single) / 7)
        assert observed["weight_gradient_norm"][l].item() == pytest.approx(gradient.w.norm().item())
        assert observed["bias_gradient_norm"][l].item() == pytest.approx(gradient.b.norm().item())
        assert observed["activation_counts"][l].sum() == trace.a[l + 1].numel()
    assert observed["cost"].item() == pytest.approx(trace.cost.item())
    trace = bp.backprop(net, *followed)
    costs = [net.cost(x[None], y[None]).item() for x, y in zip(*followed, strict=True)]
    assert observed["followed_cost"].tolist() == pytest.approx(costs)
    for l, activation in enumerate(net.activations):
        torch.testing.assert_close(observed[f"a.{l}"], trace.a[l + 1].float())
        torch.testing.assert_close(observed[f"delta.{l}"], trace.delta[l].float())
        if activation.name == "softmax":
            assert observed[f"slope.{l}"].isnan().all()
            assert not observed["slope_counts"][l].any()
        else:
            torch.testing.assert_close(
                observed[f"slope.{l}"], activation.derivative(trace.z[l], trace.a[l + 1]).float()
            )
            assert observed["slope_counts"][l].sum() == 7 * net.sizes[l + 1]
    assert torch.equal(observed["w.1"], net.layers[1].w.float())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_any_dtype_is_seen_in_float32(dtype: torch.dtype) -> None:
    net = bp.Network.create([4, 3, 2], dtype=dtype)
    pair = torch.rand(5, 4, generator=torch.Generator().manual_seed(0)).to(dtype), torch.tensor([0, 1, 1, 0, 1])
    assert {value.dtype for value in observe(net, pair, pair).values()} == {torch.float32}


def test_histograms_count_by_place_and_the_outside_at_the_edges() -> None:
    net = bp.Network.create([1, 1], output="relu", init="normal")
    net.layers[0].w.fill_(1)
    net.layers[0].b.fill_(0)
    x = torch.tensor([[-3.0], [0.1], [5.1], [9.9], [400.0]])
    observed = observe(net, (x, x), (x, x))
    assert bounds(net.activations[0]) == ((0, 10), (0, 1))
    assert observed["activation_counts"][0].nonzero().flatten().tolist() == [0, 10, BINS - 1]
    assert observed["activation_counts"][0][[0, 10, BINS - 1]].tolist() == [2, 1, 2]
    assert observed["slope_counts"][0][[0, BINS - 1]].tolist() == [1, 4]


@pytest.mark.parametrize("name", bp.ACTIVATIONS)
def test_bounds_hold_zero_and_have_a_width(name: str) -> None:
    for low, high in bounds(bp.ACTIVATIONS[name]):
        assert low <= 0 < high
    assert bounds(bp.ACTIVATIONS["sigmoid"]) == ((0, 1), (0, 0.25))


def test_wide_layers_are_kept_in_part() -> None:
    assert kept_neurons([784, 30, 10]) == [30, 10]
    wide = kept_neurons([784, 2500, 2000, 1500, 1000, 500, 10])
    assert sum(wide) <= 320
    assert wide[-1] == 10
    assert wide[0] == wide[4] == 62
    assert kept_neurons([2] + [3] * 400) == [1] * 400
    assert kept_weights([784, 30, 10]) == [1]
    assert kept_weights([784, 30, 30, 30, 10]) == [3, 2, 1]
    assert kept_weights([784, 100, 100, 10]) == [2]
    assert kept_weights([784, 500, 10]) == []
    net = bp.Network.create([4, 400, 3])
    pair = torch.ones(2, 4), torch.tensor([0, 2])
    assert observe(net, pair, pair)["delta.0"].shape == (2, 317)


def test_examples_and_epochs_are_chosen_without_chance() -> None:
    y = torch.tensor([3, 3, 0, 1, 0, 2])
    assert examples_to_follow(y).tolist() == [2, 3, 5, 0]
    assert examples_to_follow(torch.tensor([[0.5], [0.2]])).tolist() == [0, 1]
    assert examples_to_follow(torch.arange(30)).tolist() == list(range(10))
    assert spread(3, 5).tolist() == [0, 1, 2]
    assert spread(101, 3).tolist() == [0, 50, 100]
    assert epochs_to_keep(30) == set(range(31))
    long = epochs_to_keep(1000)
    assert {0, 1, 2, 1000} <= long
    assert 20 < len(long) <= 31

"""How large errors are, layer by layer, and slopes by input and saturation: held to loops over single weights."""

import math

import pytest
import reference
import torch

import bp_torch as bp
from bp_torch.insight.learning_speed import error_norms, slopes


def test_the_mean_errors_norm_is_that_of_the_bias_gradient() -> None:
    net = reference.network([4, 3, 5, 2])
    x, y = reference.examples(net, 6)
    of_mean, of_examples = error_norms(net, x, y)
    assert of_mean == pytest.approx([g.b.norm().item() for g in reference.gradients(net, x, y)[:-1]])
    alone = [[g.b.norm().item() for g in reference.gradients(net, x[i : i + 1], y[i : i + 1])[:-1]] for i in range(6)]
    assert of_examples == pytest.approx([sum(layer) / 6 for layer in zip(*alone, strict=True)])


@pytest.mark.parametrize("layer", [0, 1])
def test_slopes_are_the_means_of_single_gradients(layer: int) -> None:
    net = reference.network([4, 6, 3])
    x, y = reference.examples(net, 7)
    result = slopes(net, x, y, layer, bins=3)
    trace = net.forward(x)
    a, out = trace.a[layer].abs(), trace.a[layer + 1]
    prime = out * (1 - out)
    cells: dict[tuple[int, int], list[float]] = {}
    for i in range(7):
        gradient = reference.gradients(net, x[i : i + 1], y[i : i + 1])[layer].w
        for j in range(net.sizes[layer + 1]):
            for k in range(net.sizes[layer]):
                p = min(int(3 * a[i, k] / a.max()), 2)
                q = min(int(3 * prime[i, j] / prime.max()), 2)
                cells.setdefault((p, q), []).append(abs(gradient[j, k].item()))
    for p in range(3):
        for q in range(3):
            values = cells.get((p, q), [])
            assert result.pairs[p, q] == len(values)
            mean = sum(values) / len(values) if values else math.nan
            assert result.mean[p, q].item() == pytest.approx(mean, nan_ok=True)
    assert result.inputs.tolist() == pytest.approx([a.max().item() * p / 3 for p in range(4)])
    assert result.primes.tolist() == pytest.approx([prime.max().item() * q / 3 for q in range(4)])


def test_a_trained_networks_weights_learn_slowly_from_inactive_inputs_and_in_saturated_neurons() -> None:
    """Statement 10 of docs/chapter.md."""
    net = bp.Network.create([64, 30, 10])
    x, y = bp.data.digits("train")
    for _ in bp.train(net, (x, y), epochs=10):
        pass
    for layer in (0, 1):
        mean = slopes(net, x, y, layer, bins=4).mean
        assert bool((mean[1:] > mean[:1]).all())  # an active input: quicker, at any saturation
        assert bool((mean[:, 1:] > mean[:, :1]).all())  # a free neuron: quicker, from any input
        assert mean[-1, -1] > 20 * mean[0, 0]


def test_bad_input_says_what_to_do() -> None:
    net = reference.network([4, 3, 2])
    x, y = reference.examples(net, 3)
    with pytest.raises(ValueError, match="layer must be from 0 to 1 for 2 layers, not 2"):
        slopes(net, x, y, 2)
    with pytest.raises(ValueError, match="layer must be a whole number"):
        slopes(net, x, y, -1)
    with pytest.raises(ValueError, match="bins must be a whole number"):
        slopes(net, x, y, 0, bins=0)
    with pytest.raises(ValueError, match="one network at a time"):
        slopes(bp.stack([net]), x, y, 0)
    with pytest.raises(ValueError, match="x must have the shape"):
        error_norms(net, x[:, :2], y)


def test_inputs_that_are_all_zero_lie_in_the_first_cell() -> None:
    net = reference.network([4, 3, 2])
    x = torch.zeros(3, 4, dtype=torch.float64)
    result = slopes(net, x, torch.tensor([0, 1, 1]), 0, bins=2)
    assert result.pairs.sum() == result.pairs[0].sum() == 3 * 4 * 3
    assert result.mean[0].nan_to_num().tolist() == [0, 0]

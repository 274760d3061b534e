"""Statements of the chapter that no single equation says: 10, 12 and 13. (docs/chapter.md maps the others.)"""

import itertools

import pytest
import reference

import bp_torch as bp


def test_a_weight_learns_slowly_from_an_inactive_input_or_in_a_saturated_neuron() -> None:
    """Statement 10: ∂C/∂w_jk is a_k δ_j, and δ_j carries σ′(z_j)."""
    net = reference.network([3, 4, 2])
    x, y = reference.examples(net, 1)
    x[0, 1] = 1e-3  # an input that is hardly active
    net.layers[0].b[2] = 12.0  # a neuron that is saturated: σ′ < 1e-5
    slope = net.gradients(x, y)[0].w.abs()
    others = slope[[0, 1, 3]][:, [0, 2]].min()
    assert slope[:, 1].max() < 0.05 * others
    assert slope[2].max() < 0.01 * others


def test_one_backward_pass_gives_every_partial_derivative() -> None:
    """Statement 12: the alternative is a pair of forward passes for each weight and bias."""
    net = reference.network([3, 4, 2])
    x, y = reference.examples(net, 5)
    gradients, h = net.gradients(x, y), 1e-5
    for layer, gradient in zip(net.layers, gradients, strict=True):
        for tensor, slopes in zip(layer, gradient, strict=True):
            for index in itertools.product(*map(range, tensor.shape)):
                value = tensor[index].item()
                costs = []
                for moved in (value + h, value - h):
                    tensor[index] = moved
                    costs.append(net.cost(x, y).item())
                tensor[index] = value
                assert slopes[index].item() == pytest.approx((costs[0] - costs[1]) / (2 * h), rel=1e-6, abs=1e-9)


def test_the_gradient_is_a_sum_over_paths() -> None:
    """Statement 13: ∂C/∂w_jk = Σ over the paths j → m → … → q of ∂C/∂a_q · … · ∂a_m/∂a_j · ∂a_j/∂w_jk."""
    net = reference.network([2, 3, 2, 2], "tanh")
    x, y = reference.examples(net, 1)
    trace = net.forward(x)
    slope = [f.derivative(z, a)[0] for f, z, a in zip(net.activations, trace.z, trace.a[1:], strict=True)]
    for l, gradient in enumerate(net.gradients(x, y)):
        above = [range(n) for n in net.sizes[l + 2 :]]
        for j, k in itertools.product(*map(range, gradient.w.shape)):
            total = 0.0
            for path in itertools.product(*above):
                product, neuron = slope[l][j] * trace.a[l][0, k], j  # ∂a_j/∂w_jk
                for up, following in enumerate(path, start=l + 1):
                    product = product * net.layers[up].w[following, neuron] * slope[up][following]  # ∂a/∂a
                    neuron = following
                total += (product * (trace.a[-1][0, neuron] - y[0, neuron])).item()  # ∂C/∂a, quadratic
            assert gradient.w[j, k].item() == pytest.approx(total, rel=1e-10)


def test_the_predicted_change_of_the_cost_comes_true_as_the_change_shrinks() -> None:
    """Statement 13: ΔC ≈ ∂C/∂w Δw, with an error of order Δw²."""
    net = reference.network([3, 4, 2])
    x, y = reference.examples(net, 5)
    slope, before = net.gradients(x, y)[0].w[1, 2].item(), net.cost(x, y).item()
    value, errors = net.layers[0].w[1, 2].item(), []
    for step in (1e-1, 1e-2, 1e-3):
        net.layers[0].w[1, 2] = value + step
        errors.append(abs(net.cost(x, y).item() - before - slope * step))
    assert errors[1] / errors[0] == pytest.approx(1e-2, rel=0.3)
    assert errors[2] / errors[1] == pytest.approx(1e-2, rel=0.3)


def test_training_descends() -> None:
    """Statement 11: the algorithm as a whole."""
    net = bp.Network.create([64, 30, 10])
    first, *_, last = bp.train(net, bp.data.digits("train"), epochs=10, validation=bp.data.digits("test"))
    assert last.cost < first.cost / 5
    assert last.validation_accuracy is not None
    assert last.validation_accuracy > 0.9

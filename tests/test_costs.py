"""Every entry of COSTS: value and error belong together, and hold at the extremes."""

import math

import pytest
import reference
import torch

import bp_torch as bp
from bp_torch.activations import SOFTMAX

every_cost = pytest.mark.parametrize("cost", bp.COSTS.values(), ids=lambda cost: cost.name)


def _output(cost: bp.Cost) -> bp.Activation:
    return cost.output or bp.ACTIVATIONS["sigmoid"]


BOUNDED = [cost for cost in bp.COSTS.values() if all(map(math.isfinite, _output(cost).reach))]
"""Those whose outputs can't overflow: e^z does, and is then infinite."""


@every_cost
def test_error_is_the_derivative_of_value(cost: bp.Cost) -> None:
    """For any y, also where its rows don't sum to 1."""
    rng = torch.Generator().manual_seed(1)
    z = torch.randn(6, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    y = torch.rand(6, 4, generator=rng, dtype=torch.float64)
    a = _output(cost).f(z)
    (wanted,) = torch.autograd.grad(cost.value(z, a, y).sum(), z)
    torch.testing.assert_close(cost.error(_output(cost), z, a, y).detach(), wanted, rtol=1e-12, atol=1e-15)


@every_cost
def test_value_is_torchs(cost: bp.Cost) -> None:
    rng = torch.Generator().manual_seed(2)
    z = 3 * torch.randn(6, 4, generator=rng, dtype=torch.float64)
    y = torch.rand(6, 4, generator=rng, dtype=torch.float64).softmax(-1)
    a = _output(cost).f(z)
    wanted = reference.COSTS.get(cost.name, lambda z, a, y: cost.value(z, a, y).mean())(z, a, y)
    torch.testing.assert_close(cost.value(z, a, y).mean(), wanted, rtol=1e-12, atol=0)


@pytest.mark.parametrize("cost", BOUNDED, ids=lambda cost: cost.name)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_extremes(cost: bp.Cost, dtype: torch.dtype) -> None:
    """Saturated outputs, wrong and right: a finite cost, and δ = a − y to the last digit (the sigmoid's σ′ is 0)."""
    z = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], dtype=dtype)
    y = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=dtype)
    a = _output(cost).f(z)
    value, error = cost.value(z, a, y), cost.error(_output(cost), z, a, y)
    expected = {"quadratic": 1.0, "binary_cross_entropy": 2e4, "softmax_cross_entropy": 2e4}[cost.name]
    assert value.double().tolist() == pytest.approx([0.0, expected], rel=torch.finfo(dtype).eps)
    assert error.tolist() == ([[0, 0], [0, 0]] if cost.name == "quadratic" else [[0, 0], [-1, 1]])


@every_cost
def test_a_cost_is_a_function_of_the_outputs(cost: bp.Cost) -> None:
    """Statement 4, assumption 2: networks that differ inside but give the same outputs have the same cost."""
    output = _output(cost).name if cost.output is None else None
    net = bp.Network.create([3, 4, 2], hidden="tanh", cost=cost, output=output, dtype=torch.float64)
    first, last = net.layers
    order = torch.tensor([2, 0, 3, 1])  # the same hidden neurons, in another order
    permuted = bp.Network(
        (bp.Layer(first.w[order], first.b[order]), bp.Layer(last.w[:, order], last.b)), net.activations, cost
    )
    x, y = reference.examples(net, 5)
    torch.testing.assert_close(permuted.cost(x, y), net.cost(x, y), rtol=1e-14, atol=0)


def test_softmax_has_no_elementwise_derivative() -> None:
    with pytest.raises(ValueError, match="softmax_cross_entropy"):
        SOFTMAX.derivative(torch.zeros(1, 2), torch.full((1, 2), 0.5))

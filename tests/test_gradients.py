"""The gradients of all four equations together, against torch.autograd and against central differences."""

import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bp_torch as bp
from bp_torch.equations import hidden_error
from bp_torch.passes import errors, output_delta

DEPTHS = {1: [5, 3], 2: [5, 4, 3], 3: [5, 4, 6, 3], 4: [5, 4, 6, 2, 3]}
every_case = pytest.mark.parametrize(("hidden", "cost", "output"), reference.CASES)
every_depth = pytest.mark.parametrize("depth", DEPTHS)
every_batch = pytest.mark.parametrize("m", [1, 2, 7])


@every_case
@every_depth
@every_batch
def test_equal_to_autograd(hidden: str, cost: str, output: str, depth: int, m: int) -> None:
    net = reference.network(DEPTHS[depth], hidden, cost, output)
    x, y = reference.examples(net, m)
    for got, wanted in zip(net.gradients(x, y), reference.gradients(net, x, y), strict=True):
        assert reference.relative_error(got.w, wanted.w) < 1e-10
        assert reference.relative_error(got.b, wanted.b) < 1e-10


@every_case
@every_depth
@every_batch
def test_equal_to_a_central_difference(hidden: str, cost: str, output: str, depth: int, m: int) -> None:
    """The slope of C along a random direction, with no derivative of any kind: (C(θ + hd) − C(θ − hd)) / 2h."""
    net = reference.network(DEPTHS[depth], hidden, cost, output)
    x, y = reference.examples(net, m)
    rng = torch.Generator().manual_seed(depth)
    direction = [torch.randn(t.shape, generator=rng, dtype=t.dtype) for layer in net.layers for t in layer]
    wanted = sum((g * d).sum() for g, d in zip((t for g in net.gradients(x, y) for t in g), direction, strict=True))
    h = 1e-5
    costs = []
    for sign in (+1, -1):
        moved = reference.network(DEPTHS[depth], hidden, cost, output)
        for tensor, d in zip((t for layer in moved.layers for t in layer), direction, strict=True):
            tensor.add_(d, alpha=sign * h)
        costs.append(moved.cost(x, y))
    assert ((costs[0] - costs[1]) / (2 * h)).item() == pytest.approx(float(wanted), rel=1e-6, abs=1e-9)


@every_case
def test_delta_is_the_slope_of_an_examples_cost_in_z(hidden: str, cost: str, output: str) -> None:
    """Statement 5: δ_j = ∂C_x/∂z_j. A layer's z is moved by moving its bias, one neuron at a time."""
    net = reference.network(DEPTHS[3], hidden, cost, output)
    x, y = reference.examples(net, 4)
    delta = bp.backprop(net, x, y).delta
    h = 1e-5
    for l, (_, b) in enumerate(net.layers):
        for j in range(len(b)):
            value = b[j].item()
            slopes = []
            for moved in (value + h, value - h):
                b[j] = moved
                trace = net.forward(x)
                slopes.append(net.cost_function.value(trace.z[-1], trace.a[-1], y))
            b[j] = value
            torch.testing.assert_close(delta[l][:, j], (slopes[0] - slopes[1]) / (2 * h), rtol=1e-6, atol=1e-9)


@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    m=st.integers(1, 9),
    case=st.sampled_from(reference.CASES),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=150, deadline=None)
def test_any_shape(sizes: list[int], m: int, case: tuple[str, str, str], seed: int) -> None:
    net = reference.network(sizes, *case)
    x, y = reference.examples(net, m, seed)
    for got, wanted in zip(net.gradients(x, y), reference.gradients(net, x, y), strict=True):
        torch.testing.assert_close(got.w, wanted.w, rtol=1e-9, atol=1e-13)
        torch.testing.assert_close(got.b, wanted.b, rtol=1e-9, atol=1e-13)


@every_case
def test_a_batchs_gradient_is_the_mean_of_its_examples(hidden: str, cost: str, output: str) -> None:
    """Statement 3, assumption 1: C is an average over the examples."""
    net = reference.network(DEPTHS[3], hidden, cost, output)
    x, y = reference.examples(net, 6)
    single = [net.gradients(x[i : i + 1], y[i : i + 1]) for i in range(6)]
    for l, got in enumerate(net.gradients(x, y)):
        torch.testing.assert_close(got.w, torch.stack([g[l].w for g in single]).mean(0), rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(got.b, torch.stack([g[l].b for g in single]).mean(0), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("cost", bp.COSTS)
def test_lower_precision_is_the_same_up_to_rounding(dtype: torch.dtype, cost: str) -> None:
    exact = bp.Network.create([20, 8, 4], cost=cost, seed=1, dtype=torch.float64)
    net = bp.Network.create([20, 8, 4], cost=cost, seed=1, dtype=dtype)
    x, y = reference.examples(exact, 8)
    for got, wanted in zip(net.gradients(x.to(dtype), y.to(dtype)), exact.gradients(x, y), strict=True):
        assert got.w.dtype == dtype
        assert reference.relative_error(got.w.double(), wanted.w) < 20 * torch.finfo(dtype).eps
        assert reference.relative_error(got.b.double(), wanted.b) < 20 * torch.finfo(dtype).eps


@pytest.mark.gpu
@pytest.mark.parametrize("cost", bp.COSTS)
def test_on_the_gpu(cost: str) -> None:
    net = bp.Network.create([20, 8, 4], cost=cost, seed=1, dtype=torch.float64)
    on_gpu = bp.Network.create([20, 8, 4], cost=cost, seed=1, dtype=torch.float64, device="cuda")
    x, y = reference.examples(net, 8)
    for got, wanted in zip(on_gpu.gradients(x.cuda(), y.cuda()), net.gradients(x, y), strict=True):
        assert reference.relative_error(got.w.cpu(), wanted.w) < 1e-10
        assert reference.relative_error(got.b.cpu(), wanted.b) < 1e-10


def test_another_rule_can_stand_in_bp2s_place() -> None:
    """The sweep is the same: BP2 passed as a function gives BP2's errors, and the rule sees δᴸ at every layer."""
    net = reference.network([5, 4, 3, 2])
    x, y = reference.examples(net, 6)
    trace = net.forward(x)
    top, deltas = output_delta(net, trace, y), []

    def bp2(l: int, delta: torch.Tensor, delta_top: torch.Tensor, sigma_prime: torch.Tensor) -> torch.Tensor:
        deltas.append((l, delta_top is top))
        return hidden_error(net.layers[l].w, delta, sigma_prime)

    for (l, mine), (k, theirs) in zip(errors(net, trace, top), errors(net, trace, top, bp2), strict=True):
        assert l == k
        assert torch.equal(mine, theirs)
    assert deltas == [(2, True), (1, True)]
    halved = dict(
        errors(net, trace, top, lambda l, delta, delta_top, sigma_prime: 0.5 * bp2(l, delta, top, sigma_prime))
    )
    assert torch.allclose(halved[0], 0.25 * dict(errors(net, trace, top))[0])

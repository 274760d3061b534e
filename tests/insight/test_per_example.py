"""Per-example quantities: equal to a loop over single examples, in memory that does not grow with the examples."""

import math
from collections.abc import Callable

import memory
import pytest
import reference
import torch
from torch import Tensor

import bp_torch as bp
from bp_torch import per_example
from bp_torch.insight import blocks

SIZES = [4, 5, 3, 2]
BLOCK = 3  # of 7 examples: the last block is ragged

each_case = pytest.mark.parametrize("case", reference.CASES, ids="-".join)


def _flat(layers: tuple[bp.Layer, ...] | list[bp.Layer]) -> Tensor:
    return torch.cat([t.flatten() for layer in layers for t in layer])


def _one_by_one(net: bp.Network, x: Tensor, y: Tensor) -> Tensor:
    """Each example's gradient as a row: (m, number of parameters)."""
    return torch.stack([_flat(net.gradients(x[i : i + 1], y[i : i + 1])) for i in range(len(x))])


def _problem(case: tuple[str, str, str]) -> tuple[bp.Network, Tensor, Tensor, Tensor]:
    net = reference.network(SIZES, *case)
    x, y = reference.examples(net, 7)
    return net, x, y, _one_by_one(net, x, y)


@each_case
def test_norms(case: tuple[str, str, str]) -> None:
    net, x, y, rows = _problem(case)
    assert reference.relative_error(per_example.gradient_norms(net, x, y, block_size=BLOCK), rows.norm(dim=1)) < 1e-12
    by_layer = per_example.gradient_norms(net, x, y, by_layer=True)
    counts = [w.numel() + b.numel() for w, b in net.layers]
    wanted = torch.stack([part.norm(dim=1) for part in rows.split(counts, 1)], 1)
    assert reference.relative_error(by_layer, wanted) < 1e-12


@each_case
def test_norms_are_autograds(case: tuple[str, str, str]) -> None:
    net, x, y, _ = _problem(case)
    wanted = [_flat(reference.gradients(net, x[i : i + 1], y[i : i + 1])).norm() for i in range(len(x))]
    assert reference.relative_error(per_example.gradient_norms(net, x, y), torch.stack(wanted)) < 1e-10


@each_case
def test_clipped_sum(case: tuple[str, str, str]) -> None:
    net, x, y, rows = _problem(case)
    norms = rows.norm(dim=1)
    bound = (norms.min() + norms.max()).item() / 2  # some are clipped, and some are not
    wanted = [row * bound / norm if norm > bound else row for row, norm in zip(rows, norms.tolist(), strict=True)]
    result = per_example.clipped_sum(net, x, y, bound, block_size=BLOCK)
    assert [layer.w.shape for layer in result] == [layer.w.shape for layer in net.layers]
    assert reference.relative_error(_flat(result), torch.stack(wanted).sum(0)) < 1e-12
    loose = per_example.clipped_sum(net, x, y, 2 * norms.max().item())
    assert reference.relative_error(_flat(loose), 7 * _flat(net.gradients(x, y))) < 1e-12


@each_case
def test_second_moment(case: tuple[str, str, str]) -> None:
    net, x, y, rows = _problem(case)
    result = per_example.second_moment(net, x, y, block_size=BLOCK)
    assert reference.relative_error(_flat(result), rows.square().mean(0)) < 1e-12


@each_case
def test_noise_scale(case: tuple[str, str, str]) -> None:
    net, x, y, rows = _problem(case)
    result = per_example.noise_scale(net, x, y, block_size=BLOCK)
    variance = rows.var(0).sum().item()
    gradient_square = rows.mean(0).square().sum().item() - variance / 7
    assert result.variance == pytest.approx(variance, rel=1e-10)
    assert result.gradient_square == pytest.approx(gradient_square, rel=1e-9, abs=1e-12 * variance)
    if gradient_square > 1e-12 * variance:
        assert result.noise_scale == pytest.approx(variance / gradient_square, rel=1e-8)
        scale = variance / gradient_square
        assert result.batch_size == (None if scale < 5 else round(scale))
    else:
        assert result.batch_size is None


@each_case
def test_gram_matrix_and_influence(case: tuple[str, str, str]) -> None:
    net, x, y, rows = _problem(case)
    other = reference.examples(net, 4, seed=6)
    others = _one_by_one(net, *other)
    assert reference.relative_error(per_example.gram(net, x, y, block_size=BLOCK), rows @ rows.mT) < 1e-12
    assert reference.relative_error(per_example.gram(net, x, y, other, block_size=BLOCK), rows @ others.mT) < 1e-12
    dot = per_example.influence(net, (x, y), other, block_size=BLOCK)
    assert reference.relative_error(dot, others @ rows.mT) < 1e-12
    cosine = per_example.influence(net, (x, y), other, similarity="cosine", block_size=BLOCK)
    norms = [g.norm(dim=1).clamp(min=1e-300) for g in (others, rows)]  # relu may give a gradient of 0
    wanted = (others @ rows.mT) / norms[0].unsqueeze(1) / norms[1]
    assert reference.relative_error(cosine, wanted) < 1e-12


@each_case
@pytest.mark.parametrize("similarity", per_example.SIMILARITIES)
def test_top_influences(case: tuple[str, str, str], similarity: str) -> None:
    net, x, y, _ = _problem(case)
    train = reference.examples(net, 20, seed=6)
    whole = per_example.influence(net, train, (x, y), similarity=similarity)
    result = per_example.top_influences(net, train, (x, y), 5, similarity=similarity, block_size=BLOCK)
    assert reference.relative_error(result.values, whole.topk(5).values) < 1e-12
    assert reference.relative_error(whole.gather(1, result.indices), result.values) < 1e-12  # equal ones in any order
    assert all(len(set(row)) == 5 for row in result.indices.tolist())


@each_case
def test_ntk(case: tuple[str, str, str]) -> None:
    """Against autograd, one output of one example at a time."""
    net = reference.network(SIZES, *case)
    x, _ = reference.examples(net, 7)
    other, _ = reference.examples(net, 4, seed=6)

    def jacobians(x: Tensor) -> Tensor:
        rows = []
        for i in range(len(x)):
            layers = reference.leaves(net)
            a = z = x[i]
            for (w, b), f in zip(layers, net.activations, strict=True):
                z = torch.nn.functional.linear(a, w, b)
                a = reference.ACTIVATIONS[f.name](z)
            flat = [t for layer in layers for t in layer]
            of_outputs = [torch.autograd.grad(z[j], flat, retain_graph=True) for j in range(len(z))]
            rows.append(torch.cat([t.flatten() for of_output in of_outputs for t in of_output]))
        return torch.stack(rows)

    mine, others = jacobians(x), jacobians(other)
    assert reference.relative_error(per_example.ntk(net, x, block_size=BLOCK), mine @ mine.mT) < 1e-10
    assert reference.relative_error(per_example.ntk(net, x, other, block_size=BLOCK), mine @ others.mT) < 1e-10


QUANTITIES: dict[str, Callable[[bp.Network, Tensor, Tensor], Tensor]] = {
    "gradient_norms": per_example.gradient_norms,
    "clipped_sum": lambda net, x, y: _flat(per_example.clipped_sum(net, x, y, 0.1)),
    "second_moment": lambda net, x, y: _flat(per_example.second_moment(net, x, y)),
    "noise_scale": lambda net, x, y: torch.tensor(per_example.noise_scale(net, x, y)[2:4]),
    "gram": lambda net, x, y: per_example.gram(net, x, y, (x[:10], y[:10])),
    "ntk": lambda net, x, y: per_example.ntk(net, x, x[:10]),
    "influence": lambda net, x, y: per_example.influence(net, (x, y), (x[:10], y[:10])),
    "top_influences": lambda net, x, y: per_example.top_influences(net, (x, y), (x[:10], y[:10]), 3).values,
}
each_quantity = pytest.mark.parametrize("quantity", list(QUANTITIES.values()), ids=list(QUANTITIES))


@each_quantity
def test_class_indices_are_one_hot_rows(quantity: Callable[..., Tensor]) -> None:
    net = reference.network([4, 5, 3], cost="softmax_cross_entropy", output="softmax")
    x, _ = reference.examples(net, 11)
    labels = torch.arange(11) % 3
    rows = torch.nn.functional.one_hot(labels, 3).double()
    assert torch.equal(quantity(net, x, labels), quantity(net, x, rows))


@each_quantity
def test_float32_is_close(quantity: Callable[..., Tensor]) -> None:
    net = reference.network([4, 5, 3])
    x, y = reference.examples(net, 30)
    result = quantity(net.to(torch.float32), x.float(), y.float())
    assert reference.relative_error(result.double(), quantity(net, x, y).double()) < 1e-4


@each_quantity
def test_memory_does_not_grow_with_the_examples(quantity: Callable[..., Tensor], monkeypatch) -> None:
    monkeypatch.setitem(blocks.BLOCK_BYTES, "cpu", 1 << 16)
    net = bp.Network.create([100, 50, 10])
    m = 4000
    x, y = torch.full((m, 100), 0.5), torch.arange(m) % 10
    parameters = sum(t.numel() for layer in net.layers for t in layer)
    assert memory.peak(lambda: quantity(net, x, y), "cpu") < m * parameters * 4 / 100  # 0.9 MB of 89 MB


@each_quantity
@pytest.mark.gpu
def test_a_gpu_agrees(quantity: Callable[..., Tensor]) -> None:
    net = reference.network([4, 5, 3])
    x, y = reference.examples(net, 30)
    result = quantity(net.to(device="cuda"), x.cuda(), y.cuda())
    assert reference.relative_error(result.cpu().double(), quantity(net, x, y).double()) < 1e-10


def test_one_example_is_enough_but_for_the_noise_scale() -> None:
    net = reference.network([4, 5, 3])
    x, y = reference.examples(net, 1)
    assert per_example.gradient_norms(net, x, y).shape == (1,)
    assert per_example.gram(net, x, y).shape == per_example.ntk(net, x).shape == (1, 1)
    with pytest.raises(ValueError, match="at least two"):
        per_example.noise_scale(net, x, y)


def test_a_gradient_of_zero() -> None:
    """Its norm is 0, clipping leaves it, and it is similar to nothing."""
    net = reference.network([4, 5, 3], "relu", "quadratic", "identity")
    x, y = reference.examples(net, 3)
    y[1] = net.forward(x[1:2]).a[-1]
    rows = _one_by_one(net, x, y)
    norms = per_example.gradient_norms(net, x, y)
    assert norms[1] == 0
    assert reference.relative_error(_flat(per_example.clipped_sum(net, x, y, 1e9)), rows.sum(0)) < 1e-12
    cosine = per_example.influence(net, (x, y), (x, y), similarity="cosine")
    assert (cosine[1] == 0).all()
    assert cosine.diagonal()[::2].tolist() == pytest.approx([1, 1])


def test_equal_examples_have_no_noise() -> None:
    net = reference.network([4, 5, 3])
    x, y = (t.repeat(50, 1) for t in reference.examples(net, 1))
    result = per_example.noise_scale(net, x, y)
    assert result.noise_scale < 1e-12
    assert result.batch_size is None


def test_the_noise_scale_is_recovered_where_it_is_known() -> None:
    """One linear neuron at w = 0, b = 0: the gradient is −y (x, 1), here of known mean and variance."""
    zero = torch.zeros(1, 1, dtype=torch.float64)
    linear = bp.ACTIVATIONS["identity"]
    net = bp.Network((bp.Layer(zero, torch.zeros(1, dtype=torch.float64)),), (linear,), bp.COSTS["quadratic"])
    rng = torch.Generator().manual_seed(1)
    y = 0.5 + 2 * torch.randn(20_000, 1, generator=rng, dtype=torch.float64)
    result = per_example.noise_scale(net, torch.zeros_like(y), y)
    assert result.noise_scale == pytest.approx(4 / 0.25, rel=0.2)
    assert result.batch_size == round(result.noise_scale)
    assert f"batches of about {result.batch_size} are advised" in str(result)
    assert "rough" not in str(result)
    assert "rough figure" in str(result._replace(noise_scale=1e6))


def test_a_gradient_lost_in_noise_gets_no_advice() -> None:
    net = reference.network([2, 1], output="identity")
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    y = net.forward(x).a[-1] + torch.tensor([[1.0], [-1.0]], dtype=torch.float64)  # the mean gradient is 0
    result = per_example.noise_scale(net, x, y)
    assert result.gradient_square <= 0
    assert math.isnan(result.noise_scale)
    assert result.batch_size is None
    assert "Not resolved" in str(result)


def test_the_most_influential_example_is_the_one_itself() -> None:
    """By cosine, on the embedded digits; TracIn predicts how a small step on one example lowers another's cost."""
    x, y = bp.data.digits("test")
    x, y = x[:60].double(), y[:60]
    net = bp.Network.create([64, 20, 10], seed=0, dtype=torch.float64)
    result = per_example.top_influences(net, (x, y), (x, y), 1, similarity="cosine")
    assert torch.equal(result.indices.flatten(), torch.arange(60))
    assert result.values.flatten().tolist() == pytest.approx([1] * 60)
    lr, test = 1e-6, (x[1:2], y[1:2])
    layers = zip(net.layers, net.gradients(x[:1], y[:1]), strict=True)
    stepped = bp.Network(
        tuple(bp.Layer(p.w - lr * g.w, p.b - lr * g.b) for p, g in layers), net.activations, net.cost_function
    )
    lowered = (net.cost(*test) - stepped.cost(*test)).item()
    assert lowered == pytest.approx(lr * per_example.influence(net, (x[:1], y[:1]), test).item(), rel=1e-3)


def test_automatic_blocks_grow_with_the_network_and_not_with_its_outputs() -> None:
    small, large = bp.Network.create([784, 100, 10]), bp.Network.create([784, 2000, 2000, 10])
    assert 100 < blocks.rows(small, None) < 2000
    assert blocks.rows(large, None) > 100
    assert blocks.rows(small, None, pairwise=True, sweeps=10) < blocks.rows(small, None, pairwise=True) < 2000
    assert blocks.rows(bp.Network.create([3, 2, 100_000]), None, sweeps=100_000) == 1  # never none


def test_bad_input_is_one_sentence() -> None:
    net = bp.Network.create([4, 5, 3])
    x, y = torch.ones(6, 4), torch.zeros(6, dtype=torch.int64)
    for bound in (0, -1.0, math.nan, math.inf, "1"):
        with pytest.raises(ValueError, match="max_norm must be a positive, finite number"):
            per_example.clipped_sum(net, x, y, bound)  # pyright: ignore[reportArgumentType]
    for k in (0, 2.0):
        with pytest.raises(ValueError, match="k must be a whole number of at least 1"):
            per_example.top_influences(net, (x, y), (x, y), k)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="k must be at most 6"):
        per_example.top_influences(net, (x, y), (x, y), 7)
    with pytest.raises(ValueError, match="unknown similarity 'l2': choose one of dot, cosine"):
        per_example.influence(net, (x, y), (x, y), similarity="l2")
    with pytest.raises(ValueError, match="train must be a pair"):
        per_example.influence(net, x, (x, y))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="other must be a pair"):
        per_example.gram(net, x, y, x)  # pyright: ignore[reportArgumentType]


@each_quantity
def test_bad_examples_are_refused(quantity: Callable[..., Tensor], request: pytest.FixtureRequest) -> None:
    net = bp.Network.create([4, 5, 3])
    x, y = torch.ones(6, 4), torch.zeros(6, dtype=torch.int64)
    with pytest.raises(ValueError, match="not of a stack"):
        quantity(bp.stack([net]), x, y)
    with pytest.raises(ValueError, match="need float32 or float64"):
        quantity(net.to(torch.bfloat16), x.bfloat16(), y)
    with pytest.raises(ValueError, match="x must have the shape"):
        quantity(net, x[:, :3], y)
    with pytest.raises(ValueError, match="x must have the shape"):
        quantity(net, x.expand(2, 6, 4), y)
    with pytest.raises(ValueError, match=r"x is torch\.float64"):
        quantity(net, x.double(), y)
    with pytest.raises(ValueError, match="holds no examples"):
        quantity(net, x[:0], y[:0])
    if "ntk" in request.node.name:
        return
    with pytest.raises(ValueError, match="and y holds 3"):
        quantity(net, x, y + 3)
    with pytest.raises(ValueError, match="one class index for each"):
        quantity(net, x, y[:5])
    with pytest.raises(ValueError, match="y must be 6 int64 class indices"):
        quantity(net, x, torch.zeros(1, 6, 3))


def test_bad_block_sizes_are_refused() -> None:
    net = bp.Network.create([4, 5, 3])
    x, y = torch.ones(6, 4), torch.zeros(6, dtype=torch.int64)
    calls = [
        lambda: per_example.gradient_norms(net, x, y, block_size=0),
        lambda: per_example.clipped_sum(net, x, y, 1, block_size=0),
        lambda: per_example.second_moment(net, x, y, block_size=0),
        lambda: per_example.noise_scale(net, x, y, block_size=0),
        lambda: per_example.gram(net, x, y, block_size=0),
        lambda: per_example.ntk(net, x, block_size=0),
        lambda: per_example.influence(net, (x, y), (x, y), block_size=0),
        lambda: per_example.top_influences(net, (x, y), (x, y), 1, block_size=0),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="block_size must be a whole number of at least 1"):
            call()

"""Network: what it makes, shows and refuses; a stack of networks against single ones."""

import math

import pytest
import reference
import torch

import bp_torch as bp
from bp_torch.passes import feed_forward


def test_parameters_are_raw_leaf_tensors() -> None:
    net = bp.Network.create([5, 4, 3])
    assert net.sizes == [5, 4, 3]
    for (w, b), (n_in, n_out) in zip(net.layers, [(5, 4), (4, 3)], strict=True):
        assert w.shape == (n_out, n_in)
        assert b.shape == (n_out,)
        for tensor in (w, b):
            assert type(tensor) is torch.Tensor
            assert tensor.is_leaf
            assert not tensor.requires_grad
            assert tensor.dtype == torch.float32


def test_trace_shows_every_z_a_and_delta() -> None:
    net = reference.network([5, 4, 3])
    x, y = reference.examples(net, 7)
    trace = bp.backprop(net, x, y)
    assert trace.a[0] is x
    assert [a.shape for a in trace.a] == [(7, 5), (7, 4), (7, 3)]
    assert [z.shape for z in trace.z] == [(7, 4), (7, 3)]
    assert [delta.shape for delta in trace.delta] == [(7, 4), (7, 3)]
    assert trace.cost.ndim == 0
    torch.testing.assert_close(trace.cost, net.cost(x, y))
    torch.testing.assert_close(trace.a[2], net.forward(x).a[-1])
    torch.testing.assert_close(trace.delta[1], (trace.a[2] - y) * trace.a[2] * (1 - trace.a[2]))


def test_backward_runs_from_the_last_layer_to_the_first() -> None:
    net = reference.network([5, 4, 6, 3])
    x, y = reference.examples(net, 7)
    sweep = list(net.backward(net.forward(x), y))
    assert [l for l, _ in sweep] == [2, 1, 0]
    for (_, delta), wanted in zip(sweep, reversed(bp.backprop(net, x, y).delta), strict=True):
        assert torch.equal(delta, wanted)


def test_a_layer_may_be_changed_as_soon_as_its_error_is_known() -> None:
    net = reference.network([5, 4, 6, 3])
    x, y = reference.examples(net, 7)
    wanted = bp.backprop(net, x, y).delta
    for l, delta in net.backward(net.forward(x), y):
        assert torch.equal(delta, wanted[l])
        net.layers[l].w.fill_(math.nan)


def test_class_indices_are_one_hot_rows() -> None:
    net = reference.network([5, 4, 3], cost="softmax_cross_entropy", output="softmax")
    x, _ = reference.examples(net, 4)
    labels = torch.tensor([2, 0, 1, 2])
    one_hot = torch.eye(3, dtype=torch.float64)[labels]
    assert torch.equal(net.cost(x, labels), net.cost(x, one_hot))
    assert torch.equal(net.cost(x, labels.to(torch.uint8)), net.cost(x, one_hot))
    assert net.accuracy(x, labels) == net.accuracy(x, one_hot) == (net.predict(x) == labels).double().mean()


def test_one_output_is_a_yes_or_no() -> None:
    net = bp.Network.create([2, 1], cost="binary_cross_entropy", dtype=torch.float64)
    net.layers[0].w.copy_(torch.tensor([[1.0, 1.0]]))
    net.layers[0].b.fill_(-1.5)
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    y = torch.tensor([[0.0], [0.0], [0.0], [1.0]], dtype=torch.float64)
    assert net.predict(x).tolist() == [0, 0, 0, 1]
    assert net.accuracy(x, y) == 1.0


@pytest.mark.parametrize("case", reference.CASES, ids="-".join)
@pytest.mark.parametrize("shared", [True, False], ids=["shared x", "own x"])
def test_a_stack_is_its_networks(case: tuple[str, str, str], shared: bool) -> None:
    """K = 3 networks in one pass against three passes: the trace, the cost and the gradients."""
    hidden, cost, output = case
    nets = [
        bp.Network.create([5, 4, 6, 3], hidden=hidden, cost=cost, output=output, seed=seed, dtype=torch.float64)
        for seed in range(3)
    ]
    data = [reference.examples(nets[0], 7, 0 if shared else seed) for seed in range(3)]
    x, y = data[0] if shared else map(torch.stack, zip(*data, strict=True))
    stacked = bp.stack(nets)
    assert stacked.sizes == [5, 4, 6, 3]
    together, gradients = bp.backprop(stacked, x, y), stacked.gradients(x, y)
    for k, (net, (x_k, y_k)) in enumerate(zip(nets, data, strict=True)):
        single = bp.backprop(net, x_k, y_k)
        torch.testing.assert_close(together.cost[k], single.cost)
        for l, gradient in enumerate(net.gradients(x_k, y_k)):
            torch.testing.assert_close(together.z[l][k], single.z[l])
            torch.testing.assert_close(together.a[l + 1][k], single.a[l + 1])
            torch.testing.assert_close(together.delta[l][k], single.delta[l])
            torch.testing.assert_close(gradients[l].w[k], gradient.w)
            torch.testing.assert_close(gradients[l].b[k], gradient.b)


def test_own_activation_and_cost() -> None:
    cube = bp.Activation("cube", lambda z: z**3, lambda z, a: 3 * z * z)
    fourth = bp.Cost(
        "fourth power", lambda z, a, y: ((a - y) ** 4).sum(-1), lambda f, z, a, y: 4 * (a - y) ** 3 * f.derivative(z, a)
    )
    net = bp.Network.create([5, 4, 3], hidden=["tanh"], cost=fourth, output=cube, dtype=torch.float64)
    x, y = reference.examples(net, 7)
    for got, wanted in zip(net.gradients(x, y), reference.gradients(net, x, y), strict=True):
        torch.testing.assert_close(got.w, wanted.w)
        torch.testing.assert_close(got.b, wanted.b)


def test_the_seed_is_the_network() -> None:
    first, again, other = (bp.Network.create([50, 40, 3], seed=seed) for seed in (0, 0, 1))
    rounded = bp.Network.create([50, 40, 3], seed=0, dtype=torch.bfloat16)
    for l in range(2):
        assert torch.equal(first.layers[l].w, again.layers[l].w)
        assert not torch.equal(first.layers[l].w, other.layers[l].w)
        torch.testing.assert_close(rounded.layers[l].w.float(), first.layers[l].w, rtol=2**-8, atol=0)


@pytest.mark.parametrize(
    ("init", "deviation", "bias"),
    [
        ("normal", 1.0, 1.0),
        ("scaled", 400**-0.5, 1.0),
        ("xavier", (2 / 700) ** 0.5, 0.0),
        ("he", (2 / 400) ** 0.5, 0.0),
    ],
)
def test_initialisers(init: str, deviation: float, bias: float) -> None:
    w, b = bp.Network.create([400, 300], init=init, dtype=torch.float64).layers[0]
    assert w.std().item() == pytest.approx(deviation, rel=0.02)
    assert abs(w.mean().item()) < 0.02 * deviation
    assert b.std().item() == pytest.approx(bias, rel=0.15)


def test_the_default_initialiser_fits_each_layers_activation() -> None:
    net = bp.Network.create([400, 300, 300, 300], hidden=["relu", "tanh"])
    wanted = [(2 / 400) ** 0.5, (2 / 600) ** 0.5, 300**-0.5]  # he, xavier, scaled
    assert [layer.w.std().item() for layer in net.layers] == pytest.approx(wanted, rel=0.02)


CREATE = [
    (dict(sizes=[5]), "at least two layers"),
    (dict(sizes=[5, 0, 3]), "layer size must be a whole number of at least 1, not 0"),
    (dict(sizes=[5, 2.5, 3]), "layer size"),
    (dict(sizes="5,3"), "sizes must list"),
    (dict(hidden="sigmoyd"), "unknown activation 'sigmoyd': choose one of identity, sigmoid, tanh, relu"),
    (dict(hidden=["relu", "relu"]), "1 hidden layers, and hidden names 2"),
    (dict(cost="mse"), "unknown cost 'mse': choose one of quadratic, binary_cross_entropy, softmax_cross_entropy"),
    (dict(output="softmax"), "unknown activation 'softmax'"),
    (dict(cost="softmax_cross_entropy", output="sigmoid"), "softmax_cross_entropy is the cost of softmax outputs"),
    (dict(init="zeros"), "unknown init 'zeros': choose one of normal, scaled, xavier, he"),
    (dict(seed=-1), "seed must be"),
    (dict(dtype=torch.int64), "dtype must be one of"),
    (dict(device="gpu"), "unknown device 'gpu'"),
    (dict(device="cuda:99"), "use 'cpu'"),
    (dict(device="meta"), "not supported"),
]


@pytest.mark.parametrize(("arguments", "message"), CREATE, ids=[message for _, message in CREATE])
def test_create_refuses(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bp.Network.create(**{"sizes": [5, 4, 3], **arguments})


x32, y32 = torch.zeros(6, 5), torch.zeros(6, dtype=torch.int64)
EXAMPLES = [
    (torch.zeros(6, 4), y32, r"x must have the shape \(m, 5\)"),
    (torch.zeros(5), y32, r"x must have the shape \(m, 5\)"),
    (torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64), "no examples"),
    (torch.zeros(6, 5, dtype=torch.int64), y32, "x is torch.int64 and the network torch.float32"),
    (torch.zeros(6, 5, dtype=torch.float64), y32, "x is torch.float64 and the network torch.float32"),
    (torch.zeros(6, 5, device="meta"), y32, "x is on meta and the network on cpu"),
    (x32.double().numpy() + 0.1, y32, r"x must be a torch.Tensor, not ndarray .* round x\[0, 0\], 0.1: give torch.as"),
    (x32, [0.5] * 6, "y must be class indices .6,. of whole numbers, or a matrix"),
    (x32, torch.full((6,), 3), "class indices run from 0 to 2 for a network of 3 outputs, and y holds 3"),
    (x32, torch.full((6,), -1), "y holds -1"),
    (x32, torch.full((6,), 0.5), "y must be 6 int64 class indices, or a floating matrix"),
    (x32, y32[:5], "one class index for each of the 6 examples"),
    (x32, torch.zeros(6, 4), r"a floating matrix of shape \(6, 3\)"),
    (x32, torch.zeros(6, 3, dtype=torch.float64), "y is torch.float64 and the network torch.float32"),
    (x32, torch.zeros(6, 3, device="meta"), "y is on meta"),
    (x32, torch.zeros(6, dtype=torch.bool), "not torch.bool"),
]


@pytest.mark.parametrize(("x", "y", "message"), EXAMPLES, ids=[message for _, _, message in EXAMPLES])
def test_examples_are_refused_everywhere(x: torch.Tensor, y: torch.Tensor, message: str) -> None:
    net = bp.Network.create([5, 4, 3])
    uses = [
        lambda: bp.backprop(net, x, y),
        lambda: net.gradients(x, y),
        lambda: net.cost(x, y),
        lambda: net.accuracy(x, y),
        lambda: bp.train(net, (x, y)),
        lambda: bp.train(net, (x32, y32), validation=(x, y)),
    ]
    for use in uses:
        with pytest.raises(ValueError, match=message):
            use()


def test_probabilities() -> None:
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    for cost, output, n in (
        ("softmax_cross_entropy", None, 3),
        ("binary_cross_entropy", None, 1),
        ("quadratic", "sigmoid", 1),
        ("binary_cross_entropy", None, 3),
    ):
        net = bp.Network.create([5, 4, n], cost=cost, output=output)
        p, a = net.predict_proba(x), net.forward(x).a[-1]
        assert torch.equal(p[:, -1:] if n == 1 else p, a)
        assert torch.equal(p.argmax(1), net.predict(x))
        assert p.shape == (6, max(n, 2))
        if n == 1 or cost.startswith("softmax"):
            torch.testing.assert_close(p.sum(1), torch.ones(6))
    two = bp.stack([net, net])
    assert two.predict_proba(x).shape == (2, 6, 3)


@pytest.mark.parametrize("output", ["identity", "relu", "tanh"])
def test_outputs_that_are_no_probabilities(output: str) -> None:
    net = bp.Network.create([5, 4, 3], output=output)
    with pytest.raises(ValueError, match=f"{output} outputs are no probabilities: make the network with cost='softmax"):
        net.predict_proba(x32)
    net = bp.Network.create([5, 3], cost="softmax_cross_entropy")
    with pytest.raises(ValueError, match="row 1 of x are not finite"):
        net.predict_proba(torch.tensor([[0.0] * 5, [torch.nan] * 5]))


def test_accuracy_needs_classes() -> None:
    net = bp.Network.create([5, 4, 3])
    with pytest.raises(ValueError, match="accuracy needs classes"):
        net.accuracy(x32, torch.full((6, 3), 0.5))


def test_layers_must_fit_together() -> None:
    net = bp.Network.create([5, 4, 3])
    with pytest.raises(ValueError, match=r"layers\[1\] must have w"):
        bp.Network((net.layers[0], bp.Network.create([5, 3]).layers[0]), net.activations, net.cost_function)
    with pytest.raises(ValueError, match="2 layers need as many activations, not 1"):
        bp.Network(net.layers, net.activations[:1], net.cost_function)


def test_only_alike_networks_are_stacked() -> None:
    with pytest.raises(ValueError, match="same sizes"):
        bp.stack([bp.Network.create([5, 3]), bp.Network.create([5, 4])])
    with pytest.raises(ValueError, match="same activations and cost"):
        bp.stack([bp.Network.create([5, 3]), bp.Network.create([5, 3], cost="binary_cross_entropy")])
    with pytest.raises(ValueError, match="one network at a time"):
        bp.train(bp.stack([bp.Network.create([5, 3])] * 2), (x32, y32))


def test_a_network_is_described_in_a_line() -> None:
    net = bp.Network.create([5, 4, 3], hidden="relu", cost="softmax_cross_entropy")
    assert repr(net) == "<Network: [5, 4, 3], relu, softmax; softmax_cross_entropy; torch.float32 on cpu>"
    assert repr(bp.stack([net, net])).startswith("<Network: 2 networks [5, 4, 3]")


def test_training_keeps_no_weighted_input_that_the_derivative_does_not_need() -> None:
    for activation in bp.ACTIVATIONS.values():
        z = torch.linspace(-2, 2, 9, dtype=torch.float64)
        a = activation.f(z)
        if not activation.needs_z:
            assert torch.equal(activation.derivative(torch.full_like(z, math.nan), a), activation.derivative(z, a))
        net = bp.Network.create([3, 4, 2], hidden=activation)
        trace = feed_forward(net, torch.ones(5, 3), lean=True)
        assert (trace.z[0] is trace.a[1]) == (not activation.needs_z)

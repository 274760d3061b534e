"""What people bring: other dtypes, memory, modes of torch, targets, functions. It works, or a sentence says why not."""

import copy
import math
import multiprocessing
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import bp_torch as bp
from bp_torch import per_example

ENGINES = ["eager", "native"]
RNG = torch.Generator().manual_seed(0)
X = torch.rand(60, 8, generator=RNG)
Y = torch.randint(0, 3, (60,), generator=RNG)


def network(**settings: Any) -> bp.Network:
    return bp.Network.create([8, 5, 3], **settings)


def negated(t: Tensor) -> Tensor:
    """−t as a view that torch negates when it is read."""
    return torch._neg_view(t)  # pyright: ignore[reportPrivateImportUsage]


def costs(net: bp.Network, x: Tensor = X, y: Tensor = Y, **settings: Any) -> list[float]:
    return [record.cost for record in bp.train(net, (x, y), **{"epochs": 2, "engine": "eager"} | settings)]


def single(w: Any, b: Any) -> bp.Network:
    return bp.Network((bp.Layer(w, b),), (bp.ACTIVATIONS["tanh"],), bp.COSTS["quadratic"])


# Targets


@pytest.mark.parametrize(
    "use",
    [
        lambda net, x, y: net.cost(x, y),
        lambda net, x, y: net.gradients(x, y),
        lambda net, x, y: net.accuracy(x, y),
        lambda net, x, y: bp.backprop(net, x, y),
        lambda net, x, y: bp.train(net, (x, y), engine="native"),
        lambda net, x, y: bp.train(net, (X, Y), validation=(x, y)),
        lambda net, x, y: per_example.gradient_norms(net, x, y),
    ],
)
def test_one_hot_rows_of_whole_numbers_are_no_class_indices(use: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match=r"one class index for each .* give y\.argmax\(-1\) for classes"):
        use(network(), X[:3], torch.eye(3).long()[[2, 0, 1]])


def test_a_stack_takes_class_indices_for_each_network() -> None:
    nets = [network(seed=0), network(seed=1), network(seed=2)]
    y = torch.stack([Y[:3], Y[3:6], Y[6:9]])
    together = bp.stack(nets).cost(X[:3], y)
    assert together.tolist() == pytest.approx([net.cost(X[:3], row).item() for net, row in zip(nets, y, strict=True)])
    with pytest.raises(ValueError, match="one class index for each"):
        bp.stack(nets[:2]).cost(X[:3], y)
    with pytest.raises(ValueError, match="a stack of"):
        bp.stack(nets).forward(X[:4].view(2, 2, 8))


def test_a_column_of_class_indices_is_told_to_be_flattened() -> None:
    for y in (Y.unsqueeze(1), Y.unsqueeze(0)):
        with pytest.raises(ValueError, match=r"give y\.flatten\(\) for classes"):
            network().cost(X, y)


@pytest.mark.parametrize("name", ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32"])
def test_class_indices_of_any_whole_dtype(name: str) -> None:
    y = Y.to(getattr(torch, name))
    assert costs(network(), y=y) == costs(network())
    assert network().accuracy(X, y) == network().accuracy(X, Y)
    assert torch.equal(per_example.gradient_norms(network(), X, y), per_example.gradient_norms(network(), X, Y))


def test_labels_that_no_class_has_are_refused_in_any_dtype() -> None:
    for y in ((Y + 1).to(torch.uint64), (Y + 1).to(torch.uint16), Y - 1):
        with pytest.raises(ValueError, match="class indices run from 0 to 2"):
            network().cost(X, y)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("cost", ["quadratic", "binary_cross_entropy"])
def test_one_output_tells_two_classes(cost: str, engine: str) -> None:
    labels = (X[:, 0] > 0.5).long()
    nets = [bp.Network.create([8, 1], cost=cost) for _ in range(2)]
    for net, y in zip(nets, (labels, labels.unsqueeze(1).float()), strict=True):
        settings: dict[str, Any] = dict(epochs=60, lr=2.0, batch_size=5, validation=(X, y), engine=engine)
        *_, last = bp.train(net, (X, y), **settings)
        assert last.validation_accuracy == net.accuracy(X, labels) == (net.predict(X) == labels).double().mean()
        assert net.accuracy(X, labels) > 0.9
    assert torch.equal(nets[0].layers[0].w, nets[1].layers[0].w)
    with pytest.raises(ValueError, match="from 0 to 1 for a network of 1 output, and y holds 2"):
        nets[0].cost(X, labels + 1)


def test_the_accuracy_of_several_labels_a_row_is_the_share_of_right_outputs() -> None:
    net = bp.Network.create([2, 3], cost="binary_cross_entropy")
    net.layers[0].w.copy_(torch.tensor([[50.0, 0], [50, 0], [0, 50]]))
    net.layers[0].b.fill_(-25)
    x, y = torch.tensor([[1.0, 0], [0, 0]]), torch.tensor([[1.0, 1, 0], [0, 0, 0]])
    assert net.accuracy(x, y) == 1.0
    assert net.accuracy(x, torch.tensor([[1.0, 1, 1], [0, 0, 0]])) == pytest.approx(5 / 6)
    assert net.accuracy(x, torch.tensor([[0.0, 1, 0], [1, 0, 0]])) == 0.5  # one label a row: of its class
    (record,) = bp.train(net, (x, y), validation=(x[:1], torch.tensor([[0.0, 1, 0]])), epochs=1, lr=1e-9)
    assert record.validation_accuracy == pytest.approx(2 / 3)  # several labels, as the training data has


OUT_OF_REACH = [
    (dict(cost="quadratic"), torch.full((60, 3), 100.0), "y[0, 0] is 100, and sigmoid outputs are from 0 to 1"),
    (dict(cost="quadratic", output="tanh"), torch.full((60, 3), -1.5), "tanh outputs are from -1 to 1"),
    (dict(cost="quadratic", output="relu"), torch.full((60, 3), -0.5), "relu outputs are 0 and more"),
    (dict(cost="binary_cross_entropy"), 1.0 + torch.eye(3)[Y], "sigmoid outputs are from 0 to 1"),
    (dict(cost="softmax_cross_entropy"), torch.full((60, 3), 0.5), "y[0] sums to 1.5"),
    (dict(cost="softmax_cross_entropy"), torch.full((60, 3), 0.1), "shares that sum to 1"),
    (dict(cost="softmax_cross_entropy"), torch.eye(3)[Y] * 0.998, "y[0] sums to 0.998"),
    (dict(cost="softmax_cross_entropy"), torch.tensor([[1.5, -0.5, 0.0]]).repeat(60, 1), "softmax outputs are from 0"),
]


@pytest.mark.parametrize(("settings", "y", "words"), OUT_OF_REACH, ids=lambda value: str(value)[:40])
def test_targets_that_no_output_can_reach_are_refused(settings: dict[str, Any], y: Tensor, words: str) -> None:
    net = network(**settings)
    before = net.layers[0].w.clone()
    pairs: list[dict[str, Any]] = [dict(data=(X, y)), dict(data=(X, Y), validation=(X, y))]
    for arguments in pairs:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 (its words are compared)
            bp.train(net, **arguments)
        assert words in str(caught.value)
    assert torch.equal(net.layers[0].w, before)


def test_one_softmax_output_tells_no_classes() -> None:
    with pytest.raises(ValueError, match="one output tells two classes with cost='binary_cross_entropy'"):
        bp.train(bp.Network.create([8, 1], cost="softmax_cross_entropy"), (X, Y % 2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_shares_that_are_rounded_are_targets_and_others_are_not(dtype: torch.dtype) -> None:
    shares = torch.rand(60, 500, generator=torch.Generator().manual_seed(0)).softmax(-1)
    net, x = bp.Network.create([8, 500], cost="softmax_cross_entropy", dtype=dtype), X.to(dtype)
    bp.train(net, (x, shares.to(dtype)))
    with pytest.raises(ValueError, match="shares that sum to 1"):
        bp.train(net, (x, (0.9 * shares).to(dtype)))


def test_targets_that_outputs_can_reach_train() -> None:
    smoothed = torch.eye(3)[Y] * 0.9 + 0.1 / 3
    for settings, y in (
        (dict(cost="softmax_cross_entropy"), smoothed),
        (dict(cost="binary_cross_entropy"), smoothed),
        (dict(cost="quadratic", output="identity"), 100 * X[:, :3]),
        (dict(cost="quadratic", output="tanh"), -smoothed),
    ):
        assert all(map(math.isfinite, costs(network(**settings), y=y, lr=1e-3)))


@pytest.mark.parametrize("name", bp.ACTIVATIONS)
def test_each_activation_keeps_within_its_reach(name: str) -> None:
    activation = bp.ACTIVATIONS[name]
    a = activation.f(torch.linspace(-1e3, 1e3, 2_000_001, dtype=torch.float64))
    low, high = activation.reach
    assert low <= a.min() <= low + 1e-3 or low == -math.inf
    assert high - 1e-3 <= a.max() <= high or high == math.inf


def test_predict_gives_the_values_of_outputs_without_bounds() -> None:
    net = network(output="identity")
    assert torch.equal(net.predict(X), net.forward(X).a[-1])
    assert network(output="tanh").predict(X).dtype == torch.int64


def test_predict_refuses_what_is_not_finite() -> None:
    x = X.clone()
    x[7, 2] = math.nan
    for net in (network(), network(output="identity"), bp.stack([network(), network()])):
        with pytest.raises(ValueError, match="outputs for row 7 of x are not finite"):
            net.predict(x)


# Examples


class Frame:
    """What a data frame is to bp_torch."""

    def __init__(self, dtype: Any = np.float64) -> None:
        self.dtype = dtype

    def to_numpy(self) -> np.ndarray:
        return X.numpy().astype(self.dtype)


FINE = X.double() + 2**-40  # which float32 does not hold
BROUGHT = {
    "NumPy array": FINE.numpy,
    "data frame": lambda: Frame(),
    "list": FINE.tolist,
    "list of tensors": lambda: list(X),
    "reversed array": lambda: FINE.flip(0).numpy()[::-1],
    "array of the other byte order": lambda: FINE.numpy().astype(">f8"),
    "array of objects": lambda: X.numpy().astype(object),
    "array of text": lambda: X.numpy().astype(str),
    "frame of several dtypes": lambda: Frame(object),
}


@pytest.mark.parametrize("kind", BROUGHT)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_way_out_is_a_line_that_works(kind: str, dtype: torch.dtype) -> None:
    net, x = network(dtype=dtype), BROUGHT[kind]()
    if dtype == torch.float64 and kind in ("NumPy array", "list", "reversed array", "array of the other byte order"):
        assert torch.equal(net.forward(x).a[0], FINE)  # which needs no way out
        return
    for use in (net.forward, net.predict, lambda x: bp.train(net, (x, Y))):
        with pytest.raises(ValueError, match=r"x must be a torch\.Tensor, not .*: give ") as caught:
            use(x)
        line = str(caught.value).split(": give ")[1]
        net.forward(eval(line, {"torch": torch, "x": x}))  # noqa: S307 (our own line)


WAYS = [Y.double().numpy(), Y.numpy().astype(object), Y.numpy()[:, None].astype(object), np.eye(3)[Y.numpy()] * 0.9]


@pytest.mark.parametrize("y", WAYS, ids=["floats", "objects", "column of objects", "matrix"])
def test_the_way_out_for_targets_is_a_line_that_works(y: Any) -> None:
    with pytest.raises(ValueError, match=r"y must be .*torch\.as_tensor\(y") as caught:
        network().cost(X, y)
    matrix = np.shape(y) == (60, 3)
    lines = [
        part.split(", or a matrix")[0]
        for part in str(caught.value).replace(": give torch", " as torch").split(" as ")[1:]
    ]
    cost = network().cost(X, eval(lines[matrix], {"torch": torch, "y": y}))  # noqa: S307 (our own line)
    assert cost == network().cost(X, torch.tensor(y, dtype=torch.float32) if matrix else Y)


def test_names_of_classes_are_told_to_become_numbers() -> None:
    names = np.array(["ant", "bee", "cat"])[Y.numpy()]
    brought: list[Any] = [names, names.tolist()]
    for y in brought:
        with pytest.raises(ValueError, match="it holds names: with all classes in a list, names, ") as caught:
            network().cost(X, y)
        line = str(caught.value).split("their numbers, ")[1]
        known = {"torch": torch, "y": y, "names": ["ant", "bee", "cat"]}
        assert network().cost(X, eval(line, known)) == network().cost(X, Y)  # noqa: S307 (our own)


def test_a_list_of_values_for_one_output_is_told_to_become_a_column() -> None:
    net, y = bp.Network.create([8, 1], output="identity"), FINE[:, 0].tolist()
    with pytest.raises(ValueError, match=r"y must be a torch\.Tensor") as caught:
        net.cost(X, y)  # pyright: ignore[reportArgumentType]
    line = str(caught.value).split(" as ")[2]
    assert net.cost(X, eval(line, {"torch": torch, "y": y})) == net.cost(X, X[:, :1])  # noqa: S307 (our own line)


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
@pytest.mark.parametrize("sparse", [Tensor.to_sparse, Tensor.to_sparse_csr])
def test_sparse_targets_are_refused_by_name(sparse: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match=r"give y\.to_dense\(\)"):
        network().cost(X, sparse(torch.eye(3)[Y]))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested:UserWarning")
def test_nested_tensors_are_refused_by_name() -> None:
    for use in (network().predict, lambda x: bp.train(network(), (x, Y))):
        with pytest.raises(ValueError, match=r"give torch\.stack\(x\.unbind\(\)\)"):
            use(torch.nested.nested_tensor(list(X)))


@pytest.mark.parametrize("engine", ENGINES)
def test_lazily_negated_strided_and_expanded_examples_train(engine: str) -> None:
    for x in (negated(-X), X.T.contiguous().T, torch.cat([X, X], 1)[:, :8]):
        assert costs(network(), x, engine=engine) == costs(network(), engine=engine)
    row = X[:1].expand(60, 8)
    assert costs(network(), row, engine=engine) == costs(network(), row.clone(), engine=engine)


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "negated"])
def test_examples_that_change_between_epochs_are_seen_by_every_engine(layout: str) -> None:
    results = []
    for engine in ENGINES:
        x = {"contiguous": X.clone(), "transposed": X.T.clone().T, "negated": negated(-X)}[layout]
        net = network(dtype=torch.float32)
        for _ in bp.train(net, (x, Y), epochs=3, engine=engine):
            x.mul_(0.5)
        results.append(net.layers[0].w)
    torch.testing.assert_close(*results)


# Parameters


SHARED = torch.rand(5, 5, generator=RNG)


@pytest.mark.parametrize(
    ("w", "b", "words"),
    [
        ([[1.0]], torch.zeros(1), "must be a dense torch.Tensor, not list"),
        (torch.eye(5).to_sparse(), torch.zeros(5), "must be a dense torch.Tensor, not a tensor of layout"),
        (torch.eye(5).long(), torch.zeros(5).long(), "dtype of layers[0].w must be one of"),
        (torch.eye(5), torch.zeros(5).double(), "layers[0].b is torch.float64"),
        (torch.eye(5), torch.zeros(5, device="meta"), "layers[0].b is torch.float32 on meta"),
        (negated(SHARED), torch.zeros(5), "resolve_neg()"),
        (torch.rand(1, 5).expand(5, 5), torch.zeros(5), "lie in one place of its memory: give layers[0].w.clone()"),
        (torch.rand(9).as_strided((5, 5), (1, 1)), torch.zeros(5), "lie in one place"),
        (SHARED, SHARED[0], "layers[0].b shares memory with layers[0].w"),
        (torch.zeros(0, 5), torch.zeros(0), "is empty"),
        (torch.zeros(5, 0), torch.zeros(5), "is empty"),
        (torch.zeros(5), torch.zeros(5), "layers[0] must have w"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cant_be_a_networks_parameters_is_refused(w: Any, b: Any, words: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (its words are compared)
        single(w, b)
    assert words in str(caught.value)


def test_what_is_no_layer_activation_or_cost_is_refused_by_name() -> None:
    layer, tanh, cost = bp.Layer(torch.ones(3, 8), torch.zeros(3)), bp.ACTIVATIONS["tanh"], bp.COSTS["quadratic"]
    for arguments, words in (
        (((tuple(layer),), (tanh,), cost), r"layers\[0\] must be a bp\.Layer, not tuple: give bp\.Layer\(w, b\)"),
        (((torch.nn.ReLU(),), (tanh,), cost), r"must be a bp\.Layer, not ReLU"),
        (((layer,), ("tanh",), cost), r"give bp\.ACTIVATIONS\['tanh'\]"),
        (((layer,), (tanh,), "quadratic"), r"give bp\.COSTS\['quadratic'\]"),
    ):
        with pytest.raises(ValueError, match=words):
            bp.Network(*arguments)  # pyright: ignore[reportArgumentType]


def test_layers_that_share_the_memory_of_an_array_are_refused() -> None:
    """torch has a storage of its own for each tensor that it makes of the array."""
    array, tanh = np.zeros((6, 5), np.float32), bp.ACTIVATIONS["tanh"]
    layers = [bp.Layer(torch.from_numpy(part), torch.zeros(5)) for part in (array[:5], array[1:])]
    with pytest.raises(ValueError, match=r"layers\[1\].w shares memory with layers\[0\].w"):
        bp.Network(tuple(layers), (tanh, tanh), bp.COSTS["quadratic"])


def test_tied_layers_are_refused() -> None:
    tanh = bp.ACTIVATIONS["tanh"]
    for second in (SHARED, SHARED.T, SHARED.view(-1).view(5, 5), torch.from_numpy(SHARED.numpy())):
        layers = bp.Layer(SHARED, torch.zeros(5)), bp.Layer(second, torch.zeros(5))
        with pytest.raises(ValueError, match=r"layers\[1\].w shares memory with layers\[0\].w"):
            bp.Network(layers, (tanh, tanh), bp.COSTS["quadratic"])


@pytest.mark.parametrize("engine", ENGINES)
def test_parameters_within_one_buffer_train(engine: str, tmp_path) -> None:
    """Views that lie side by side, whole or in strides, are a network's as any others are."""
    plain = network(init="xavier")
    flat, wide = torch.zeros(5 * 8 + 5), torch.zeros(3, 6)
    layers = bp.Layer(flat[:40].view(5, 8), flat[40:]), bp.Layer(wide[:, :5], wide[:, 5])
    for views, own in zip(layers, plain.layers, strict=True):
        views.w.copy_(own.w)
        views.b.copy_(own.b)
    net = bp.Network(layers, plain.activations, plain.cost_function)
    assert costs(net, engine=engine) == costs(plain, engine=engine)
    assert torch.equal(wide[:, :5], plain.layers[1].w)
    bp.save(tmp_path / "net.safetensors", net)
    assert torch.equal(bp.load(tmp_path / "net.safetensors").layers[0].w, plain.layers[0].w)


def test_what_cant_be_stacked_is_refused() -> None:
    for nothing in ([], network(), [X], None):
        with pytest.raises(ValueError, match="a list of at least one network"):
            bp.stack(nothing)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="one dtype and on one device"):
        bp.stack([network(), network(dtype=torch.float64)])


# Modes of torch


def made(mode: str) -> tuple[bp.Network, Tensor, Tensor]:
    """A network and examples that require grad, or were made under inference_mode, or neither."""
    if mode == "inference":
        with torch.inference_mode():
            return network(), X.clone(), Y.clone()
    net, x = network(), X.clone()
    if mode == "grad":
        for layer in net.layers:
            layer.w.requires_grad_()
            layer.b.requires_grad_()
        x.requires_grad_()
    return net, x, Y


MODES = ["grad", "inference"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("mode", MODES)
def test_tensors_that_require_grad_or_were_made_for_inference_train(mode: str, engine: str, tmp_path) -> None:
    net, x, y = made(mode)
    settings: dict[str, Any] = dict(engine=engine, every=1, validation=(x, y))
    plain: dict[str, Any] = {**settings, "validation": (X, Y)}
    assert costs(net, x, y, **settings) == costs(network(), **plain)
    assert not net.layers[0].w.grad_fn
    bp.save(tmp_path / "net.safetensors", net)
    with pytest.raises(bp.DivergenceError):
        costs(net, x, y, lr=1e300, engine=engine)


QUANTITIES: dict[str, Callable[[bp.Network, Tensor, Tensor], Any]] = {
    "gradient_norms": per_example.gradient_norms,
    "clipped_sum": lambda net, x, y: per_example.clipped_sum(net, x, y, 0.1),
    "second_moment": per_example.second_moment,
    "noise_scale": per_example.noise_scale,
    "gram": per_example.gram,
    "ntk": lambda net, x, y: per_example.ntk(net, x),
    "influence": lambda net, x, y: per_example.influence(net, (x, y), (x, y)),
    "top_influences": lambda net, x, y: per_example.top_influences(net, (x, y), (x, y), 2),
    "gradients": lambda net, x, y: net.gradients(x, y),
    "backprop": bp.backprop,
    "predict": lambda net, x, y: net.predict(x),
    "accuracy": lambda net, x, y: net.accuracy(x, y),
    "stack": lambda net, x, y: bp.stack([net, net]).cost(x, y),
    "check": lambda net, x, y: str(bp.check(net.to(torch.float64), x[:5].double(), y[:5])),
}


@pytest.mark.parametrize("name", QUANTITIES)
@pytest.mark.parametrize("mode", MODES)
def test_tensors_that_require_grad_or_were_made_for_inference_are_looked_into(name: str, mode: str) -> None:
    same(QUANTITIES[name](*made(mode)), QUANTITIES[name](network(), X, Y))


@pytest.mark.parametrize("name", QUANTITIES)
def test_within_autocast_everything_is_in_the_networks_own_dtype(name: str) -> None:
    wanted = QUANTITIES[name](network(), X, Y)
    with torch.autocast("cpu", torch.bfloat16):
        same(QUANTITIES[name](network(), X, Y), wanted)


@pytest.mark.parametrize("cost", bp.COSTS)
@pytest.mark.parametrize("engine", ENGINES)
def test_training_within_inference_mode_is_training(engine: str, cost: str) -> None:
    wanted = costs(network(cost=cost), engine=engine)
    with torch.inference_mode():
        assert costs(network(cost=cost), engine=engine) == wanted


@pytest.mark.parametrize("engine", ENGINES)
def test_training_within_autocast_is_in_the_networks_own_dtype(engine: str) -> None:
    wanted = costs(network(), engine=engine, validation=(X, Y))
    with torch.autocast("cpu", torch.bfloat16):
        assert costs(network(), engine=engine, validation=(X, Y)) == wanted


def test_within_autocast_own_products_and_sweeps_are_in_the_networks_own_dtype() -> None:
    mixed = bp.Activation("mixed", lambda z: z @ torch.eye(5), lambda z, a: torch.ones_like(a))
    net, wanted = network(), costs(network(hidden=mixed))
    with torch.autocast("cpu", torch.bfloat16):
        assert costs(network(hidden=mixed)) == wanted
        assert [delta.dtype for _, delta in net.backward(net.forward(X), Y)] == [torch.float32] * 2
        assert torch.is_autocast_enabled("cpu")


def same(got: Any, wanted: Any) -> None:
    if isinstance(wanted, Tensor):
        assert got.dtype == wanted.dtype
        assert torch.equal(got, wanted)
    elif isinstance(wanted, tuple):
        for one, other in zip(got, wanted, strict=True):
            same(one, other)
    else:
        assert got == wanted or (math.isnan(got) and math.isnan(wanted))


# Numbers


def test_a_float16_gradient_of_many_rows_is_their_mean() -> None:
    delta, a = torch.full((20_000, 1), 2.5, dtype=torch.float16), torch.full((20_000, 3), 2.0, dtype=torch.float16)
    from bp_torch.equations import bias_gradient, weight_gradient

    assert weight_gradient(delta, a).tolist() == [[5.0] * 3]
    assert bias_gradient(delta).tolist() == [2.5]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_cross_entropies_of_saturated_outputs_are_finite(dtype: torch.dtype) -> None:
    z = torch.tensor([[4e4, -4e4], [-4e4, 4e4]], dtype=dtype)
    y = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=dtype)
    for name, activation in (("softmax_cross_entropy", z.softmax(-1)), ("binary_cross_entropy", z.sigmoid())):
        value = bp.COSTS[name].value(z, activation, y)
        assert value.dtype == dtype
        assert value[0] == 0
        assert value[1] >= 4e4 * 0.99


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("exponent", [1, 20, 38, 150, 300, -20, -30, -150])
@pytest.mark.parametrize("hidden", ["relu", "sigmoid"])
def test_norms_and_cosines_hold_for_numbers_of_any_size(dtype: torch.dtype, exponent: int, hidden: str) -> None:
    """A linear network's gradients are scaled as x is: norms to match, and the cosines of equal examples are 1."""
    if dtype == torch.float32 and not -40 < exponent < 38:
        return
    net = bp.Network.create([4, 3, 2], hidden=hidden, cost="softmax_cross_entropy", dtype=dtype, seed=1)
    x = torch.rand(6, 4, dtype=dtype, generator=torch.Generator().manual_seed(1)) * 10.0**exponent
    y = torch.tensor([0, 1, 0, 1, 0, 1])
    norms = per_example.gradient_norms(net, x, y)
    assert norms.isfinite().all()
    cosines = per_example.influence(net, (x, y), (x, y), similarity="cosine")
    assert (cosines.abs() <= 1).all()
    assert torch.equal(cosines.diag().round(decimals=5), (norms > 0).to(dtype))
    assert not per_example.gram(net, x, y).isnan().any()
    assert not any(t.isnan().any() for layer in per_example.second_moment(net, x, y) for t in layer)
    g = [net.gradients(x[i : i + 1], y[i : i + 1]) for i in range(6)]
    largest = [torch.cat([t.flatten() for layer in each for t in layer]).abs().max().item() for each in g]
    wanted = [
        0.0
        if top == 0
        else top * (torch.cat([t.flatten() for layer in each for t in layer]).double() / top).norm().item()
        for top, each in zip(largest, g, strict=True)
    ]
    assert norms.tolist() == pytest.approx(wanted, rel=1e-4)


def test_tiny_gradients_keep_their_direction() -> None:
    net = bp.Network.create([4, 1], output="identity", dtype=torch.float32)
    net.layers[0].w.zero_()
    x, y = torch.rand(3, 4, generator=torch.Generator().manual_seed(0)), torch.full((3, 1), 1e-25)
    assert per_example.influence(net, (x, y), (x, y), similarity="cosine").diag().tolist() == pytest.approx([1] * 3)


@pytest.mark.parametrize("lr", [10**400, math.inf, math.nan, 0, -1, True])
def test_a_rate_that_is_none_is_one_sentence(lr: Any) -> None:
    with pytest.raises(ValueError, match="lr must be a positive, finite number"):
        bp.train(network(), (X, Y), lr=lr)


@pytest.mark.parametrize("settings", [{1: 2}, {"a": [{2: 3}]}, {"a": {None: 1}}])
def test_settings_whose_keys_are_not_text_are_refused(settings: dict[Any, Any], tmp_path) -> None:
    with pytest.raises(ValueError, match="keys of settings must be text"):
        bp.save(tmp_path / "net.safetensors", network(), settings=settings)
    assert not list(tmp_path.iterdir())


# Own functions


@pytest.mark.parametrize(
    ("f", "derivative", "words"),
    [
        (lambda z: math.sin(z), lambda z, a: a, "activation 'mine' fails"),
        (torch.tanh, lambda z, a: math.cos(z), "derivative of 'mine' fails"),
        (lambda z: next(iter(())), lambda z, a: a, r"fails .*\(StopIteration\): write it with torch's own"),
        (lambda z: z.sum(), lambda z, a: a, "activation 'mine' must give"),
        (lambda z: z.double(), lambda z, a: a, "activation 'mine' must give"),
        (lambda z: None, lambda z, a: a, "activation 'mine' must give"),
        (torch.tanh, lambda z, a: a[..., :1], "derivative of 'mine' must give"),
    ],
)
def test_an_own_activation_that_fails_is_named(f: Any, derivative: Any, words: str) -> None:
    mine = bp.Activation("mine", f, derivative)
    net = network(hidden=mine)
    for use in (net.forward, net.predict, lambda x: net.cost(x, Y), lambda x: bp.backprop(net, x, Y)):
        with pytest.raises(ValueError, match=words):
            use(X)
    net = bp.Network(network().layers, (mine, bp.ACTIVATIONS["sigmoid"]), bp.COSTS["quadratic"])
    with pytest.raises(ValueError, match=words):
        bp.train(net, (X, Y))


def test_an_own_cost_that_fails_is_named() -> None:
    good = bp.COSTS["quadratic"]
    for mine, words in (
        (bp.Cost("mine", lambda z, a, y: (a - y).square(), good.error), "value of 'mine' must give"),
        (bp.Cost("mine", good.value, lambda f, z, a, y: (a - y).sum(-1)), "error of 'mine' must give"),
    ):
        for use in (bp.backprop, lambda net, x, y: bp.train(net, (x, y))):
            with pytest.raises(ValueError, match=words):
                use(network(cost=mine), X, Y)


@pytest.mark.parametrize("settings", [[1], "lr", 3])
def test_settings_that_are_no_table_are_refused(settings: Any, tmp_path) -> None:
    with pytest.raises(ValueError, match="settings must be a table"):
        bp.save(tmp_path / "net.safetensors", network(), settings=settings)


SOFTSIGN = bp.Activation("softsign", lambda z: z / (1 + z.abs()), lambda z, a: (1 - a.abs()) ** 2)
HUBER = bp.Cost("own", lambda z, a, y: (a - y).abs().sum(-1), lambda f, z, a, y: (a - y).sign() * f.derivative(z, a))


def test_an_own_activation_that_fails_is_named_where_it_is_registered_too(monkeypatch) -> None:
    mine = bp.Activation("mine", lambda z: z.double(), lambda z, a: a)
    monkeypatch.setitem(bp.ACTIVATIONS, "mine", mine)
    with pytest.raises(ValueError, match="the activation 'mine' must give"):
        network(hidden="mine").forward(X)


def test_an_own_function_is_saved_once_it_is_registered(tmp_path, monkeypatch) -> None:
    path, net = tmp_path / "net.safetensors", network(hidden=SOFTSIGN, cost=HUBER)
    with pytest.raises(ValueError, match=r"'own' is an own one .* set bp\.COSTS\['own'\]"):
        bp.save(path, net)
    with monkeypatch.context() as patch:
        patch.setitem(bp.COSTS, "own", HUBER)
        with pytest.raises(ValueError, match=r"set bp\.ACTIVATIONS\['softsign'\]"):
            bp.save(path, net)
        patch.setitem(bp.ACTIVATIONS, "softsign", SOFTSIGN)
        bp.save(path, net)
        loaded = bp.load(path)
        assert torch.equal(loaded.forward(X).a[-1], net.forward(X).a[-1])
    with pytest.raises(bp.CheckpointError, match="register it first"):
        bp.load(path)


# Pickles and copies


def public_values() -> dict[str, Any]:
    net = network(cost="softmax_cross_entropy", hidden="relu")
    (record,) = bp.train(net, (X, Y), epochs=1, engine="eager")
    y = torch.eye(3)[Y]
    return {
        "network": net,
        "stack": bp.stack([net, net]),
        "activations": bp.ACTIVATIONS,
        "costs": bp.COSTS,
        "initialisers": bp.INITIALISERS,
        "recipe": bp.Recipe(epochs=3),
        "record": record,
        "position": record.position,
        "trace": net.forward(X),
        "backprop": bp.backprop(net, X, y),
        "check": bp.check(bp.Network.create([2, 2], dtype=torch.float64), X[:2, :2].double(), Y[:2] % 2),
        "noise scale": per_example.noise_scale(net, X, Y),
        "influences": per_example.top_influences(net, (X, Y), (X, Y), 1),
        "divergence": bp.DivergenceError(2, 3, 1, "its cost", 0.5, 7),
        "data error": bp.DataError("no"),
        "engine error": bp.EngineError("no"),
        "checkpoint error": bp.CheckpointError("no"),
        "digits": bp.data.digits("test"),
    }


def test_public_values_pickle_and_copy() -> None:
    for name, value in public_values().items():
        for again in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value), copy.copy(value)):  # noqa: S301 (our own)
            assert type(again) is type(value), name
            if isinstance(value, Exception):
                assert (str(again), vars(again)) == (str(value), vars(value))
            elif isinstance(value, bp.Network):
                same(again.layers, value.layers)
                assert (again.activations, again.cost_function) == (value.activations, value.cost_function)
                again.layers[0].w.add_(0)
            else:
                same(again, value)


def _diverge(lr: float) -> float:
    torch.set_num_threads(1)
    return costs(network(output="identity"), y=Y, lr=lr)[-1]


def test_a_worker_that_diverges_says_so() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool, pytest.raises(bp.DivergenceError, match="epoch 1"):
        pool.apply_async(_diverge, (1e30,)).get(timeout=120)


# Advice


def test_the_noise_scale_of_a_fresh_network_says_that_it_is_too_early() -> None:
    x, y = bp.data.digits("train")
    net = bp.Network.create([64, 30, 10])
    result = per_example.noise_scale(net, x, y)
    assert result.batch_size is None
    assert "too early" in str(result)
    costs(net, x, y, epochs=2)
    trained = per_example.noise_scale(net, x, y)
    assert trained.batch_size == round(trained.noise_scale)


def test_the_check_says_which_comparison_fails(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = bp.Activation("wrong", torch.tanh, lambda z, a: 1 + a * a)
    net = bp.Network.create([3, 4, 4, 2], hidden=["tanh", wrong], dtype=torch.float64)
    result = bp.check(net, X[:5, :3].double(), Y[:5] % 2)
    verdicts = {(row.layer, row.against): row.verdict for row in result.rows}
    assert verdicts[1, "differences along random directions"] == "WRONG"
    assert verdicts[1, "sum over all paths"] == verdicts[2, "differences for single weights"] == "right"
    assert "The gradient is wrong in layers 0 and 1" in capsys.readouterr().out
    good = bp.check(bp.Network.create([3, 4, 2], dtype=torch.float64), X[:5, :3].double(), Y[:5] % 2)
    assert {row.verdict for row in good.rows} == {"right"}
    assert "WRONG" not in str(good)

"""Networks to and from torch's modules: the same bits, the same parameters, and by name what can't be taken."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn

import bp_torch as bp
from bp_torch.costs import SOFTMAX
from bp_torch.sequential import MODULES

DTYPES = [torch.float32, torch.float64, torch.bfloat16]


def network(hidden: str, cost: str = "quadratic", dtype: torch.dtype = torch.float32, seed: int = 0) -> bp.Network:
    """Wide enough for torch's kernels to sum in parts, with weights and biases that reach every branch of f."""
    rng = torch.Generator().manual_seed(seed)
    sizes = [20, *torch.randint(1, 90, (2,), generator=rng).tolist(), 7]
    output = hidden if cost == "quadratic" else None
    net = bp.Network.create(sizes, hidden=hidden, cost=cost, output=output, seed=seed, dtype=dtype)
    for w, b in net.layers:
        w.mul_(3)
        b.copy_(5 * torch.randn(b.shape, generator=rng))
    return net


@pytest.fixture(autouse=True)
def one_thread():
    """As a small network runs: on another number of threads torch's products are summed in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("hidden", bp.ACTIVATIONS)
@pytest.mark.parametrize("cost", [cost for cost in bp.COSTS if cost != "poisson"])
def test_outputs_have_the_same_bits_both_ways(hidden: str, cost: str, dtype: torch.dtype) -> None:
    for seed, m in enumerate((1, 8, 200)):
        net = network(hidden, cost, dtype, seed)
        x = 3 * torch.randn(m, 20, generator=torch.Generator().manual_seed(seed)).to(dtype)
        module = bp.to_sequential(net)
        back = bp.from_sequential(module, cost=cost)
        with torch.no_grad():
            outputs = module(x)
        for each in (net, back):
            assert torch.equal(each.forward(x).a[-1], outputs)
        assert (back.activations, back.cost_function) == (net.activations, net.cost_function)
        assert torch.equal(module[:-1](x), net.forward(x).z[-1])  # the logits


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", MODULES)
def test_a_module_of_an_activation_computes_it(name: str, dtype: torch.dtype) -> None:
    z = torch.cat([torch.linspace(-40, 40, 4001), torch.linspace(-1e-3, 1e-3, 101)]).to(dtype)[None]
    f = SOFTMAX if name == "softmax" else bp.ACTIVATIONS[name]
    assert torch.equal(MODULES[name]()(z), f.f(z))


def test_the_outputs_of_poisson_have_no_module() -> None:
    net = bp.Network.create([3, 4, 1], hidden="relu", cost="poisson")
    with pytest.raises(ValueError, match="torch has no module of exp, the outputs of poisson: convert the network of"):
        bp.to_sequential(net)
    logarithm = bp.Network(net.layers, (*net.activations[:-1], bp.ACTIVATIONS["identity"]), bp.COSTS["quadratic"])
    x = torch.ones(2, 3)
    assert torch.equal(bp.to_sequential(logarithm)(x).exp(), net.forward(x).a[-1])


def test_each_activation_has_a_module() -> None:
    assert set(MODULES) == {*bp.ACTIVATIONS, "softmax"}


def test_parameters_are_copies_that_can_be_trained() -> None:
    with torch.inference_mode():
        net = network("relu")
        module = bp.to_sequential(net)
        back = bp.from_sequential(module)
    assert all(p.requires_grad and p.dtype == torch.float32 and not p.is_inference() for p in module.parameters())
    kept = [p.clone() for p in net.parameters()]
    module(torch.ones(2, 20)).sum().backward()
    torch.optim.SGD(module.parameters(), lr=0.1).step()
    for p, q, before in zip(net.parameters(), back.parameters(), kept, strict=True):
        assert torch.equal(p, before)
        assert torch.equal(q, before)
        assert not q.requires_grad
    list(bp.train(back, (torch.randn(30, 20, generator=torch.Generator()), torch.ones(30, 7)), epochs=1))
    assert pickle.loads(pickle.dumps(module)) is not None  # noqa: S301
    assert copy.deepcopy(module) is not None


def test_state_dicts_load_both_ways() -> None:
    net = bp.Network.create([4, 6, 5, 3], hidden="tanh", cost="softmax_cross_entropy", seed=1)
    module = nn.Sequential(linear(4, 6), nn.Tanh(), linear(6, 5), nn.Tanh(), linear(5, 3))
    x = torch.linspace(-1, 1, 12).view(3, 4)
    ours = bp.to_sequential(net)
    assert list(ours.state_dict()) == [f"{2 * l}.{name}" for l in range(3) for name in ("weight", "bias")]
    for l, (w, b) in enumerate(net.layers):
        assert torch.equal(ours.state_dict()[f"{2 * l}.weight"], w)
        assert torch.equal(ours.state_dict()[f"{2 * l}.bias"], b)
    module.load_state_dict(ours.state_dict())
    assert torch.equal(module(x), net.forward(x).z[-1])
    next(module.parameters()).data.mul_(2)
    ours.load_state_dict(module.state_dict())
    back = bp.from_sequential(ours)
    assert torch.equal(back.forward(x).z[-1], module(x))
    placed_otherwise = nn.Sequential(nn.Flatten(), linear(4, 6), nn.Tanh(), nn.Dropout(), *module[2:]).eval()
    values = ours.state_dict().values()
    placed_otherwise.load_state_dict(dict(zip(placed_otherwise.state_dict(), values, strict=True)))
    assert torch.equal(placed_otherwise(x), module(x))


def test_what_does_nothing_is_passed_over_and_rows_inside_are_read() -> None:
    inner = nn.Sequential(linear(6, 6), nn.Identity(), nn.GELU(), nn.Sequential(nn.Dropout(0.5), linear(6, 3)))
    module = nn.Sequential(nn.Flatten(), linear(4, 6), nn.ReLU(inplace=True), nn.Dropout(0.5), inner).eval()
    net = bp.from_sequential(module)
    assert [f.name for f in net.activations] == ["relu", "gelu", "identity"]
    x = torch.linspace(-2, 2, 12).view(3, 4)
    assert torch.equal(net.forward(x).a[-1], module(x.view(3, 2, 2)))


@pytest.mark.parametrize(
    ("last", "cost", "wanted"),
    [
        ([], None, ("quadratic", "identity")),
        ([], "softmax_cross_entropy", ("softmax_cross_entropy", "softmax")),
        ([nn.Identity()], "softmax_cross_entropy", ("softmax_cross_entropy", "softmax")),
        ([], "binary_cross_entropy", ("binary_cross_entropy", "sigmoid")),
        ([], bp.COSTS["softmax_cross_entropy"], ("softmax_cross_entropy", "softmax")),
        ([nn.Softmax(dim=1)], None, ("softmax_cross_entropy", "softmax")),
        ([nn.Softmax(dim=-1)], "softmax_cross_entropy", ("softmax_cross_entropy", "softmax")),
        ([nn.Sigmoid()], None, ("binary_cross_entropy", "sigmoid")),
        ([nn.Sigmoid()], "quadratic", ("quadratic", "sigmoid")),
        ([nn.ReLU()], None, ("quadratic", "relu")),
    ],
)
def test_the_cost_is_by_the_last_module_or_given(
    last: list[nn.Module], cost: str | bp.Cost | None, wanted: tuple[str, str]
) -> None:
    net = bp.from_sequential(nn.Sequential(linear(4, 3), *last), cost=cost)
    assert (net.cost_function.name, net.activations[-1].name) == wanted


class Doubling(nn.Sequential):
    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 (torch's name)
        return 2 * super().forward(input)


def linear(n_in: int, n_out: int, bias: bool = True, dtype: torch.dtype = torch.float32) -> nn.Linear:
    """A Linear that torch's global generator goes on from as if it had not been made."""
    with torch.random.fork_rng():
        return nn.Linear(n_in, n_out, bias, dtype=dtype)


def hooked() -> nn.Module:
    made = linear(4, 3)
    made.register_forward_hook(lambda *_: None)
    return made


def twice() -> list[nn.Module]:
    one = linear(4, 4)
    return [one, nn.ReLU(), one]


REFUSED: list[tuple[Callable[[], list[nn.Module]], str]] = [
    (lambda: [linear(4, 3, bias=False)], r"module\[0\] is Linear\(.*bias=False\), without a bias.*new_zeros\(3\)"),
    (lambda: [nn.Conv2d(1, 2, 3, device="meta")], r"module\[0\] is Conv2d\(1, 2.*can't be taken: .* takes Linear and"),
    (lambda: [linear(4, 3), nn.Sequential(nn.BatchNorm1d(3))], r"module\[1\]\[0\] is BatchNorm1d\(3"),
    (lambda: [linear(4, 3), nn.Hardtanh()], r"module\[1\] is Hardtanh\("),
    (lambda: [linear(4, 3), nn.LogSoftmax(1)], "LogSoftmax.*leave it out and give cost='softmax_cross_entropy'"),
    (lambda: [nn.LazyLinear(3)], "run a batch through the module first"),
    (lambda: [linear(4, 3), nn.GELU("tanh")], r"is GELU\(approximate='tanh'\), and gelu is GELU\(approximate='none'\)"),
    (lambda: [linear(4, 3), nn.Softplus(2)], r"Softplus\(beta=2, .*softplus is Softplus\(beta=1.0, threshold=20.0\)"),
    (lambda: [linear(4, 3), nn.Softplus(threshold=9)], r"threshold=9\), .*threshold=20.0"),
    (lambda: [linear(4, 3), nn.LeakyReLU(0.2)], r"negative_slope=0.2\), .*negative_slope=0.01"),
    (lambda: [linear(4, 3), nn.ELU(2.0)], r"alpha=2.0\), .*alpha=1.0"),
    (lambda: [linear(4, 3), nn.Softmax()], r"dim=None\), .*dim=-1"),
    (lambda: [linear(4, 3), nn.Softmax(dim=0)], r"dim=0\), .*dim=-1"),
    (lambda: [linear(4, 3), nn.Softmax(dim=-1), linear(3, 2)], "only outputs can be by softmax"),
    (lambda: [linear(4, 3), nn.ReLU(), nn.Tanh()], r"module\[2\] is Tanh\(\) behind another activation, module\[1\]"),
    (lambda: [nn.ReLU(), linear(4, 3)], r"module\[0\] is ReLU\(\) before the first Linear"),
    (lambda: [linear(4, 3), nn.Flatten(), linear(3, 3)], r"module\[1\] is Flatten"),
    (lambda: [nn.Flatten(0), linear(4, 3)], r"module\[0\] is Flatten\(start_dim=0"),
    (lambda: [linear(4, 3), nn.Dropout(0.5)], r"module\[1\] is Dropout\(p=0.5.* in training mode.*module.eval\(\)"),
    (lambda: [linear(4, 5), linear(6, 3)], r"module\[1\] is Linear.*module\[0\] before it.*as many inputs"),
    (
        lambda: [linear(4, 4), linear(4, 3).double()],
        r"module\[1\].weight is torch.float64.*module.to\('cpu'",
    ),
    (lambda: [linear(4, 3, dtype=torch.complex64)], r"the dtype of module\[0\].weight must be one of"),
    (lambda: [nn.Linear(4, 3, device="meta")], r"module\[0\].weight is torch.strided on meta"),
    (twice, r"module\[2\] shares its parameters with module\[0\]"),
    (lambda: [hooked()], r"module\[0\] is Linear\(.*with a hook"),
    (lambda: [nn.utils.parametrizations.weight_norm(linear(4, 3))], r"module\[0\] is ParametrizedLinear\(.*parametriz"),
    (lambda: [Doubling(linear(4, 3))], r"module\[0\] is .*test_sequential.Doubling\(\), which can't be taken"),
    (list, "module holds no Linear"),
]


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
@pytest.mark.parametrize(("modules", "message"), REFUSED, ids=[str(k) for k in range(len(REFUSED))])
def test_what_cannot_be_taken_is_named_with_its_place(modules: Callable[[], list[nn.Module]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bp.from_sequential(nn.Sequential(*modules()))


def test_a_cost_that_does_not_go_with_the_outputs_is_refused() -> None:
    with pytest.raises(ValueError, match=r"module\[1\] is ReLU\(\), and softmax_cross_entropy is the cost of softmax"):
        bp.from_sequential(nn.Sequential(linear(4, 3), nn.ReLU()), cost="softmax_cross_entropy")
    with pytest.raises(ValueError, match=r"module\[1\] is Softmax\(dim=-1\), which goes with cost='softmax_cross_ent"):
        bp.from_sequential(nn.Sequential(linear(4, 3), nn.Softmax(dim=-1)), cost="quadratic")
    with pytest.raises(ValueError, match="unknown cost 'hinge'"):
        bp.from_sequential(nn.Sequential(linear(4, 3)), cost="hinge")
    with pytest.raises(ValueError, match=r"takes a torch.nn.Sequential, not Linear"):
        bp.from_sequential(linear(4, 3))  # pyright: ignore[reportArgumentType]


def test_networks_that_torch_has_no_module_of_are_refused() -> None:
    net = bp.Network.create([4, 3, 2])
    with pytest.raises(ValueError, match=r"takes one network, and this is a stack of \(2,\): give network k"):
        bp.to_sequential(bp.stack([net, net]))
    mine = bp.Activation("softsign", nn.functional.softsign, lambda z, a: (1 - a.abs()).square())
    with pytest.raises(ValueError, match="the activation 'softsign' of layer 0 is your own"):
        bp.to_sequential(bp.Network.create([4, 3, 2], hidden=mine))
    with pytest.raises(ValueError, match=r"takes a bp\.Network, not Sequential"):
        bp.to_sequential(nn.Sequential())  # pyright: ignore[reportArgumentType]

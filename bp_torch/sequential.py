"""Networks to and from torch's own modules: a layer is an nn.Linear and the module of its activation.

Legend: layer l is module[2l], whose weight is w (n_l+1, n_l) and whose bias is b (n_l+1,); its activation is
module[2l + 1]. This is the one place of the package that names torch.nn: it converts, and computes nothing by it.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bp_torch import checks
from bp_torch.activations import ACTIVATIONS, LEAK, Activation
from bp_torch.costs import COSTS, SOFTMAX, Cost
from bp_torch.network import Network
from bp_torch.own import is_own
from bp_torch.trace import Layer

MODULES: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": partial(nn.LeakyReLU, LEAK),
    "elu": nn.ELU,
    "softplus": nn.Softplus,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "softmax": partial(nn.Softmax, dim=-1),
}
"""torch's module of each activation of the package, with the options that make it the same function."""

NAMES = {type(make()): name for name, make in MODULES.items()}
TYPICAL = {"softmax": "softmax_cross_entropy", "sigmoid": "binary_cross_entropy"}
"""The cost that outputs of this activation are mostly trained by; for others it is quadratic."""

INSTEAD: dict[type[nn.Module], str] = {
    nn.LogSoftmax: "leave it out and give cost='softmax_cross_entropy', whose outputs are probabilities",
    nn.LazyLinear: "run a batch through the module first",
}
"""What to do about some of the modules that can't be taken."""


@torch.inference_mode(False)  # parameters that are made in that mode could never be trained
def to_sequential(net: Network) -> nn.Sequential:
    """The network as an nn.Sequential: for ONNX, torch.export, and whatever else takes a module.

    Layer l is module[2l], an nn.Linear, and module[2l + 1], its activation: the state_dict has "0.weight", "0.bias",
    "2.weight" and so on. `to_sequential(net)[:-1]` gives the weighted inputs of the output layer, which are the logits
    where the outputs are by softmax or sigmoid. The parameters are copies, of the network's dtype and on its device,
    and can be trained there. The cost is no part of a module.

    Raises ValueError for a stack, and for an activation of your own, which torch has no module of.
    """
    if not isinstance(net, Network):
        raise ValueError(f"to_sequential takes a bp.Network, not {type(net).__name__}")
    if net.layers[0].w.ndim != 2:
        raise ValueError(
            f"to_sequential takes one network, and this is a stack of {tuple(net.layers[0].w.shape[:-2])}: give "
            "network k, bp.Network(tuple(bp.Layer(w[k], b[k]) for w, b in net.layers), net.activations, "
            "net.cost_function)"
        )
    modules: list[nn.Module] = []
    for l, (layer, activation) in enumerate(zip(net.layers, net.activations, strict=True)):
        if is_own(activation):
            raise ValueError(
                f"the activation {activation.name!r} of layer {l} is your own, and torch has no module of it: convert "
                "the network with one of bp.ACTIVATIONS in its place, then put a module of yours there, "
                f"module[{2 * l + 1}] = …"
            )
        if activation.name not in MODULES:
            raise ValueError(
                f"torch has no module of {activation.name}, the outputs of {net.cost_function.name}: convert the "
                "network of its logarithm, bp.Network(net.layers, (*net.activations[:-1], bp.ACTIVATIONS['identity']), "
                "bp.COSTS['quadratic'])"
            )
        modules += [_linear(layer), MODULES[activation.name]()]
    return nn.Sequential(*modules)


def _linear(layer: Layer) -> nn.Linear:
    linear = nn.Linear(layer.w.shape[1], layer.w.shape[0], device="meta")  # there it draws no random numbers
    linear.weight, linear.bias = nn.Parameter(_copy(layer.w)), nn.Parameter(_copy(layer.b))
    return linear


def _copy(t: Tensor) -> Tensor:
    return t.detach().clone(memory_format=torch.contiguous_format)


@torch.inference_mode(False)
def from_sequential(module: nn.Sequential, *, cost: str | Cost | None = None) -> Network:
    """The network that computes what an nn.Sequential does, with copies of its parameters.

    module: nn.Linear layers, each with one of Sigmoid, Tanh, ReLU, LeakyReLU, ELU, Softplus, SiLU and GELU behind it,
        with torch's default options, or none; Softmax behind the last alone. nn.Identity is passed over, and an
        nn.Sequential inside is read as if its modules stood there. An nn.Flatten before the first layer is taken: give
        the network x.flatten(1). An nn.Dropout is taken in eval mode, where it does nothing: here dropout is an
        argument of training.
    cost: a key of `COSTS`, or a `Cost`. With "softmax_cross_entropy" and "binary_cross_entropy" a module that ends in a
        Linear gets the softmax or sigmoid that it has left to torch's CrossEntropyLoss or BCEWithLogitsLoss. Left out,
        it is softmax_cross_entropy for a last Softmax, binary_cross_entropy for a last Sigmoid, and else quadratic.

    Which parameters require grad is not kept: training here changes them all. Raises ValueError, with its place, for a
    module that can't be taken.
    """
    if not isinstance(module, nn.Sequential):
        raise ValueError(
            f"from_sequential takes a torch.nn.Sequential, not {type(module).__name__}: give its layers in their "
            "order, torch.nn.Sequential(net.fc1, torch.nn.ReLU(), net.fc2), say"
        )
    linears: list[tuple[str, nn.Linear]] = []
    activations: list[Activation] = []  # as many
    origin = ""  # where the last layer has its activation from, and which module it is; empty, if it has none
    for place, part in _parts("module", module):
        if type(part) is nn.Linear:
            if activations and activations[-1] is SOFTMAX:
                raise ValueError(f"{origin} before another layer: only outputs can be by softmax, choose another here")
            _check_linear(place, part, linears)
            linears.append((place, part))
            activations.append(ACTIVATIONS["identity"])
            origin = ""
        elif not _does_nothing(place, part, first=not linears):
            found = _activation(place, part)
            if not linears:
                raise ValueError(f"{place} is {_said(part)} before the first Linear: apply it to x, and leave it out")
            if origin:
                raise ValueError(
                    f"{place} is {_said(part)} behind another activation, {origin}: a layer has one, so leave one of "
                    "them out"
                )
            activations[-1], origin = found, f"{place} is {_said(part)}"
    if not linears:
        raise ValueError("module holds no Linear: a network has at least one layer")
    chosen = _cost(cost, activations[-1], origin)
    if chosen.output is not None and not origin:
        activations[-1] = chosen.output
    layers = tuple(Layer(_copy(linear.weight), _copy(linear.bias)) for _, linear in linears)
    return Network(layers, tuple(activations), chosen)


def _parts(place: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules that this one is a row of, each with its place; itself, where it is no row.

    Raises ValueError for one that has hooks or a parametrization: what they do to it can't be taken.
    """
    hooked = module._forward_pre_hooks or module._forward_hooks or hasattr(module, "parametrizations")
    if hooked and type(module) not in INSTEAD:
        raise ValueError(
            f"{place} is {_said(module)} with a hook or a parametrization, which may change what it computes: remove "
            "it first"
        )
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        for k, part in enumerate(module):
            yield from _parts(f"{place}[{k}]", part)
    else:
        yield place, module


def _said(module: nn.Module) -> str:
    """A module with its options, as torch prints it; of what is made of modules, its name alone."""
    kind, options = type(module), "" if any(True for _ in module.children()) else module.extra_repr()
    whose = "" if kind.__module__.startswith("torch.nn.") else f"{kind.__module__}."  # another's Linear is another
    return f"{whose}{kind.__name__}({options})"


def _check_linear(place: str, linear: nn.Linear, before: list[tuple[str, nn.Linear]]) -> None:
    """Raises ValueError where a Linear can't be the layer that follows these."""
    w, b = linear.weight, linear.bias
    if b is None:
        raise ValueError(
            f"{place} is {_said(linear)}, without a bias, which every layer has here and training would change: give "
            f"it one, {place}.bias = torch.nn.Parameter({place}.weight.new_zeros({w.shape[0]}))"
        )
    first = before[0][1].weight if before else w
    for name, t in (("weight", w), ("bias", b)):
        checks.dtype_of(f"the dtype of {place}.{name}", t.dtype)
        if t.device.type not in ("cpu", "cuda") or t.layout != torch.strided:
            raise ValueError(f"{place}.{name} is {t.layout} on {t.device}: it must be dense, on the CPU or on CUDA")
        if (t.dtype, t.device) != (first.dtype, first.device):
            raise ValueError(
                f"{place}.{name} is {t.dtype} on {t.device}, and {(before or [(place, linear)])[0][0]}.weight is "
                f"{first.dtype} on {first.device}: bring them together, with module.to({str(first.device)!r}, "
                f"{first.dtype})"
            )
    for other_place, other in before:
        if w is other.weight or b is other.bias:
            raise ValueError(
                f"{place} shares its parameters with {other_place}, and training here would part them: give it a copy, "
                f"{place} = copy.deepcopy({place})"
            )
    if before and w.shape[1] != before[-1][1].weight.shape[0]:
        raise ValueError(
            f"{place} is {_said(linear)}, and {before[-1][0]} before it is {_said(before[-1][1])}: a layer takes as "
            "many inputs as the one before has outputs"
        )


def _does_nothing(place: str, module: nn.Module, first: bool) -> bool:
    """Whether it gives what it is given. Raises ValueError for dropout that is at work.

    first: it stands before all layers.
    """
    if isinstance(module, nn.modules.dropout._DropoutNd):
        if module.training and module.p:
            raise ValueError(
                f"{place} is {_said(module)} in training mode: dropout is an argument of training here, "
                "bp.train(net, data, dropout=…), and no part of a network; to leave it out, give module.eval()"
            )
        return True
    if type(module) is nn.Flatten:
        return first and _options(module) == {"start_dim": 1, "end_dim": -1}
    return type(module) is nn.Identity


def _options(module: nn.Module) -> dict[str, Any]:
    """What a module without parameters was made with, but for what changes no result."""
    return {name: v for name, v in vars(module).items() if name[0] != "_" and name not in ("training", "inplace")}


def _activation(place: str, module: nn.Module) -> Activation:
    """The activation that a module is. Raises ValueError, with its place, where there is none."""
    name = NAMES.get(type(module))
    if name is None:
        taken = f"from_sequential takes Linear and {', '.join(sorted(kind.__name__ for kind in NAMES))}"
        raise ValueError(f"{place} is {_said(module)}, which can't be taken: {INSTEAD.get(type(module), taken)}")
    made = MODULES[name]()
    if _options(module) != _options(made) and (type(module), getattr(module, "dim", None)) != (nn.Softmax, 1):
        raise ValueError(
            f"{place} is {_said(module)}, and {name} is {_said(made)} here: take that, or make an own bp.Activation"
        )
    return SOFTMAX if name == "softmax" else ACTIVATIONS[name]


def _cost(cost: str | Cost | None, output: Activation, origin: str) -> Cost:
    """The cost by its name, or that which fits the outputs. Raises ValueError where it doesn't go with them."""
    if cost is None:
        cost = TYPICAL.get(output.name, "quadratic")
    chosen = cost if isinstance(cost, Cost) else COSTS[checks.one_of("cost", cost, COSTS)]
    if chosen.output is not None and origin and chosen.output.name != output.name:
        raise ValueError(
            f"{origin}, and {chosen.name} is the cost of {chosen.output.name} outputs: leave the module out, or give "
            "cost='quadratic'"
        )
    if chosen.output is None and output is SOFTMAX:
        raise ValueError(f"{origin}, which goes with cost='softmax_cross_entropy', not with {chosen.name}")
    return chosen

"""A network's own functions: the activations and costs that a user has written."""

import torch

from bp_torch import checks
from bp_torch.activations import ACTIVATIONS, OUTPUTS, Activation
from bp_torch.costs import COSTS, Cost
from bp_torch.passes import Layered

_PACKAGE = {
    id(each): each for each in (*ACTIVATIONS.values(), *OUTPUTS.values(), *COSTS.values())
}  # before users register theirs


def is_own(function: Activation | Cost) -> bool:
    """Whether it is a user's, registered or not, and none of the package's."""
    return id(function) not in _PACKAGE


def own_functions(net: Layered) -> list[Activation | Cost]:
    """The activations and the cost of a network that are a user's."""
    return [each for each in (*net.activations, net.cost_function) if is_own(each)]


def try_own_functions(net: Layered) -> None:
    """Raises ValueError, with its name, for an own activation or cost that fails or changes shape or dtype."""
    if own_functions(net):
        _try_functions(net)


@torch.no_grad()
def _try_functions(net: Layered) -> None:
    z = [b.new_zeros((*b.shape[:-1], 2, b.shape[-1])) for _, b in net.layers]
    cost, last = net.cost_function, net.activations[-1]
    for f, z_l in zip(net.activations, z, strict=True):
        if is_own(f) and f is not cost.output:
            a = checks.result_of(f"the activation {f.name!r}", z_l, f.f, z_l)
            checks.result_of(f"the derivative of {f.name!r}", z_l, f.derivative, z_l, a)
    if is_own(cost):
        a = last.f(z[-1])
        checks.result_of(f"the value of {cost.name!r}", z[-1][..., 0], cost.value, z[-1], a, a)
        checks.result_of(f"the error of {cost.name!r}", z[-1], cost.error, last, z[-1], a, a)

"""The independent oracle: the same networks in torch.nn.functional, differentiated by torch.autograd.

Names are looked up here first and in the package's tables second, so that a new entry of a table is tested by being
there: its own f and value are then differentiated.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

import bp_torch as bp

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda z: z,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "softplus": F.softplus,
    "silu": F.silu,
    "gelu": F.gelu,
    "softmax": lambda z: F.softmax(z, dim=-1),
    "exp": torch.exp,
}
COSTS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {  # (z, a, y) -> the mean over the examples
    "quadratic": lambda z, a, y: 0.5 * F.mse_loss(a, y, reduction="sum") / len(y),
    "binary_cross_entropy": lambda z, a, y: F.binary_cross_entropy_with_logits(z, y, reduction="sum") / len(y),
    "softmax_cross_entropy": lambda z, a, y: F.cross_entropy(z, y),
    "poisson": lambda z, a, y: F.poisson_nll_loss(z, y, reduction="sum") / len(y),
}

# Every hidden activation with every cost; the quadratic cost with every output activation.
CASES = [
    *[(f, "quadratic", f) for f in bp.ACTIVATIONS],
    *[(f, cost.name, cost.output.name) for f in bp.ACTIVATIONS for cost in bp.COSTS.values() if cost.output],
]


def network(sizes: list[int], hidden: str = "sigmoid", cost: str = "quadratic", output: str = "sigmoid") -> bp.Network:
    """A float64 network in a region where no activation is saturated."""
    return bp.Network.create(sizes, hidden=hidden, cost=cost, output=output, init="scaled", seed=3, dtype=torch.float64)


def examples(net: bp.Network, m: int, seed: int = 5) -> tuple[Tensor, Tensor]:
    """m random examples, with targets that are probabilities."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(m, net.sizes[0], generator=rng, dtype=torch.float64)
    y = torch.rand(m, net.sizes[-1], generator=rng, dtype=torch.float64).softmax(-1)
    return x, y


def cost(net: bp.Network, layers: list[bp.Layer], x: Tensor, y: Tensor) -> Tensor:
    """C by torch.nn.functional, with these parameters instead of the network's own."""
    a = z = x
    for (w, b), activation in zip(layers, net.activations, strict=True):
        z = F.linear(a, w, b)
        a = ACTIVATIONS.get(activation.name, activation.f)(z)
    own = net.cost_function
    return COSTS.get(own.name, lambda z, a, y: own.value(z, a, y).mean())(z, a, y)


def leaves(net: bp.Network) -> list[bp.Layer]:
    """A copy of the parameters that autograd differentiates by."""
    return [bp.Layer(w.clone().requires_grad_(), b.clone().requires_grad_()) for w, b in net.layers]


def gradients(net: bp.Network, x: Tensor, y: Tensor) -> list[bp.Layer]:
    layers = leaves(net)
    flat = torch.autograd.grad(cost(net, layers, x, y), [t for layer in layers for t in layer])
    return [bp.Layer(w, b) for w, b in zip(flat[::2], flat[1::2], strict=True)]


def relative_error(got: Tensor, wanted: Tensor) -> float:
    """‖got − wanted‖ / ‖wanted‖; infinite where the shapes differ."""
    if got.shape != wanted.shape:
        return float("inf")
    return ((got - wanted).norm() / wanted.norm().clamp(min=1e-300)).item()

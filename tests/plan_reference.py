"""The independent oracle of whole runs: torch.autograd, torch.optim and torch.nn.utils, with dropout's masks given."""

from collections.abc import Callable, Sequence
from itertools import chain, count, pairwise
from typing import Any, NamedTuple

import reference
import torch
import torch.nn.functional as F
from torch import Tensor

import bp_torch as bp
from bp_torch.dropout import KEYS, keys_table, mask
from bp_torch.training.batches import shuffled

SIZES, EXAMPLES, BATCH, EPOCHS = [7, 6, 5, 4], 23, 5, 3  # five batches an epoch, the last of three
TANH = ("tanh", "softmax_cross_entropy", "softmax")
CASES = [  # whose σ′ is had from a, and from z
    TANH,
    ("sigmoid", "quadratic", "sigmoid"),
    ("elu", "quadratic", "identity"),
    ("gelu", "binary_cross_entropy", "sigmoid"),
]
EACH: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {  # (z, a, y) -> C_x of each example
    "quadratic": lambda z, a, y: F.mse_loss(a, y, reduction="none").sum(-1) / 2,
    "binary_cross_entropy": lambda z, a, y: F.binary_cross_entropy_with_logits(z, y, reduction="none").sum(-1),
    "softmax_cross_entropy": lambda z, a, y: F.cross_entropy(z, y, reduction="none"),
}


class Trained(NamedTuple):
    """The parameters, and of each epoch the mean C_x of its steps and the penalty of the weights at its end."""

    layers: list[bp.Layer]
    costs: list[float]
    penalties: list[float]


def network(case: tuple[str, str, str] = TANH, sizes: Sequence[int] = SIZES) -> bp.Network:
    return reference.network(list(sizes), *case)


def data(net: bp.Network, m: int = EXAMPLES) -> tuple[Tensor, Tensor]:
    return reference.examples(net, m)


def masks(net: bp.Network, rates: Sequence[float], keys: Tensor, m: int) -> list[Tensor | None]:
    """What each layer's input is multiplied by, for a batch of m examples: `keys` is a row of the table."""
    places = count(0, KEYS)
    made: list[Tensor | None] = []
    for p, (n, _) in zip(rates or [0.0] * len(net.layers), pairwise(net.sizes), strict=True):
        of_layer = keys[(k := next(places)) : k + KEYS].unbind() if p else ()
        made.append(mask(m, n, of_layer, keys.new_tensor(1 / (1 - p), dtype=torch.float64)) if p else None)
    return made


def outputs(
    net: bp.Network, layers: list[bp.Layer], x: Tensor, dropped: Sequence[Tensor | None]
) -> tuple[Tensor, Tensor]:
    """zᴸ and aᴸ with these parameters, of what the masks leave."""
    a = z = x
    for (w, b), activation, left in zip(layers, net.activations, dropped, strict=True):
        z = F.linear(a if left is None else a * left, w, b)
        a = reference.ACTIVATIONS[activation.name](z)
    return z, a


def penalty(layers: list[bp.Layer], l2: float, l1: float, n: int) -> Tensor:
    """(λ₂/2n) Σ w² + (λ₁/n) Σ |w|."""
    parts = [l2 / (2 * n) * (w**2).sum() + l1 / n * w.abs().sum() for w, _ in layers]
    return torch.stack(parts).sum()


def trained(
    net: bp.Network,
    data: tuple[Tensor, Tensor],
    *,
    lr: float | Callable[[float], float] = 0.1,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
    options: dict[str, Any] | None = None,
    rates: Sequence[tuple[float, float]] | None = None,
    decays: Sequence[tuple[float, float]] | None = None,
    weights: Tensor | None = None,
    epochs: int = EPOCHS,
    batch_size: int = BATCH,
    dropout: Sequence[float] = (),
    l2: float = 0.0,
    l1: float = 0.0,
    max_norm: float | None = None,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    seed: int = 0,
) -> Trained:
    """A run from the network's parameters, which stay as they are.

    lr: also as a function of the progress, from 0 to 1. rates, decays: factors of lr and of weight_decay, for each
    layer's w and b. weights: of the examples.
    """
    (x, y), layers, options = data, reference.leaves(net), options or {}
    parameters = list(chain(*layers))
    each, decay = list(chain(*(rates or [(1, 1)] * len(layers)))), options.pop("weight_decay", 0.0)
    groups = [
        dict(params=[p], weight_decay=decay * f)
        for p, f in zip(parameters, chain(*(decays or [(1, 1)] * len(layers))), strict=True)
    ]
    theirs = optimizer(groups, lr=1.0, **options)
    counts = x.new_ones(len(x)) if weights is None else weights
    steps, costs, penalties = -(-len(x) // batch_size), [], []
    for epoch in range(1, epochs + 1):
        table, total, order = keys_table(steps, tuple(dropout), seed, epoch), 0.0, shuffled(len(x), seed, epoch)
        for k, index in enumerate(order.split(batch_size)):
            rate = lr(((epoch - 1) * steps + k) / (epochs * steps)) if callable(lr) else lr
            for group, factor in zip(theirs.param_groups, each, strict=True):
                group["lr"] = rate * factor
            z, a = outputs(net, layers, x[index], masks(net, dropout, table[k], len(index)))
            of_examples = EACH[net.cost_function.name](z, a, y[index]) * counts[index]
            cost = of_examples.sum() / counts[index].sum() + penalty(layers, l2, l1, len(x))
            gradients = torch.autograd.grad(cost, parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            if clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(parameters, clip_norm)
            if clip_value is not None:
                torch.nn.utils.clip_grad_value_(parameters, clip_value)
            theirs.step()
            if max_norm is not None:
                _shrink(layers, max_norm)
            total += of_examples.sum().item()
        costs.append(total / counts.sum().item())
        penalties.append(penalty(layers, l2, l1, len(x)).item())
    return Trained([bp.Layer(w.detach(), b.detach()) for w, b in layers], costs, penalties)


@torch.no_grad()
def _shrink(layers: list[bp.Layer], most: float) -> None:
    for w, _ in layers:
        norms = torch.linalg.vector_norm(w, dim=-1, keepdim=True)
        w.copy_(torch.where(norms > most, w * most / norms, w))


def assert_same(net: bp.Network, records: Sequence[bp.Record], wanted: Trained, tolerance: float = 1e-9) -> None:
    """The parameters of a run's network, and the costs of its whole epochs."""
    for mine, theirs in zip(net.layers, wanted.layers, strict=True):
        for got, expected in zip(mine, theirs, strict=True):
            assert reference.relative_error(got, expected) < tolerance
    for record, cost, of_weights in zip(records, wanted.costs, wanted.penalties, strict=True):
        for got, expected in ((record.data_cost, cost), (record.penalty, of_weights), (record.cost, cost + of_weights)):
            assert abs(got - expected) <= tolerance * max(abs(expected), 1.0)

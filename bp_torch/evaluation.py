"""The outputs for many examples, and other functions of them, by generated code where that takes less time."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bp_torch.activations import LEAK, Activation
from bp_torch.costs import Cost
from bp_torch.errors import EngineError
from bp_torch.own import own_functions
from bp_torch.passes import Layered, feed_forward, multiplications
from bp_torch.trace import Layer

MANY = 2_500_000_000  # multiplications, which torch takes a tenth of a second for or so


class _Parts(NamedTuple):
    """What the passes need of a network."""

    layers: tuple[Layer, ...]
    activations: tuple[Activation, ...]
    cost_function: Cost


def outputs(net: Layered, x: Tensor, calls: int = 1) -> tuple[Tensor, Tensor]:
    """zᴸ and aᴸ (…, m, n_L), the end of a forward pass, whose other layers are let go of.

    Where so many calls are work for a tenth of a second or more, generated code does it (see `rowwise`).
    """
    if calls * multiplications(net, x) >= MANY:
        found = by_rows(net, "outputs", _outputs, x, threads=torch.get_num_threads())
        if found is not None:
            return found[0], found[1]
    return _outputs(net, x)


def _outputs(net: Layered, x: Tensor) -> tuple[Tensor, Tensor]:
    trace = feed_forward(net, x, lean=True)
    return trace.z[-1], trace.a[-1]


def by_rows(
    net: Layered, name: str, function: Callable[..., Iterable[Tensor]], *rows: Tensor, threads: int
) -> list[Tensor] | None:
    """What a function of a network and of examples (rows, n) gives for many of them, by generated code.

    None where there can be none: on other devices, for sparse x and stacks, without a compiler, for own functions that
    can't be printed.
    """
    from bp_torch.native import rowwise  # at a call that is worth it: generating code is more to import

    w = net.layers[0].w
    if not rowwise.can_take(rows, w):
        return None
    known_by = None if own_functions(net) else (name, net.activations, net.cost_function, LEAK)

    def of_rows(rows: Sequence[Tensor], parameters: Sequence[Tensor]) -> Iterable[Tensor]:
        layers = tuple(Layer(*pair) for pair in zip(parameters[::2], parameters[1::2], strict=True))
        return function(_Parts(layers, net.activations, net.cost_function), *rows)

    of, parameters = rowwise.OfRows(of_rows, known_by), [t for layer in net.layers for t in layer]
    try:
        return rowwise.rowwise(of, rows, parameters, threads)
    except EngineError:
        return None

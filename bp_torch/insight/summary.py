"""A network in a table of its layers: shapes, parameters, and what training it takes in memory and operations."""

from collections.abc import Sequence
from typing import NamedTuple

from bp_torch import checks
from bp_torch.borrowed import Borrowed
from bp_torch.network import Network
from bp_torch.optimisers import Optimiser, optimiser
from bp_torch.training.job import operations_of_layers

HEADER = ("layer", "w", "b", "activation", "parameters", "memory", "state", "z, a, δ", "operations")
TEXTS = 4  # columns of text, which begin at the left


class Row(NamedTuple):
    """A layer, or all.

    layer: its index in `net.layers`, from 0. w, b: shapes. parameters: their values. memory, state: bytes of w and b,
    and of what the optimiser keeps for them. activations: bytes of z, a and δ of a batch; in all, of its x, too.
    operations: floating-point ones in the products of a batch, a multiplication and an addition counted as two:
    forward, BP4, and BP2 but in the first layer.
    """

    layer: int | None
    w: tuple[int, ...]
    b: tuple[int, ...]
    activation: str
    parameters: int
    memory: int
    state: int
    activations: int
    operations: int


class Summary(NamedTuple):
    """`summary` of a network: a row a layer, and all of them in one. As text it is a table."""

    rows: tuple[Row, ...]
    all: Row
    batch_size: int
    optimizer: str

    def __str__(self) -> str:
        texts = [HEADER, *(_texts(row) for row in self.rows), _texts(self.all)]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        lines = ["  ".join(_aligned(line, widths)).rstrip() for line in texts]
        note = f"state: what {self.optimizer} keeps; z, a, δ and operations: of a batch of {self.batch_size}"
        return "\n".join([*lines, note])

    __repr__ = __str__


def summary(net: Network, *, batch_size: int = 10, optimizer: str | Optimiser = "sgd") -> Summary:
    """A table of the network's layers; print it, or take its rows. batch_size and optimizer are those of `train`.

    The memory is that of the equations as they are written: engines hold less of z and δ where they can. Raises
    ValueError for a stack of networks, and for what can't be a batch size or an optimiser.
    """
    m, rule = checks.whole("batch_size", batch_size, 1), optimiser(optimizer)
    if isinstance(rule, Borrowed):
        raise ValueError(f"summary can't tell what {rule} of torch.optim keeps: name an entry of bp.OPTIMISERS like it")
    if net.layers[0].w.ndim != 2:
        raise ValueError("summary takes one network at a time: a stack's are all alike")
    size = net.layers[0].w.element_size()
    rows: list[Row] = []
    of_layers = zip(net.layers, net.activations, operations_of_layers(net, m), strict=True)
    for l, ((w, b), f, operations) in enumerate(of_layers):
        parameters = w.numel() + b.numel()
        memory = parameters * size
        state, activations = memory * len(rule.slots), 3 * m * len(b) * size
        shapes = tuple(w.shape), tuple(b.shape)
        rows.append(Row(l, *shapes, f.name, parameters, memory, state, activations, operations))
    parameters, memory, state, activations, operations = (
        sum(column) for column in zip(*(r[4:] for r in rows), strict=True)
    )
    whole = Row(None, (), (), "", parameters, memory, state, activations + m * net.sizes[0] * size, operations)
    return Summary(tuple(rows), whole, m, str(rule))


def _texts(row: Row) -> tuple[str, ...]:
    shapes = ("", "") if row.layer is None else (str(row.w), str(row.b))
    sizes = (f"{_scaled(n)}B" for n in (row.memory, row.state, row.activations))
    name = "all" if row.layer is None else str(row.layer)
    return name, *shapes, row.activation, f"{row.parameters:,}", *sizes, _scaled(row.operations).strip()


def _scaled(n: int) -> str:
    """A number to three digits, in units of a thousand and so on: 7.8 k."""
    for unit, letter in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if n >= unit:
            return f"{n / unit:.3g} {letter}"
    return f"{n} "


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    pairs = enumerate(zip(line, widths, strict=True))
    return [text.ljust(width) if k < TEXTS else text.rjust(width) for k, (text, width) in pairs]

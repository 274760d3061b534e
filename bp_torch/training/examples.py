"""The pairs (x, y) that a training is given, checked before any work."""

from typing import NamedTuple

import torch
from torch import Tensor

from bp_torch import checks, sparse
from bp_torch.labels import labels_of
from bp_torch.network import Network

NO_TARGET = -100
"""The class index of an example that has no target: torch's ignore_index."""


class Pair(NamedTuple):
    """Examples as they were given: x (m, n_0), the target matrix y (m, n_L), and what is right, as `labels_of` has it.

    known: which of the rows that were given these are (rows,); None: all.
    """

    x: Tensor
    y: Tensor
    labels: Tensor | None
    known: Tensor | None


def pair_of(name: str, pair: object, net: Network) -> Pair:
    """A checked pair, called `name`."""
    try:
        return _checked(name, pair, net)
    except ValueError as error:
        if name == "data" or str(error).startswith(name):
            raise
        raise ValueError(f"{name}: {error}") from error


def _checked(name: str, pair: object, net: Network) -> Pair:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ValueError(f"{name} must be a pair (x, y), not {type(pair).__name__}")
    x = checks.examples(pair[0], net.sizes[0], net.layers[0].w)
    if x.ndim != 2:
        raise ValueError(f"{name}: x must have the shape (m, {net.sizes[0]}) to train on, not {tuple(x.shape)}")
    known, given = _with_a_target(pair[1]), pair[1]
    if known is not None and not bool(known.any()):
        raise ValueError(f"{name}: all class indices are {NO_TARGET}, and so no example has a target")
    if known is not None and known.shape == x.shape[:1]:
        x, given = sparse.pick(x, known), given[known]
    y, output = checks.targets(given, x, net.sizes[-1], net.layers[0].w), net.activations[-1]
    checks.reached(name, y, output.reach, output.name, net.cost_function.sums_to_one)
    return Pair(x, y, labels_of(given), known)


def finite(held_out: Pair) -> Pair:
    """The pair itself, if its values are finite: training would never meet those that aren't."""
    for name, tensor in (("x", held_out.x), ("y", held_out.y)):
        unsound = ~sparse.values(tensor).isfinite()
        if unsound.any():
            rows = sparse.row_numbers(tensor)[unsound] if sparse.is_sparse(tensor) else unsound.any(-1).nonzero()
            row = int(rows.flatten()[0])
            raise ValueError(f"validation: {name} holds NaN or Inf, first in row {row}: leave such rows out")
    return held_out


def _with_a_target(y: object) -> Tensor | None:
    """Which class indices (m,) are a target: those that are not `NO_TARGET`; None: all, or y holds no indices."""
    if not isinstance(y, Tensor) or y.dtype not in (torch.int64, torch.int32, torch.int16, torch.int8) or y.ndim != 1:
        return None
    known = y != NO_TARGET
    return None if bool(known.all()) else known

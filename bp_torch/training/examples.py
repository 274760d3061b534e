"""The pairs (x, y) that a training is given, checked before any work."""

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from typing import NamedTuple

import torch
from torch import Tensor

from bp_torch import checks, sparse
from bp_torch.labels import labels_of
from bp_torch.network import Network, examples_of, targets_of
from bp_torch.splitting import to_validate_on

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
    with _called(name):
        return _checked(name, *_tensors(name, pair, net), net)


def tensors_of(name: str, pair: object, net: Network) -> tuple[Tensor, Tensor]:
    """A pair as tensors, whatever else people have their numbers in: x (m, n_0) is checked, y is not yet."""
    with _called(name):
        return _tensors(name, pair, net)


@contextmanager
def _called(name: str) -> Iterator[None]:
    """Says of which pair an error speaks."""
    try:
        yield
    except ValueError as error:
        if name == "data" or str(error).startswith(name):
            raise
        raise ValueError(f"{name}: {error}") from error


def _tensors(name: str, pair: object, net: Network) -> tuple[Tensor, Tensor]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ValueError(f"{name} must be a pair (x, y), not {type(pair).__name__}")
    x = examples_of(net, pair[0])
    if x.ndim != 2:
        raise ValueError(f"{name}: x must have the shape (m, {net.sizes[0]}) to train on, not {tuple(x.shape)}")
    return x, checks.tensor_of_targets(targets_of(net, pair[1]), len(x), net.sizes[-1], net.layers[0].w)


def _checked(name: str, x: Tensor, given: Tensor, net: Network) -> Pair:
    known = _with_a_target(given)
    if known is not None and not bool(known.any()):
        raise ValueError(f"{name}: all class indices are {NO_TARGET}, and so no example has a target")
    if known is not None and known.shape == x.shape[:1]:
        x, given = sparse.pick(x, known), given[known]
    y, output = checks.targets(given, x, net.sizes[-1], net.layers[0].w), net.activations[-1]
    checks.reached(name, y, output.reach, output.name, net.cost_function.sums_to_one)
    return Pair(x, y, labels_of(given), known)


def validated_by(data: Pair, validation: object, net: Network, seed: int) -> tuple[Pair, Pair | None]:
    """What is trained on, and what it is validated by: a pair of its own, or a share of the data, drawn by the seed."""
    if validation is None:
        return data, None
    if not isinstance(validation, Real):
        return data, _finite("validation", pair_of("validation", validation, net))
    share = checks.share("validation", validation)
    classes = None if data.labels is None or data.labels.dtype == torch.bool else data.labels
    apart = to_validate_on(data.y if classes is None else classes, classes is not None, seed, share)
    if not apart.any() or apart.all():
        raise ValueError(
            f"validation={validation} can't be held out of {len(data.x)} examples, with some for both parts: give "
            "another share, or validation=(x, y)"
        )
    _finite("data", data)
    return _rows(data, ~apart), _rows(data, apart)


def _rows(pair: Pair, rows: Tensor) -> Pair:
    """These rows (m,), bool, of a pair."""
    known = torch.ones_like(rows) if pair.known is None else pair.known.clone()
    known[known.clone()] = rows
    return Pair(sparse.pick(pair.x, rows), pair.y[rows], None if pair.labels is None else pair.labels[rows], known)


def _finite(name: str, pair: Pair) -> Pair:
    """The pair itself, if its values are finite: training would never meet those to validate by that aren't."""
    for of, tensor in (("x", pair.x), ("y", pair.y)):
        sound = sparse.values(tensor).isfinite()
        if not bool(sound.all()):
            unsound = ~sound
            rows = sparse.row_numbers(tensor)[unsound] if sparse.is_sparse(tensor) else unsound.any(-1).nonzero()
            row = int(rows.flatten()[0])
            raise ValueError(f"{name}: {of} holds NaN or Inf, first in row {row}: leave such rows out")
    return pair


def _with_a_target(y: Tensor) -> Tensor | None:
    """Which class indices (m,) are a target: those that are not `NO_TARGET`; None: all, or y holds no indices."""
    if y.dtype not in (torch.int64, torch.int32, torch.int16, torch.int8) or y.ndim != 1:
        return None
    known = y != NO_TARGET
    return None if bool(known.all()) else known

"""What examples count for, and what their targets are softened to, before training begins.

An example's weight stands before its cost: C = Σ_x w_x C_x / Σ_x w_x, over each batch, as scikit-learn's MLP and
torch's CrossEntropyLoss have it. So it scales the example's δᴸ. An example of weight 0 is left out. In a batch
of one example a weight has no effect.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bp_torch import given, sparse
from bp_torch.errors import reason


class Examples(NamedTuple):
    """What is trained on: x (m, n_0), the target matrix y (m, n_L), and weights (m,), if not all are alike."""

    x: Tensor
    y: Tensor
    weights: Tensor | None


def weighted(
    x: Tensor,
    y: Tensor,
    labels: Tensor | None,
    weights: Tensor | None = None,
    class_weight: str | Mapping[int, float] | Mapping[str, float] | None = None,
    label_smoothing: float = 0.0,
) -> Examples:
    """The examples as they enter training.

    labels: as `labels_of` has them. weights: as `sample_weights` gives them. class_weight: of classes, 1 where one is
    not named; "balanced" is m / (classes · examples of the class), each example counted by its weight, as in
    scikit-learn. It multiplies the weights.
    label_smoothing: ε. Targets that are one class of K become (1 − ε) y + ε/K, as in torch's CrossEntropyLoss, and
    labels of which each is true or false (1 − ε) y + ε/2. Source: C. Szegedy et al., "Rethinking the Inception
    Architecture for Computer Vision" (2016), section 7.

    Raises ValueError for weights that can't be used, a class that is not there, and targets without classes.
    """
    if weights is not None:
        left = _counting(weights)
        x, y, weights = sparse.pick(x, left), y[left], _relative(weights[left])
        labels = None if labels is None else labels[left]
    if class_weight is not None:
        of_classes = _of_classes(class_weight, labels, y, weights)
        weights = of_classes if weights is None else weights * of_classes
    if label_smoothing:
        y = _smoothed(y, labels, label_smoothing)
    if weights is None:
        return Examples(x, y, None)
    weights = _relative(weights).to(x.dtype)
    weights = weights.where(weights >= torch.finfo(x.dtype).tiny, 0)  # 1 / Σ w of a batch of smaller ones is infinite
    left = _counting(weights)
    x, y, weights = sparse.pick(x, left), y[left], weights[left]
    return Examples(x, y, weights.contiguous() if bool((weights != 1).any()) else None)


def _counting(weights: Tensor) -> Tensor | slice:
    """Which examples have a weight above 0."""
    counted = weights > 0
    if not bool(counted.any()):
        raise ValueError("all weights of the examples are 0: nothing would be learned; give some of them a weight")
    return slice(None) if bool(counted.all()) else counted


def _relative(weights: Tensor) -> Tensor:
    """Weights of which the largest is 1: their ratios alone count, and so they fit the network's dtype at any scale."""
    return weights / weights.max().clamp(min=torch.finfo(weights.dtype).tiny)


def sample_weights(weights_given: Any, x: Tensor, known: Tensor | None) -> Tensor:
    """The weights of the examples x (m, n_0), as (m,), in float64 on their device.

    weights_given: a number for each row that was given, of which `known` says which x are; None: all. Raises
    ValueError.
    """
    rows = len(x) if known is None else len(known)
    try:
        values = given.numbers(weights_given)
        if values.is_complex() or values.layout != torch.strided:
            raise TypeError(f"not {values.dtype} of layout {values.layout}")
        weights = values.detach().to(x.device, torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"sample_weight must be {rows} numbers, one an example ({reason(error)})") from error
    if weights.shape != (rows,):
        raise ValueError(f"sample_weight must be {rows} numbers, one an example, not of shape {tuple(weights.shape)}")
    sound = weights.isfinite() & (weights >= 0)
    if not bool(sound.all()):
        row = int((~sound).nonzero()[0])
        raise ValueError(f"sample_weight[{row}] is {weights[row].item():g}: weights must be finite and at least 0")
    return weights if known is None else weights[known]


def _of_classes(
    class_weight: str | Mapping[int, float] | Mapping[str, float],
    labels: Tensor | None,
    y: Tensor,
    weights: Tensor | None,
) -> Tensor:
    """The weight of each example's class (m,), in float64. weights: the examples' own, if they have any."""
    if labels is None or labels.dtype == torch.bool:
        raise ValueError("class_weight needs one class for each example: give sample_weight instead")
    counts = y.new_zeros(max(2, y.shape[-1]), dtype=torch.float64)
    ones = torch.ones_like(labels, dtype=torch.float64, device=labels.device)
    counts.index_add_(0, labels, ones if weights is None else weights.double())
    if isinstance(class_weight, str):
        table = torch.where(counts > 0, counts.sum() / (counts.gt(0).sum() * counts), 0)
    else:
        table = torch.ones_like(counts)
        for index, weight in class_weight.items():
            if isinstance(index, str) or index >= len(counts) or not counts[index]:
                there = ", ".join(map(str, counts.nonzero().flatten().tolist()))
                raise ValueError(f"class_weight names class {index}, of which there is no example: there are {there}")
            table[index] = weight
    return _relative(table)[labels]


def _smoothed(y: Tensor, labels: Tensor | None, epsilon: float) -> Tensor:
    if (labels is not None and labels.dtype == torch.bool) or (y.shape[-1] == 1 and labels is not None):
        return (1 - epsilon) * y + epsilon / 2
    rounding = 8 * torch.finfo(y.dtype).eps
    shares = bool(((y >= -rounding).all(-1) & ((y.sum(-1) - 1).abs() <= max(1e-3, rounding))).all())
    if not shares:
        raise ValueError("label_smoothing is for classes, and y holds values: leave it away")
    return (1 - epsilon) * y + epsilon / y.shape[-1]

"""What targets say is right, and what outputs say: classes, or several labels at once."""

import torch
from torch import Tensor


def predicted_class(a: Tensor) -> Tensor:
    """The class (…, m) that the outputs a (…, m, n_L) stand for."""
    return a.argmax(-1) if a.shape[-1] > 1 else (a.squeeze(-1) > 0.5).long()


def labels_of(y: Tensor) -> Tensor | None:
    """What checked targets say is right: classes (…, m), int64, or several labels at once (…, m, n_L), bool; else None.

    Zeros and ones stand for the class of each row's one, where every row has a single one; of one output, for two
    classes.
    """
    if not y.is_floating_point():
        return y.long()
    if not bool(((y == 0) | (y == 1)).all()):
        return None
    return predicted_class(y) if y.shape[-1] == 1 or bool((y.sum(-1) == 1).all()) else y > 0.5


def class_labels(y: Tensor) -> Tensor | None:
    """The classes (…, m) of checked targets, one an example; None for values and for several labels at once."""
    labels = labels_of(y)
    return None if labels is None or labels.dtype == torch.bool else labels


def right(a: Tensor, labels: Tensor) -> Tensor:
    """Which outputs a (…, m, n_L) are right: of each example (…, m) for classes, else of each output (…, m, n_L).

    An output that is NaN is not.
    """
    if labels.dtype == torch.bool:
        return ((a > 0.5) == labels) & ~a.isnan()
    return (predicted_class(a) == labels) & ~a.isnan().any(-1)

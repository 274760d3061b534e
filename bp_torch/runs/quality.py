"""How good a network is on test examples, by scikit-learn's metrics, and what its figures are to be held against.

Accuracy flatters where one class is common: beside it stand what always naming that class would have, and the recall of
each class. A root mean square error says little without the spread of the values: R² compares the two.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bp_torch.data.named import Split
from bp_torch.labels import class_labels, predicted_class
from bp_torch.network import Network


class OfClasses(NamedTuple):
    """How well classes are told.

    accuracy: the share of the examples that are told right. commonest: the class of most examples; share: how many
    these are, which is the accuracy of always naming it. recall: for each class, the share of its examples that are
    told right, None where it has none; counts: its examples. balanced: the balanced accuracy, the mean of the recalls.
    """

    accuracy: float
    commonest: int
    share: float
    balanced: float
    recall: tuple[float | None, ...]
    counts: tuple[int, ...]


class OfValues(NamedTuple):
    """How close real values come, in the target's own unit.

    error: root mean square error, None where an output is not finite. spread: that of always naming the mean of these
    examples, their standard deviation. r2: R², 1 for exact values and 0 for always naming the mean; None where there is
    no error, or where all examples have one value.
    """

    error: float | None
    spread: float
    r2: float | None


def of(net: Network, test: Split) -> OfClasses | OfValues:
    """The quality of the network on these examples, of classes or of real values as their targets are."""
    labels = classes_of(test)
    if labels is None:
        return _of_values(net.forward(test.x).a[-1], test.y, test.unit)
    return _of_classes(predicted_classes(net, test.x), labels, _classes(net))


def of_outputs(outputs: Tensor, y: Tensor, classes: Sequence[str] | None, unit: float = 1.0) -> OfClasses | OfValues:
    """The quality of outputs (m, n_L) for targets y, as a `Split` has them."""
    if classes is None:
        return _of_values(outputs, y, unit)
    return _of_classes(predicted_class(outputs), y, max(outputs.shape[-1], 2))


def classes_of(test: Split) -> Tensor | None:
    """The classes (m,) of the test examples; None for a real-valued target, even if all its values are 0 or 1."""
    return None if test.classes is None and test.y.is_floating_point() else class_labels(test.y)


def predicted_classes(net: Network, x: Tensor) -> Tensor:
    """The classes (m,) that the network predicts, also by outputs without bounds, for which `predict` gives values."""
    answer = net.predict(x)
    return predicted_class(answer) if answer.is_floating_point() else answer


def class_names(net: Network, *candidates: Sequence[str] | None) -> list[str]:
    """The names of the classes that the network tells: the first candidates that are as many, else their numbers."""
    count = _classes(net)
    fitting = (list(names) for names in candidates if names and len(names) == count)
    return next(fitting, [str(c) for c in range(count)])


def _classes(net: Network) -> int:
    return max(net.sizes[-1], 2)


def _of_classes(answers: Tensor, labels: Tensor, classes: int) -> OfClasses:
    from sklearn.metrics import accuracy_score, recall_score

    true, predicted = labels.cpu().numpy(), answers.cpu().numpy()
    counts = torch.bincount(labels.cpu(), minlength=classes).tolist()
    present = [c for c, count in enumerate(counts) if count]
    options: dict[str, Any] = {"average": None, "zero_division": 0.0}  # its stubs say text
    recalls: Any = recall_score(true, predicted, labels=present, **options)  # an array
    by_class = dict(zip(present, recalls.tolist(), strict=True))
    return OfClasses(
        accuracy=float(accuracy_score(true, predicted)),
        commonest=counts.index(max(counts)),
        share=max(counts) / len(true),
        balanced=float(recalls.mean()),
        recall=tuple(by_class.get(c) for c in range(len(counts))),
        counts=tuple(counts),
    )


def _of_values(outputs: Tensor, y: Tensor, unit: float) -> OfValues:
    from sklearn.metrics import r2_score, root_mean_squared_error

    true, output = y.double().cpu(), outputs.double().cpu()
    spread = true.std(0, correction=0).mean().item() * unit
    if not output.isfinite().all():
        return OfValues(None, spread, None)
    error = float(root_mean_squared_error(true.numpy(), output.numpy())) * unit
    one_value = bool((true == true[0]).all())
    return OfValues(error, spread, None if one_value else float(r2_score(true.numpy(), output.numpy())))

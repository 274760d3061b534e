"""Classes that come after the first call of `partial_fit`: the network grows by an output for each.

The outputs of the classes known before keep their weights, and what the solver keeps for them. One logistic output for
two classes, z, becomes two of a softmax, −z/2 and z/2, which gives the same probabilities.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import type_of_target, unique_labels

from bp_torch.estimators import choices
from bp_torch.estimators.weights import Array, drawn

if TYPE_CHECKING:
    from bp_torch.estimators.classifier import MLPClassifier

Last = tuple[Array, Array]
"""coef (n, n_L) and intercept (n_L,) of the last layer, or what a solver keeps for them."""


def check_classes(model: "MLPClassifier", y: Any, classes: Any) -> None:
    """What `classes` says, before any work: the first call's are set, later ones must hold all that are known.

    Raises ValueError where they don't, and where the first call has none.
    """
    known = getattr(model, "classes_", None)
    if known is None:
        if classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        several = type_of_target(y).startswith("multilabel")
        given = unique_labels(classes)
        if not several:
            check_known("y", unique_labels(y), given)
        model.classes_ = model._first_classes = given
        model._label_binarizer = LabelBinarizer().fit(y if several else classes)
    elif classes is not None:
        given = unique_labels(classes)
        if np.array_equal(given, getattr(model, "_first_classes", known)):
            return
        if not set(known) <= set(given):
            raise ValueError(f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {known!r}")
        if len(given) > len(known):
            _grow(model, given, LabelBinarizer().fit(given))


def check_known(name: str, classes: NDArray[Any], known: NDArray[Any]) -> None:
    """Raises ValueError for a class that is not known."""
    if len(np.setdiff1d(classes, known, assume_unique=True)):
        raise ValueError(
            f"`{name}` has classes not in `self.classes_`. `self.classes_` has {known}. '{name}' has {classes}."
        )


def take_in(model: "MLPClassifier", y: Any, classes: NDArray[Any]) -> None:
    """Lets the model know the classes of y, and gives it outputs for new ones."""
    binarizer = model._label_binarizer
    known, several = binarizer.classes_, type_of_target(y).startswith("multilabel")
    if several is not binarizer.y_type_.startswith("multilabel"):
        raise ValueError("y must be of the same kind in each call: one class an example, or a matrix of labels.")
    if several and len(classes) < len(known):
        raise ValueError(f"y has {len(classes)} labels, but {type(model).__name__} is expecting {len(known)} labels.")
    union = classes if several else unique_labels(known, classes)
    if len(union) > len(known):
        _grow(model, union, LabelBinarizer().fit(y if several else union))


def _grow(model: "MLPClassifier", classes: NDArray[Any], binarizer: LabelBinarizer) -> None:
    """Gives the model outputs for all of these classes, which are sorted; it knows some of them."""
    known, one = model._label_binarizer.classes_, model._label_binarizer.y_type_ == "binary"
    outputs = 1 if binarizer.y_type_ == "binary" else len(classes)
    model.classes_, model._label_binarizer = classes, binarizer
    model.out_activation_ = model._output_name()
    mixing = _mixing(known, classes, one, outputs)
    hidden = choices.hidden_activations(model.activation, len(model.coefs_) - 1)
    last = model.coefs_[-1]
    coef, intercept = drawn(check_random_state(model.random_state), [len(last), outputs], hidden[-1:], last.dtype)
    model.coefs_[-1], model.intercepts_[-1] = _grown((last, model.intercepts_[-1]), mixing, (coef[0], intercept[0]))
    for (coefs, intercepts), (_, fill) in zip(model._optimizer.slots, model._optimizer.rule.slots, strict=True):
        fresh = np.full_like(coef[0], fill), np.full_like(intercept[0], fill)
        same = np.isin(mixing, (0, 1)).all()  # else what is kept is not of the new outputs' gradients
        coefs[-1], intercepts[-1] = _grown((coefs[-1], intercepts[-1]), mixing, fresh) if same else fresh


def _mixing(known: NDArray[Any], classes: NDArray[Any], one: bool, outputs: int) -> Array:
    """What each output (column) is made of the outputs before (rows); a column of zeros is new.

    one: whether there was one output, which told the second class of two, or all others, from the first.
    """
    places = np.searchsorted(classes, known)
    if not one:
        return np.eye(outputs)[places]
    if outputs == 1:  # a second class has come to the first
        return np.array([[1.0 if places[0] == 0 else -1.0]])
    mixing = np.zeros((1, outputs))
    mixing[0, places] = [-1.0] if len(known) == 1 else [-0.5, 0.5]
    return mixing


def _grown(last: Last, mixing: Array, fresh: Last) -> Last:
    new = ~mixing.any(0)
    return tuple(np.where(new, f, (each @ mixing).astype(each.dtype)) for each, f in zip(last, fresh, strict=True))  # pyright: ignore[reportReturnType]

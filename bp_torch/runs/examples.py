"""What a run makes of its training examples: a part to validate on, and the classes that its weights name."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bp_torch.data.named import Split
from bp_torch.recipe import Recipe
from bp_torch.splitting import to_validate_on

ONE_IN = 10  # of the training examples is held out, where a run chooses by a validation cost
SHOWN = 20  # classes in a message


def held_out(data: Split, seed: int) -> tuple[Split, Split]:
    """The examples to train on, and a tenth to validate on, with about the same share of every class.

    Raises ValueError where there are too few.
    """
    apart = to_validate_on(data.y, data.classes is not None, seed, 1 / ONE_IN)
    if not apart.any():
        raise ValueError(
            f"patience holds out a tenth of the training examples, and {len(data.y)} are too few: leave it away"
        )
    train, validation = (data._replace(x=data.x[rows], y=data.y[rows]) for rows in (~apart, apart))
    return train, validation


def with_indices(recipe: Recipe, classes: Sequence[str] | None) -> Recipe:
    """The recipe as training takes it: classes that class_weight names by name are numbers.

    Where no class is itself named by a number, class_weight may give its number, from 0. Raises ValueError.
    """
    weights = recipe.class_weight
    if weights is None:
        return recipe
    if classes is None:
        raise ValueError("class_weight is for classes, and the target holds values: leave it away")
    if not isinstance(weights, Mapping):
        return recipe
    index = {name: k for k, name in enumerate(classes)}
    if not any(name.isdecimal() for name in classes):
        index |= {str(k): k for k in range(len(classes))}
    found: dict[int | str, float] = {}
    for name, weight in weights.items():
        if str(name) not in index:
            some = ", ".join(classes[:SHOWN]) + " …" * (len(classes) > SHOWN)
            raise ValueError(f"class_weight must name classes of the target, {some}, not {str(name)!r}")
        if index[str(name)] in found:
            raise ValueError(f"class_weight must name each class once, not {classes[index[str(name)]]!r} twice")
        found[index[str(name)]] = weight
    return replace(recipe, class_weight=found)

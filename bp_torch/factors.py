"""Factors of the rate and of the weight decay, for some of the parameters: {"biases": 0.1, "first": 0.5}."""

from collections.abc import Mapping

from bp_torch import checks

PARTS = ("weights", "biases", "first", "last")
"""The parameters that a factor can be of: all weights, all biases, those of the first layer, those of the last."""


def factor(factors: Mapping[str, float], layer: int, kind: int, layers: int) -> float:
    """The product of all that are of layer's w (kind 0) or b (1), of so many layers."""
    member = {"weights": kind == 0, "biases": kind == 1, "first": layer == 0, "last": layer == layers - 1}
    product = 1.0
    for part, each in factors.items():
        product *= each if member[part] else 1.0
    return product


def checked(what: str, factors: object) -> dict[str, float]:
    """`factors`, if they are names of `PARTS` with numbers of 0 or more, or the text of them, "biases:0.1,first:2"."""
    return {
        checks.one_of(f"part of {what}", part, PARTS): checks.within(f"{what} of {part}", number, 0)
        for part, number in checks.pairs(what, factors, "biases:0.1,first:2")
    }

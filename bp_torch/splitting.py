"""Which examples are set apart: about the same share of every class."""

import torch
from torch import Tensor

from bp_torch.randomness import generator

ROUNDING = 1e-9  # of a place in an order, a quotient of a share; far below one


def to_validate_on(y: Tensor, classes: bool, seed: int, share: float) -> Tensor:
    """Which examples a training is to be validated by, and not given: `set_apart` of an order drawn by the seed.

    (m,), bool, on the device of y.
    """
    order = torch.randperm(len(y), generator=generator("validation", seed), dtype=torch.int64, device="cpu")
    return set_apart(y.cpu(), classes, order, share).to(y.device)


def set_apart(y: Tensor, classes: bool, order: Tensor, share: float) -> Tensor:
    """Which examples are the part (m,), bool: this share of an order (m,), evenly, within each class if any.

    y: class indices (m,), or values, on the CPU. Each class has an example among the others; one is set apart if any
    class has two.
    """
    apart = torch.zeros(len(y), dtype=torch.bool, device="cpu")
    steps = torch.arange(len(y), dtype=torch.float64, device="cpu")
    places = ((steps + 0.5) / share + ROUNDING).long()  # of one in k: k // 2, k // 2 + k, …
    places = places[places < len(y)]
    if not classes:
        apart[order[places]] = True
        return apart
    order = order[y[order].argsort(stable=True)]
    apart[order[places]] = True
    counts = y.bincount()
    first = order[counts.cumsum(0)[counts > 0] - counts[counts > 0]]  # of each class, in the order
    apart[first[(y[apart].bincount(minlength=len(counts)) == counts)[counts > 0]]] = False
    if not apart.any():
        apart[order[(counts > 1)[y[order]]][:1]] = True
    return apart

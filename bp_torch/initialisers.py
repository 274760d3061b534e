"""INITIALISERS: how random weights and biases are drawn, one entry each. Legend: a layer of n_out neurons fed by n_in.

Each takes (n_in, n_out, generator) and gives w (n_out, n_in) and b (n_out,) in float32 on the CPU, w drawn before b, to
be converted to the network's dtype and device: so a seed means the same network everywhere.
"""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor


def _gaussian(*shape: int, rng: Generator, deviation: float = 1.0) -> Tensor:
    return deviation * torch.randn(shape, generator=rng, dtype=torch.float32, device="cpu")


def _zeros(n: int) -> Tensor:
    return torch.zeros(n, dtype=torch.float32, device="cpu")


def _normal(n_in: int, n_out: int, rng: Generator) -> tuple[Tensor, Tensor]:
    """The book's first: weights and biases from N(0, 1). Nielsen, chapter 1."""
    return _gaussian(n_out, n_in, rng=rng), _gaussian(n_out, rng=rng)


def _scaled(n_in: int, n_out: int, rng: Generator) -> tuple[Tensor, Tensor]:
    """The book's second: weights from N(0, 1/n_in), biases from N(0, 1). Nielsen, chapter 3."""
    return _gaussian(n_out, n_in, rng=rng, deviation=1 / math.sqrt(n_in)), _gaussian(n_out, rng=rng)


def _xavier(n_in: int, n_out: int, rng: Generator) -> tuple[Tensor, Tensor]:
    """Weights from N(0, 2/(n_in + n_out)), biases 0. Glorot and Bengio, 2010."""
    return _gaussian(n_out, n_in, rng=rng, deviation=math.sqrt(2 / (n_in + n_out))), _zeros(n_out)


def _he(n_in: int, n_out: int, rng: Generator) -> tuple[Tensor, Tensor]:
    """Weights from N(0, 2/n_in), biases 0. He et al., 2015."""
    return _gaussian(n_out, n_in, rng=rng, deviation=math.sqrt(2 / n_in)), _zeros(n_out)


INITIALISERS: dict[str, Callable[[int, int, Generator], tuple[Tensor, Tensor]]] = {
    "normal": _normal,
    "scaled": _scaled,
    "xavier": _xavier,
    "he": _he,
}

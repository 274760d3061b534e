"""Dropout: which neurons are left out of a step, by a generator that has no state.

A neuron's activation is multiplied by 0 with probability p, and else by 1 / (1 − p), so that its mean stays what it was
(inverted dropout). With this mask M, z = w (M ⊙ a) + b and δˡ = ((wˡ⁺¹)ᵀ δˡ⁺¹) ⊙ M ⊙ σ′(zˡ).

Source: N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting" (2014). There p is the
probability to stay, and w is scaled after training instead.

Each element's random number is a function of its place and of a key of its own batch and layer. So any engine, any
number of threads and a run that goes on in the midst of an epoch drop the same neurons.
"""

import torch
from torch import Tensor

from bp_torch.randomness import generator

KEYS = 3  # numbers a layer and step: two keys, and the threshold below which an element is dropped


def keys_table(steps: int, rates: tuple[float, ...], seed: int, epoch: int) -> Tensor:
    """For each step of an epoch, for each layer that drops, `KEYS` numbers: (steps, KEYS · layers), int32, on the CPU.

    rates: p of what enters each layer, from 0 to below 1.
    """
    dropping = [rate for rate in rates if rate]
    if not dropping:
        return torch.zeros(steps, 0, dtype=torch.int32, device="cpu")
    shape = steps, len(dropping), 2
    keys = torch.randint(
        -(2**31), 2**31, shape, generator=generator("dropout", seed, epoch), dtype=torch.int64, device="cpu"
    )
    below = [min(round(rate * 2**32), 2**32 - 1) - 2**31 for rate in dropping]
    thresholds = torch.tensor(below, dtype=torch.int64, device="cpu")
    return torch.cat([keys, thresholds.view(1, -1, 1).expand(steps, -1, 1)], 2).flatten(1).to(torch.int32)


def mask(rows: int, columns: int, keys: tuple[Tensor, ...], scale: Tensor, first: int = 0) -> Tensor:
    """0 or `scale`, which is 1 / (1 − p), for each activation of a batch: (rows, columns).

    keys: the layer's, of this step, 0-D int32. first: the batch's rows before these.
    """
    place = torch.arange(first * columns, (first + rows) * columns, dtype=torch.int32, device=scale.device)
    return mask_at(place.view(rows, columns), keys, scale)


def mask_at(place: Tensor, keys: tuple[Tensor, ...], scale: Tensor) -> Tensor:
    """The same for some activations alone, by their places in the whole batch, row by row: int32, of any shape."""
    first_key, second_key, threshold = keys
    random = _mixed(_mixed(place ^ first_key) ^ second_key)
    return (random >= threshold) * scale


def _mixed(h: Tensor) -> Tensor:
    """32 bits, each of which depends on all those of h: int32 to int32, one to one.

    The finaliser of two multiplications with the least bias that C. Wellons found, "Prospecting for Hash Functions"
    (2018). A shift of int32 brings in copies of the sign, which are cut off.
    """
    h = (h ^ (h >> 16 & 0xFFFF)) * 0x7FEB352D
    h = (h ^ (h >> 15 & 0x1FFFF)) * (0x846CA68B - 2**32)
    return h ^ (h >> 16 & 0xFFFF)

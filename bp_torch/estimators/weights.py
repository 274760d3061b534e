"""coefs_ and intercepts_, as scikit-learn has them, and the network they are: w of a layer is coef transposed."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from bp_torch.activations import Activation
from bp_torch.estimators.examples import tensor_of
from bp_torch.trace import Layer
from bp_torch.training.flat import FEW
from bp_torch.vector import layers_in

Array = NDArray[np.floating]
Arrays = list[Array]

DTYPES = {np.dtype(np.float32): torch.float32, np.dtype(np.float64): torch.float64}

NOTHING = 1e-30  # of the largest weight of an example: what stands for 0, which training leaves out of its batches


def drawn(
    random_state: np.random.RandomState, sizes: Sequence[int], activations: Sequence[Activation], dtype: np.dtype
) -> tuple[Arrays, Arrays]:
    """Random coefs (n_in, n_out) and intercepts (n_out,) of each layer, by the very draws of scikit-learn's MLP.

    activations: one a hidden layer. Source: X. Glorot and Y. Bengio, "Understanding the difficulty of training deep
    feedforward neural networks" (2010): uniform up to √(6 / (n_in + n_out)), of sigmoid neurons √(2 / (n_in + n_out)).
    """
    coefs, intercepts = [], []
    for l, (n_in, n_out) in enumerate(pairwise(sizes)):
        sigmoid = bool(activations) and activations[min(l, len(activations) - 1)].name == "sigmoid"
        bound = np.sqrt((2.0 if sigmoid else 6.0) / (n_in + n_out))
        coefs.append(random_state.uniform(-bound, bound, (n_in, n_out)).astype(dtype, copy=False))
        intercepts.append(random_state.uniform(-bound, bound, n_out).astype(dtype, copy=False))
    return coefs, intercepts


def layers_of(
    coefs: Sequence[Array], intercepts: Sequence[Array], dtype: torch.dtype, device: torch.device
) -> tuple[Layer, ...]:
    """The arrays as tensors in torch's own, aligned memory, w (n_out, n_in) by rows."""
    return tuple(
        Layer(*(tensor_of(each, dtype, device).clone(memory_format=torch.contiguous_format) for each in layer))
        for layer in (
            (np.asarray(coef).T, np.asarray(intercept)) for coef, intercept in zip(coefs, intercepts, strict=True)
        )
    )


def together(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The layers in one vector, if they are small: their rule then changes them at once (see `training.flat`)."""
    tensors = [t for layer in layers for t in layer]
    if sum(t.numel() for t in tensors) > FEW:
        return layers
    return layers_in(torch.cat([t.flatten() for t in tensors]), layers)


def arrays_of(layers: Sequence[Layer]) -> tuple[Arrays, Arrays]:
    """coefs and intercepts of these layers: on the CPU views of the tensors, which follow what training changes."""
    return [w.cpu().numpy().T for w, _ in layers], [b.cpu().numpy() for _, b in layers]

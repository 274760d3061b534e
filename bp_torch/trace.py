"""What passes between the passes: the parameters of a layer, and what a forward and a backward pass computed."""

from typing import NamedTuple

from torch import Tensor


class Layer(NamedTuple):
    """The parameters of one layer: w (…, n_out, n_in) and b (…, n_out). Gradients are of this type too."""

    w: Tensor
    b: Tensor


def _into(self: "Trace | BackpropTrace", l: int) -> Tensor:
    """What entered layer l (…, m, n_l)."""
    return self.entered[l] if self.entered else self.a[l]


class Trace(NamedTuple):
    """What a forward pass computed.

    a[l] (…, m, n_l) enters layer l: a[0] is x, a[-1] the output. z[l] (…, m, n_l+1) is layer l's weighted input.
    masks: with dropout, what a[l] is multiplied by before it enters layer l, or None; empty without. entered: then
    these products. σ′ is of a itself, and BP4 takes what entered the layer: `into(l)`, with dropout and without.
    """

    a: tuple[Tensor, ...]
    z: tuple[Tensor, ...]
    masks: tuple[Tensor | None, ...] = ()
    entered: tuple[Tensor, ...] = ()

    into = _into

    def __repr__(self) -> str:
        return _of_shapes(self)


class BackpropTrace(NamedTuple):
    """What a forward and a backward pass computed: a and z as in `Trace`, and the backward pass.

    delta[l] (…, m, n_l+1) is layer l's error ∂C_x/∂z, one example a row and free of m. cost is C, 0-D (one a network
    for a stack). masks, entered: as in `Trace`.
    """

    a: tuple[Tensor, ...]
    z: tuple[Tensor, ...]
    delta: tuple[Tensor, ...]
    cost: Tensor
    masks: tuple[Tensor | None, ...] = ()
    entered: tuple[Tensor, ...] = ()

    into = _into

    def __repr__(self) -> str:
        return _of_shapes(self)


def _of_shapes(trace: Trace | BackpropTrace) -> str:
    """Its tensors by their shapes; a single number as it is."""
    parts = []
    for name, value in trace._asdict().items():
        if name in ("masks", "entered") and not value:
            continue
        tensors = [t for t in (value if isinstance(value, tuple) else (value,)) if t is not None]
        parts.append(" ".join([name, *(str(tuple(t.shape)) if t.ndim else f"{t.item():.4g}" for t in tensors)]))
    return f"<{type(trace).__name__}: {'; '.join(parts)}>"

"""Other ways back than BP2: fixed random matrices in the place of wᵀ, and the angle of their errors to the true ones.

Each rule is a `Feedback`, to be passed to `bp_torch.network.errors` or `bp_torch.training.step.step`. Both are BP2
with something exchanged: feedback alignment takes another matrix for w, direct feedback alignment also takes δᴸ for the
δ of the layer above. Nothing carries the errors' true slopes any more, and the networks learn all the same.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from bp_torch import checks
from bp_torch.equations import hidden_error
from bp_torch.given import Given
from bp_torch.network import Network, backprop
from bp_torch.passes import Feedback, errors, multiplications
from bp_torch.randomness import generator
from bp_torch.threads import by_size


def feedback_alignment(net: Network, *, seed: int = 0, matrices: Mapping[int, Tensor] | None = None) -> Feedback:
    """δˡ = (B δˡ⁺¹) ⊙ σ′(zˡ), with a fixed random B for each layer's wᵀ.

    matrices: by layer l = 1 … L−1, what stands for its w, in its shape (n_l+1, n_l); with w itself the rule is BP2.
    Left out, they are drawn by `seed` from N(0, 1/n_l+1). Raises ValueError where one is missing or doesn't fit.
    Source: T. Lillicrap et al., "Random synaptic feedback weights support error backpropagation for deep learning"
    (2016).
    """
    fixed = _matrices(net, "feedback alignment", list(net.sizes[2:]), seed, matrices)
    return lambda l, delta, top, sigma_prime: hidden_error(fixed[l], delta, sigma_prime)


def direct_feedback_alignment(net: Network, *, seed: int = 0, matrices: Mapping[int, Tensor] | None = None) -> Feedback:
    """δˡ = (B δᴸ) ⊙ σ′(zˡ), with a fixed random B from the outputs straight to each layer.

    matrices: by layer l = 1 … L−1, (n_L, n_l). Left out, they are drawn by `seed` from N(0, 1/n_L). Raises ValueError
    where one is missing or doesn't fit.
    Source: A. Nøkland, "Direct feedback alignment provides learning in deep neural networks" (2016).
    """
    outputs = [net.sizes[-1]] * (len(net.layers) - 1)
    fixed = _matrices(net, "direct feedback alignment", outputs, seed, matrices)
    return lambda l, delta, top, sigma_prime: hidden_error(fixed[l], top, sigma_prime)


@torch.no_grad()
@by_size(multiplications)
def angles(net: Network, x: Given, y: Given, feedback: Feedback) -> list[float]:
    """The angle in degrees between each hidden layer's error by `feedback` and by BP2: its mean over the examples.

    x (m, n_0), y class indices (m,) or a matrix (m, n_L) -> one number a hidden layer, first layer first: 0 is BP2's
    own direction, 90 knows nothing of it; below 90 a small step still descends. An example one of whose two errors is
    zero has no angle and is left out; NaN where none is left.
    """
    trace = backprop(net, x, y)
    by_rule = dict(errors(net, trace, trace.delta[-1], feedback))
    degrees = []
    for l, delta in enumerate(trace.delta[:-1]):
        cosine = torch.cosine_similarity(by_rule[l].double(), delta.double(), dim=-1, eps=1e-300)
        both = (by_rule[l] != 0).any(-1) & (delta != 0).any(-1)
        degrees.append(math.degrees(cosine[both].clamp(-1, 1).acos().mean()))
    return degrees


def _matrices(
    net: Network, rule: str, rows: list[int], seed: int, given: Mapping[int, Tensor] | None
) -> Mapping[int, Tensor]:
    """By layer, a matrix of so many rows and of as many columns as the layer has inputs: given, or drawn."""
    like = net.layers[0].w
    if like.ndim != 2:
        raise ValueError(f"{rule} takes one network at a time, not a stack")
    shapes = {l: (n, net.sizes[l]) for l, n in enumerate(rows, start=1)}
    if given is None:
        rng = generator(rule, checks.seed(seed))
        drawn = {l: torch.randn(shape, generator=rng, dtype=torch.float32, device="cpu") for l, shape in shapes.items()}
        return {l: (b / math.sqrt(len(b))).to(like) for l, b in drawn.items()}
    if set(given) != set(shapes):
        raise ValueError(f"{rule} needs a matrix for each of the layers {list(shapes)}, and got {sorted(given)}")
    for l, shape in shapes.items():
        b = given[l]
        if b.shape != shape or b.dtype != like.dtype or b.device != like.device:
            raise ValueError(
                f"{rule}: the matrix of layer {l} must be {shape}, {like.dtype}, on {like.device}, "
                f"not {tuple(b.shape)}, {b.dtype}, on {b.device}"
            )
    return given

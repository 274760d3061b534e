"""How fast a network's parts learn: the size of ∂C/∂b layer by layer, and of ∂C/∂w by what it is a product of."""

from typing import NamedTuple

import torch
from torch import Tensor

from bp_torch import checks, sparse
from bp_torch.equations import bias_gradient
from bp_torch.given import Given
from bp_torch.network import Network, backprop
from bp_torch.passes import multiplications
from bp_torch.threads import by_size


class ErrorNorms(NamedTuple):
    """How large the error of each hidden layer is, first layer first.

    of_mean: ‖δˡ‖ of the mean error over the examples, which is ‖∂C/∂b‖ (BP3). The book takes it for the speed at which
    the layer learns. of_examples: the mean over the examples of each one's own ‖δˡ_x‖; it is the larger one, by as much
    as the examples' errors cancel.
    """

    of_mean: list[float]
    of_examples: list[float]


@torch.no_grad()
@by_size(multiplications)
def error_norms(net: Network, x: Given, y: Given) -> ErrorNorms:
    """The size of each hidden layer's error for the examples x (m, n_0), y class indices (m,) or a matrix (m, n_L).

    Source: M. Nielsen, *Neural Networks and Deep Learning* (2015), chapter 5, "The vanishing gradient problem".
    """
    hidden = backprop(net, x, y).delta[:-1]
    return ErrorNorms(
        [bias_gradient(delta).norm().item() for delta in hidden], [delta.norm(dim=-1).mean().item() for delta in hidden]
    )


class Slopes(NamedTuple):
    """|∂C_x/∂w_jk| of one layer, by the weight's input and by its output neuron.

    mean[p, q] is its mean over all pairs of an example and a weight whose input |a_k| lies between inputs[p] and
    inputs[p + 1] and whose neuron's σ′(z_j) lies between primes[q] and primes[q + 1], both (bins + 1,); NaN where no
    pair lies. pairs[p, q] is how many do.
    """

    inputs: Tensor
    primes: Tensor
    mean: Tensor
    pairs: Tensor


@torch.no_grad()
@by_size(multiplications)
def slopes(net: Network, x: Given, y: Given, layer: int, *, bins: int = 10) -> Slopes:
    """How |∂C_x/∂w_jk| = |a_k| |δ_j| (BP4 for one example) depends on a_k and on σ′(z_j), in a layer of the network.

    x (m, n_0), y class indices (m,) or a matrix (m, n_L); layer from 0. The cells are of equal width, from 0 to the
    largest |a| and σ′ met. The sum over a cell's pairs is Σ_x (Σ_k |a_k|) (Σ_j |δ_j|), so nothing of the size of
    examples × weights is ever made. Raises ValueError for a layer that isn't there and for a stack.
    """
    if net.layers[0].w.ndim != 2:
        raise ValueError("slopes takes one network at a time, not a stack")
    if checks.whole("layer", layer, 0) >= len(net.layers):
        raise ValueError(f"layer must be from 0 to {len(net.layers) - 1} for {len(net.layers)} layers, not {layer}")
    bins = checks.whole("bins", bins, 1)
    trace = backprop(net, x, y)
    if sparse.is_sparse(trace.a[layer]):
        raise ValueError("slopes of layer 0 counts the zeros of x too, and this x is sparse: give some rows dense")
    a = trace.a[layer].double().abs()
    prime = net.activations[layer].derivative(trace.z[layer], trace.a[layer + 1]).double().abs()
    inputs, primes = (
        torch.linspace(0, t.max().item() or 1.0, bins + 1, dtype=t.dtype, device="cpu") for t in (a, prime)
    )
    of_a, of_prime = _cells(a, inputs), _cells(prime, primes)
    pairs = of_a.sum(1).T @ of_prime.sum(1)
    total = (of_a * a.unsqueeze(-1)).sum(1).T @ (of_prime * trace.delta[layer].double().abs().unsqueeze(-1)).sum(1)
    return Slopes(inputs, primes, total / pairs, pairs)


def _cells(values: Tensor, edges: Tensor) -> Tensor:
    """Which cell each value (m, n) lies in, as ones and zeros (m, n, bins)."""
    bins = len(edges) - 1
    index = torch.bucketize(values, edges[1:-1].to(values.device), right=True)
    return (index.unsqueeze(-1) == torch.arange(bins, dtype=torch.int64, device=values.device)).to(values.dtype)

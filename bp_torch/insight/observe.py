"""A network looked at while it learns: norms and histograms over a probe, and single examples, layer by layer."""

import math
from functools import cache

import torch
from torch import Tensor

from bp_torch import checks
from bp_torch.activations import SOFTMAX, Activation
from bp_torch.equations import bias_gradient, weight_gradient
from bp_torch.given import Given
from bp_torch.labels import class_labels
from bp_torch.network import Network, backprop

BINS = 20  # of a histogram
EXTREME = 10.0  # the weighted inputs that span a histogram run from −EXTREME to EXTREME
FOLLOWED = 10  # examples
MOST_WEIGHTS = 3000  # that are kept of the layers above the first, so that BP2 can be followed
MOST_NEURONS = 320  # whose values are kept for every followed example, over all layers: 4 kB each in a run of 30 epochs


@torch.no_grad()
def observe(net: Network, probe: tuple[Given, Given], followed: tuple[Given, Given]) -> dict[str, Tensor]:
    """What one forward and one backward pass over the probe, and one over the followed examples, show.

    probe, followed: pairs (x, y), x (m, n_0), y class indices (m,) or a matrix (m, n_L). Returns, on the CPU in
    float32, for L layers:

    over the probe
        cost (): C
        error_norm (L,): the mean over the examples of ‖δˡ_x‖
        weight_gradient_norm, bias_gradient_norm (L,): ‖∂C/∂wˡ‖ (Frobenius) and ‖∂C/∂bˡ‖ of the mean over the examples
        activation_counts, slope_counts (L, BINS): histograms of a and σ′(z) between the bounds that `bounds` gives,
            what lies outside counted in the bin at the edge; zeros where there is no σ′ (softmax)

    over the followed examples, for each layer l, of its first kept[l] neurons: see `kept_neurons`
        a.l, slope.l, delta.l (m, kept[l]): activation, σ′(z) (NaN for softmax) and error
        followed_cost (m,): C_x

    w.l (n_out, n_in): the weights of the layers that `kept_weights` names

    Raises ValueError for a wrong shape, dtype, device or label.
    """
    norms: dict[str, list[Tensor]] = {name: [] for name in ("error_norm", "weight_gradient_norm", "bias_gradient_norm")}
    counts: dict[str, list[Tensor]] = {"activation_counts": [], "slope_counts": []}
    trace = backprop(net, *probe)
    for l, (activation, delta) in enumerate(zip(net.activations, trace.delta, strict=True)):
        norms["error_norm"].append(delta.norm(dim=1).mean())
        norms["weight_gradient_norm"].append(weight_gradient(delta, trace.a[l]).norm())
        norms["bias_gradient_norm"].append(bias_gradient(delta).norm())
        of_a, of_slope = bounds(activation)
        counts["activation_counts"].append(_histogram(trace.a[l + 1], of_a))
        slope = _slope(activation, trace.z[l], trace.a[l + 1])
        counts["slope_counts"].append(
            torch.zeros(BINS, dtype=torch.float32, device="cpu") if slope is None else _histogram(slope, of_slope)
        )
    observed = {name: torch.stack(values).float().cpu() for name, values in (norms | counts).items()}
    observed["cost"] = trace.cost.float().cpu()

    trace = backprop(net, *followed)
    for l, (activation, count) in enumerate(zip(net.activations, kept_neurons(net.sizes), strict=True)):
        slope = _slope(activation, trace.z[l], trace.a[l + 1])
        values = {"a": trace.a[l + 1], "slope": slope, "delta": trace.delta[l]}
        for name, value in values.items():
            value = torch.full_like(trace.a[l + 1], torch.nan) if value is None else value
            observed[f"{name}.{l}"] = value[:, :count].float().cpu().clone()
    y = checks.targets(followed[1], trace.a[0], net.sizes[-1], net.layers[0].w)
    for l in kept_weights(net.sizes):
        observed[f"w.{l}"] = net.layers[l].w.float().cpu().clone()
    observed["followed_cost"] = net.cost_function.value(trace.z[-1], trace.a[-1], y).float().cpu()
    return observed


@cache
def bounds(activation: Activation) -> tuple[tuple[float, float], tuple[float, float]]:
    """The ranges of the histograms of a and of σ′: what z from −10 to 10 gives, to two places, with 0 inside."""
    z = torch.linspace(-EXTREME, EXTREME, 401, dtype=torch.float64, device="cpu").unsqueeze(1)
    a = activation.f(z)
    slope = _slope(activation, z, a)
    return _range(a), _range(a if slope is None else slope)


def kept_neurons(sizes: list[int], most: int = MOST_NEURONS) -> list[int]:
    """How many of each layer's neurons are kept for the followed examples: all, or so many that `most` are in all."""
    limit = most
    while limit > 1 and sum(min(limit, size) for size in sizes[1:]) > most:
        limit -= 1
    return [min(size, limit) for size in sizes[1:]]


def kept_weights(sizes: list[int], most: int = MOST_WEIGHTS) -> list[int]:
    """The layers above the first whose w is kept: the last ones, where it is small and all of its neurons are kept."""
    counts, layers, total = kept_neurons(sizes), [], 0
    for l in range(len(sizes) - 2, 0, -1):
        total += sizes[l + 1] * sizes[l]
        if total > most or counts[l] < sizes[l + 1] or counts[l - 1] < sizes[l]:
            break
        layers.append(l)
    return layers


def examples_to_follow(y: Tensor) -> Tensor:
    """The indices (at most 10,) of the examples to follow: the first of each class; the first ones of real targets."""
    labels = class_labels(y)
    if labels is None:
        return torch.arange(min(FOLLOWED, len(y)), dtype=torch.int64, device="cpu")
    classes = labels.unique()[:FOLLOWED]
    return torch.stack([(labels == c).nonzero()[0, 0] for c in classes]).cpu()


def spread(count: int, most: int) -> Tensor:
    """At most `most` indices, evenly spread over `count` examples, so that a sorted set is seen as a whole."""
    return torch.linspace(0, count - 1, min(count, most), dtype=torch.float64, device="cpu").round().long()


def epochs_to_keep(epochs: int, most: int = 31) -> set[int]:
    """The epochs to look at the network after, 0 (before training) and the last among them: all, or closer early on."""
    if epochs < most:
        return set(range(epochs + 1))
    spaced = torch.logspace(0, math.log10(epochs), most - 1, dtype=torch.float64, device="cpu")
    return {0, epochs, *spaced.round().long().tolist()}


def _slope(activation: Activation, z: Tensor, a: Tensor) -> Tensor | None:
    return None if activation == SOFTMAX else activation.derivative(z, a)


def _histogram(values: Tensor, between: tuple[float, float]) -> Tensor:
    low, high = between
    return torch.histc(values.float().clamp(low, high), BINS, low, high).cpu()


def _range(values: Tensor) -> tuple[float, float]:
    low, high = min(0.0, round(values.min().item(), 2)), round(values.max().item(), 2)
    return low, high if high > low else low + 1.0

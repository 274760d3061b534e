"""The experiments that need no data: what a backward pass costs, the big picture, and a single saturated neuron."""

import math
import statistics
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from bp_torch.insight.big_picture import cost_changes
from bp_torch.insight.check import path_gradients
from bp_torch.insight.experiments import figures
from bp_torch.insight.experiments.figures import Result
from bp_torch.insight.speed import times
from bp_torch.network import Network
from bp_torch.randomness import generator
from bp_torch.state import State
from bp_torch.threads import threads
from bp_torch.training.loop import train
from bp_torch.training.step import Batch, step


def speed_of_backprop(seed: int, *, decades: Sequence[float] = (2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7)) -> Result:
    """What all partial derivatives cost by a backward pass, and by one forward pass for each weight."""
    rows, m = [], 10
    for decade in decades:
        n = round(math.sqrt(10**decade / 2))
        net = Network.create([n, n, n], seed=seed)
        rng = generator("speed-of-backprop", seed)
        x, y = (torch.rand(m, n, generator=rng, dtype=torch.float32, device="cpu") for _ in "xy")
        descend = partial(step, State(net.to(x.dtype)), Batch(x, y, x.new_ones(m)), (x.new_tensor(-1e-6 / m),))
        with threads(1):
            measured = times(net, x, y, descend, seconds=1.5, seed=seed)
        rows.append(
            {
                "sizes": net.sizes,
                **measured._asdict(),
                "extrapolated": measured.differenced < measured.weights,
                "backward_to_forward": measured.both / measured.forward - 1,
                "differences_to_both": measured.differences / measured.both,
            }
        )
    ratios, most = [row["backward_to_forward"] for row in rows], rows[-1]
    numbers = {
        "batch_size": m,
        "dtype": "float32",
        "threads": 1,
        "torch": torch.__version__,
        "unit": "seconds",
        "rows": rows,
    }
    return Result(
        numbers,
        figures.speed_of_backprop(numbers),
        f"The backward pass takes {min(ratios):.1f} to {max(ratios):.1f} times as long as the forward pass (median "
        f"{statistics.median(ratios):.1f}). With {most['weights']:,} weights both take {most['both']:.2g} s, and a "
        f"difference for every weight {most['differences'] / 3600:.3g} hours"
        f"{' (extrapolated)' if most['extrapolated'] else ''}, {most['differences_to_both']:,.0f} times as long.",
    )


def big_picture(seed: int, *, sizes: Sequence[int] = (4, 6, 5, 3), examples: int = 5) -> Result:
    """ΔC ≈ (∂C/∂w) Δw as Δw shrinks, for every weight of a small network; and ∂C/∂w as a sum over paths."""
    double = Network.create(sizes, seed=seed, dtype=torch.float64)
    rng = generator("big-picture", seed)
    x = torch.rand(examples, sizes[0], generator=rng, dtype=torch.float64, device="cpu")
    y = torch.randint(sizes[-1], (examples,), generator=rng, dtype=torch.int64, device="cpu")
    steps = [10 ** (-n / 4) for n in range(33)]
    weights = [
        (l, j, k)
        for l, layer in enumerate(double.layers)
        for j in range(layer.w.shape[0])
        for k in range(layer.w.shape[1])
    ]
    errors, one_weight = {}, {}
    for dtype in (torch.float32, torch.float64):
        net = double.to(dtype)
        changes = [cost_changes(net, x.to(dtype), y, weight, steps) for weight in weights]
        relative = [
            [abs(true - predicted) / abs(predicted) for predicted, true in zip(*change, strict=True)]
            for change in changes
        ]
        name = str(dtype).removeprefix("torch.")
        errors[name] = [_quantiles(at_step) for at_step in zip(*relative, strict=True)]
        largest = max(range(len(weights)), key=lambda i: abs(changes[i].predicted[0]))
        one_weight[name] = {"weight": weights[largest], **changes[largest]._asdict()}
    by_path, by_sweep = (
        torch.cat([t.flatten() for layer in layers for t in layer])
        for layers in (path_gradients(double, x, y), double.gradients(x, y))
    )
    paths_error = ((by_path - by_sweep).norm() / by_sweep.norm()).item()
    numbers = {
        "sizes": double.sizes,
        "steps": steps,
        "one_weight": one_weight,
        "relative_errors_10_50_90_percent": errors,
        "path_sums": by_path.tolist(),
        "gradients": by_sweep.tolist(),
        "path_sums_relative_error": paths_error,
    }
    best = {name: min(range(len(steps)), key=lambda i, rows=rows: rows[i][1]) for name, rows in errors.items()}
    return Result(
        numbers,
        figures.big_picture(numbers),
        "The prediction's error shrinks with Δw until rounding takes over: at best it is "
        + " and ".join(f"{errors[name][i][1]:.0e} at Δw = {steps[i]:.0e} in {name}" for name, i in best.items())
        + f" (median of {len(weights)} weights). Sums over paths and gradients differ by {paths_error:.0e}.",
    )


def _quantiles(values: Sequence[float]) -> list[float]:
    """What 10, 50 and 90 % of the values lie below."""
    tenths = statistics.quantiles(values, n=10)
    return [tenths[0], tenths[4], tenths[8]]


def saturation(seed: int, *, epochs: int = 300) -> Result:
    """One neuron that has to turn 1 into 0, from a good start and from a saturated one. Nielsen, chapter 3."""
    curves = []
    for cost, lr in (("quadratic", 0.15), ("binary_cross_entropy", 0.005)):
        for w, b in ((0.6, 0.9), (2.0, 2.0)):
            net = Network.create([1, 1], cost=cost, dtype=torch.float64)
            net.layers[0].w.fill_(w)
            net.layers[0].b.fill_(b)
            x, y = (torch.full((1, 1), value, dtype=torch.float64, device="cpu") for value in (1.0, 0.0))
            states = [_neuron(net, x, y)]
            for _ in train(net, (x, y), epochs=epochs, batch_size=1, lr=lr, seed=seed, engine="eager"):
                states.append(_neuron(net, x, y))
            costs, outputs, rates = map(list, zip(*states, strict=True))
            curves.append(
                {
                    "cost": cost,
                    "lr": lr,
                    "start": [w, b],
                    "costs": costs,
                    "outputs": outputs,
                    "slopes": rates,
                    "first_to_fastest": rates[0] / max(rates),
                    "fastest_epoch": rates.index(max(rates)),
                }
            )
    good, slow, other, quick = curves
    numbers = {"epochs": epochs, "curves": curves}
    return Result(
        numbers,
        figures.saturation(numbers),
        f"From w = b = 2, ∂C/∂w by the quadratic cost is at first {slow['first_to_fastest']:.0%} of its largest, that "
        f"of epoch {slow['fastest_epoch']}; by the cross-entropy {quick['first_to_fastest']:.0%}. The output after "
        f"{epochs} epochs is {slow['outputs'][-1]:.2f} by the quadratic cost ({good['outputs'][-1]:.2f} from the good "
        f"start), {quick['outputs'][-1]:.2f} by the cross-entropy ({other['outputs'][-1]:.2f}).",
    )


def _neuron(net: Network, x: Tensor, y: Tensor) -> tuple[float, float, float]:
    """The cost, the output and ∂C/∂w of a network that is one neuron."""
    return net.cost(x, y).item(), net.forward(x).a[-1].item(), net.gradients(x, y)[0].w.item()

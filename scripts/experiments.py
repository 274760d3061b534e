"""Runs an experiment of the chapter's, and ends in a picture and its numbers: NAME.png and NAME.json.

Each takes less than two minutes on two cores of a CPU, and comes to the same numbers for the same seed (times aside).
"""

import argparse
import json
import math
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import common
import pictures
import torch
from matplotlib.figure import Figure
from torch import Tensor

import bp_torch as bp
from bp_torch import checks
from bp_torch.insight import feedback as ways_back
from bp_torch.insight.big_picture import cost_changes
from bp_torch.insight.check import path_gradients
from bp_torch.insight.learning_speed import error_norms, slopes
from bp_torch.insight.speed import times
from bp_torch.network import Feedback
from bp_torch.randomness import generator
from bp_torch.training.batches import chunks, shuffled
from bp_torch.training.engines.common import threads
from bp_torch.training.step import rate_of, sgd_step

EXAMPLE = """examples:
  python scripts/experiments.py vanishing
  python scripts/experiments.py feedback --seed 1 --out /tmp/mine
  python scripts/experiments.py all
"""
LR = 0.1  # where the chapter gives none


class Data(NamedTuple):
    """A data set by name, as float32 on the CPU: training and test examples, each (x, y)."""

    name: str
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]

    @property
    def inputs(self) -> int:
        return self.train[0].shape[1]

    def epochs(self, of_mnist: int) -> int:
        """As many as on MNIST; five times as many on the digits, where an epoch has a fortieth of the steps."""
        return of_mnist if self.name == "mnist" else 5 * of_mnist


class Found(NamedTuple):
    """What an experiment came to: its numbers, for JSON; its picture; and a sentence or two."""

    numbers: dict[str, Any]
    picture: Figure
    says: str


def speed_of_backprop(seed: int, *, decades: Sequence[float] = (2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7)) -> Found:
    """What all partial derivatives cost by a backward pass, and by one forward pass for each weight."""
    rows, m = [], 10
    for decade in decades:
        n = round(math.sqrt(10**decade / 2))
        net = bp.Network.create([n, n, n], seed=seed)
        rng = generator("speed-of-backprop", seed)
        x, y = torch.rand(m, n, generator=rng), torch.rand(m, n, generator=rng)
        step = partial(sgd_step, net.to(x.dtype), x, y, rate_of(1e-6, m, like=y))
        with threads(1):
            found = times(net, x, y, step, seconds=1.5, seed=seed)
        rows.append(
            {
                "sizes": net.sizes,
                **found._asdict(),
                "extrapolated": found.differenced < found.weights,
                "backward_to_forward": found.both / found.forward - 1,
                "differences_to_both": found.differences / found.both,
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
    return Found(
        numbers,
        pictures.speed_of_backprop(numbers),
        f"The backward pass takes {min(ratios):.1f} to {max(ratios):.1f} times as long as the forward pass (median "
        f"{statistics.median(ratios):.1f}). With {most['weights']:,} weights both take {most['both']:.2g} s, and a "
        f"difference for every weight {most['differences'] / 3600:.3g} hours"
        f"{' (extrapolated)' if most['extrapolated'] else ''}, {most['differences_to_both']:,.0f} times as long.",
    )


def big_picture(seed: int, *, sizes: Sequence[int] = (4, 6, 5, 3), examples: int = 5) -> Found:
    """ΔC ≈ (∂C/∂w) Δw as Δw shrinks, for every weight of a small network; and ∂C/∂w as a sum over paths."""
    double = bp.Network.create(sizes, seed=seed, dtype=torch.float64)
    rng = generator("big-picture", seed)
    x = torch.rand(examples, sizes[0], generator=rng, dtype=torch.float64)
    y = torch.randint(sizes[-1], (examples,), generator=rng)
    steps = [10 ** (-n / 4) for n in range(33)]
    weights = [
        (l, j, k)
        for l, layer in enumerate(double.layers)
        for j in range(layer.w.shape[0])
        for k in range(layer.w.shape[1])
    ]
    errors, shown = {}, {}
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
        shown[name] = {"weight": weights[largest], **changes[largest]._asdict()}
    by_path, by_sweep = (
        torch.cat([t.flatten() for layer in layers for t in layer])
        for layers in (path_gradients(double, x, y), double.gradients(x, y))
    )
    paths_error = ((by_path - by_sweep).norm() / by_sweep.norm()).item()
    numbers = {
        "sizes": double.sizes,
        "steps": steps,
        "one_weight": shown,
        "relative_errors_10_50_90_percent": errors,
        "path_sums": by_path.tolist(),
        "gradients": by_sweep.tolist(),
        "path_sums_relative_error": paths_error,
    }
    best = {name: min(range(len(steps)), key=lambda i, rows=rows: rows[i][1]) for name, rows in errors.items()}
    return Found(
        numbers,
        pictures.big_picture(numbers),
        "The prediction's error shrinks with Δw until rounding takes over: at best it is "
        + " and ".join(f"{errors[name][i][1]:.0e} at Δw = {steps[i]:.0e} in {name}" for name, i in best.items())
        + f" (median of {len(weights)} weights). Sums over paths and gradients differ by {paths_error:.0e}.",
    )


def slow_learning(seed: int, data: Data, *, epochs: int = 5, examples: int = 2000) -> Found:
    """|∂C_x/∂w| in a trained network against what it is a product of: statement 10 of docs/chapter.md."""
    net = bp.Network.create([data.inputs, 30, 10], seed=seed)
    for _ in bp.train(net, data.train, epochs=data.epochs(epochs), seed=seed):
        pass
    x, y = (part[:examples] for part in data.train)
    layers = []
    for l in range(len(net.layers)):
        found = slopes(net, x, y, l)
        mean, pairs = found.mean, found.pairs
        whole = (mean.nan_to_num() * pairs).sum() / pairs.sum()
        by_input, by_prime = (((mean.nan_to_num() * pairs).sum(over) / pairs.sum(over)).tolist() for over in (1, 0))
        layers.append(
            {
                "inputs": found.inputs.tolist(),
                "primes": found.primes.tolist(),
                "mean_slope": [[None if math.isnan(v) else v for v in row] for row in mean.tolist()],
                "pairs": pairs.long().tolist(),
                "mean_of_all": whole.item(),
                "active_to_inactive": by_input[-1] / by_input[0],
                "free_to_saturated": by_prime[-1] / by_prime[0],
                "both": (mean[-1, -1] / mean[0, 0]).item(),
            }
        )
    numbers = {
        "sizes": net.sizes,
        "cost": net.cost_function.name,
        "epochs": data.epochs(epochs),
        "accuracy": net.accuracy(*data.test),
        "examples": len(x),
        "layers": layers,
    }
    lines = [
        f"layer {l}: {layer['active_to_inactive']:.0f} times as large from the most active inputs as from the least, "
        f"{layer['free_to_saturated']:.0f} times as large into the least saturated neurons as into the most"
        for l, layer in enumerate(layers)
    ]
    return Found(numbers, pictures.slow_learning(numbers), f"|∂C/∂w| is, in {'; in '.join(lines)}.")


BOOK = {2: [0.07, 0.31], 3: [0.012, 0.060, 0.283], 4: [0.003, 0.017, 0.070, 0.285]}
"""‖δˡ‖ before training by hidden layers of 30. Nielsen, chapter 5, "The vanishing gradient problem"."""


def vanishing(
    seed: int, data: Data, *, epochs: int = 500, networks: int = 40, depths: Sequence[int] = (1, 2, 3, 4, 5)
) -> Found:
    """‖δˡ‖ by hidden layer: of many networks before training, and of one while it trains on 1000 images."""
    x, y = (part[:1000] for part in data.train)
    rows, ratios = [], []
    for depth in depths:
        sizes = [data.inputs, *[30] * depth, 10]
        create = partial(bp.Network.create, sizes, cost="binary_cross_entropy", init="scaled")
        initial = [error_norms(create(seed=seed + n), x, y) for n in range(networks)]
        net = create(seed=seed)
        norms = [error_norms(net, x, y)]
        training = bp.train(net, (x, y), epochs=epochs, batch_size=len(x), lr=LR, seed=seed, engine="eager")
        with threads(1):  # of steps so small, two are slower
            norms += [error_norms(net, x, y) for _ in training]
        medians = [statistics.median(layer) for layer in zip(*initial, strict=True)]
        book = BOOK.get(depth) if data.name == "mnist" else None
        ratios += [ours / theirs for ours, theirs in zip(medians, book or medians, strict=True) if book]
        rows.append(
            {
                "hidden_layers": depth,
                "initial_median": medians,
                "initial_range": [[min(layer), max(layer)] for layer in zip(*initial, strict=True)],
                "initial_book": book,
                "last_to_first": medians[-1] / medians[0],
                "by_epoch": norms,
            }
        )
    numbers = {
        "hidden_width": 30,
        "cost": "binary_cross_entropy",
        "init": "scaled",
        "examples": len(x),
        "lr": LR,
        "batch_size": len(x),
        "networks": networks,
        "rows": rows,
        "initial_to_book": [min(ratios), max(ratios)] if ratios else None,
    }
    compared = f" The book's figures: ours are {min(ratios):.2f} to {max(ratios):.2f} times as large." if ratios else ""
    return Found(
        numbers,
        pictures.vanishing(numbers),
        f"Before training, the last of {depths[-1]} hidden layers learns {rows[-1]['last_to_first']:,.0f} times as "
        f"fast as the first (median of {networks} networks).{compared}",
    )


def saturation(seed: int, *, epochs: int = 300) -> Found:
    """One neuron that has to turn 1 into 0, from a good start and from a saturated one. Nielsen, chapter 3."""
    curves = []
    for cost, lr in (("quadratic", 0.15), ("binary_cross_entropy", 0.005)):
        for w, b in ((0.6, 0.9), (2.0, 2.0)):
            net = bp.Network.create([1, 1], cost=cost, dtype=torch.float64)
            net.layers[0].w.fill_(w)
            net.layers[0].b.fill_(b)
            x, y = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
            seen = [_neuron(net, x, y)]
            for _ in bp.train(net, (x, y), epochs=epochs, batch_size=1, lr=lr, seed=seed, engine="eager"):
                seen.append(_neuron(net, x, y))
            costs, outputs, rates = map(list, zip(*seen, strict=True))
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
    good, slow, _, quick = curves
    numbers = {"epochs": epochs, "curves": curves}
    return Found(
        numbers,
        pictures.saturation(numbers),
        f"From w = b = 2, ∂C/∂w of the quadratic cost is at first {slow['first_to_fastest']:.1%} of its largest, which "
        f"comes in epoch {slow['fastest_epoch']}; of the cross-entropy {quick['first_to_fastest']:.0%}. Output by the quadratic "
        f"cost after {epochs} epochs: {slow['outputs'][-1]:.2f}, and {good['outputs'][-1]:.2f} from the good start; by "
        f"the cross-entropy {quick['outputs'][-1]:.2f} and {curves[2]['outputs'][-1]:.2f}, at η = {quick['lr']:g}.",
    )


def _neuron(net: bp.Network, x: Tensor, y: Tensor) -> tuple[float, float, float]:
    """The cost, the output and ∂C/∂w of a network that is one neuron."""
    return net.cost(x, y).item(), net.forward(x).a[-1].item(), net.gradients(x, y)[0].w.item()


def feedback(seed: int, data: Data, *, epochs: int = 6, batch_size: int = 32, looks: int = 4) -> Found:
    """Networks trained by BP2, and by random matrices in its place: accuracy, and angle to BP2's errors."""
    rules: dict[str, Callable[[bp.Network], Feedback | None]] = {
        "backpropagation": lambda net: None,
        "feedback alignment": partial(ways_back.feedback_alignment, seed=seed),
        "direct feedback alignment": partial(ways_back.direct_feedback_alignment, seed=seed),
    }
    epochs, runs = data.epochs(epochs), []
    probe = [part[:1000] for part in data.test]
    for name, rule_of in rules.items():
        net = bp.Network.create([data.inputs, 100, 100, 10], hidden="tanh", cost="softmax_cross_entropy", seed=seed)
        rule = rule_of(net)
        run: dict[str, Any] = {"rule": name, "epochs": [], "accuracy": [], "angles": []}
        for epoch in _trained(net, data.train, rule, seed, epochs, batch_size, looks):
            run["epochs"].append(epoch)
            run["accuracy"].append(net.accuracy(*data.test))
            if rule is not None:
                run["angles"].append(ways_back.angles(net, probe[0], probe[1], rule))
        runs.append(run)
    numbers = {
        "sizes": [data.inputs, 100, 100, 10],
        "hidden": "tanh",
        "cost": "softmax_cross_entropy",
        "lr": LR,
        "batch_size": batch_size,
        "runs": runs,
    }
    lines = [
        f"{run['rule']} {run['accuracy'][-1]:.2%}"
        + "".join(
            f", angle in hidden layer {l} from {before:.0f}° to {after:.0f}°"
            for l, (before, after) in enumerate(zip(run["angles"][0], run["angles"][-1], strict=True), start=1)
        )
        if run["angles"]
        else f"{run['rule']} {run['accuracy'][-1]:.2%}"
        for run in runs
    ]
    return Found(numbers, pictures.feedback(numbers), f"Test accuracy after {epochs} epochs: {'; '.join(lines)}.")


def _trained(
    net: bp.Network,
    data: tuple[Tensor, Tensor],
    rule: Feedback | None,
    seed: int,
    epochs: int,
    batch_size: int,
    looks: int,
) -> Iterator[float]:
    """Trains by this rule, and yields the epochs done so far: 0, and about `looks` times an epoch."""
    x, labels = data
    y = torch.nn.functional.one_hot(labels, net.sizes[-1]).to(x.dtype)
    rates = {m: rate_of(LR, m, like=x) for m in {batch_size, len(x) % batch_size} - {0}}
    part = math.ceil(len(x) / looks / batch_size) * batch_size
    yield 0.0
    for epoch in range(epochs):
        for n, order in enumerate(shuffled(len(x), seed, epoch).split(part), start=1):
            with threads(1):
                for chunk in chunks(x, y, order, batch_size):
                    for x_batch, y_batch, m in chunk.batches:
                        sgd_step(net, x_batch, y_batch, rates[m], rule)
            yield epoch + min(1.0, n * part / len(x))


def mislabelled(seed: int, data: Data, *, epochs: int = 12, shown: int = 40) -> Found:
    """The training images that pull hardest at a trained network, with their labels and what the network reads."""
    net = bp.Network.create([data.inputs, 100, 10], hidden="relu", cost="softmax_cross_entropy", seed=seed)
    for _ in bp.train(net, data.train, epochs=data.epochs(epochs), batch_size=32, lr=LR, seed=seed):
        pass
    x, labels = data.train
    norms, outputs = gradient_norms(net, x, labels), net.forward(x).a[-1]
    top = norms.argsort(descending=True, stable=True)[:shown]
    read, sure = outputs.argmax(1), outputs.amax(1)
    rows = [
        {"image": i, "label": int(labels[i]), "read": int(read[i]), "sure": sure[i].item(), "norm": norms[i].item()}
        for i in top.tolist()
    ]
    numbers = {
        "sizes": net.sizes,
        "hidden": "relu",
        "cost": "softmax_cross_entropy",
        "epochs": data.epochs(epochs),
        "accuracy": net.accuracy(*data.test),
        "median_norm": norms.median().item(),
        "misread_of_shown": (read[top] != labels[top]).double().mean().item(),
        "misread_of_all": (read != labels).double().mean().item(),
        "shown": rows,
    }
    return Found(
        numbers,
        pictures.mislabelled(numbers, x[top]),
        f"The {shown} largest gradient norms are {rows[-1]['norm']:.0f} to {rows[0]['norm']:.0f}, the median of "
        f"{len(x):,} is {numbers['median_norm']:.2g}. The network reads {numbers['misread_of_shown']:.0%} of these "
        f"images otherwise than their label says, and {numbers['misread_of_all']:.1%} of all.",
    )


def gradient_norms(net: bp.Network, x: Tensor, y: Tensor) -> Tensor:
    """‖∇C_x‖ of each example (m,): ‖∇C_x‖² = Σ_l ‖δ_x‖² (‖a_x‖² + 1)."""
    trace = bp.backprop(net, x, y)
    return sum(d.square().sum(1) * (a.square().sum(1) + 1) for d, a in zip(trace.delta, trace.a, strict=False)) ** 0.5


def _quantiles(values: Sequence[float]) -> list[float]:
    """What 10, 50 and 90 % of the values lie below."""
    tenths = statistics.quantiles(values, n=10)
    return [tenths[0], tenths[4], tenths[8]]


ALONE: dict[str, Callable[[int], Found]] = {
    "speed-of-backprop": speed_of_backprop,
    "big-picture": big_picture,
    "saturation": saturation,
}
ON_DATA: dict[str, Callable[[int, Data], Found]] = {
    "slow-learning": slow_learning,
    "vanishing": vanishing,
    "feedback": feedback,
    "mislabelled": mislabelled,
}
EXPERIMENTS = (
    "speed-of-backprop",
    "big-picture",
    "slow-learning",
    "vanishing",
    "saturation",
    "feedback",
    "mislabelled",
)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help=f"{', '.join(EXPERIMENTS)}, or all")
    parser.add_argument("--dataset", default="mnist", help="of those that train on images: mnist (the default), digits")
    parser.add_argument("--data-dir", default="data", metavar="DIR", help="where MNIST/raw is or goes (default: data)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, batches and examples (default: 0)")
    parser.add_argument("--out", default="runs/experiments", metavar="DIR", help="default: runs/experiments")
    return parser.parse_args()


def main() -> int:
    options = parse()
    if options.name is None:
        raise ValueError(f"name an experiment: {', '.join(EXPERIMENTS)}, or all")
    name = checks.one_of("experiment", options.name, (*EXPERIMENTS, "all"))
    names = EXPERIMENTS if name == "all" else (name,)
    seed, out = checks.seed(options.seed), _folder(Path(options.out))
    data = _data(options.dataset, options.data_dir) if set(names) & set(ON_DATA) else None
    for name in names:
        found = ALONE[name](seed) if data is None or name in ALONE else ON_DATA[name](seed, data)
        picture, numbers = out / f"{name}.png", out / f"{name}.json"
        found.picture.savefig(picture, dpi=pictures.DPI)
        settings = {"experiment": name, "seed": seed, **({"dataset": data.name} if data and name in ON_DATA else {})}
        numbers.write_text(json.dumps({**settings, **found.numbers}, indent=1, allow_nan=False) + "\n")
        print(f"{name}: {found.says}\n  {picture}\n  {numbers}", flush=True)
    return 0


def _data(name: str, folder: str) -> Data:
    checks.one_of("dataset", name, ("mnist", "digits"))
    load = partial(bp.data.mnist, root=folder) if name == "mnist" else bp.data.digits
    return Data(name, load("train"), load("test"))


def _folder(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise ValueError(f"--out {out} can't be written: {error.strerror}") from error
    return out


if __name__ == "__main__":
    common.run(main)

"""The experiments on networks that learn digits: what learns slowly, feedback without wᵀ, odd labels."""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor

from bp_torch import checks
from bp_torch.insight import feedback as ways_back
from bp_torch.insight import per_example
from bp_torch.insight.experiments import figures
from bp_torch.insight.experiments.figures import Result
from bp_torch.insight.learning_speed import error_norms, slopes
from bp_torch.network import Network
from bp_torch.passes import Feedback
from bp_torch.state import State
from bp_torch.threads import threads
from bp_torch.training.batches import batch_sizes, chunks, shuffled
from bp_torch.training.loop import train
from bp_torch.training.plan import numbers_table
from bp_torch.training.step import step

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


def slow_learning(seed: int, data: Data, *, epochs: int = 5, examples: int = 2000) -> Result:
    """|∂C_x/∂w| in a trained network against what it is a product of: statement 10 of docs/chapter.md."""
    net = Network.create([data.inputs, 30, 10], seed=seed)
    for _ in train(net, data.train, epochs=data.epochs(epochs), seed=seed):
        pass
    x, y = (part[:examples] for part in data.train)
    layers = []
    for l in range(len(net.layers)):
        measured = slopes(net, x, y, l)
        sums = measured.mean.nan_to_num() * measured.pairs
        by_input, by_prime = (sums.sum(over) / measured.pairs.sum(over) for over in (1, 0))
        layers.append(
            {
                "inputs": measured.inputs.tolist(),
                "primes": measured.primes.tolist(),
                "mean_slope": measured.mean.tolist(),
                "pairs": measured.pairs.long().tolist(),
                "active_to_inactive": (by_input[-1] / by_input[0]).item(),
                "free_to_saturated": (by_prime[-1] / by_prime[0]).item(),
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
    return Result(numbers, figures.slow_learning(numbers), f"|∂C/∂w| is, in {'; in '.join(lines)}.")


BOOK = {2: [0.07, 0.31], 3: [0.012, 0.060, 0.283], 4: [0.003, 0.017, 0.070, 0.285]}
"""‖δˡ‖ before training by hidden layers of 30. Nielsen, chapter 5, "The vanishing gradient problem"."""


def vanishing(
    seed: int, data: Data, *, epochs: int = 500, networks: int = 40, depths: Sequence[int] = (1, 2, 3, 4, 5)
) -> Result:
    """‖δˡ‖ by hidden layer: of many networks before training, and of one while it trains on 1000 images."""
    x, y = (part[:1000] for part in data.train)
    rows, ratios = [], []
    for depth in depths:
        sizes = [data.inputs, *[30] * depth, 10]
        create = partial(Network.create, sizes, cost="binary_cross_entropy", init="scaled")
        initial = [error_norms(create(seed=(seed + n) % 2**32), x, y).of_mean for n in range(networks)]
        net = create(seed=seed)
        norms = [error_norms(net, x, y)]
        training = train(net, (x, y), epochs=epochs, batch_size=len(x), lr=LR, seed=seed, engine="eager")
        with threads(1):  # of steps so small, two are slower
            norms += [error_norms(net, x, y) for _ in training]
        medians = [statistics.median(layer) for layer in zip(*initial, strict=True)]
        book = BOOK.get(depth) if data.name == "mnist" else None
        if book:
            ratios += [ours / theirs for ours, theirs in zip(medians, book, strict=True)]
        rows.append(
            {
                "hidden_layers": depth,
                "initial_median": medians,
                "initial_range": [[min(layer), max(layer)] for layer in zip(*initial, strict=True)],
                "initial_book": book,
                "last_to_first": medians[-1] / medians[0],
                "by_epoch": [norm.of_mean for norm in norms],
                "by_epoch_of_examples": [norm.of_examples for norm in norms],
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
    of_mean, of_examples = (rows[-1][kind][-1] for kind in ("by_epoch", "by_epoch_of_examples"))
    compared = f" The book's figures: ours are {min(ratios):.2f} to {max(ratios):.2f} times as large." if ratios else ""
    return Result(
        numbers,
        figures.vanishing(numbers),
        f"Before training, the last of {depths[-1]} hidden layers learns {rows[-1]['last_to_first']:,.0f} times as "
        f"fast as the first (the median of {networks} networks). One of them was trained for {epochs} "
        f"epoch{'s' * (epochs > 1)}. Its last layer then learns {of_mean[-1] / of_mean[0]:,.1f} times as fast as its "
        "first: that is by the error averaged over the examples. Each example's own error is "
        f"{of_examples[-1] / of_examples[0]:,.0f} times as long in the last layer as in the first.{compared}",
    )


def feedback(seed: int, data: Data, *, epochs: int = 6, batch_size: int = 32, looks: int = 4) -> Result:
    """Networks trained by BP2, and by random matrices in its place: accuracy, and angle to BP2's errors."""
    rules: dict[str, Callable[[Network], Feedback | None]] = {
        "backpropagation": lambda net: None,
        "feedback alignment": partial(ways_back.feedback_alignment, seed=seed),
        "direct feedback alignment": partial(ways_back.direct_feedback_alignment, seed=seed),
    }
    epochs, runs = data.epochs(epochs), []
    probe = [part[:1000] for part in data.test]
    for name, rule_of in rules.items():
        net = Network.create([data.inputs, 100, 100, 10], hidden="tanh", cost="softmax_cross_entropy", seed=seed)
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
    return Result(
        numbers,
        figures.feedback(numbers),
        f"Test accuracy after {epochs} epoch{'s' * (epochs > 1)}: {'; '.join(lines)}.",
    )


def _trained(
    net: Network,
    data: tuple[Tensor, Tensor],
    rule: Feedback | None,
    seed: int,
    epochs: int,
    batch_size: int,
    looks: int,
) -> Iterator[float]:
    """Trains by this rule, and yields the epochs done so far: 0, and about `looks` times an epoch."""
    x, labels = data
    y = checks.one_hot(labels, net.sizes[-1], x.dtype)
    rows = [row.unbind() for row in numbers_table(LR, batch_sizes(len(x), batch_size)).to(x)]
    part = math.ceil(len(x) / looks / batch_size) * batch_size
    yield 0.0
    for epoch in range(epochs):
        numbers = iter(rows)
        for n, order in enumerate(shuffled(len(x), seed, epoch).split(part), start=1):
            with threads(1):
                for chunk in chunks(x, y, order, batch_size):
                    for batch in chunk.batches:
                        step(State(net), batch, next(numbers), feedback=rule)
            yield epoch + min(1.0, n * part / len(x))


def mislabelled(seed: int, data: Data, *, epochs: int = 12, count: int = 40) -> Result:
    """The training images that pull hardest at a trained network, with their labels and what the network reads."""
    net = Network.create([data.inputs, 100, 10], hidden="relu", cost="softmax_cross_entropy", seed=seed)
    for _ in train(net, data.train, epochs=data.epochs(epochs), batch_size=32, lr=LR, seed=seed):
        pass
    x, labels = data.train
    norms, outputs = per_example.gradient_norms(net, x, labels), net.forward(x).a[-1]
    top = norms.argsort(descending=True, stable=True)[:count]
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
        "images": rows,
    }
    return Result(
        numbers,
        figures.mislabelled(numbers, x[top]),
        f"The {count} largest gradient norms are {rows[-1]['norm']:.0f} to {rows[0]['norm']:.0f}, the median of "
        f"{len(x):,} is {numbers['median_norm']:.2g}. The network reads {numbers['misread_of_shown']:.0%} of these "
        f"images otherwise than their label says, and {numbers['misread_of_all']:.1%} of all.",
    )

"""Times an epoch of training against the ways it is usually done. Contenders take turns, so that drift hits all alike.

All start from the same weights, see the same batches in the same order and must agree after 100 steps before any is
timed. An epoch includes its shuffle and the gathering of its batches; evaluation is left out. Ratios are the figures.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import common
import numpy as np
import torch
from torch import Tensor

import bp_torch as bp
from bp_torch.network import Network
from bp_torch.training.batches import shuffled
from bp_torch.training.engines import ENGINES

EXAMPLE = """example:
  python scripts/benchmark.py --sizes 784,30,10 --batch-size 10 --threads 1
"""
LR = 3.0
Epoch = Callable[[Tensor], object]  # trains on the examples in this order
Contender = tuple[Epoch, Callable[[], list[Tensor]]]  # and reads the weights


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes", default="784,30,10", help="of a sigmoid network, quadratic cost (default: 784,30,10)"
    )
    parser.add_argument("--batch-size", type=int, default=10, help="default: 10")
    parser.add_argument("--examples", type=int, default=20_000, help="in an epoch, of random pixels (default: 20,000)")
    parser.add_argument("--threads", type=int, default=1, help="default: 1")
    parser.add_argument("--repeats", type=int, default=7, help="epochs timed of each contender (default: 7)")
    return parser.parse_args()


def bp_eager(net: Network, x: Tensor, y: Tensor, batch_size: int) -> Contender:
    epoch = ENGINES["eager"].build(net, x, y, batch_size, "ieee")
    return lambda order: epoch(order, LR), lambda: [layer.w for layer in net.layers]


def numpy_loop(net: Network, x: Tensor, y: Tensor, batch_size: int) -> Contender:
    """Vectorised over the batch, parameters updated in place."""
    layers = [(layer.w.numpy().copy(), layer.b.numpy().copy()) for layer in net.layers]
    x_all, y_all = x.numpy(), y.numpy()

    def epoch(order: Tensor) -> None:
        index = order.numpy()
        for start in range(0, len(index), batch_size):
            batch = index[start : start + batch_size]
            rate = x_all.dtype.type(LR / len(batch))
            a = [x_all[batch]]
            for w, b in layers:
                a.append(1 / (1 + np.exp(-(a[-1] @ w.T + b))))
            delta = (a[-1] - y_all[batch]) * a[-1] * (1 - a[-1])
            for l in range(len(layers) - 1, -1, -1):
                w, b = layers[l]
                below = (delta @ w) * a[l] * (1 - a[l]) if l else delta
                w -= rate * (delta.T @ a[l])
                b -= rate * delta.sum(0)
                delta = below

    return epoch, lambda: [torch.from_numpy(w) for w, _ in layers]


def torch_autograd(net: Network, x: Tensor, y: Tensor, batch_size: int) -> Contender:
    """nn.Sequential, autograd and the fused SGD, on data that is resident."""
    modules = []
    for w, b in net.layers:
        linear = torch.nn.Linear(w.shape[1], w.shape[0], dtype=w.dtype)
        linear.load_state_dict({"weight": w, "bias": b})
        modules += [linear, torch.nn.Sigmoid()]
    model = torch.nn.Sequential(*modules)
    optimiser = torch.optim.SGD(model.parameters(), lr=LR, fused=True)

    def epoch(order: Tensor) -> None:
        for batch in order.split(batch_size):
            optimiser.zero_grad()
            cost = 0.5 * (model(x[batch]) - y[batch]).square().sum(1).mean()
            cost.backward()
            optimiser.step()

    return epoch, lambda: [module.weight.detach() for module in modules[::2]]


CONTENDERS = {"bp eager": bp_eager, "NumPy": numpy_loop, "torch autograd": torch_autograd}


def main() -> int:
    options = parse()
    torch.set_num_threads(options.threads)
    sizes = [int(n) for n in options.sizes.split(",")]
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(options.examples, sizes[0], generator=rng)
    y = torch.nn.functional.one_hot(torch.randint(sizes[-1], (options.examples,), generator=rng), sizes[-1]).float()

    def fresh(name: str) -> Contender:
        net = bp.Network.create(sizes, init="normal", seed=0)
        return CONTENDERS[name](net, x, y, options.batch_size)

    agree({name: fresh(name) for name in CONTENDERS}, shuffled(options.examples, 0, 0)[: 100 * options.batch_size])
    contenders = {name: fresh(name)[0] for name in CONTENDERS}
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for repeat in range(options.repeats + 1):
        for name, epoch in contenders.items():
            began = time.perf_counter()
            epoch(shuffled(options.examples, 0, repeat))
            if repeat:  # the first is the warm-up
                seconds[name].append(time.perf_counter() - began)
    steps = -(-options.examples // options.batch_size)
    ours = statistics.median(seconds["bp eager"])
    print(f"{sizes}, batch {options.batch_size}, {options.threads} threads, torch {torch.__version__}: µs a step")
    print(f"{'':16}{'median':>9}{'min':>9}{'max':>9}{'to bp eager':>13}")
    for name, times in seconds.items():
        median, least, most = (1e6 * f(times) / steps for f in (statistics.median, min, max))
        print(f"{name:16}{median:9.1f}{least:9.1f}{most:9.1f}{statistics.median(times) / ours:13.2f}")
    return 0


def agree(contenders: dict[str, Contender], order: Tensor) -> None:
    """Raises ValueError unless all contenders have the same weights after the same steps, to 1e-3."""
    for epoch, _ in contenders.values():
        epoch(order)
    (_, (_, reference)), *others = contenders.items()
    for name, (_, weights) in others:
        for mine, theirs in zip(reference(), weights(), strict=True):
            if (mine - theirs).norm() > 1e-3 * mine.norm():
                raise ValueError(f"{name} does not agree after 100 steps: it is not timed")


if __name__ == "__main__":
    common.run(main)

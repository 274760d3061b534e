"""Times epochs on counts of words as a sparse matrix, and takes the memory they add: bp_torch, scikit-learn and torch.

The contenders take their epochs in turns, in one process, on one thread; the first epoch of each is not counted. Memory
is the peak of a process of its own after two epochs, less that before, when the matrix is there. The texts are drawn at
random, their words by Zipf's law; the network has 100 hidden neurons (relu) and 20 classes, the dtype is float32.
"torch" is a network whose first layer is an nn.EmbeddingBag, with sparse gradients where the optimizer takes them;
"torch, dense" one of nn.Linear on the same x dense; "estimator" is bp_torch's MLPClassifier.
"""

import argparse
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import threadpoolctl
import torch
from torch import Tensor

import bp_torch as bp
from bp_torch import sparse

HIDDEN, CLASSES, LENGTH = 100, 20, 110
RATES = {"sgd": 0.1, "adam": 1e-3, "sparse_adam": 1e-3}
CONTENDERS = ("native", "eager", "scikit-learn", "torch", "torch, dense", "estimator")


def texts(rows: int, words: int) -> tuple[Any, np.ndarray]:
    """Counts (rows, words) as CSR, and a class of each, by a random direction for each class."""
    rng = np.random.default_rng(0)
    chances = 1 / np.arange(1, words + 1) ** 1.05
    drawn = rng.permutation(words)[rng.choice(words, size=rows * LENGTH, p=chances / chances.sum())]
    places = np.repeat(np.arange(rows), LENGTH), drawn
    x: Any = scipy.sparse.csr_array((np.ones(rows * LENGTH, np.float32), places), shape=(rows, words))
    x.sum_duplicates()
    return x, np.asarray((x @ rng.normal(size=(words, CLASSES))).argmax(1))


def epochs(contender: str, optimizer: str, batch_size: int, x: Any, y: np.ndarray) -> Iterator[float]:
    """Trains an epoch at each `next`, which gives its mean cost; before the first, all is built."""
    if contender in ("scikit-learn", "estimator"):
        return _of_scikit_learn(contender, optimizer, batch_size, x, y)
    if contender.startswith("torch"):
        return _of_torch(contender, optimizer, batch_size, x, torch.from_numpy(y))
    net = bp.Network.create([x.shape[1], HIDDEN, CLASSES], hidden="relu", cost="softmax_cross_entropy", seed=0)
    settings: dict[str, Any] = dict(optimizer=optimizer, lr=RATES[optimizer], batch_size=batch_size, threads=1)
    records = bp.train(net, (x, torch.from_numpy(y)), engine=contender, epochs=10**6, **settings)
    return (record.cost for record in records)


def _of_scikit_learn(contender: str, optimizer: str, batch_size: int, x: Any, y: np.ndarray) -> Iterator[float]:
    import sklearn.neural_network

    from bp_torch.sklearn import MLPClassifier

    settings: dict[str, Any] = dict(solver=optimizer, batch_size=batch_size, alpha=0.0)
    settings |= dict(momentum=0.0, learning_rate_init=RATES["sgd"]) if optimizer == "sgd" else {}
    if contender == "estimator":
        model = MLPClassifier((HIDDEN,), max_iter=10**6, n_iter_no_change=10**6, threads=1, **settings)
        for record in model.iter_fit(x, y):
            yield record.cost
    peer = sklearn.neural_network.MLPClassifier((HIDDEN,), **settings)
    while True:
        peer.partial_fit(x, y, classes=np.arange(CLASSES))
        yield peer.loss_


def _of_torch(contender: str, optimizer: str, batch_size: int, x: Any, y: Tensor) -> Iterator[float]:
    words, of_words = x.shape[1], optimizer != "adam" and contender == "torch"
    rows = torch.from_numpy(x.toarray()) if contender == "torch, dense" else _compressed(x)
    bag = torch.nn.EmbeddingBag(words, HIDDEN, mode="sum", sparse=of_words)
    torch.nn.init.normal_(bag.weight, std=0.05)
    first = torch.nn.Linear(words, HIDDEN) if contender == "torch, dense" else bag
    rest = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(HIDDEN, CLASSES))
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "sparse_adam": torch.optim.SparseAdam}
    parts = [(kinds[optimizer], first), (kinds[optimizer.removeprefix("sparse_")], rest)]
    rules = [kind(part.parameters(), lr=RATES[optimizer]) for kind, part in parts]
    while True:
        total = 0.0
        for index in torch.randperm(len(y)).split(batch_size):
            batch = sparse.pick(rows, index)
            if first is bag:
                z = bag(batch.col_indices(), batch.crow_indices()[:-1], per_sample_weights=batch.values())
            else:
                z = first(batch)
            cost = torch.nn.functional.cross_entropy(rest(z), y[index])
            for rule in rules:
                rule.zero_grad()
            cost.backward()
            for rule in rules:
                rule.step()
            total += cost.item() * len(index)
        yield total / len(y)


def _compressed(x: Any) -> Tensor:
    bounds, columns, values = map(torch.from_numpy, (x.indptr, x.indices, x.data))
    return sparse.compressed(bounds, columns, values, x.shape)


def held(what: str) -> float:
    """Megabytes that this process holds by now (VmRSS) or has held at most (VmHWM), as Linux has it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(what)) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="texts (default: 20,000)")
    parser.add_argument("--words", type=int, default=50_000, help="of the vocabulary (default: 50,000)")
    parser.add_argument("--batch-size", type=int, default=128, help="texts (default: 128)")
    parser.add_argument("--epochs", type=int, default=5, help="of each contender (default: 5)")
    parser.add_argument("--optimizer", choices=list(RATES), default="sgd", help="(default: sgd)")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS[:4]))
    parser.add_argument("--part", help=argparse.SUPPRESS)  # this process takes the memory of one contender
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    x, y = texts(options.rows, options.words)
    how = options.optimizer, options.batch_size, x, y
    if options.part:
        before, of_part = held("VmRSS"), epochs(options.part, *how)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # what is held at most counts from here
        for _ in range(2):
            next(of_part)
        print(held("VmHWM") - before)
        return
    megabytes = (x.data.nbytes + x.indices.nbytes + x.indptr.nbytes) / 1e6
    print(f"{options.rows:,} × {options.words:,}, {x.nnz / np.prod(x.shape):.2%} full, CSR {megabytes:.0f} MB")
    names = [name for name in options.contenders if (name, options.optimizer) != ("scikit-learn", "sparse_adam")]
    running = {name: epochs(name, *how) for name in names}
    first = {name: next(each) for name, each in running.items()}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    costs: dict[str, float] = {}
    for _ in range(options.epochs):
        for name, each in running.items():
            began = time.perf_counter()
            costs[name] = next(each)
            seconds[name].append(time.perf_counter() - began)
    print(f"{options.optimizer}, batch {options.batch_size}: ms an epoch, median, least and most; memory; cost")
    for name in names:
        command = [sys.executable, *sys.argv, "--part", name]
        memory = float(subprocess.run(command, check=True, capture_output=True).stdout)  # noqa: S603 (ourselves)
        median, least, most = (1e3 * of(seconds[name]) for of in (statistics.median, min, max))
        ratio = statistics.median(a / b for a, b in zip(seconds[name], seconds[names[0]], strict=True))
        print(
            f"{name:14} {median:8.0f} {least:8.0f} {most:8.0f}   {ratio:6.1f} × {names[0]} {memory:8.0f} MB more"
            f"   {first[name]:.4f} to {costs[name]:.4f}"
        )


if __name__ == "__main__":
    with threadpoolctl.threadpool_limits(1):
        main()

"""Times an epoch on counts of words as a sparse matrix, and takes the memory it adds: bp_torch and scikit-learn.

Every contender runs in a process of its own, on one thread, in turns. The texts are drawn at random, their words by
Zipf's law; the network has 100 hidden neurons (relu) and 20 classes, the batch 200 texts, the dtype is float32. Memory
is the peak of the process after training, less that before it, when the matrix is there.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from typing import Any

import numpy as np
import scipy.sparse
import torch

import bp_torch as bp

HIDDEN, CLASSES, BATCH, LENGTH, RATE = 100, 20, 200, 110, 0.1
CONTENDERS = ("bp_torch", "bp_torch, dense", "scikit-learn")


def texts(rows: int, words: int) -> tuple[Any, np.ndarray]:
    """Counts (rows, words) as CSR, and a class of each, by a random direction for each class."""
    rng = np.random.default_rng(0)
    chances = 1 / np.arange(1, words + 1) ** 1.05
    drawn = rng.permutation(words)[rng.choice(words, size=rows * LENGTH, p=chances / chances.sum())]
    places = np.repeat(np.arange(rows), LENGTH), drawn
    x: Any = scipy.sparse.csr_array((np.ones(rows * LENGTH, np.float32), places), shape=(rows, words))
    x.sum_duplicates()
    return x, np.asarray((x @ rng.normal(size=(words, CLASSES))).argmax(1))


def peak() -> float:
    """Megabytes that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def measured(contender: str, optimizer: str, x: Any, y: np.ndarray, epochs: int) -> dict[str, float]:
    if contender == "scikit-learn":
        import sklearn.neural_network

        warnings.simplefilter("ignore")  # that it has not converged
        settings: dict[str, Any] = dict(solver=optimizer, batch_size=BATCH, max_iter=epochs, alpha=0.0, tol=0.0)
        settings |= dict(momentum=0.0, learning_rate_init=RATE) if optimizer == "sgd" else {}
        peer = sklearn.neural_network.MLPClassifier((HIDDEN,), n_iter_no_change=10**6, **settings)
        before, began = peak(), time.perf_counter()
        peer.fit(x, y)
        return {"seconds": (time.perf_counter() - began) / epochs, "memory": peak() - before, "cost": peer.loss_}
    data = (torch.from_numpy(x.toarray()) if contender == "bp_torch, dense" else x), torch.from_numpy(y)
    sizes, lr = [x.shape[1], HIDDEN, CLASSES], RATE if optimizer == "sgd" else 1e-3
    before = peak()
    net = bp.Network.create(sizes, hidden="relu", cost="softmax_cross_entropy")
    own: dict[str, Any] = dict(optimizer=optimizer, lr=lr, batch_size=BATCH, epochs=epochs, threads=1)
    records = list(bp.train(net, data, engine="eager", **own))
    seconds = statistics.median(record.seconds for record in records)
    return {"seconds": seconds, "memory": peak() - before, "cost": records[-1].cost}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="texts (default: 20,000)")
    parser.add_argument("--words", type=int, default=50_000, help="of the vocabulary (default: 50,000)")
    parser.add_argument("--epochs", type=int, default=3, help="of each run (default: 3)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each contender (default: 3)")
    parser.add_argument("--optimizer", default="sgd", help="sgd, adam or sparse_adam (default: sgd)")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=["bp_torch", "scikit-learn"])
    parser.add_argument("--part", help=argparse.SUPPRESS)  # this process measures one contender, and prints JSON
    options = parser.parse_args()
    if options.part:
        x, y = texts(options.rows, options.words)
        print(json.dumps(measured(options.part, options.optimizer, x, y, options.epochs)))
        return
    alone = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    x, _ = texts(options.rows, options.words)
    megabytes = (x.data.nbytes + x.indices.nbytes + x.indptr.nbytes) / 1e6
    print(f"{options.rows:,} × {options.words:,}, {x.nnz / np.prod(x.shape):.2%} full, CSR {megabytes:.0f} MB")
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in options.contenders}
    for _ in range(options.repeats):
        for name, results in runs.items():
            command = [sys.executable, *sys.argv, "--part", name]
            run = subprocess.run(command, env=alone, check=True, capture_output=True)  # noqa: S603 (ourselves)
            results.append(json.loads(run.stdout))
    for name, results in runs.items():
        seconds, memory, cost = (statistics.median(run[of] for run in results) for of in ("seconds", "memory", "cost"))
        print(f"{name:16} {options.optimizer:12} {seconds:8.3f} s an epoch {memory:8.0f} MB more {cost:10.4f} cost")


if __name__ == "__main__":
    main()

"""The estimators beside scikit-learn's own: the time of a fit, and scores by cross-validation. Writes a page.

    python scripts/benchmark/estimators.py              # 10 minutes; --quick leaves MNIST and the scores out

Fits of both are interleaved, each of a new random_state; what is told is the median of each, and of the ratios.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any, NamedTuple

import numpy as np
import sklearn
import sklearn.neural_network
import torch
from sklearn import datasets
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

import bp_torch as bp
import bp_torch.sklearn

PAGE = Path(__file__).parent.parent.parent / "benchmarks" / "estimators.md"
TABLES: dict[str, Callable[..., Any]] = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
    "digits": datasets.load_digits,
}
HEAD = """# The estimators beside scikit-learn's

`python scripts/benchmark/estimators.py`: fits of [`bp_torch.sklearn`](../docs/sklearn.md) and of scikit-learn by turns,
each with a random_state of its own; medians. All parameters are at their defaults, and columns standardised. Of MNIST,
pixels are from 0 to 1, and max_iter is 10: one hidden layer of 100, batches of 200, Adam. Ratio: the time of its fit
over ours; above 1, ours is faster. Where engine="auto" takes `native`, it compiles in the first fit, once for a kind of
network.

*{machine}.*

| data | ours | scikit-learn | ratio | our first fit | ratio of engine="native" |
|---|---|---|---|---|---|"""
SCORES = """
Scores of five folds by five seeds: the mean, and the standard deviation over the seeds of the folds' mean.

| data | ours | scikit-learn |
|---|---|---|"""
OURS, THEIRS = bp_torch.sklearn, sklearn.neural_network


def kind(name: str) -> str:
    return "MLPRegressor" if name == "diabetes" else "MLPClassifier"


class Times(NamedTuple):
    """Medians: of a fit of ours, of theirs, and of their ratios, in seconds; and our first one, which may compile."""

    ours: float
    theirs: float
    ratio: float
    first: float


def seconds(name: str, x: Any, y: Any, repeats: int, ours: dict[str, Any], **parameters: Any) -> Times:
    """The times of fits by turns. ours: parameters of ours alone."""
    times: list[list[float]] = [[], []]
    for seed in range(repeats + 1):
        for passed, (module, own) in zip(times, ((OURS, ours), (THEIRS, {})), strict=True):
            model = getattr(module, kind(name))(random_state=seed, **parameters, **own)
            began = time.perf_counter()
            model.fit(x, y)
            passed.append(time.perf_counter() - began)
    (first, *mine), (_, *wanted) = times
    return Times(median(mine), median(wanted), median(b / a for a, b in zip(mine, wanted, strict=True)), first)


def scores(name: str, x: Any, y: Any) -> tuple[list[float], list[float]]:
    """Of each of five seeds the mean score of five folds, ours and theirs."""
    of: list[list[float]] = [[], []]
    for seed in range(5):
        folds = (KFold if name == "diabetes" else StratifiedKFold)(5, shuffle=True, random_state=seed)
        for which, module in enumerate((OURS, THEIRS)):
            model = make_pipeline(StandardScaler(), getattr(module, kind(name))(random_state=seed))
            of[which].append(float(np.mean(cross_val_score(model, x, y, cv=folds))))
    return of[0], of[1]


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--quick", action="store_true", help="without MNIST and the scores")
    options.add_argument("--repeats", type=int, default=15, help="fits of each (default: 15)")
    chosen = options.parse_args()
    warnings.simplefilter("ignore")
    data = {name: load(return_X_y=True) for name, load in TABLES.items()}
    lines = [HEAD.format(machine=machine())]
    for name, (x, y) in data.items():
        repeats = chosen.repeats if name != "digits" else max(3, chosen.repeats // 3)
        of = seconds(name, scale(x), y, repeats, {})
        native = seconds(name, scale(x), y, repeats, {"engine": "native"})
        row = f"{of.ours:.3f} s | {of.theirs:.3f} s | {of.ratio:.2f} | {of.first:.2f} s | {native.ratio:.2f}"
        lines.append(f"| {name} | {row} |")
        print(lines[-1], flush=True)
    if chosen.quick:
        return
    x, y = (t.numpy() for t in bp.data.mnist("train"))
    for dtype in ("float32", "float64"):
        of = seconds("mnist", x.astype(dtype), y, 3, {}, max_iter=10)
        lines.append(f"| MNIST, {dtype} | {of.ours:.2f} s | {of.theirs:.2f} s | {of.ratio:.2f} | {of.first:.2f} s | |")
        print(lines[-1], flush=True)
    lines.append(SCORES)
    for name, (x, y) in data.items():
        both = [f"{mean(each):.4f} ± {stdev(each):.4f}" for each in scores(name, x, y)]
        lines.append(f"| {name} | {both[0]} | {both[1]} |")
        print(lines[-1], flush=True)
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def machine() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if "model name" in line]
    return (
        f"{os.cpu_count()} cores, {names[0].split(': ')[1]}; torch {torch.__version__} on {torch.get_num_threads()} "
        f"threads, scikit-learn {sklearn.__version__}, NumPy {np.__version__}"
    )


if __name__ == "__main__":
    main()

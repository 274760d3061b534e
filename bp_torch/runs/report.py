"""The report of a run: one HTML file that needs no network and opens from disk.

It has the run's settings, curves, confusion matrix, worst mistakes, first-layer weights, norms of errors and gradients,
saturation and timings, and follows single examples through the network: forward, backward, and over the epochs of
training. A table's columns stand by name, and its cells and values in their own units.
"""

import base64
import html
import json
import math
import re
import statistics
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bp_torch import checks
from bp_torch.data.named import Split, is_table
from bp_torch.insight.observe import bounds, spread
from bp_torch.labels import class_labels
from bp_torch.network import Network
from bp_torch.runs import best, metrics, observations, quality, saved
from bp_torch.runs.config import Config
from bp_torch.training.loop import Record

PAGE = files("bp_torch.runs") / "page"
SCRIPTS = ("draw.js", "charts.js", "table.js", "run.js", "follow.js", "start.js")
MISTAKES = 24
WEIGHTS = 100_000  # of the first layer that are drawn, at most
NEURONS = 60  # of the first layer whose weights are drawn, at most, where each has its column's name
INPUTS = 4096  # of an example that are drawn, at most
CLASSES = 40  # of a confusion matrix, at most
EPOCHS = 2000  # that the curves have, at most
DTYPES = {torch.float32: "f4", torch.uint8: "u1", torch.int8: "i1"}


def report(
    folder: str | Path,
    *,
    dataset: str | None = None,
    data_dir: str | None = None,
    target: str | None = None,
    test_file: str | None = None,
    device: str | torch.device = "cpu",
) -> Path:
    """Writes report.html into a run's folder, and returns its path.

    dataset, data_dir, target, test_file: another test set than the run's own, as `load_test_set` takes them. A run
    without observations, as of older versions, is reported on without examples to follow. Raises ValueError for what is
    no run, or a damaged one.
    """
    run = saved.read(folder, device)
    has_observations = (run.folder / observations.FILE).is_file()
    observed = observations.read(run.folder) if has_observations else None
    if observed is not None and observed.sizes != run.net.sizes:
        raise ValueError(
            f"{run.folder / observations.FILE} is of a network {observed.sizes}, and the run's is {run.net.sizes}"
        )
    name, test = saved.load_test_set(run, dataset, data_dir, target, test_file)
    path = run.folder / "report.html"
    past = history(run.records, metrics.wall_seconds(run.folder), run.config)
    text = page(contents(run.folder.resolve().name, run.net, run.config, name, past, test, observed))
    try:
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ValueError(f"{path} can't be written: {error.strerror or error}") from error
    return path


def contents(
    name: str,
    net: Network,
    config: Config,
    dataset: str,
    past: dict[str, Any],
    test: Split,
    observed: observations.Observations | None,
) -> dict[str, Any]:
    """All that the page has, as JSON; arrays as `packed`. past: what `history` gives."""
    labels, table = quality.classes_of(test), table_of(config, net)
    figures = quality.of(net, test)._asdict()
    image = test.image or config.image(net.sizes[0])
    guessed = test.image is None and "image" not in config.about  # a few values are rather features than an image
    drawn = image is not None and net.sizes[0] <= INPUTS and not (guessed and min(image) < 5)
    names = quality.class_names(net, config.about.get("classes"), test.classes)
    return {
        "name": name,
        "sizes": net.sizes,
        "image": image if drawn else None,
        "inputs": min(net.sizes[0], INPUTS),
        "activations": [f.name for f in net.activations],
        "cost": net.cost_function.name,
        "parameters": sum(t.numel() for layer in net.layers for t in layer),
        "config": {**config.settings(), **config.about, "dataset": dataset},
        **past,
        "validation": config.validation,
        "test": of_test_set(net, test, labels, exact=table is not None) | figures,
        "classes": None if labels is None else names,
        "table": table,
        "weights": first_weights(net.layers[0].w, exact=table is not None),
        "observed": None if observed is None else observations_of(net, observed, labels is not None),
    }


def table_of(config: Config, net: Network) -> dict[str, Any] | None:
    """How a table's columns are called and were scaled; None for other data, and for runs of before it was kept."""
    table = config.about.get("table")
    if not is_table(config.dataset) or not table:
        return None
    lists = [table.get(name) for name in ("columns", "mean", "scale")]
    fits = all(isinstance(values, (list, tuple)) and len(values) == net.sizes[0] for values in lists)
    return {**table, "target": config.target} if fits else None


def history(records: Sequence[Record], wall_seconds: float | None, config: Config) -> dict[str, Any]:
    """The records by figure, thinned where they are many, and what all of them come to."""
    if not records:
        return {"records": None, "totals": None}
    drawn = [records[i] for i in spread(len(records), EPOCHS).tolist()]
    seconds = [_finite(record.seconds) or 0.0 for record in records]
    rates = [rate for record in records if (rate := _finite(record.examples_per_second)) is not None]
    scores = [(score, record.epoch) for record in records if (score := _finite(record.validation_accuracy)) is not None]
    return {
        "records": {
            name: [_finite(getattr(record, name)) for record in drawn] for name in (*metrics.NAMES, "data_cost")
        },
        "totals": {
            "epochs": len(records),
            "seconds": math.fsum(seconds),
            "wall": wall_seconds,
            "median": statistics.median_high(seconds),
            "least": min(seconds),
            "most": max(seconds),
            "rate": statistics.median_high(rates) if rates else None,
            "best": max(scores, default=None),
            "kept": kept.epoch if (kept := best.kept(config, records)) else None,
        },
    }


def of_test_set(net: Network, test: Split, labels: Tensor | None, exact: bool) -> dict[str, Any]:
    """Cost, confusion matrix and the worst mistakes; without labels (m,), the worst examples.

    exact: the inputs of these as they are, not rounded to a byte each.
    """
    x, y = test.x, test.y
    trace, classes = net.forward(x), max(net.sizes[-1], 2)
    costs = net.cost_function.value(trace.z[-1], trace.a[-1], checks.targets(y, x, net.sizes[-1], x))
    results: dict[str, Any] = {"dataset": len(x), "cost": _finite(costs.mean().item())}
    if labels is None:
        worst = costs.argsort(descending=True)[:MISTAKES]
        rows = [
            {
                "index": int(i),
                "cost": _finite(costs[i].item()),
                "true": y[i].flatten()[0].item(),
                "predicted": _finite(trace.a[-1][i, 0].item()),
            }
            for i in worst
        ]
        return results | {"accuracy": None, "confusion": None, "mistakes": rows, "pixels": _pixels(x[worst], exact)}
    predicted = quality.predicted_classes(net, x)
    wrong = (predicted != labels).nonzero().flatten()
    worst = wrong[costs[wrong].argsort(descending=True)][:MISTAKES]
    counts = torch.bincount((labels * classes + predicted).cpu(), minlength=classes**2).view(classes, classes)
    outputs = trace.a[-1].float()
    rows = [
        {
            "index": int(i),
            "cost": _finite(costs[i].item()),
            "true": int(labels[i]),
            "predicted": int(predicted[i]),
            "output": _finite(outputs[i, min(int(predicted[i]), outputs.shape[1] - 1)].item()),
        }
        for i in worst
    ]
    return results | {
        "wrong": len(wrong),
        "confusion": counts.tolist() if classes <= CLASSES else None,
        "classes": classes,
        "mistakes": rows,
        "pixels": _pixels(x[worst], exact),
    }


def first_weights(w: Tensor, exact: bool) -> dict[str, Any]:
    """The first layer's weights of its first neurons as whole numbers from −127 to 127, and what 127 stands for.

    exact: the weights as they are, of fewer neurons.
    """
    count = max(WEIGHTS // w.shape[1], 1)
    drawn = w[: min(count, NEURONS) if exact else count, :INPUTS].float().cpu()
    scale = drawn.abs().flatten().kthvalue(math.ceil(0.999 * drawn.numel())).values.clamp(min=1e-30)
    if exact:
        return {"values": packed(drawn), "scale": scale.item()}
    return {"values": packed((drawn / scale * 127).round().clamp(-127, 127).to(torch.int8)), "scale": scale.item()}


def observations_of(net: Network, observed: observations.Observations, classes: bool) -> dict[str, Any]:
    """The norms and histograms by epoch, and the followed examples, whose targets are classes or real values."""
    labels = class_labels(observed.y) if classes else None
    kept = [observed.values[f"a.{l}"].shape[-1] for l in range(len(net.layers))]
    return {
        "epochs": observed.epochs,
        "kept": kept,
        "chosen": observed.chosen.tolist(),
        "labels": None if labels is None else labels.tolist(),
        "x": packed(observed.x[:, :INPUTS]),
        "y": packed(observed.y[:, : kept[-1]]),
        "bounds": [bounds(f) for f in net.activations],
        **{name: packed(values) for name, values in observed.values.items()},
    }


def packed(values: Tensor) -> dict[str, Any]:
    """A tensor of float32, uint8 or int8 as JSON: its bytes, little-endian, in base64."""
    array = values.contiguous().cpu().numpy()
    little = array.astype(array.dtype.newbyteorder("<"))
    return {
        "dtype": DTYPES[values.dtype],
        "shape": list(values.shape),
        "data": base64.b64encode(little.tobytes()).decode(),
    }


def page(content: dict[str, Any]) -> str:
    """The page with everything in it, put in at once: what is put in may hold {{…}} itself."""
    text = (PAGE / "page.html").read_text(encoding="utf-8")
    parts = {
        "title": html.escape(f"{content['name']}: a run of bp_torch"),
        "style": (PAGE / "style.css").read_text(encoding="utf-8"),
        "data": json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        "script": "\n".join((PAGE / name).read_text(encoding="utf-8") for name in SCRIPTS),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], text)


def _pixels(x: Tensor, exact: bool) -> dict[str, Any]:
    """Rows of inputs as whole numbers: from 0 to 255 what lies from 0 to 1, else from −127 to 127 of the largest.

    exact: as they are.
    """
    x = x[:, :INPUTS].float()
    if exact:
        return packed(x)
    if x.numel() and (x.min() < 0 or x.max() > 1):
        return packed((x / x.abs().max() * 127).round().to(torch.int8))
    return packed((x * 255).round().to(torch.uint8))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None

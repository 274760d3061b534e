"""Writes a run's report: RUN/report.html, one file that needs no network and opens from disk.

RUN is a folder written by scripts/train.py. The report shows its settings, curves, confusion matrix, worst mistakes,
first-layer weights, norms of errors and gradients, saturation and timings, and follows single examples through the
network: forward, backward, and over the epochs of training.
"""

import argparse
import base64
import html
import json
import math
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
import observations
import torch
from torch import Tensor

import bp_torch as bp
from bp_torch import checks
from bp_torch.insight.observe import bounds, spread
from bp_torch.network import class_labels

EXAMPLE = """example:
  python scripts/report.py runs/mine
"""
PAGE = Path(__file__).parent / "page"
SCRIPTS = ("draw.js", "charts.js", "run.js", "follow.js", "start.js")
MISTAKES = 24
WEIGHTS = 100_000  # of the first layer that are shown, at most
INPUTS = 4096  # of an example that are shown, at most
CLASSES = 40  # of a confusion matrix, at most
EPOCHS = 2000  # that the curves show, at most
DTYPES = {torch.float32: "f4", torch.uint8: "u1", torch.int8: "i1"}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="the run folder")
    common.add_data_options(parser, default=None)
    return parser.parse_args()


def main() -> int:
    options = parse()
    run: Path = options.run
    if not (run / "weights.safetensors").is_file() or not (run / "config.json").is_file():
        raise ValueError(f"{run} is not a run folder: name one that scripts/train.py wrote")
    net = bp.load(run / "weights.safetensors", device=common.device_named(options.device))
    config, records = common.read_config(run / "config.json"), read_metrics(run / "metrics.jsonl")
    seen = observations.read(run / observations.FILE) if (run / observations.FILE).is_file() else None
    if seen is not None and seen.sizes != net.sizes:
        raise ValueError(f"{run / observations.FILE} is of a network {seen.sizes}, and the run's is {net.sizes}")
    dataset, data_dir, target = common.of_run(options, config)
    like = net.layers[0].w
    test = common.load(dataset, "test", data_dir, target, str(like.device), like.dtype)
    common.check_fits(test, net, dataset, run)
    shown = contents(run.resolve().name, net, config | {"dataset": dataset}, records, test, seen)
    path = run / "report.html"
    path.write_text(page(shown), encoding="utf-8", errors="replace")
    print(f"The report: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    if seen is None:
        print(f"It follows no example: {run} has no {observations.FILE}, as runs of older versions")
    return 0


def read_metrics(path: Path) -> list[dict[str, float | None]]:
    """The records of the epochs; none where the run has no such file.

    A last line without its end is left out: it is being written, or was when the run was killed.
    """
    if not path.is_file():
        return []
    names = ("epoch", "cost", "validation_cost", "validation_accuracy", "seconds", "examples_per_second")
    try:
        whole = path.read_bytes().rpartition(b"\n")[0]
        lines = [json.loads(line) for line in whole.decode().split("\n") if line.strip()]
        found = [{name: line.get(name) for name in names} for line in lines]
        for record in found:
            for name, value in record.items():
                if not isinstance(value, (int, float)) and (value is not None or name in ("epoch", "cost", "seconds")):
                    raise ValueError(f"{name} is {value!r}")
                if isinstance(value, int) and abs(value) > checks.MOST:
                    raise ValueError(f"{name} is out of range")
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return found


def contents(
    name: str,
    net: bp.Network,
    config: dict[str, Any],
    records: list[dict[str, float | None]],
    test: common.Split,
    seen: observations.Observations | None,
) -> dict[str, Any]:
    """All that the page shows, as JSON; arrays as `packed`."""
    labels = classes_of(test)
    found = of_test_set(net, test.x, test.y, labels)
    side = math.isqrt(net.sizes[0])
    image = side * side == net.sizes[0] and side >= 5 and not common.is_table(config["dataset"])
    return {
        "name": name,
        "sizes": net.sizes,
        "side": side if image and net.sizes[0] <= INPUTS else 0,
        "inputs": min(net.sizes[0], INPUTS),
        "activations": [f.name for f in net.activations],
        "cost": net.cost_function.name,
        "parameters": sum(t.numel() for layer in net.layers for t in layer),
        "config": config,
        **history(records),
        "test": found,
        "classes": None if labels is None else class_names(found["classes"], config.get("classes"), test.classes),
        "weights": first_weights(net.layers[0].w),
        "seen": None if seen is None else observed(net, seen, labels is not None),
    }


def history(records: list[dict[str, float | None]]) -> dict[str, Any]:
    """The records by figure, thinned where they are many, and what all of them come to."""
    if not records:
        return {"records": None, "totals": None}
    drawn = [records[i] for i in spread(len(records), EPOCHS).tolist()]
    seconds = [_finite(record["seconds"]) or 0.0 for record in records]
    rates = [rate for record in records if (rate := _finite(record["examples_per_second"])) is not None]
    scores = [
        (score, record["epoch"]) for record in records if (score := _finite(record["validation_accuracy"])) is not None
    ]
    return {
        "records": {key: [_finite(record[key]) for record in drawn] for key in records[0]},
        "totals": {
            "epochs": len(records),
            "seconds": math.fsum(seconds),
            "median": statistics.median_high(seconds),
            "least": min(seconds),
            "most": max(seconds),
            "rate": statistics.median_high(rates) if rates else None,
            "best": max(scores, default=None, key=lambda found: found[0]),
        },
    }


def class_names(count: int, *found: Sequence[str] | None) -> list[str]:
    """The names of so many classes: the first that are as many, else their numbers."""
    return next((list(names) for names in found if names and len(names) == count), [str(c) for c in range(count)])


def classes_of(test: common.Split) -> Tensor | None:
    """The classes (m,) of the test examples; None for a real-valued target, even if all its values are 0 or 1."""
    return None if test.classes is None and test.y.is_floating_point() else class_labels(test.y)


def of_test_set(net: bp.Network, x: Tensor, y: Tensor, labels: Tensor | None) -> dict[str, Any]:
    """Cost, accuracy, confusion matrix and the worst mistakes; without labels (m,), the worst examples."""
    trace, classes = net.forward(x), max(net.sizes[-1], 2)
    costs = net.cost_function.value(trace.z[-1], trace.a[-1], checks.targets(y, x, net.sizes[-1], x))
    found: dict[str, Any] = {"dataset": len(x), "cost": _finite(costs.mean().item())}
    if labels is None:
        worst = costs.argsort(descending=True)[:MISTAKES]
        rows = [{"index": int(i), "cost": _finite(costs[i].item())} for i in worst]
        return found | {"accuracy": None, "confusion": None, "mistakes": rows, "pixels": _pixels(x[worst])}
    said = net.predict(x)
    wrong = (said != labels).nonzero().flatten()
    worst = wrong[costs[wrong].argsort(descending=True)][:MISTAKES]
    counts = torch.bincount((labels * classes + said).cpu(), minlength=classes**2).view(classes, classes)
    outputs = trace.a[-1].float()
    rows = [
        {
            "index": int(i),
            "cost": _finite(costs[i].item()),
            "true": int(labels[i]),
            "said": int(said[i]),
            "output": _finite(outputs[i, min(int(said[i]), outputs.shape[1] - 1)].item()),
        }
        for i in worst
    ]
    return found | {
        "accuracy": (said == labels).double().mean().item(),
        "wrong": len(wrong),
        "confusion": counts.tolist() if classes <= CLASSES else None,
        "classes": classes,
        "mistakes": rows,
        "pixels": _pixels(x[worst]),
    }


def first_weights(w: Tensor) -> dict[str, Any]:
    """The first layer's weights of its first neurons as whole numbers from −127 to 127, and what 127 stands for."""
    shown = w[: max(WEIGHTS // w.shape[1], 1), :INPUTS].float().cpu()
    scale = shown.abs().flatten().kthvalue(math.ceil(0.999 * shown.numel())).values.clamp(min=1e-30)
    return {"values": packed((shown / scale * 127).round().clamp(-127, 127).to(torch.int8)), "scale": scale.item()}


def observed(net: bp.Network, seen: observations.Observations, classes: bool) -> dict[str, Any]:
    """The norms and histograms by epoch, and the followed examples, whose targets are classes or real values."""
    labels = class_labels(seen.y) if classes else None
    kept = [seen.values[f"a.{l}"].shape[-1] for l in range(len(net.layers))]
    return {
        "epochs": seen.epochs,
        "kept": kept,
        "chosen": seen.chosen.tolist(),
        "labels": None if labels is None else labels.tolist(),
        "x": packed(seen.x[:, :INPUTS]),
        "y": packed(seen.y[:, : kept[-1]]),
        "bounds": [bounds(f) for f in net.activations],
        **{name: packed(values) for name, values in seen.values.items()},
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


def page(shown: dict[str, Any]) -> str:
    """The page with everything in it, put in at once: what is put in may hold {{…}} itself."""
    text = (PAGE / "page.html").read_text(encoding="utf-8")
    parts = {
        "title": html.escape(f"{shown['name']}: a run of bp_torch"),
        "style": (PAGE / "style.css").read_text(encoding="utf-8"),
        "data": json.dumps(shown, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        "script": "\n".join((PAGE / name).read_text(encoding="utf-8") for name in SCRIPTS),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], text)


def _pixels(x: Tensor) -> dict[str, Any]:
    """Rows of inputs as whole numbers: from 0 to 255 what lies from 0 to 1, else from −127 to 127 of the largest."""
    x = x[:, :INPUTS].float()
    if x.numel() and (x.min() < 0 or x.max() > 1):
        return packed((x / x.abs().max() * 127).round().to(torch.int8))
    return packed((x * 255).round().to(torch.uint8))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


if __name__ == "__main__":
    common.run(main)

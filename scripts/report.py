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
from pathlib import Path
from typing import Any

import common
import observations
import torch
from torch import Tensor

import bp_torch as bp
from bp_torch import checks
from bp_torch.insight.observe import bounds
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
    config, records = read_config(run / "config.json"), read_metrics(run / "metrics.jsonl")
    seen = observations.read(run / observations.FILE) if (run / observations.FILE).is_file() else None
    if seen is not None and seen.sizes != net.sizes:
        raise ValueError(f"{run / observations.FILE} is of a network {seen.sizes}, and the run's is {net.sizes}")
    dataset, data_dir, target = common.of_run(options, config)
    like = net.layers[0].w
    test = common.load(dataset, "test", data_dir, target, str(like.device), like.dtype)
    shown = contents(run.resolve().name, net, config | {"dataset": dataset}, records, (test.x, test.y), seen)
    path = run / "report.html"
    path.write_text(page(shown), encoding="utf-8")
    print(f"The report: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    if seen is None:
        print(f"It follows no example: {run} has no {observations.FILE}, as runs of older versions")
    return 0


def read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refused)
        if not isinstance(config, dict) or not isinstance(config.get("dataset"), str):
            raise ValueError("it names no data set")
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return config


def read_metrics(path: Path) -> list[dict[str, float | None]]:
    """The records of the epochs; none where the run has no such file."""
    if not path.is_file():
        return []
    names = ("epoch", "cost", "validation_cost", "validation_accuracy", "seconds", "examples_per_second")
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        found = [{name: line.get(name) for name in names} for line in lines]
        for record in found:
            for name, value in record.items():
                if not isinstance(value, (int, float)) and (value is not None or name in ("epoch", "cost", "seconds")):
                    raise ValueError(f"{name} is {value!r}")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return found


def contents(
    name: str,
    net: bp.Network,
    config: dict[str, Any],
    records: list[dict[str, float | None]],
    test: tuple[Tensor, Tensor],
    seen: observations.Observations | None,
) -> dict[str, Any]:
    """All that the page shows, as JSON; arrays as `packed`."""
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
        "records": {key: [_finite(record[key]) for record in records] for key in records[0]} if records else None,
        "test": of_test_set(net, *test),
        "weights": first_weights(net.layers[0].w),
        "seen": None if seen is None else observed(net, seen, class_labels(test[1]) is not None),
    }


def of_test_set(net: bp.Network, x: Tensor, y: Tensor) -> dict[str, Any]:
    """Cost, accuracy, confusion matrix and the worst mistakes; for real-valued targets, the worst examples."""
    trace, labels, classes = net.forward(x), class_labels(y), max(net.sizes[-1], 2)
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
    """The page with everything in it."""
    text = (PAGE / "page.html").read_text(encoding="utf-8")
    parts = {
        "title": html.escape(f"{shown['name']}: a run of bp_torch"),
        "style": (PAGE / "style.css").read_text(encoding="utf-8"),
        "data": json.dumps(shown, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        "script": "\n".join((PAGE / name).read_text(encoding="utf-8") for name in SCRIPTS),
    }
    for name, part in parts.items():
        before, _, after = text.partition("{{" + name + "}}")
        text = before + part + after
    return text


def _pixels(x: Tensor) -> dict[str, Any]:
    """Rows of inputs as whole numbers: from 0 to 255 what lies from 0 to 1, else from −127 to 127 of the largest."""
    x = x[:, :INPUTS].float()
    if x.numel() and (x.min() < 0 or x.max() > 1):
        return packed((x / x.abs().max() * 127).round().to(torch.int8))
    return packed((x * 255).round().to(torch.uint8))


def _refused(constant: str) -> None:
    raise ValueError(f"it holds {constant}")


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


if __name__ == "__main__":
    common.run(main)

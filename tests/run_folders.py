"""Run folders for the tests of the report: made by the programs, or for data that the programs don't load."""

import json
from pathlib import Path

import torch
from torch import Tensor

import bp_torch as bp
from bp_torch.runs import observations

SECTIONS = ["follow", "curves", "confusion", "mistakes", "weights", "norms", "saturation", "timings", "settings"]


def made(folder: Path, net: bp.Network, data: tuple[Tensor, Tensor], dataset: str, epochs: int) -> None:
    """A run folder as train.py leaves it, for data of any kind."""
    folder.mkdir()
    watch = observations.start(data, data, epochs)
    observations.look(watch, net, 0)
    records = []
    for record in bp.train(net, data, epochs=epochs, lr=0.1, validation=data, engine="eager"):
        observations.look(watch, net, record.epoch)
        records.append(json.dumps({k: v for k, v in vars(record).items() if k != "position"}))
    observations.write(folder, watch, net)
    bp.save(folder / "weights.safetensors", net)
    (folder / "metrics.jsonl").write_text("\n".join(records) + "\n")
    config = {
        "dataset": dataset,
        "batch_size": 10,
        "target": "kind" if dataset == "table.csv" else None,
        "data_dir": ".",
    }
    (folder / "config.json").write_text(json.dumps(config))


KINDS = {  # sizes, cost, output, targets
    "real targets": ([5, 4, 2], "quadratic", "identity", "real"),
    "a column of features": ([9, 4, 3], "softmax_cross_entropy", None, "classes"),
    "one output": ([5, 4, 1], "binary_cross_entropy", None, "bits"),
    "many classes": ([36, 8, 60], "softmax_cross_entropy", None, "classes"),
    "wide": ([784, 500, 400, 300, 200, 10], "softmax_cross_entropy", None, "classes"),
    "no hidden layer": ([25, 3], "quadratic", None, "classes"),
}


def run_of_kind(kind: str, folder: Path, epochs: int = 2) -> tuple[Tensor, Tensor]:
    sizes, cost, output, targets = KINDS[kind]
    net, rng = bp.Network.create(sizes, cost=cost, output=output), torch.Generator().manual_seed(0)
    x = torch.randn(80, sizes[0], generator=rng)
    y = torch.arange(80) % sizes[-1]
    if targets == "real":
        y = torch.randn(80, sizes[-1], generator=rng)
    if targets == "bits":
        y = (torch.arange(80) % 2).float()[:, None]
    made(folder, net, (x, y), "table.csv" if sizes[0] < 10 else "idx", epochs)
    return x, y

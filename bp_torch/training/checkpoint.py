"""A network on disk: one safetensors file, whose header also says what the network is. No pickle: nothing can run."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bp_torch import checks
from bp_torch.activations import ACTIVATIONS, Activation
from bp_torch.costs import COSTS, Cost
from bp_torch.errors import CheckpointError
from bp_torch.network import Layer, Network

FORMAT = "bp_torch network 1"


def save(path: str | Path, net: Network) -> None:
    """Writes the network to `path` (safetensors), whole or not at all.

    The file holds w and b of every layer as "layers.0.w" and so on, and in its header the sizes, activations and cost.
    Raises ValueError for an own Activation or Cost, which has no name to be found by again.
    """
    names = [f.name for f in net.activations]
    own_cost = COSTS.get(net.cost_function.name) != net.cost_function
    if own_cost or _activations(names, net.cost_function) != net.activations:
        raise ValueError("only the package's own activations and costs can be saved: save the tensors of net.layers")
    description = {
        "format": FORMAT,
        "sizes": json.dumps(net.sizes),
        "activations": json.dumps(names),
        "cost": net.cost_function.name,
    }
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(_named(net.layers), temporary, metadata=description)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: str | Path, device: str | torch.device = "cpu") -> Network:
    """The network that `save` wrote to `path`, on `device`.

    Raises FileNotFoundError where there is no such file, CheckpointError where it is not one of `save`'s.
    """
    device = checks.available_device(device)
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no network at {path}")
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            description = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if description.get("format") != FORMAT:
            raise ValueError(f"its header does not say {FORMAT!r}")
        names, sizes = json.loads(description["activations"]), json.loads(description["sizes"])
        layers = tuple(Layer(tensors[f"layers.{l}.w"], tensors[f"layers.{l}.b"]) for l in range(len(names)))
        cost = COSTS[description["cost"]]
        activations = _activations(names, cost)
        if activations is None:
            raise ValueError(f"it names an activation that is not known, in {names}")
        net = Network(layers, activations, cost)
        if net.sizes != sizes or len(tensors) != len(_named(layers)):
            raise ValueError("its tensors are not those its header describes")
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or not a network saved by bp_torch: {error}") from error
    return net


def _activations(names: list[str], cost: Cost) -> tuple[Activation, ...] | None:
    """The entries of these names, with the cost's own output activation among them; None if one is not known."""
    known = ACTIVATIONS if cost.output is None else {**ACTIVATIONS, cost.output.name: cost.output}
    return tuple(known[name] for name in names) if set(names) <= set(known) else None


def _named(layers: Iterable[Layer]) -> dict[str, Tensor]:
    fields = ((f"layers.{l}.{name}", t) for l, layer in enumerate(layers) for name, t in layer._asdict().items())
    return {name: t.contiguous() for name, t in fields}

"""What a run observes of its network while it learns, and the file observations.safetensors that keeps it.

`start` chooses what to look at, `look` looks (at epoch 0: before training), and `write` writes the file. A run that is
resumed calls `restore` after `start`: it brings back what was observed before.
"""

import json
import warnings
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bp_torch import checks
from bp_torch.insight.observe import (
    BINS,
    epochs_to_keep,
    examples_to_follow,
    kept_neurons,
    kept_weights,
    observe,
    spread,
)
from bp_torch.network import Network
from bp_torch.saving import durable
from bp_torch.threads import threads

FILE = "observations.safetensors"
FORMAT = "bp_torch observations 1"
PROBE = 250  # training examples that norms and histograms are taken over

Pair = tuple[Tensor, Tensor]


class Watch(NamedTuple):
    """What is looked at, when, and what came of it: by_epoch[epoch] is what `observe` returned after that epoch.

    chosen: the numbers, in the test set, of the examples to follow.
    """

    probe: Pair
    followed: Pair
    chosen: Tensor
    epochs: set[int]
    by_epoch: dict[int, dict[str, Tensor]]


class Observations(NamedTuple):
    """What a file holds: `epochs`, and the values of `observe` with a leading dimension for them.

    chosen (m,), x (m, n_0) and y (m, n_L): the followed examples, their number in the test set and their targets.
    """

    sizes: list[int]
    epochs: list[int]
    chosen: Tensor
    x: Tensor
    y: Tensor
    values: dict[str, Tensor]


def start(data: Pair, test: Pair, epochs: int) -> Watch:
    """Chooses the probe (of the training set) and the examples to follow (of the test set)."""
    probe = spread(len(data[0]), PROBE).to(data[0].device)
    chosen = examples_to_follow(test[1])
    rows = chosen.to(test[0].device)
    return Watch((data[0][probe], data[1][probe]), (test[0][rows], test[1][rows]), chosen, epochs_to_keep(epochs), {})


def look(watch: Watch, net: Network, epoch: int) -> None:
    """Observes the network after this epoch, if it is one of those to look at."""
    if epoch in watch.epochs:
        with threads(1):  # all there is to do takes less time than to wake the others
            watch.by_epoch[epoch] = observe(net, watch.probe, watch.followed)


def write(folder: Path, watch: Watch, net: Network) -> None:
    """Writes what was observed so far, whole or not at all."""
    epochs = sorted(watch.by_epoch)
    if not epochs:
        return
    tensors = {
        name: torch.stack([watch.by_epoch[epoch][name] for epoch in epochs]) for name in watch.by_epoch[epochs[0]]
    }
    tensors["epochs"] = torch.tensor(epochs, dtype=torch.int64, device="cpu")
    tensors["followed.chosen"] = watch.chosen
    tensors["followed.x"] = watch.followed[0].float().cpu()
    tensors["followed.y"] = (
        checks.targets(watch.followed[1], watch.followed[0], net.sizes[-1], net.layers[0].w).float().cpu()
    )
    about = {"format": FORMAT, "sizes": json.dumps(net.sizes)}
    durable.write(folder / FILE, safetensors.torch.save(tensors, metadata=about))


def restore(watch: Watch, folder: Path, until: int) -> None:
    """Brings back what an earlier part of the run observed, up to this epoch; what it did not write in time is lost.

    Warns where the file is damaged or of other examples, and observes anew.
    """
    if not (folder / FILE).exists():
        return
    try:
        earlier = read(folder)
        if earlier.chosen.tolist() != watch.chosen.tolist() or earlier.x.shape[1] != watch.followed[0].shape[1]:
            raise ValueError(f"{folder / FILE} is of other examples than this run's")
    except ValueError as error:
        warnings.warn(f"{error}: its observations are lost, and the run goes on", RuntimeWarning, stacklevel=3)
        return
    for i, epoch in enumerate(earlier.epochs):
        if epoch <= until:
            watch.by_epoch[epoch] = {name: values[i] for name, values in earlier.values.items()}


def read(folder: Path) -> Observations:
    """The file that `write` wrote; raises ValueError, naming it, where it is not one."""
    path = folder / FILE
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if about.get("format") != FORMAT:
            raise ValueError(f"its header does not say {FORMAT!r}")
        epochs: list[int] = tensors.pop("epochs").tolist()
        chosen, x, y = (tensors.pop(f"followed.{name}") for name in ("chosen", "x", "y"))
        sizes: list[int] = json.loads(about["sizes"])
        _check_complete(tensors | {"chosen": chosen, "x": x, "y": y}, sizes, epochs)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or was not written by a run: {error}") from error
    return Observations(sizes, epochs, chosen, x, y, tensors)


def _check_complete(tensors: dict[str, Tensor], sizes: list[int], epochs: list[int]) -> None:
    if not epochs or epochs != sorted(set(epochs)) or not len(tensors["chosen"]):
        raise ValueError("it holds no epochs in order, or no examples")
    when, followed, layers = (len(epochs),), (len(tensors["chosen"]),), (len(sizes) - 1,)
    wanted = {"x": (*followed, sizes[0]), "y": (*followed, sizes[-1]), "cost": when, "followed_cost": when + followed}
    wanted |= dict.fromkeys(("error_norm", "weight_gradient_norm", "bias_gradient_norm"), when + layers)
    wanted |= dict.fromkeys(("activation_counts", "slope_counts"), (*when, *layers, BINS))
    for l, count in enumerate(kept_neurons(sizes)):
        wanted |= {f"{name}.{l}": (*when, *followed, count) for name in ("a", "slope", "delta")}
    wanted |= {f"w.{l}": (*when, sizes[l + 1], sizes[l]) for l in kept_weights(sizes)}
    for name, shape in wanted.items():
        if tuple(tensors[name].shape) != shape or tensors[name].dtype != torch.float32:
            raise ValueError(f"{name} is {tensors[name].dtype} of the shape {tuple(tensors[name].shape)}, not {shape}")
    if len(tensors) != len(wanted) + 1:
        raise ValueError("it holds more than it should")

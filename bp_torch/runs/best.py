"""Early stopping of a run in its folder, and best.safetensors, the weights of its best epoch so far.

All is decided by the records, so that a run that goes on stops where one that was left alone does.
"""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import torch

from bp_torch.errors import CheckpointError
from bp_torch.network import Network
from bp_torch.runs.config import Config
from bp_torch.saving import durable
from bp_torch.saving.checkpoint import load_checkpoint, save
from bp_torch.state import Position, State, Values
from bp_torch.training.loop import Record
from bp_torch.training.stopping import is_better

FILE = "best.safetensors"
MONITOR = "validation_cost"


def best(records: Sequence[Record]) -> Record | None:
    """The first record of the lowest validation cost; None where none is finite."""
    found = None
    for record in records:
        if record.validation_cost is not None and is_better(record, found, MONITOR):
            found = record
    return found


def is_over(config: Config, epochs: int, found: Record | None) -> bool:
    """Whether nothing is left to train after so many epochs, of which this is the best: all, or the patience is out."""
    if epochs >= config.recipe.epochs:
        return True
    return config.patience is not None and epochs - (found.epoch if found else 0) >= config.patience


def kept(config: Config, records: Sequence[Record]) -> Record | None:
    """That of the epoch whose weights the run has: of a run with a patience that is over, the best one; else None."""
    found = None if config.patience is None else best(records)
    return found if is_over(config, len(records), found) else None


def keep(folder: Path, config: Config, net: Network, epoch: int) -> None:
    """Writes the weights that the network has after this epoch."""
    save(folder / FILE, net, position=Position(epoch + 1), settings=config.settings())


@torch.inference_mode()
def take(folder: Path, net: Network, epoch: int) -> bool:
    """Gives the network the weights of this epoch; returns whether they are others than it had.

    Raises CheckpointError where the folder does not have them.
    """
    there = [path for path in (folder / FILE, durable.previous(folder / FILE)) if path.is_file()]
    checkpoints = (load_checkpoint(path, net.layers[0].w.device) for path in there)
    theirs = next((each.net for each in checkpoints if each.position.epoch == epoch + 1), None)
    if theirs is None:
        raise CheckpointError(f"{folder / FILE} does not hold the weights of epoch {epoch}, the best: put it back")
    pairs = zip(chain(*net.layers), chain(*theirs.layers), strict=True)
    changed = not all(torch.equal(ours, other) for ours, other in pairs)
    State(net).restore(Values(theirs.layers))
    return changed

"""Feed-forward networks trained by backpropagation written out by hand, on raw torch tensors."""

import importlib
from typing import TYPE_CHECKING, Any

from bp_torch.version import VERSION

if TYPE_CHECKING:
    from bp_torch import data, runs, schedules
    from bp_torch.activations import ACTIVATIONS, Activation
    from bp_torch.costs import COSTS, Cost
    from bp_torch.errors import CheckpointError, DataError, DivergenceError, EngineError
    from bp_torch.initialisers import INITIALISERS
    from bp_torch.insight import per_example
    from bp_torch.insight.batch import SeenBatch, batch_of
    from bp_torch.insight.check import Check, check
    from bp_torch.insight.summary import summary
    from bp_torch.network import Network, backprop, stack
    from bp_torch.optimisers import (
        OPTIMISERS,
        SGD,
        Adadelta,
        Adagrad,
        Adam,
        Adamax,
        AdamW,
        Lion,
        NAdam,
        RMSprop,
        SparseAdam,
    )
    from bp_torch.recipe import Recipe
    from bp_torch.saving.checkpoint import Checkpoint, load, load_checkpoint, save
    from bp_torch.schedules import SCHEDULES
    from bp_torch.sequential import from_sequential, to_sequential
    from bp_torch.state import Position
    from bp_torch.trace import BackpropTrace, Layer, Trace
    from bp_torch.training.loop import Record, train
    from bp_torch.training.progress import fit

__version__ = VERSION

_HOMES = {
    "bp_torch.activations": "ACTIVATIONS Activation",
    "bp_torch.costs": "COSTS Cost",
    "bp_torch.errors": "CheckpointError DataError DivergenceError EngineError",
    "bp_torch.initialisers": "INITIALISERS",
    "bp_torch.insight": "per_example",
    "bp_torch.insight.batch": "SeenBatch batch_of",
    "bp_torch.insight.check": "Check check",
    "bp_torch.insight.summary": "summary",
    "bp_torch.network": "Network backprop stack",
    "bp_torch.optimisers": "OPTIMISERS SGD Adadelta Adagrad Adam Adamax AdamW Lion NAdam RMSprop SparseAdam",
    "bp_torch.recipe": "Recipe",
    "bp_torch.saving.checkpoint": "Checkpoint load load_checkpoint save",
    "bp_torch.schedules": "SCHEDULES",
    "bp_torch.sequential": "from_sequential to_sequential",
    "bp_torch.state": "Position",
    "bp_torch.trace": "BackpropTrace Layer Trace",
    "bp_torch.training.loop": "Record train",
    "bp_torch.training.progress": "fit",
}
"""Where the public names live. A module, and torch with it, is imported when a name of it is first used."""

__all__ = [
    "ACTIVATIONS",
    "COSTS",
    "INITIALISERS",
    "OPTIMISERS",
    "SCHEDULES",
    "SGD",
    "Activation",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "BackpropTrace",
    "Check",
    "Checkpoint",
    "CheckpointError",
    "Cost",
    "DataError",
    "DivergenceError",
    "EngineError",
    "Layer",
    "Lion",
    "NAdam",
    "Network",
    "Position",
    "RMSprop",
    "Recipe",
    "Record",
    "SeenBatch",
    "SparseAdam",
    "Trace",
    "backprop",
    "batch_of",
    "check",
    "data",
    "fit",
    "from_sequential",
    "load",
    "load_checkpoint",
    "per_example",
    "runs",
    "save",
    "schedules",
    "stack",
    "summary",
    "to_sequential",
    "train",
]


def __getattr__(name: str) -> Any:
    """A public name, or a module of the package, at its first use (PEP 562)."""
    home = next((module for module, names in _HOMES.items() if name in names.split()), None)
    if home is None:
        return _module(name)
    value = getattr(__import__(home, fromlist=[name]), name)  # as "from home import name", name being a module or not
    globals()[name] = value
    return value


def _module(name: str) -> Any:
    missing = AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name.startswith("_"):
        raise missing
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise missing from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

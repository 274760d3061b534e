"""Feed-forward networks trained by backpropagation written out by hand, on raw torch tensors."""

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
from bp_torch.version import VERSION

__version__ = VERSION

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

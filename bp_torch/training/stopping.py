"""Early stopping: a run ends where a figure no longer improves, and the network gets its best epoch's weights."""

import math
from collections.abc import Iterable, Iterator

from bp_torch.network import Network
from bp_torch.state import state_of
from bp_torch.training.loop import Record
from bp_torch.updates import Optimiser

MONITORS = {"validation_cost": 1, "validation_accuracy": -1, "cost": 1}
"""What a run can be stopped by, and its sign: times that, less is better."""


def is_better(record: Record, best: Record | None, monitor: str) -> bool:
    """Whether the record's figure is better than that of the best before it; one that is not finite is not."""
    sign = MONITORS[monitor]
    return sign * getattr(record, monitor) < (math.inf if best is None else sign * getattr(best, monitor))


def early_stopping(
    records: Iterable[Record], net: Network, rule: Optimiser, monitor: str, patience: int | None, restore_best: bool
) -> Iterator[Record]:
    """Passes the records of a training of `net` through: all, or until there was no better one for `patience` epochs.

    rule: by which the network is trained.
    monitor: the figure that is to improve, a key of `MONITORS`. An equal one is no better, nor is one that is not
        finite. Only epochs that are over count.
    restore_best: however it ends, the network is then given the weights of the best epoch, and what the optimiser keeps
        its values of then: a run goes on from there by that record's position. Without a finite figure all is left as
        it is.
    """
    best: Record | None = None
    waited, kept = 0, None
    try:
        for record in records:
            if record.whole:
                if is_better(record, best, monitor):
                    best, waited = record, 0
                    state = state_of(net, record.position.slots, rule)
                    kept = (state, state.copy()) if restore_best else None
                else:
                    waited += 1
            yield record
            if waited == patience:
                break
    finally:
        if kept is not None:
            state, values = kept
            state.restore(values)

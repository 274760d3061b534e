"""Where a run stands, and whether a network can go on from there."""

import math
from typing import NamedTuple

from bp_torch import checks
from bp_torch.network import Network


class Position(NamedTuple):
    """So many batches of this epoch (from 1) are done; cost_sum is Σ C_x over their examples, seconds their time.

    With the weights, the data and the arguments of `train`, it is all that the rest of a run depends on.
    """

    epoch: int = 1
    batch: int = 0
    cost_sum: float = 0.0
    seconds: float = 0.0

    def checked(self) -> "Position":
        """Itself, if a run can stand there; raises ValueError."""
        checks.whole("a position's epoch", self.epoch, 1)
        checks.whole("a position's batch", self.batch, 0)
        for name, value in (("cost_sum", self.cost_sum), ("seconds", self.seconds)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ValueError(f"a position's {name} must be a finite number, not {value!r}")
        return self


def finite(net: Network) -> bool:
    """Whether every weight and bias is finite."""
    return all(bool(t.isfinite().all()) for layer in net.layers for t in layer)

"""Where a training first met a value that is not finite."""

from collections.abc import Iterator

import torch
from torch import Tensor

from bp_torch import sparse
from bp_torch.network import Network
from bp_torch.passes import mean_cost
from bp_torch.trace import Trace
from bp_torch.training.engines.eager import by_columns, replay
from bp_torch.training.job import Job, Steps


@torch.inference_mode()
def first_not_finite(job: Job, steps: Steps) -> tuple[int, int, str]:
    """Replays an epoch that failed, step by step, and says where: the batch (from 1), the layer, and what it was."""
    with by_columns(job) as state:
        net = state.net
        for batch, (given, trace) in enumerate(replay(job._replace(state=state), steps), start=1):
            for l, what, tensor in _in_order(net, trace, given.y):
                if not tensor.isfinite().all():
                    return batch, l, what
    return len(steps.numbers), len(net.layers) - 1, "its cost"


def _in_order(net: Network, trace: Trace, y: Tensor) -> Iterator[tuple[int, str, Tensor]]:
    """What a step computed, in the order it did: (layer, what it is, tensor)."""
    last = len(net.layers) - 1
    yield 0, "its input x", sparse.values(trace.a[0])
    for l in range(last + 1):
        yield l, "its weighted input z", trace.z[l]
        yield l, "its activation a", trace.a[l + 1]
    yield last, "its targets y", y
    yield last, "its cost", mean_cost(net, trace, y)
    for l in range(last, -1, -1):
        yield l, "its weights after the step", net.layers[l].w
        yield l, "its biases after the step", net.layers[l].b

"""The eager engine: one step after the other, as written."""

import math

import torch
from torch import Tensor

from bp_torch.network import Network, Trace
from bp_torch.training.batches import chunks
from bp_torch.training.engines.common import Epoch, batch_cost, inputs_of, networks_of, products_in, refresh, step_of
from bp_torch.training.step import rate_of


def why_not(net: Network, batch_size: int, precision: str) -> str | None:
    """Nothing keeps this engine from running."""
    return None


def eager(net: Network, x: Tensor, y: Tensor, batch_size: int, precision: str) -> Epoch:
    """The engine: see `Epoch`. x (m, n_0), y (m, n_L)."""
    x, networks = inputs_of(x, precision), networks_of(net, precision)
    step = step_of(networks)

    @torch.inference_mode()
    def epoch(order: Tensor, lr: float) -> float:
        rates = {m: rate_of(lr, m, like=y) for m in (batch_size, len(order) % batch_size) if m}
        total = 0.0
        refresh(networks)
        with products_in(precision):
            for chunk in chunks(x, y, order, batch_size):
                outputs: list[tuple[Tensor, Tensor]] = []
                for x_batch, y_batch, m in chunk.batches:
                    trace = step(x_batch, y_batch, rates[m])
                    outputs.append((trace.z[-1], trace.a[-1]))
                z, a = map(torch.cat, zip(*outputs, strict=True))
                total += batch_cost(net, Trace((a,), (z,)), chunk.y).item()
                if not math.isfinite(total):
                    break
        return total

    return epoch

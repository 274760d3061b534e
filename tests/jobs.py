"""Jobs for the tests of the engines."""

from typing import Any

import torch
from torch import Tensor

import bp_torch as bp
from bp_torch.state import State
from bp_torch.training.job import Job
from bp_torch.training.plan import plan_of


def job(net: bp.Network, data: tuple[Tensor, Tensor] | int = 1, **settings: Any) -> Job:
    """A job for the network on this data, or on so many examples, which are on no device."""
    if isinstance(data, int):
        like = net.layers[0].w
        data = (
            torch.empty(data, net.sizes[0], dtype=like.dtype, device="meta"),
            torch.empty(data, net.sizes[-1], dtype=like.dtype, device="meta"),
        )
    recipe = bp.Recipe(**{"lr": 0.1, **settings})
    return Job(State(net), data, recipe, plan_of(recipe, len(net.layers), len(data[0]), False))

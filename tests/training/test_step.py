"""A step: BP3 and BP4 as the update, against the textbook's step."""

import pytest
import reference
import torch

import bp_torch as bp
from bp_torch.state import State
from bp_torch.training.step import Batch, step


def _parameters(net: bp.Network) -> list[torch.Tensor]:
    return [t for layer in net.layers for t in layer]


@pytest.mark.parametrize("case", reference.CASES, ids="-".join)
def test_the_update_in_place_is_the_textbook_step(case: tuple[str, str, str]) -> None:
    """w − η ∂C/∂w with the gradient made first, against BP4 as the update."""
    net = reference.network([5, 4, 6, 3], *case)
    x, y = reference.examples(net, 7)
    wanted = [t - 0.3 * g for t, g in zip(_parameters(net), (t for g in net.gradients(x, y) for t in g), strict=True)]
    step(State(net), Batch(x, y, x.new_ones(7)), (x.new_tensor(-0.3 / 7),))
    for got, expected in zip(_parameters(net), wanted, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-15)


def test_a_stack_is_stepped_as_its_networks_are() -> None:
    nets = [bp.Network.create([5, 4, 3], seed=seed, dtype=torch.float64) for seed in range(3)]
    stacked = bp.stack(nets)
    x, y = reference.examples(nets[0], 7)
    batch, numbers = Batch(x, y, x.new_ones(7)), (x.new_tensor(-0.3 / 7),)
    step(State(stacked), batch, numbers)
    for k, net in enumerate(nets):
        step(State(net), batch, numbers)
        for got, expected in zip(_parameters(stacked), _parameters(net), strict=True):
            torch.testing.assert_close(got[k], expected)

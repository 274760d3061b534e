"""A run with a given seed goes the way it always went: figures of 200 steps of three networks in float64."""

from itertools import chain

import pytest
import torch

import bp_torch as bp
from bp_torch.threads import threads

RUNS = {
    "sigmoid, quadratic": (
        dict(sizes=[12, 9, 7, 4], hidden="sigmoid", cost="quadratic", seed=11),
        [
            [0.34210828865989745, 0.15689096383645912],
            [9.652517423419656, -0.1516822675527054, 0.27875422632451025],
            [8.074794280932352, 0.09122241196750462, -2.3848633162864217],
            [4.032184288678076, -0.9700679319337145, -0.24213489891909995],
        ],
    ),
    "relu, softmax cross-entropy": (
        dict(sizes=[10, 8, 5], hidden="relu", cost="softmax_cross_entropy", seed=12),
        [
            [1.8709534388371987, 1.5845904152865171],
            [12.654755807210282, 0.06335001471607012, -0.16632084415747397],
            [2.5360003836143212, -0.05385071301721746, 0.20802882127876696],
        ],
    ),
    "gelu and tanh, binary cross-entropy": (
        dict(sizes=[6, 8, 8, 3], hidden=["gelu", "tanh"], cost="binary_cross_entropy", seed=13),
        [
            [2.3305046807254857, 2.014543124454427],
            [16.776699841499596, 0.24930886583858206, 0.014077442631343907],
            [8.271399418256314, -0.026402837281794152, -0.21086570107683034],
            [2.7839529829917025, -0.31604911503896777, 0.08201571278026762],
        ],
    ),
}
"""What `Network.create` takes; the costs of the first and the last epoch, and ‖w‖², w₀₀ and b₀ of each layer."""


@pytest.mark.parametrize("engine", ["eager", "native"])
@pytest.mark.parametrize("name", RUNS)
def test_200_steps_go_the_way_they_went(name: str, engine: str) -> None:
    described, figures = RUNS[name]
    net = bp.Network.create(**described, dtype=torch.float64)
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(95, net.sizes[0], generator=rng, dtype=torch.float64)
    y = torch.rand(95, net.sizes[-1], generator=rng, dtype=torch.float64)
    if net.cost_function.name == "softmax_cross_entropy":
        y = y / y.sum(1, keepdim=True)
    with threads(1):
        training = bp.train(
            net,
            (x, y),
            epochs=20,
            batch_size=10,
            lr=lambda epoch: 0.3 if epoch <= 10 else 0.1,
            seed=5,
            engine=engine,
        )
        costs = [record.cost for record in training]
    weights = [[w.square().sum().item(), w[0, 0].item(), b[0].item()] for w, b in net.layers]
    assert list(chain([costs[0], costs[-1]], *weights)) == pytest.approx(list(chain(*figures)), rel=1e-12, abs=1e-13)

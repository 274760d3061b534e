"""What the tests of the engines train: 200 steps, with a ragged last batch and a change of lr midway."""

import pytest
import reference
import torch

import bp_torch as bp

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
SIZES, EXAMPLES, BATCH, EPOCHS = [20, 13, 17, 6], 97, 10, 20  # ten batches an epoch, the last of seven
QUICK = [("sigmoid", "quadratic", "sigmoid"), ("relu", "softmax_cross_entropy", "softmax")]  # the others are slow


def network(case: tuple[str, str, str], dtype: torch.dtype = torch.float64, device: str = "cpu") -> bp.Network:
    hidden, cost, output = case
    return bp.Network.create(
        SIZES, hidden=hidden, cost=cost, output=output, init="scaled", seed=1, dtype=dtype, device=device
    )


def data(net: bp.Network) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = reference.examples(net, EXAMPLES)
    like = net.layers[0].w
    return x.to(like), y.to(like)


def halved_midway(epoch: int) -> float:
    return 0.01 if epoch <= EPOCHS // 2 else 0.005


def run(net: bp.Network, engine: str, precision: str = "dtype") -> list[float]:
    records = bp.train(
        net,
        data(net),
        epochs=EPOCHS,
        batch_size=BATCH,
        lr=halved_midway,
        seed=7,
        engine=engine,
        precision=precision,
    )
    return [record.cost for record in records]


def agrees(engine: str, case: tuple[str, str, str], dtype: torch.dtype, device: str = "cpu") -> None:
    eager, other = network(case, dtype, device), network(case, dtype, device)
    costs, other_costs = run(eager, "eager"), run(other, engine)
    assert other_costs == pytest.approx(costs, rel=TOLERANCE[dtype])
    for mine, theirs in zip(eager.layers, other.layers, strict=True):
        for wanted, got in zip(mine, theirs, strict=True):
            assert reference.relative_error(got, wanted) < TOLERANCE[dtype]

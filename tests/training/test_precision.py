"""Precision: what the passes are computed in."""

from typing import Any

import pytest
import reference
import torch
from engine_cases import BATCH, data, network, run

import bp_torch as bp
from bp_torch.training import engines
from bp_torch.training.engines import compiled
from bp_torch.training.precision import products_in


@pytest.fixture(autouse=True)
def few_unrolled_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "LAYERS_COMPILED", 6)


def test_precision_classes_are_for_float32() -> None:
    net = network(("sigmoid", "quadratic", "sigmoid"))
    with pytest.raises(ValueError, match=r"for networks of torch\.float32, and this one is of torch\.float64"):
        bp.train(net, data(net), precision="bf16")


@pytest.mark.parametrize("engine", ["eager", "compiled"])
def test_bf16_keeps_float32_weights_and_follows_float32(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "precision_missing", lambda net, precision: None)  # correct, if slow, on any CPU
    exact, mixed = (network(("relu", "softmax_cross_entropy", "softmax"), torch.float32) for _ in range(2))
    costs, mixed_costs = run(exact, "eager"), run(mixed, engine, "bf16")
    assert mixed_costs == pytest.approx(costs, rel=1e-2)
    for wanted, got in zip(exact.layers, mixed.layers, strict=True):
        assert got.w.dtype == torch.float32
        assert 0 < reference.relative_error(got.w, wanted.w) < 1e-2


@pytest.mark.parametrize("asked", ["dtype", "tf32"])
def test_the_callers_own_setting_of_products_is_put_back(asked: str) -> None:
    mkldnn: Any = torch.backends.mkldnn
    cuda, cpu = torch.backends.cuda.matmul, mkldnn.matmul
    before = cuda.fp32_precision, cpu.fp32_precision
    try:
        cuda.fp32_precision, cpu.fp32_precision = "tf32", "bf16"
        with products_in(asked):
            wanted = "tf32" if asked == "tf32" else "ieee"
            assert (cuda.fp32_precision, cpu.fp32_precision) == (wanted, "ieee")
        assert (cuda.fp32_precision, cpu.fp32_precision) == ("tf32", "bf16")
        list(bp.train(net := network(("sigmoid", "quadratic", "sigmoid"), torch.float32), data(net), epochs=1))
    finally:
        cuda.fp32_precision, cpu.fp32_precision = before


def test_small_steps_are_not_lost_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps below bfloat16's resolution add up in the float32 weights."""
    monkeypatch.setattr(engines, "precision_missing", lambda net, precision: None)
    net = network(("sigmoid", "quadratic", "sigmoid"), torch.float32)
    before = net.layers[0].w.clone()
    list(bp.train(net, data(net), epochs=1, batch_size=BATCH, lr=1e-4, engine="eager", precision="bf16"))
    assert 0 < reference.relative_error(net.layers[0].w, before) < 1e-3


def test_the_name_of_before_is_taken() -> None:
    assert bp.Recipe(precision="ieee") == bp.Recipe(precision="dtype") == bp.Recipe()

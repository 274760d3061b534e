"""Outputs and norms of many examples by generated code: those of the passes, whatever the network, x and threads."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from scipy.sparse import csr_array
from torch import Tensor

import bp_torch as bp
from bp_torch import evaluation
from bp_torch.activations import OUTPUTS
from bp_torch.insight import per_example
from bp_torch.native import rowwise
from bp_torch.threads import threads
from bp_torch.trace import Layer

BLOCK, N_IN = rowwise.BLOCK, 70
OUTPUT = {"softmax_cross_entropy": "softmax", "binary_cross_entropy": "sigmoid", "poisson": "exp"}


def network(cost: str, dtype: torch.dtype = torch.float64) -> bp.Network:
    """A hidden layer of each activation."""
    hidden, output = list(bp.ACTIVATIONS.values()), OUTPUTS | bp.ACTIVATIONS
    sizes, rng = [N_IN, *[9] * len(hidden), 4], torch.Generator().manual_seed(2)
    layers = tuple(
        Layer(
            torch.randn(n_out, n_in, generator=rng, dtype=dtype) / n_in**0.5,
            torch.randn(n_out, generator=rng, dtype=dtype),
        )
        for n_in, n_out in pairwise(sizes)
    )
    return bp.Network(layers, (*hidden, output[OUTPUT.get(cost, "tanh")]), bp.COSTS[cost])


def examples(m: int, density: float, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(m)
    x = torch.randn(m, N_IN, generator=rng, dtype=dtype)
    x = x * (torch.rand(m, N_IN, generator=rng) < density)
    x[0], x[:, 5] = 0, 0
    return x, torch.randint(0, 4, (m,), generator=rng)


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """All is many. The list grows with the examples that generated code takes."""
    taken, run = [], rowwise.rowwise

    def counted(of: rowwise.OfRows, rows: list[Tensor], *others: Any) -> list[Tensor]:
        results = run(of, rows, *others)
        taken.append(len(rows[0]))
        return results

    monkeypatch.setattr(evaluation, "MANY", 1)
    monkeypatch.setattr(per_example, "MANY", 1)
    monkeypatch.setattr(rowwise, "rowwise", counted)
    return taken


def close(result: Tensor, wanted: Tensor) -> None:
    tolerance = 1e-12 if result.dtype == torch.float64 else 2e-5
    torch.testing.assert_close(result, wanted, rtol=tolerance, atol=tolerance, equal_nan=True)


CASES = [
    ("softmax_cross_entropy", 0.1, torch.float64),
    ("quadratic", 1.0, torch.float32),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in (
            ("binary_cross_entropy", 1.0, torch.float64),
            ("poisson", 0.1, torch.float64),
            ("softmax_cross_entropy", 0.1, torch.float32),
        )
    ),
]


@pytest.mark.parametrize(("cost", "density", "dtype"), CASES)
def test_outputs_are_those_of_the_forward_pass(
    cost: str, density: float, dtype: torch.dtype, generated: list[int]
) -> None:
    net = network(cost, dtype)
    for m, count in ((BLOCK, 1), (BLOCK + 1, 2), (3 * BLOCK - 1, 3)):
        x, y = examples(m, density, dtype)
        trace = net.forward(x)
        with threads(count):
            z, a = evaluation.outputs(net, x)
            of_cost = net.cost(x, y)
        assert generated[-2:] == [m, m]
        close(z, trace.z[-1])
        close(a, trace.a[-1])
        assert z.is_contiguous()
        close(of_cost, net.cost_function.value(trace.z[-1], trace.a[-1], torch.eye(4, dtype=dtype)[y]).mean())


@pytest.mark.parametrize(("cost", "density", "dtype"), CASES[1:])
def test_norms_are_those_of_the_sweep(cost: str, density: float, dtype: torch.dtype, generated: list[int]) -> None:
    net, (x, y) = network(cost, dtype), examples(2 * BLOCK + 3, density, dtype)
    close(bp.per_example.gradient_norms(net, x, y), bp.per_example.gradient_norms(net, x, y, block_size=9))
    by_layer = bp.per_example.gradient_norms(net, x, y, by_layer=True)
    close(by_layer, bp.per_example.gradient_norms(net, x, y, by_layer=True, block_size=9))
    assert generated == [len(x)] * 2


def small() -> bp.Network:
    return bp.Network.create([N_IN, 8, 4], hidden="relu", cost="softmax_cross_entropy", seed=0)


@pytest.mark.parametrize(
    "layout",
    [
        lambda x: x[:, ::2],
        lambda x: x.mT.contiguous().mT,
        lambda x: torch._neg_view(-x),  # pyright: ignore[reportPrivateImportUsage]
        lambda x: x[1:],
    ],
)
def test_examples_may_lie_in_memory_as_they_like(layout: Callable[[Tensor], Tensor], generated: list[int]) -> None:
    x = layout(torch.cat([examples(BLOCK + 7, 0.1, torch.float32)[0]] * 2, -1))
    net = bp.Network.create([x.shape[1], 8, 4], hidden="relu", cost="softmax_cross_entropy", seed=0)
    close(evaluation.outputs(net, x)[1], net.forward(x).a[-1])
    assert generated


def test_what_generated_code_cant_take_is_computed_as_ever(
    generated: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, (x, y) = small(), examples(BLOCK, 0.2, torch.float32)
    few, stack = x[: BLOCK - 1], bp.stack([small(), small()])
    sparse: Any = csr_array(x.numpy())
    assert torch.equal(net.predict(few), net.forward(few).a[-1].argmax(-1))
    assert torch.equal(net.predict(sparse), net.forward(x).a[-1].argmax(-1))
    assert stack.cost(x, y).shape == (2,)
    assert net.to(torch.bfloat16).predict(x.bfloat16()).shape == (BLOCK,)
    with monkeypatch.context() as patch:
        patch.setattr(rowwise, "compiler", lambda: None)
        net.predict(x)
    assert not generated
    unprintable = bp.Activation("own", lambda z: z.cumsum(-1), lambda z, a: torch.ones_like(z))
    own = bp.Network(net.layers, (unprintable, net.activations[1]), net.cost_function)
    close(own.predict_proba(x), own.forward(x).a[-1])


def test_own_functions_may_change_between_calls(generated: list[int]) -> None:
    slope = [0.1]
    own = bp.Activation("own", lambda z: torch.maximum(z, slope[0] * z), lambda z, a: torch.ones_like(z))
    net, (x, _) = small(), examples(BLOCK, 0.2, torch.float32)
    net = bp.Network(net.layers, (own, net.activations[1]), net.cost_function)
    for slope[0] in (0.1, 0.9):
        close(net.predict_proba(x), net.forward(x).a[-1])
    assert len(generated) == 2


def test_nan_and_inf_are_found(generated: list[int]) -> None:
    net, (x, _) = small(), examples(BLOCK + 5, 0.1, torch.float32)
    x[83, 7] = torch.nan
    with pytest.raises(ValueError, match="the outputs for row 83 of x are not finite"):
        net.predict(x)
    net.layers[0].w[2, 5] = torch.inf  # a column that is never active: 0 · Inf is no number
    x, _ = examples(BLOCK + 5, 0.1, torch.float32)
    with pytest.raises(ValueError, match="not finite"):
        net.predict(x)
    assert generated


@pytest.mark.parametrize("scale", [1e-13, 1e-24, 1e13, 1e16])
def test_norms_of_tiny_and_huge_gradients(scale: float, generated: list[int]) -> None:
    """Whose squares float32 does not hold."""
    net, (x, y) = small(), examples(BLOCK, 1.0, torch.float32)
    net = bp.Network(net.layers, (net.activations[0], bp.ACTIVATIONS["identity"]), bp.COSTS["quadratic"])
    x[3:6] *= scale
    values = torch.eye(4)[y]
    result = bp.per_example.gradient_norms(net, x, values)
    close(result, bp.per_example.gradient_norms(net, x, values, block_size=9))
    assert generated
    assert result.isfinite().all()


@pytest.mark.parametrize("engine", ["native", "eager"])
def test_a_native_training_is_validated_by_generated_code(engine: str, generated: list[int]) -> None:
    data, (x, y) = examples(50, 0.1, torch.float32), examples(BLOCK + 1, 0.1, torch.float32)
    *_, last = bp.train(net := small(), data, validation=(x, y), engine=engine, epochs=3)
    assert bool(generated) == (engine == "native")
    assert last.validation_cost == pytest.approx(cost_of(net, x, y), rel=1e-5)
    assert last.validation_accuracy == (net.forward(x).a[-1].argmax(-1) == y).double().mean()


def cost_of(net: bp.Network, x: Tensor, y: Tensor) -> float:
    trace = net.forward(x)
    return net.cost_function.value(trace.z[-1], trace.a[-1], torch.eye(4)[y]).mean().item()


def test_little_work_imports_and_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowwise, "rowwise", lambda *_: pytest.fail("code was generated"))
    net, (x, y) = small(), examples(2000, 0.1, torch.float32)
    net.accuracy(x, y)
    bp.per_example.gradient_norms(net, x, y)


def test_many_examples_are_many_calls_or_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """By sizes alone: what is asked for often is worth it sooner."""
    net, (x, _), taken = small(), examples(BLOCK, 0.1, torch.float32), []
    monkeypatch.setattr(evaluation, "by_rows", lambda *given, threads: taken.append(1))
    monkeypatch.setattr(evaluation, "MANY", 10 * BLOCK * (N_IN * 8 + 32))
    evaluation.outputs(net, x, 9)
    assert not taken
    evaluation.outputs(net, x, 10)
    assert taken

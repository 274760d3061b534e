"""The compiled engine and CUDA graphs take the eager engine's steps."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import reference
import torch
from engine_cases import BATCH, QUICK, TOLERANCE, agrees, data, network, run
from jobs import job

import bp_torch as bp
from bp_torch.training import engines
from bp_torch.training.engines import compiled, eager
from bp_torch.training.step import batch_cost, step


@pytest.fixture(autouse=True)
def few_unrolled_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "LAYERS_COMPILED", 6)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id="-".join(case), marks=[] if case in QUICK else pytest.mark.slow)
        for case in reference.CASES
    ],
)
def test_compiled_takes_the_eager_steps(case: tuple[str, str, str]) -> None:
    agrees("compiled", case, torch.float64)


@pytest.mark.parametrize(
    "case", [pytest.param(case, id="-".join(case), marks=pytest.mark.slow) for case in reference.CASES]
)
def test_compiled_takes_the_eager_steps_in_float32(case: tuple[str, str, str]) -> None:
    agrees("compiled", case, torch.float32)


def test_compiled_is_not_compiled_again_for_another_lr() -> None:
    torch._dynamo.utils.counters.clear()
    run(network(("sigmoid", "quadratic", "sigmoid")), "compiled")
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def _weights(net: bp.Network) -> list[torch.Tensor]:
    return [t.clone() for layer in net.layers for t in layer]


FAILURES = [torch.OutOfMemoryError("tried to allocate 2 TiB"), KeyboardInterrupt(), RuntimeError("no\nsuch kernel")]


@pytest.mark.parametrize("engine", ["compiled", "graph"])
@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_a_preparation_that_fails_leaves_the_weights_as_they_were(
    engine: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it has trained: the steps of the warm-up, and then the failure."""

    def failing(*arguments: Any, **more: Any) -> torch.Tensor:
        batch_cost(*arguments, **more)
        raise error

    monkeypatch.setattr(compiled, "batch_cost", failing)
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    net = network(("sigmoid", "quadratic", "sigmoid"))
    before = _weights(net)
    with pytest.raises(bp.EngineError if isinstance(error, Exception) else KeyboardInterrupt) as caught:
        list(_records(net, engine))
    if isinstance(error, RuntimeError) and not isinstance(error, torch.OutOfMemoryError):
        assert re.search(r"\(no\): use engine='eager'", str(caught.value))
    assert all(torch.equal(now, then) for now, then in zip(_weights(net), before, strict=True))


def _records(net: bp.Network, engine: str) -> Iterator[bp.Record]:
    """As bp.train has it, but for the question whether the device has the engine."""
    settings: dict[str, Any] = dict(epochs=1, batch_size=BATCH, lr=0.1)
    entry = engines.ENGINES[engine]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(engines.ENGINES, engine, entry._replace(why_not=lambda job: None))
        yield from bp.train(net, data(net), engine=engine, **settings)


def test_the_steps_that_are_captured_are_the_eager_ones() -> None:
    """On a CPU they run without being captured."""
    nets = [network(("sigmoid", "quadratic", "sigmoid")) for _ in range(2)]
    costs = [[record.cost for record in _records(net, name)] for net, name in zip(nets, ("eager", "graph"))]  # noqa: B905
    assert costs[1] == pytest.approx(costs[0], rel=1e-10)
    for got, wanted in zip(*map(_weights, nets), strict=True):
        assert reference.relative_error(got, wanted) < 1e-10


@pytest.mark.parametrize(("engine", "steps"), [("graph", 1), ("compiled", 2)])
def test_a_warm_up_takes_few_steps(engine: str, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(compiled, "step", lambda *given, **more: taken.append(given) or step(*given, **more))
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    net = network(("sigmoid", "quadratic", "sigmoid"))
    engines.ENGINES[engine].build(job(net, data(net), batch_size=BATCH))
    assert len(taken) == steps  # a block of `compiled` is two steps here; on CUDA a warm-up runs twice


def test_inductor_chooses_kernels_by_rule_so_that_a_resumed_run_gets_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that are chosen by timing them round differently from one process to the next."""
    options = []

    def compile_of(function: Any, **given: Any) -> Any:
        options.append(given["options"])
        return function

    monkeypatch.setattr(torch, "compile", compile_of)
    net = network(("sigmoid", "quadratic", "sigmoid"))
    engines.ENGINES["compiled"].build(job(net, data(net), batch_size=BATCH))
    from torch._inductor import config

    assert options == [{"deterministic": True}]
    assert hasattr(config, "deterministic")


def test_bf16_keeps_one_copy_of_the_data_and_one_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks and the batches that are left over share them."""
    copies = []
    for name in ("inputs_of", "passes_of"):
        made = getattr(eager, name)
        monkeypatch.setattr(eager, name, lambda *given, made=made, name=name: copies.append(name) or made(*given))
    net = network(("sigmoid", "quadratic", "sigmoid"), torch.float32)
    engines.ENGINES["graph"].build(job(net, data(net), batch_size=BATCH, precision="bf16"))
    assert sorted(copies) == ["inputs_of", "passes_of"]


@pytest.mark.gpu
@pytest.mark.parametrize("engine", ["graph", "compiled"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("case", reference.CASES, ids="-".join)
def test_cuda_engines_take_the_eager_steps(case: tuple[str, str, str], dtype: torch.dtype, engine: str) -> None:
    agrees(engine, case, dtype, "cuda")


def test_torch_compile_that_fails_ends_in_one_sentence() -> None:
    from torch._inductor import config

    net = network(("sigmoid", "quadratic", "sigmoid"))
    failing = {"cpp.cxx": ("/nonexistent/g++",), "force_disable_caches": True}
    with config.patch(failing), pytest.raises(bp.EngineError, match=r"torch.compile failed \(.*\): use engine='eager'"):
        list(bp.train(net, data(net), engine="compiled"))

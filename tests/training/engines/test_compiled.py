"""The compiled engine and CUDA graphs take the eager engine's steps."""

import pytest
import reference
import torch
from engine_cases import QUICK, TOLERANCE, agrees, data, network, run

import bp_torch as bp
from bp_torch.training.engines import compiled


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

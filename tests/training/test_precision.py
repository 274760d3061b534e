"""Precision: what the passes are computed in."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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


CUDA: Any = torch.backends.cuda.matmul
BACKENDS: Any = torch.backends
CPU: Any = BACKENDS.mkldnn.matmul

USERS: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "allow_tf32": lambda: setattr(CUDA, "allow_tf32", True),
    "tf32 of one": lambda: setattr(CUDA, "fp32_precision", "tf32"),
    "bf16 of one": lambda: setattr(CPU, "fp32_precision", "bf16"),
    "tf32 of all": lambda: setattr(torch.backends, "fp32_precision", "tf32"),
}


@pytest.fixture(params=USERS)
def users_setting(request: pytest.FixtureRequest) -> Iterator[None]:
    """A user's setting of torch's products, in one of torch's ways to say it."""
    USERS[request.param]()
    yield
    BACKENDS.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    CUDA.fp32_precision = CPU.fp32_precision = "none"


def settings() -> list[object]:
    """What torch tells of its settings, now and after all operations are told something else."""
    read: list[object] = [CUDA.fp32_precision, CPU.fp32_precision, BACKENDS.fp32_precision]
    for older in (lambda: CUDA.allow_tf32, torch.get_float32_matmul_precision):
        try:
            read.append(older())
        except RuntimeError:  # torch's own, where the user mixed its two ways
            read.append(None)
    of_all, BACKENDS.fp32_precision = BACKENDS.fp32_precision, "bf16"
    read += [CUDA.fp32_precision, CPU.fp32_precision]
    BACKENDS.fp32_precision = of_all
    return read


@pytest.mark.usefixtures("users_setting")
@pytest.mark.parametrize("asked", ["dtype", "tf32", "bf16"])
def test_inside_products_in_all_of_torchs_settings_can_be_read_and_afterwards_they_are_the_users(asked: str) -> None:
    before = settings()
    for _ in range(2):
        with products_in(asked):
            assert (CUDA.fp32_precision == "tf32", CUDA.allow_tf32) == (asked == "tf32",) * 2
            assert CPU.fp32_precision in ("none", "ieee")
            assert torch.get_float32_matmul_precision() == ("high" if asked == "tf32" else "highest")
        assert settings() == before


@pytest.mark.usefixtures("users_setting")
def test_an_own_activation_may_read_allow_tf32() -> None:
    read = []
    own = bp.Activation("own", lambda z: (read.append(CUDA.allow_tf32), z.tanh())[1], lambda z, a: 1 - a.square())
    net = bp.Network.create([20, 6, 6], hidden=own)
    read.clear()
    list(bp.train(net, data(net), epochs=1, engine="eager"))
    assert set(read) == {False}


@pytest.mark.usefixtures("users_setting")
@pytest.mark.parametrize("first_to_end", [0, 1])
def test_trainings_in_several_threads_put_the_users_setting_back_in_whatever_order_they_end(first_to_end: int) -> None:
    before, inside, end = settings(), [threading.Event() for _ in range(2)], [threading.Event() for _ in range(2)]

    def training(n: int) -> None:
        with products_in("dtype"):
            inside[n].set()
            end[n].wait(10)

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(training, n) for n in range(2)]
        assert all(event.wait(10) for event in inside)
        end[first_to_end].set()
        running[first_to_end].result(10)
        assert CUDA.fp32_precision in ("none", "ieee")  # still for the other one
        end[1 - first_to_end].set()
    assert settings() == before


def test_who_wants_other_products_waits_until_the_others_are_done() -> None:
    seen: list[str] = []

    def wants_tf32() -> None:
        with products_in("tf32"):
            seen.append(CUDA.fp32_precision)

    other = threading.Thread(target=wants_tf32)
    with products_in("dtype"):
        other.start()
        other.join(0.2)
        assert seen == []
    other.join(10)
    assert seen == ["tf32"]


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

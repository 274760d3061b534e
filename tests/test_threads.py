"""Threads: by the size of what is computed, for this thread of Python alone, and never one that a fork left behind."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Thread

import pytest
import torch

import bp_torch as bp
from bp_torch.insight.feedback import angles, feedback_alignment
from bp_torch.insight.learning_speed import error_norms, slopes
from bp_torch.passes import multiplications
from bp_torch.threads import A_CALL, A_STEP, _runtime, fitting, threads


@pytest.fixture(autouse=True)
def users_number() -> Iterator[None]:
    with threads(2):
        yield


def of_a_new_thread() -> int:
    seen: list[int] = []
    thread = Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return seen[0]


def test_a_number_holds_for_this_thread_alone_and_is_put_back() -> None:
    torch.set_num_threads(2)  # what a new thread begins with
    with threads(1):
        assert torch.get_num_threads() == 1
        assert of_a_new_thread() == 2
    assert torch.get_num_threads() == of_a_new_thread() == 2


def test_torchs_products_run_on_that_number_too() -> None:
    mkl = getattr(_runtime, "MKL_Get_Max_Threads", None)
    if mkl is None:
        pytest.skip("this torch has no MKL")
    with threads(1):
        assert mkl() == 1
    assert mkl() == 2


def test_it_is_put_back_after_an_error() -> None:
    with pytest.raises(KeyboardInterrupt), threads(1):
        raise KeyboardInterrupt
    assert torch.get_num_threads() == 2


def test_several_threads_of_python_leave_each_other_alone() -> None:
    meet = Barrier(2, timeout=10)

    def seen(count: int) -> tuple[int, int, int]:
        before = torch.get_num_threads()
        with threads(count):
            meet.wait()
            inside = torch.get_num_threads()
            meet.wait()
        meet.wait()
        return before, inside, torch.get_num_threads()

    torch.set_num_threads(2)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(seen, (1, 3))) == [(2, 1, 2), (2, 3, 2)]
    assert torch.get_num_threads() == of_a_new_thread() == 2


def test_what_is_small_gets_one_thread_and_what_is_large_torchs_own_number() -> None:
    assert (fitting(A_CALL - 1), fitting(A_CALL)) == (1, 2)
    assert (fitting(A_STEP - 1, A_STEP), fitting(A_STEP, A_STEP)) == (1, 2)


def test_multiplications_of_a_pass() -> None:
    net = bp.Network.create([5, 4, 3])
    two = bp.stack([net, net])
    assert multiplications(net, torch.zeros(7, 5)) == 7 * (5 * 4 + 4 * 3)
    assert multiplications(net, torch.zeros(2, 7, 5)) == 2 * 7 * (5 * 4 + 4 * 3)
    assert multiplications(two, torch.zeros(7, 5)) == multiplications(two, torch.zeros(2, 7, 5)) == 2 * 7 * 32
    assert multiplications(net) == multiplications(net, [1.0]) == multiplications(net, x=torch.tensor(1.0)) == 0


Pass = Callable[[bp.Network, torch.Tensor, torch.Tensor], object]
PASSES: dict[str, Pass] = {
    "forward": lambda net, x, y: net.forward(x),
    "predict": lambda net, x, y: net.predict(x=x),
    "cost": lambda net, x, y: net.cost(x, y),
    "gradients": lambda net, x, y: net.gradients(x, y),
    "accuracy": lambda net, x, y: net.accuracy(x, y),
    "backprop": bp.backprop,
    "gradient_norms": lambda net, x, y: bp.per_example.gradient_norms(net, x, y, by_layer=True),
    "clipped_sum": lambda net, x, y: bp.per_example.clipped_sum(net, x, y, max_norm=1.0),
    "second_moment": bp.per_example.second_moment,
    "noise_scale": bp.per_example.noise_scale,
    "gram": lambda net, x, y: bp.per_example.gram(net, x, y, (x[:2], y[:2])),
    "ntk": lambda net, x, y: bp.per_example.ntk(net, x[:20]),
    "influence": lambda net, x, y: bp.per_example.influence(net, (x, y), (x[:2], y[:2])),
    "top_influences": lambda net, x, y: bp.per_example.top_influences(net, (x, y), (x[:2], y[:2]), k=1),
    "error_norms": error_norms,
    "slopes": lambda net, x, y: slopes(net, x, y, 0),
    "angles": lambda net, x, y: angles(net, x, y, feedback_alignment(net, seed=0)),
}
LARGE = ["forward", "predict", "cost", "gradients", "accuracy", "backprop", "gradient_norms"]


def seen_by(function: Pass, sizes: list[int], m: int) -> set[int]:
    """The numbers of threads that an own activation sees in a pass."""
    seen: set[int] = set()
    own = bp.Activation("own", lambda z: (seen.add(torch.get_num_threads()), z.tanh())[1], lambda z, a: 1 - a * a)
    net = bp.Network.create(sizes, hidden=own)
    seen.clear()
    function(net, torch.rand(m, sizes[0], generator=torch.Generator().manual_seed(0)), torch.arange(m) % sizes[-1])
    assert torch.get_num_threads() == 2
    return seen


@pytest.mark.parametrize("name", PASSES)
def test_a_small_pass_runs_on_one_thread(name: str) -> None:
    assert seen_by(PASSES[name], [64, 30, 10], 100) == {1}


@pytest.mark.parametrize("name", [name for name in PASSES if hasattr(bp.per_example, name)])
def test_many_examples_in_small_blocks_run_on_one_thread(name: str) -> None:
    """They are many small computations, however long they take together."""
    assert seen_by(PASSES[name], [200, 100, 10], 60_000 if name in LARGE else 5_000) == {1}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_pass_runs_on_torchs_own_number(name: str) -> None:
    assert seen_by(PASSES[name], [1000, 1000, 3], 1000) == {2}


FORKED = """
import multiprocessing, torch
import bp_torch as bp

torch.set_num_threads(2)
small, large = bp.Network.create([64, 30, 10], seed=0), bp.Network.create([1000, 1000, 10], seed=0)
x, y = bp.data.digits("train")
many = torch.rand(1000, 1000)

def work(n):
    net = bp.Network.create([64, 30, 10], seed=0)
    engines, settings = ("eager", "native"), dict(epochs=1, threads=2)
    costs = [r.cost for engine in engines for r in bp.train(net, (x, y), engine=engine, **settings)]
    norms = bp.per_example.gradient_norms(net, x, y)
    return costs, norms.sum().item(), large.predict(many).sum().item(), (many @ many).sum().item()

here = work(0)
context = multiprocessing.get_context("fork")
for _ in range(2):
    with context.Pool(2) as pool:
        assert pool.map(work, range(2)) == [here, here]
    assert work(0) == here
assert torch.get_num_threads() == 2
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks by default")
def test_a_process_forked_after_training_and_predicting_on_two_threads_does_the_same() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr

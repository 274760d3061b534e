"""The native engine takes the eager engine's steps."""

from collections.abc import Callable, Iterator

import pytest
import reference
import torch
from engine_cases import QUICK, SIZES, agrees, data
from torch import Tensor

import bp_torch as bp
from bp_torch.threads import threads
from bp_torch.training.job import Steps

PART = Steps.part


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def thread_count(request: pytest.FixtureRequest) -> Iterator[int]:
    with threads(request.param):
        yield request.param


@pytest.mark.parametrize("case", reference.CASES, ids="-".join)
def test_native_takes_the_eager_steps(case: tuple[str, str, str]) -> None:
    with threads(1):
        agrees("native", case, torch.float64)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id="-".join(case), marks=[] if case in QUICK else pytest.mark.slow)
        for case in reference.CASES
    ],
)
def test_native_takes_the_eager_steps_in_float32(case: tuple[str, str, str]) -> None:
    with threads(1):
        agrees("native", case, torch.float32)


def test_native_on_several_threads_takes_the_eager_steps() -> None:
    with threads(2):
        agrees("native", ("sigmoid", "softmax_cross_entropy", "softmax"), torch.float64)


@pytest.mark.usefixtures("thread_count")
@pytest.mark.parametrize(
    ("sizes", "batch_size"),
    [([1, 1], 1), ([3, 1, 2], 4), ([130, 70, 50, 33], 33), ([40, 1100, 3], 5), ([1100, 6, 5, 4, 3, 2], 40)],
    ids=str,
)
def test_native_products_of_every_form(sizes: list[int], batch_size: int) -> None:
    """Sizes on both sides of a tile, of a panel, of a block of the inner dimension, and of what is packed."""
    nets = [bp.Network.create(sizes, init="scaled", seed=2, dtype=torch.float64) for _ in range(2)]
    x, y = reference.examples(nets[0], 2 * batch_size + 1)
    for net, engine in zip(nets, ("eager", "native"), strict=True):
        list(bp.train(net, (x, y), epochs=2, batch_size=batch_size, lr=1.0, engine=engine))
    for mine, theirs in zip(nets[0].layers, nets[1].layers, strict=True):
        assert reference.relative_error(theirs.w, mine.w) < 1e-12
        assert reference.relative_error(theirs.b, mine.b) < 1e-12


def test_native_takes_weights_and_data_that_are_not_contiguous() -> None:
    plain = bp.Network.create([6, 5, 4], seed=0, dtype=torch.float64)
    layers = tuple(bp.Layer(w.mT.contiguous().mT, b) for w, b in plain.layers)
    strided = bp.Network(tuple(bp.Layer(w, b.clone()) for w, b in layers), plain.activations, plain.cost_function)
    x, y = reference.examples(plain, 23)
    list(bp.train(plain, (x, y), epochs=2, batch_size=5, engine="eager"))
    list(bp.train(strided, (x.mT.contiguous().mT, y), epochs=2, batch_size=5, engine="native"))
    assert reference.relative_error(strided.layers[0].w, plain.layers[0].w) < 1e-12


def test_an_own_activation_is_printed() -> None:
    softsign = bp.Activation("softsign", lambda z: z / (1 + z.abs()), lambda z, a: 1 / (1 + z.abs()) ** 2)
    nets = [bp.Network.create(SIZES, hidden=softsign, seed=1, dtype=torch.float64) for _ in range(2)]
    for net, engine in zip(nets, ("eager", "native"), strict=True):
        list(bp.train(net, data(net), epochs=2, lr=1.0, engine=engine))
    assert reference.relative_error(nets[1].layers[0].w, nets[0].layers[0].w) < 1e-12


@pytest.mark.parametrize("f", [lambda z: z.log_softmax(-1), lambda z: z.log_softmax(-1) + z.softmax(-1)])
def test_the_logarithm_of_softmax_comes_alone_and_first(f: Callable[[Tensor], Tensor]) -> None:
    own = bp.Activation("own", f, lambda z, a: a)
    nets = [bp.Network.create([3, 4, 2], hidden=own, seed=1, dtype=torch.float64) for _ in range(2)]
    for net, engine in zip(nets, ("eager", "native"), strict=True):
        list(bp.train(net, reference.examples(net, 8), epochs=2, batch_size=4, lr=0.1, engine=engine))
    assert reference.relative_error(nets[1].layers[0].w, nets[0].layers[0].w) < 1e-12


def test_an_interrupt_is_soon_noticed_where_threads_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of tiny steps on several threads has no more of them than take a second or so beside busy processes."""
    steps = []
    monkeypatch.setattr(Steps, "part", lambda self, *span: steps.append(span[:2]) or PART(self, *span))
    x, y = torch.full((450, 4), 0.5), torch.arange(450) % 2
    for count, calls in ((1, [(0, 450)]), (2, [(0, 200), (200, 400), (400, 450)])):
        steps.clear()
        list(bp.train(bp.Network.create([4, 3, 2]), (x, y), epochs=1, batch_size=1, engine="native", threads=count))
        assert [span for span in steps if span != (0, None)][-len(calls) :] == calls

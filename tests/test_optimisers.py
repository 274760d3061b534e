"""OPTIMISERS: each rule held to torch.optim, in every engine that has it; what it keeps, saved and gone on with."""

import copy
import itertools
import math
import pickle
from collections.abc import Iterator
from typing import Any

import engine_cases
import numpy
import pytest
import torch
from torch import Tensor

import bp_torch as bp
from bp_torch.optimisers import OPTIMISERS, optimiser
from bp_torch.updates import Optimiser


class Lion(torch.optim.Optimizer):
    """Algorithm 2 of X. Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023), line by line."""

    def __init__(self, parameters: Any, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0) -> None:
        super().__init__(parameters, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        assert closure is None
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for theta in group["params"]:
                m, g = self.state[theta].get("exp_avg", torch.zeros_like(theta)), theta.grad
                c = b1 * m + (1 - b1) * g
                theta -= group["lr"] * (torch.sign(c) + group["weight_decay"] * theta)
                self.state[theta]["exp_avg"] = b2 * m + (1 - b2) * g


class SparseAdam(torch.optim.SparseAdam):
    """torch's, for gradients of which all values are given."""

    def step(self, closure: Any = None) -> Any:
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                g = parameter.grad
                places = torch.ones_like(g).nonzero().T
                parameter.grad = torch.sparse_coo_tensor(places, g.flatten(), g.shape, check_invariants=True)
        return super().step()


TORCHS: dict[str, Any] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "adamax": torch.optim.Adamax,
    "nadam": torch.optim.NAdam,
    "adadelta": torch.optim.Adadelta,
    "lion": Lion,
    "sparse_adam": SparseAdam,
}
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in TORCHS),
    ("sgd", dict(momentum=0.9)),
    ("sgd", dict(weight_decay=0.1)),
    ("sgd", dict(momentum=0.9, dampening=0.3, weight_decay=0.1)),
    ("sgd", dict(momentum=0.9, nesterov=True, weight_decay=0.01)),
    ("adam", dict(betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1)),
    ("adamw", dict(betas=(0.5, 0.9), weight_decay=0.3)),
    ("adamw", dict(weight_decay=0.0)),
    ("rmsprop", dict(alpha=0.9, eps=1e-4, weight_decay=0.1)),
    ("rmsprop", dict(momentum=0.9, centered=True)),
    ("adagrad", dict(lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.5, eps=1e-3)),
    ("adam", dict(amsgrad=True, betas=(0.5, 0.6))),
    ("adamw", dict(amsgrad=True, weight_decay=0.1)),
    ("adamax", dict(betas=(0.8, 0.7), eps=1e-3, weight_decay=0.1)),
    ("nadam", dict(betas=(0.99, 0.9), momentum_decay=2.5, weight_decay=0.1)),
    ("nadam", dict(momentum_decay=0.0, decoupled_weight_decay=True, weight_decay=0.1)),
    ("nadam", dict(betas=(0.0, 0.9))),
    ("adadelta", dict(rho=0.5, eps=1e-3, weight_decay=0.1)),
    ("lion", dict(betas=(0.6, 0.8), weight_decay=0.1)),
    ("sparse_adam", dict(betas=(0.6, 0.8), eps=1e-3)),
]
each_rule = pytest.mark.parametrize(("name", "options"), OPTIONS, ids=lambda value: str(value))
RATE = 0.05


def test_each_entry_is_held_to_torch() -> None:
    assert list(TORCHS) == list(OPTIMISERS)
    assert {name for name, _ in OPTIONS} == set(OPTIMISERS)


@pytest.fixture
def torch_in_float64() -> Iterator[None]:
    """torch keeps NAdam's product of momenta in its default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@each_rule
@pytest.mark.usefixtures("torch_in_float64")
def test_fifty_steps_are_torchs(name: str, options: dict[str, Any]) -> None:
    """By our own gradients, filled into .grad; ragged batches, and a rate that changes midway."""
    case = engine_cases.QUICK[1]
    net, torchs = engine_cases.network(case), engine_cases.network(case)
    x, y = engine_cases.data(net)
    theirs = TORCHS[name]([t for layer in torchs.layers for t in layer], lr=RATE, **options)
    rates = {epoch: RATE / epoch for epoch in range(1, 6)}
    settings: dict[str, Any] = dict(
        optimizer=OPTIMISERS[name](**options), lr=rates.get, epochs=5, batch_size=10, engine="eager"
    )
    records = list(bp.train(net, (x, y), **settings))
    from bp_torch.training.batches import shuffled

    costs = []
    for epoch, rate in rates.items():
        theirs.param_groups[0]["lr"] = rate
        total = 0.0
        for index in shuffled(len(x), 0, epoch).split(10):
            total += torchs.cost(x[index], y[index]).item() * len(index)
            gradients = [t for layer in torchs.gradients(x[index], y[index]) for t in layer]
            for parameter, gradient in zip(theirs.param_groups[0]["params"], gradients, strict=True):
                parameter.grad = gradient
            theirs.step()
        costs.append(total / len(x))
    assert [record.cost for record in records] == pytest.approx(costs, rel=1e-9)
    for mine, wanted in zip(itertools.chain(*net.layers), itertools.chain(*torchs.layers), strict=True):
        torch.testing.assert_close(mine, wanted.detach(), rtol=1e-9, atol=1e-12)
    state = theirs.state[theirs.param_groups[0]["params"][0]]
    for (slot, _), kept in zip(OPTIMISERS[name](**options).slots, records[-1].position.slots, strict=True):
        torch.testing.assert_close(kept[0].w, state[slot], rtol=1e-9, atol=1e-12)


NATIVE = ["adam", "rmsprop(momentum=0.9, centered=True)", "sgd(momentum=0.9, weight_decay=0.01, nesterov=True)"]
EVERY = [
    pytest.param(rule, marks=() if rule in NATIVE else pytest.mark.slow)
    for rule in (str(OPTIMISERS[name](**options)) for name, options in OPTIONS)
]


@pytest.mark.parametrize("rule", EVERY)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_native_takes_the_eager_steps(rule: str, dtype: torch.dtype) -> None:
    """And keeps the same: through ragged batches, and a width that fills no vector."""
    nets = [engine_cases.network(engine_cases.QUICK[1], dtype) for _ in range(2)]
    lasts = []
    for net, engine in zip(nets, ("eager", "native"), strict=True):
        *_, last = bp.train(net, engine_cases.data(net), epochs=5, optimizer=rule, lr=0.01, engine=engine)
        lasts.append(last)
    assert lasts[1].cost == pytest.approx(lasts[0].cost, rel=engine_cases.TOLERANCE[dtype])
    kept = [
        [*itertools.chain(*net.layers), *_tensors(last.position.slots)] for net, last in zip(nets, lasts, strict=True)
    ]
    for wanted, got in zip(*kept, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4 if dtype == torch.float32 else 1e-9, atol=2e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_native_takes_the_same_steps_on_two_threads(threads: int) -> None:
    nets = [bp.Network.create([40, 33, 7], hidden="relu", cost="softmax_cross_entropy") for _ in range(2)]
    x, y = torch.rand(90, 40, generator=torch.Generator().manual_seed(0)), torch.arange(90) % 7
    for net, count in zip(nets, (1, threads), strict=True):
        list(bp.train(net, (x, y), epochs=3, batch_size=64, optimizer="adam", engine="native", threads=count))
    torch.testing.assert_close(nets[1].layers[0].w, nets[0].layers[0].w, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@each_rule
def test_compiled_takes_the_eager_steps(name: str, options: dict[str, Any]) -> None:
    net, other = (engine_cases.network(engine_cases.QUICK[1]) for _ in range(2))
    for engine, one in (("eager", net), ("compiled", other)):
        list(bp.train(one, engine_cases.data(one), epochs=3, optimizer=OPTIMISERS[name](**options), engine=engine))
    for mine, wanted in zip(itertools.chain(*other.layers), itertools.chain(*net.layers), strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("stop", [0, 7, 9, 13])
@pytest.mark.parametrize(
    ("rule", "engine"),
    [
        ("adam", "eager"),
        ("adam", "native"),
        (bp.SGD(momentum=0.9), "eager"),
        (bp.RMSprop(centered=True, momentum=0.5), "eager"),
    ],
    ids=str,
)
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(
    rule: str | Optimiser, engine: str, stop: int, tmp_path
) -> None:
    settings: dict[str, Any] = dict(epochs=2, batch_size=10, optimizer=rule, engine=engine, every=1)
    whole, net = (engine_cases.network(engine_cases.QUICK[0], torch.float32) for _ in range(2))
    data = engine_cases.data(net)
    *_, last = bp.train(whole, data, **settings)
    record = next(itertools.islice(bp.train(net, data, **settings), stop, None))
    bp.save(tmp_path / "net.safetensors", net, position=record.position)
    loaded = bp.load_checkpoint(tmp_path / "net.safetensors")
    *_, resumed = bp.train(loaded.net, data, start=loaded.position, **settings)
    assert resumed.cost == last.cost
    for mine, wanted in zip(itertools.chain(*loaded.net.layers), itertools.chain(*whole.layers), strict=True):
        assert torch.equal(mine, wanted)
    for mine, wanted in zip(resumed.position.slots, last.position.slots, strict=True):
        assert all(torch.equal(t, u) for t, u in zip(itertools.chain(*mine), itertools.chain(*wanted), strict=True))


def test_a_divergence_puts_back_what_the_rule_keeps() -> None:
    net = engine_cases.network(engine_cases.QUICK[0])
    x, y = engine_cases.data(net)
    records = bp.train(net, (x, y), epochs=3, optimizer="adam", engine="eager")
    kept = next(records).position.slots
    before = kept[0][0].w.clone()
    x[3] = math.nan
    with pytest.raises(bp.DivergenceError, match="epoch 2"):
        next(records)
    assert torch.equal(kept[0][0].w, before)


def test_a_start_without_what_the_rule_keeps_is_refused() -> None:
    net = engine_cases.network(engine_cases.QUICK[0])
    data = engine_cases.data(net)
    (record,) = bp.train(net, data, epochs=1, optimizer="adam", engine="eager")
    for start, rule in (
        (bp.Position(2), "adam"),
        (record.position, "sgd"),
        (record.position, "adagrad"),
        (record.position._replace(slots=record.position.slots[:1]), "adam"),
    ):
        with pytest.raises(ValueError, match="start does not hold what optimizer="):
            bp.train(net, data, optimizer=rule, start=start)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_an_eps_that_float16_does_not_hold_is_refused(name: str) -> None:
    """As torch has it, it would be 0 there, and a step 0 / 0 where a gradient is 0."""
    net = engine_cases.network(engine_cases.QUICK[0], torch.float16)
    x, y = engine_cases.data(net)
    rule = OPTIMISERS[name]()
    if 0 < getattr(rule, "eps", 0.0) < 1e-7:
        with pytest.raises(
            ValueError, match=rf"float16 does not hold eps=1e-\d+ of {name}, .*: give .*{name}\(eps=1e-4"
        ):
            bp.train(net, (x, y), optimizer=name)
        rule = OPTIMISERS[name](eps=1e-4)  # pyright: ignore[reportCallIssue]
    (record,) = bp.train(net, (x, y), epochs=1, optimizer=rule, lr=1e-3, engine="eager")
    assert math.isfinite(record.cost)


def test_a_start_is_not_changed_by_a_second_training() -> None:
    net = engine_cases.network(engine_cases.QUICK[0])
    data = engine_cases.data(net)
    (record,) = bp.train(net, data, epochs=1, optimizer="adam", engine="eager")
    before = record.position.slots[0][0].w.clone()
    list(bp.train(net, data, epochs=2, optimizer="adam", engine="eager", start=record.position))
    assert torch.equal(record.position.slots[0][0].w, before)


def test_plain_descent_pays_nothing_and_auto_never_refuses() -> None:
    assert bp.SGD().is_plain
    assert not bp.SGD().slots
    net = engine_cases.network(engine_cases.QUICK[0])
    for name in OPTIMISERS:
        list(bp.train(net, engine_cases.data(net), epochs=2, optimizer=name, lr=1e-3))


def test_an_engine_that_lacks_a_rule_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bp_torch.training.engines.persistent.interpreted", lambda: True)
    net = bp.Network.create([8, 5, 3])
    with pytest.raises(ValueError, match=r"engine='persistent' (is for plain gradient descent|needs CUDA and Triton)"):
        bp.train(net, (torch.zeros(4, 8), torch.zeros(4, 3)), optimizer="adam", engine="persistent")


REFUSED: list[tuple[Any, str]] = [
    ("adamm", "unknown optimizer 'adamm': choose one of sgd, adam, adamw, rmsprop, adagrad, adamax, nadam"),
    (None, "unknown optimizer None"),
    ("adam(", "as in adam(eps=1e-7), not 'adam('"),
    ("adam(0.1)", "as in adam(eps=1e-7)"),
    ("adam(eps=x)", "as in adam(eps=1e-7)"),
    ("adam(lr=0.1)", "unknown option of adam 'lr': choose one of betas, eps, weight_decay, amsgrad"),
    ("adam(betas=0.9)", "betas must be two numbers"),
    ("adam(betas=(0.9, 1))", "betas[1] must be a number from 0 to below 1, not 1"),
    ("adam(betas=(-0.1, 0.9))", "betas[0] must be"),
    ("adam(eps=-1e-8)", "eps must be a number of 0 or more"),
    ("adam(weight_decay=-1)", "weight_decay must be"),
    ("sgd(momentum=1.5)", "momentum must be"),
    ("sgd(nesterov=True)", "nesterov=True needs a momentum"),
    ("rmsprop(alpha=1.0)", "alpha must be"),
    ("adagrad(initial_accumulator_value=-1)", "initial_accumulator_value must be"),
    ("adam(amsgrad=1)", "amsgrad must be True or False, not 1"),
    ("nadam(momentum_decay=-1)", "momentum_decay must be"),
    ("adadelta(rho=1)", "rho must be"),
    ("lion(betas=(0.9, 1))", "betas[1] must be"),
]


@pytest.mark.parametrize(("choice", "words"), REFUSED, ids=lambda value: str(value)[:30])
def test_what_is_no_optimiser_is_refused_before_any_work(choice: Any, words: str) -> None:
    net = bp.Network.create([8, 3])
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (its words are compared)
        bp.train(net, (torch.zeros(4, 8), torch.zeros(4, 3)), optimizer=choice)
    assert words in str(caught.value)


@each_rule
def test_an_optimiser_is_its_text_and_pickles_and_copies(name: str, options: dict[str, Any]) -> None:
    rule = OPTIMISERS[name](**options)
    assert optimiser(str(rule)) == rule == pickle.loads(pickle.dumps(rule)) == copy.deepcopy(rule)  # noqa: S301 (ours)
    assert bp.Recipe(optimizer=str(rule)) == bp.Recipe(optimizer=rule)


@each_rule
def test_numbers_of_numpy_are_numbers(name: str, options: dict[str, Any]) -> None:
    """They were kept as they came, and the text of "adam(eps=np.float64(0.001))" is read by nobody."""
    of_numpy = {option: numpy.asarray(value)[()] for option, value in options.items()}
    of_numpy |= {option: tuple(value) for option, value in of_numpy.items() if option == "betas"}
    assert str(OPTIMISERS[name](**of_numpy)) == str(OPTIMISERS[name](**options))


def test_the_rate_left_out_is_torchs_but_for_gradient_descent() -> None:
    from bp_torch.recipe import fitting_rate

    net = bp.Network.create([8, 5, 3])
    for name in OPTIMISERS.keys() - {"sgd"}:
        parameter = torch.zeros(1)
        assert fitting_rate(net, optimiser(name)) == TORCHS[name]([parameter]).defaults["lr"]
    assert fitting_rate(net, bp.SGD()) == 3.0
    assert fitting_rate(net, bp.SGD(momentum=0.9)) == pytest.approx(0.3)


def test_parameters_in_float32_are_kept_with_bf16_products() -> None:
    if not torch.cpu._is_avx512_bf16_supported():
        pytest.skip("this CPU has no bf16 instructions")
    nets = [engine_cases.network(engine_cases.QUICK[1], torch.float32) for _ in range(2)]
    for net, precision in zip(nets, ("dtype", "bf16"), strict=True):
        settings: dict[str, Any] = dict(epochs=2, optimizer="adam", engine="eager", precision=precision)
        *_, last = bp.train(net, engine_cases.data(net), **settings)
        assert {t.dtype for t in _tensors(last.position.slots)} == {torch.float32}
    assert not torch.equal(nets[0].layers[0].w, nets[1].layers[0].w)
    torch.testing.assert_close(nets[0].layers[0].w, nets[1].layers[0].w, rtol=0.1, atol=0.02)


def _tensors(slots: Any) -> list[Tensor]:
    return [t for slot in slots for layer in slot for t in layer]


def test_a_run_by_a_rule_is_gone_on_with_to_the_bit(tmp_path) -> None:
    recipe = bp.Recipe(epochs=3, optimizer="adam(betas=(0.8, 0.99), weight_decay=0.001)", engine="eager")
    config = bp.runs.Config(dataset="digits", recipe=recipe, checkpoint_every=0.2)
    with bp.runs.begin(config, tmp_path / "whole") as session:
        assert len(list(bp.runs.train(session))) == 3
    asked = itertools.count()
    with bp.runs.begin(config, tmp_path / "stopped") as session:
        list(bp.runs.train(session, stop=lambda: next(asked) == 1))
    with bp.runs.resume(tmp_path / "stopped") as session:
        assert session.config.recipe.optimizer == recipe.optimizer
        assert session.position.slots
        list(bp.runs.train(session))
    whole, stopped = (bp.load_checkpoint(tmp_path / name / "weights.safetensors") for name in ("whole", "stopped"))
    for mine, wanted in zip(itertools.chain(*stopped.net.layers), itertools.chain(*whole.net.layers), strict=True):
        assert torch.equal(mine, wanted)
    for mine, wanted in zip(_tensors(stopped.position.slots), _tensors(whole.position.slots), strict=True):
        assert torch.equal(mine, wanted)

"""What is printed, how often, and what can't be."""

import gc
import math
import random
import weakref
from collections.abc import Callable

import pytest
import reference
import torch
from engine_cases import BATCH, SIZES, data, network
from jobs import job
from torch import Tensor

import bp_torch as bp
from bp_torch import activations
from bp_torch.native import build
from bp_torch.training import engines
from bp_torch.training.engines.native import source
from bp_torch.training.plan import Plan

slope = 1.0


def ones(z: Tensor, a: Tensor) -> Tensor:
    return torch.ones_like(a)


def own(f: Callable[[Tensor], object], name: str = "own") -> bp.Network:
    return bp.Network.create(SIZES, hidden=bp.Activation(name, f, ones), seed=1, dtype=torch.float64)  # pyright: ignore[reportArgumentType]


def test_what_can_not_be_printed_is_named_and_auto_goes_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    net = own(lambda z: z.cumsum(-1), "cumulative")
    sentence = r"^engine='native' can't print the activation 'cumulative' \(aten\.cumsum.*\): use engine='eager' or"
    with pytest.raises(bp.EngineError, match=sentence):
        bp.train(net, data(net), engine="native")
    monkeypatch.setattr(engines, "WORTH_A_BUILD", 0.0)
    assert engines.choose(job(net, 100, batch_size=BATCH)) == "eager"
    list(bp.train(net, data(net), epochs=1))


HALF = torch.tensor(0.5)


def _counting(z: Tensor) -> Tensor:
    global slope
    slope += 1
    return slope * z


def _catching(z: Tensor) -> Tensor:
    try:
        return z * z.max().item()
    except Exception:
        return z


UNPRINTABLE: list[tuple[Callable[[Tensor], object], str]] = [
    (lambda z: z.to(torch.int32).to(z.dtype), r"aten\._to_copy\.default to torch\.int32"),
    (lambda z: z.float().double(), r"aten\._to_copy\.default to torch\.float32"),
    (lambda z: z.half().to(z.dtype), r"to torch\.float16"),
    (lambda z: torch.div(z, 0.5, rounding_mode="floor"), "floor"),
    (lambda z: torch.div(z, 0.5, rounding_mode="trunc"), "trunc"),
    (lambda z: ((z > 0) + (z > 0.1)).to(z.dtype), r"aten\.add\.Tensor to torch\.bool"),
    (lambda z: (z > 0).to(z.dtype) + ((z > 0) * 2 > 1), r"aten\.mul\.Tensor to torch\.int64"),
    (lambda z: (z > 0).sum(-1, keepdim=True) * z, r"aten\.sum\.dim_IntList to torch\.int64"),
    (lambda z: z > 0, "RuntimeError"),
    (lambda z: z**3, "a power other than the square"),
    (lambda z: 2**z, "a power other than the square"),
    (lambda z: z * math.nan, "the number nan"),
    (lambda z: z + (2**53 + 1), "the number 9007199254740993, which torch.float64 does not hold"),
    (lambda z: z * HALF, "a tensor that is not computed from its arguments"),
    (lambda z: HALF.to(z.dtype).expand_as(z), r"aten\.expand|a tensor that is not computed"),
    (lambda z: z * torch.tensor(0.5), "a tensor that is not computed|aten.lift_fresh"),
    (lambda z: z if z.sum() > 0 else 2 * z, "it reads a tensor's value"),
    (lambda z: z * float(z[0, 0]), r"aten\.select|it reads a tensor's value"),
    (_catching, r"aten\.max|it reads a tensor's value"),
    (lambda z: torch.from_numpy(z.numpy() * 2), r"aten\.lift_fresh"),
    (lambda z: z * float(z.numpy().max()), "do another thing at each call, or with other values"),
    (lambda z: z * random.random(), "do another thing at each call"),  # noqa: S311
    (_counting, "do another thing at each call"),
    (lambda z: z * torch.rand_like(z), r"aten\.rand_like"),
    (lambda z: z.relu_(), r"aten\.relu_"),
    (lambda z: z.unsqueeze(0).squeeze(0), r"aten\.squeeze"),
    (lambda z: z.mT.mul(2).mT, "an elementwise operation on a transpose"),
    (lambda z: z / z.sum(), "a sum over all examples"),
    (lambda z: z.softmax(0), "a softmax over another dimension"),
    (lambda z: math.sin(z), "it reads a tensor's value|TypeError|ValueError|RuntimeError"),
    (lambda z: 0.5, "a tensor that is not computed from its arguments"),
    (lambda z: z * "text", "TypeError"),
]


@pytest.mark.parametrize(("f", "reason"), UNPRINTABLE, ids=[f"{k}" for k in range(len(UNPRINTABLE))])
def test_what_is_not_printed_exactly_is_refused_by_name(f: Callable[[Tensor], object], reason: str) -> None:
    with pytest.raises(source.UnprintableError, match=f"(activation 'own'|the step|activations or a cost).*({reason})"):
        source.of(job(own(f), 100, batch_size=BATCH))


def test_a_number_beyond_float32_is_refused() -> None:
    net = own(lambda z: z * 1e300).to(torch.float32)
    with pytest.raises(source.UnprintableError, match=r"the number 1e\+300, which torch.float32 does not hold"):
        source.of(job(net, 100))


class Held:
    """An object with an attribute, which can't be hashed."""

    slope = 1.0
    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __eq__(self, other: object) -> bool:
        return self is other

    def __call__(self, z: Tensor) -> Tensor:
        return self.slope * z


def annealed(closed: list[float], table: dict[str, float], held: Held) -> Callable[[Tensor], Tensor]:
    return lambda z: slope * z + table["slope"] * held(z) + closed[0] * z


def test_what_a_function_looks_up_counts_when_it_changes_between_epochs_and_between_runs() -> None:
    """A global, a variable of a closure, an entry of a dictionary, an attribute of what is called."""
    global slope
    held, table = Held(), {"slope": 1.0}
    weights = []
    for engine in ("eager", "native"):
        slope, held.slope, table["slope"], closed = 1.0, 1.0, 1.0, [1.0]
        f = bp.Activation("own", annealed(closed, table, held), ones)
        net = bp.Network.create([3, 2, 1], hidden=f, seed=1, dtype=torch.float64)
        for _ in bp.train(net, reference.examples(net, 12), epochs=2, batch_size=4, lr=0.01, engine=engine):
            weights.append(net.layers[0].w.clone())
            slope, table["slope"], closed[0], held.slope = 0.5, 0.7, 0.2, 0.9
        slope = 1.5
        list(bp.train(net, reference.examples(net, 12), epochs=1, batch_size=4, lr=0.01, engine=engine))
        weights.append(net.layers[0].w.clone())
    slope = 1.0
    for mine, theirs in zip(weights[:3], weights[3:], strict=True):
        assert reference.relative_error(theirs, mine) < 1e-12


def test_each_thing_that_a_function_looks_up_is_in_its_record() -> None:
    """A global, a variable of a closure, a default, an entry of a dictionary, an attribute, a module's attribute."""
    global slope
    held, table, closed = Held(), {"slope": 1.0}, 1.0

    def f(z: Tensor, default: list[float] = [1.0]) -> Tensor:  # noqa: B006
        import sys

        at = sys.modules[__name__].slope
        return slope * z + table["slope"] * z + held(z) + closed * z + default[0] * z + at * z

    net, seen = own(f), set()

    def record() -> None:
        seen.add(source.records(source.kind_of(net, Plan()), BATCH))

    record()
    slope = 0.5
    record()
    table["slope"] = 0.5
    record()
    held.slope = 0.5
    record()
    closed = 0.5
    record()
    f.__defaults__[0][0] = 0.5  # pyright: ignore[reportOptionalSubscript]
    record()
    slope = 1.0
    assert len(seen) == 6


def test_auto_goes_on_eagerly_where_a_function_becomes_unprintable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "WORTH_A_BUILD", 0.0)
    monkeypatch.setattr(engines, "say_once", lambda what: None)
    held: dict[str, float | Tensor] = {}
    nets = []
    for engine in ("eager", "auto"):
        held["slope"] = 1.0
        net = own(lambda z: z * held["slope"])
        for _ in bp.train(net, data(net), epochs=3, batch_size=BATCH, lr=0.01, engine=engine):
            held["slope"] = HALF
        nets.append(net)
    assert reference.relative_error(nets[1].layers[0].w, nets[0].layers[0].w) < 1e-12


def test_a_constant_of_the_package_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(("leaky_relu", "quadratic", "sigmoid"))
    printed = source.of(job(net, 100))
    monkeypatch.setattr(activations, "LEAK", 0.2)
    assert "real(0.2)" in source.of(job(net, 100)) != printed


def test_a_step_is_printed_once_for_each_size_of_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """By `train`'s check, the choice of an engine and its build together, and not again by another run of its kind."""
    sizes, record = [], source.record_step
    monkeypatch.setattr(source, "record_step", lambda kind, m: sizes.append(m) or record(kind, m))
    source._printed.cache_clear()
    for seed in (0, 1):
        net = own(lambda z: z / (1 + z.abs()))  # another function each time, which does the same
        list(bp.train(net, data(net), epochs=2, batch_size=BATCH, seed=seed, engine="native"))
    assert sizes == [10, 7]


def test_a_second_run_of_its_kind_asks_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        net = network(("sigmoid", "quadratic", "sigmoid"))
        list(bp.train(net, data(net), epochs=1, batch_size=BATCH, engine="native"))
        monkeypatch.setattr(build, "_run", None)


def test_recording_leaves_torch_as_it_is() -> None:
    before = torch.get_rng_state()
    source.of(job(network(("gelu", "softmax_cross_entropy", "softmax")), 100))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.is_inference_mode_enabled()


def test_recording_a_large_step_takes_no_memory_for_it() -> None:
    """Its hidden layer is of 4 TB: it is printed, and whether memory holds it is checked later."""
    net = bp.Network.create([1, 1000, 1], hidden="relu")
    source.of(job(net, 10**9, batch_size=10**9))


def test_what_is_kept_of_a_step_keeps_no_network() -> None:
    net = bp.Network.create([5, 4, 3])  # of sizes that no other test prints
    seen = weakref.ref(net)
    list(bp.train(net, data(net), epochs=1, batch_size=BATCH, engine="native"))
    del net
    gc.collect()
    assert seen() is None


def test_networks_that_differ_in_which_layer_has_which_activation_are_printed_apart() -> None:
    printed = set()
    for hidden in (["tanh", "relu", "tanh"], ["tanh", "relu", "relu"]):
        net = bp.Network.create([6, 6, 6, 6, 6], hidden=hidden, output="tanh", dtype=torch.float64)
        other = net.to()
        x, y = data(net)
        list(bp.train(net, (x, y), epochs=1, batch_size=BATCH, lr=0.1, engine="native"))
        list(bp.train(other, (x, y), epochs=1, batch_size=BATCH, lr=0.1, engine="eager"))
        assert reference.relative_error(net.layers[0].w, other.layers[0].w) < 1e-12
        printed.add(source.of(job(net, 100)))
    assert len(printed) == 2


def test_what_a_registered_own_function_looks_up_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"slope": 1.0}
    mine = bp.Activation("mine", lambda z: z * held["slope"], lambda z, a: torch.full_like(z, held["slope"]))
    monkeypatch.setitem(bp.ACTIVATIONS, "mine", mine)
    net = bp.Network.create([5, 4, 3], hidden="mine")
    printed = source.of(job(net, 100))
    held["slope"] = 0.5
    assert source.of(job(net, 100)) != printed


def test_the_packages_own_functions_are_recorded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    net = bp.Network.create([5, 4, 3])
    source.of(job(net, 100))
    monkeypatch.setattr(source, "record", None)
    source.of(job(net.to(), 100))

"""Optimisers of torch.optim on the raw tensors: each held to itself on torch.autograd, and what becomes of it after."""

import itertools
import math
import pickle
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import reference
import torch
from torch import Tensor

import bp_torch as bp
from bp_torch.dropout import KEYS, keys_table, mask
from bp_torch.training.batches import shuffled
from bp_torch.training.engines import ENGINES

SIZES, EXAMPLES, BATCH, EPOCHS = [6, 5, 7, 3], 23, 8, 3
OPTIONS: dict[str, dict[str, Any]] = {
    "ASGD": dict(lr=0.1, t0=2, weight_decay=0.01),
    "Adadelta": {},
    "Adafactor": dict(lr=0.05),
    "Adagrad": dict(lr=0.1),
    "Adam": dict(lr=0.01, amsgrad=True),
    "AdamW": dict(lr=0.01, foreach=True),
    "Adamax": dict(weight_decay=0.1),
    "LBFGS": dict(lr=0.5, max_iter=3, line_search_fn="strong_wolfe"),
    "Muon": dict(lr=0.01),
    "NAdam": {},
    "RAdam": dict(lr=0.05),
    "RMSprop": dict(momentum=0.5, centered=True),
    "Rprop": {},
    "SGD": dict(lr=0.2, momentum=0.9, nesterov=True, weight_decay=0.01),
}
FOUND = [kind for kind in vars(torch.optim).values() if isinstance(kind, type)]
TORCHS = [kind for kind in FOUND if kind not in (torch.optim.Optimizer, torch.optim.SparseAdam)]
each_of_torchs = pytest.mark.parametrize("kind", TORCHS, ids=lambda kind: kind.__name__)


def _data(net: bp.Network) -> tuple[Tensor, Tensor]:
    x, y = reference.examples(net, EXAMPLES)
    return x.to(net.layers[0].w), y.to(net.layers[0].w)


def _network(dtype: torch.dtype = torch.float64) -> bp.Network:
    return reference.network(SIZES, "tanh", "softmax_cross_entropy", "softmax").to(dtype)


def _made(kind: type, parameters: list[Tensor]) -> torch.optim.Optimizer:
    held = parameters[::2] if kind.__name__ == "Muon" else parameters  # Muon is for matrices
    return kind(held, **OPTIONS[kind.__name__])


Cost = Callable[[list[bp.Layer], Tensor, int, int], Tensor]
"""(parameters, which examples, epoch, batch) -> the cost that is differentiated."""


def _by_autograd(
    net: bp.Network,
    make: Callable[[list[Tensor]], torch.optim.Optimizer],
    cost: Cost | None = None,
    changed: Callable[[list[Tensor]], object] = lambda parameters: None,
    after: Callable[[list[bp.Layer]], object] = lambda layers: None,
) -> list[Tensor]:
    """The parameters after a training by torch's own means. changed: clips the gradients. after: follows each step."""
    x, y = _data(net)
    layers = reference.leaves(net)
    parameters = [t for layer in layers for t in layer]
    optimizer = make(parameters)
    for epoch in range(1, EPOCHS + 1):
        for batch, rows in enumerate(shuffled(EXAMPLES, 0, epoch).split(BATCH)):

            def closure(epoch: int = epoch, batch: int = batch, rows: Tensor = rows) -> Any:
                optimizer.zero_grad()
                value = cost(layers, rows, epoch, batch) if cost else reference.cost(net, layers, x[rows], y[rows])
                value.backward()
                changed(parameters)
                return value

            optimizer.step(closure)
            with torch.no_grad():
                after(layers)
    return [t.detach() for t in parameters]


def _train(net: bp.Network, optimizer: torch.optim.Optimizer, **more: Any) -> list[bp.Record]:
    settings: dict[str, Any] = dict(epochs=EPOCHS, batch_size=BATCH, **more)
    return list(bp.train(net, _data(net), optimizer=optimizer, **settings))


def _all_close(got: Iterable[Tensor], wanted: Iterable[Tensor], tolerance: float = 1e-9) -> None:
    for mine, theirs in zip(got, wanted, strict=True):
        assert reference.relative_error(mine, theirs) < tolerance


def test_each_of_torchs_is_looked_at() -> None:
    assert {kind.__name__ for kind in TORCHS} <= set(OPTIONS)


@each_of_torchs
def test_it_trains_as_on_autograd(kind: type) -> None:
    net = _network()
    wanted = _by_autograd(net, lambda parameters: _made(kind, parameters))
    before = [t.clone() for t in net.parameters()]
    optimizer = _made(kind, net.parameters())
    records = _train(net, optimizer)
    _all_close(net.parameters(), wanted)
    assert not any(t.requires_grad for t in net.parameters())
    assert records[-1].cost < records[0].cost
    assert records[-1].lr == optimizer.param_groups[0]["lr"]
    moved = [not torch.equal(mine, old) for mine, old in zip(net.parameters(), before, strict=True)]
    assert moved == [kind.__name__ != "Muon" or k % 2 == 0 for k in range(len(moved))]


@each_of_torchs
def test_it_goes_on_in_the_users_hands(kind: type) -> None:
    """Nothing that it keeps is a tensor of inference mode, and .grad is what it was, though another was trained in."""
    net = _network()
    optimizer = _made(kind, net.parameters())
    mark = torch.full_like(net.layers[1].w, 2.0)
    net.layers[1].w.grad = mark
    with torch.inference_mode():
        _train(net, optimizer)
    assert net.layers[1].w.grad is mark
    assert [t.grad is None for t in net.parameters()] == [True, True, False, True, True, True]
    _train(net, optimizer)
    before = net.layers[1].w.clone()

    def closure() -> Any:
        return (mark * net.layers[1].w).sum()

    with torch.no_grad():
        optimizer.step(closure)
    assert not torch.equal(net.layers[1].w, before)


def test_a_network_made_in_inference_mode_is_trained() -> None:
    with torch.inference_mode():
        net = _network()
        adam = torch.optim.Adam(net.parameters())
    other = _network()
    _train(net, adam)
    _train(other, torch.optim.Adam(other.parameters()))
    _all_close(net.parameters(), other.parameters(), 1e-15)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.LBFGS])
def test_tensors_that_require_grad_change_no_digit(kind: type) -> None:
    nets = [_network(), _network()]
    nets[1] = bp.Network(tuple(reference.leaves(nets[0])), nets[0].activations, nets[0].cost_function)
    for net in nets:
        _train(net, kind(net.parameters()), l2=0.1, max_norm=0.9)
    assert all(map(torch.equal, nets[0].parameters(), nets[1].parameters()))


@pytest.mark.parametrize("every", [None, 1], ids=["an epoch", "a batch"])
def test_a_scheduler_of_torch_steps_between_two_records(every: int | None) -> None:
    def scheduled(optimizer: torch.optim.Optimizer) -> Any:
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.7)

    net = _network()
    x, y = _data(net)
    layers = reference.leaves(net)
    theirs = torch.optim.SGD([t for layer in layers for t in layer], lr=0.5, momentum=0.9)
    scheduler, wanted = scheduled(theirs), []
    for epoch in range(1, EPOCHS + 1):
        for rows in shuffled(EXAMPLES, 0, epoch).split(BATCH):
            theirs.zero_grad()
            reference.cost(net, layers, x[rows], y[rows]).backward()
            theirs.step()
            wanted.append(theirs.param_groups[0]["lr"])
            if every:
                scheduler.step()
        if not every:
            scheduler.step()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
    scheduler, rates = scheduled(optimizer), []
    for record in bp.train(net, (x, y), optimizer=optimizer, epochs=EPOCHS, batch_size=BATCH, every=every):
        rates.append(record.lr)
        scheduler.step()
    _all_close(net.parameters(), [t.detach() for layer in layers for t in layer])
    assert rates == (wanted if every else wanted[::3])


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.LBFGS])
def test_what_a_recipe_asks_for_besides_is_done(kind: type) -> None:
    """Penalties, dropout, both clippings, weights, max-norm: LBFGS sees one mask and the whole cost in all it tries."""
    net = _network()
    x, y = _data(net)
    counted = torch.linspace(0.5, 2, EXAMPLES, dtype=torch.float64)
    dropout, l2, l1 = (0.2, 0.4, 0.4), 0.5, 0.05

    def cost(layers: list[bp.Layer], rows: Tensor, epoch: int, batch: int) -> Tensor:
        keys = keys_table(3, dropout, 0, epoch)[batch]
        a = z = x[rows]
        for l, ((w, b), rate) in enumerate(zip(layers, dropout, strict=True)):
            scale = torch.tensor(1 / (1 - rate), dtype=torch.float64)
            z = (a * mask(len(rows), SIZES[l], keys[KEYS * l : KEYS * (l + 1)].unbind(), scale, 0)) @ w.mT + b
            a = z.tanh()
        of_each = -(z.log_softmax(-1) * y[rows]).sum(-1) * counted[rows]
        penalty = sum(l2 / 2 * w.square().sum() + l1 * w.abs().sum() for w, _ in layers) / EXAMPLES
        return of_each.sum() / counted[rows].sum() + penalty

    def clip(parameters: list[Tensor]) -> None:
        torch.nn.utils.clip_grad_norm_(parameters, 0.3)
        torch.nn.utils.clip_grad_value_(parameters, 0.1)

    def within(layers: list[bp.Layer]) -> None:
        for w, _ in layers:
            w *= (0.9 / w.norm(dim=1, keepdim=True)).clamp(max=1)

    options: dict[str, Any] = (
        dict(max_iter=3, line_search_fn="strong_wolfe") if kind is torch.optim.LBFGS else dict(lr=0.05)
    )
    wanted = _by_autograd(net, lambda parameters: kind(parameters, **options), cost, clip, within)
    others = [net.to(), net.to()]
    settings: dict[str, Any] = dict(l2=l2, l1=l1, max_norm=0.9, clip_norm=0.3, clip_value=0.1, sample_weight=counted)
    ways: list[dict[str, Any]] = [{}, dict(batch_size=4, accumulate=2), dict(l2=0)]
    for each, more in zip((net, *others), ways, strict=True):
        trained: dict[str, Any] = settings | dict(dropout=dropout, batch_size=BATCH, epochs=EPOCHS) | more
        list(bp.train(each, (x, y), optimizer=kind(each.parameters(), **options), **trained))
    _all_close(net.parameters(), wanted)
    _all_close(others[0].parameters(), wanted)
    assert reference.relative_error(others[1].layers[0].w, wanted[0]) > 1e-4


def test_what_it_does_not_hold_stays_as_it_is() -> None:
    """max_norm leaves it alone, too."""
    net = _network()
    before = [t.clone() for t in net.parameters()]
    _train(net, torch.optim.Adam(net.layers[2], lr=0.1), max_norm=0.5)
    assert all(map(torch.equal, net.parameters()[:4], before[:4]))
    assert net.layers[2].w.norm(dim=1).max() <= 0.5 + 1e-12
    assert not torch.equal(net.layers[2].b, before[5])


class Tutorial(torch.optim.Optimizer):
    """As many are written: a step that knows no closure."""

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        super().__init__(parameters, dict(lr=lr))

    def step(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter -= group["lr"] * parameter.grad


def test_an_optimiser_of_ones_own_is_taken() -> None:
    net, other = _network(), _network()
    _train(net, Tutorial(net.parameters(), lr=0.3))
    list(bp.train(other, _data(other), epochs=EPOCHS, batch_size=BATCH, lr=0.3))
    _all_close(net.parameters(), other.parameters())


@pytest.mark.parametrize("kind", [torch.optim.NAdam, torch.optim.LBFGS])
def test_a_divergence_puts_back_what_it_keeps(kind: type) -> None:
    """Exactly: the network and the optimiser go on as if nothing had been. load_state_dict would change NAdam's."""
    net = _network()
    x, y = _data(net)
    optimizer = kind(net.parameters())
    records = bp.train(net, (x, y), epochs=3, batch_size=BATCH, optimizer=optimizer)
    next(records)
    before, weights = pickle.dumps(optimizer.state_dict()), [t.clone() for t in net.parameters()]
    good = x[3].clone()
    x[3] = math.nan
    with pytest.raises(bp.DivergenceError, match=f"epoch 2.* a smaller lr than {optimizer.defaults['lr']:g}"):
        next(records)
    assert all(map(torch.equal, net.parameters(), weights))
    _same(optimizer.state_dict(), pickle.loads(before))  # noqa: S301 (ours)
    assert all(t.grad is None for t in net.parameters())
    x[3] = good
    list(bp.train(net, (x, y), epochs=2, batch_size=BATCH, optimizer=optimizer, start=bp.Position(2)))
    whole = _network()
    list(bp.train(whole, (x, y), epochs=2, batch_size=BATCH, optimizer=kind(whole.parameters())))
    assert all(map(torch.equal, net.parameters(), whole.parameters()))


def _same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        _same(list(one.values()), list(other.values()))
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            _same(mine, theirs)
    else:
        assert one == other


@pytest.mark.parametrize("stop", [0, 3, 5])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(stop: int, tmp_path) -> None:
    settings: dict[str, Any] = dict(epochs=EPOCHS, batch_size=BATCH, dropout=0.3, every=1)
    whole, net = _network(torch.float32), _network(torch.float32)
    data = _data(net)
    *_, last = bp.train(whole, data, optimizer=torch.optim.NAdam(whole.parameters()), **settings)
    optimizer = torch.optim.NAdam(net.parameters())
    record = next(itertools.islice(bp.train(net, data, optimizer=optimizer, **settings), stop, None))
    bp.save(tmp_path / "net.safetensors", net, position=record.position, optimizer=optimizer)
    loaded = bp.load_checkpoint(tmp_path / "net.safetensors")
    again = torch.optim.NAdam(loaded.net.parameters())
    assert loaded.optimizer is not None
    again.load_state_dict(loaded.optimizer)
    *_, resumed = bp.train(loaded.net, data, optimizer=again, start=loaded.position, **settings)
    assert resumed.cost == last.cost
    assert all(map(torch.equal, loaded.net.parameters(), whole.parameters()))


def test_the_best_epochs_weights_come_with_what_it_kept_then() -> None:
    net = _network()
    x, y = _data(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=6.0, momentum=0.95)
    kept = []
    hook = optimizer.register_step_post_hook(lambda *_: kept.append(pickle.dumps(optimizer.state_dict())))
    records = bp.fit(net, (x, y), optimizer=optimizer, epochs=6, batch_size=BATCH, validation=(x, y), restore_best=True)
    hook.remove()
    best = min(records, key=lambda record: record.validation_cost or math.inf)
    assert 1 <= best.epoch < 6
    assert net.cost(x, y).item() == pytest.approx(best.validation_cost)
    _same(optimizer.state_dict(), pickle.loads(kept[3 * best.epoch - 1]))  # noqa: S301 (ours)


def test_products_in_bf16_change_parameters_in_float32() -> None:
    if not torch.cpu._is_avx512_bf16_supported():
        pytest.skip("this CPU has no bf16 instructions")
    nets = [_network(torch.float32) for _ in range(3)]
    x, y = _data(nets[0])
    settings: dict[str, Any] = dict(epochs=EPOCHS, batch_size=BATCH, precision="bf16", engine="eager")
    with torch.inference_mode():
        list(bp.train(nets[0], (x, y), optimizer=torch.optim.Adam(nets[0].parameters()), **settings))
    list(bp.train(nets[1], (x, y), optimizer="adam", **settings))
    list(bp.train(nets[2], (x, y), optimizer="adam", epochs=EPOCHS, batch_size=BATCH, engine="eager"))
    _all_close(nets[0].parameters(), nets[1].parameters(), 1e-5)
    assert reference.relative_error(nets[2].layers[0].w, nets[1].layers[0].w) > 1e-5


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "eager"])
def test_other_engines_refuse_it_and_auto_takes_eager(engine: str) -> None:
    net = _network()
    optimizer = torch.optim.NAdam(net.parameters())
    with pytest.raises(ValueError, match=f"engine='{engine}' takes the rules of bp.OPTIMISERS, and NAdam takes its"):
        _train(net, optimizer, engine=engine)
    _train(net, optimizer, engine="auto")


def _of_none(net: bp.Network) -> torch.optim.Optimizer:
    optimizer = torch.optim.Adam(net.parameters())
    optimizer.param_groups[0]["params"] = []
    return optimizer


OTHERS = "optimizer must hold tensors of this network and no others: make it of them, Adam"
REFUSED: list[tuple[Callable[[bp.Network], Any], dict[str, Any], str]] = [
    (lambda net: torch.optim.Adam(net.to().parameters()), {}, OTHERS),
    (lambda net: torch.optim.Adam([*net.parameters(), torch.zeros(3)]), {}, OTHERS),
    (_of_none, {}, OTHERS),
    (lambda net: torch.optim.SparseAdam(net.parameters()), {}, "SparseAdam takes sparse gradients alone"),
    (lambda net: torch.optim.Adam(net.parameters()), dict(lr=0.1), "lr can't stand beside an optimiser of torch.optim"),
    (lambda net: torch.optim.Adam(net.parameters()), dict(lr=bp.schedules.cosine(0.1)), "lr can't stand"),
    (lambda net: torch.optim.Adam(net.parameters()), dict(rate_factors="biases:0"), "rate_factors can't stand"),
    (lambda net: torch.optim.Adam(net.parameters()), dict(decay_factors="biases:0"), "decay_factors can't stand"),
    (lambda net: torch.optim.Adam, {}, "optimizer is the class Adam: make one of it"),
]


@pytest.mark.parametrize(("make", "more", "words"), REFUSED)
def test_what_can_not_be_is_refused_before_any_work(
    make: Callable[[bp.Network], Any], more: dict[str, Any], words: str
) -> None:
    net = _network()
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (its words are compared)
        bp.train(net, _data(net), optimizer=make(net), **more)
    assert words in str(caught.value)


def test_a_run_in_a_folder_refuses_it() -> None:
    recipe = bp.Recipe(optimizer=torch.optim.Adam(_network().parameters()))
    with pytest.raises(ValueError, match=r"optimizer must be an entry of bp.OPTIMISERS in a run, .* not Adam of torch"):
        bp.runs.Config(dataset="digits", recipe=recipe)


def test_a_recipe_holds_it() -> None:
    optimizer = torch.optim.Adam(_network().parameters())
    recipe = bp.Recipe(optimizer=optimizer)
    assert recipe == bp.Recipe(optimizer=optimizer) != bp.Recipe(optimizer=torch.optim.Adam(_network().parameters()))
    assert hash(recipe) == hash(bp.Recipe(optimizer=optimizer))
    assert "Adam" in repr(pickle.loads(pickle.dumps(recipe)))  # noqa: S301 (ours)

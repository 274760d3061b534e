"""Networks and entries go through pickle, copy, torch.save, joblib and other processes, and come back the same."""

import copy
import dataclasses
import io
import multiprocessing
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import pytest
import torch
from torch import Tensor

import bp_torch as bp
from bp_torch.own import own_functions

X = torch.rand(12, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(12) % 3


def softsign(z: Tensor) -> Tensor:
    return z / (1 + z.abs())


def softsign_derivative(z: Tensor, a: Tensor) -> Tensor:
    return (1 - a.abs()) ** 2


def distance(z: Tensor, a: Tensor, y: Tensor) -> Tensor:
    return (a - y).abs().sum(-1)


def distance_error(f: bp.Activation, z: Tensor, a: Tensor, y: Tensor) -> Tensor:
    return (a - y).sign() * f.derivative(z, a)


def scaled(z: Tensor, by: float) -> Tensor:
    return z * by


SOFTSIGN = bp.Activation("softsign", softsign, softsign_derivative)
DISTANCE = bp.Cost("distance", distance, distance_error, output=SOFTSIGN)
LAMBDA = bp.Activation("half", lambda z: z / 2, lambda z, a: torch.full_like(z, 0.5))


def network(**settings: Any) -> bp.Network:
    return bp.Network.create([4, 5, 3], **settings)


def _pickled(net: Any) -> Any:
    return pickle.loads(pickle.dumps(net))  # noqa: S301 (ours)


def _saved_by_torch(net: Any) -> Any:
    file = io.BytesIO()
    torch.save(net, file)
    return torch.load(io.BytesIO(file.getvalue()), weights_only=False)


def _by_joblib(net: Any) -> Any:
    file = io.BytesIO()
    joblib.dump(net, file)
    return joblib.load(io.BytesIO(file.getvalue()))


def _by_cloudpickle(net: Any) -> Any:
    return pickle.loads(cloudpickle.dumps(net))  # noqa: S301 (ours)


WAYS = [_pickled, copy.copy, copy.deepcopy, _saved_by_torch, _by_joblib, _by_cloudpickle]


def _same_outputs(again: bp.Network, net: bp.Network) -> bool:
    return torch.equal(again.forward(X).a[-1], net.forward(X).a[-1])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cost", bp.COSTS)
def test_a_network_comes_back_with_the_entries_themselves(way: Callable[[Any], Any], cost: str) -> None:
    """The very objects: what is a user's is told by identity."""
    for hidden in bp.ACTIVATIONS:
        net = network(hidden=hidden, cost=cost)
        again = way(net)
        assert all(mine is theirs for mine, theirs in zip(again.activations, net.activations, strict=True))
        assert again.cost_function is net.cost_function
        assert own_functions(again) == []
        assert _same_outputs(again, net)
        assert (again.layers[0].w.data_ptr() == net.layers[0].w.data_ptr()) == (way is copy.copy)


@pytest.mark.parametrize("way", WAYS)
def test_an_own_entry_pickles_by_itself(way: Callable[[Any], Any]) -> None:
    net = network(hidden=SOFTSIGN, cost=DISTANCE)
    again = way(net)
    assert (again.activations, again.cost_function) == (net.activations, net.cost_function)
    assert len(own_functions(again)) == len(own_functions(net)) == 3
    assert _same_outputs(again, net)
    data = X, torch.eye(3)[Y]
    ends = [[record.cost for record in bp.train(each.to(), data, epochs=2)][-1] for each in (again, net)]
    assert ends[0] == ends[1]


def test_a_registered_entry_is_unpickled_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    text = pickle.dumps(network(hidden=SOFTSIGN))
    monkeypatch.setitem(bp.ACTIVATIONS, "softsign", SOFTSIGN)
    assert pickle.loads(text).activations[0] is SOFTSIGN  # noqa: S301 (ours)
    monkeypatch.setitem(bp.ACTIVATIONS, "softsign", LAMBDA)  # another of the name: not mistaken for it
    assert pickle.loads(text).activations[0] == SOFTSIGN  # noqa: S301 (ours)


def test_the_package_s_own_are_found_where_a_user_has_taken_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(hidden="relu")
    monkeypatch.setitem(bp.ACTIVATIONS, "relu", bp.Activation("relu", softsign, softsign_derivative))
    again, mine = _pickled(net), _pickled(network(hidden="relu"))
    assert again.activations[0] is net.activations[0]
    assert mine.activations[0] is bp.ACTIVATIONS["relu"]


@pytest.mark.parametrize("way", [_pickled, _saved_by_torch, _by_joblib])
def test_an_own_entry_that_no_pickle_holds_is_named(way: Callable[[Any], Any]) -> None:
    for settings, words in (
        ({"hidden": LAMBDA}, r"Activation 'half' can't be pickled.*bp\.ACTIVATIONS\['half'\]"),
        ({"hidden": dataclasses.replace(SOFTSIGN, derivative=lambda z, a: a)}, "'softsign' can't be pickled"),
        ({"cost": bp.Cost("mine", lambda z, a, y: a.sum(-1), distance_error)}, r"Cost 'mine' .*bp\.COSTS\['mine'\]"),
    ):
        with pytest.raises(pickle.PicklingError, match=words):
            way(network(**settings))


def test_lambdas_pass_where_they_are_registered_or_held_by_their_code(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(hidden=LAMBDA)
    for again in (copy.deepcopy(net), copy.copy(net)):
        assert again.activations[0] is LAMBDA
    assert _same_outputs(_by_cloudpickle(net), net)
    with monkeypatch.context() as patch:
        patch.setitem(bp.ACTIVATIONS, "half", LAMBDA)
        text = pickle.dumps(net)
        assert pickle.loads(text).activations[0] is LAMBDA  # noqa: S301 (ours)
    with pytest.raises(ValueError, match=r"'half' is not registered here: set bp\.ACTIVATIONS\['half'\] to it"):
        pickle.loads(text)  # noqa: S301 (ours)


def test_callables_of_other_kinds_and_derived_classes_pickle() -> None:
    class Local(bp.Activation):
        pass

    half = bp.Activation("half", partial(scaled, by=0.5), softsign_derivative)
    assert torch.equal(_pickled(half).f(X), X / 2)
    assert type(_by_cloudpickle(Local("local", softsign, softsign_derivative))).__name__ == "Local"


def test_torch_load_of_weights_alone_takes_no_network(tmp_path: Path) -> None:
    torch.save(network(), tmp_path / "net.pt")
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        torch.load(tmp_path / "net.pt", weights_only=True)


def _values() -> list[Any]:
    """What a training is given and gives, all but tensors."""
    recipes = [
        bp.Recipe(class_weight={0: 1, 2: 0.5}, dropout=(0.1, 0.2), rate_factors={"biases": 2, "first": 0.5}),
        bp.Recipe(class_weight="balanced", lr=bp.schedules.one_cycle(0.1), optimizer="adam(amsgrad=True)"),
        bp.Recipe(decay_factors="biases:0", optimizer=bp.AdamW(weight_decay=0.1), class_weight={"setosa": 2}),
    ]
    schedules = [each(0.1) for each in bp.SCHEDULES.values()]
    return [*recipes, *schedules, *(each() for each in bp.OPTIMISERS.values()), SOFTSIGN, DISTANCE]


@pytest.mark.parametrize("way", WAYS)
def test_what_a_training_is_given_comes_back_equal_and_is_a_key(way: Callable[[Any], Any]) -> None:
    values = _values()
    assert [way(value) for value in values] == values
    assert len({*values, *map(way, values)}) == len(values)


def test_the_order_of_a_mapping_does_not_count() -> None:
    one, other = bp.Recipe(class_weight={0: 1, 1: 2}), bp.Recipe(class_weight={1: 2, 0: 1})
    assert one == other
    assert hash(one) == hash(other)
    assert hash(one) != hash(bp.Recipe(class_weight={0: 2, 1: 1}))


def _trained(net: bp.Network) -> tuple[bp.Network, bool]:
    """A worker's: the network trained, and whether it was given the package's own entries."""
    given = own_functions(net) == [] and net.cost_function is bp.COSTS["softmax_cross_entropy"]
    list(bp.train(net, (X, Y), epochs=2, engine="eager", threads=1))
    return net, given


@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_a_worker_of_a_pool_takes_and_gives_networks(start: str) -> None:
    net = network(cost="softmax_cross_entropy", hidden="relu")
    with multiprocessing.get_context(start).Pool(1) as pool:
        theirs, given = pool.apply_async(_trained, (net,)).get(timeout=120)
    assert given
    assert _same_outputs(theirs, _trained(net)[0])

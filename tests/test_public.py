"""The public names: none that a README ever had is lost, and help shows what may be typed."""

import ast
import importlib
import inspect
from collections.abc import Callable
from typing import Any, cast, get_type_hints

import pytest
import torch

import bp_torch as bp
from bp_torch.recipe import FIELDS, Settings

NAMES = {
    "ACTIVATIONS Activation BackpropTrace COSTS Check Checkpoint CheckpointError Cost DataError DivergenceError",
    "EngineError INITIALISERS Layer Network Position Record Recipe Trace backprop check data fit load load_checkpoint",
    "per_example runs save stack summary train __version__ OPTIMISERS SGD Adam AdamW RMSprop Adagrad SCHEDULES",
    "schedules Adamax Adadelta NAdam Lion SparseAdam to_sequential from_sequential",
}
OF = {
    bp.Network: "create sizes to forward backward gradients cost predict predict_proba accuracy layers activations "
    "cost_function",
    bp.data: "Split Table digits fashion_mnist idx kmnist load mnist picture seen table",
    bp.per_example: "gradient_norms clipped_sum second_moment noise_scale gram ntk influence top_influences",
    bp.runs: "Config Run Session begin load_test_set read report resume train",
    bp.schedules: "constant linear step exponential cosine one_cycle coslog4 schedule",
    bp.Record: "epoch cost validation_cost validation_accuracy seconds examples_per_second position whole",
    bp.Position: "epoch batch cost_sum seconds slots taken",
    bp.Checkpoint: "net position settings optimizer",
    bp.BackpropTrace: "a z delta cost",
}


def test_no_public_name_is_lost() -> None:
    assert {name for name in " ".join(NAMES).split() if not hasattr(bp, name)} == set()
    for place, names in OF.items():
        annotations = getattr(place, "__annotations__", {})
        assert {name for name in names.split() if not hasattr(place, name) and name not in annotations} == set()


@pytest.mark.parametrize("function", [bp.train, bp.fit])
def test_help_shows_each_field_of_a_recipe(function: Callable[..., object]) -> None:
    parameters = inspect.signature(function).parameters
    assert set(FIELDS) < set(parameters)
    assert "settings" not in parameters
    defaults = {name: parameters[name].default for name in FIELDS}
    assert bp.Recipe(**defaults) == bp.Recipe()


def test_the_settings_are_the_fields_of_a_recipe() -> None:
    assert get_type_hints(Settings) == get_type_hints(bp.Recipe)


def test_a_setting_that_does_not_exist_is_named() -> None:
    net = bp.Network.create([2, 1])
    with pytest.raises(TypeError, match="there is no setting 'learning_rate': there are epochs, batch_size, lr"):
        bp.train(net, (torch.zeros(3, 2), torch.zeros(3, 1)), learning_rate=1.0)  # pyright: ignore[reportCallIssue]
    for name, hint in (("weight_decay", "optimizer="), ("patience", "bp.fit"), ("learning_rate", "take lr")):
        with pytest.raises(TypeError, match=f"there is no setting '{name}': .*; for this take .*{hint.split()[-1]}"):
            bp.train(net, (torch.zeros(3, 2), torch.zeros(3, 1)), **cast(Any, {name: 1}))


def test_a_recipe_and_settings_beside_it() -> None:
    """What is named beside a recipe counts in its place; a recipe itself never changes."""
    recipe = bp.Recipe(epochs=2, lr=0.5)
    runs, ways = [], (dict[str, Any](recipe=recipe, seed=3), dict[str, Any](epochs=2, lr=0.5, seed=3))
    for settings in ways:
        net = bp.Network.create([4, 3], dtype=torch.float64)
        x = torch.linspace(0, 1, 80, dtype=torch.float64).view(20, 4)
        runs.append([record.cost for record in bp.train(net, (x, x[:, :3]), **settings)])
    assert runs[0] == runs[1]
    assert recipe == bp.Recipe(epochs=2, lr=0.5)


def test_a_rate_that_is_left_out_fits_the_network() -> None:
    x, y = bp.data.digits("train")
    for hidden, cost, rate in (("sigmoid", "quadratic", 3.0), ("relu", "softmax_cross_entropy", 0.1)):
        nets = [bp.Network.create([64, 20, 10], hidden=hidden, cost=cost) for _ in range(2)]
        list(bp.train(nets[0], (x, y), epochs=1))
        list(bp.train(nets[1], (x, y), epochs=1, lr=rate))
        assert torch.equal(nets[0].layers[0].w, nets[1].layers[0].w)
        assert nets[0].accuracy(x, y) > 0.5


def test_names_are_imported_at_their_first_use_and_each_is_where_the_types_say() -> None:
    """What pyright reads, what is listed, and what runs are the same names."""
    (typed,) = (node for node in ast.parse(inspect.getsource(bp)).body if isinstance(node, ast.If))
    imports = [node for node in typed.body if isinstance(node, ast.ImportFrom)]
    homes = {str(node.module): " ".join(alias.name for alias in node.names) for node in imports}
    modules = homes.pop("bp_torch").split()
    assert homes == bp._HOMES
    assert sorted([*modules, *" ".join(homes.values()).split()]) == sorted(bp.__all__)
    for home, names in homes.items():
        assert all(getattr(bp, name) is getattr(importlib.import_module(home), name) for name in names.split())
    assert set(bp.__all__) <= set(dir(bp))
    assert bp.insight.check.check is bp.check  # pyright: ignore[reportAttributeAccessIssue]


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    for name in ("trian", "__nothing__"):
        with pytest.raises(AttributeError, match=f"module 'bp_torch' has no attribute '{name}'"):
            getattr(bp, name)

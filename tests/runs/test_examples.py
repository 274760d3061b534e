"""What a run makes of its training examples: the part that is held out, and the classes that weights name."""

from typing import Any

import pytest
import torch

import bp_torch as bp
from bp_torch.data import Split
from bp_torch.runs.examples import held_out, with_indices


def test_a_tenth_of_every_class_is_held_out_by_the_seed() -> None:
    y = torch.arange(3).repeat_interleave(torch.tensor([100, 20, 1]))
    data = Split(torch.arange(121.0).unsqueeze(1), y, ("a", "b", "c"))
    train, validation = held_out(data, seed=0)
    assert validation.y.bincount().tolist() == [10, 2]
    assert sorted(torch.cat([train.x, validation.x]).flatten().tolist()) == list(range(121))
    assert torch.equal(y[validation.x.flatten().long()], validation.y)
    assert torch.equal(held_out(data, seed=0)[1].x, validation.x)
    assert not torch.equal(held_out(data, seed=1)[1].x, validation.x)


def test_values_are_held_out_and_too_few_are_refused() -> None:
    def data(m: int) -> Split:
        return Split(torch.arange(2.0 * m).view(m, 2), torch.arange(1.0 * m).view(m, 1), None)

    assert [len(part.x) for part in held_out(data(50), seed=0)] == [45, 5]
    with pytest.raises(ValueError, match="patience holds out a tenth of the training examples, and 5 are too few"):
        held_out(data(5), seed=0)


@pytest.mark.parametrize(
    ("given", "classes", "wanted"),
    [
        ("virginica:2,setosa:0.5", ("setosa", "virginica"), {1: 2.0, 0: 0.5}),
        ({"setosa": 3}, ("setosa", "virginica"), {0: 3.0}),
        ("1:2", ("setosa", "virginica"), {1: 2.0}),  # no class is called so: it is the number
        ("3:2", ("1", "3"), {1: 2.0}),
        ({3: 2}, ("1", "3"), {1: 2.0}),
        ("007:2", ("007", "7"), {0: 2.0}),
        ("7:2", ("007", "7"), {1: 2.0}),
        ("at 7:30:2", ("at 7:00", "at 7:30"), {1: 2.0}),
        ("balanced", ("a", "b"), "balanced"),
        (None, None, None),
    ],
)
def test_classes_are_named_by_their_names(given: Any, classes: tuple[str, ...] | None, wanted: object) -> None:
    assert with_indices(bp.Recipe(class_weight=given), classes).class_weight == wanted


@pytest.mark.parametrize(
    ("given", "classes", "message"),
    [
        ("rosa:2", ("setosa", "virginica"), "must name classes of the target, setosa, virginica, not 'rosa'"),
        ("0:2", ("1", "3"), "must name classes of the target, 1, 3, not '0'"),
        ("2:2", ("setosa", "virginica"), "not '2'"),
        ("setosa:2,0:1", ("setosa", "virginica"), "must name each class once, not 'setosa' twice"),
        ("k:2", tuple(f"c{k}" for k in range(30)), "c19 …, not 'k'"),
        ("balanced", None, "class_weight is for classes, and the target holds values: leave it away"),
    ],
)
def test_classes_that_are_not_there_are_refused(given: Any, classes: tuple[str, ...] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_indices(bp.Recipe(class_weight=given), classes)


def test_a_name_that_text_cant_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="must give the class 'a,b' by its number: commas part the classes"):
        bp.Recipe(class_weight={"a,b": 2.0})


def test_training_itself_takes_numbers_of_classes() -> None:
    x, y = bp.data.digits("train")
    net = bp.Network.create([64, 10])
    with pytest.raises(ValueError, match="class_weight names class two, of which there is no example: there are 0, 1"):
        bp.train(net, (x, y), class_weight={"two": 2.0})

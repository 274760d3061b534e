"""What can't be asked of a step: one sentence that names it and says what to do, before any work."""

import math
from typing import Any

import numpy as np
import plan_reference as oracle
import pytest
import torch

import bp_torch as bp
from bp_torch.training import engines

REFUSED: list[tuple[dict[str, Any], str]] = [
    (dict(dropout=1.0), "dropout must be a number from 0 to below 1, not 1.0"),
    (dict(dropout=-0.1), "dropout must be a number from 0 to below 1"),
    (dict(dropout=math.nan), "dropout must be a number from 0 to below 1"),
    (dict(dropout=True), "dropout must be a number from 0 to below 1"),
    (dict(dropout=None), "dropout must be a number from 0 to below 1"),
    (dict(dropout=(0.2, 1)), "dropout must be a number from 0 to below 1, not 1"),
    (dict(dropout=(0.2, "0.5")), "dropout must be a number from 0 to below 1"),
    (dict(dropout=np.array([0.2, 0.5])), "dropout must be a number from 0 to below 1"),
    (dict(dropout="half"), "dropout must be numbers from 0 to below 1, as in 0.2,0.5, not 'half'"),
    (dict(dropout="0.5,"), "dropout must be numbers from 0 to below 1, as in 0.2,0.5, not '0.5,'"),
    (dict(dropout="2"), "dropout must be a number from 0 to below 1, not 2.0"),
    (dict(dropout=(0.1,) * 4), "dropout has 4 probabilities, and 3 layers are entered: give one for each, or two"),
    (dict(l2=-1.0), "l2 must be a number of 0 or more, and finite, not -1.0"),
    (dict(l2=math.inf), "l2 must be a number of 0 or more"),
    (dict(l2="0.1"), "l2 must be a number of 0 or more"),
    (dict(l1=-1e-9), "l1 must be a number of 0 or more"),
    (dict(l1=math.nan), "l1 must be a number of 0 or more"),
    (dict(max_norm=0), "max_norm must be a positive, finite number, not 0"),
    (dict(max_norm=-1), "max_norm must be a positive, finite number"),
    (dict(clip_norm=0), "clip_norm must be a positive, finite number, not 0"),
    (dict(clip_norm=math.inf), "clip_norm must be a positive, finite number"),
    (dict(clip_norm=True), "clip_norm must be a positive, finite number"),
    (dict(clip_value=-1), "clip_value must be a positive, finite number, not -1"),
    (dict(clip_value="1"), "clip_value must be a positive, finite number"),
    (dict(accumulate=0), "accumulate must be a whole number of at least 1, not 0"),
    (dict(accumulate=1.5), "accumulate must be a whole number of at least 1"),
    (dict(accumulate=2**70), "accumulate must be a whole number of at most"),
    (
        dict(rate_factors={"bias": 0.1}),
        "unknown part of rate_factors 'bias': choose one of weights, biases, first, last",
    ),
    (dict(rate_factors={0: 0.1}), "unknown part of rate_factors 0: choose one of"),
    (dict(rate_factors={"biases": -1}), "rate_factors of biases must be a number of 0 or more, and finite, not -1"),
    (dict(rate_factors={"biases": math.nan}), "rate_factors of biases must be"),
    (dict(rate_factors={"biases": "2"}), "rate_factors of biases must be"),
    (dict(rate_factors="biases"), "rate_factors must be names with numbers, as in biases:0.1,first:2, not 'biases'"),
    (dict(rate_factors="biases=2"), "rate_factors must be names with numbers"),
    (dict(rate_factors=0.5), "rate_factors must be names with numbers, as in biases:0.1,first:2, not 0.5"),
    (dict(decay_factors="biases:x"), "decay_factors must be names with numbers"),
    (dict(decay_factors={"hidden": 0}), "unknown part of decay_factors 'hidden'"),
    (dict(decay_factors={"last": math.inf}), "decay_factors of last must be"),
    (dict(lr="cosin"), "unknown schedule 'cosin': choose one of constant"),
    (dict(lr="cosine(0.1, warmup=2)"), "warmup must be a number from 0 to below 1"),
    (dict(lr=bp.schedules.cosine), "lr is the class Cosine: give one of it, as in bp.schedules.cosine(0.1)"),
    (dict(lr=[0.1]), "lr must be a positive, finite number, not [0.1]"),
]


@pytest.mark.parametrize(("settings", "words"), REFUSED, ids=[str(settings)[:50] for settings, _ in REFUSED])
def test_what_cant_be_asked_is_one_sentence_before_any_work(
    settings: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "start", lambda job: pytest.fail("work began"))
    net = oracle.network()
    for call in (bp.train, bp.fit):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 (its words are compared)
            call(net, oracle.data(net), **settings)
        said = str(caught.value)
        assert words in said
        assert "\n" not in said


def test_what_is_at_the_edge_is_taken() -> None:
    net = oracle.network()
    for settings in (
        dict(dropout=math.nextafter(1, 0)),
        dict(dropout=1e-300),
        dict(dropout=[0, 0, 0]),
        dict(l2=0, l1=0),
        dict(clip_norm=1e-300),
        dict(clip_value=5e-324),
        dict(max_norm=1e-300),
        dict(clip_norm=10**300),
        dict(accumulate=2**40),
        dict(rate_factors={"weights": 0, "biases": 0}),
        dict(rate_factors={}, decay_factors=None),
        dict(label_smoothing=0.999),
        dict(batch_size=2**62, accumulate=2**62),
    ):
        given: dict[str, Any] = dict(epochs=1, lr=0.1, engine="eager", **settings)
        *_, last = bp.train(net, oracle.data(net), **given)
        assert math.isfinite(last.cost)


def test_a_stack_is_refused_with_a_plan_too() -> None:
    net = bp.stack([oracle.network(), oracle.network()])
    with pytest.raises(ValueError, match="train takes one network at a time"):
        bp.train(net, (torch.zeros(2, 7, dtype=torch.float64), torch.zeros(2, dtype=torch.int64)), dropout=0.5)

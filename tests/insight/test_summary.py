"""The table of a network's layers, from first principles."""

import pytest
import torch

import bp_torch as bp
from bp_torch.optimisers import optimiser
from bp_torch.training.job import operations


def test_a_network_is_counted_layer_by_layer() -> None:
    """[4, 3, 2] in float32, by Adam, in batches of 5: numbers counted by hand."""
    net = bp.Network.create([4, 3, 2], hidden="relu", cost="softmax_cross_entropy")
    told = bp.summary(net, batch_size=5, optimizer="adam")
    first, second = told.rows
    assert first[:5] == (0, (3, 4), (3,), "relu", 12 + 3)
    assert second[:5] == (1, (2, 3), (2,), "softmax", 6 + 2)
    assert (first.memory, first.state) == (15 * 4, 2 * 15 * 4)  # two moments
    assert (first.activations, second.activations) == (3 * 5 * 3 * 4, 3 * 5 * 2 * 4)
    assert first.operations == 2 * 5 * 12 * 2  # w x and δ xᵀ
    assert second.operations == 2 * 5 * 6 * 3  # w a, δ aᵀ and wᵀ δ
    assert told.all[4:] == (23, 92, 184, 180 + 120 + 5 * 4 * 4, 240 + 180)


def test_it_counts_what_is_there() -> None:
    net = bp.Network.create([7, 6, 5, 3], dtype=torch.float64)
    for rule in ("sgd", "sgd(momentum=0.9)", "adam", "rmsprop(centered=True)"):
        told = bp.summary(net, batch_size=4, optimizer=rule)
        record = next(bp.train(net, (torch.ones(4, 7).double(), torch.ones(4, 3).double()), optimizer=rule, lr=1e-3))
        assert told.all.parameters == sum(t.numel() for layer in net.layers for t in layer)
        assert told.all.memory == sum(t.nbytes for layer in net.layers for t in layer)
        assert told.all.state == sum(t.nbytes for slot in record.position.slots for layer in slot for t in layer)
        assert told.all.operations == operations(net, 4)


def test_as_text_it_is_a_table() -> None:
    told = str(bp.summary(bp.Network.create([784, 500, 10]), batch_size=20, optimizer=bp.Adam(weight_decay=0.1)))
    assert told.splitlines() == [
        "layer  w           b       activation  parameters   memory    state  z, a, δ  operations",
        "0      (500, 784)  (500,)  sigmoid        392,500  1.57 MB  3.14 MB   120 kB      31.4 M",
        "1      (10, 500)   (10,)   sigmoid          5,010    20 kB  40.1 kB   2.4 kB       600 k",
        "all                                       397,510  1.59 MB  3.18 MB   185 kB        32 M",
        "state: what adam(weight_decay=0.1) keeps; z, a, δ and operations: of a batch of 20",
    ]


def test_what_cant_be_summed_up_is_refused() -> None:
    net = bp.Network.create([3, 2])
    with pytest.raises(ValueError, match="batch_size must be a whole number of at least 1"):
        bp.summary(net, batch_size=0)
    with pytest.raises(ValueError, match="unknown optimizer"):
        bp.summary(net, optimizer="adan")
    with pytest.raises(ValueError, match="can't tell what Adam of torch"):
        bp.summary(net, optimizer=optimiser(torch.optim.Adam(net.parameters())))
    with pytest.raises(ValueError, match="one network at a time"):
        bp.summary(bp.stack([net, net]))

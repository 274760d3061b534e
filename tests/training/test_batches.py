"""Mini-batches: a permutation of the examples that seed and epoch give, gathered in chunks."""

from typing import Any, cast

import pytest
import torch

import bp_torch as bp
from bp_torch.training.batches import batch_sizes, chunks, order_of, shuffled


def test_batches_are_a_permutation_that_depends_on_seed_and_epoch() -> None:
    x, y = torch.arange(23.0).unsqueeze(1), torch.arange(23.0).unsqueeze(1)
    batches = [batch for chunk in chunks(x, y, shuffled(23, 0, 1), 5) for batch in chunk.batches]
    assert [len(batch.ones) for batch in batches] == [len(batch.x) for batch in batches] == [5, 5, 5, 5, 3]
    assert all(torch.equal(batch.x, batch.y) for batch in batches)
    assert sorted(torch.cat([batch.x for batch in batches]).squeeze(1).tolist()) == list(range(23))
    orders = {tuple(shuffled(23, seed, epoch).tolist()) for seed in (0, 1, 2**32) for epoch in (1, 2)}
    assert len(orders) == 6
    assert torch.equal(shuffled(23, 1, 2), shuffled(23, 1, 2))


def test_chunks_split_large_data_without_losing_an_example() -> None:
    x = torch.arange(3000.0).unsqueeze(1).expand(3000, 700).contiguous()  # 8.4 MB: several chunks
    parts = list(chunks(x, x[:, :1], torch.arange(3000), 32))
    assert len(parts) > 2
    assert torch.cat([chunk.y for chunk in parts]).squeeze(1).tolist() == list(range(3000))


def test_the_sizes_of_an_epochs_batches() -> None:
    assert batch_sizes(23, 5).tolist() == [5, 5, 5, 5, 3]
    assert batch_sizes(20, 5).tolist() == [5, 5, 5, 5]
    assert batch_sizes(3, 3).tolist() == [3]


def test_the_order_is_drawn_or_as_it_stands_or_a_functions() -> None:
    assert order_of(True, 9, 3, 2).tolist() == shuffled(9, 3, 2).tolist()
    assert order_of(False, 9, 3, 2).tolist() == list(range(9))
    assert order_of(lambda epoch, m: [(epoch + k) % m for k in range(m)], 4, 0, 2).tolist() == [2, 3, 0, 1]


@pytest.mark.parametrize("given", [[0, 1], [0, 1, 3], [0, 1, -1], [[0, 1, 2]]], ids=str)
def test_a_function_that_gives_no_order_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="shuffle must give 3 indices from 0 to 2, and for epoch 5 it does not"):
        order_of(lambda epoch, m: given, 3, 0, 5)


@pytest.mark.parametrize("engine", ["eager", "native"])
def test_a_training_takes_the_examples_in_the_order_that_is_asked_for(engine: str) -> None:
    """One epoch that does not shuffle is the same as one that is given the order of before."""
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(10, 3, generator=rng), torch.rand(10, 2, generator=rng)
    back = torch.arange(9, -1, -1)
    ways = [((x, y), False), ((x[back], y[back]), lambda epoch, m: range(m - 1, -1, -1)), ((x, y), True)]
    nets = [bp.Network.create([3, 4, 2]) for _ in ways]
    for net, (data, shuffle) in zip(nets, ways, strict=True):
        list(bp.train(net, data, epochs=2, batch_size=3, lr=0.5, engine=engine, shuffle=shuffle))
    assert torch.equal(nets[0].layers[0].w, nets[1].layers[0].w)
    assert not torch.equal(nets[0].layers[0].w, nets[2].layers[0].w)


def test_shuffle_is_a_flag_or_a_function() -> None:
    with pytest.raises(ValueError, match="shuffle must be True or False, not 'no'"):
        bp.Recipe(shuffle=cast(Any, "no"))
    with pytest.raises(ValueError, match="shuffle must be True or False in a run"):
        bp.runs.Config(dataset="digits", recipe=bp.Recipe(shuffle=lambda epoch, m: range(m)))

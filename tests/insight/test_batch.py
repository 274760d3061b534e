"""The batches of a training, seen from outside: their rows and masks give the training's own weights."""

import pytest
import torch

import bp_torch as bp

SETTINGS = dict(batch_size=7, dropout=(0.2, 0.5), seed=3)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_steps_of_a_training_are_seen_with_what_dropout_left_out(accumulate: int) -> None:
    """w − η δᵀa / m by what the batch holds and the masked trace shows, step by step."""
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(31, 5, generator=rng, dtype=torch.float64), torch.randint(0, 3, (31,), generator=rng)
    net = bp.Network.create([5, 6, 4, 3], hidden="tanh", cost="softmax_cross_entropy", dtype=torch.float64)
    seen = net.to()
    records = bp.train(net, (x, y), epochs=2, lr=0.1, every=1, accumulate=accumulate, engine="eager", **SETTINGS)  # pyright: ignore[reportArgumentType]
    batches = -(-31 // (7 * accumulate))
    k = -1
    for k, _ in enumerate(records):
        epoch, batch = k // batches + 1, k % batches + 1
        rows, masks = bp.batch_of(seen, 31, epoch, batch, accumulate=accumulate, **SETTINGS)  # pyright: ignore[reportArgumentType]
        trace = bp.backprop(seen, x[rows], y[rows], masks)
        for l, (w, b) in enumerate(seen.layers):
            w -= 0.1 * trace.delta[l].mT @ trace.into(l) / len(rows)
            b -= 0.1 * trace.delta[l].mean(0)
        for mine, theirs in zip(seen.layers, net.layers, strict=True):
            torch.testing.assert_close(mine.w, theirs.w, rtol=1e-12, atol=1e-14)
            torch.testing.assert_close(mine.b, theirs.b, rtol=1e-12, atol=1e-14)
    assert k == 2 * batches - 1


def test_without_dropout_there_are_no_masks() -> None:
    net = bp.Network.create([4, 3])
    rows, masks = bp.batch_of(net, 10, 1, 1)
    assert sorted(rows.tolist()) == list(range(10))
    assert masks == ()
    trace = bp.backprop(net, torch.ones(10, 4), torch.zeros(10, 3))
    assert trace.into(0) is trace.a[0]


def test_a_batch_that_is_not_there_is_refused() -> None:
    net = bp.Network.create([4, 3, 2])
    with pytest.raises(ValueError, match="batch must be at most 2, the batches of an epoch, not 3"):
        bp.batch_of(net, 20, 1, 3)
    with pytest.raises(ValueError, match="masks must be of what enters each layer"):
        bp.backprop(net, torch.ones(5, 4), torch.zeros(5, 2), [None, torch.ones(5, 4)])
    with pytest.raises(ValueError, match="masks must be of what enters each layer"):
        bp.backprop(net, torch.ones(5, 4), torch.zeros(5, 2), [torch.ones(5, 4)])

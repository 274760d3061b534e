"""Mini-batches: a permutation of the examples that seed and epoch give, gathered in chunks."""

import torch

from bp_torch.training.batches import batch_sizes, chunks, shuffled


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

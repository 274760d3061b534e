"""Dropout's masks: their generator in whole numbers, their shares, and that nothing goes together that should not."""

import math
from itertools import combinations, pairwise

import plan_reference as oracle
import pytest
import torch

import bp_torch as bp
from bp_torch.dropout import KEYS, keys_table, mask

N = 1 << 16
ONE = torch.tensor(1.0, dtype=torch.float64)


def keys_of(p: float, seed: int = 0, epoch: int = 1, step: int = 0, layer: int = 0, layers: int = 1) -> torch.Tensor:
    return keys_table(step + 1, (p,) * layers, seed, epoch)[step, layer * KEYS : (layer + 1) * KEYS]


def left(p: float, rows: int = 256, columns: int = 256, **place: int) -> torch.Tensor:
    """Which neurons are left in: 1, else 0, as float64."""
    return mask(rows, columns, keys_of(p, **place).unbind(), ONE)


def mixed(h: int) -> int:
    """The finaliser in Python's whole numbers: its source has shifts that bring in zeros."""
    h = (h ^ h >> 16) * 0x7FEB352D % 2**32
    h = (h ^ h >> 15) * 0x846CA68B % 2**32
    return h ^ h >> 16


@pytest.mark.parametrize("p", [0.5, 0.1, 2**-32])
def test_a_mask_is_that_of_whole_numbers(p: float) -> None:
    """Dropped is what is below p · 2³², of an unsigned number whose first bit is turned: as a signed one it is less."""
    first, second, threshold = (key % 2**32 for key in keys_of(p).tolist())
    made = mask(20, 7, keys_of(p).unbind(), torch.tensor(3.0), first=11)
    for row in range(20):
        for column in range(7):
            h = mixed(mixed((11 + row) * 7 + column ^ first) ^ second)
            signed = h - 2**32 * (h >= 2**31)
            assert made[row, column].item() == 3.0 * (signed >= threshold - 2**32 * (threshold >= 2**31))
    assert (threshold + 2**31) % 2**32 == round(p * 2**32)


@pytest.mark.parametrize("p", [0.01, 0.2, 0.5, 0.9, 0.999])
def test_the_share_that_is_dropped_is_p(p: float) -> None:
    """Over all, of each neuron and of each example, to five deviations of independent draws."""
    kept = torch.stack([left(p, step=step) for step in range(4)])
    for of, count in ((None, 4 * N), ((0, 1), 4 * 256), ((0, 2), 4 * 256)):
        shares = kept.mean() if of is None else kept.mean(of)
        assert (shares - (1 - p)).abs().max().item() < 5 * math.sqrt(p * (1 - p) / count)


@pytest.mark.parametrize("p", [1 - 2**-30, 1 - 2**-40, math.nextafter(1, 0)])
def test_next_to_all_is_not_none(p: float) -> None:
    """The threshold of a probability that rounds to 1 is the largest number, not the smallest."""
    assert left(p).sum().item() <= 1


def test_masks_of_other_places_have_nothing_to_do_with_each_other() -> None:
    """Layers, batches, epochs, seeds, and neighbours: agreement to five deviations of independent draws."""
    places = [{}, dict(layer=1), dict(layer=2), dict(step=1), dict(step=2), dict(epoch=2), dict(seed=1), dict(seed=2)]
    made = [left(0.5, **{"layers": 3, **place}) for place in places]
    pairs = list(combinations(made, 2))
    for each in made:
        pairs += [(each[1:], each[:-1]), (each[:, 1:], each[:, :-1]), (each[1:, 1:], each[:-1, :-1])]
        pairs += [(each[:128], each[128:]), (each, each.mT)]
    for one, other in pairs:
        assert abs((one == other).double().mean().item() - 0.5) < 5 * 0.5 / math.sqrt(one.numel() / 2)


def test_random_numbers_are_spread_evenly() -> None:
    """Every bit is set half of the time, and no two of them agree more than chance: thresholds of 2⁻¹ … 2⁻⁸."""
    for k in range(1, 9):
        share = 1 - left(2.0**-k).mean().item()
        assert abs(share - 2.0**-k) < 5 * math.sqrt(2.0**-k / N)


def test_a_part_of_a_batch_has_its_rows_of_the_whole_mask() -> None:
    keys = keys_of(0.4).unbind()
    whole = mask(9, 5, keys, ONE)
    assert torch.equal(torch.cat([mask(4, 5, keys, ONE), mask(5, 5, keys, ONE, first=4)]), whole)


def test_what_is_left_is_scaled_so_that_the_mean_stays() -> None:
    """1 / (1 − p), by whole runs of one batch: the cost of a linear network whose hidden neurons are all 1."""
    layers = tuple(bp.Layer(torch.zeros(n_out, n_in), torch.ones(n_out)) for n_in, n_out in pairwise([3, 4000, 1]))
    layers[1].w.fill_(1 / 4000)
    layers[1].b.zero_()
    net = bp.Network(layers, (bp.ACTIVATIONS["identity"],) * 2, bp.COSTS["quadratic"])
    (record,) = bp.train(net, (torch.zeros(8, 3), torch.zeros(8, 1)), epochs=1, dropout=0.8, lr=1e-9, engine="eager")
    assert record.cost == pytest.approx(0.5, rel=0.1)


def test_the_table_is_for_the_layers_that_drop() -> None:
    table = keys_table(3, (0.0, 0.5, 0.25), 0, 1)
    assert table.shape == (3, 2 * KEYS)
    assert table.dtype == torch.int32
    assert table[:, 2].tolist() == [0, 0, 0]
    assert table[:, 5].tolist() == [2**30 - 2**31] * 3
    assert keys_table(3, (), 0, 1).shape == (3, 0)


def test_all_weights_of_dropped_inputs_stay_where_they_were() -> None:
    """One example: what a dropped input feeds has no gradient. So the mask is in BP4 too."""
    net = oracle.network()
    x, y = oracle.data(net, 1)
    before = net.layers[0].w.clone()
    list(bp.train(net, (x, y), epochs=1, lr=0.1, dropout=(0.5, 0.0, 0.0), seed=4, engine="eager"))
    (kept,) = mask(1, 7, keys_of(0.5, seed=4).unbind(), ONE)
    assert 0 < kept.sum() < 7
    assert torch.equal((net.layers[0].w != before).all(0), kept > 0)
    assert torch.equal((net.layers[0].w != before).any(0), kept > 0)


@pytest.mark.parametrize(
    ("dropout", "of_layers"),
    [
        (0.5, (0.0, 0.5, 0.5)),
        ("0.5", (0.0, 0.5, 0.5)),
        ([0.5], (0.0, 0.5, 0.5)),
        ((0.2, 0.5), (0.2, 0.5, 0.5)),
        ("0.2, 0.5", (0.2, 0.5, 0.5)),
        ((0, 0.1, 0.3), (0.0, 0.1, 0.3)),
        ((0.0, 0.0), ()),
        (0, ()),
        ((), ()),
    ],
    ids=str,
)
def test_probabilities_of_layers(dropout: object, of_layers: tuple[float, ...]) -> None:
    from bp_torch.recipe import dropout_of

    assert dropout_of(bp.Recipe(dropout=dropout), 3) == of_layers  # pyright: ignore[reportArgumentType]


def test_one_layer_drops_inputs() -> None:
    from bp_torch.recipe import dropout_of

    assert dropout_of(bp.Recipe(dropout=(0.2, 0.5)), 1) == (0.2,)
    with pytest.raises(ValueError, match="of the hidden layers, and this network has none"):
        dropout_of(bp.Recipe(dropout=0.5), 1)


def test_a_validation_drops_nothing() -> None:
    net = oracle.network()
    data = oracle.data(net)
    (record,) = bp.train(net, data, validation=data, epochs=1, lr=0.1, dropout=0.5, engine="eager")
    assert record.validation_cost == pytest.approx(net.cost(*data).item(), rel=1e-12)

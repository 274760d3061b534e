"""bp.check: right gradients pass, wrong ones are found, and path sums are the gradients."""

import math

import pytest
import reference
import torch

import bp_torch as bp
from bp_torch.insight.check import path_count


@pytest.mark.parametrize("case", reference.CASES, ids="-".join)
def test_every_activation_and_cost_passes(case: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    net = reference.network([4, 3, 5, 2], *case)
    result = bp.check(net, *reference.examples(net, 3))
    assert result.worst < 1e-6
    assert [row.layer for row in result.rows] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert capsys.readouterr().out == f"{result}\n"
    assert all(row.relative_error < 1e-12 for row in result.rows if "paths" in row.against)


def test_a_wrong_derivative_is_found_in_its_layers() -> None:
    wrong = bp.Activation("wrong", torch.sigmoid, lambda z, a: a * (1 - a) * 1.05)
    net = bp.Network.create([4, 3, 2], hidden=wrong, dtype=torch.float64)
    result = bp.check(net, *reference.examples(net, 6))
    errors = {(row.layer, row.against.split()[0]): row.relative_error for row in result.rows}
    assert errors[0, "differences"] > 1e-2
    assert errors[1, "differences"] < 1e-6
    assert str(result).endswith(
        "\nThe gradient is wrong in layer 0: look at its activation's derivative, and at BP3 and BP4."
    )
    assert repr(result) == f"<Check: WRONG in 2 of 6 comparisons, worst {result.worst:.1e}>"


def test_of_several_wrong_layers_the_highest_is_where_to_begin() -> None:
    wrong = bp.Activation("wrong", torch.sigmoid, lambda z, a: a * (1 - a) * 1.05)
    net = bp.Network.create([4, 3, 3, 2], hidden=wrong, dtype=torch.float64)
    words = str(bp.check(net, *reference.examples(net, 6)))
    assert "The gradient is wrong in layers 0 and 1. Begin at layer 1, the highest: what is wrong there spoils" in words


def test_at_the_prompt_results_are_a_line_of_shapes() -> None:
    net = reference.network([4, 3, 2])
    x, y = reference.examples(net, 6)
    result, whole = bp.check(net, x, y), bp.backprop(net, x, y)
    assert repr(result) == f"<Check: right in all 6 comparisons, worst {result.worst:.1e}>"
    shapes = "a (6, 4) (6, 3) (6, 2); z (6, 3) (6, 2)"
    assert repr(net.forward(x)) == f"<Trace: {shapes}>"
    assert repr(whole) == f"<BackpropTrace: {shapes}; delta (6, 3) (6, 2); cost {whole.cost.item():.4g}>"
    nets = bp.stack([net, net])
    assert repr(bp.backprop(nets, x, y)).endswith("; delta (2, 6, 3) (2, 6, 2); cost (2,)>")


def test_single_weights_can_be_chosen() -> None:
    net = reference.network([4, 3, 2])
    result = bp.check(net, *reference.examples(net, 3), weights=[(0, 2, 3), (0, 0, 0)])
    rows = [row for row in result.rows if "single" in row.against]
    assert [(row.layer, row.numbers) for row in rows] == [(0, 2)]


def test_paths_are_left_out_where_there_are_many() -> None:
    net = reference.network([784, 30, 10])
    x, y = reference.examples(net, 2)
    assert path_count([784, 30, 10]) == 310
    big = reference.network([4, 50, 50, 50])
    result = bp.check(big, *reference.examples(big, 2))
    assert not any("paths" in row.against for row in result.rows)
    assert str(result).endswith("Not summed over paths: there are 127,550, and at most 20,000 are.")
    with pytest.raises(ValueError, match="127,550 paths"):
        bp.check(big, *reference.examples(big, 2), paths=True)
    assert not any("paths" in row.against for row in bp.check(net, x, y, paths=False).rows)


def test_the_count_is_of_paths() -> None:
    assert path_count([2, 3, 4, 5]) == 3 * 4 * 5 + 4 * 5 + 5


def test_bad_input_says_what_to_do() -> None:
    net = bp.Network.create([4, 3, 2])
    x, y = torch.ones(5, 4), torch.zeros(5, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"bp\.check\(net\.to\(torch\.float64\), x\.double\(\), y\)"):
        bp.check(net, x, y)
    assert bp.check(net.to(torch.float64), x.double(), y).worst < 1e-6
    with pytest.raises(ValueError, match=r"there is no weight \(0, 3, 0\)"):
        bp.check(net.to(torch.float64), x.double(), y, weights=[(0, 3, 0)])
    with pytest.raises(ValueError, match="one network at a time"):
        bp.check(bp.stack([net.to(torch.float64)]), x.double(), y)


def test_to_copies() -> None:
    net = bp.Network.create([4, 3, 2], seed=1)
    double = net.to(torch.float64)
    double.layers[0].w.add_(1)
    assert not math.isclose(double.layers[0].w[0, 0].item(), net.layers[0].w[0, 0].item())
    assert net.layers[0].w.dtype == torch.float32

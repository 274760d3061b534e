"""Holds the gradients to differences of the cost, in float64 on this machine.

Without RUN: those of a small network for each activation and cost that there is. With RUN, a folder that training
wrote: those of the run's network, for some of its test examples. Right gradients differ by less than about 1e-6 of
their size, wrong ones by 1e-2 and more. The exit code is 0 where all are right, below 1e-4, else 1; what is wrong is
then named.
"""

import argparse
from pathlib import Path

import torch

from bp_torch.activations import ACTIVATIONS
from bp_torch.cli.options import DATA, add_fields, given
from bp_torch.costs import COSTS
from bp_torch.insight.check import Check, by_parameter, check
from bp_torch.network import Network
from bp_torch.randomness import generator
from bp_torch.runs import saved
from bp_torch.runs.preparing import device_of

EXAMPLES = [[], ["runs/mine"]]
SIZES = [4, 5, 3]
SOME = 20  # examples of a run


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", nargs="?", type=Path, help="a run's folder (default: every entry)")
    add_fields(parser, DATA, default="the run's own")
    add_fields(parser, ["device"])


def run(options: argparse.Namespace) -> int:
    data = given(options)
    device = device_of(str(data.pop("device", "auto")))
    if options.folder is None:
        if data:
            raise ValueError(f"{' and '.join(data)} must be left out where there is no RUN, whose examples they are")
        return _check_entries(device)
    return _check_run(saved.read(options.folder, device), data)


def _check_entries(device: str) -> int:
    """Each activation in the hidden layer, with each cost; a cost that takes any output has it there too."""
    rng = generator("check", 0)
    x = torch.randn(6, SIZES[0], generator=rng, dtype=torch.float64, device="cpu").to(device)
    shares = torch.rand(6, SIZES[-1], generator=rng, dtype=torch.float64, device="cpu").to(device)
    y = shares / shares.sum(1, keepdim=True)  # targets that every cost takes
    print(f"{'largest relative difference':<29}" + "".join(f"  {cost:>21}" for cost in COSTS))
    found: dict[str, Check] = {}
    for activation in ACTIVATIONS:
        row = []
        for name, cost in COSTS.items():
            output = activation if cost.output is None else None
            net = Network.create(
                SIZES, hidden=activation, cost=name, output=output, init="xavier", dtype=torch.float64, device=device
            )
            row.append(by_parameter(net, x, y))
            found[f"{activation} with {name}"] = row[-1]
        print(f"{activation:<29}" + "".join(f"  {each.worst:>21.1e}" for each in row), flush=True)
    return _verdict(found, device)


def _check_run(trained: saved.Run, data: dict[str, str]) -> int:
    _, test = saved.load_test_set(trained, **data)
    x, y = test.x[:SOME].double(), test.y[:SOME] if test.classes else test.y[:SOME].double()
    net = trained.net.to(torch.float64)
    table = check(net, x, y)
    return _verdict({str(trained.folder): by_parameter(net, x, y), "": table}, str(x.device))


def _verdict(found: dict[str, Check], device: str) -> int:
    """Prints the largest difference and what is wrong; the exit code. found: by what it is of."""
    worst = Check(tuple(row for each in found.values() for row in each.rows)).worst
    print(f"The largest relative difference is {worst:.1e}, in float64 on {device}.")
    wrong = [(of, row) for of, each in found.items() for row in each.rows if row.verdict == "WRONG"]
    for of, row in wrong:
        named = f"{of}: " if of else ""
        print(f"WRONG: {named}layer {row.layer}, {row.against}, by {row.relative_error:.1e}")
    if not wrong:
        print("The gradients are right.")
    return int(bool(wrong))

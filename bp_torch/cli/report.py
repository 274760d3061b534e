"""Writes a run's report: RUN/report.html, one file that needs no network and opens from disk.

RUN is a folder that training wrote. The report has its settings, curves, confusion matrix, worst mistakes, first-layer
weights, norms of errors and gradients, saturation and timings, and follows single examples through the network:
forward, backward, and over the epochs of training.
"""

import argparse

from bp_torch.cli.options import add_run_options, given
from bp_torch.runs import observations
from bp_torch.runs.preparing import device_of
from bp_torch.runs.report import report

EXAMPLES = [["runs/mine"]]


def add_options(parser: argparse.ArgumentParser) -> None:
    add_run_options(parser)


def run(options: argparse.Namespace) -> int:
    data = given(options)
    path = report(options.folder, **{**data, "device": device_of(str(data.get("device", "auto")))})
    print(f"The report: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    if not (options.folder / observations.FILE).is_file():
        print(f"It follows no example: {options.folder} has no {observations.FILE}, as runs of older versions")
    return 0

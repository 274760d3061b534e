"""A run's folder: begun, resumed, trained, read and reported on, from Python as from the programs.

from bp_torch import runs

with runs.begin(runs.Config(dataset="digits", hidden="100"), "runs/mine") as session:
    for record in runs.train(session):
        print(record.epoch, record.validation_accuracy)
run = runs.read("runs/mine")  # run.net, run.config, run.records
runs.report("runs/mine")  # the path of report.html
"""

from bp_torch.runs.config import Config
from bp_torch.runs.report import report
from bp_torch.runs.saved import Run, load_test_set, read
from bp_torch.runs.session import Session, begin, resume, train

__all__ = ["Config", "Run", "Session", "begin", "load_test_set", "read", "report", "resume", "train"]

"""Evaluates a saved run on a data set, predicts the rows of a table, or reads digits from image files.

RUN is a folder that training wrote. Without images: cost and accuracy on the test set the run was made with, beside the
accuracy of always naming the commonest class, the balanced accuracy and the recall of each class; for a real-valued
target the root mean square error in the target's own unit, and R². With images: the
digit of each and the probability that the network gives every digit (for sigmoid outputs, which are ten separate
yes-or-no answers, the ten probabilities need not sum to 100 %). A line ends with "uncertain, perhaps N" where no digit
reaches 75 %, or N, the next one, comes within 50 % of it. A blank, and several digits in one picture, are refused.
The digit may be anywhere, in any light: --show writes what the network saw of each.
With a table, of a run that was trained on one: a CSV, a line for each row in the table's order, with the class, or the
value in the target's own unit, and the probabilities of the classes: of sigmoid outputs each answers for itself, and a
row need not sum to 1; training with --cost softmax_cross_entropy makes rows that do. The table has the columns that the
run was trained on, in any order; with the target's column among them, it is also said how good the predictions are.
"""

import argparse
from pathlib import Path

from bp_torch.cli import predict_pictures, predict_table
from bp_torch.cli.messages import counted, figures
from bp_torch.cli.options import add_run_options, given, typed_option
from bp_torch.data import named
from bp_torch.runs import quality, saved
from bp_torch.runs.preparing import device_of

EXAMPLES = [
    ["runs/mine"],
    ["runs/mine", "seven.png", "photo.jpg", "--show", "seen.png"],
    ["runs/flowers", "new.csv", "--out", "predictions.csv"],
]


def add_options(parser: argparse.ArgumentParser) -> None:
    add_run_options(parser)
    files = (
        "files of one digit each, dark on light, light on dark or on transparency; or one table (default: the run's "
        "test set)"
    )
    parser.add_argument("files", metavar="FILE", nargs="*", type=Path, default=[], help=files)
    parser.add_argument(
        "--out",
        metavar="FILE.csv",
        type=Path,
        help="where predictions go: .csv, .tsv, or with .gz after it, gzipped (default: they are printed)",
    )
    parser.add_argument("--show", metavar="FILE.png", type=Path, help="where what the network saw of each image goes")


def run(options: argparse.Namespace) -> int:
    data = given(options)
    trained = saved.read(options.folder, device_of(str(data.pop("device", "auto"))))
    tables = [path for path in options.files if named.is_table(str(path))]
    if options.out is not None and not tables:
        raise ValueError("--out is for the predictions of a table's rows: name the table after the run")
    if options.show is not None:
        if tables or not options.files:
            raise ValueError("--show is for images: name them after the run")
        if options.show.suffix.lower() != ".png" or not options.show.parent.is_dir():
            raise ValueError(f"--show {options.show} must name a .png file in a folder that exists")
    if tables:
        if len(options.files) > 1:
            raise ValueError(f"one table is predicted at a time: name {tables[0]} alone")
        if data:
            told = " ".join(typed_option(name) for name in data)
            raise ValueError(f"{told} names the run's test set, and {tables[0]} is predicted: leave one of them away")
        predict_table.predict(trained, tables[0], options.out)
    elif options.files:
        predict_pictures.predict(trained, options.files, options.show)
    else:
        _evaluate(trained, *saved.load_test_set(trained, **data))
    return 0


def _evaluate(trained: saved.Run, name: str, test: named.Split) -> None:
    net, config = trained.net, trained.config
    cost = net.cost(test.x, test.y)
    names = quality.class_names(net, config.about.get("classes"), test.classes)
    first, more = figures(quality.of(net, test), names, config.target)
    things = counted(len(test.x), "test digit" if name in named.OF_DIGITS else "test example")
    print(f"{name}, {things}: {first}, cost {cost:.5f}", *more, sep="\n  ")

"""Evaluates a saved run on a data set, or reads digits from image files.

RUN is a folder that training wrote. Without images: cost and accuracy on the test set the run was made with, beside the
accuracy of always naming the commonest class, the balanced accuracy and the recall of each class; for a real-valued
target the root mean square error in the target's own unit, and R². With images: the
digit of each and the probability that the network gives every digit (for sigmoid outputs, which are ten separate
yes-or-no answers, the ten probabilities need not sum to 100 %). A line ends with "uncertain, perhaps N" where no digit
reaches 75 %, or N, the next one, comes within 50 % of it. A blank, and several digits in one picture, are refused.
"""

import argparse
from pathlib import Path

import torch

from bp_torch.cli.main import typed
from bp_torch.cli.messages import counted, figures
from bp_torch.cli.options import add_run_options, given
from bp_torch.data import named
from bp_torch.data.pictures import picture
from bp_torch.runs import quality, saved
from bp_torch.runs.preparing import device_of

CERTAIN = 0.75  # what the largest output of a certain reading reaches, and the next one stays 0.5 below

EXAMPLES = [["runs/mine"], ["runs/mine", "seven.png", "photo.jpg"]]


def add_options(parser: argparse.ArgumentParser) -> None:
    add_run_options(parser)
    images = "files of one digit each, dark on light, light on dark or on transparency (default: the run's test set)"
    parser.add_argument("images", metavar="IMAGE", nargs="*", type=Path, default=[], help=images)


def run(options: argparse.Namespace) -> int:
    data = given(options)
    trained = saved.read(options.folder, device_of(str(data.pop("device", "auto"))))
    if options.images:
        _read_pictures(trained, options.images)
    else:
        _evaluate(trained, *saved.load_test_set(trained, **data))
    return 0


def _read_pictures(trained: saved.Run, paths: list[Path]) -> None:
    net, config = trained.net, trained.config
    size = config.image(net.sizes[0])
    if size is None:
        if named.is_table(config.dataset):
            raise ValueError(
                f"{trained.folder} was trained on a table, and new rows of one are predicted in Python: see "
                f"docs/guide.md. Its test rows: {typed('predict', trained.folder)}"
            )
        raise ValueError(
            f"{trained.folder} was not trained on images whose height and width are known: "
            f"it takes {net.sizes[0]} values"
        )
    single, paper = config.dataset in named.OF_DIGITS, config.about.get("paper") or 0.0
    x = torch.stack([picture(path, size, single=single, paper=paper) for path in paths]).to(net.layers[0].w)
    for path, outputs in zip(paths, net.forward(x).a[-1], strict=True):
        (first, second), (read, perhaps) = (values.tolist() for values in outputs.topk(2))
        certain = first >= CERTAIN and first - second >= 2 * CERTAIN - 1  # for softmax, the first says the second
        shares = "  ".join(f"{c}: {share:.1%}" for c, share in enumerate(outputs.tolist()))
        print(f"{path}: {read}  ({shares}){'' if certain else f'  uncertain, perhaps {perhaps}'}")


def _evaluate(trained: saved.Run, name: str, test: named.Split) -> None:
    net, config = trained.net, trained.config
    cost = net.cost(test.x, test.y)
    names = quality.class_names(net, config.about.get("classes"), test.classes)
    first, more = figures(quality.of(net, test), names, config.target)
    things = counted(len(test.x), "test digit" if name in named.OF_DIGITS else "test example")
    print(f"{name}, {things}: {first}, cost {cost:.5f}", *more, sep="\n  ")

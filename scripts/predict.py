"""Evaluates a saved run on a data set, or reads digits from image files.

RUN is a folder written by scripts/train.py. Without images: cost and accuracy on the test set the run was made with;
for a real-valued target, in place of the accuracy, the root mean square error in the target's own unit. With images:
the digit of each and the probability that the network gives every digit (for sigmoid outputs, which are ten separate
yes-or-no answers, the ten probabilities need not sum to 100 %).
"""

import argparse
import math
import warnings
from pathlib import Path

import common
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

import bp_torch as bp

EXAMPLE = """example:
  python scripts/predict.py runs/mine
  python scripts/predict.py runs/mine seven.png photo.jpg
"""
DIGIT_SHARE = {28: 20 / 28, 8: 1.0}  # of the image's side that the digit itself fills: MNIST leaves a margin of 4


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="the run folder")
    parser.add_argument(
        "images", metavar="IMAGE", nargs="*", type=Path, help="one digit each, dark on light or the reverse"
    )
    common.add_data_options(parser, default=None)
    return parser.parse_args()


def main() -> int:
    options = parse()
    if not (options.run / "weights.safetensors").is_file() or not (options.run / "config.json").is_file():
        raise ValueError(f"{options.run} is not a run folder: name one that scripts/train.py wrote")
    net = bp.load(options.run / "weights.safetensors", device=common.device_named(options.device))
    like = net.layers[0].w
    config = common.read_config(options.run / "config.json")
    if options.images:
        side = math.isqrt(net.sizes[0])
        if side * side != net.sizes[0] or common.is_table(config["dataset"]):
            raise ValueError(f"{options.run} was not trained on square images: it takes {net.sizes[0]} values")
        x = torch.stack([pixels(path, side) for path in options.images]).to(like)
        for path, outputs in zip(options.images, net.forward(x).a[-1].tolist(), strict=True):
            shares = "  ".join(f"{digit}: {share:.1%}" for digit, share in enumerate(outputs))
            print(f"{path}: {outputs.index(max(outputs))}  ({shares})")
        return 0
    dataset, data_dir, target = common.of_run(options, config)
    test = common.load(dataset, "test", data_dir, target, str(like.device), like.dtype)
    common.check_fits(test, net, dataset, options.run)
    if test.classes:
        found = f"accuracy {net.accuracy(test.x, test.y):.2%}"
    else:
        away = (net.forward(test.x).a[-1] - test.y).square().mean().sqrt().item() * test.unit
        found = f"root mean square error {away:.5g} (in {target})"
    things = "digits" if dataset in ("mnist", "digits") else "examples"
    print(f"{dataset}, {len(test.x)} test {things}: {found}, cost {net.cost(test.x, test.y):.5f}")
    return 0


def pixels(path: Path, side: int) -> Tensor:
    """An image file as a network's input (side²,) in [0, 1], light on dark as the data sets are.

    An image of side × side pixels is taken as it is; any other has its digit cut out, scaled and centred.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # large, and below the limit
            image = ImageOps.exif_transpose(Image.open(path)).convert("L")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} can't be read as an image: {error}") from error
    edge = torch.tensor([image.getpixel((x, y)) for x in (0, image.width - 1) for y in (0, image.height - 1)])
    if edge.float().mean() > 127:
        image = ImageOps.invert(image)
    if image.size != (side, side):
        image = _centred(image, side)
    return torch.tensor(list(image.tobytes()), dtype=torch.float32) / 255


def _centred(image: Image.Image, side: int) -> Image.Image:
    """The digit as the data sets show it: scaled to its share of the side, centre of mass in the middle, on black."""
    image = ImageOps.autocontrast(image)
    ink = Image.eval(image, lambda value: 255 if value > 127 else 0)
    box = ink.getbbox() or (0, 0, *image.size)
    room = round(side * DIGIT_SHARE.get(side, 1.0))
    digit = image.crop(box)
    width, height = (max(1, round(length * room / max(digit.size))) for length in digit.size)
    digit = digit.resize((width, height), Image.Resampling.BOX)
    weights = torch.tensor(list(digit.tobytes()), dtype=torch.float64).view(digit.height, digit.width)
    square = Image.new("L", (side, side))
    square.paste(digit, (_margin(weights.sum(0), side), _margin(weights.sum(1), side)))
    return square


def _margin(mass: Tensor, side: int) -> int:
    """Where to start a line of pixels so that its centre of mass lies in the middle of the side, if there is room."""
    centre = (mass * torch.arange(0.5, len(mass))).sum() / mass.sum().clamp(min=1)  # 1: of an image without ink
    return min(max(round(side / 2 - centre.item()), 0), side - len(mass))


if __name__ == "__main__":
    common.run(main)

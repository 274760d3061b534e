"""Pictures of digits, as files of any common format, made into what a network was trained on."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL import Image

DIGIT_SHARE = {28: 20 / 28, 8: 1.0}  # of the picture's side that the digit itself fills: MNIST leaves a margin of 4


def picture(path: str | Path, side: int) -> Tensor:
    """A picture of one digit as a network's input (side²,) in [0, 1], light on dark as the data sets are.

    A picture of side × side pixels is taken as it is; any other has its digit cut out, scaled and centred. Raises
    ValueError for what can't be read as a picture.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # large, and below the limit
            grey = ImageOps.exif_transpose(Image.open(path)).convert("L")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} can't be read as an image: {error}") from error
    edge = torch.tensor(
        [grey.getpixel((x, y)) for x in (0, grey.width - 1) for y in (0, grey.height - 1)],
        dtype=torch.float32,
        device="cpu",
    )
    if edge.mean() > 127:
        grey = ImageOps.invert(grey)
    if grey.size != (side, side):
        grey = _centred(grey, side)
    return torch.tensor(list(grey.tobytes()), dtype=torch.float32, device="cpu") / 255


def _centred(grey: "Image.Image", side: int) -> "Image.Image":
    """The digit as the data sets have it: scaled to its share of the side, centre of mass in the middle, on black."""
    from PIL import Image, ImageOps

    grey = ImageOps.autocontrast(grey)
    ink = Image.eval(grey, lambda value: 255 if value > 127 else 0)
    box = ink.getbbox() or (0, 0, *grey.size)
    room = round(side * DIGIT_SHARE.get(side, 1.0))
    digit = grey.crop(box)
    width, height = (max(1, round(length * room / max(digit.size))) for length in digit.size)
    digit = digit.resize((width, height), Image.Resampling.BOX)
    weights = torch.tensor(list(digit.tobytes()), dtype=torch.float64, device="cpu").view(digit.height, digit.width)
    square = Image.new("L", (side, side))
    square.paste(digit, (_margin(weights.sum(0), side), _margin(weights.sum(1), side)))
    return square


def _margin(mass: Tensor, side: int) -> int:
    """Where to start a line of pixels so that its centre of mass lies in the middle of the side, if there is room."""
    centre = (mass * torch.arange(0.5, len(mass), dtype=torch.float64, device="cpu")).sum() / mass.sum().clamp(
        min=1
    )  # 1: of a picture without ink
    return min(max(round(side / 2 - centre.item()), 0), side - len(mass))

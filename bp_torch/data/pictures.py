"""Pictures in files of any common format, made into what a network was trained on; what can't be read so is refused."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from bp_torch.data import decoding, finding, shapes
from bp_torch.data.decoding import FAINT
from bp_torch.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

DIGIT_SHARE = {28: 20 / 28, 8: 1.0}  # of the picture's side that the digit itself fills: MNIST leaves a margin of 4
CROWDED = 16  # pixels of a side: digits of fewer fill their picture, and touch its border


class Seen(NamedTuple):
    """What a network sees of a picture."""

    x: Tensor  # (height · width,) float32 in [0, 1]: the network's input
    shades: "Array"  # (h, w, 1 or 3) in [0, 1]: the picture, upright, large ones averaged down
    box: tuple[float, float, float, float]  # what of it was taken: left, top, right, bottom, as shares of its sides


def picture(path: str | Path, size: int | tuple[int, int], *, single: bool = True, paper: float = 0.0) -> Tensor:
    """A picture as a network's input (height · width,) float32 in [0, 1]; `seen` says what of it was taken.

    size: the network's images, (height, width), or the side of square ones.
    single: the picture shows one digit, on paper or on a screen, in any colours, of any size and in any light; the
        result is light on dark, as MNIST is. A picture of that size that shows nothing else keeps its place and its
        shades; any other has its digit cut out, scaled and centred. False: the picture shows anything; it is scaled
        whole.
    paper: with single=False, the shade around the training images. Where it is dark (below 1/3) and the picture's is
        light, or the reverse, the picture is inverted.

    Raises DataError, which names the file, for what can't be read as one image, for a blank, and for several digits.
    """
    return seen(path, size, single=single, paper=paper).x


def seen(path: str | Path, size: int | tuple[int, int], *, single: bool = True, paper: float = 0.0) -> Seen:
    """What a network sees of a picture: its input, and where in the picture that was. The arguments are `picture`'s."""
    height, width = (size, size) if isinstance(size, int) else size
    shades, reach = decoding.shades(path)
    whole = (0.0, 0.0, 1.0, 1.0)
    if not single:
        ink, box = _whole(path, shades, reach, (height, width), paper), whole
    else:
        own = shades.shape[:2] == (height, width)
        ink, box = _own(path, shades, reach) if own else None, whole
        if ink is None:
            ink, box = _found(path, shades, reach, (height, width))
    return Seen(torch.tensor(ink, dtype=torch.float32, device="cpu").flatten(), shades, box)


def _blank(path: str | Path) -> DataError:
    return DataError(f"{path} is blank: nothing in it stands out from one shade. Name a picture with more contrast")


def _several(path: str | Path, count: int) -> DataError:
    return DataError(
        f"{path} shows {count} separate shapes, and is to be read as one digit: cut it into one picture a digit"
    )


def _ink(shades: "Array") -> "tuple[Array, Array]":
    """By how much each pixel (h, w) differs from the paper, and the paper's shade: the median along the border."""
    import numpy as np

    around = np.median(shades[shapes.rim(np.ones(shades.shape[:2], bool))], axis=0)
    return np.abs(shades - around).max(axis=2), around


def _own(path: str | Path, shades: "Array", reach: float) -> "Array | None":
    """The ink of a picture of the network's own size, its shades as they are; None if there is more than a digit."""
    import numpy as np

    _, around = _ink(shades)
    ink = np.abs(shades - np.where(np.abs(around - around.round()) < FAINT / 2, around.round(), around)).max(axis=2)
    if ink.max() * reach < FAINT or shapes.contrast(ink) * reach < FAINT or shapes.is_noise(ink):
        raise _blank(path)
    if min(ink.shape) > CROWDED:
        inner = finding.unframed(shades)
        if ink[inner].shape != ink.shape:
            return None
    labels = shapes.labelled(ink > ink.max() * 0.25)
    count, parts = shapes.digits(labels, int(np.bincount(labels[labels > 0]).argmax()))
    if count > 1:
        raise _several(path, count)
    if min(ink.shape) > CROWDED and not np.isin(labels, [0, *parts]).all():
        return None
    return ink / ink.max() if ink.max() < 0.5 else ink


def _found(
    path: str | Path, shades: "Array", reach: float, size: tuple[int, int]
) -> "tuple[Array, tuple[float, float, float, float]]":
    found = finding.find(shades)
    if found is None or found.contrast * reach < FAINT / 2:
        raise _blank(path)
    if found.digits > 1:
        raise _several(path, found.digits)
    left, top, right, bottom = found.place
    height, width = shades.shape[:2]
    part = shades[int(top * height) : round(bottom * height) + 1, int(left * width) : round(right * width) + 1]
    if shapes.is_noise(_ink(part)[0]):
        raise _blank(path)
    return _centred(found.ink, found.box, *size), found.place


def _whole(path: str | Path, shades: "Array", reach: float, size: tuple[int, int], paper: float) -> "Array":
    """The picture scaled into size, with its own paper where its sides have another ratio."""
    import numpy as np
    from PIL import Image, ImageOps

    grey = shades @ np.array([0.299, 0.587, 0.114]) if shades.shape[2] == 3 else shades[..., 0]
    ink, rim = _ink(grey[..., None])
    if ink.max() * reach < FAINT:
        raise _blank(path)
    around = float(rim[0])
    if grey.shape == size:  # its shades stay exactly what they are
        around = round(around) if abs(around - round(around)) < FAINT / 2 else around
    if abs(paper - 0.5) > 1 / 6 and (paper > 0.5) != (around > 0.5):
        grey, around = 1 - grey, 1 - around
    image = Image.fromarray(grey.astype(np.float32))
    if image.size != size[::-1]:
        image = ImageOps.pad(image, size[::-1], Image.Resampling.BOX, color=around)  # pyright: ignore
    return np.asarray(image)


def _centred(ink: "Array", box: "finding.Place", height: int, width: int) -> "Array":
    """The digit as the data sets have it: scaled to its share of the side, centre of mass in the middle, on black."""
    import numpy as np
    from PIL import Image

    left, top, right, bottom = box
    scale = min(
        side * DIGIT_SHARE.get(side, 1.0) / length
        for side, length in zip((height, width), (bottom - top, right - left), strict=True)
    )
    middle = [
        _middle(ink.sum(axis=1), top, bottom, height / scale),
        _middle(ink.sum(axis=0), left, right, width / scale),
    ]
    room = int(max(height, width) / scale) + 1  # so that what lies beyond the ink is black
    image = Image.fromarray(np.pad(ink, room).astype(np.float32))
    x, y = room + middle[1] - width / scale / 2, room + middle[0] - height / scale / 2
    around = x, y, x + width / scale, y + height / scale
    filter_ = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    digit = np.asarray(image.resize((width, height), filter_, box=around), dtype=np.float64).clip(0)
    return digit / digit.max()


def _middle(mass: "Array", first: float, last: float, side: float) -> float:
    """The centre of mass along a line, as near to it as keeps the digit, from first to last, within the side."""
    import numpy as np

    centre = float((mass * np.arange(0.5, len(mass))).sum() / mass.sum())
    return min(max(centre, last - side / 2), first + side / 2)

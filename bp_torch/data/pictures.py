"""Pictures in files of any common format, made into what a network was trained on; what can't be read so is refused.

A picture becomes shades in [0, 1], (height, width, channels), with what is transparent filled in. Paper is what lies
around the edge; ink is what differs from it.
"""

import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bp_torch.data import shapes
from bp_torch.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Array = NDArray[np.float64]

DIGIT_SHARE = {28: 20 / 28, 8: 1.0}  # of the picture's side that the digit itself fills: MNIST leaves a margin of 4
LARGEST = 512  # pixels of a side; larger pictures are averaged down first, since a digit needs 20
FAINT = 0.1  # of the full range: what differs by less from the paper is no ink, but noise or a JPEG's waves
CARD_SHARE = 0.7  # of its box that a card fills, and ink alone does not, but for a 1
WITH_PREVIEWS = ("MPO", "PSD")  # formats whose further frames are previews, depth maps or layers of the first
ORIENTATION = 0x0112  # the EXIF tag

_WARNINGS = threading.Lock()  # the filters of warnings are the process's: two threads would leave them changed


def picture(path: str | Path, size: int | tuple[int, int], *, single: bool = True, paper: float = 0.0) -> Tensor:
    """A picture as a network's input (height · width,) float32 in [0, 1].

    size: the network's images, (height, width), or the side of square ones.
    single: the picture shows one digit, and the result is light on dark, as MNIST is: dark on light, ink on
        transparency and colours are told by how they differ from the paper. A picture of that size keeps its place and
        its shades; any other has its digit cut out, scaled and centred. False: the picture shows anything; it is scaled
        whole.
    paper: with single=False, the shade around the training images. Where it is dark (below 1/3) and the picture's is
        light, or the reverse, the picture is inverted.

    Raises DataError, which names the file, for what can't be read as one image, for a blank, and for several digits.
    """
    import numpy as np

    height, width = (size, size) if isinstance(size, int) else size
    shades, reach = _shades(path)
    if not single:
        shades = shades @ np.array([0.299, 0.587, 0.114]) if shades.shape[2] == 3 else shades[..., 0]
        shades = shades[..., None]
    own_size = shades.shape[:2] == (height, width)
    around = np.median(shades[shapes.rim(np.ones(shades.shape[:2], bool))], axis=0)
    if own_size:  # its shades stay exactly what they are
        around = np.where(np.abs(around - around.round()) < FAINT / 2, around.round(), around)
    ink = np.abs(shades - around).max(axis=2)
    if ink.max() * reach < FAINT or (single and (shapes.contrast(ink) * reach < FAINT or shapes.is_noise(ink))):
        raise DataError(f"{path} is blank: nothing in it stands out from one shade. Name a picture with more contrast")
    if not single:
        return _whole(shades[..., 0], float(around[0]), (height, width), paper)
    count = shapes.separate(ink)
    if count > 1:
        raise DataError(
            f"{path} shows {count} separate shapes, and is to be read as one digit: cut it into one picture a digit"
        )
    if not own_size:
        ink = _centred(ink / ink.max(), height, width)
    elif ink.max() < 0.5:
        ink = ink / ink.max()
    return torch.tensor(ink, dtype=torch.float32, device="cpu").flatten()


def _shades(path: str | Path) -> "tuple[Array, float]":
    """The picture in [0, 1], (height, width, 1 or 3), and how large a part of its values' size that range is.

    8 bits are taken by their full range, so that the part is 1. More bits, and floats, are taken by the range that
    occurs: files hold 12 bits in 16, and floats of any size.
    """
    import numpy as np

    colours, alpha = _decoded(path)
    shown = colours[alpha > 0] if alpha is not None else colours
    if alpha is not None and alpha.max() < FAINT:
        raise DataError(f"{path} is blank: all of it is transparent. Name a picture that shows something")
    if colours.dtype == np.uint8:
        values, reach = colours / 255, 1.0
    else:
        low, high = float(shown.min()), float(shown.max())
        if not np.isfinite(high - low):
            raise DataError(f"{path} holds values that are not finite: correct it, or name another picture")
        reach = (high - low) / (max(abs(low), abs(high)) or 1.0)
        values = ((colours - low) / ((high - low) or 1.0)).clip(0, 1)
    return values if alpha is None else _filled(values, alpha), reach


def _filled(colours: "Array", alpha: "Array") -> "Array":
    """The colours (height, width, channels) on a backdrop that what is visible (alpha > 0) stands out from.

    Ink alone lies on black or white, whichever differs more from it. A card, which fills its box and has more than one
    colour, shows its digit itself: it lies on the colour of its rim.
    """
    import numpy as np

    visible = alpha > alpha.max() / 2
    rim = np.median(colours[shapes.rim(visible)], axis=0)
    other = np.abs(colours[visible] - rim).max(axis=1) > 0.25
    if visible[shapes.box(visible)].mean() > CARD_SHARE and other.mean() > 0.01:
        backdrop = rim
    else:
        backdrop = np.full_like(rim, float(colours[visible].mean() < 0.5))
    return colours * alpha[..., None] + backdrop * (1 - alpha[..., None])


def _decoded(path: str | Path) -> "tuple[NDArray[Any], Array | None]":
    """The file's one image, upright and of at most LARGEST pixels a side: its colours, as `_arrays`.

    Pillow raises errors of many types for files that are damaged: each becomes a DataError here.
    """
    from PIL import Image, UnidentifiedImageError

    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # large, and below the limit; damaged where it does not matter
        try:
            with Image.open(path) as image:
                frames = 1 if image.format in WITH_PREVIEWS else getattr(image, "n_frames", 1)
                if frames == 1:
                    image.load()
                    return _arrays(_upright(image))
        except UnidentifiedImageError:
            what = "its format is not one that is known"
        except Exception as error:
            if isinstance(error, OSError) and error.strerror:  # of the file, whatever is in it
                raise DataError(f"{path} can't be read as an image: {error.strerror}. Name another file") from error
            what = " ".join(str(error).split()) or type(error).__name__
        else:
            what = f"it holds {frames} frames"
    raise DataError(f"{path} can't be read as an image: {what}. Save one image anew as PNG, and name that")


def _upright(image: "Image.Image") -> "Image.Image":
    """The image as its EXIF orientation says; as it is stored, where that can't be read, as other programs show it."""
    from PIL import Image

    turn = Image.Transpose
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:
        return image
    turns = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_270,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def _arrays(image: "Image.Image") -> "tuple[NDArray[Any], Array | None]":
    """Colours (height, width, 1 or 3), uint8 or, of wider values, float64; alpha (height, width) in [0, 1] or None."""
    import numpy as np
    from PIL import Image

    if image.mode == "F" or image.mode.startswith("I"):
        parts = [image.convert("F")]
        if "transparency" in image.info:  # the value that stands for transparent
            parts.append(Image.fromarray(np.asarray(parts[0]) != image.info["transparency"]).convert("L"))
    else:
        kind = "L" if image.mode in ("1", "L", "LA", "LAB") else "RGB"
        image = image.getchannel(0) if image.mode == "LAB" else image
        image = image.convert(f"{kind}A" if image.has_transparency_data else kind)
        parts = [image]
    factor = -(-max(image.size) // LARGEST)
    both = np.dstack([np.asarray(part.reduce(factor) if factor > 1 else part) for part in parts])
    if both.shape[2] in (1, 3):
        return both, None
    return both[..., :-1], both[..., -1] / 255.0


def _whole(grey: "Array", around: float, size: tuple[int, int], paper: float) -> Tensor:
    """The picture scaled into size, with its own paper where its sides have another ratio."""
    import numpy as np
    from PIL import Image, ImageOps

    if abs(paper - 0.5) > 1 / 6 and (paper > 0.5) != (around > 0.5):
        grey, around = 1 - grey, 1 - around
    image = Image.fromarray(grey.astype(np.float32))
    if image.size != size[::-1]:
        image = ImageOps.pad(image, size[::-1], Image.Resampling.BOX, color=around)  # pyright: ignore
    return torch.tensor(np.asarray(image), dtype=torch.float32, device="cpu").flatten()


def _centred(ink: "Array", height: int, width: int) -> "Array":
    """The digit as the data sets have it: scaled to its share of the side, centre of mass in the middle, on black."""
    import numpy as np
    from PIL import Image

    cut = ink[shapes.box(ink > 0.5)]
    scale = min(
        side * DIGIT_SHARE.get(side, 1.0) / length for side, length in zip((height, width), cut.shape, strict=True)
    )
    high, wide = (max(1, round(length * scale)) for length in cut.shape)
    image = Image.fromarray(cut.astype(np.float32)).resize((wide, high), Image.Resampling.BOX)
    digit, result = np.asarray(image, dtype=np.float64), np.zeros((height, width))
    top, left = _margin(digit.sum(axis=1), height), _margin(digit.sum(axis=0), width)
    result[top : top + high, left : left + wide] = digit
    return result


def _margin(mass: "Array", side: int) -> int:
    """Where to start a line of pixels so that its centre of mass lies in the middle of the side, if there is room."""
    import numpy as np

    centre = (mass * np.arange(0.5, len(mass))).sum() / mass.sum()
    return min(max(round(side / 2 - centre), 0), side - len(mass))

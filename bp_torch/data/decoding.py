"""A picture's file decoded: shades in [0, 1], upright, of a moderate size, with what is transparent filled in."""

import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bp_torch.data import shapes
from bp_torch.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Array = NDArray[np.float64]

LARGEST = 640  # pixels of a side; larger pictures are averaged down first, since a digit needs 20
FAINT = 0.1  # of the full range: what differs by less from the paper is no ink, but noise or a JPEG's waves
CARD_SHARE = 0.7  # of its box that a card fills, and ink alone does not, but for a 1
WITH_PREVIEWS = ("MPO", "PSD")  # formats whose further frames are previews, depth maps or layers of the first
ORIENTATION = 0x0112  # the EXIF tag

_WARNINGS = threading.Lock()  # the filters of warnings are the process's: two threads would leave them changed


def shades(path: str | Path) -> "tuple[Array, float]":
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
                    image.draft(None, (LARGEST, LARGEST))  # a large JPEG is decoded at a half, a quarter or an eighth
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

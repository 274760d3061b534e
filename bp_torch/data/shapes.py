"""What the ink of a picture, (height, width) from 0, makes up: noise, one digit, or several shapes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Mask = NDArray[np.bool_]
    Box = tuple[slice, slice]

MANY = 100  # shapes are a page, and no parts of digits
SMALL = 40  # pixels of a side
NOISE = 0.27  # correlation of neighbouring pixels: of the data sets' digits, none lies below 0.3


def rim(mask: "Mask") -> "Mask":
    """The pixels of a region at its border, or at the picture's."""
    from scipy import ndimage

    return mask & ~ndimage.binary_erosion(mask)


def box(mask: "Mask") -> "Box":
    """The rows and columns that hold all of a region."""
    import numpy as np

    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def contrast(ink: "Array") -> float:
    """By how much any pixel differs from its surroundings, a quarter of the picture: a shadow does so hardly."""
    import numpy as np
    from scipy import ndimage

    return float(np.abs(ink - ndimage.uniform_filter(ink, max(2, max(ink.shape) // 4))).max())


def is_noise(ink: "Array") -> bool:
    """Whether pixels say nothing about their neighbours in any direction: a stroke goes on in one."""
    import numpy as np

    away = ink - ink.mean()
    pairs = [(away[:, 1:], away[:, :-1]), (away[1:], away[:-1])]
    pairs += [(away[1:, 1:], away[:-1, :-1]), (away[1:, :-1], away[:-1, 1:])]
    return max(float((one * other).sum()) for one, other in pairs) < NOISE * float(np.square(away).sum())


def separate(ink: "Array") -> int:
    """How many digits seem to be in the ink: shapes of like height that lie apart, without specks and broken strokes.

    Of few pixels, a join in a stroke may be faint: a quarter of the strongest ink is in. Of many, a shadow is left out.
    """
    import numpy as np
    from scipy import ndimage

    labels = np.empty(ink.shape, np.int32)
    least = ink.max() * (0.25 if max(ink.shape) <= SMALL else 0.4)
    ndimage.label(ink > least, np.ones((3, 3)), output=labels)
    areas = np.bincount(labels.ravel())[1:]
    found: list[Box] = ndimage.find_objects(labels)
    tallest = max(_length(rows) for rows, _ in found)
    boxes = [
        each
        for each, area in zip(found, areas, strict=True)
        if _length(each[0]) >= tallest / 2 and area >= areas.max() / 12
    ]
    if len(boxes) > MANY:
        return len(boxes)
    groups: list[list[Box]] = []
    for each in boxes:  # the groups that it belongs to become one with it
        near = [group for group in groups if not all(_apart(each, other) for other in group)]
        groups = [group for group in groups if group not in near] + [[each, *(other for g in near for other in g)]]
    return len(groups)


def _apart(one: "Box", other: "Box") -> bool:
    """Side by side, or one above the other with room between; a 5's bar or half of an 8 is neither."""
    (rows, columns), (their_rows, their_columns) = one, other
    beside = _gap(columns, their_columns) >= -0.2 * min(_length(columns), _length(their_columns))
    heights = sorted((_length(rows), _length(their_rows)))
    below = heights[0] >= 0.75 * heights[1] and _gap(rows, their_rows) >= 0.25 * heights[0]
    return beside or below


def _length(side: slice) -> int:
    return side.stop - side.start


def _gap(one: slice, other: slice) -> int:
    """Pixels between the two; below 0, how many they share."""
    return max(one.start, other.start) - min(one.stop, other.stop)

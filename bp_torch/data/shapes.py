"""What the ink of a picture, (height, width) from 0, makes up: noise, one digit, or several shapes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Mask = NDArray[np.bool_]
    Box = tuple[slice, slice]

MANY = 100  # shapes are a page, and no parts of digits
NOISE = 0.27  # correlation of neighbouring pixels: of the data sets' digits, none lies below 0.3


def rim(mask: "Mask") -> "Mask":
    """The pixels of a region at its border, or at the picture's."""
    import numpy as np
    from scipy import ndimage

    return mask & ~np.asarray(ndimage.binary_erosion(mask), bool)


def depths(mask: "Mask") -> "NDArray[np.float64]":
    """How far each pixel of a region is from the nearest pixel beside it; 0 there."""
    import numpy as np
    from scipy import ndimage

    return np.asarray(ndimage.distance_transform_edt(mask), float)


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


def labelled(mask: "Mask") -> "NDArray[np.int32]":
    """The shapes that hang together, also by their corners, numbered from 1; 0 elsewhere."""
    import numpy as np
    from scipy import ndimage

    labels = np.empty(mask.shape, np.int32)
    ndimage.label(mask, np.ones((3, 3)), output=labels)
    return labels


def digits(labels: "NDArray[np.int32]", main: int) -> "tuple[int, list[int]]":
    """How many digits the labelled shapes (h, w) seem to be, and which labels belong to the same one as the main shape.

    Digits are of like height and lie apart; a part of one has strokes nearly as thick, and lies nearer to it than half
    the part's length; all else is dirt.
    """
    import numpy as np
    from scipy import ndimage

    found: list[Box] = ndimage.find_objects(labels)
    areas = np.bincount(labels.ravel(), minlength=len(found) + 1)
    own = found[main - 1]
    high, size = _length(own[0]), max(_length(side) for side in own)
    long = [k for k, each in enumerate(found, 1) if areas[k] >= areas[main] / 12 and _length(each[0]) >= high / 2]
    long = [k for k in long if k == main or not _at_border(found[k - 1], labels.shape)]
    if len(long) > MANY:
        return len(long), [main]
    groups: list[list[int]] = []
    for each in long:  # the groups that it belongs to become one with it
        near = [g for g in groups if not all(_apart(found[each - 1], found[other - 1]) for other in g)]
        groups = [g for g in groups if g not in near] + [[each, *(other for g in near for other in g)]]
    (mine,) = (group for group in groups if main in group)
    thick = _thickness(labels, main, own)
    away = depths(labels != main)
    for each, part in enumerate(found, 1):
        if each in long or not areas[main] >= areas[each] >= areas[main] / 60:
            continue
        length = max(_length(side) for side in part)
        near = away[part][labels[part] == each].min() < min(length / 2, size / 4)
        if near and length >= 1.2 * thick and _thickness(labels, each, part) >= 0.45 * thick:
            mine.append(each)
    return len(groups), mine


def _thickness(labels: "NDArray[np.int32]", number: int, box: "Box") -> float:
    """Of a shape's strokes, in pixels: most of it lies within half of that from its border."""
    import numpy as np

    depth = depths(np.pad(labels[box] == number, 1))
    return 2 * float(np.percentile(depth[depth > 0], 90))


def _at_border(box: "Box", shape: tuple[int, ...]) -> bool:
    return any(side.start == 0 or side.stop == length for side, length in zip(box, shape, strict=True))


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

"""Where a digit is in a picture, and its ink alone: without uneven light, shadows, frames, tables and specks.

A digit is strokes: narrower than what lies around them, and bounded all around by an edge. Paper is what the picture is
without what is narrow: its grey closing for dark ink, its opening for light ink. What a threshold leaves of the
difference, each for several thresholds and both kinds of ink, are candidates; the one that is large and has the
clearest edge is the digit. Light that falls off has no edge, and a table or a margin runs along the picture's border.
"""

from typing import TYPE_CHECKING, NamedTuple

from bp_torch.data import shapes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Mask = NDArray[np.bool_]
    Box = tuple[slice, slice]
    Place = tuple[float, float, float, float]  # left, top, right, bottom

WORKED = 224  # pixels of the longer side: smaller pictures are enlarged first, so that a stroke has an inside
NARROW = 0.4  # of the shorter side: what is wider is no stroke
LEAST = 0.06  # of the full range: the lowest threshold
CLEAR = 0.05  # of the full range: the least contrast of a digit's edge
LEVELS = 5  # of faint ink, and as many of strong ink
BEGINS = 0.3  # of full ink: where the digit ends
EDGE = 3  # pixels within which an edge rises
TRIED = 8  # candidates of a threshold, the largest ones
FRAME = 0.15  # of a side: the widest frame
JUMP = 0.08  # of the full range, at least: the edge of a frame
SHEET = 0.15  # of the picture: the smallest paper
SQUARE = 0.92  # of a rectangle: what fills so much of it is one; an ellipse fills 0.79
FULL = 0.6  # of a sheet: what the digit leaves at least
LINE = 0.03  # of a shape's side: a net of ruled lines is thinner


class Found(NamedTuple):
    ink: "Array"  # (h, w) in [0, 1], the digit's alone: the picture, which may have been enlarged
    box: "Place"  # of the digit in ink, in pixels
    place: "Place"  # of the digit in the picture, as shares of its sides
    digits: int  # how many seem to be there
    contrast: float  # of the digit's edge, of the full range


class Candidate(NamedTuple):
    score: float
    contrast: float
    level: float  # of the threshold
    number: int  # in labels
    labels: "NDArray[np.int32]"
    ink: "Array"


def find(shades: "Array") -> Found | None:
    """The digit in shades (h, w, 1 or 3) in [0, 1]; None where nothing has an edge all around."""
    height, width = shades.shape[:2]
    inner = unframed(shades)
    for rows, columns in (inner, (slice(0, height), slice(0, width))):  # the frame is in, where that leaves no digit
        part = shades[rows, columns]
        found = _find(part)
        if found is not None:
            left, top, right, bottom = found.place
            high, wide = part.shape[:2]
            place = (
                (columns.start + left * wide) / width,
                (rows.start + top * high) / height,
                (columns.start + right * wide) / width,
                (rows.start + bottom * high) / height,
            )
            return found._replace(place=place)
    return None


def unframed(shades: "Array") -> "Box":
    """The rows and columns within a frame: behind the last edge that runs along most of a side, near that side.

    Where the digit touches a frame, or its corners are round, less of the edge is left: that is enough where all four
    sides have as much.
    """
    turned = shades.transpose(1, 0, 2)
    sides = [_frame(side) for side in (shades, shades[::-1], turned, turned[::-1])]
    top, bottom, left, right = (any_ if all(each[1] for each in sides) else sure for sure, any_ in sides)
    return slice(top, shades.shape[0] - bottom), slice(left, shades.shape[1] - right)


def _frame(shades: "Array") -> tuple[int, int]:
    """How many of the first rows are a frame: surely, and perhaps."""
    import numpy as np

    deepest = int(len(shades) * FRAME)
    if deepest < 1 or len(shades) < 12:
        return 0, 0
    step = max(1, len(shades) // 150)
    near = shades[: deepest + step + 1]
    jumps = near[step:] - near[:-step]
    ways = jumps > JUMP, jumps < -JUMP
    corner = int(shades.shape[1] * FRAME)
    along = np.maximum(*(way.mean(axis=1) for way in ways)).max(axis=1)
    within = np.maximum(*(way[:, corner : shades.shape[1] - corner].mean(axis=1) for way in ways)).max(axis=1)
    sure, perhaps = (np.flatnonzero(share > least) for share, least in ((along, 0.8), (within, 0.6)))
    first, last = (int(deep[-1]) + step + 1 if len(deep) else 0 for deep in (sure, perhaps))
    return first, max(first, last)


def noise(shades: "Array") -> float:
    """σ of the noise, from second differences, which straight edges and even light don't have.

    Source: J. Immerkær, "Fast Noise Variance Estimation" (1996), by the median.
    """
    import numpy as np
    from scipy import ndimage

    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])[..., None]
    return float(np.median(np.abs(ndimage.convolve(shades, mask)))) / (6 * 0.6745)


def _find(shades: "Array") -> Found | None:
    from scipy import ndimage

    height, width = shades.shape[:2]
    if min(height, width) < 4:
        return None
    shades = _one_way(shades)
    grain = noise(shades)
    sigma = min(2.0, 40 * grain, max(height, width) / 100)
    even = ndimage.gaussian_filter(shades, (sigma, sigma, 0)) if sigma > 0.2 else shades
    factor = max(1, round(WORKED / max(height, width)))
    if factor > 1:
        even = enlarged(even, factor)
    remaining = grain / (1 + 2 * sigma)
    return _best(even, max(LEAST, 4 * remaining), 4 * factor, max(CLEAR, 5 * remaining))


def _best(shades: "Array", least: float, smallest: int, contrast: float, *, sheets: bool = True) -> Found | None:
    """The best candidate's digit; where that is a sheet, the best one's on it."""
    edges = _edges(shades)
    sheet = _sheet(shades) if sheets else None
    if sheet is not None:
        found = _best(_spread(shades, sheet), least, smallest, contrast, sheets=False)
        if found is not None:
            return found
    candidates = [
        each
        for ink in _inks(shades)
        for each in _candidates(ink, shades, edges, least, smallest)
        if each.contrast >= contrast
    ]
    if not candidates:
        return None
    best = max(candidates, key=lambda each: each.score)
    strong = _strength(best)
    alike = [each for each in candidates if each.ink is best.ink and each.score > 0.95 * best.score]
    return _whole(min(alike, key=lambda each: abs(each.level - 0.4 * strong)), shades, edges, least)


def _strength(candidate: Candidate) -> float:
    import numpy as np

    return float(np.percentile(candidate.ink[candidate.labels == candidate.number], 80))


def _spread(shades: "Array", sheet: "Mask") -> "Array":
    """The shades of a sheet, and around it those at its edge."""
    import numpy as np
    from scipy import ndimage

    inner = np.asarray(ndimage.binary_erosion(sheet, iterations=2 * EDGE), dtype=bool)
    rows, columns = ndimage.distance_transform_edt(~inner, return_distances=False, return_indices=True)  # pyright: ignore
    return shades[rows, columns]


def _sheet(shades: "Array") -> "Mask | None":
    """The part (h, w) of a picture that is a paper on a table, or the inside of a frame, if there is one.

    That is a rectangle within the picture, at any angle, all of one kind of shade but for the digit. No digit's hull is
    so rectangular and so full.
    """
    import numpy as np
    from scipy import ndimage
    from skimage.filters import threshold_otsu
    from skimage.morphology import convex_hull_image

    grey = shades.mean(axis=2)
    light = grey > threshold_otsu(grey)
    for mask in (light, ~light):
        labels = shapes.labelled(np.asarray(ndimage.binary_opening(mask, np.ones((3, 3))), bool))
        areas = np.bincount(labels.ravel())
        areas[0] = 0
        one = labels == areas.argmax()
        along = sum(side.mean() > 0.3 for side in (one[0], one[-1], one[:, 0], one[:, -1]))
        if along > 1 or one.sum() < SHEET * one.size:
            continue
        hull = convex_hull_image(one)
        rows, columns = np.nonzero(shapes.rim(hull))
        angles = np.radians(np.arange(0, 90, 2))[:, None]
        high = np.ptp(rows * np.cos(angles) + columns * np.sin(angles), axis=1) + 1
        wide = np.ptp(columns * np.cos(angles) - rows * np.sin(angles), axis=1) + 1
        if hull.sum() > SQUARE * (high * wide).min() and FULL < mask[hull].mean() < 0.99:
            return hull
    return None


def _one_way(shades: "Array") -> "Array":
    """The channel that varies most, alone, where ink is lighter than paper in one and darker in another."""
    import numpy as np

    spread = shades.std(axis=(0, 1))
    if (spread > 1e-9).sum() < 2:
        return shades[..., [int(spread.argmax())]]
    together = np.corrcoef(shades[..., spread > 1e-9].reshape(-1, int((spread > 1e-9).sum())).T)
    return shades if together.min() > -0.1 else shades[..., [int(spread.argmax())]]


def enlarged(shades: "Array", factor: int) -> "Array":
    import numpy as np
    from PIL import Image

    size = shades.shape[1] * factor, shades.shape[0] * factor
    parts = (Image.fromarray(shades[..., c].astype(np.float32)) for c in range(shades.shape[2]))
    return np.dstack(
        [np.asarray(part.resize(size, Image.Resampling.BICUBIC), dtype=np.float64) for part in parts]
    ).clip(0, 1)


def _inks(shades: "Array") -> "list[Array]":
    """Dark ink and light ink (h, w), each as a share: of the light that its paper has, of the full range."""
    import numpy as np
    from scipy import ndimage

    side = max(3, int(min(shades.shape[:2]) * NARROW) | 1)
    light = ndimage.grey_closing(shades, (side, side, 1))
    dark = ndimage.grey_opening(shades, (side, side, 1))
    inks = (1 - shades / np.maximum(light, 0.25)).max(axis=2), (shades - dark).max(axis=2)
    return [(ink - min(np.median(ink), 0.1)).clip(0, 1) for ink in inks]


def _edges(shades: "Array") -> "Array":
    """By how much the shades differ around each pixel (h, w)."""
    from scipy import ndimage

    size = (2 * EDGE + 1, 2 * EDGE + 1, 1)
    return (ndimage.maximum_filter(shades, size) - ndimage.minimum_filter(shades, size)).max(axis=2)


def _candidates(ink: "Array", shades: "Array", edges: "Array", least: float, smallest: int) -> "list[Candidate]":
    import numpy as np
    from scipy import ndimage

    top = float(ink.max())
    result = []
    if top <= least:
        return result
    levels = np.union1d(np.geomspace(least, 0.3 * top, LEVELS), np.linspace(0.4, 0.85, LEVELS) * top)
    for level in levels[levels >= least]:
        labels = shapes.labelled(ink > level)
        areas = np.bincount(labels.ravel())
        areas[0] = 0
        boxes = ndimage.find_objects(labels)
        for number in np.argsort(areas)[: -TRIED - 1 : -1]:
            if areas[number] == 0:
                break
            box = boxes[number - 1]
            if max(_length(side) for side in box) >= smallest:
                contrast, score = _score(labels, int(number), box, shades, edges)
                if score > 0:
                    result.append(Candidate(score, contrast, float(level), int(number), labels, ink))
    return result


def _score(
    labels: "NDArray[np.int32]", number: int, box: "Box", shades: "Array", edges: "Array"
) -> tuple[float, float]:
    """The contrast of a shape's edge, where it is weak; that times its size, less what runs along the border."""
    import numpy as np

    mask = labels[box] == number
    high, wide = mask.shape
    at = [
        (box[0].start == 0, mask[0]),
        (box[0].stop == labels.shape[0], mask[-1]),
        (box[1].start == 0, mask[:, 0]),
        (box[1].stop == labels.shape[1], mask[:, -1]),
    ]
    contact = sum(line.sum() for touches, line in at if touches)
    through = (at[0][0] and at[1][0]) or (at[2][0] and at[3][0])
    if through and 2 * shapes.depths(np.pad(mask, 1)).max() < LINE * max(high, wide):
        return 0.0, 0.0
    rim = shapes.rim(mask)
    if at[0][0]:
        rim[0] = False
    if at[1][0]:
        rim[-1] = False
    if at[2][0]:
        rim[:, 0] = False
    if at[3][0]:
        rim[:, -1] = False
    if not rim.any():
        return 0.0, 0.0
    contrast = float(np.percentile(edges[box][rim], 20))
    if float(np.abs(_around(shades, box) - np.median(shades[box][mask], axis=0)).max()) < 0.4 * contrast:
        return 0.0, 0.0
    inside = max(0.0, 1 - contact / (high + wide))
    return contrast, contrast * inside**2 * float(np.hypot(high, wide))


def _around(shades: "Array", box: "Box") -> "Array":
    """The median shade around a box: of ink, that is paper; of what lies between strokes, it is the same again."""
    import numpy as np

    (top, bottom), (left, right) = ((max(0, side.start - EDGE), side.stop + EDGE) for side in box)
    rows, columns = slice(top, bottom), slice(left, right)
    height, width = shades.shape[:2]
    lines = [shades[top, columns]] * (top < box[0].start) + [shades[min(bottom, height) - 1, columns]] * (
        height > box[0].stop
    )
    lines += [shades[rows, left]] * (left < box[1].start) + [shades[rows, min(right, width) - 1]] * (
        width > box[1].stop
    )
    return np.median(np.concatenate(lines or [shades[0]]), axis=0)


def _whole(best: Candidate, shades: "Array", edges: "Array", least: float) -> Found:
    """The digit with its parts that lie apart, its ink brought to 1, and all else left out."""
    import numpy as np

    ink = best.ink
    labels = best.labels * np.isin(best.labels, _sharp(best, shades, edges))
    count, numbers = shapes.digits(labels, best.number)
    group = np.isin(labels, numbers)
    box = shapes.box(group)
    long = max(_length(side) for side in box)
    reach = max(2, round(long * 0.05))
    top, left = (max(0, side.start - 2 * reach) for side in box)
    part = slice(top, box[0].stop + 2 * reach), slice(left, box[1].stop + 2 * reach)
    strong = _strength(best)
    near = shapes.depths(~group[part]) <= reach
    floor = max(0.08, min(0.3, 0.7 * least / strong))
    alone = np.zeros_like(ink)
    alone[part] = np.where(near, ((ink[part] / strong - floor) / (1 - floor)).clip(0, 1), 0)
    alone = alone[part]
    box = *_ends(alone.max(axis=0)), *_ends(alone.max(axis=1))
    box = box[0], box[2], box[1], box[3]
    height, width = ink.shape
    places = (left + box[0]) / width, (top + box[1]) / height, (left + box[2]) / width, (top + box[3]) / height
    left, top, right, bottom = (min(max(place, 0.0), 1.0) for place in places)
    return Found(alone, box, (left, top, right, bottom), count, best.contrast)


def _ends(most: "Array") -> tuple[float, float]:
    """Where ink begins and ends along a side, by the most that each line has, between pixels too."""
    import numpy as np

    full = np.pad(most, 1)
    (inked,) = np.nonzero(full > BEGINS)
    first, last = int(inked[0]), int(inked[-1])
    start = first - (full[first] - BEGINS) / (full[first] - full[first - 1])
    stop = last + (full[last] - BEGINS) / (full[last] - full[last + 1])
    return float(start) - 0.5, float(stop) - 0.5


def _sharp(best: Candidate, shades: "Array", edges: "Array") -> "list[int]":
    """The labels of the shapes that have as clear an edge as the best one, or half of that."""
    from scipy import ndimage

    boxes = ndimage.find_objects(best.labels)
    least = max(_length(side) for side in boxes[best.number - 1]) / 10
    return [
        k
        for k, box in enumerate(boxes, 1)
        if max(_length(side) for side in box) >= least
        and _score(best.labels, k, box, shades, edges)[0] > best.contrast / 2
    ]


def _length(side: slice) -> int:
    return side.stop - side.start

"""Pictures as people have them, made of a digit of 28 × 28: a table of conditions, with random parameters.

A condition is a function of the digit, light on dark (28, 28) in [0, 1], and a generator; it gives an image, how the
file ends, and how it is saved.
"""

import colorsys
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

from bp_torch.data.shapes import depths

Array = np.ndarray
WAYS = (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)


class Made(NamedTuple):
    image: Image.Image
    ending: str = "png"
    settings: dict[str, Any] = {}  # noqa: RUF012 (never changed)


def enlarged(digit: Array, side: int, rng: random.Random, ways: tuple[Image.Resampling, ...] = WAYS) -> Array:
    """The digit's ink (side, side) in [0, 1]."""
    image = Image.fromarray((digit * 255).astype(np.uint8))
    return np.asarray(image.resize((side, side), rng.choice(ways))) / 255


def smooth(digit: Array, side: int, rng: random.Random, turn: float = 0.0) -> Array:
    """The same without steps, turned by so many degrees; strokes have an edge, as ink has, and are no blur."""
    ink = enlarged(digit, side, rng, WAYS[1:])
    ink = ndimage.gaussian_filter(ink, side / 80)
    if turn:
        ink = ndimage.rotate(ink, turn, reshape=False, order=1)
    return (0.5 + (ink - 0.45) * side / 28).clip(0, 1)


def placed(ink: Array, height: int, width: int, rng: random.Random, middle: float = 1.0) -> Array:
    """The ink somewhere on a canvas; middle: 0 is in the centre, 1 anywhere."""
    canvas = np.zeros((height, width))
    top, left = (round((room - len(ink)) * (0.5 + middle * (rng.random() - 0.5))) for room in (height, width))
    canvas[top : top + len(ink), left : left + len(ink)] = ink
    return canvas


def inked(ink: Array, paper: tuple[float, ...] = (0.95,), colour: tuple[float, ...] = (0.1,)) -> Array:
    """Ink (h, w) of a colour on paper: (h, w, channels)."""
    return np.array(paper) + ink[..., None] * (np.array(colour) - np.array(paper))


def gradient(height: int, width: int, rng: random.Random, least: float) -> Array:
    """Light that falls from 1 to least in some direction."""
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[0:height, 0:width]
    along = np.cos(angle) * columns / width + np.sin(angle) * rows / height
    along = (along - along.min()) / np.ptp(along)
    return (least + (1 - least) * along)[..., None]


def image(shades: Array, rng: random.Random, noise: float = 0.0) -> Image.Image:
    """noise: its σ, of 255."""
    grain = np.random.default_rng(rng.getrandbits(32)).normal(0, noise, shades.shape) if noise else 0.0
    values = (shades * 255 + grain).round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)


def pair(rng: random.Random, contrast: tuple[float, float] = (0.6, 1.0)) -> tuple[tuple[float], tuple[float]]:
    """Paper and ink, dark on light or light on dark."""
    reach = rng.uniform(*contrast)
    low = rng.uniform(0, 1 - reach)
    return ((low + reach,), (low,)) if rng.random() < 0.5 else ((low,), (low + reach,))


def dark_pair(rng: random.Random, contrast: tuple[float, float] = (0.5, 0.9)) -> tuple[tuple[float], tuple[float]]:
    reach = rng.uniform(*contrast)
    low = rng.uniform(0, 1 - reach)
    return (low + reach,), (low,)


def plain(digit: Array, rng: random.Random, low: int = 56, high: int = 600) -> Made:
    ink = enlarged(digit, rng.randint(low, high), rng)
    return Made(image(inked(ink, *pair(rng)), rng))


def tenfold(digit: Array, rng: random.Random) -> Made:
    return Made(image(inked(enlarged(digit, 280, rng), (1.0,), (0.0,)), rng))


def scene(
    digit: Array, rng: random.Random, share: tuple[float, float] = (0.3, 0.9), **ways: Any
) -> tuple[Array, float]:
    """A photograph before its light: ink on 640 × 480, and the digit's side."""
    height, width = (480, 640) if rng.random() < 0.7 else (640, 480)
    side = round(480 * rng.uniform(*share) * 28 / 20)
    ink = smooth(digit, min(side, 480), rng, **ways)
    return placed(ink, height, width, rng, 0.8), side


def photograph(digit: Array, rng: random.Random) -> Made:
    ink, _ = scene(digit, rng)
    shades = inked(ink, *dark_pair(rng, (0.25, 0.6)))
    shades = shades * gradient(len(ink), ink.shape[1], rng, rng.uniform(0.4, 0.8))
    return Made(image(shades, rng, rng.uniform(3, 10)), "jpg", {"quality": rng.choice((75, 90))})


def faint(digit: Array, rng: random.Random) -> Made:
    """A fifth of the range."""
    ink, _ = scene(digit, rng, (0.2, 0.9))
    return Made(image(inked(ink, *pair(rng, (0.2, 0.22))), rng, rng.uniform(0, 10)))


def vignette(digit: Array, rng: random.Random) -> Made:
    ink, _ = scene(digit, rng)
    rows, columns = (np.linspace(-1, 1, length) for length in ink.shape)
    light = 1 - rng.uniform(0.3, 0.6) * (rows[:, None] ** 2 + columns**2) / 2
    return Made(image(inked(ink, *dark_pair(rng)) * light[..., None], rng, rng.uniform(0, 8)), "jpg", {"quality": 85})


def hard_shadow(digit: Array, rng: random.Random) -> Made:
    ink, _ = scene(digit, rng)
    angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0.45, 0.75)
    rows, columns = np.mgrid[0 : ink.shape[0], 0 : ink.shape[1]]
    away = np.cos(angle) * (columns - ink.shape[1] * rng.uniform(0.35, 0.65)) + np.sin(angle) * (
        rows - ink.shape[0] * rng.uniform(0.35, 0.65)
    )
    light = depth + (1 - depth) * ndimage.gaussian_filter((away > 0).astype(float), rng.uniform(0.5, 4))
    return Made(image(inked(ink, *dark_pair(rng)) * light[..., None], rng, rng.uniform(0, 6)), "jpg", {"quality": 90})


def turned_paper(digit: Array, rng: random.Random) -> Made:
    """A sheet on a darker table, turned by 5 to 20 degrees, its digit with it."""
    height, width = 480, 640
    sheet_high, sheet_wide = rng.randint(280, 400), rng.randint(330, 500)
    angle = rng.uniform(5, 20) * rng.choice((-1, 1))
    small = Image.fromarray((digit * 255).astype(np.uint8))
    side = round(min(sheet_high, sheet_wide) * rng.uniform(0.45, 0.95))
    ink = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC)) / 255
    ink = (0.5 + (ink - 0.45) * 6).clip(0, 1)
    sheet = np.zeros((height, width))
    top, left = (height - sheet_high) // 2, (width - sheet_wide) // 2
    sheet[top : top + sheet_high, left : left + sheet_wide] = 1
    sheet = ndimage.rotate(sheet, angle, reshape=False, order=1)
    ink = ndimage.rotate(placed(ink, height, width, rng, 0.0), angle * rng.uniform(0, 0.5), reshape=False, order=1)
    light, table = rng.uniform(0.75, 0.98), rng.uniform(0.1, 0.5)
    shades = (table + sheet * (light - table)) * (1 - ink * rng.uniform(0.6, 0.9))
    return Made(image(shades[..., None], rng, rng.uniform(1, 8)), "jpg", {"quality": 85})


def coloured(digit: Array, rng: random.Random, lines: str = "") -> Made:
    ink, _ = scene(digit, rng)
    hue = rng.choice((0.0, 0.6, 0.66, 0.97, 0.35))
    colour = colorsys.hsv_to_rgb(hue, rng.uniform(0.7, 1), rng.uniform(0.4, 0.8))
    paper = rng.choice(((0.97, 0.97, 0.97), (0.95, 0.9, 0.75), (0.9, 0.88, 0.8)))
    shades = np.broadcast_to(np.array(paper), (*ink.shape, 3)).copy()
    if lines:
        step, first, wide = rng.randint(24, 60), rng.randint(0, 20), rng.randint(1, 2)
        line = np.array(paper) * np.array(rng.choice(((0.75, 0.85, 0.98), (0.8, 0.8, 0.8), (0.95, 0.8, 0.8))))
        for offset in range(wide):
            shades[first + offset :: step] = line
            if lines == "squared":
                shades[:, first + offset :: step] = line
    shades = shades + ink[..., None] * (np.array(colour) - shades)
    return Made(image(shades, rng, rng.uniform(0, 6)), "jpg", {"quality": 88})


def specks(digit: Array, rng: random.Random, count: int = 1, large: bool = False) -> Made:
    """Dirt: small anywhere but on the digit, or, large, far from it."""
    side = rng.randint(140, 500)
    ink = enlarged(digit, side, rng)
    stroke = side * 2.5 / 28
    away = depths(ink < 0.1)
    for _ in range(count):
        size = max(1, stroke * (rng.uniform(0.6, 1.2) if large else rng.uniform(0.1, 0.33)))
        for _ in range(200):
            row, column = rng.randrange(side), rng.randrange(side)
            if large and rng.random() < 0.7:  # a corner
                row, column = (rng.choice((0, 1)) * (side - 1) for _ in range(2))
                row, column = abs(row - rng.randint(3, side // 8)), abs(column - rng.randint(3, side // 8))
            if away[row, column] > (side * 0.15 if large else 2 * size):
                rows, columns = np.mgrid[0:side, 0:side]
                ink = np.maximum(ink, np.hypot(rows - row, columns - column) <= size / 2)
                break
    return Made(image(inked(ink, *pair(rng)), rng))


def pencil(digit: Array, rng: random.Random) -> Made:
    """Thin and grey."""
    ink, side = scene(digit, rng)
    core = depths(ink > 0.5)
    wide = max(1.5, min(side, 480) * rng.uniform(0.02, 0.045))
    from skimage.morphology import skeletonize

    line = depths(~skeletonize(core > 0))
    thin = (wide / 2 + 0.5 - line).clip(0, 1) * (core.max() > 0)
    paper = rng.uniform(0.8, 0.97)
    shades = inked(ndimage.gaussian_filter(thin, 0.7), (paper,), (paper - rng.uniform(0.25, 0.5),))
    return Made(image(shades, rng, rng.uniform(0, 6)))


def marker(digit: Array, rng: random.Random) -> Made:
    """Thick: as much thicker as leaves the holes open, mostly."""
    ink, side = scene(digit, rng, (0.3, 0.8))
    more = int(min(side, 480) * rng.uniform(0.01, 0.03))
    ink = ndimage.grey_dilation(ink, footprint=np.hypot(*np.mgrid[-more : more + 1, -more : more + 1]) <= more)
    return Made(image(inked(ink, *dark_pair(rng)), rng, rng.uniform(0, 6)))


def jpeg(digit: Array, rng: random.Random) -> Made:
    ink = enlarged(digit, rng.randint(84, 400), rng)
    return Made(image(inked(ink, *pair(rng, (0.4, 1))), rng), "jpg", {"quality": rng.randint(10, 40)})


def twelve_megapixels(digit: Array, rng: random.Random) -> Made:
    made = photograph(digit, rng).image.resize((4000, 3000), Image.Resampling.BILINEAR)
    return Made(made, "jpg", {"quality": 90})


def tiny(digit: Array, rng: random.Random, side: int = 20) -> Made:
    small = Image.fromarray((digit * 255).astype(np.uint8)).resize((side, side), rng.choice(WAYS[1:]))
    return Made(image(inked(np.asarray(small) / 255, *pair(rng)), rng))


def small_within(digit: Array, rng: random.Random) -> Made:
    """5 to 10 % of the height."""
    height, width = rng.choice(((480, 640), (900, 1200), (1500, 2000)))
    ink = smooth(digit, round(height * rng.uniform(0.05, 0.1) * 28 / 20), rng)
    return Made(image(inked(placed(ink, height, width, rng), *pair(rng)), rng, rng.uniform(0, 4)))


def off_centre(digit: Array, rng: random.Random) -> Made:
    height, width = rng.randint(200, 600), rng.randint(200, 600)
    ink = enlarged(digit, rng.randint(84, 190), rng)
    return Made(image(inked(placed(ink, height, width, rng), *pair(rng)), rng))


def at_the_border(digit: Array, rng: random.Random) -> Made:
    """The digit touches one side or loses a little of itself there."""
    rows, columns = np.flatnonzero(digit.max(1) > 0.3), np.flatnonzero(digit.max(0) > 0.3)
    top, left, bottom, right = 0, 0, 28, 28
    side = rng.randrange(4)
    if side == 0:
        top = rows[0]
    elif side == 1:
        bottom = rows[-1] + 1
    elif side == 2:
        left = columns[0]
    else:
        right = columns[-1] + 1
    made = Image.fromarray((digit[top:bottom, left:right] * 255).astype(np.uint8))
    factor = rng.randint(3, 15)
    made = made.resize((made.width * factor, made.height * factor), rng.choice(WAYS))
    return Made(image(inked(np.asarray(made) / 255, *pair(rng)), rng))


def framed(digit: Array, rng: random.Random, kind: str = "light on dark") -> Made:
    """A frame of 1 to 10 % of the width, of any side; white around light on dark, black around dark on light."""
    side = rng.choice((28, 56, 140, 280, 500)) if kind != "rounded" else rng.choice((140, 280, 500))
    ink = enlarged(digit, side, rng)
    paper, colour = ((0.05,), (0.95,)) if kind == "light on dark" else ((0.95,), (0.05,))
    if kind in ("rounded", "margin") and rng.random() < 0.5:
        paper, colour = colour, paper
    shades = inked(ink, paper, colour)
    wide = max(1, round(side * rng.uniform(0.01, 0.1)))
    frame = colour[0] if kind != "margin" else rng.uniform(0.3, 0.7)
    if rng.random() < 0.5 and kind != "rounded":  # around it, not over it
        shades = np.pad(shades, ((wide, wide), (wide, wide), (0, 0)), constant_values=frame)
    else:
        mask = Image.new("L", (side, side))
        ImageDraw.Draw(mask).rounded_rectangle(
            (wide, wide, side - 1 - wide, side - 1 - wide), side * rng.uniform(0.05, 0.2) * (kind == "rounded"), 255
        )
        inside = np.asarray(mask)[..., None] / 255
        shades = shades * inside + frame * (1 - inside)
    return Made(image(shades, rng))


def scanned(digit: Array, rng: random.Random) -> Made:
    """A grey margin on one to four sides."""
    shades = inked(enlarged(digit, rng.randint(140, 400), rng), (0.97,), (0.1,))
    widths = [round(len(shades) * rng.uniform(0.02, 0.1)) * (rng.random() < 0.6) for _ in range(4)]
    grey = rng.uniform(0.3, 0.8)
    shades = np.pad(shades, ((widths[0], widths[1]), (widths[2], widths[3]), (0, 0)), constant_values=grey)
    return Made(image(shades, rng, rng.uniform(0, 4)))


def phone(digit: Array, rng: random.Random) -> Made:
    """Stored on its side, with the tag that says so."""
    made = photograph(digit, rng).image
    exif = Image.Exif()
    orientation, turn = rng.choice(
        ((6, Image.Transpose.ROTATE_90), (8, Image.Transpose.ROTATE_270), (3, Image.Transpose.ROTATE_180))
    )
    exif[0x0112] = orientation
    return Made(made.transpose(turn), "jpg", {"exif": exif, "quality": 85})


def transparent(digit: Array, rng: random.Random, mode: str = "RGBA", light: bool = False) -> Made:
    ink = Image.fromarray((enlarged(digit, rng.randint(84, 400), rng) * 255).astype(np.uint8))
    shade = 255 if light else rng.choice((0, 0, 60))
    if mode == "P":
        made = Image.eval(ink, lambda v: v > 127).convert("L")
        made = Image.fromarray(np.asarray(made) & 1, "L").convert("P")
        made.putpalette([255 - shade] * 3 + [shade] * 3 + [0] * 762)
        return Made(made, "png", {"transparency": 0})
    made = Image.new("LA", ink.size, (shade, 0)) if mode == "LA" else Image.new("RGBA", ink.size, (shade,) * 3 + (0,))
    made.putalpha(ink)
    return Made(made)


def deep(digit: Array, rng: random.Random) -> Made:
    shades = inked(enlarged(digit, rng.randint(84, 400), rng), *pair(rng, (0.2, 1)))[..., 0]
    return Made(Image.fromarray((shades * 65535).astype(np.uint16)))


def bilevel(digit: Array, rng: random.Random) -> Made:
    ink = enlarged(digit, rng.randint(84, 400), rng) > 0.4
    return Made(Image.fromarray(ink if rng.random() < 0.5 else ~ink))


def screen(digit: Array, rng: random.Random) -> Made:
    """A photograph of light on dark: stripes, falling light, noise."""
    ink, _ = scene(digit, rng)
    low = rng.uniform(0.05, 0.2)
    shades = inked(ink, (low, low, low * 1.2), (low + rng.uniform(0.4, 0.75),) * 3)
    shades = shades * (1 + 0.05 * np.sin(np.arange(len(ink)) * rng.uniform(0.5, 2)))[:, None, None]
    shades = shades * gradient(len(ink), ink.shape[1], rng, rng.uniform(0.6, 0.9))
    return Made(image(shades, rng, rng.uniform(2, 8)), "jpg", {"quality": 85})


def tilted(digit: Array, rng: random.Random) -> Made:
    ink, _ = scene(digit, rng, turn=rng.uniform(-10, 10))
    return Made(image(inked(ink, *dark_pair(rng)), rng, rng.uniform(0, 5)))


def blurred(digit: Array, rng: random.Random) -> Made:
    side = rng.randint(140, 500)
    made = image(inked(enlarged(digit, side, rng), *pair(rng)), rng)
    return Made(made.filter(ImageFilter.GaussianBlur(side * rng.uniform(0.01, 0.03))))


Condition = Callable[[Array, random.Random], Made]
CONDITIONS: dict[str, Condition] = {
    "tenfold": tenfold,
    "plain, 56 to 600 pixels": plain,
    "photograph": photograph,
    "a fifth of the range, noise": faint,
    "vignette": vignette,
    "hard shadow": hard_shadow,
    "turned paper on a table": turned_paper,
    "coloured ink": coloured,
    "ruled paper": lambda digit, rng: coloured(digit, rng, "ruled"),
    "squared paper": lambda digit, rng: coloured(digit, rng, "squared"),
    "one speck": specks,
    "five specks": lambda digit, rng: specks(digit, rng, 5),
    "three large specks": lambda digit, rng: specks(digit, rng, 3, large=True),
    "pencil": pencil,
    "marker": marker,
    "JPEG of low quality": jpeg,
    "12 megapixels": twelve_megapixels,
    "20 × 20": tiny,
    "16 × 16": lambda digit, rng: tiny(digit, rng, 16),
    "small in a large picture": small_within,
    "off the centre": off_centre,
    "at the border": at_the_border,
    "white frame": framed,
    "black frame": lambda digit, rng: framed(digit, rng, "dark on light"),
    "rounded frame": lambda digit, rng: framed(digit, rng, "rounded"),
    "grey frame": lambda digit, rng: framed(digit, rng, "margin"),
    "scanned, grey margins": scanned,
    "phone, turned by EXIF": phone,
    "RGBA": transparent,
    "RGBA, light ink": lambda digit, rng: transparent(digit, rng, light=True),
    "LA": lambda digit, rng: transparent(digit, rng, "LA"),
    "palette": lambda digit, rng: transparent(digit, rng, "P"),
    "16 bits": deep,
    "1 bit": bilevel,
    "screen": screen,
    "digit turned by up to 10°": tilted,
    "blurred": blurred,
}


def made(condition: str, digit: Array, seed: int) -> Made:
    """The picture of one digit in this condition: its parameters are drawn by the seed."""
    return CONDITIONS[condition](digit, random.Random(f"{condition} {seed}"))  # noqa: S311

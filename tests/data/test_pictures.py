"""Pictures of all kinds: each is read right, or refused by name in one sentence."""

import random
import struct
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont, features
from torch import Tensor

import bp_torch as bp
from bp_torch.data import picture, shapes

SIDE = 96
DIGITS, LABELS = bp.data.digits("test")
DIGIT = int((LABELS == 3).nonzero()[0])  # the first 3
MNIST = Path(__file__).parent.parent.parent / "data"


def digit(number: int = DIGIT) -> Image.Image:
    """An embedded test digit, light on dark, enlarged and smooth, with room around it."""
    small = Image.fromarray(pixels(DIGITS, 8)[number])
    large = Image.new("L", (SIDE, SIDE))
    large.paste(small.resize((64, 64), Image.Resampling.BILINEAR), (16, 16))
    return large


def pixels(x: Tensor, side: int) -> np.ndarray:
    return (x * 255).round().to(torch.uint8).view(-1, side, side).numpy()


def inverted(image: Image.Image) -> Image.Image:
    return Image.eval(image, lambda value: 255 - value)


def inked(colour: tuple[int, int, int], under: tuple[int, int, int] | None = None) -> Image.Image:
    """Ink of this colour on transparency; under: what lies hidden where nothing is seen."""
    image = Image.new("RGBA", (SIDE, SIDE), (*colour, 0))
    if under is not None:
        image = Image.composite(
            image, Image.new("RGBA", (SIDE, SIDE), (*under, 0)), Image.eval(digit(), lambda v: 255 * (v > 0))
        )
    image.putalpha(digit())
    return image


def card(ink: tuple[int, int, int], paper: tuple[int, int, int]) -> Image.Image:
    """A round card with the digit on it, on transparency."""
    shape = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(shape).ellipse((0, 0, SIDE - 1, SIDE - 1), 255)
    image = Image.composite(Image.new("RGB", (SIDE, SIDE), ink), Image.new("RGB", (SIDE, SIDE), paper), digit())
    image.putalpha(shape)
    return image


def coloured(ink: tuple[int, int, int], paper: tuple[int, int, int]) -> Image.Image:
    return Image.composite(Image.new("RGB", (SIDE, SIDE), ink), Image.new("RGB", (SIDE, SIDE), paper), digit())


def values(scale: float, offset: float, dtype: type) -> Image.Image:
    """Wide values: the digit in [0, 1], times scale, plus offset."""
    return Image.fromarray((np.asarray(digit()) / 255 * scale + offset).astype(dtype))


def bilevel(ink: int) -> Image.Image:
    return Image.eval(digit(), lambda v: ink if v > 127 else 255 - ink).convert("1")


def indexed(alphas: bool) -> Image.Image:
    """Black ink in a palette: with one transparent index, or an alpha for every index."""
    image = (
        Image.fromarray(np.asarray(digit()), "P")
        if alphas
        else Image.fromarray((np.asarray(digit()) > 127).astype(np.uint8), "P")
    )
    image.putpalette([0] * 768)
    return image


BLACK, WHITE = (0, 0, 0), (255, 255, 255)
FORMS: dict[str, tuple[str, Callable[[], Image.Image], dict[str, Any]]] = {
    "light on dark": ("png", digit, {}),
    "dark on light": ("png", lambda: inverted(digit()), {}),
    "grey on grey": ("png", lambda: values(100, 60, np.uint8), {}),
    "black on transparency": ("png", lambda: inked(BLACK), {}),
    "black on transparency over white": ("png", lambda: inked(BLACK, WHITE), {}),
    "white on transparency": ("png", lambda: inked(WHITE), {}),
    "white on transparency over black": ("png", lambda: inked(WHITE, BLACK), {}),
    "blue on transparency": ("png", lambda: inked((20, 40, 200)), {}),
    "yellow on transparency": ("png", lambda: inked((255, 255, 0)), {}),
    "LA": ("png", lambda: inked(BLACK).convert("LA"), {}),
    "white LA": ("png", lambda: inked(WHITE).convert("LA"), {}),
    "P, one index transparent": ("png", lambda: indexed(False), {"transparency": 0}),
    "P, alphas": ("png", lambda: indexed(True), {"transparency": bytes(range(256))}),
    "GIF": ("gif", lambda: indexed(False), {"transparency": 0}),
    "L, one shade transparent": ("png", lambda: bilevel(0).convert("L"), {"transparency": 255}),
    "RGB, one colour transparent": ("png", lambda: bilevel(0).convert("RGB"), {"transparency": WHITE}),
    "16 bits, one value transparent": ("png", lambda: values(-65535, 65535, np.uint16), {"transparency": 65535}),
    "opaque RGBA": ("png", lambda: inverted(digit()).convert("RGBA"), {}),
    "a white card": ("png", lambda: card(BLACK, WHITE), {}),
    "a black card": ("png", lambda: card(WHITE, BLACK), {}),
    "WebP": ("webp", lambda: inked(BLACK), {"lossless": True}),
    "lossy WebP": ("webp", lambda: inked(BLACK), {}),
    "TIFF with alpha": ("tif", lambda: inked(BLACK), {}),
    "ICO": ("ico", lambda: inked(BLACK), {"sizes": [(SIDE, SIDE)]}),
    "DDS": ("dds", lambda: inked(BLACK), {}),
    "TGA": ("tga", lambda: inked(BLACK), {}),
    "JPEG 2000": ("jp2", lambda: inked(BLACK), {}),
    "16 bits": ("png", lambda: values(65535, 0, np.uint16), {}),
    "16 bits, dark on light": ("png", lambda: values(-65535, 65535, np.uint16), {}),
    "12 bits in 16": ("png", lambda: values(4095, 0, np.uint16), {}),
    "8 bits in 16": ("png", lambda: values(-255, 255, np.uint16), {}),
    "16 bits with an offset": ("tif", lambda: values(9000, 21000, np.uint16), {}),
    "32 bits": ("tif", lambda: values(1e6, 5, np.int32), {}),
    "floats from 0 to 1": ("tif", lambda: values(1, 0, np.float32), {}),
    "floats from -1 to 1": ("tif", lambda: values(-2, 1, np.float32), {}),
    "floats from 0 to 255": ("tif", lambda: values(255, 0, np.float32), {}),
    "large floats": ("tif", lambda: values(3e38, 0, np.float32), {}),
    "PFM": ("pfm", lambda: values(1, 0, np.float32), {}),
    "1 bit": ("png", lambda: bilevel(255), {}),
    "1 bit, dark on light": ("tif", lambda: bilevel(0), {"compression": "group4"}),
    "CMYK": ("tif", lambda: inverted(digit()).convert("RGB").convert("CMYK"), {}),
    "CMYK JPEG": ("jpg", lambda: inverted(digit()).convert("RGB").convert("CMYK"), {"quality": 95}),
    "JPEG": ("jpg", lambda: inverted(digit()), {"quality": 95}),
    "colour JPEG": ("jpg", lambda: coloured((20, 30, 120), (240, 235, 220)), {"quality": 95}),
    "LAB": ("tif", lambda: Image.merge("LAB", (inverted(digit()), *[Image.new("L", (SIDE, SIDE), 128)] * 2)), {}),
    "red on green of its lightness": ("png", lambda: coloured((255, 0, 0), (0, 130, 0)), {}),
    "yellow on white": ("png", lambda: coloured((255, 255, 0), WHITE), {}),
    "BMP": ("bmp", lambda: inverted(digit()), {}),
    "PPM": ("ppm", lambda: inverted(digit()).convert("RGB"), {}),
    "AVIF": ("avif", lambda: inked(BLACK), {"quality": 95}),
}


def saved(path: Path, form: str) -> Path:
    ending, make, settings = FORMS[form]
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    path = path / f"picture.{ending}"
    make().save(path, **settings)
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    """What the digit is read as from a plain picture."""
    digit().save(path := tmp_path_factory.mktemp("plain") / "plain.png")
    return picture(path, 28)


@pytest.mark.parametrize("form", FORMS)
def test_a_digit_is_read_alike_from_every_kind_of_file(tmp_path: Path, plain: Tensor, form: str) -> None:
    off = (picture(saved(tmp_path, form), 28) - plain).abs()
    hard = any(word in form for word in ("1 bit", "one ", "GIF"))  # no shades between ink and paper
    assert off.mean() < (0.06 if hard else 0.02)
    assert off.max() < (0.6 if hard else 0.15)


@pytest.mark.parametrize("light", [True, False], ids=["light on dark", "dark on light"])
def test_an_embedded_digit_of_its_own_size_is_read_as_it_is(tmp_path: Path, light: bool) -> None:
    for row in pixels(DIGITS, 8)[::6]:
        Image.fromarray(row if light else 255 - row).save(tmp_path / "own.pgm")
        read = picture(tmp_path / "own.pgm", 8)
        torch.testing.assert_close(read, torch.tensor(row).flatten() / 255)


@pytest.mark.skipif(not (MNIST / "MNIST" / "raw").is_dir(), reason="MNIST is not in data/")
def test_an_mnist_digit_of_its_own_size_is_read_as_it_is(tmp_path: Path) -> None:
    for row in pixels(bp.data.mnist("test", root=MNIST)[0], 28)[:1000:40]:
        Image.fromarray(255 - row).save(tmp_path / "own.png")
        torch.testing.assert_close(picture(tmp_path / "own.png", 28), torch.tensor(row).flatten() / 255)


def one(ink: np.ndarray) -> bool:
    """Whether ink in [0, 1] is neither a blank nor several digits, as `picture` finds."""
    labels = shapes.labelled(ink > ink.max() / 4)
    count, _ = shapes.digits(labels, int(np.bincount(labels[labels > 0]).argmax()))
    return shapes.contrast(ink) > 0.1 and not shapes.is_noise(ink) and count == 1


def test_no_embedded_digit_is_refused() -> None:
    assert all(one(row / 255) for split in ("train", "test") for row in pixels(bp.data.digits(split)[0], 8))


@pytest.mark.skipif(not (MNIST / "MNIST" / "raw").is_dir(), reason="MNIST is not in data/")
def test_none_of_the_first_1000_mnist_test_digits_is_refused() -> None:
    assert all(one(row / 255) for row in pixels(bp.data.mnist("test", root=MNIST)[0][:1000], 28))


def test_a_faint_digit_of_its_own_size_is_brought_to_full_ink(tmp_path: Path) -> None:
    x = DIGITS[DIGIT]
    Image.fromarray((230 - 64 * x).byte().view(8, 8).numpy()).save(tmp_path / "faint.png")
    torch.testing.assert_close(picture(tmp_path / "faint.png", 8), x, atol=0.02, rtol=0)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "lzw.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_orientation_says(
    tmp_path: Path, plain: Tensor, orientation: int, ending: str
) -> None:
    stored = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    stored |= {6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}  # the inverse of what shows it upright
    image = digit().transpose(Image.Transpose[stored[orientation]]) if orientation > 1 else digit()
    exif = Image.Exif()
    exif[0x0112] = orientation
    settings: dict[str, Any] = {"tiffinfo": {0x0112: orientation}} if "tif" in ending else {"exif": exif}
    settings |= {"compression": "tiff_lzw"} if "lzw" in ending else {"lossless": True} if ending == "webp" else {}
    image.save(tmp_path / f"turned.{ending}", **settings)
    torch.testing.assert_close(picture(tmp_path / f"turned.{ending}", 28), plain, atol=0.05, rtol=0)


DAMAGED_EXIF = {
    "cut short": b"Exif\0\0II*\0\x08\0\0\0\x40\0\x12\x01",
    "no byte order": b"Exif\0\0XX*\0\x08\0\0\0",
    "its directory beyond its end": b"Exif\0\0MM\0*" + struct.pack(">I", 2**31),
    "orientation 99": b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\x63\0\0\0\0\0\0",
    "orientation of text": b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\2\0\0\0\2x\0\0\0\0\0\0\0",
    "nothing": b"",
}


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("damage", DAMAGED_EXIF)
def test_damaged_exif_does_not_matter(tmp_path: Path, plain: Tensor, damage: str, ending: str) -> None:
    digit().save(tmp_path / f"picture.{ending}", exif=DAMAGED_EXIF[damage])
    torch.testing.assert_close(picture(tmp_path / f"picture.{ending}", 28), plain, atol=0.05, rtol=0)


def refusal(path: Path, *, size: int | tuple[int, int] = 28, single: bool = True) -> str:
    with pytest.raises(bp.DataError) as caught:
        picture(path, size, single=single)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def noise(middle: float, spread: float, *shape: int) -> Image.Image:
    values = np.random.default_rng(0).normal(middle, spread, shape or (60, 60))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


BLANK: dict[str, Callable[[], Image.Image]] = {
    "all white": lambda: Image.new("L", (60, 60), 255),
    "all black": lambda: Image.new("RGB", (60, 60)),
    "all grey": lambda: Image.new("L", (60, 60), 128),
    "of the network's own size": lambda: Image.new("L", (28, 28)),
    "one pixel": lambda: Image.new("L", (1, 1), 7),
    "a line": lambda: Image.new("L", (150, 1), 7),
    "transparent": lambda: Image.new("RGBA", (60, 60)),
    "transparent white": lambda: Image.new("LA", (60, 60), (255, 0)),
    "transparent, with a digit hidden": lambda: Image.merge("LA", (digit(), Image.new("L", (SIDE, SIDE)))),
    "nearly transparent": lambda: Image.new("RGBA", (60, 60), (9, 9, 9, 3)),
    "one colour behind glass": lambda: Image.new("RGBA", (60, 60), (200, 20, 20, 128)),
    "1 bit": lambda: Image.new("1", (60, 60), 1),
    "16 bits": lambda: Image.fromarray(np.full((60, 60), 40000, np.uint16)),
    "noise on white": lambda: noise(252, 3),
    "noise on grey": lambda: noise(128, 8),
    "noise of the network's own size": lambda: noise(10, 8, 28, 28),
    "noise and nothing else": lambda: noise(128, 200),
    "noise in colours": lambda: noise(240, 10, 60, 60, 3),
    "noise in 16 bits": lambda: Image.fromarray(np.random.default_rng(0).integers(0, 300, (60, 60), dtype=np.uint16)),
    "a shadow": lambda: Image.linear_gradient("L"),
}


@pytest.mark.parametrize("kind", BLANK)
def test_a_blank_is_refused(tmp_path: Path, kind: str) -> None:
    BLANK[kind]().save(tmp_path / "blank.png")
    assert f"{tmp_path / 'blank.png'} is blank: " in refusal(tmp_path / "blank.png")


def test_a_blank_is_refused_for_networks_of_anything(tmp_path: Path) -> None:
    for kind in ("all white", "all black", "transparent"):
        BLANK[kind]().save(tmp_path / "blank.png")
        assert "is blank" in refusal(tmp_path / "blank.png", size=(16, 25), single=False)


def typed(text: str, ink: str, mode: str = "L") -> Image.Image:
    image = Image.new(
        mode, (40 * len(text) + 40, 110 + 60 * text.count("\n")), {"black": "white", "white": "black"}[ink]
    )
    if mode == "RGBA":
        image.putalpha(0)
    ImageDraw.Draw(image).text((20, 10), text, ink, font=ImageFont.load_default(60))
    return image


SEVERAL = {
    "typed": (lambda: typed("42", "black"), 2),
    "typed on transparency": (lambda: typed("73", "black", "RGBA"), 2),
    "ones": (lambda: typed("11", "white"), 2),
    "a number": (lambda: typed("30814", "black"), 5),
    "two lines": (lambda: typed("3\n8", "black"), 2),
    "handwritten": (lambda: Image.fromarray(np.hstack([np.asarray(digit(k)) for k in (1, 5)])), 2),
    "of its own size": (lambda: Image.fromarray(np.hstack([np.asarray(digit(k)) for k in (1, 5)])).resize((28, 28)), 2),
}


@pytest.mark.parametrize("kind", SEVERAL)
def test_several_digits_are_refused_and_counted(tmp_path: Path, kind: str) -> None:
    make, count = SEVERAL[kind]
    make().save(tmp_path / "several.png")
    words = refusal(tmp_path / "several.png")
    assert f"shows {count} separate shapes" in words
    assert "cut it into one picture a digit" in words


def test_a_page_of_text_is_refused_in_no_time(tmp_path: Path) -> None:
    page = Image.new("L", (500, 500), 255)
    ImageDraw.Draw(page).text((0, 0), "\n".join(["0123456789 " * 8] * 40), 0, font=ImageFont.load_default(9))
    page.save(tmp_path / "page.png")
    assert "separate shapes" in refusal(tmp_path / "page.png")


def test_a_digit_in_uneven_light_is_one_digit(tmp_path: Path) -> None:
    light = np.linspace(0.7, 1.3, SIDE)[:, None] + np.random.default_rng(0).normal(0, 0.02, (SIDE, SIDE))
    Image.fromarray((180 * light * (1 - 0.8 * np.asarray(digit()) / 255)).astype(np.uint8)).save(tmp_path / "photo.jpg")
    assert picture(tmp_path / "photo.jpg", 28).max() > 0.9


@pytest.mark.parametrize("kind", ["bar apart", "specks", "halves", "a line of one pixel"])
def test_a_broken_stroke_or_a_speck_is_no_digit(tmp_path: Path, kind: str) -> None:
    image = Image.new("L", (100, 140), 255)
    draw = ImageDraw.Draw(image)
    if kind == "bar apart":  # a 5
        draw.line((55, 20, 85, 20), 0, 8)
        draw.line((40, 24, 36, 60), 0, 8)
        draw.arc((20, 55, 80, 120), 200, 150, 0, 8)
    if kind == "specks":
        draw.text((25, 10), "2", 0, font=ImageFont.load_default(100))
        draw.point([(5, 5), (95, 130), (4, 100), (5, 100)], 0)
    if kind == "a line of one pixel":
        draw.line((30, 110, 70, 40), 0, 1)
    if kind == "halves":  # an 8 of two rings that don't touch
        draw.ellipse((30, 20, 70, 62), outline=0, width=7)
        draw.ellipse((26, 70, 74, 120), outline=0, width=7)
    image.save(tmp_path / "one.png")
    assert picture(tmp_path / "one.png", 28).max() > 0.2


SOUND = ("light on dark", "black on transparency", "GIF", "WebP", "TIFF with alpha", "ICO", "DDS", "TGA", "JPEG 2000")
SOUND += ("16 bits", "floats from 0 to 1", "P, alphas", "CMYK JPEG", "BMP", "PPM", "AVIF")


@pytest.mark.parametrize("form", SOUND)
def test_a_damaged_file_is_read_or_refused_by_name(tmp_path: Path, form: str) -> None:
    """Bytes are changed, mostly in the header, or cut off."""
    path = saved(tmp_path, form)
    whole, rng = path.read_bytes(), random.Random(0)  # noqa: S311
    for _ in range(25):
        damaged = bytearray(whole)
        if rng.random() < 0.3:
            del damaged[rng.randrange(len(whole)) :]
        for _ in range(rng.choice((1, 2, 10)) if damaged else 0):
            damaged[rng.randrange(min(len(damaged), rng.choice((50, 200, len(damaged)))))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            x = picture(path, 8)
        except bp.DataError as error:
            assert str(path) in str(error)  # noqa: PT017 (both ends are right)
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert x.shape == (64,)
            assert x.min() >= 0
            assert x.max() <= 1


def dds(fourcc: bytes, masks: tuple[int, int, int, int] = (0, 0, 0, 0)) -> bytes:
    header = struct.pack("<7I44x", 124, 0x1007, 4, 4, 16, 0, 0)
    return b"DDS " + header + struct.pack("<2I4s5I", 32, 4, fourcc, 0, *masks) + bytes(20 + 64)


ODD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "its format is not one that is known"),
    "text.png": (b"seven", "its format is not one that is known"),
    "a cut.png": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "can't be read as an image"),
    "of no known code.dds": (dds(b"ABCD"), "can't be read as an image"),
    "of DX10 without its header.dds": (dds(b"DX10")[:100], "can't be read as an image"),
    "of nothing.avif": (b"\0\0\0\x20ftypavif" + bytes(200), "can't be read as an image"),
    "of nothing.webp": (b"RIFF\x10\0\0\0WEBPVP8 " + bytes(50), "can't be read as an image"),
    "of nothing.tif": (b"II*\0\x08\0\0\0\0\0\0\0\0\0", "can't be read as an image"),
    "of no size.bmp": (b"BM" + bytes(60), "can't be read as an image"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_picture_is_refused_by_name(tmp_path: Path, name: str) -> None:
    content, message = ODD[name]
    (tmp_path / name).write_bytes(content)
    assert message in refusal(tmp_path / name)
    assert message in refusal(tmp_path / name, single=False)


def test_a_path_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "nowhere.png")
    assert "can't be read as an image" in refusal(tmp_path)
    assert "can't be read as an image" in refusal(tmp_path / ("n" * 300))


@pytest.mark.parametrize("pixels", [150, 250])
def test_a_picture_beyond_pillows_limit_is_refused_and_a_large_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: int
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # from there on a warning, from twice as many on an error
    image = Image.new("L", (10, pixels // 10))
    ImageDraw.Draw(image).line((4, 2, 4, 12), 255, 2)
    image.save(tmp_path / "large.png")
    if pixels > 200:
        assert "exceeds limit" in refusal(tmp_path / "large.png")
    else:
        assert picture(tmp_path / "large.png", 8).shape == (64,)


@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16"])
def test_a_photograph_is_read_at_any_size(tmp_path: Path, plain: Tensor, mode: str) -> None:
    large = digit().resize((2000, 2000), Image.Resampling.BILINEAR)
    if mode == "I;16":
        large = Image.fromarray(np.asarray(large).astype(np.uint16) * 200)
    large.convert(mode).save(tmp_path / "large.png", compress_level=1)
    assert (picture(tmp_path / "large.png", 28) - plain).abs().mean() < 0.02


def test_animations_are_refused_and_a_photograph_with_a_preview_is_read(tmp_path: Path, plain: Tensor) -> None:
    for ending in ("gif", "png", "webp", "tif"):
        path = tmp_path / f"moving.{ending}"
        digit().save(path, save_all=True, append_images=[inverted(digit()), digit(5)])
        assert "it holds 3 frames" in refusal(path)
    digit().convert("RGB").save(tmp_path / "phone.mpo", save_all=True, append_images=[Image.new("RGB", (20, 20))])
    torch.testing.assert_close(picture(tmp_path / "phone.mpo", 28), plain, atol=0.05, rtol=0)


def test_threads_leave_the_filters_of_warnings_as_they_were(tmp_path: Path) -> None:
    digit().save(tmp_path / "picture.png")
    before = list(warnings.filters)
    threads = [
        threading.Thread(target=lambda: [picture(tmp_path / "picture.png", 28) for _ in range(5)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_networks_of_other_images_take_pictures_whole(tmp_path: Path) -> None:
    """Nothing is cut or counted: what a data set of one's own shows is not known."""
    image = typed("42", "white").resize((50, 32))
    image.save(tmp_path / "two.png")
    x = picture(tmp_path / "two.png", (16, 25), single=False).view(16, 25)
    means = torch.tensor(np.asarray(image)).float().view(16, 2, 25, 2).mean((1, 3)) / 255
    torch.testing.assert_close(x, means, atol=0.003, rtol=0)
    own = torch.randint(256, (16, 25), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    Image.fromarray(own.numpy()).save(tmp_path / "own.png")
    read = picture(tmp_path / "own.png", (16, 25), single=False, paper=0.5)
    torch.testing.assert_close(read, own.flatten() / 255)


@pytest.mark.parametrize("paper", [0.0, 0.5, 1.0])
def test_a_picture_is_inverted_where_its_paper_is_not_the_trainings(tmp_path: Path, paper: float) -> None:
    for path, image in ((tmp_path / "dark.png", digit()), (tmp_path / "light.png", inverted(digit()))):
        image.save(path)
    dark, light = (picture(tmp_path / f"{name}.png", SIDE, single=False, paper=paper) for name in ("dark", "light"))
    own = torch.tensor(np.asarray(digit())).flatten() / 255
    torch.testing.assert_close(dark, 1 - own if paper == 1 else own)
    torch.testing.assert_close(light, own if paper == 0 else 1 - own)


def test_a_picture_of_another_ratio_keeps_its_own_on_its_paper(tmp_path: Path) -> None:
    inverted(digit()).save(tmp_path / "square.png")
    x = picture(tmp_path / "square.png", (SIDE, 2 * SIDE), single=False, paper=1.0).view(SIDE, 2 * SIDE)
    own = torch.tensor(np.asarray(inverted(digit()))) / 255
    torch.testing.assert_close(x[:, SIDE // 2 : -SIDE // 2], own)
    assert (x[:, : SIDE // 2] == 1).all()
    assert (x[:, -SIDE // 2 :] == 1).all()

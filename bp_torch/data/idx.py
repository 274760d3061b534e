"""The IDX format of MNIST and its kin, read strictly: what a file says about itself must be so to the last byte.

An IDX file is the bytes 0, 0, type, number of dimensions; then each dimension as a big-endian uint32; then the values,
the last dimension running fastest. Only type 8, unsigned bytes, is read here: it is the type of all these data sets.
Source: Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits", section "The IDX file format".
"""

import math
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import torch
from torch import Tensor

from bp_torch import checks
from bp_torch.data import download
from bp_torch.errors import DataError

PREFIXES = {"train": "train", "test": "t10k"}
UNSIGNED_BYTE = 8
CHUNK = 1 << 18  # bytes read, or inflated, at a time


class _Opened(NamedTuple):
    """An IDX file whose header has been read and agrees with the file's size: `pieces` are the values still to come."""

    path: Path
    shape: tuple[int, ...]
    pieces: Iterator[bytes]


def idx(folder: str | Path, split: str, *, device: str | torch.device = "cpu") -> tuple[Tensor, Tensor]:
    """A data set of your own in MNIST's format: x (m, height · width) float32 in [0, 1], y (m,) int64.

    folder: holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte,
        plain or as .gz (which is read if both are there). Images of any one size; the classes are 0 to the largest
        label of the training set.
    split: "train" or "test" (the t10k files).

    Raises DataError, which names the file, where one is missing or is not what its header says.
    """
    checks.one_of("split", split, tuple(PREFIXES))
    device = checks.available_device(device)
    return as_examples(*images(folder, split), device)


def images(folder: str | Path, split: str) -> tuple[Tensor, Tensor]:
    """The same as the files have them, uint8: images (m, height, width) and labels (m,)."""
    folder = download.folder(folder)
    try:
        paths = {name: path for name in names(split) if (path := _present(folder, name))}
        missing = [name for name in names(split) if name not in paths]
        if missing:
            raise DataError(f"{folder} lacks {' and '.join(missing)} (plain or .gz): put the four IDX files there")
        pixels, labels = paths.values()
        known = _present(folder, names("train")[1])
        with pixels.open("rb") as pixels_file, labels.open("rb") as labels_file:
            x, y = pair((pixels, pixels_file), (labels, labels_file))
        if split == "test" and known is not None:
            with known.open("rb") as file:
                classes = int(_values(_opened(known, file, 1)).max()) + 1
            in_range(labels, y, classes, f"the training labels in {known.name} end there")
    except OSError as error:
        raise DataError(f"{error.filename or folder} can't be read: {error.strerror or error}") from error
    return x, y


def names(split: str) -> tuple[str, str]:
    """The names of a split's two files, images first, without .gz."""
    return f"{PREFIXES[split]}-images-idx3-ubyte", f"{PREFIXES[split]}-labels-idx1-ubyte"


def pair(images: tuple[Path, BinaryIO], labels: tuple[Path, BinaryIO]) -> tuple[Tensor, Tensor]:
    """The images (m, height, width) and labels (m,) of two open files, both uint8; inflated if the path ends in .gz.

    Both headers are read and compared before any pixel is. Raises DataError, or OSError if reading itself fails.
    """
    pixels, classes = _opened(*images, 3), _opened(*labels, 1)
    if pixels.shape[0] != classes.shape[0]:
        raise DataError(
            f"{pixels.path} holds {pixels.shape[0]} images and {classes.path} {classes.shape[0]} labels: "
            f"put two files there that belong together"
        )
    return _values(pixels), _values(classes)


def in_range(path: Path, labels: Tensor, classes: int, why: str) -> None:
    """Raises DataError if a label (m,) is not below the number of classes."""
    beyond = (labels >= classes).nonzero()
    if len(beyond):
        first = int(beyond[0])
        raise DataError(
            f"{path} holds the label {int(labels[first])} (example {first}), and labels run from 0 to {classes - 1}, "
            f"for {why}: correct the file"
        )


def as_examples(images: Tensor, labels: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """uint8 images (m, height, width) and labels (m,) as x (m, height · width) float32 in [0, 1] and y (m,) int64."""
    return images.flatten(1).to(device).to(torch.float32).div_(255), labels.to(device, torch.int64)


def _present(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / f"{name}.gz", folder / name) if path.is_file()), None)


def _opened(path: Path, file: BinaryIO, dimensions: int) -> _Opened:
    """Reads the header. What it promises is held to the file's size before a value is read or memory is asked for."""
    compressed = path.suffix == ".gz"
    size = _inflated_size(path, file) if compressed else os.fstat(file.fileno()).st_size
    pieces = _inflated(path, file) if compressed else iter(lambda: file.read(CHUNK), b"")
    start = b""
    while len(start) < 4 + 4 * dimensions and (piece := next(pieces, b"")):
        start += piece
    header, rest = start[: 4 + 4 * dimensions], start[4 + 4 * dimensions :]
    if len(header) >= 2 and header[:2] != b"\0\0":
        hint = "; it is a gzip file: add .gz to its name" if header[:2] == b"\x1f\x8b" else ""
        raise _damaged(path, f"is not an IDX file: it begins with the bytes {header[:4].hex(' ')}{hint}")
    if len(header) >= 3 and header[2] != UNSIGNED_BYTE:
        raise _damaged(path, f"holds values of the IDX type {header[2]}, and only 8, unsigned bytes, is read")
    if len(header) >= 4 and header[3] != dimensions:
        raise _damaged(path, f"has {header[3]} dimensions where {dimensions} belong")
    if len(header) < 4 + 4 * dimensions:
        raise _damaged(path, f"is truncated: it ends after {len(header)} bytes, within its header")
    shape = tuple(int.from_bytes(header[k : k + 4], "big") for k in range(4, len(header), 4))
    promised = len(header) + math.prod(shape)
    if size != promised:
        what = "is truncated or damaged" if compressed or size < promised else "has bytes after its end"
        says = "its gzip stream gives its size as" if compressed else "it holds"
        raise _damaged(path, f"{what}: its header, for {shape}, asks for {promised} bytes, and {says} {size}")
    if 0 in shape:
        raise _damaged(path, f"is empty: its header says {shape}")
    return _Opened(path, shape, _chained(rest, pieces))


def _chained(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from pieces


def _values(opened: _Opened) -> Tensor:
    """The values, uint8 in the header's shape. Memory grows with what is really there, never past what it said."""
    path, shape, pieces = opened
    promised, values = math.prod(shape), bytearray()
    for piece in pieces:
        values += piece
        if len(values) > promised:
            raise _damaged(path, f"has bytes after its end: its header says {shape}")
    if len(values) < promised:
        raise _damaged(path, f"is truncated: its header, for {shape}, asks for {promised - len(values)} bytes more")
    return torch.frombuffer(values, dtype=torch.uint8).view(shape)


def _inflated_size(path: Path, file: BinaryIO) -> int:
    """The size that a gzip file says its content has: its last four bytes (RFC 1952), so the size modulo 2³².

    A content of 4 GiB or more therefore never agrees with its IDX header, and is refused.
    """
    if file.read(2) != b"\x1f\x8b" or file.seek(0, os.SEEK_END) < 18:
        raise _damaged(path, "is not a whole gzip file; if it is an extracted one, take .gz off its name")
    file.seek(-4, os.SEEK_END)
    size = int.from_bytes(file.read(4), "little")
    file.seek(0)
    return size


def _inflated(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """The content of a gzip file in pieces of at most CHUNK bytes, inflated as they are asked for: no bomb."""
    inflate = zlib.decompressobj(wbits=31)  # gzip's own header and checksum, and nothing else
    try:
        while not inflate.eof:
            taken = inflate.unconsumed_tail or file.read(CHUNK)
            piece = inflate.decompress(taken, CHUNK)
            if piece:
                yield piece
            elif not taken and not inflate.eof:
                raise _damaged(path, "is truncated: its gzip stream ends early")
    except zlib.error as error:
        raise _damaged(path, f"is a damaged gzip file ({error})") from error
    if inflate.unused_data or file.read(1):
        raise _damaged(path, "has bytes after the end of its gzip stream")


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"{path} {what}. Put a whole IDX file in its place")

"""The IDX reader: what is right is read exactly, and each fault of a file ends in one DataError that names it."""

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from idxfiles import compressed, examples, files, idx_bytes, write

import bp_torch as bp

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def refusal(folder: Path, split: str = "train") -> str:
    with pytest.raises(bp.DataError) as caught:
        bp.data.idx(folder, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("shape", [(28, 28), (3, 5), (1, 1)], ids=str)
@pytest.mark.parametrize(("split", "name"), [("train", "train"), ("test", "t10k")])
def test_any_folder_of_four_idx_files_is_read(
    tmp_path: Path, split: str, name: str, shape: tuple[int, int], packed: bool
) -> None:
    content = files(*shape)
    x, y = bp.data.idx(write(tmp_path, compressed(content) if packed else content), split)
    images, labels = examples(name, *shape)
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert torch.equal(x, images.flatten(1).float() / 255)
    assert torch.equal(y, labels.long())


def test_more_than_ten_classes(tmp_path: Path) -> None:
    labels = torch.arange(30, dtype=torch.uint8) + 226
    write(tmp_path, files() | {LABELS: idx_bytes(labels)})
    assert bp.data.idx(tmp_path, "train")[1].max() == 255


def test_the_gz_is_read_where_an_extracted_file_lies_beside_it(tmp_path: Path) -> None:
    content = files()
    write(tmp_path, compressed(content) | {IMAGES: content[IMAGES][:-1], LABELS: b""})
    assert torch.equal(bp.data.idx(tmp_path, "train")[1], examples("train")[1].long())


FAULTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "is truncated: it ends after 0 bytes"),
    "wrong magic": (lambda data: b"\0\1" + data[2:], "is not an IDX file: it begins with the bytes 00 01 08"),
    "text": (lambda data: b"<html>404</html>", "is not an IDX file"),
    "wrong type": (lambda data: data[:2] + b"\x0d" + data[3:], "IDX type 13"),
    "wrong number of dims": (lambda data: data[:3] + b"\2" + data[4:], "has 2 dimensions where"),
    "a dim one too large": (lambda data: data[:7] + bytes([data[7] + 1]) + data[8:], "is truncated"),
    "a dim one too small": (lambda data: data[:7] + bytes([data[7] - 1]) + data[8:], "has bytes after its end"),
    "no examples": (lambda data: data[:4] + bytes(4) + data[8 : 4 + 4 * data[3]], "is empty"),
    "2**32-1 dims": (lambda data: data[:4] + b"\xff" * 4 * data[3] + data[4 + 4 * data[3] :], "4294967295"),
    "trailing byte": (lambda data: data + b"\0", "has bytes after its end"),
    "last byte missing": (lambda data: data[:-1], "is truncated"),
    "compressed under a plain name": (gzip.compress, "it is a gzip file: add .gz to its name"),
}


@pytest.mark.parametrize("which", [IMAGES, LABELS])
@pytest.mark.parametrize("fault", FAULTS)
def test_idx_file_fault_names_the_file_and_the_remedy(tmp_path: Path, fault: str, which: str) -> None:
    damage, message = FAULTS[fault]
    content = files()
    write(tmp_path, content | {which: damage(content[which])})
    words = refusal(tmp_path)
    assert str(tmp_path / which) in words
    assert message in words
    assert "Put a whole IDX file in its place" in words


@pytest.mark.parametrize("which", [IMAGES, LABELS])
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if "compressed" not in fault])
def test_idx_fault_within_a_gz_names_the_file(tmp_path: Path, fault: str, which: str) -> None:
    content = files()
    write(tmp_path, compressed(content | {which: FAULTS[fault][0](content[which])}))
    assert str(tmp_path / f"{which}.gz") in refusal(tmp_path)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_idx_file_truncated_at_every_byte(tmp_path: Path, packed: bool) -> None:
    """Images of 2×2 pixels, so that every length can be tried: header, values, and the gzip stream's own parts."""
    content = files(2, 2)
    whole = compressed(content) if packed else content
    write(tmp_path, whole)
    for which in (IMAGES, LABELS):
        path = tmp_path / (f"{which}.gz" if packed else which)
        for length in range(len(whole[path.name])):
            path.write_bytes(whole[path.name][:length])
            assert str(path) in refusal(tmp_path)
        path.write_bytes(whole[path.name])
    bp.data.idx(tmp_path, "train")


def test_gz_with_any_byte_flipped_is_refused_or_read_equal(tmp_path: Path) -> None:
    whole = compressed(files(2, 2))
    path = write(tmp_path, whole) / f"{LABELS}.gz"
    expected = bp.data.idx(tmp_path, "train")[1]
    for at in range(len(whole[path.name])):
        damaged = bytearray(whole[path.name])
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        try:
            assert torch.equal(bp.data.idx(tmp_path, "train")[1], expected)  # the header's time and system, say
        except bp.DataError as error:
            assert str(path) in str(error)  # noqa: PT017 (both ends are right)


@pytest.mark.parametrize(
    "tail", [b"\0", b"\0" * 600, b"rubbish", gzip.compress(b"", mtime=0), gzip.compress(b"more", mtime=0)]
)
def test_trailing_bytes_after_a_gz_are_refused(tmp_path: Path, tail: bytes) -> None:
    whole = compressed(files())
    write(tmp_path, whole | {f"{LABELS}.gz": whole[f"{LABELS}.gz"] + tail})
    assert str(tmp_path / f"{LABELS}.gz") in refusal(tmp_path)


def test_a_plain_file_named_gz_is_refused(tmp_path: Path) -> None:
    content = files()
    write(tmp_path, compressed(content) | {f"{IMAGES}.gz": content[IMAGES]})
    assert "is not a whole gzip file; if it is an extracted one, take .gz off its name" in refusal(tmp_path)


def test_images_other_than_labels_in_number(tmp_path: Path) -> None:
    write(tmp_path, files() | {LABELS: idx_bytes(examples("train")[1][:29])})
    words = refusal(tmp_path)
    assert f"{tmp_path / IMAGES} holds 30 images and {tmp_path / LABELS} 29 labels" in words


def test_a_test_label_that_training_never_saw(tmp_path: Path) -> None:
    labels = examples("t10k")[1]
    labels[5] = 10
    write(tmp_path, files() | {"t10k-labels-idx1-ubyte": idx_bytes(labels)})
    words = refusal(tmp_path, "test")
    assert f"{tmp_path / 't10k-labels-idx1-ubyte'} holds the label 10 (example 5)" in words
    assert "from 0 to 9" in words


def test_missing_files_are_named(tmp_path: Path) -> None:
    words = refusal(tmp_path / "nowhere")
    assert f"{tmp_path / 'nowhere'} lacks {IMAGES} and {LABELS} (plain or .gz)" in words
    write(tmp_path, files())
    (tmp_path / LABELS).unlink()
    assert f"{tmp_path} lacks {LABELS} " in refusal(tmp_path)
    (tmp_path / LABELS).mkdir()
    assert f"{tmp_path} lacks {LABELS} " in refusal(tmp_path)


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    assert refusal(tmp_path / ("n" * 300)).endswith(" can't be read: File name too long")


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="unknown split 'valid'"):
        bp.data.idx("data", "valid")
    with pytest.raises(ValueError, match="unknown device"):
        bp.data.idx("data", "train", device="tpu")


# Memory is measured where it is used: in a process of its own, by the peak the kernel saw. One process tries all.
PEAK = """
import resource, sys
import bp_torch as bp
for folder in sys.argv[1:]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        bp.data.idx(folder, "train")
    except bp.DataError as error:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""
BOMB = 1 << 28  # bytes that the bombs inflate to
ABSURD = [(30, 2**32 - 1, 2**32 - 1), (30, 2**31 - 1, 2), (30, 20_000, 20_000), (2**32 - 1, 2**32 - 1, 2**32 - 1)]


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """By case: by how many KiB the peak of memory rose, and the message."""
    root = tmp_path_factory.mktemp("memory")
    content = files()
    stream = bytearray(gzip.compress(content[IMAGES][:16] + bytes(BOMB), compresslevel=1))
    for name, size in {"honest bomb": 16 + BOMB, "lying bomb": 16 + 30 * 28 * 28}.items():  # as its trailer claims
        stream[-4:] = size.to_bytes(4, "little")
        write(root / name, compressed(content) | {f"{IMAGES}.gz": bytes(stream)})
    for shape in ABSURD:
        header = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in shape)
        absurd = content | {IMAGES: header + bytes(1000)}
        write(root / f"plain {shape}", absurd)
        write(root / f"gz {shape}", compressed(absurd))
    folders = sorted(root.iterdir())
    done = subprocess.run([sys.executable, "-c", PEAK, *folders], capture_output=True, text=True, check=True)
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    return {folder.name: (int(peak), words) for folder, (peak, words) in zip(folders, lines, strict=True)}


@pytest.mark.parametrize("trailer", ["honest", "lying"])
def test_gzip_bomb_is_refused_in_bounded_memory(refusals: dict[str, tuple[int, str]], trailer: str) -> None:
    peak, words = refusals[f"{trailer} bomb"]
    assert f"{IMAGES}.gz" in words
    assert peak < 8 * 1024


@pytest.mark.parametrize("packed", ["plain", "gz"])
@pytest.mark.parametrize("shape", ABSURD, ids=str)
def test_absurd_dims_are_refused_before_memory_is_asked_for(
    refusals: dict[str, tuple[int, str]], shape: tuple[int, int, int], packed: str
) -> None:
    peak, words = refusals[f"{packed} {shape}"]
    assert IMAGES in words
    assert peak < 8 * 1024

"""MNIST through torchvision's own code: four small IDX files, served by a web server on this machine."""

import gzip
import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torchvision.datasets import MNIST

import bp_torch as bp

SIZES = {"train": 30, "t10k": 12}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is the base class's)
        pass


def _idx(tensor: torch.Tensor) -> bytes:
    """A uint8 tensor in the IDX format: magic (0, 0, 8 for uint8, dimensions), each size big-endian, the bytes."""
    header = bytes([0, 0, 8, tensor.ndim]) + b"".join(n.to_bytes(4, "big") for n in tensor.shape)
    return gzip.compress(header + tensor.numpy().tobytes())


def _images(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(SIZES[name])
    images = torch.randint(256, (SIZES[name], 28, 28), generator=rng, dtype=torch.uint8)
    return images, torch.randint(10, (SIZES[name],), generator=rng, dtype=torch.uint8)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A web server with the four files, which torchvision takes for its only mirror; yields the served folder."""
    served = tmp_path / "served"
    served.mkdir()
    resources = []
    for name in SIZES:
        for tensor, kind in zip(_images(name), ("images-idx3", "labels-idx1"), strict=True):
            path = served / f"{name}-{kind}-ubyte.gz"
            path.write_bytes(_idx(tensor))
            resources.append((path.name, hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    monkeypatch.setattr(MNIST, "resources", resources)
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(("split", "name"), [("train", "train"), ("test", "t10k")])
def test_downloaded_extracted_and_read(mirror: Path, tmp_path: Path, split: str, name: str) -> None:
    x, y = bp.data.mnist(split, root=tmp_path / "data")
    images, labels = _images(name)
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert torch.equal(x, images.reshape(-1, 784).float() / 255)
    assert torch.equal(y, labels.long())


def test_a_second_time_nothing_is_downloaded(mirror: Path, tmp_path: Path) -> None:
    first = bp.data.mnist("train", root=tmp_path / "data")
    for path in mirror.iterdir():
        path.unlink()
    again = bp.data.mnist("train", root=tmp_path / "data")
    assert torch.equal(first[0], again[0])


def test_files_put_there_by_hand_need_no_network(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in mirror.iterdir():
        path.rename(raw / path.name)
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    assert bp.data.mnist("test", root=tmp_path / "data")[0].shape == (12, 784)


@pytest.mark.parametrize("fault", ["no network", "refused", "corrupt"])
def test_one_error_says_what_was_tried_and_what_to_do(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    if fault == "no network":
        monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])  # the discard port: nobody listens
    for path in mirror.iterdir():
        if fault == "refused":
            path.unlink()
        if fault == "corrupt":
            path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(bp.DataError) as caught:
        bp.data.mnist("train", root=tmp_path / "data")
    message = str(caught.value)
    assert f"Tried {MNIST.mirrors[0]}" in message
    assert "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz" in message
    assert str(tmp_path / "data" / "MNIST" / "raw") in message
    assert "python scripts/train.py --dataset digits" in message
    assert "\n" not in message


def test_unknown_split() -> None:
    with pytest.raises(ValueError, match="unknown split 'valid': choose one of train, test"):
        bp.data.mnist("valid")

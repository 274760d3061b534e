"""MNIST and its kin through torchvision's downloads: small IDX files, served by a web server on this machine."""

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from idxfiles import Server, compressed, examples, files, idx_bytes, resources, serving, write
from torchvision import datasets
from torchvision.datasets import MNIST

import bp_torch as bp
from bp_torch.data import download

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
CONTENT = files()
SERVED = compressed(CONTENT)
NOBODY = "http://127.0.0.1:9/"  # the discard port: nobody listens
SETS = {"MNIST": bp.data.mnist, "FashionMNIST": bp.data.fashion_mnist, "KMNIST": bp.data.kmnist}


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A web server with the four files, which torchvision takes for its only mirror of each set."""
    with serving(dict(SERVED)) as server:
        for name in SETS:
            monkeypatch.setattr(getattr(datasets, name), "mirrors", [server.url])
            monkeypatch.setattr(getattr(datasets, name), "resources", resources(server.served))
        yield server


def right(loaded: tuple[torch.Tensor, torch.Tensor], name: str = "train") -> bool:
    images, labels = examples(name)
    return torch.equal(loaded[0], images.flatten(1).float() / 255) and torch.equal(loaded[1], labels.long())


def litter(root: Path) -> list[str]:
    """What lies under the root beside the four files and the lock."""
    paths = (path for path in root.rglob("*") if path.is_file())
    return sorted(path.name for path in paths if path.name not in (*SERVED, ".download.lock"))


@pytest.mark.parametrize("dataset", SETS)
@pytest.mark.parametrize(("split", "name"), [("train", "train"), ("test", "t10k")])
def test_downloaded_and_read(mirror: Server, tmp_path: Path, dataset: str, split: str, name: str) -> None:
    x, y = SETS[dataset](split, root=tmp_path / "data")
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert right((x, y), name)
    assert (tmp_path / "data" / dataset / "raw" / IMAGES).is_file()
    assert litter(tmp_path) == []


def test_a_second_time_nothing_is_downloaded(mirror: Server, tmp_path: Path) -> None:
    bp.data.mnist("train", root=tmp_path / "data")
    before = dict(mirror.asked)
    assert right(bp.data.mnist("train", root=tmp_path / "data"))
    assert right(bp.data.mnist("test", root=tmp_path / "data"), "t10k")
    assert mirror.asked == before


def test_files_put_there_by_hand_need_no_network(mirror: Server, tmp_path: Path) -> None:
    write(tmp_path / "data" / "MNIST" / "raw", {name: data for name, data in SERVED.items() if "t10k" in name})
    assert right(bp.data.mnist("test", root=tmp_path / "data"), "t10k")
    assert not mirror.asked
    assert not (tmp_path / "data" / "MNIST" / ".download.lock").exists()  # the folder may be read-only


# A cache as torchvision leaves it, with damage, and what must be asked of the mirror.
DAMAGE = {
    "empty gz": {IMAGES: b""},
    "half-written gz": {IMAGES: SERVED[IMAGES][:5000]},
    "a flipped byte in a gz": {IMAGES: SERVED[IMAGES][:5000] + b"\0" + SERVED[IMAGES][5001:]},
    "a web page in place of a gz": {LABELS: b"<html>please log in</html>"},
    "bytes after a gz": {LABELS: SERVED[LABELS] + b"\0"},
    "another valid gz": {LABELS: SERVED["t10k-labels-idx1-ubyte.gz"]},
}


@pytest.mark.parametrize("extracted", [False, True], ids=["gz only", "with extracted files"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_bad_cache_heals_itself(mirror: Server, tmp_path: Path, damage: str, extracted: bool) -> None:
    raw = write(tmp_path / "MNIST" / "raw", SERVED | DAMAGE[damage] | (CONTENT if extracted else {}))
    assert right(bp.data.mnist("train", root=tmp_path))
    assert set(mirror.asked) == set(DAMAGE[damage])
    assert all((raw / name).read_bytes() == data for name, data in SERVED.items())


@pytest.mark.parametrize("length", [0, 1, 15, 16, 5000])
def test_half_extracted_raw_file_is_never_read(mirror: Server, tmp_path: Path, length: int) -> None:
    """torchvision knows extracted files by their names alone; here they are derived from the verified .gz."""
    half = {name: data[:length] for name, data in CONTENT.items()}
    raw = write(tmp_path / "MNIST" / "raw", SERVED | half)
    assert right(bp.data.mnist("train", root=tmp_path))
    assert not (raw / "train-images-idx3-ubyte").exists()
    loaded = MNIST(tmp_path, train=True, download=True)  # which now extracts anew
    assert torch.equal(loaded.data, examples("train")[0])
    assert not mirror.asked


def test_half_extracted_raw_file_without_its_gz(mirror: Server, tmp_path: Path) -> None:
    write(tmp_path / "MNIST" / "raw", {name: data[:100] for name, data in CONTENT.items()})
    assert right(bp.data.mnist("train", root=tmp_path))
    assert set(mirror.asked) == set(SERVED)


def test_a_torchvision_cache_is_used(mirror: Server, tmp_path: Path) -> None:
    MNIST(tmp_path, download=True)
    mirror.asked.clear()
    assert right(bp.data.mnist("train", root=tmp_path))
    assert not mirror.asked
    assert torch.equal(MNIST(tmp_path).data, examples("train")[0])


def test_a_pickle_that_old_torchvisions_left_is_not_opened(mirror: Server, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    write(tmp_path / "MNIST" / "processed", {name: pickle.dumps(Evil()) for name in ("training.pt", "test.pt")})
    assert right(bp.data.mnist("train", root=tmp_path))
    assert not (tmp_path / "ran").exists()


def refusal(root: Path) -> str:
    with pytest.raises(bp.DataError) as caught:
        bp.data.mnist("train", root=root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("fault", ["no network", "refused", "corrupt", "cut"])
def test_one_error_says_what_was_tried_and_what_to_do(
    mirror: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    if fault == "no network":
        monkeypatch.setattr(MNIST, "mirrors", [NOBODY])
    elif fault == "refused":
        mirror.served.clear()
    elif fault == "corrupt":
        mirror.served |= {name: data[:-20] for name, data in SERVED.items()}
    else:
        mirror.fault = "cut"
    message = refusal(tmp_path / "data")
    assert f"Tried {MNIST.mirrors[0]}" in message
    assert "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz" in message
    assert str(tmp_path / "data" / "MNIST" / "raw") in message
    assert "python scripts/train.py --dataset digits" in message
    assert litter(tmp_path) == []
    assert not list(tmp_path.rglob("*.gz"))


def test_all_mirrors_errors_are_listed(mirror: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.served[IMAGES] = SERVED[LABELS]
    monkeypatch.setattr(MNIST, "mirrors", [NOBODY, f"{mirror.url}nowhere/", mirror.url, "nonsense:"])
    message = refusal(tmp_path)
    for mirror_url, what in zip(MNIST.mirrors, ("refused", "404", "corrupted", "unknown url type"), strict=True):
        words = message.split(f"Tried {mirror_url}: ")[1]
        assert what in words.split("Tried")[0]


def test_a_damaged_file_that_cant_be_replaced_is_named(
    mirror: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = write(tmp_path / "MNIST" / "raw", SERVED | {LABELS: b"half"})
    monkeypatch.setattr(MNIST, "mirrors", [NOBODY])
    assert f"{LABELS}: the one that is there is damaged" in refusal(tmp_path)
    assert (raw / LABELS).read_bytes() == b"half"


def test_the_next_mirror_is_asked(mirror: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MNIST, "mirrors", [NOBODY, f"{mirror.url}nowhere/", mirror.url])
    assert right(bp.data.mnist("train", root=tmp_path))


@pytest.mark.parametrize("fault", ["stall", "silent"])
def test_stalled_server_is_given_up_after_a_timeout(
    mirror: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    mirror.fault = fault
    assert "timed out" in refusal(tmp_path)
    assert socket.getdefaulttimeout() is None
    with serving(dict(SERVED)) as other:
        monkeypatch.setattr(MNIST, "mirrors", [mirror.url, other.url])
        assert right(bp.data.mnist("train", root=tmp_path))
    assert litter(tmp_path) == []


def test_killed_download_leaves_nothing_that_is_taken_for_whole(mirror: Server, tmp_path: Path) -> None:
    """The connection ends in the middle of each body: the next try asks again for all."""
    mirror.fault = "cut"
    refusal(tmp_path)
    mirror.fault = ""
    assert right(bp.data.mnist("train", root=tmp_path))


CHILDREN = """
import os, sys
from torchvision.datasets import MNIST
import bp_torch as bp
MNIST.mirrors, MNIST.resources = [sys.argv[1]], eval(sys.argv[2])
print("ready", flush=True)
while sys.stdin.readline() == "start\\n":
    child = os.fork()
    if not child:
        try:
            x, y = bp.data.mnist("train", root=sys.argv[3])
            os.write(1, f"{x.sum().item()} {y.sum().item()}\\n".encode())  # in one piece
        finally:
            os._exit(0)
    print(child, flush=True)
"""


def test_several_processes_download_once(mirror: Server, tmp_path: Path) -> None:
    """The first is killed -9 in the middle of a body; of the two that waited, one downloads and the other waits on."""
    command = [sys.executable, "-c", CHILDREN, mirror.url, repr(resources(SERVED)), str(tmp_path)]
    with subprocess.Popen(
        command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"

        def start() -> int:
            assert parent.stdin is not None
            assert parent.stdout is not None
            parent.stdin.write("start\n")
            parent.stdin.flush()
            return int(parent.stdout.readline())

        mirror.fault = "stall"
        first = start()
        while mirror.asked[IMAGES] < 2:  # torchvision asks each address twice: where it leads, then for the body
            time.sleep(0.01)
        start()
        start()
        time.sleep(0.3)
        assert mirror.asked == {IMAGES: 2}  # the others wait for the lock
        assert not list(tmp_path.rglob("raw/*.gz"))
        mirror.fault = "slow"
        os.kill(first, signal.SIGKILL)
        printed = [parent.stdout.readline() for _ in range(2)]
    x, y = examples("train")
    assert printed == [f"{(x.flatten(1).float() / 255).sum().item()} {int(y.sum())}\n"] * 2
    assert mirror.asked == {name: 4 if name == IMAGES else 2 for name in SERVED}
    assert litter(tmp_path) == []


@pytest.fixture
def official(mirror: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The small files as if they were the official ones, with their SHA-256 known."""
    known = {
        md5: download.Sha256(sha256(SERVED[name]).hexdigest(), sha256(CONTENT[name[:-3]]).hexdigest())
        for name, md5 in MNIST.resources
    }
    monkeypatch.setattr(download, "OFFICIAL", known)
    return mirror


def test_sha256_of_the_official_files_is_verified(
    official: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of the right MD5 is not enough where the SHA-256 is known, neither found nor downloaded."""
    assert right(bp.data.mnist("train", root=tmp_path / "good"))
    other = download.Sha256("0" * 64, "0" * 64)
    monkeypatch.setattr(download, "OFFICIAL", dict.fromkeys(download.OFFICIAL, other))
    write(tmp_path / "MNIST" / "raw", SERVED | CONTENT)
    message = refusal(tmp_path)
    assert f"Tried {official.url}: its {IMAGES} does not have the official SHA-256" in message


def test_extracted_official_files_are_known_by_their_content(
    official: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = write(tmp_path / "MNIST" / "raw", CONTENT)
    assert right(bp.data.mnist("train", root=tmp_path))
    assert not official.asked
    (raw / IMAGES[:-3]).write_bytes(CONTENT[IMAGES[:-3]][:-1] + b"\0")
    assert right(bp.data.mnist("train", root=tmp_path))  # downloaded again
    assert set(official.asked) == {IMAGES}


def test_extracted_files_that_cant_be_verified_are_left_to_idx(
    mirror: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = write(tmp_path / "MNIST" / "raw", CONTENT)
    monkeypatch.setattr(MNIST, "mirrors", [NOBODY])
    assert f"--dataset idx --data-dir {raw}" in refusal(tmp_path)
    assert right(bp.data.idx(raw, "train"))


def test_the_official_sha256_are_those_of_torchvisions_md5() -> None:
    known = {name: download.OFFICIAL[md5].compressed[:8] for name, md5 in MNIST.resources}
    assert list(known.values()) == ["440fcabf", "3552534a", "8d422c7b", "f7ae60f9"]
    assert all(len(bytes.fromhex(digest)) == 32 for pair in download.OFFICIAL.values() for digest in pair)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (LABELS, idx_bytes(torch.full((30,), 10, dtype=torch.uint8)), "holds the label 10 (example 0)"),
        (LABELS, idx_bytes(torch.zeros(29, dtype=torch.uint8)), "holds 30 images and"),
        (IMAGES, idx_bytes(torch.zeros(30, 28, 27, dtype=torch.uint8)), "holds images of (28, 27) pixels, not 28×28"),
        (IMAGES, b"\0\0\x09\3" + CONTENT[IMAGES[:-3]][4:], "IDX type 9"),
    ],
    ids=["label 10", "images other than labels", "wrong dims", "wrong type"],
)
def test_content_that_is_not_the_sets(
    mirror: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes, message: str
) -> None:
    """A mirror of one's own whose checksums are right and whose files are not."""
    mirror.served |= compressed({name[:-3]: data})
    monkeypatch.setattr(MNIST, "resources", resources(mirror.served))
    words = refusal(tmp_path)
    assert message in words
    assert str(tmp_path / "MNIST" / "raw" / name) in words


def test_a_file_in_the_way_of_the_folder(mirror: Server, tmp_path: Path) -> None:
    (tmp_path / "MNIST").write_text("in the way")
    assert str(tmp_path / "MNIST" / "raw") in refusal(tmp_path)


def test_unknown_split() -> None:
    with pytest.raises(ValueError, match="unknown split 'valid': choose one of train, test"):
        bp.data.mnist("valid")

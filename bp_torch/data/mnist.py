"""MNIST, Fashion-MNIST and KMNIST: found in torchvision's folders or downloaded by torchvision, read by `idx`."""

import shlex
from contextlib import ExitStack, suppress
from pathlib import Path

import torch
from torch import Tensor

from bp_torch import checks
from bp_torch.data import download
from bp_torch.data.idx import PREFIXES, as_examples, in_range, names, pair
from bp_torch.errors import DataError

SIDE, CLASSES = 28, 10


def mnist(split: str, *, root: str | Path = "data", device: str | torch.device = "cpu") -> tuple[Tensor, Tensor]:
    """The MNIST digits of 28×28 pixels: x (m, 784) float32 in [0, 1], y (m,) int64.

    split: "train" (60,000 digits) or "test" (10,000). root: the folder that holds MNIST/raw, or gets it by download.

    The four .gz files are held to their official SHA-256 each time, and downloaded again if one is not whole. Several
    processes may do so at once: one downloads, the others wait.
    Raises DataError where the files are neither there nor to be had; no other data set is ever put in their place.
    Source: Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits".
    """
    return _load("MNIST", split, root, device)


def fashion_mnist(
    split: str, *, root: str | Path = "data", device: str | torch.device = "cpu"
) -> tuple[Tensor, Tensor]:
    """Pictures of ten kinds of clothing, in MNIST's sizes and by the same path, under root/FashionMNIST/raw.

    The files are held to torchvision's MD5. Source: H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST" (2017).
    """
    return _load("FashionMNIST", split, root, device)


def kmnist(split: str, *, root: str | Path = "data", device: str | torch.device = "cpu") -> tuple[Tensor, Tensor]:
    """Ten handwritten Japanese characters, in MNIST's sizes and by the same path, under root/KMNIST/raw.

    The files are held to torchvision's MD5. Source: T. Clanuwat et al., "Deep Learning for Classical Japanese
    Literature" (2018).
    """
    return _load("KMNIST", split, root, device)


def _load(name: str, split: str, root: str | Path, device: str | torch.device) -> tuple[Tensor, Tensor]:
    checks.one_of("split", split, tuple(PREFIXES))
    device = checks.available_device(device)
    try:
        from torchvision import datasets
    except ImportError as error:
        raise DataError(f"{name} is loaded by torchvision, which is not installed: pip install torchvision") from error
    described = getattr(datasets, name)  # asked at each call: its mirrors and resources may be set by the caller
    raw = download.folder(root) / name / "raw"
    try:
        both = _read(raw, split, described.resources)
        if both is None:
            download.fetch(raw, described.resources, described.mirrors)
            both = _read(raw, split, described.resources)
        if both is None:
            raise OSError(f"the files in {raw} were changed while they were read: try again")
    except OSError as error:
        raise DataError(_advice(name, raw, [file for file, _ in described.resources], error)) from error
    return as_examples(*both, device)


def _read(raw: Path, split: str, resources: list[tuple[str, str]]) -> tuple[Tensor, Tensor] | None:
    """Images and labels of a split, uint8, if both of its files are there and verified."""
    md5 = dict(resources)
    with ExitStack() as stack:
        files = []
        for name in names(split):
            file = download.opened(raw, f"{name}.gz", md5[f"{name}.gz"])
            if file is None:
                return None
            stack.enter_context(file[1])
            files.append(file)
        images, labels = files
        x, y = pair(images, labels)
    if x.shape[1:] != (SIDE, SIDE):
        raise DataError(f"{images[0]} holds images of {tuple(x.shape[1:])} pixels, not {SIDE}×{SIDE}: correct the file")
    in_range(labels[0], y, CLASSES, f"there are {CLASSES} classes")
    for (path, _), tensor in zip((images, labels), (x, y), strict=True):
        _forget_damaged(path, 4 + 4 * tensor.ndim + tensor.numel())
    return x, y


def _forget_damaged(path: Path, size: int) -> None:
    """Deletes what lies beside a verified .gz as its extracted file and has another size: half of it, say.

    Nothing here reads it, but torchvision would: it goes by the name, and extracts anew where there is none.
    """
    extracted = path.with_suffix("")
    with suppress(OSError):  # where the folder can't be written, it stays
        if extracted != path and extracted.stat().st_size != size:
            extracted.unlink()


def _advice(name: str, raw: Path, files: list[str], error: OSError) -> str:
    return (
        f"{name} could not be loaded from {raw} or downloaded into it. What was tried: {' '.join(str(error).split())}. "
        f"To use it without a network, put the four files {', '.join(files)} into {raw.absolute()}; extracted files "
        f"whose origin can't be verified are read by --dataset idx --data-dir {shlex.quote(str(raw))}. "
        f"To train without a download: python scripts/train.py --dataset digits"
    )

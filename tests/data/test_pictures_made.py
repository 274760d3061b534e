"""Pictures as people have them: the digit is found in each, and reads as the digit by itself does."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pictures_made import CONDITIONS, made

import bp_torch as bp
from bp_torch.data.pictures import Seen

MNIST = Path(__file__).parent.parent.parent / "data"
EMBEDDED, LABELS = bp.data.digits("test")
LARGE = "12 megapixels"
LEAST = {"pencil": 0.5, LARGE: 0.7}  # correlation with the plain digit; strokes are thin there
MAY_BE_REFUSED = {"three large specks": 1}  # a crisp speck beside an 8 × 8 digit, which is blurred, may seem the digit


def digit(number: int) -> np.ndarray:
    """An embedded digit as MNIST has its own: 20 of 28 pixels."""
    inner = torch.nn.functional.interpolate(EMBEDDED[number].view(1, 1, 8, 8), size=(20, 20), mode="bicubic")
    return np.pad(inner[0, 0].clamp(0, 1).numpy(), 4)


def seen(path: Path, condition: str, ink: np.ndarray, seed: int) -> Seen:
    image, ending, settings = made(condition, ink, seed)
    image.save(path / f"picture.{ending}", **settings)
    return bp.data.seen(path / f"picture.{ending}", 28)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_digit_is_found_in_pictures_of_every_condition(tmp_path: Path, condition: str) -> None:
    """What is read is like the plain digit; a stroke may be thicker or thinner, and the digit turned."""
    alike, refused = [], 0
    for number in range(1 if condition == LARGE else 3):
        plain = seen(tmp_path, "tenfold", digit(number), 0).x
        try:
            read = seen(tmp_path, condition, digit(number), number)
        except bp.DataError:
            refused += 1
            continue
        alike.append(float(torch.corrcoef(torch.stack([plain, read.x]))[0, 1]))
        assert 0 <= read.box[0] < read.box[2] <= 1
        assert 0 <= read.box[1] < read.box[3] <= 1
    assert refused <= MAY_BE_REFUSED.get(condition, 0)
    assert min(alike) > LEAST.get(condition, 0.9)


@pytest.mark.slow
@pytest.mark.skipif(not (MNIST / "MNIST" / "raw").is_dir(), reason="MNIST is not in data/")
def test_mnist_digits_are_read_in_every_condition(tmp_path: Path) -> None:
    net = bp.Network.create([784, 512, 512, 10], hidden="relu", cost="softmax_cross_entropy", seed=0)
    schedule = bp.schedules.cosine(1e-3)
    train = bp.data.mnist("train", root=MNIST)
    bp.fit(net, train, epochs=15, batch_size=128, optimizer="adam", lr=schedule, dropout=(0.2, 0.5), threads=1)
    x, y = (part[:200] for part in bp.data.mnist("test", root=MNIST))
    for condition in CONDITIONS:
        count = 20 if condition == LARGE else len(x)
        read = []
        for number, row in enumerate(x[:count]):
            try:
                view = seen(tmp_path, condition, row.view(28, 28).numpy(), number)
                read.append(int(net.predict(view.x[None])))
            except bp.DataError:
                read.append(-1)
        share = float((torch.tensor(read) == y[:count]).float().mean())
        assert share >= 0.9, condition

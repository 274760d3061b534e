"""What a user has made torch's default device and dtype changes nothing: not a bit, and not a device."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import bp_torch as bp
from bp_torch import checks
from bp_torch.data import named
from bp_torch.insight import big_picture, feedback, learning_speed, observe, per_example, speed
from bp_torch.insight.experiments import neurons
from bp_torch.training import engines


def _examples() -> tuple[Tensor, Tensor]:
    x, y = bp.data.digits("train")
    return x[:50], y[:50]


def _training(engine: str, **more: Any) -> list[Any]:
    net = bp.Network.create([64, 8, 10], cost="softmax_cross_entropy", seed=1)
    records = list(bp.train(net, _examples(), epochs=2, batch_size=7, validation=_examples(), engine=engine, **more))
    assert all(record.validation_accuracy is not None for record in records)
    return [net.layers, [(r.cost, r.validation_cost) for r in records], net.predict(_examples()[0])]


def _per_example(_: Path) -> list[Any]:
    net, (x, y) = bp.Network.create([64, 8, 10], hidden="relu", seed=1), _examples()
    pairs = (x[:20], y[:20]), (x[20:], y[20:])
    return [
        per_example.gradient_norms(net, x, y),
        per_example.clipped_sum(net, x, y, 0.1),
        per_example.second_moment(net, x, y),
        per_example.noise_scale(net, x, y),
        per_example.gram(net, x, y),
        per_example.ntk(net, x[:4]),
        per_example.influence(net, *pairs),
        per_example.top_influences(net, *pairs, k=3),
        bp.backprop(net, x, y),
        net.gradients(x, y),
        bp.stack([net, net]).cost(x, y),
    ]


def _insight(_: Path) -> list[Any]:
    net, (x, y) = bp.Network.create([64, 8, 10], seed=1), _examples()
    double = net.to(torch.float64)
    return [
        bp.check(double, x[:5].double(), y[:5]).rows,
        big_picture.cost_changes(net, x, y, (0, 1, 2), [1e-2]),
        feedback.angles(net, x, y, feedback.feedback_alignment(net)),
        learning_speed.error_norms(net, x, y),
        learning_speed.slopes(net, x, y, 0),
        observe.observe(net, (x, y), (x[:3], y[:3])),
        observe.examples_to_follow(y),
        observe.examples_to_follow(x),
        observe.spread(50, 7),
        sorted(observe.epochs_to_keep(100)),
        speed.differences(net, x[:2], checks.one_hot(y[:2], 10, x.dtype), [0, 5]),
        neurons.big_picture(0).numbers,
        neurons.saturation(0).numbers,
    ]


def _data(folder: Path) -> list[Any]:
    cells = [f"{i * 5 % 61},{i * i % 7}" for i in range(60)]
    (folder / "t.csv").write_text("a,b,kind\n" + "".join(f"{some},{'xyz'[i % 3]}\n" for i, some in enumerate(cells)))
    (folder / "r.csv").write_text("a,b,price\n" + "".join(f"{some},{i / 7}\n" for i, some in enumerate(cells)))
    drawn = Image.new("L", (40, 30))
    drawn.paste(255, (10, 5, 16, 25))
    drawn.save(folder / "one.png")
    tables = [named.load(str(folder / f"{t}.csv"), "train", target=c) for t, c in (("t", "kind"), ("r", "price"))]
    return [bp.data.digits("test"), bp.data.picture(folder / "one.png", 28), [(each.x, each.y) for each in tables]]


def _run(folder: Path) -> list[Any]:
    config = bp.runs.Config(dataset="digits", hidden=4, recipe=bp.Recipe(epochs=1))
    with bp.runs.begin(config, folder / "run") as session:
        list(bp.runs.train(session))
    run = bp.runs.read(folder / "run")
    assert bp.runs.report(folder / "run").is_file()
    optimizer = torch.optim.SGD([t for layer in run.net.layers for t in layer], lr=0.1, momentum=0.9)
    bp.save(folder / "net.safetensors", run.net, position=run.position, optimizer=optimizer)
    return [run.net.layers, bp.load_checkpoint(folder / "net.safetensors").net.layers, run.position]


WORKS: dict[str, Callable[[Path], list[Any]]] = {
    "train, eager": lambda _: _training("eager"),
    "train, native": lambda _: _training("native"),
    "train, bf16": lambda _: _training("eager", precision="bf16"),
    "per_example": _per_example,
    "insight": _insight,
    "data": _data,
    "a run": _run,
}


@contextmanager
def _defaults(device: str, dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_device(device)
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
        torch.set_default_device(None)


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from _flat(each)
    else:
        yield value


@pytest.mark.parametrize("work", WORKS)
def test_torchs_default_device_and_dtype_change_nothing(
    tmp_path: Path, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device "meta" stands for "cuda": a tensor that was made there holds nothing and fits nothing."""
    monkeypatch.setattr(engines, "precision_missing", lambda net, precision: None)  # bf16: correct, if slow, on any CPU
    results = []
    for number, (device, dtype) in enumerate(
        [("cpu", torch.float32), ("meta", torch.float64), ("meta", torch.float16)]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        with _defaults(device, dtype):
            results.append(list(_flat(WORKS[work](folder))))
    wanted, *others = results
    for other in others:
        for mine, theirs in zip(wanted, other, strict=True):
            if isinstance(mine, Tensor):
                assert (mine.dtype, mine.device) == (theirs.dtype, theirs.device)
                assert torch.equal(mine.nan_to_num(), theirs.nan_to_num())
            else:
                assert mine == theirs or mine != mine

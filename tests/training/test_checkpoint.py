"""A network on disk comes back as it was, and nothing else is taken for one."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import bp_torch as bp
from bp_torch.training.checkpoint import FORMAT


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("cost", bp.COSTS)
def test_round_trip(tmp_path: Path, dtype: torch.dtype, cost: str) -> None:
    net = bp.Network.create([5, 4, 6, 3], hidden=["relu", "gelu"], cost=cost, seed=2, dtype=dtype)
    bp.save(tmp_path / "net.safetensors", net)
    found = bp.load(tmp_path / "net.safetensors")
    assert (found.sizes, found.activations, found.cost_function) == (net.sizes, net.activations, net.cost_function)
    for got, wanted in zip(found.layers, net.layers, strict=True):
        assert torch.equal(got.w, wanted.w)
        assert torch.equal(got.b, wanted.b)
        assert got.w.dtype == dtype
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_own_entries_cant_be_saved_by_name(tmp_path: Path) -> None:
    cube = bp.Activation("cube", lambda z: z**3, lambda z, a: 3 * z * z)
    impostor = bp.Activation("relu", lambda z: z, lambda z, a: torch.ones_like(a))
    for own in (cube, impostor):
        with pytest.raises(ValueError, match="save the tensors of net"):
            bp.save(tmp_path / "net.safetensors", bp.Network.create([5, 4, 3], hidden=own))
    assert not list(tmp_path.iterdir())


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.safetensors"
    bp.save(path, bp.Network.create([5, 3], seed=1))
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bp_torch.training.checkpoint.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        bp.save(path, bp.Network.create([5, 3], seed=2))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_not_a_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    with pytest.raises(FileNotFoundError, match="there is no network at"):
        bp.load(path)
    path.write_bytes(b"not a safetensors file")
    with pytest.raises(bp.CheckpointError, match="damaged or not a network"):
        bp.load(path)
    save_file({"w": torch.zeros(2)}, path)
    with pytest.raises(bp.CheckpointError, match="header does not say"):
        bp.load(path)
    bp.save(path, bp.Network.create([5, 4, 3]))
    tensors = load_file(path)
    header = {"format": FORMAT, "activations": '["sigmoid", "sigmoid"]', "cost": "quadratic", "sizes": "[5, 4, 3]"}
    for change in (
        {"sizes": "[5, 4, 2]"},
        {"activations": '["sigmoid"]'},
        {"activations": '["nope", "sigmoid"]'},
        {"activations": "7"},
        {"cost": "nope"},
    ):
        save_file(tensors, path, metadata={**header, **change})
        with pytest.raises(bp.CheckpointError):
            bp.load(path)
    save_file(tensors, path, metadata=header)
    assert bp.load(path).sizes == [5, 4, 3]

"""A network on disk comes back as it was, with where its training stands, and nothing else is taken for one."""

import errno
import json
import math
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bp_torch as bp
from bp_torch.saving import checkpoint, durable
from bp_torch.saving.checkpoint import newest

NAME = "net.safetensors"
JUNK: list[Any] = [None, 5, (5,), ((5,),), [[]]]


def _parameters(net: bp.Network) -> list[torch.Tensor]:
    return [t for layer in net.layers for t in layer]


def _small(path: Path) -> bytes:
    """A checkpoint with all that one can hold, for a network of [2, 1]."""
    net = bp.Network.create([2, 1], seed=1)
    optimizer = torch.optim.SGD(_parameters(net), lr=0.1, momentum=0.9)
    for t in _parameters(net):
        t.grad = torch.ones_like(t)
    optimizer.step()
    bp.save(path, net, position=bp.Position(3, 2, 0.25), settings={"seed": 5}, optimizer=optimizer)
    return path.read_bytes()


def _forged(tensors: dict[str, torch.Tensor], **change: object) -> bytes:
    """A file as `save` writes it, checksum and all, with other things in its header or other tensors."""
    network = {"sizes": [5, 4, 3], "dtype": "torch.float32", "activations": ["sigmoid"] * 2, "cost": "quadratic"}
    run: dict[str, Any] = {"position": [1, 0, 0.0, 0.0], "settings": {}, "optimizer": None}
    described = {"sha256": checkpoint.ZEROS, "format": checkpoint.FORMAT, "network": network, "run": run}
    for name, value in change.items():
        part = next((of for of in (network, run, described) if name in of), described)
        part[name] = value
    return checkpoint._sealed(safetensors.torch.save(tensors, metadata={"checkpoint": json.dumps(described)}))


def _tensors() -> dict[str, torch.Tensor]:
    return {"layers.0.w": torch.ones(4, 5), "layers.0.b": torch.ones(4)} | {
        "layers.1.w": torch.ones(3, 4),
        "layers.1.b": torch.ones(3),
    }


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("cost", bp.COSTS)
def test_round_trip(tmp_path: Path, dtype: torch.dtype, cost: str) -> None:
    net = bp.Network.create([5, 4, 6, 3], hidden=["relu", "gelu"], cost=cost, seed=2, dtype=dtype)
    bp.save(tmp_path / NAME, net)
    loaded = bp.load(tmp_path / NAME)
    assert (loaded.sizes, loaded.activations, loaded.cost_function) == (net.sizes, net.activations, net.cost_function)
    for got, wanted in zip(_parameters(loaded), _parameters(net), strict=True):
        assert torch.equal(got, wanted)
        assert got.dtype == dtype
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize("position", [bp.Position(7, 130, 0.1 + 0.2, 1 / 3), bp.Position(2, taken=12)], ids=str)
def test_where_the_training_stands_comes_back(tmp_path: Path, position: bp.Position) -> None:
    chosen = {"seed": 2**32 - 1, "lr": 0.1, "engine": "auto", "of": [1, {"two": None}]}
    bp.save(tmp_path / NAME, bp.Network.create([5, 3]), position=position, settings=chosen)
    loaded = bp.load_checkpoint(tmp_path / NAME)
    assert (loaded.position, loaded.settings, loaded.optimizer) == (position, chosen, None)


OPTIMISERS: list[tuple[type[torch.optim.Optimizer], dict[str, Any]]] = [
    (torch.optim.SGD, dict(lr=0.1)),
    (torch.optim.SGD, dict(lr=0.1, momentum=0.9, nesterov=True)),
    (torch.optim.AdamW, dict(lr=0.01, amsgrad=True)),
    (torch.optim.Adagrad, dict(lr=0.1)),
    (torch.optim.RMSprop, dict(lr=0.01, centered=True)),
]


@pytest.mark.parametrize(("kind", "arguments"), OPTIMISERS, ids=str)
def test_an_optimisers_state_comes_back_to_the_bit(
    tmp_path: Path, kind: type[torch.optim.Optimizer], arguments: dict[str, Any]
) -> None:
    """Six steps, against three, a save, a load, and three more."""
    x, y = torch.linspace(-1, 1, 40).view(8, 5), torch.arange(8) % 3

    def steps(net: bp.Network, optimizer: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            for t, g in zip(_parameters(net), (g for layer in net.gradients(x, y) for g in layer), strict=True):
                t.grad = g
            optimizer.step()

    net = bp.Network.create([5, 4, 3], seed=1)
    optimizer = kind(_parameters(net), **arguments)
    steps(net, optimizer, 3)
    bp.save(tmp_path / NAME, net, optimizer=optimizer)
    steps(net, optimizer, 3)
    loaded = bp.load_checkpoint(tmp_path / NAME)
    again = kind(_parameters(loaded.net), **arguments)
    assert loaded.optimizer is not None
    again.load_state_dict(loaded.optimizer)
    steps(loaded.net, again, 3)
    assert all(torch.equal(a, b) for a, b in zip(_parameters(loaded.net), _parameters(net), strict=True))


def test_own_entries_cant_be_saved_by_name(tmp_path: Path) -> None:
    cube = bp.Activation("cube", lambda z: z**3, lambda z, a: 3 * z * z)
    impostor = bp.Activation("relu", lambda z: z, lambda z, a: torch.ones_like(a))
    for own in (cube, impostor):
        with pytest.raises(ValueError, match=r"under a name of its own, .* or save the tensors of net"):
            bp.save(tmp_path / NAME, bp.Network.create([5, 4, 3], hidden=own))
    assert not list(tmp_path.iterdir())


def test_what_cant_be_loaded_again_is_not_saved(tmp_path: Path) -> None:
    net = bp.Network.create([5, 3])
    for unfit in (math.nan, lambda epoch: 1.0):
        with pytest.raises(ValueError, match="settings must be what JSON can hold"):
            bp.save(tmp_path / NAME, net, settings={"lr": unfit})
    with pytest.raises(ValueError, match="one network at a time"):
        bp.save(tmp_path / NAME, bp.stack([net, net]))
    net.layers[0].w[1, 2] = math.nan
    with pytest.raises(ValueError, match="not finite"):
        bp.save(tmp_path / NAME, net)
    assert not list(tmp_path.iterdir())


def test_each_byte_flipped_is_refused(tmp_path: Path) -> None:
    """Every byte of a small checkpoint, all its bits at once, and one bit: CheckpointError and nothing else."""
    path = tmp_path / NAME
    content = _small(path)
    for place in range(len(content)):
        for mask in (0xFF, 1 << place % 8):
            damaged = bytearray(content)
            damaged[place] ^= mask
            path.write_bytes(damaged)
            with pytest.raises(bp.CheckpointError, match="damaged or not a network"):
                bp.load(path)


def test_each_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / NAME
    content = _small(path)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(bp.CheckpointError, match="damaged or not a network"):
            bp.load(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(bp.CheckpointError):
        bp.load(path)
    path.write_bytes(content)
    assert bp.load_checkpoint(path).position == bp.Position(3, 2, 0.25)


FORGERIES: list[tuple[dict[str, object], str]] = [
    (dict(format="bp_torch checkpoint 3"), "this version reads 'bp_torch checkpoint'"),
    (dict(sizes=[5, 4, 2]), "tensors are not those its header describes"),
    (dict(sizes=[5, 4, 3, 2]), "tensors are not those"),
    (dict(sizes=[5]), "tensors are not those"),
    (dict(sizes=7), "damaged"),
    (dict(sizes=[5, -4, 3]), "tensors are not those"),
    (dict(dtype="torch.float64"), "not of the dtype its header gives, torch.float64"),
    (dict(activations=["sigmoid"]), "damaged"),
    (dict(activations=["nope", "sigmoid"]), "an activation that is not known"),
    (dict(activations=7), "damaged"),
    (dict(activations=[[], []]), "damaged"),
    (dict(cost="nope"), "damaged"),
    (dict(position=[1]), "damaged"),
    (dict(position=[0, 0, 0.0, 0.0]), "a position's epoch must be a whole number of at least 1"),
    (dict(position=[1, -1, 0.0, 0.0]), "a position's batch"),
    (dict(position=[1, 0, math.nan, 0.0]), "a position's cost_sum must be a finite number"),
    (dict(position=[1, 1, 10**400, 0.0]), "a position's cost_sum must be a finite number"),
    (dict(position=[1.0, 0, 0.0, 0.0]), "a position's epoch must be a whole number"),
    (dict(position=[1, True, 0.0, 0.0]), "a position's batch must be a whole number"),
    (dict(position=[1, 1, True, 0.0]), "a position's cost_sum must be a finite number"),
    (dict(position=[1, 0, 1e9, 5.0]), "cost_sum and seconds must be 0 where its batch is 0"),
    (dict(position=[1, 1, 0.0, -1]), "a position's seconds must be at least 0, not -1"),
    (dict(position=[1, 1, 0.0, math.inf]), "a position's seconds must be a finite number"),
    (dict(position=[1, 0, 0.0, 0.0, 0.0]), "damaged"),
    (dict(settings=[1]), "are not tables"),
    (dict(optimizer={"tensor": "layers.9.w"}), "damaged"),
    (dict(optimizer=[1]), "damaged"),
    (dict(optimizer={"list": []}), "are not tables"),
    (dict(extra="key"), "other things than a checkpoint's"),
    (dict(network={}), "other things than a checkpoint's"),
    (dict(network=[]), "other things than a checkpoint's"),
    (dict(run="text"), "other things than a checkpoint's"),
    (dict(network=7), "damaged"),
]


@pytest.mark.parametrize(("change", "message"), FORGERIES, ids=[str(change)[:60] for change, _ in FORGERIES])
def test_wrong_sizes_dtype_version_and_keys_are_refused_under_a_right_checksum(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tmp_path / NAME
    path.write_bytes(_forged(_tensors()))
    assert bp.load(path).sizes == [5, 4, 3]
    path.write_bytes(_forged(_tensors(), **change))
    if message.endswith("|"):  # what is left out of a position has a default
        assert bp.load_checkpoint(path).position == bp.Position()
    else:
        with pytest.raises(bp.CheckpointError, match=message):
            bp.load(path)


TENSORS: list[tuple[Callable[[dict[str, torch.Tensor]], object], str]] = [
    (lambda t: t.pop("layers.1.b"), "damaged"),
    (lambda t: t.update(extra=torch.ones(2)), "tensors that nothing asks for: extra"),
    (lambda t: t.update({"layers.0.w": torch.ones(5, 4)}), "not those its header describes"),
    (lambda t: t.update({"layers.0.b": torch.ones(4, dtype=torch.float64)}), "not of the dtype"),
    (lambda t: [t.update({name: one.to(torch.int32)}) for name, one in list(t.items())], "not of the dtype"),
    (lambda t: t["layers.0.w"].fill_(math.nan), "weights that are not finite"),
    (lambda t: t["layers.1.b"].fill_(-math.inf), "weights that are not finite"),
]


@pytest.mark.parametrize(
    ("change", "message"), TENSORS, ids=[f"{k} {message}" for k, (_, message) in enumerate(TENSORS)]
)
def test_wrong_tensors_and_nan_weights_are_refused_under_a_right_checksum(
    tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], object], message: str
) -> None:
    tensors = _tensors()
    change(tensors)
    (tmp_path / NAME).write_bytes(_forged(tensors))
    with pytest.raises(bp.CheckpointError, match=message):
        bp.load(tmp_path / NAME)


def test_what_is_not_a_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with pytest.raises(FileNotFoundError, match="there is no network at"):
        bp.load(path)
    for content in (b"", b"not a safetensors file", b"\xff" * 64, bytes(1000)):
        path.write_bytes(content)
        with pytest.raises(bp.CheckpointError, match="damaged or not a network"):
            bp.load(path)
    safetensors.torch.save_file({"w": torch.zeros(2)}, path)
    with pytest.raises(bp.CheckpointError, match="does not begin as a checkpoint of this version does"):
        bp.load(path)
    safetensors.torch.save_file({"w": torch.zeros(2)}, path, metadata={"format": "bp_torch network 1"})
    with pytest.raises(bp.CheckpointError, match="does not begin as a checkpoint of this version does"):
        bp.load(path)


class _Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.target,)


def test_a_checkpoint_made_to_run_code_runs_nothing(tmp_path: Path) -> None:
    """A pickle, and torch's own format around one, under the name of a checkpoint; and text that eval would run."""
    ran, path = tmp_path / "ran", tmp_path / NAME
    pickle.loads(pickle.dumps(_Payload(ran)))  # noqa: S301 (the payload does work)
    ran.unlink()
    path.write_bytes(pickle.dumps(_Payload(ran)))
    with pytest.raises(bp.CheckpointError):
        bp.load(path)
    torch.save(_Payload(ran), path)
    with pytest.raises(bp.CheckpointError):
        bp.load(path)
    code = f"__import__('pathlib').Path({str(ran)!r}).touch()"
    for name in ("format", "cost", "dtype", "settings", "optimizer", "network", "run"):
        path.write_bytes(_forged(_tensors(), **{name: code}))
        with pytest.raises(bp.CheckpointError):
            bp.load(path)
    assert not ran.exists()


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_any_mutation_is_refused_or_loads_equal(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Bytes replaced, cut out and put in; half of the time the checksum is made right again."""
    path = tmp_path_factory.getbasetemp() / "mutated.safetensors"
    content = bytearray(_forged(_tensors()))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(start, min(len(content), start + 40)))
        content[start:stop] = data.draw(st.binary(max_size=40))
    mutated = bytes(content)
    if data.draw(st.booleans()):
        try:
            place = checkpoint._place(mutated)
        except ValueError:
            return
        mutated = checkpoint._sealed(mutated[: place.start] + checkpoint.ZEROS.encode() + mutated[place.stop :])
    path.write_bytes(mutated)
    try:
        loaded = bp.load(path)
    except bp.CheckpointError:
        return
    assert all(t.isfinite().all() for t in _parameters(loaded))


def test_a_damaged_file_names_the_one_before_it_which_loads(tmp_path: Path) -> None:
    path, nets = tmp_path / NAME, [bp.Network.create([5, 3], seed=seed) for seed in range(3)]
    for net in nets:
        bp.save(path, net)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.previous.safetensors", NAME]
    assert newest(path)[1] == path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(bp.CheckpointError, match=r"the file before it is .*net\.previous\.safetensors"):
        bp.load(path)
    loaded, where = newest(path)
    assert where == durable.previous(path)
    assert torch.equal(loaded.net.layers[0].w, nets[1].layers[0].w)
    path.unlink()
    assert newest(path)[1] == durable.previous(path)
    durable.previous(path).write_bytes(b"")
    with pytest.raises(bp.CheckpointError):
        newest(path)
    durable.previous(path).unlink()
    with pytest.raises(FileNotFoundError):
        newest(path)


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / NAME
    bp.save(path, bp.Network.create([5, 3], seed=1))
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(bp.CheckpointError, match=r"can't be written \(No space left on device\): make room"):
        bp.save(path, bp.Network.create([5, 3], seed=2))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_previous_file_that_cant_be_replaced_is_named_and_both_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, nets = tmp_path / NAME, [bp.Network.create([5, 3], seed=seed) for seed in range(3)]
    before = durable.previous(path)
    bp.save(path, nets[0])
    before.mkdir()
    with pytest.raises(
        bp.CheckpointError,
        match=r"net\.previous\.safetensors can't be written \(Is a directory\): .*move away what is in its place.*; "
        "what was there is as it was",
    ):
        bp.save(path, nets[1])
    assert torch.equal(bp.load(path).layers[0].w, nets[0].layers[0].w)
    before.rmdir()
    bp.save(path, nets[1])
    files = (path.read_bytes(), before.read_bytes())
    real, calls = os.replace, []

    def second_fails(*names: Path) -> None:
        calls.append(names)
        if len(calls) == 2:
            raise OSError(errno.EPERM, "Operation not permitted", str(names[0]), None, str(names[1]))
        real(*names)

    monkeypatch.setattr("os.replace", second_fails)
    with pytest.raises(bp.CheckpointError, match=r"net\.previous\.safetensors can't be written .* is as it was"):
        bp.save(path, nets[2])
    assert (path.read_bytes(), before.read_bytes()) == files
    assert len(list(tmp_path.iterdir())) == 2


def test_a_save_that_only_half_succeeded_says_what_stands_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, nets = tmp_path / NAME, [bp.Network.create([5, 3], seed=seed) for seed in range(3)]
    for net in nets[:2]:
        bp.save(path, net)
    real, calls = os.replace, []

    def only_one(*names: Path) -> None:
        calls.append(names)
        if len(calls) > 1:
            raise OSError(errno.EIO, "Input/output error")
        real(*names)

    monkeypatch.setattr("os.replace", only_one)
    with pytest.raises(bp.CheckpointError, match="holds the new network") as raised:
        bp.save(path, nets[2])
    kept = re.search(r"the one before is in (\S+) until the next save", str(raised.value))
    assert kept
    for file, net in zip((durable.previous(path), Path(kept[1]), path), nets, strict=True):
        assert torch.equal(bp.load(file).layers[0].w, net.layers[0].w)


def test_after_a_damaged_newest_file_the_next_save_keeps_the_sound_one_before_it(tmp_path: Path) -> None:
    path, nets = tmp_path / NAME, [bp.Network.create([5, 3], seed=seed) for seed in range(3)]
    for net in nets[:2]:
        bp.save(path, net)
    path.write_bytes(path.read_bytes()[:-1])
    bp.save(path, nets[2])
    for file, net in zip((durable.previous(path), path), (nets[0], nets[2]), strict=True):
        assert torch.equal(bp.load(file).layers[0].w, net.layers[0].w)


@pytest.mark.parametrize(
    ("position", "message"),
    [
        ((1, 2, 0.0, 0.0), r"position must be a bp\.Position.*write bp\.Position\(\*position\)"),
        (bp.Position(1, 0, 1e9, 5.0), "cost_sum and seconds must be 0 where its batch is 0"),
        (bp.Position(2, 1, 1.0, -1.0), "a position's seconds must be at least 0, not -1"),
        *((bp.Position(2, slots=junk), "a position's slots must be a record's") for junk in JUNK),
        (
            bp.Position(2, slots=(bp.Network.create([5, 2]).layers,)),
            "position holds what an optimizer kept",
        ),
        (bp.Position(2, slots=(bp.Network.create([5, 3], dtype=torch.float64).layers,)), "kept for another network"),
        (bp.Position(2, slots=(bp.Network.create([5, 3, 3]).layers,)), "kept for another network"),
    ],
    ids=str,
)
def test_a_position_that_no_run_can_stand_at_is_not_saved(tmp_path: Path, position: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bp.save(tmp_path / NAME, bp.Network.create([5, 3]), position=position)
    assert not list(tmp_path.iterdir())


def test_a_rule_in_the_place_of_an_optimiser_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"optimizer must be one of torch\.optim, not 'adam'"):
        bp.save(tmp_path / NAME, bp.Network.create([5, 3]), optimizer="adam")  # pyright: ignore[reportArgumentType]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["/proc/{}", "{}/file/{}", "{}/nowhere/{}", "{}"], ids=str)
def test_a_folder_that_cant_be_written_is_one_sentence(tmp_path: Path, where: str) -> None:
    """/proc refuses root too."""
    (tmp_path / "file").touch()
    path = Path(f"/proc/{NAME}") if where.startswith("/proc") else Path(where.format(tmp_path, NAME))
    with pytest.raises(bp.CheckpointError, match="can't be written"):
        bp.save(path, bp.Network.create([5, 3]))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_refused_file_leaves_the_live_network_as_it_was(tmp_path: Path) -> None:
    """Loading makes a new network: nothing of a live one is within its reach."""
    path = tmp_path / NAME
    live = bp.Network.create([5, 4, 3], seed=1)
    before = [t.clone() for t in _parameters(live)]
    path.write_bytes(_forged({**_tensors(), "layers.1.w": torch.full((3, 4), math.nan)}))
    with pytest.raises(bp.CheckpointError):
        bp.load(path)
    assert all(torch.equal(now, then) for now, then in zip(_parameters(live), before, strict=True))


def test_arguments_in_the_wrong_order_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="save takes a path and a network, in this order"):
        bp.save(bp.Network.create([2, 1]), tmp_path / "net.safetensors")  # pyright: ignore[reportArgumentType]


def test_a_folder_in_the_place_of_a_file_is_named_with_what_to_load(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is a folder: name the file in it"):
        bp.load(tmp_path)
    bp.save(tmp_path / "weights.safetensors", bp.Network.create([2, 2], seed=0))
    with pytest.raises(
        FileNotFoundError, match=r"is a run's folder: name its .*weights\.safetensors, or read"
    ) as caught:
        bp.load(tmp_path)
    assert f"bp.runs.read({str(tmp_path)!r})" in str(caught.value)

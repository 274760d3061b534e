"""A network, and where its training stands, in one safetensors file. No pickle: nothing in a file can run.

The header's metadata is one text, JSON: the SHA-256 of the whole file with 64 zeros in its own place, the format, the
network (sizes, dtype, activations, cost, and where it has one its preprocessing) and the run (position, settings, an
optimiser's state but for its tensors).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from bp_torch import checks
from bp_torch.activations import ACTIVATIONS, Activation
from bp_torch.costs import COSTS, Cost
from bp_torch.data.preprocessing import Preprocessing
from bp_torch.errors import CheckpointError
from bp_torch.network import Network
from bp_torch.saving import durable, jsonable
from bp_torch.state import Position, Slots, State, checked_position, is_finite
from bp_torch.trace import Layer

FORMAT = "bp_torch checkpoint"
READABLE = (FORMAT, "bp_torch checkpoint 2")  # the latter is the same format, as it was named at first
ZEROS = "0" * 64
PREFIX = rb'{"__metadata__":{"checkpoint":"{\"sha256\": \"'  # what a header begins with; the checksum comes next
KEYS = (
    {"checkpoint"},
    {"sha256", "format", "network", "run"},
    {"sizes", "dtype", "activations", "cost"},
    {"position", "settings", "optimizer"},
)
PREPROCESSING = "preprocessing"  # a key of the network that only some have
_UNREADABLE = (SafetensorError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class Checkpoint(NamedTuple):
    """What `save` was given: the network, and what its training needs to go on as if it had never stopped.

    position: what train's `start` takes. settings: as they were given to `save`, lists for tuples. optimizer: the
    state_dict of a torch.optim optimiser, for its load_state_dict, or None.
    """

    net: Network
    position: Position
    settings: dict[str, Any]
    optimizer: dict[str, Any] | None


def save(
    path: str | Path,
    net: Network,
    *,
    position: Position | None = None,
    settings: Mapping[str, Any] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> None:
    """Writes the network, and where its training stands, to `path` (safetensors), whole or not at all.

    The file holds w and b of every layer as "layers.0.w" and so on. The file that was there stays as
    `durable.previous(path)`: net.previous.safetensors for net.safetensors. One that is damaged does not take the place
    of a sound one there. Modes stay as they are, and a symbolic link stays a link.

    position: a record's. settings: what JSON can hold, such as the arguments of `train`: `seed` is all the random state
        there is, since the order of an epoch's batches depends on it and the epoch alone. optimizer: of a training loop
        of your own; what an optimiser of `OPTIMISERS` keeps is in the position.

    Raises ValueError for an own Activation or Cost, which has no name to be found by again, for weights that are not
    finite, for a position that no run can stand at, and for settings that JSON can't hold; CheckpointError where the
    file can't be written, on a full disk, say. Both files are then as they were; if not even that can be had, the
    message says what stands.
    """
    if not isinstance(net, Network):
        raise ValueError(f"save takes a path and a network, in this order, and the second is a {type(net).__name__}")
    if not isinstance(settings, (Mapping, type(None))):
        raise ValueError(f"settings must be a table, such as dict(seed=0), not {type(settings).__name__}")
    names = [f.name for f in net.activations]
    if COSTS.get(net.cost_function.name) != net.cost_function:
        raise ValueError(_unregistered(net.cost_function.name, "bp.COSTS"))
    for f in net.activations:
        if _activations([f.name], net.cost_function) != (f,):
            raise ValueError(_unregistered(f.name, "bp.ACTIVATIONS"))
    if net.layers[0].w.ndim != 2:
        raise ValueError("save takes one network at a time: save the networks of a stack one after the other")
    if not is_finite(net):
        raise ValueError("the network holds weights that are not finite: a checkpoint of it would be of no use")
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise ValueError(
            f"optimizer must be one of torch.optim, not {optimizer!r}: what a rule of bp_torch keeps lies in "
            "record.position"
        )
    tensors, position = dict(_named("layers", net.layers)), checked_position("position", position)
    if not all(_fits(slot, net) for slot in position.slots):
        raise ValueError("position holds what an optimizer kept for another network: give one of its own records")
    for number, slot in enumerate(position.slots):
        tensors |= _named(f"slots.{number}", slot)
    run = {
        "position": [*position[:4], *([position.taken] if position.taken else [])],
        "settings": dict(settings or {}),
        "optimizer": None if optimizer is None else jsonable.packed(optimizer.state_dict(), "optimizer.", tensors),
    }
    network = {
        "sizes": net.sizes,
        "dtype": str(net.layers[0].w.dtype),
        "activations": names,
        "cost": net.cost_function.name,
        **({} if net.preprocessing is None else {PREPROCESSING: net.preprocessing.as_json()}),
    }
    _check_keys(run["settings"])
    described = {"sha256": ZEROS, "format": FORMAT, "network": network, "run": run}
    try:
        text = json.dumps(described, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"settings must be what JSON can hold ({error})") from error
    content = safetensors.torch.save(tensors, metadata={"checkpoint": text})
    try:
        durable.write(path, _sealed(content), sound=_is_whole)
    except durable.HalfWrittenError as error:
        raise CheckpointError(
            f"{path} holds the new network, but the one before it can't become {error.filename2} ({error.strerror}), "
            f"which is as it was: move that away; the one before is in {error.filename} until the next save"
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"{error.filename2 or path} can't be written ({error.strerror}): make room, move away what is in its "
            "place, or name another folder; what was there is as it was"
        ) from error


def load(path: str | Path, device: str | torch.device = "cpu") -> Network:
    """The network that `save` wrote to `path`, on `device`. Raises as `load_checkpoint` does."""
    return load_checkpoint(path, device).net


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> Checkpoint:
    """All that `save` wrote to `path`; the network is a new one, on `device`, the optimiser's state is on the CPU.

    Raises FileNotFoundError where there is no such file, and CheckpointError where it is not, to the last bit, one of
    `save`'s, or holds a network whose weights are not finite.
    """
    device = checks.available_device(device)
    path = Path(path)
    if (path / "weights.safetensors").is_file():
        raise FileNotFoundError(
            f"{path} is a run's folder: name its {path / 'weights.safetensors'}, or read all of it by "
            f"bp.runs.read({str(path)!r})"
        )
    if path.is_dir():
        raise FileNotFoundError(f"{path} is a folder: name the file in it that bp.save wrote")
    if not path.is_file():
        raise FileNotFoundError(f"there is no network at {path}")
    try:
        checkpoint = _read(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path} can't be read ({error.strerror})") from error
    except _UNREADABLE as error:
        before = durable.previous(path)
        advice = f"; the file before it is {before}" if before.is_file() else ""
        raise CheckpointError(f"{path} is damaged or not a network saved by bp_torch: {error}{advice}") from error
    state = State(checkpoint.net, checkpoint.position.slots).twin(device)  # in torch's own, aligned memory
    return checkpoint._replace(net=state.net, position=checkpoint.position._replace(slots=state.slots))


def newest(path: str | Path, device: str | torch.device = "cpu") -> tuple[Checkpoint, Path]:
    """The newest of `save`'s two generations at `path` that can be loaded, and the file it is in.

    Raises as `load_checkpoint` does for `path` itself where neither can be.
    """
    try:
        return load_checkpoint(path, device), Path(path)
    except (CheckpointError, FileNotFoundError):
        before = durable.previous(path)
        if not before.is_file():
            raise
        return load_checkpoint(before, device), before


def _sealed(content: bytes) -> bytes:
    """The file with its checksum in the place of the 64 zeros."""
    place = _place(content)
    return content[: place.start] + hashlib.sha256(content).hexdigest().encode() + content[place.stop :]


def _place(content: bytes) -> slice:
    """Where the checksum stands."""
    start = 8 + len(PREFIX)  # the header's length comes first
    if content[8:start] != PREFIX:
        raise ValueError("it does not begin as a checkpoint of this version does")
    return slice(start, start + len(ZEROS))


def _checked(content: bytes) -> None:
    """Raises ValueError where the checksum is not that of the content."""
    place = _place(content)
    digest = hashlib.sha256(content[: place.start])
    digest.update(ZEROS.encode())
    digest.update(memoryview(content)[place.stop :])
    if digest.hexdigest().encode() != content[place]:
        raise ValueError("its checksum is not that of its content")


def _is_whole(content: bytes) -> bool:
    try:
        _checked(content)
    except ValueError:
        return False
    return True


def _read(content: bytes) -> Checkpoint:
    _checked(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    described = json.loads(header["checkpoint"])
    if described["format"] not in READABLE:
        raise ValueError(f"its format is {described['format']!r}, and this version reads {FORMAT!r}")
    network, run = described["network"], described["run"]
    if (set(header), set(described), set(network) - {PREPROCESSING}, set(run)) != KEYS:
        raise ValueError("its header holds other things than a checkpoint's")
    tensors = safetensors.torch.load(content)
    net = _network(network, tensors)
    slots = _slots(net, tensors)
    optimizer = None if run["optimizer"] is None else jsonable.unpacked(run["optimizer"], tensors)
    if tensors:
        raise ValueError(f"it holds tensors that nothing asks for: {', '.join(sorted(tensors)[:3])}")
    if not isinstance(run["settings"], dict) or not isinstance(optimizer, (dict, type(None))):
        raise ValueError("its settings or its optimiser's state are not tables")
    epoch, batch, cost_sum, seconds, *taken = run[
        "position"
    ]  # of most runs, and of earlier versions, there is no taken
    position = checked_position("position", Position(epoch, batch, cost_sum, seconds, slots, *taken))
    return Checkpoint(net, position, run["settings"], optimizer)


def _slots(net: Network, tensors: dict[str, Tensor]) -> Slots:
    """What an optimiser kept for the network, taken out of `tensors`: as many slots as there are."""
    slots = []
    while f"slots.{len(slots)}.0.w" in tensors:
        names = [f"slots.{len(slots)}.{l}" for l in range(len(net.layers))]
        slot = tuple(Layer(*(tensors.pop(f"{name}.{of}") for of in "wb")) for name in names)
        if not _fits(slot, net):
            raise ValueError("what it holds of an optimizer does not fit its network")
        slots.append(slot)
    return tuple(slots)


def _fits(slot: Sequence[Layer], net: Network) -> bool:
    """Whether these tensors are like the network's."""
    mine, theirs = ([(t.shape, t.dtype) for t in chain(*layers)] for layers in (slot, net.layers))
    return mine == theirs


def _network(described: dict[str, Any], tensors: dict[str, Tensor]) -> Network:
    """The network, its tensors taken out of `tensors`."""
    sizes, names, cost = described["sizes"], described["activations"], COSTS.get(described["cost"])
    if cost is None:
        raise ValueError(f"it names a cost that is not known, {described['cost']!r}: register it first, see bp.Cost")
    activations = _activations(names, cost)
    if activations is None:
        raise ValueError(f"it names an activation that is not known, in {names}: register it first, see bp.Activation")
    taken = [Layer(*(tensors.pop(f"layers.{l}.{name}") for name in "wb")) for l in range(len(names))]
    shapes = [(layer.w.shape, layer.b.shape) for layer in taken]
    wanted = [((n_out, n_in), (n_out,)) for n_in, n_out in pairwise(sizes)]
    if shapes != wanted or not wanted:
        raise ValueError("its tensors are not those its header describes")
    if {str(t.dtype) for layer in taken for t in layer} != {described["dtype"]} or taken[
        0
    ].w.dtype not in checks.DTYPES:
        raise ValueError(f"its tensors are not of the dtype its header gives, {described['dtype']}")
    fitted = described.get(PREPROCESSING)
    net = Network(tuple(taken), activations, cost, None if fitted is None else Preprocessing.from_json(fitted))
    if not is_finite(net):
        raise ValueError("it holds weights that are not finite")
    return net


def _unregistered(name: str, table: str) -> str:
    return (
        f"{name!r} is an own one and not in {table}, where a file's names are looked up: set {table}[{name!r}] to it, "
        "under a name of its own, here and before the file is loaded; or save the tensors of net.layers"
    )


def _activations(names: list[str], cost: Cost) -> tuple[Activation, ...] | None:
    """The entries of these names, with the cost's own output activation among them; None if one is not known."""
    known = ACTIVATIONS if cost.output is None else {**ACTIVATIONS, cost.output.name: cost.output}
    return tuple(known[name] for name in names) if set(names) <= set(known) else None


def _check_keys(value: Any) -> None:
    """Raises ValueError for a key that is not text: JSON would give it back as text."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"the keys of settings must be text, as JSON's are, not {key!r}: give str({key!r})")
    if isinstance(value, (Mapping, list, tuple)):
        for each in value.values() if isinstance(value, Mapping) else value:
            _check_keys(each)


def _named(prefix: str, layers: Iterable[Layer]) -> Iterable[tuple[str, Tensor]]:
    fields = ((f"{prefix}.{l}.{name}", t) for l, layer in enumerate(layers) for name, t in layer._asdict().items())
    return ((name, t.detach().clone(memory_format=torch.contiguous_format)) for name, t in fields)

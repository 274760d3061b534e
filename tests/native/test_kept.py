"""Libraries are found again before they are printed, by all that they depend on; what is kept is bounded."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_cases import data, network
from jobs import job
from torch import Tensor

import bp_torch as bp
from bp_torch import activations, equations, optimisers
from bp_torch.native import build, kept, operations, written
from bp_torch.training.engines.native import source
from bp_torch.training.engines.native.inputs import ACTIVE, DENSE, Inputs

CASE = ("sigmoid", "quadratic", "sigmoid")
BATCH = 10
CODE = 'extern "C" int answer() {{ return {}; }}'


def forget() -> None:
    """As in a new process."""
    for each in (source._printed, source._of_the_package, source._as_written, build._found, build._built):
        each.cache_clear()


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forget()
    yield tmp_path / "bp_torch"
    forget()


def trained() -> Tensor:
    forget()
    net = network(CASE)
    list(bp.train(net, data(net), epochs=2, batch_size=BATCH, lr=1.0, engine="native"))
    return net.layers[0].w


def links(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_symlink()]


def test_a_second_process_prints_nothing_and_has_the_same_bits(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    first = trained()
    (link,), (library,) = links(cache), cache.glob("*.so")
    assert source._printed.cache_info().misses == 2  # for each size of batch
    monkeypatch.setattr(build, "_run", None)
    assert torch.equal(trained(), first)
    assert source._printed.cache_info().misses == 0
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))
    link.unlink()
    assert torch.equal(trained(), first)  # by its code
    assert source._printed.cache_info().misses == 2
    assert links(cache) == [link]
    assert list(cache.glob("*.so")) == [library]


@pytest.mark.parametrize(
    "damage",
    [
        lambda link, library: library.write_bytes(library.read_bytes()[:-1] + b"!"),
        lambda link, library: library.unlink(),
        lambda link, library: link.unlink() or link.write_text("text"),
        lambda link, library: link.unlink() or link.symlink_to("/dev/null"),
        lambda link, library: link.unlink() or link.symlink_to(library.parent),
    ],
    ids=["library", "no library", "a text", "elsewhere", "a folder"],
)
def test_what_is_damaged_is_made_anew(cache: Path, damage: Callable[[Path, Path], None]) -> None:
    build.build(CODE.format(1), 1)
    (link,), (library,) = links(cache), cache.glob("*.so")
    whole = library.read_bytes()
    damage(link, library)
    forget()
    assert build.build(CODE.format(1), 1).answer() == 1
    assert os.readlink(link) == library.name
    assert library.read_bytes() == whole


def test_a_source_is_told_by_all_that_it_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def made_of(net: bp.Network, inputs: Inputs = DENSE, **settings: Any) -> str:
        forget()
        found = source.source_of(job(net, 100, **({"batch_size": BATCH} | settings)), inputs)
        assert found.printed is not None
        return found.made_of

    net = network(CASE)
    assert made_of(net) == made_of(net.to())
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "0.0")
        of_another_torch = made_of(net)
    with monkeypatch.context() as patch:
        patch.setattr(activations, "LEAK", 0.2)
        of_another_constant = made_of(net)
    others = [
        made_of(net),
        of_another_torch,
        of_another_constant,
        *(made_of(net, inputs) for inputs in (ACTIVE, Inputs("stored", "int"), Inputs("stored", "int", True))),
        made_of(net.to(torch.float32)),
        made_of(net, batch_size=9),
        made_of(net, batch_size=50),
        made_of(net, optimizer=bp.Adam()),
        made_of(net, optimizer=bp.Adam(amsgrad=True)),
        made_of(net, l2=0.1),
        *(made_of(network((f, "quadratic", "sigmoid"))) for f in ("tanh", "relu")),
        made_of(network(("sigmoid", "binary_cross_entropy", "sigmoid"))),
        made_of(bp.Network.create([4, 4, 4])),
    ]
    assert len(set(others)) == len(others)


def _mine(*given: Any) -> Any:
    return given


@dataclass(frozen=True, kw_only=True)
class Mine(bp.SGD):
    """A rule that is not the package's."""


@pytest.mark.parametrize(
    ("holder", "name", "value"),
    [
        (equations, "hidden_error", _mine),
        (equations, "hidden_error", partial(_mine)),
        (optimisers.SGD, "update", _mine),
        (optimisers.SGD, "is_plain", property(_mine)),
        (source, "record_step", _mine),
    ],
    ids=["function", "partial", "method", "property", "printer"],
)
def test_what_is_put_in_the_place_of_the_packages_code_is_printed(
    monkeypatch: pytest.MonkeyPatch, holder: Any, name: str, value: object
) -> None:
    """And no other process finds it."""
    assert written.hash_of(source) is not None
    monkeypatch.setattr(holder, name, value)
    assert written.hash_of(source) is None


def test_an_entry_of_a_table_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(operations.ARITHMETIC, torch.ops.aten.add, _mine)
    assert written.hash_of(source) is None


def test_files_that_changed_since_they_were_imported_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(written, "imported", 0.0)
        assert written.hash_of(source) is None
        assert source.source_of(job(network(CASE), 100, batch_size=BATCH)).printed is None


def test_a_rule_of_the_users_is_printed() -> None:
    assert source.source_of(job(network(CASE), 100, batch_size=BATCH, optimizer=Mine(momentum=0.9))).printed is None


def test_another_file_of_the_compiler_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program of another time of change is another one; a script may call another one at any time."""
    usual = Path(build.compiler() or "")
    copied = tmp_path / usual.resolve().name
    shutil.copy2(usual.resolve(), copied)
    before = build._identity(str(copied))
    os.utime(copied, (0, 0))
    assert None is not before != build._identity(str(copied)) is not None
    copied.write_text("#!/bin/sh\n")
    assert build._identity(str(copied)) is None
    shutil.copy2(usual.resolve(), tmp_path / "ccache")
    assert build._identity(str(tmp_path / "ccache")) is None


def used(path: Path, seconds: float) -> None:
    """So long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)


def test_what_was_used_the_longest_ago_goes(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    for k in range(4):
        build.build(CODE.format(k), 1)
    libraries = sorted(cache.glob("*.so"))
    for age, path in enumerate(libraries):
        used(path, 10_000 - age)
    (cache / "tmp1").mkdir()
    for path in (*links(cache), cache / "tmp1"):
        used(path, 10_000)
    first = next(link for link in links(cache) if os.readlink(link) == libraries[0].name)
    assert kept.linked(cache, first.name) is not None  # is used
    size = libraries[0].stat().st_size
    monkeypatch.setattr(kept, "MOST", 3 * size + size // 2)
    build.build(CODE.format(9), 1)
    left = set(cache.glob("*.so"))
    assert set(libraries) & left == {libraries[0], libraries[3]}
    assert len(left) == 3
    assert all(link.exists() for link in links(cache))
    assert not (cache / "tmp1").exists()


def test_what_was_just_made_is_spared(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(kept, "MOST", 0)
    for k in range(2):
        build.build(CODE.format(k), 1)
    assert len(list(cache.glob("*.so"))) == 2

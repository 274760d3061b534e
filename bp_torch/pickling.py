"""How an entry of a table of functions pickles: the package's own by its name, a user's by itself.

A pickle holds a function by its name, and so no lambda. cloudpickle and dill hold its code; joblib sends things to its
workers by cloudpickle.
"""

import inspect
import pickle
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple


class Entries(NamedTuple):
    """table: where users put theirs, too. package: the package's own, which stay. shown: what `table` is called."""

    table: Mapping[str, Any]
    package: Mapping[str, Any]
    shown: str


ENTRIES: dict[type, Entries] = {}
"""Of each class of entries, a frozen dataclass with a name: set where the table is."""


def reduced(entry: Any) -> tuple[Any, ...]:
    """What `__reduce_ex__` of an entry gives.

    Raises pickle.PicklingError, with its name, for a user's that is not registered and has functions that a pickle
    can't hold.
    """
    kind, values = type(entry), tuple(getattr(entry, each.name) for each in fields(entry))
    known = _entries(kind)
    if known.package.get(entry.name) is entry:
        return of_package, (kind, entry.name)
    if _takes_code() or all(_has_a_name(value) for value in values if callable(value)):
        return own, (kind, *values)
    if known.table.get(entry.name) == entry:
        return registered, (kind, entry.name)
    raise pickle.PicklingError(
        f"the own {kind.__name__} {entry.name!r} can't be pickled, for not all of its functions are written by def at "
        f"the top of a module: write them so, or set {known.shown}[{entry.name!r}] to it, here and where it is read"
    )


def of_package(kind: type, name: str) -> Any:
    """The package's entry itself. Raises ValueError where it has none of this name."""
    return _found(kind, name, _entries(kind).package)


def registered(kind: type, name: str) -> Any:
    """The entry that is registered under this name. Raises ValueError where there is none."""
    return _found(kind, name, _entries(kind).table)


def own(kind: type, name: str, *values: Any) -> Any:
    """A user's entry: the registered one where that is equal, else a new one."""
    made, there = kind(name, *values), _entries(kind).table.get(name)
    return there if there == made else made


def _entries(kind: type) -> Entries:
    return next(ENTRIES[each] for each in kind.__mro__ if each in ENTRIES)  # a user may derive a class


def _found(kind: type, name: str, table: Mapping[str, Any]) -> Any:
    if name not in table:
        shown = f"{_entries(kind).shown}[{name!r}]"
        raise ValueError(f"the {kind.__name__} {name!r} is not registered here: set {shown} to it first")
    return table[name]


def _has_a_name(function: Any) -> bool:
    try:
        pickle.dumps(function)
    except Exception:  # a callable of any class may raise what it likes
        return False
    return True


def _takes_code() -> bool:
    """Whether who asks is cloudpickle or dill."""
    frame = inspect.currentframe()
    while frame is not None:
        if {"cloudpickle", "dill"} & set(frame.f_globals.get("__name__", "").split(".")):
            return True
        frame = frame.f_back
    return False

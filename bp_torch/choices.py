"""A table's entries as text: a name, alone or with options, as in "adam(eps=1e-7)". The entries are dataclasses."""

import ast
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from bp_torch import checks

E = TypeVar("E")


def written(name: str, entry: object) -> str:
    """The entry as text that `read` reads: its name, and in brackets the options that are not the default."""
    own = []
    for each in fields(entry):  # pyright: ignore[reportArgumentType]
        value = getattr(entry, each.name)
        if value != each.default:
            own.append(f"{each.name}={value!r}" if each.kw_only else repr(value))
    return name + (f"({', '.join(own)})" if own else "")


def read(what: str, text: object, table: Mapping[str, type[E]], example: str) -> E:
    """The entry of a table that a text names, with its options.

    what: what the entries are. example: one of them as text. Both are for messages. Raises ValueError for a name, an
    option or a value that can't be had.
    """
    name, unnamed, options = text, [], {}
    if isinstance(text, str) and "(" in text:
        try:
            name, unnamed, options = _parsed(text)
        except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
            raise ValueError(_unreadable(what, text, example)) from error
    entry = table[checks.one_of(what, name, table)]
    known = fields(entry)  # pyright: ignore[reportArgumentType]
    for option in options:
        checks.one_of(f"option of {name}", option, [each.name for each in known])
    places = [each.name for each in known if not each.kw_only]
    if len(unnamed) > len(places) or options.keys() & set(places[: len(unnamed)]):
        raise ValueError(_unreadable(what, text, example))
    return entry(*unnamed, **options)


def _unreadable(what: str, text: object, example: str) -> str:
    return f"{what} must be a name with its options, as in {example}, not {text!r}"


def _parsed(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """The name, and what stands in the brackets: the values without a name, and those with one."""
    call = ast.parse(text, mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise ValueError("no name before the bracket")
    options = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    if len(options) < len(call.keywords):
        raise ValueError("an option is named twice")
    return call.func.id, [ast.literal_eval(each) for each in call.args], options

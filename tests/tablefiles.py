"""Tables as files, for the tests of their reader."""

from pathlib import Path

import pytest

import bp_torch as bp


def made(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path, target: str = "kind") -> str:
    with pytest.raises(bp.DataError) as caught:
        bp.data.table(path, target=target)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)

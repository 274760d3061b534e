"""What a network may carry besides its weights: how the rows of a table become its inputs."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor


class Encoder(Protocol):
    """How rows of a data frame become inputs: see `bp.data.Preprocessing`, the one that there is."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the inputs."""
        ...

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes; None for a real-valued target."""
        ...

    def encode(self, rows: Any) -> Tensor:
        """The inputs (m, n) float32 for the rows of a data frame."""
        ...

    def encode_target(self, column: Any) -> Tensor:
        """y for a column of a data frame that is like the table's target: classes (m,), or scaled values (m, 1)."""
        ...

    def decode(self, given: Tensor) -> list[str] | Tensor:
        """The names of classes (m,), or values (m, 1) in the target's own unit."""
        ...

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        ...


def is_frame(value: object) -> bool:
    """Whether a value is a data frame of pandas or polars, or is like one, without importing either."""
    return hasattr(value, "columns") and (hasattr(value, "iloc") or hasattr(value, "to_dict"))


def frame_of(x: object) -> str | None:
    """How rows of a table that are no data frame become one, as a line of Python; None for what may be numbers."""
    if isinstance(x, str) or hasattr(x, "__fspath__"):
        return f"pandas.read_csv({str(x)!r})"
    if is_column(x):
        return "frame.iloc[[0]], with both brackets, for a row of a frame"
    if isinstance(x, Mapping):
        return "pandas.DataFrame([x])"
    if isinstance(x, (list, tuple)) and x and isinstance(x[0], Mapping):
        return "pandas.DataFrame(x)"
    return None


def is_column(value: object) -> bool:
    """Whether a value is a column of a data frame of pandas or polars, or is like one."""
    return hasattr(value, "to_list") and hasattr(value, "to_frame")

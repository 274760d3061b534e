"""Where the matrices of a printed step lie: one after the other in a workspace, and where one is free, the next."""

import math
from collections import Counter
from typing import NamedTuple


class Matrix(NamedTuple):
    """A matrix in memory, its rows padded; a vector is a row.

    transposed: seen as its transpose. packed: a column that is a row's memory. form: how the examples lie, where it is
    not as such a matrix; the first layer's products are then of that name.
    """

    name: str
    rows: int
    columns: int
    transposed: bool = False
    packed: bool = False
    form: str = ""


class Memory:
    """The workspace, and how often each of its matrices will still be read."""

    def __init__(self) -> None:
        self._sizes: dict[str, str] = {}
        self._uses: Counter[str | float] = Counter()
        self._free: dict[tuple[int, int], list[str]] = {}
        self._scratch = ["int64_t(0)"]
        self._computed = 0

    def keep(self, name: str, rows: int, columns: int) -> Matrix:
        """A matrix of this name for the whole of the step."""
        self.room(name, f"int64_t({rows}) * pad({columns})")
        return self.outside(name, rows, columns)

    def room(self, name: str, elements: str) -> None:
        """So many elements of this name for the whole of the step."""
        self._sizes[name] = elements

    def outside(self, name: str, rows: int, columns: int) -> Matrix:
        """A matrix that lies elsewhere."""
        self._uses[name] = math.inf  # pyright: ignore[reportArgumentType]
        return Matrix(name, rows, columns)

    def new(self, rows: int, columns: int, uses: int, reuse: bool = True) -> Matrix:
        """A matrix that is free or new, and will be read so many times."""
        free = self._free.get((rows, columns), [])
        if free and reuse:
            name = free.pop()
        else:
            name, self._computed = f"v{self._computed}", self._computed + 1
            self._sizes[name] = f"int64_t({rows}) * pad({columns})"
        self._uses[name] = uses
        return Matrix(name, rows, columns)

    def share(self, matrix: Matrix, uses: int) -> None:
        """The matrix will be read so many times more."""
        self._uses[matrix.name] += uses

    def release(self, matrix: Matrix) -> None:
        """The matrix has been read once more."""
        self._uses[matrix.name] -= 1
        if self._uses[matrix.name] == 0:
            self._free.setdefault((matrix.rows, matrix.columns), []).append(matrix.name)

    def scratch(self, elements: str) -> None:
        """So many elements are for whatever operation runs."""
        self._scratch.append(elements)

    @property
    def layout(self) -> str:
        """Constants: where each matrix begins in the workspace, and its size."""
        lines, end = [], "0"
        for name, cells in self._sizes.items():
            lines += [f"constexpr int64_t at_{name} = {end};", f"constexpr int64_t end_{name} = at_{name} + {cells};"]
            end = f"end_{name}"
        lines += [f"constexpr int64_t at_scratch = {end};"]
        lines += [f"constexpr int64_t elements = at_scratch + most({{{', '.join(dict.fromkeys(self._scratch))}}});"]
        return "\n".join(lines)

    @property
    def pointers(self) -> str:
        return "\n".join(f"  real* {name} = workspace + at_{name};" for name in [*self._sizes, "scratch"])

"""Prints the operations of a recorded step as C++ statements.

There are some forty kinds of operations. Products become calls of products.h. An elementwise operation is folded into
the one that uses it, and each loop that is left writes one matrix. In the C++, x and y are the batch, n0, n1, … the
step's numbers, p0, p1, … the parameters, and v0, v1, … are what the step computes, in one workspace.

What is printed computes what torch does, operation by operation and type by type; what can't be is an UnprintableError.
"""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch.fx import Graph, Node

from bp_torch.training.engines.native.operations import (
    ARITHMETIC,
    COMPARISONS,
    CONSTANTS,
    ELEMENTWISE,
    IN_PLACE,
    LOGIC,
    PLACES,
    SOFTMAX,
    TRANSPOSES,
    UPDATES,
    WHOLE,
    WHOLE_COMPARISONS,
    Text,
    UnprintableError,
    aten,
    number,
    whole,
)
from bp_torch.training.engines.native.record import kind

NO_VALUES = {"dtype", "layout", "device", "pin_memory", "memory_format", "non_blocking", "size"}
"""Arguments that say what a result is like, and not what is in it: the record holds the result's shape and dtype."""


class Matrix(NamedTuple):
    """A matrix in memory, its rows padded; a vector is a row.

    transposed: seen as its transpose. packed: a column that is a row's memory.
    """

    name: str
    rows: int
    columns: int
    transposed: bool = False
    packed: bool = False


class _Loop(NamedTuple):
    """The last loop over elements: which lines it is, and what it writes."""

    start: int = -1
    end: int = -1
    shape: tuple[int, int] = (0, 0)
    writes: list[tuple[str, str]] = []  # noqa: RUF012 (never changed)


class Printer:
    """Walks a graph once: `lines` are the statements of a batch, `layout` and `pointers` where its matrices lie."""

    def __init__(self, graph: Graph, names: list[str], scalars: list[str], dtype: torch.dtype) -> None:
        """names: of the batch's tensors, the first inputs of the graph. scalars: of the numbers after them."""
        nodes = list(graph.nodes)
        inputs = [node for node in nodes if node.op == "placeholder"]
        batch, rest = dict(zip(inputs, names, strict=False)), inputs[len(names) :]
        parameters = rest[len(scalars) :]
        self.parameters = [f"p{k}" for k in range(len(parameters))]
        self.lines: list[str] = []
        self._loop = _Loop()
        self._position = {node: k for k, node in enumerate(nodes)}
        self._value: dict[Node, Matrix | str | None] = {}  # None: folded into the node that uses it
        self._uses: Counter[str] = Counter()  # of a matrix, still to come
        self._counts: set[object] = set()  # whole numbers from 0 on
        self._free: dict[tuple[int, int], list[str]] = {}
        self._dtype = dtype
        self._sizes = {name: _cells(*_shape(node)) for node, name in batch.items()}
        self._scratch = ["int64_t(0)"]
        self._changes = {node.args[0]: self._position[node] for node in nodes if kind(node) in UPDATES}
        for node, name in [*batch.items(), *zip(parameters, self.parameters, strict=True)]:
            self._value[node] = Matrix(name, *_shape(node))
            self._uses[name] = len(nodes) * len(nodes)  # never free
        self._value |= dict(zip(rest, scalars, strict=False))
        for node in nodes:
            if node.op == "call_function":
                self._visit(node)

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

    def _visit(self, node: Node) -> None:
        operation, of_all = kind(node), kind(node) == aten.sum and "dim" not in _arguments(node)
        dtype = torch.float64 if of_all else self._dtype
        whole = all(arg.meta["dtype"] == torch.int32 for arg in node.all_input_nodes)
        known = (dtype, torch.bool, *[torch.int32] * whole)
        self._check(node.meta["dtype"] in known, f"{node.target} to {node.meta['dtype']}")
        if operation in TRANSPOSES:
            self._transpose(node)
        elif operation in CONSTANTS:
            value = next(
                (v for name, v in _arguments(node).items() if name in ("fill_value", "s")), CONSTANTS[operation]
            )
            self._value[node] = number(value, node.meta["dtype"])
        elif operation in ELEMENTWISE:
            self._elementwise(node)
        elif operation == aten.sum:
            self._sum_of_all(node) if of_all else self._sum(node)
        elif operation == aten.addmv_:
            self._add_rows(node)
        elif operation == aten.copy_:
            self._copy(node)
        elif operation in SOFTMAX:
            self._softmax(node)
        elif operation in PLACES:
            self._place(node)
        elif operation == aten.unsqueeze:
            self._column(node)
        else:
            self._product(node)

    def _transpose(self, node: Node) -> None:
        matrix = self._matrix(node.args[0])
        swapped = len(node.meta["shape"]) == 2 and {int(str(d)) % 2 for d in node.args[1:]} in (set(), {0, 1})
        self._check(swapped, "a transpose that is not a matrix's")
        self._value[node] = matrix._replace(transposed=not matrix.transposed)
        self._uses[matrix.name] += len(node.users) - 1

    def _place(self, node: Node) -> None:
        """The numbers from 0 on, row by row: an element of the matrix that they are viewed as is its place in it."""
        counted = kind(node) == aten.arange and node.args[0] in (0,)
        self._check(counted or node.args[0] in self._counts, "a view of what is in memory")
        self._counts.add(node)
        self._value[node] = f"uint32_t(i * {_shape(node)[1]} + j)"

    def _column(self, node: Node) -> None:
        matrix = self._matrix(node.args[0])
        column = len(node.meta["shape"]) == 2 and node.args[1] in (-1, 1) and not matrix.transposed
        self._check(column, "a vector seen as other than a column")
        self._value[node] = Matrix(matrix.name, matrix.columns, 1, packed=True)
        self._uses[matrix.name] += len(node.users) - 1

    def _elementwise(self, node: Node) -> None:
        users = list(node.users)
        folded = (
            len(users) == 1
            and (kind(users[0]) in ELEMENTWISE or kind(users[0]) in (aten.sum, aten.copy_))
            and self._position[users[0]] < self._first_change(node) + (kind(users[0]) == aten.copy_)
        )
        if kind(node) in IN_PLACE:  # whoever asks for the first operand later gets the result
            self._check(len(_node(node.args[0]).users) == 1, "an operation in place on what is used elsewhere")
        self._value[node] = None
        if folded or node.meta["dtype"] == torch.int32:  # whole numbers are never in memory
            return
        rows, columns = _shape(node)
        text = self._typed(node, self._dtype, rows, columns)
        read = self._release(node)
        to = self._new(node, reuse=all(matrix[1:3] in ((rows, columns), (1, columns)) for matrix in read))
        self._write(to, text, rows, columns)

    def _copy(self, node: Node) -> None:
        into, value = node.args[:2]
        rows, columns = _shape(node)
        to = self._matrix(into)
        update = to.name in self.parameters and not node.users and _shape(_node(value)) == (rows, columns)
        self._check(update and not to.transposed, "a copy that is not a parameter's update")
        self._write(to.name, self._typed(value, self._dtype, rows, columns), rows, columns)
        self._release(node)

    def _write(self, to: str, text: str, rows: int, columns: int) -> None:
        """Writes a matrix element by element, in the loop of the matrix before, if that has the shape of this one.

        An element depends on the same element of what is written there, or on nothing of it.
        """
        last = self._loop
        if last.end == len(self.lines) and last.shape == (rows, columns):
            del self.lines[last.start :]
            writes = [*last.writes, (to, text)]
        else:
            writes = [(to, text)]
        start, at = len(self.lines), f"i * pad({columns})"
        self.lines += [
            *_rows(rows),
            "#pragma GCC ivdep",
            f"  for (int j = 0; j < pad({columns}); j++) {{",
            *(f"    {name}[{at} + j] = {element};" for name, element in writes),
            "  }",
            *(f"  clear<{columns}>({name} + {at});" for name in dict.fromkeys(name for name, _ in writes)),
            "}",
        ]
        self._loop = _Loop(start, len(self.lines), (rows, columns), writes)

    def _product(self, node: Node) -> None:
        *into, first, second = (self._matrix(arg) for arg in node.args)
        form = "tn"[not first.transposed], "tn"[not second.transposed]
        scaled = not {"alpha", "beta"}.isdisjoint(_arguments(node))
        rows, columns = _shape(_node(node.args[0]) if into else node)
        inner = first.rows if first.transposed else first.columns
        template = f"<{rows}, {columns}, {inner}>"
        scratch = f"(packs({rows}, {inner}) ? int64_t({inner}) * panels({columns}) * P : 0)"
        if into:
            update = form == ("t", "n") and not scaled and into[0].name in self.parameters and not node.users
            self._check(update, "an update that is not w += δᵀa")
            self._scratch.append(scratch)
            self.lines.append(f"product_tn{template}({first.name}, {second.name}, {into[0].name}, scratch);")
        elif form == ("t", "n"):
            to = self._new(node)
            self._scratch.append(scratch)
            self.lines.append(
                f"product_tn<{rows}, {columns}, {inner}, false>({first.name}, {second.name}, {to}, scratch);"
            )
        else:
            self._check(form in (("n", "t"), ("n", "n")), "a product of two transposes")
            to = self._new(node)
            self.lines.append(f"product_{''.join(form)}{template}({first.name}, {second.name}, {to});")
        self._release(node)

    def _add_rows(self, node: Node) -> None:
        b, delta_t, ones = node.args
        delta, factor = self._matrix(delta_t), self._value[_node(ones)]
        self._check(delta.transposed and isinstance(factor, str), "a matrix times a vector that is not constant")
        update = len(_arguments(node)) == 3 and self._matrix(b).name in self.parameters and not node.users
        self._check(update, "an update that is not b += Σδ")
        self.lines.append(f"add_rows<{delta.rows}, {delta.columns}>({delta.name}, {self._matrix(b).name}, {factor});")
        self._release(node)

    def _sum_of_all(self, node: Node) -> None:
        rows, columns = _shape(_node(node.args[0]))
        self._check(all(user.op == "output" for user in node.users), "a sum over all examples before the last one")
        self.lines += [
            "#pragma omp single",
            "{",
            "  double sum = 0;",
            f"  for (int i = 0; i < {rows}; i++)",
            f"    for (int j = 0; j < {columns}; j++) sum += {self._typed(node.args[0], self._dtype, rows, columns)};",
            "  cost += sum;",
            "}",
        ]
        self._release(node)

    def _sum(self, node: Node) -> None:
        """Along each row, or, for a matrix, down each column."""
        operand = _node(node.args[0])
        rows, columns = _shape(operand)
        text = self._typed(operand, self._dtype, rows, columns)
        dimensions, (dim, *others) = len(operand.meta["shape"]), _dims(node)
        self._check(not others and node.meta["dtype"] == self._dtype, "a sum over several dimensions")
        to = self._new(node)
        if dim in (-1, dimensions - 1):
            at = f"i * pad({_shape(node)[1]})" if _shape(node)[0] > 1 or rows == 1 else "i"
            outer, inner = _rows(rows), f"for (int j = 0; j < {columns}; j++)"
        else:
            self._check(dimensions == 2, "a sum over another dimension")
            at = "j"
            outer, inner = _columns(columns), f"for (int i = 0; i < {rows}; i++)"
        self.lines += [*outer, "  real sum = 0;", f"  {inner} sum += {text};", f"  {to}[{at}] = sum;", "}"]
        self._release(node)

    def _softmax(self, node: Node) -> None:
        operand, dim = node.args[:2]
        matrix, matrices = self._matrix(operand), len(node.meta["shape"]) == 2
        self._check(matrices and dim in (-1, 1) and not matrix.transposed, "a softmax over another dimension")
        name = SOFTMAX[kind(node)]
        self.lines.append(f"{name}<{matrix.rows}, {matrix.columns}>({matrix.name}, {self._new(node)});")
        self._release(node)

    def _typed(self, arg: object, dtype: torch.dtype, rows: int, columns: int) -> str:
        """The C++ text, of this dtype, of element (i, j) of an operand, in a loop over a matrix of this shape."""
        if not isinstance(arg, Node):
            return whole(arg) if dtype == torch.int32 else number(arg, dtype)
        of, text = arg.meta["dtype"], self._text(arg, rows, columns)
        if of == dtype:
            return text
        self._check(torch.int32 not in (of, dtype), f"{of} as {dtype}")
        return f"({text} != 0)" if dtype == torch.bool else f"real({text})"

    def _text(self, node: Node, rows: int, columns: int) -> str:
        """As `_typed`, of the operand's own dtype."""
        value, typed = self._value[node], partial(self._typed, rows=rows, columns=columns)
        if isinstance(value, str):
            return value
        if isinstance(value, Matrix):
            self._check(not value.transposed, "an elementwise operation on a transpose")
            if value.packed:
                return f"{value.name}[i]"
            i = f"i * pad({value.columns})" if value.rows > 1 or rows == 1 else "0"
            text = f"{value.name}[{i} + {'j' if value.columns > 1 or columns == 1 else '0'}]"
            return f"({text} != 0)" if node.meta["dtype"] == torch.bool else text
        operation, dtype, given = kind(node), node.meta["dtype"], _arguments(node)
        if operation == aten._to_copy:
            return typed(given.pop("self"), dtype)
        if operation == aten.where:
            condition, a, b = (
                typed(given["condition"], torch.bool),
                typed(given["self"], dtype),
                typed(given["other"], dtype),
            )
            return f"({condition} ? {a} : {b})"
        table, of, to = self._table(operation, node)
        self._check(dtype == to, f"{node.target} to {dtype}")
        self._check(operation in table, f"{node.target} of these")
        try:
            return table[operation](**{name: typed(arg, of) for name, arg in given.items()})
        except TypeError:
            raise UnprintableError(f"{node.target} with {', '.join(given)}") from None

    def _table(self, operation: object, node: Node) -> tuple[dict[object, Text], torch.dtype, torch.dtype]:
        """Where an operation stands, from which dtype it is, and to which."""
        if any(arg.meta["dtype"] == torch.int32 for arg in node.all_input_nodes):
            compares = operation in WHOLE_COMPARISONS
            return (WHOLE_COMPARISONS, torch.int32, torch.bool) if compares else (WHOLE, torch.int32, torch.int32)
        if operation in ARITHMETIC:
            return ARITHMETIC, self._dtype, self._dtype
        if operation in COMPARISONS:
            return COMPARISONS, self._dtype, torch.bool
        return LOGIC, torch.bool, torch.bool

    def _matrix(self, node: object) -> Matrix:
        value = self._value[_node(node)]
        self._check(isinstance(value, Matrix), "a product with what is not a matrix")
        return value  # pyright: ignore[reportReturnType]

    def _first_change(self, node: Node) -> int:
        """When a parameter that this operation reads, itself or through what is folded into it, is changed."""
        changes = [self._changes.get(arg, len(self._position)) for arg in node.all_input_nodes]
        changes += [self._first_change(arg) for arg in node.all_input_nodes if self._folded(arg)]
        return min(changes, default=len(self._position))

    def _folded(self, node: Node) -> bool:
        return node in self._value and self._value[node] is None

    def _new(self, node: Node, reuse: bool = True) -> str:
        """A matrix for the node's result, which is free or new."""
        shape = _shape(node)
        free = self._free.get(shape, [])
        name = free.pop() if free and reuse else f"v{len(self._sizes) - 2}"
        self._sizes.setdefault(name, _cells(*shape))
        self._value[node] = Matrix(name, *shape)
        self._uses[name] = len(node.users)
        return name

    def _release(self, node: Node) -> list[Matrix]:
        """Counts down the uses of what the node reads, itself or through what is folded into it; lists it."""
        read: list[Matrix] = []
        for arg in node.all_input_nodes:
            value = self._value[arg]
            if value is None:
                read += self._release(arg)
            elif isinstance(value, Matrix):
                read.append(value)
                self._uses[value.name] -= 1
                if self._uses[value.name] == 0:
                    self._free.setdefault((value.rows, value.columns), []).append(value.name)
        return read

    @staticmethod
    def _check(holds: bool, otherwise: str) -> None:
        if not holds:
            raise UnprintableError(otherwise)


def _rows(rows: int) -> Iterator[str]:
    yield "#pragma omp for schedule(static)"
    yield f"for (int i = 0; i < {rows}; i++) {{"


def _columns(columns: int) -> Iterator[str]:
    yield "#pragma omp for schedule(static)"
    yield f"for (int j = 0; j < {columns}; j++) {{"


def _dims(node: Node) -> tuple[int, ...]:
    """Over which dimensions a sum is taken."""
    dims = _arguments(node)["dim"]
    return tuple(dims) if isinstance(dims, (list, tuple)) else (int(str(dims)),)


def _arguments(node: Node) -> dict[str, object]:
    """The arguments of an operation by their names, those left out that are as torch has them by default."""
    schema = node.target._schema.arguments  # pyright: ignore[reportFunctionMemberAccess, reportAttributeAccessIssue]
    given = {each.name: value for each, value in zip(schema, node.args, strict=False)} | node.kwargs
    usual = {each.name: each.default_value for each in schema if each.has_default_value()}
    return {
        name: value
        for name, value in given.items()
        if name not in NO_VALUES and not (name in usual and value == usual[name])
    }


def _node(arg: object) -> Node:
    if not isinstance(arg, Node):
        raise UnprintableError(f"an operation on {arg}, which is not a tensor")
    return arg


def _shape(node: Node) -> tuple[int, int]:
    """The shape of a node's result as (rows, columns)."""
    shape = node.meta["shape"]
    if len(shape) > 2:
        raise UnprintableError("a tensor of more than two dimensions")
    rows, columns = (1, 1, *shape)[-2:]
    return int(rows), int(columns)


def _cells(rows: int, columns: int) -> str:
    return f"int64_t({rows}) * pad({columns})"

"""Prints the operations of a recorded step as C++ statements.

There are some forty kinds of operations. Products become calls of products.h. An elementwise operation is folded into
the one that uses it, and each loop that is left writes one matrix, or changes parameters, on the tiles of a product
where it can. In the C++, x and y are the batch, n0, n1, … the step's numbers, p0, p1, … the parameters, v0, v1, … what
the step computes, in one workspace, and t0, t1, … an element's values in a loop.

What is printed computes what torch does, operation by operation and type by type; what can't be is an UnprintableError.
"""

from collections.abc import Container, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch.fx import Graph, Node

from bp_torch.native.memory import Matrix, Memory
from bp_torch.native.operations import (
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
from bp_torch.native.record import arguments, kind, shape_of
from bp_torch.native.updates import Update, adds_rows, updates

REDUCTION = "#pragma omp simd reduction(+ : sum)"  # a sum may be taken in any order
NAMES = {torch.bool: "bool", torch.int32: "uint32_t"}  # of an element's type in C++


class _Loop(NamedTuple):
    """The last loop over elements: which lines it is, and what it writes."""

    start: int = -1
    end: int = -1
    shape: tuple[int, int] = (0, 0)
    writes: list[tuple[str, str]] = []  # noqa: RUF012 (never changed)


class Printer:
    """Walks a graph once: `lines` are the statements of a batch, `memory` where its matrices lie."""

    def __init__(
        self,
        graph: Graph,
        names: list[str],
        scalars: list[str],
        dtype: torch.dtype,
        fuse: bool = True,
        form: str = "",
        by_columns: Container[int] = (),
    ) -> None:
        """names: of the batch's tensors, the first inputs of the graph. scalars: of the numbers after them.

        fuse: whether an update runs on the tiles of the product that it begins with, or on a matrix of its own.
        form: of x, as in `Inputs`. by_columns: which parameters lie by columns: where x has a form, its weights, and
        what is kept for them.
        """
        nodes = list(graph.nodes)
        inputs = [node for node in nodes if node.op == "placeholder"]
        batch, rest = dict(zip(inputs, names, strict=False)), inputs[len(names) :]
        parameters = rest[len(scalars) :]
        self.parameters = [f"p{k}" for k in range(len(parameters))]
        self.lines: list[str] = []
        self._loop = _Loop()
        self._by_columns = False  # whether the loop that is being written is over a matrix's columns
        self._position = {node: k for k, node in enumerate(nodes)}
        self._value: dict[Node, Matrix | str | None] = {}  # None: folded into the node that uses it
        self._counts: set[object] = set()  # whole numbers from 0 on
        self._shifts: dict[object, str] = {}  # what a softmax has found of its operand
        self._dtype = dtype
        self.memory = Memory()
        self._changes = {node.args[0]: self._position[node] for node in nodes if kind(node) in UPDATES}
        for node, name in batch.items():
            outside = name == "x" and form == "stored"
            self._value[node] = (self.memory.outside if outside else self.memory.keep)(name, *shape_of(node))
        for k, (node, name) in enumerate(zip(parameters, self.parameters, strict=True)):
            matrix = self.memory.outside(name, *shape_of(node))
            if k in by_columns:
                matrix = matrix._replace(rows=matrix.columns, columns=matrix.rows, transposed=True)
            self._value[node] = matrix
        if form:
            x = self._value[inputs[0]] = self._matrix(inputs[0])._replace(form=form)
            self.memory.room("active", f"places({x.rows}, {x.columns})")
        self._value |= dict(zip(rest, scalars, strict=False))
        self._updates: dict[Node, Update] = {}
        for each in updates(nodes):
            update = each if fuse else each._replace(sums=None)
            self._updates |= dict.fromkeys([*update.nodes, *([update.sums] if update.sums else [])], update)
        for node in nodes:
            if node.op == "call_function":
                self._visit(node)

    def _visit(self, node: Node) -> None:
        operation, of_all = kind(node), kind(node) == aten.sum and "dim" not in arguments(node)
        dtype = torch.float64 if of_all else self._dtype
        whole = all(arg.meta["dtype"] == torch.int32 for arg in node.all_input_nodes)
        known = (dtype, torch.bool, *[torch.int32] * whole)
        self._check(node.meta["dtype"] in known, f"{node.target} to {node.meta['dtype']}")
        if node in self._updates:
            update = self._updates[node]
            if node is update.nodes[-1]:
                self._update(update)
        elif operation in TRANSPOSES:
            self._transpose(node)
        elif operation in CONSTANTS:
            value = next(
                (v for name, v in arguments(node).items() if name in ("fill_value", "s")), CONSTANTS[operation]
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
        self.memory.share(matrix, len(node.users) - 1)

    def _place(self, node: Node) -> None:
        """The numbers from 0 on, row by row: an element of the matrix that they are viewed as is its place in it."""
        counted = kind(node) == aten.arange and node.args[0] in (0,)
        self._check(counted or node.args[0] in self._counts, "a view of what is in memory")
        self._counts.add(node)
        self._value[node] = f"uint32_t(i * {shape_of(node)[1]} + j)"

    def _column(self, node: Node) -> None:
        matrix = self._matrix(node.args[0])
        column = len(node.meta["shape"]) == 2 and node.args[1] in (-1, 1) and not matrix.transposed
        self._check(column, "a vector seen as other than a column")
        self._value[node] = Matrix(matrix.name, matrix.columns, 1, packed=True)
        self.memory.share(matrix, len(node.users) - 1)

    def _elementwise(self, node: Node) -> None:
        users = list(node.users)
        folded = (
            len(users) == 1
            and (kind(users[0]) in ELEMENTWISE or kind(users[0]) in (aten.sum, aten.copy_))
            and self._position[users[0]] < self._first_change(node) + (kind(users[0]) == aten.copy_)
        )
        self._check_in_place(node)
        self._value[node] = None
        if folded or node.meta["dtype"] == torch.int32:  # whole numbers are never in memory
            return
        rows, columns = shape_of(node)
        text = self._typed(node, self._dtype, rows, columns)
        read = self._release(node)
        to = self._new(node, reuse=all(matrix[1:3] in ((rows, columns), (1, columns)) for matrix in read))
        self._write(to, text, rows, columns)

    def _check_in_place(self, node: Node) -> None:
        if kind(node) in IN_PLACE:  # whoever asks for the first operand later gets the result
            self._check(len(_node(node.args[0]).users) == 1, "an operation in place on what is used elsewhere")

    def _copy(self, node: Node) -> None:
        into, value = node.args[:2]
        rows, columns = shape_of(node)
        complete = not node.users and shape_of(_node(value)) == (rows, columns)
        self._check(complete, "a copy that is not a parameter's update")
        self._write(self._parameter(into), self._typed(value, self._dtype, rows, columns), rows, columns)
        self._release(node)

    def _update(self, update: Update) -> None:
        """A loop over the elements of parameters. An operation is a line, and its result a variable."""
        changed = self._matrix(update.nodes[-1].args[0])
        rows, columns, self._by_columns = changed.rows, changed.columns, changed.transposed
        if update.sums is not None:
            self._value[update.sums] = "sums[j - first]"
        lines, written = list[str](), list[str]()  # the statements; the matrices
        for k, node in enumerate(update.nodes):
            if kind(node) == aten.copy_:
                to = self._parameter(node.args[0], self._by_columns)
                text = self._typed(node.args[1], self._dtype, rows, columns)
                lines.append(f"{to}[i * pad({columns}) + j] = {text};")
                written.append(to)
            else:
                self._check_in_place(node)
                self._value[node] = None
                text = self._text(node, rows, columns)
                lines.append(f"const {NAMES.get(node.meta['dtype'], 'real')} t{k} = {text};")
                self._value[node] = f"t{k}"
        clear = [f"  clear<{columns}>({to} + i * pad({columns})" for to in written]
        if update.sums is None:
            self.lines += [*_rows(rows), *_elements(f"0; j < pad({columns})", lines)]
            self.lines += [*(f"{each});" for each in clear), "}", "meet();"]
        else:
            head, loop = "[=](int i, int first, const real* sums) {", _elements("first; j < first + W", lines)
            last = [f"  if (first + W > {columns}) {{", *(f"  {each}, first);" for each in clear), "  }"]
            self._sums(update.sums, [head, *loop, *last, ", ".join(["}", *written])])
            self._release(update.sums)
        for node in update.nodes:
            self._release(node)
        self._by_columns = False

    def _sums(self, node: Node, then: list[str]) -> None:
        """δᵀa, or the sum of δ's rows, and what is then done with each vector of it."""
        first, *second = (self._matrix(arg) for arg in node.all_input_nodes)
        if self._by_columns:
            call = self._input_update(first, *second)
        elif second:
            a, template = second[0], f"<{first.columns}, {second[0].columns}, {first.rows}>"
            self._check(first.transposed and not a.transposed, "a product of other matrices than δᵀ and a")
            self.memory.scratch(_panels(first, a))
            call = f"product_tn{template}({first.name}, {a.name}, scratch, "
        else:
            self._check(not first.transposed, "a sum of a transpose's rows")
            call = f"sum_rows<{first.rows}, {first.columns}>({first.name}, "
        self.lines += [call + then[0], *then[1:]]
        self.lines[-1] += ");"

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
            *_elements(f"0; j < pad({columns})", [f"{name}[{at} + j] = {element};" for name, element in writes]),
            *(f"  clear<{columns}>({name} + {at});" for name in dict.fromkeys(name for name, _ in writes)),
            "}",
            "meet();",
        ]
        self._loop = _Loop(start, len(self.lines), (rows, columns), writes)

    def _product(self, node: Node) -> None:
        *into, first, second = (self._matrix(arg) for arg in node.args)
        form = "tn"[not first.transposed], "tn"[not second.transposed]
        scaled = not {"alpha", "beta"}.isdisjoint(arguments(node))
        rows, columns = shape_of(_node(node.args[0]) if into else node)
        inner = first.rows if first.transposed else first.columns
        template = f"<{rows}, {columns}, {inner}>"
        if into and into[0].transposed:
            self.lines.append(f"{self._input_update(first, second)}{self._parameter(node.args[0], True)});")
        elif into:
            update = form == ("t", "n") and not scaled and not node.users
            self._check(update, "an update that is not w += δᵀa")
            self.memory.scratch(_panels(first, second))
            to = self._parameter(node.args[0])
            self.lines.append(f"product_tn{template}({first.name}, {second.name}, scratch, {to});")
        elif form == ("t", "n"):
            self._sums(node, [self._into(node)])
        else:
            self._check(form in (("n", "t"), ("n", "n")), "a product of two transposes")
            to = self._new(node)
            if first.form and form == ("n", "n"):
                self.lines.append(f"product_{first.form}{template}({first.name}, active, {second.name}, {to});")
            else:
                self.lines.append(f"product_{''.join(form)}{template}({first.name}, {second.name}, {to});")
        self._release(node)

    def _input_update(self, delta: Matrix, x: Matrix) -> str:
        """The call, up to what is changed, that takes xᵀδ of the inputs that are not zero."""
        self._check(
            x.form != "" and delta.transposed, "a change of the inputs' weights other than by their own product"
        )
        return f"update_{x.form}<{delta.rows}, {delta.columns}, {x.columns}>({x.name}, active, {delta.name}, "

    def _add_rows(self, node: Node) -> None:
        b, delta_t, ones = node.args
        delta, factor = self._matrix(delta_t), self._value[_node(ones)]
        self._check(delta.transposed and isinstance(factor, str), "a matrix times a vector that is not constant")
        self._check(len(arguments(node)) == 3 and not node.users, "an update that is not b += Σδ")
        self.lines.append(f"add_rows<{delta.rows}, {delta.columns}>({delta.name}, {self._parameter(b)}, {factor});")
        self._release(node)

    def _sum_of_all(self, node: Node) -> None:
        rows, columns = shape_of(_node(node.args[0]))
        self._check(all(user.op == "output" for user in node.users), "a sum over all examples before the last one")
        self.lines += [
            "if (is_first()) {",
            "  double sum = 0;",
            f"  for (int i = 0; i < {rows}; i++)",
            f"    for (int j = 0; j < {columns}; j++) sum += {self._typed(node.args[0], self._dtype, rows, columns)};",
            "  cost += sum;",
            "}",
            "meet();",
        ]
        self._release(node)

    def _sum(self, node: Node) -> None:
        """Along each row, or, for a matrix, down each column."""
        operand = _node(node.args[0])
        rows, columns = shape_of(operand)
        if adds_rows(node) and isinstance(self._value[operand], Matrix) and node.meta["dtype"] == self._dtype:
            self._sums(node, [self._into(node)])
            self._release(node)
            return
        text = self._typed(operand, self._dtype, rows, columns)
        dimensions, (dim, *others) = len(operand.meta["shape"]), _dims(node)
        self._check(not others and node.meta["dtype"] == self._dtype, "a sum over several dimensions")
        to = self._new(node)
        if dim in (-1, dimensions - 1):
            at = f"i * pad({shape_of(node)[1]})" if shape_of(node)[0] > 1 or rows == 1 else "i"
            outer, inner = _rows(rows), f"{REDUCTION}\n  for (int j = 0; j < {columns}; j++)"
        else:
            self._check(dimensions == 2, "a sum over another dimension")
            at = "j"
            outer, inner = _columns(columns), f"for (int i = 0; i < {rows}; i++)"
        self.lines += [*outer, "  real sum = 0;", f"  {inner} sum += {text};", f"  {to}[{at}] = sum;", "}", "meet();"]
        self._release(node)

    def _softmax(self, node: Node) -> None:
        """Both kinds need a row's largest z and its sum of exponentials: what one has found serves the other."""
        operand, dim = node.args[:2]
        matrix, matrices = self._matrix(operand), len(node.meta["shape"]) == 2
        self._check(matrices and dim in (-1, 1) and not matrix.transposed, "a softmax over another dimension")
        to, template = self._new(node), f"<{matrix.rows}, {matrix.columns}>"
        shifts = self._shifts.get(operand)
        if kind(node) == aten._softmax or shifts is None:
            shifts = self._shifts[operand] = self.memory.new(2, matrix.rows, uses=1).name  # never free
            self.lines.append(f"softmax{template}({matrix.name}, {to}, {shifts});")
        if kind(node) == aten._log_softmax:
            self.lines.append(f"log_softmax{template}({matrix.name}, {shifts}, {to});")
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
            self._check(value.transposed == self._by_columns, "an elementwise operation on a transpose")
            if value.packed:
                return f"{value.name}[i]"
            i = f"i * pad({value.columns})" if value.rows > 1 or rows == 1 else "0"
            text = f"{value.name}[{i} + {'j' if value.columns > 1 or columns == 1 else '0'}]"
            return f"({text} != 0)" if node.meta["dtype"] == torch.bool else text
        operation, dtype, given = kind(node), node.meta["dtype"], arguments(node)
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

    def _into(self, node: Node) -> str:
        """What writes sums to a matrix for the node's result."""
        return f"Into{{{self._new(node)}, pad({shape_of(node)[1]})}}"

    def _parameter(self, node: object, by_columns: bool = False) -> str:
        to = self._matrix(node)
        lies = to.name in self.parameters and to.transposed == by_columns
        self._check(lies, "a change of what is not a parameter")
        return to.name

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
        matrix = self.memory.new(*shape_of(node), len(node.users), reuse)
        self._value[node] = matrix
        return matrix.name

    def _release(self, node: Node) -> list[Matrix]:
        """Counts down the uses of what the node reads, itself or through what is folded into it; lists it."""
        read: list[Matrix] = []
        for arg in node.all_input_nodes:
            value = self._value[arg]
            if value is None:
                read += self._release(arg)
            elif isinstance(value, Matrix):
                read.append(value)
                self.memory.release(value)
        return read

    @staticmethod
    def _check(holds: bool, otherwise: str) -> None:
        if not holds:
            raise UnprintableError(otherwise)


def _rows(rows: int) -> Iterator[str]:
    yield f"SHARED(i, {rows}) {{"


def _columns(columns: int) -> Iterator[str]:
    yield f"SHARED(j, {columns}) {{"


def _dims(node: Node) -> tuple[int, ...]:
    """Over which dimensions a sum is taken."""
    dims = arguments(node)["dim"]
    return tuple(dims) if isinstance(dims, (list, tuple)) else (int(str(dims)),)


def _elements(span: str, lines: list[str]) -> list[str]:
    """A loop over the elements of a row: j from and to where `span` says."""
    return ["#pragma GCC ivdep", f"  for (int j = {span}; j++) {{", *(f"    {line}" for line in lines), "  }"]


def _panels(delta: Matrix, a: Matrix) -> str:
    """How many elements of scratch δᵀa needs."""
    return f"(packs({delta.columns}, {delta.rows}) ? int64_t({delta.rows}) * panels({a.columns}) * P : 0)"


def _node(arg: object) -> Node:
    if not isinstance(arg, Node):
        raise UnprintableError(f"an operation on {arg}, which is not a tensor")
    return arg

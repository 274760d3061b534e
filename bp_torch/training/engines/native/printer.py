"""Prints the training step as C++: the step itself, recorded as torch operations, so that no formula is written twice.

The record holds some forty kinds of operations. Products become calls of products.h. An elementwise operation is folded
into the one that uses it, and each loop that is left writes one matrix. In the C++, x and y are the batch, n0, n1, …
the step's numbers, p0, p1, … the parameters, and v0, v1, … are what the step computes, in one workspace.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.fx import Graph, Node

from bp_torch.activations import ACTIVATIONS, Activation
from bp_torch.costs import COSTS, SOFTMAX, Cost
from bp_torch.network import Layer, Network
from bp_torch.state import State
from bp_torch.training.job import Job
from bp_torch.training.step import Batch, batch_cost, step

aten = torch.ops.aten
HEADERS = [Path(__file__).with_name(name) for name in ("products.h", "rows.h")]
REAL = {torch.float32: "float", torch.float64: "double"}


class UnprintableError(ValueError):
    """The step holds an operation that is not in the tables here; the message names it."""


def _plus(a: str, b: str, alpha: str = "real(1)") -> str:
    return f"({a} + {b})" if alpha == "real(1)" else f"({a} + {alpha} * {b})"


def _clamp(a: str, low: str | None = None, high: str | None = None, **limits: str) -> str:
    low, high = limits.get("min", low), limits.get("max", high)
    a = a if low is None else f"larger({a}, {low})"
    return a if high is None else f"smaller({a}, {high})"


def _square(a: str, n: str) -> str:
    if n not in ("real(2)", "real(2.0)"):
        raise UnprintableError("a power other than the square")
    return f"square({a})"


def _call(name: str) -> Callable[..., str]:
    return lambda *operands: f"{name}({', '.join(operands)})"


# Operations on one element: the C++ text of the result from that of the operands.
ELEMENTWISE: dict[object, Callable[..., str]] = {
    aten.add: _plus,
    aten.add_: _plus,
    aten.sub: lambda a, b, alpha="real(1)": _plus(a, f"(-{b})", alpha),
    aten.rsub: lambda a, b: f"({b} - {a})",
    aten.mul: lambda a, b: f"({a} * {b})",
    aten.mul_: lambda a, b: f"({a} * {b})",
    aten.div: lambda a, b: f"({a} / {b})",
    aten.addcmul: lambda a, b, c, value="real(1)": f"({a} + {value} * {b} * {c})",
    aten.neg: lambda a: f"(-{a})",
    aten.reciprocal: lambda a: f"(1 / {a})",
    aten.pow: _square,
    aten.abs: _call("abs"),
    aten.sign: _call("sign"),
    aten.sqrt: _call("sqrt"),
    aten.exp: _call("exp"),
    aten.expm1: _call("expm1"),
    aten.log: _call("log"),
    aten.log1p: _call("log1p"),
    aten.sin: _call("sin"),
    aten.cos: _call("cos"),
    aten.tanh: _call("tanh"),
    aten.erf: _call("erf"),
    aten.sigmoid: lambda a: f"(1 / (1 + exp(-{a})))",
    aten.relu: lambda a: f"larger({a}, real(0))",
    aten.clamp: _clamp,
    aten.maximum: _call("larger"),
    aten.minimum: _call("smaller"),
    aten.where: lambda condition, a, b: f"({condition} ? {a} : {b})",
    aten.gt: lambda a, b: f"real({a} > {b})",
    aten.ge: lambda a, b: f"real({a} >= {b})",
    aten.lt: lambda a, b: f"real({a} < {b})",
    aten.le: lambda a, b: f"real({a} <= {b})",
    aten._to_copy: lambda a: a,
    aten.ones_like: lambda a: "real(1)",
    aten.new_ones: lambda *_: "real(1)",
}


class Matrix(NamedTuple):
    """A matrix in memory, its rows padded; a vector is a row. transposed: seen as its transpose."""

    name: str
    rows: int
    columns: int
    transposed: bool = False


@dataclass(frozen=True)
class _Key:
    """All that the printed step on a batch of m examples depends on."""

    sizes: tuple[int, ...]
    activations: tuple[Activation, ...]
    cost_function: Cost
    dtype: torch.dtype
    numbers: int
    m: int


_one_at_a_time = RLock()  # records a step: meanwhile torch.fx has patched torch's modules for the whole process
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_one_at_a_time.acquire, after_in_parent=_one_at_a_time.release, after_in_child=_one_at_a_time.release
    )

NUMBERS = 1  # scalars of a step: see `numbers_table`


def source(job: Job) -> str:
    """A C++ file with a function run_m for each size m of the job's batches: m examples, some steps, Σ_x C_x.

    What is printed of the package's own functions is kept for the next job of its kind. Raises UnprintableError where
    the network's activations or cost hold an operation that is not in `ELEMENTWISE`.
    """
    net = job.state.net
    of_all = tuple(net.sizes), net.activations, net.cost_function, net.layers[0].w.dtype, NUMBERS
    own = all(ACTIVATIONS.get(f.name) is f or f is SOFTMAX for f in net.activations)
    function = _remembered if own and COSTS.get(net.cost_function.name) is net.cost_function else _function
    with _one_at_a_time:
        functions = [function(_Key(*of_all, m)) for m in job.sizes_of_batches]
    return "\n".join([f"typedef {REAL[net.layers[0].w.dtype]} real;", *_headers(), *functions])


@cache
def _headers() -> list[str]:
    return [header.read_text(encoding="utf-8") for header in HEADERS]


def record_step(key: _Key) -> Graph:
    """The step as a graph of torch operations: x, y, the numbers, and the parameters in; the cost out."""

    from torch.fx.experimental.proxy_tensor import make_fx  # takes a second to import

    def run(x: Tensor, y: Tensor, *rest: Tensor) -> Tensor:
        numbers, parameters = rest[: key.numbers], rest[key.numbers :]
        layers = tuple(Layer(*pair) for pair in zip(parameters[::2], parameters[1::2], strict=True))
        net = Network(layers, key.activations, key.cost_function)
        return batch_cost(net, step(State(net), Batch(x, y, x.new_ones(key.m)), numbers), y)

    shapes = [(key.m, key.sizes[0]), (key.m, key.sizes[-1]), *[()] * key.numbers]
    for n_in, n_out in pairwise(key.sizes):
        shapes += [(n_out, n_in), (n_out,)]
    with torch.inference_mode(False), torch.no_grad():
        return make_fx(run, tracing_mode="fake")(
            *(torch.empty(shape, dtype=key.dtype, device="cpu") for shape in shapes)
        ).graph


def _function(key: _Key) -> str:
    printer, m = _Printer(record_step(key), key.numbers), key.m
    body = "\n".join(f"    {line}" for line in printer.lines)
    pointers = "".join(f"  real* {name} = parameters[{k}];\n" for k, name in enumerate(printer.parameters))
    numbers = "".join(f"    const real n{k} = numbers[batch * {key.numbers} + {k}];\n" for k in range(key.numbers))
    n_in, n_out = key.sizes[0], key.sizes[-1]
    return f"""
namespace step_{m} {{
{printer.layout}
}}
extern "C" int64_t workspace_{m}() {{ return step_{m}::elements; }}
extern "C" double run_{m}(const real* examples, const real* targets, const int64_t* order, int64_t batches,
                          const real* numbers, real** parameters, real* workspace, int threads) {{
  using namespace step_{m};
{pointers}{printer.pointers}
  double cost = 0;
#pragma omp parallel num_threads(threads)
  for (int64_t batch = 0; batch < batches; batch++) {{
{numbers}    gather<{m}, {n_in}>(examples, order + batch * {m}, x);
    gather<{m}, {n_out}>(targets, order + batch * {m}, y);
    if (batch + 1 < batches) prefetch<{m}, {n_in}>(examples, order + (batch + 1) * {m});
{body}
  }}
  return cost;
}}"""


_remembered = lru_cache(maxsize=64)(_function)


class _Printer:
    """Walks a graph once: `lines` are the statements of a batch, `layout` and `pointers` where its matrices lie."""

    def __init__(self, graph: Graph, numbers: int) -> None:
        nodes = list(graph.nodes)
        x, y, *rest = (node for node in nodes if node.op == "placeholder")
        parameters = rest[numbers:]
        self.parameters = [f"p{k}" for k in range(len(parameters))]
        self.lines: list[str] = []
        self._position = {node: k for k, node in enumerate(nodes)}
        self._value: dict[Node, Matrix | str | None] = {}  # None: folded into the node that uses it
        self._uses: Counter[str] = Counter()  # of a matrix, still to come
        self._free: dict[tuple[int, int], list[str]] = {}
        self._sizes = {"x": _cells(*_shape(x)), "y": _cells(*_shape(y))}
        self._scratch = ["int64_t(0)"]
        self._changes = {
            node.args[0]: self._position[node] for node in nodes if _kind(node) in (aten.addmm_, aten.addmv_)
        }
        for node, name in [(x, "x"), (y, "y"), *zip(parameters, self.parameters, strict=True)]:
            self._value[node] = Matrix(name, *_shape(node))
            self._uses[name] = len(nodes) * len(nodes)  # never free
        self._value |= {node: f"n{k}" for k, node in enumerate(rest[:numbers])}
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
        kind = _kind(node)
        if kind in (aten.transpose, aten.t):
            matrix = self._matrix(node.args[0])
            self._value[node] = matrix._replace(transposed=not matrix.transposed)
            self._uses[matrix.name] += len(node.users) - 1
        elif kind in (aten.new_ones, aten.ones_like, aten.full, aten.new_full, aten.ones):
            self._value[node] = _number(node.args[1] if kind in (aten.full, aten.new_full) else 1)
        elif kind in ELEMENTWISE:
            self._elementwise(node)
        elif kind in (aten.mm, aten.addmm_):
            self._product(node)
        elif kind == aten.addmv_:
            self._add_rows(node)
        elif kind == aten.sum:
            self._sum(node)
        elif kind in (aten._softmax, aten._log_softmax):
            self._softmax(node)
        else:
            raise UnprintableError(str(node.target))

    def _elementwise(self, node: Node) -> None:
        users = list(node.users)
        folded = (
            len(users) == 1
            and (_kind(users[0]) in ELEMENTWISE or _kind(users[0]) == aten.sum)
            and self._position[users[0]] < self._first_change(node)
        )
        if _kind(node) in (aten.add_, aten.mul_):  # in place: whoever asks for the first operand later gets the sum
            self._check(len(_node(node.args[0]).users) == 1, "an operation in place on what is used elsewhere")
        self._value[node] = None
        if folded:
            return
        rows, columns = _shape(node)
        text = self._text(node, rows, columns)
        read = self._release(node)
        to = self._new(node, reuse=all(matrix[1:3] in ((rows, columns), (1, columns)) for matrix in read))
        index = f"i * pad({columns}) + j"
        self.lines += [
            *_rows(rows),
            "#pragma GCC ivdep",
            f"  for (int j = 0; j < pad({columns}); j++) {to}[{index}] = {text};",
            f"  clear<{columns}>({to} + i * pad({columns}));",
            "}",
        ]

    def _product(self, node: Node) -> None:
        *into, first, second = (self._matrix(arg) for arg in node.args)
        form = "tn"[not first.transposed], "tn"[not second.transposed]
        alpha_beta = node.kwargs.get("alpha", 1), node.kwargs.get("beta", 1)
        rows, columns = _shape(_node(node.args[0]) if into else node)
        inner = first.rows if first.transposed else first.columns
        template = f"<{rows}, {columns}, {inner}>"
        if into:
            self._check(form == ("t", "n") and alpha_beta == (1, 1), "an update that is not w += δᵀa")
            self._scratch.append(f"(packs({rows}, {inner}) ? int64_t({inner}) * panels({columns}) * P : 0)")
            self.lines.append(f"product_tn{template}({first.name}, {second.name}, {into[0].name}, scratch);")
        else:
            self._check(form in (("n", "t"), ("n", "n")), "a product of two transposes")
            to = self._new(node)
            self.lines.append(f"product_{''.join(form)}{template}({first.name}, {second.name}, {to});")
        self._release(node)

    def _add_rows(self, node: Node) -> None:
        b, delta_t, ones = node.args
        delta, factor = self._matrix(delta_t), self._value[_node(ones)]
        self._check(delta.transposed and isinstance(factor, str), "a matrix times a vector that is not constant")
        self.lines.append(f"add_rows<{delta.rows}, {delta.columns}>({delta.name}, {self._matrix(b).name}, {factor});")
        self._release(node)

    def _sum(self, node: Node) -> None:
        operand = _node(node.args[0])
        rows, columns = _shape(operand)
        text = self._text(operand, rows, columns)
        if len(node.args) == 1:
            self._check(all(user.op == "output" for user in node.users), "a sum over all examples before the last one")
            self.lines += [
                "#pragma omp single",
                "{",
                "  double sum = 0;",
                f"  for (int i = 0; i < {rows}; i++)",
                f"    for (int j = 0; j < {columns}; j++) sum += {text};",
                "  cost += sum;",
                "}",
            ]
        else:
            dims = node.args[1]
            dimensions = operand.meta["val"].ndim
            self._check(dims in ([-1], [dimensions - 1]) and dimensions == 2, "a sum over another dimension")
            to = self._new(node)
            at = f"i * pad({_shape(node)[1]})" if _shape(node)[0] > 1 or rows == 1 else "i"
            self.lines += [
                *_rows(rows),
                "  real sum = 0;",
                f"  for (int j = 0; j < {columns}; j++) sum += {text};",
                f"  {to}[{at}] = sum;",
                "}",
            ]
        self._release(node)

    def _softmax(self, node: Node) -> None:
        operand, dim = node.args[:2]
        matrix = self._matrix(operand)
        self._check(dim in (-1, 1) and not matrix.transposed, "a softmax over another dimension")
        name = "softmax" if _kind(node) == aten._softmax else "log_softmax"
        self.lines.append(f"{name}<{matrix.rows}, {matrix.columns}>({matrix.name}, {self._new(node)});")
        self._release(node)

    def _text(self, node: object, rows: int, columns: int) -> str:
        """The C++ text of element (i, j) of an operand, in a loop over a matrix of this shape."""
        if not isinstance(node, Node):
            return _number(node)
        value = self._value[node]
        if isinstance(value, str):
            return value
        if isinstance(value, Matrix):
            self._check(not value.transposed, "an elementwise operation on a transpose")
            i = f"i * pad({value.columns})" if value.rows > 1 or rows == 1 else "0"
            return f"{value.name}[{i} + {'j' if value.columns > 1 or columns == 1 else '0'}]"
        kind = _kind(node)
        operands = [arg if arg is None else self._text(arg, rows, columns) for arg in node.args]
        options = {
            name: self._text(arg, rows, columns)
            for name, arg in node.kwargs.items()
            if name in ("alpha", "value", "min", "max") and arg is not None
        }
        return ELEMENTWISE[kind](*operands, **options)

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


def _kind(node: Node) -> Any:
    """The operation, whatever its overload: aten.add for aten.add.Tensor."""
    return getattr(node.target, "overloadpacket", None)


def _node(arg: object) -> Node:
    if not isinstance(arg, Node):
        raise UnprintableError(f"an operation on {arg}, which is not a tensor")
    return arg


def _shape(node: Node) -> tuple[int, int]:
    """The shape of a node's result as (rows, columns)."""
    shape = node.meta["val"].shape
    if len(shape) > 2:
        raise UnprintableError("a tensor of more than two dimensions")
    rows, columns = (1, 1, *shape)[-2:]
    return int(rows), int(columns)


def _cells(rows: int, columns: int) -> str:
    return f"int64_t({rows}) * pad({columns})"


def _number(value: object) -> str:
    if not isinstance(value, (int, float)):
        raise UnprintableError(f"the argument {value}")
    return f"real({value!r})"

"""Records what a function does to tensors, as torch operations, by running it once.

Each operation is seen just before torch's own kernel runs it. What is not in the record can't be printed, so it is
refused: an operation that has no text, a tensor that comes from elsewhere, a value that is read.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.fx import Graph, Node
from torch.fx.node import map_aggregate
from torch.utils._python_dispatch import TorchDispatchMode

from bp_torch.errors import reason
from bp_torch.native.operations import COMPOSED, PRINTED, UPDATES, UnprintableError, aten

NO_VALUES = {"dtype", "layout", "device", "pin_memory", "memory_format", "non_blocking", "size"}
"""Arguments that say what a result is like, and not what is in it: the record holds the result's shape and dtype."""

ELEMENTS = 20_000_000  # to record with: above that, tensors have no memory, for which torch imports a second or two

READS = "it reads a tensor's value, as `if` and `.item()` do"


@dataclass(frozen=True)
class Ref:
    """A tensor of a record: an input, or, counted after them, what an operation computed."""

    place: int


class Operation(NamedTuple):
    """One operation as it ran: the arguments, with a `Ref` for each tensor, and what its result is like."""

    target: Any
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...]
    shape: tuple[int, ...]
    dtype: torch.dtype


class Tape(NamedTuple):
    """What a function did: its inputs' shapes and dtypes, its operations in their order, and its result. Hashable."""

    inputs: tuple[tuple[int, ...], ...]
    dtypes: tuple[torch.dtype, ...]
    operations: tuple[Operation, ...]
    result: Ref


def record(function: Callable[..., object], inputs: Sequence[Tensor]) -> Tape:
    """What `function` does to the inputs. Raises UnprintableError with the first thing that can't be printed."""
    recorder = _Recorder(inputs)
    result = None
    with torch.inference_mode(False), torch.no_grad():
        try:
            with recorder:
                result = function(*inputs)
        except Exception as error:  # whatever the function raises, outright or for having been refused
            recorder.refuse(f"{type(error).__name__}: {reason(error)}", error)
    result = recorder.refer(result)
    if recorder.refused is not None:
        raise recorder.refused
    shapes, dtypes = tuple(tuple(t.shape) for t in inputs), tuple(t.dtype for t in inputs)
    return Tape(shapes, dtypes, tuple(recorder.operations), result)


@torch.inference_mode(False)  # inference tensors would be recorded by coarser operations
def examples(
    shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, seed: int | None = None, computed: int = 0
) -> list[Tensor]:
    """Tensors of these shapes to record with: random ones, or zeros; or, of much memory, ones that are shapes alone.

    computed: about how many elements more are computed from them.
    """
    if sum(map(math.prod, shapes)) + computed > ELEMENTS:
        return [torch.empty(shape, dtype=dtype, device="meta") for shape in shapes]
    if seed is None:
        return [torch.zeros(shape, dtype=dtype, device="cpu") for shape in shapes]
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=rng, dtype=dtype, device="cpu") for shape in shapes]


def graph_of(tape: Tape) -> Graph:
    """The operations that the result and the updates in place need, as nodes that know their users.

    A node's meta holds the shape and the dtype of its result.
    """
    graph, nodes = Graph(), list[Node]()
    for k, (shape, dtype) in enumerate(zip(tape.inputs, tape.dtypes, strict=True)):
        nodes.append(graph.placeholder(f"input{k}"))
        nodes[-1].meta = {"shape": shape, "dtype": dtype}

    def with_nodes(given: Any) -> Any:
        return map_aggregate(given, lambda each: nodes[each.place] if isinstance(each, Ref) else each)

    for target, args, kwargs, shape, of in tape.operations:
        nodes.append(graph.call_function(target, with_nodes(args), with_nodes(dict(kwargs))))
        nodes[-1].meta = {"shape": shape, "dtype": of}
    graph.output(nodes[tape.result.place])
    for node in reversed(graph.nodes):
        if node.op == "call_function" and not node.users and kind(node) not in UPDATES:
            graph.erase_node(node)
    return graph


def kind(node: Node) -> Any:
    """The operation, whatever its overload: aten.add for aten.add.Tensor."""
    return getattr(node.target, "overloadpacket", None)


def arguments(node: Node) -> dict[str, object]:
    """The arguments of an operation by their names, those left out that are as torch has them by default."""
    schema = node.target._schema.arguments  # pyright: ignore[reportFunctionMemberAccess, reportAttributeAccessIssue]
    given = {each.name: value for each, value in zip(schema, node.args, strict=False)} | node.kwargs
    usual = {each.name: each.default_value for each in schema if each.has_default_value()}
    return {
        name: value
        for name, value in given.items()
        if name not in NO_VALUES and not (name in usual and value == usual[name])
    }


def shape_of(node: Node) -> tuple[int, int]:
    """The shape of a node's result as (rows, columns)."""
    shape = node.meta["shape"]
    if len(shape) > 2:
        raise UnprintableError("a tensor of more than two dimensions")
    rows, columns = (1, 1, *shape)[-2:]
    return int(rows), int(columns)


class _Recorder(TorchDispatchMode):
    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.refused: UnprintableError | None = None
        self._inputs, self._device = len(inputs), inputs[0].device
        self._known = {id(t): (t, Ref(k)) for k, t in enumerate(inputs)}  # a tensor that is held keeps its id

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Else torch imports its compiler, for a second, and makes a folder: only to keep away from here."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Tensor:
        operation = getattr(func, "overloadpacket", None)
        if operation == aten.detach:  # the same tensor once more
            result = func(*args)
            self._known[id(result)] = result, self.refer(args[0])
            return result
        if operation in COMPOSED:
            if kwargs or len(args) > 3 or not all(isinstance(each, Tensor) for each in args):
                raise self.refuse(f"{func} with options")
            with self:
                return COMPOSED[operation](*args)
        if operation not in PRINTED:
            raise self.refuse(READS if operation == aten._local_scalar_dense else str(func))
        given = self._referring(args), tuple((name, self._referring(each)) for name, each in (kwargs or {}).items())
        result = func(*args, **(kwargs or {}))
        if not isinstance(result, Tensor) or result.device != self._device or result.layout != torch.strided:
            raise self.refuse(str(func))
        self._known[id(result)] = result, Ref(self._inputs + len(self.operations))
        self.operations.append(Operation(func, *given, tuple(result.shape), result.dtype))
        return result

    def _referring(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self.refer(value)
        if isinstance(value, float) and (value != value or str(value) == "-0.0"):
            raise self.refuse(f"the number {value}")  # which equality does not tell from itself, or from 0.0
        return tuple(map(self._referring, value)) if isinstance(value, (list, tuple)) else value

    def refer(self, value: Any) -> Ref:
        """The record's name for this tensor."""
        if id(value) not in self._known:
            raise self.refuse("a tensor that is not computed from its arguments")
        return self._known[id(value)][1]

    def refuse(self, what: str, cause: Exception | None = None) -> UnprintableError:
        """Notes the first refusal: the function itself may catch what is raised in its midst."""
        if self.refused is None:
            self.refused = UnprintableError(what)
            self.refused.__cause__ = cause
        return self.refused

"""A function of examples, printed and compiled, for many of them: block by block, on threads that wait for nobody.

The function is given as torch operations on a block of rows, and recorded, so that no formula is written twice.
"""

import ctypes
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from bp_torch.native import headers, padding
from bp_torch.native.build import build, compiler
from bp_torch.native.density import is_sparse_enough
from bp_torch.native.operations import UnprintableError
from bp_torch.native.printer import Printer
from bp_torch.native.record import Tape, examples, graph_of, record
from bp_torch.threads import alone
from bp_torch.threads import threads as on_threads

BLOCK = 80  # rows: whole groups of `zeros.h`, and a vector of so many needs no padding
KEPT = 64  # sources


@dataclass(frozen=True)
class OfRows:
    """A function of examples: (blocks of rows, parameters) -> results, matrices (rows, n) or vectors (rows,).

    known_by: what it is told from others by; None: it may do another thing at each call, and is recorded at each.
    """

    function: Callable[[Sequence[Tensor], Sequence[Tensor]], Iterable[Tensor]] = field(compare=False)
    known_by: Hashable


class _Kind(NamedTuple):
    """All that the printed text depends on: what the function does to how many matrices of rows, and how it is run."""

    tape: Tape
    matrices: int
    results: int
    dtype: torch.dtype
    skips: bool


def can_take(rows: Sequence[Tensor], w: Tensor) -> bool:
    """Whether there is a compiler, and rows and parameters, of which w is one, are such as `rowwise` takes."""
    fits = all(t.layout == torch.strided and t.ndim == 2 and t.dtype == w.dtype and len(t) >= BLOCK for t in rows)
    return fits and w.device.type == "cpu" and w.dtype in headers.REAL and w.ndim == 2 and compiler() is not None


@on_threads(1)  # what torch does here is little
def rowwise(of: OfRows, rows: Sequence[Tensor], parameters: Sequence[Tensor], threads: int) -> list[Tensor]:
    """The function's results for the rows of several matrices (m, n), m ≥ BLOCK, of one dtype, on the CPU.

    All that is done with the first matrix and the first parameter is `x @ w.mT`: zeros of x are then passed over,
    where they are many and w is finite. The threads share out the blocks, and none waits for another.
    Raises UnprintableError where the function can't be printed, and EngineError where it can't be compiled.
    """
    dtype, rows = rows[0].dtype, [t.resolve_neg().contiguous() for t in rows]
    skips = is_sparse_enough(rows[0]) and bool(parameters[0].isfinite().all())
    shapes = *((BLOCK, t.shape[1]) for t in rows), *(tuple(t.shape) for t in parameters)
    text_of = _text if of.known_by is None else _known_text
    text, widths = text_of(of, shapes, len(rows), dtype, skips)
    library = build(text, threads=2)  # one for any number
    given = [_with_padding(t.mT if skips and k == 0 else t) for k, t in enumerate(parameters)]
    results = [
        torch.empty((len(rows[0]), *(padding.width(n, dtype) for n in width)), dtype=dtype, device="cpu")
        for width in widths
    ]
    run, elements, pointer = library.run, library.workspace, ctypes.c_void_p
    run.argtypes, run.restype = [pointer, ctypes.c_int64, pointer, pointer, ctypes.c_int], None
    elements.argtypes, elements.restype = [], ctypes.c_int64
    workspace = torch.zeros(elements() * threads, dtype=dtype, device="cpu")
    run(_addresses(rows), len(rows[0]), _addresses([*given, *results]), workspace.data_ptr(), threads)
    return [t[:, : width[0]].contiguous() if width else t for t, width in zip(results, widths, strict=True)]


def _text(
    of: OfRows, shapes: tuple[tuple[int, ...], ...], matrices: int, dtype: torch.dtype, skips: bool
) -> tuple[str, tuple[tuple[int, ...], ...]]:
    """The printed file, and the widths of the function's results."""
    recorded = _recorded(of, shapes, matrices, dtype)
    if of.known_by is None and _recorded(of, shapes, matrices, dtype, seed=1) != recorded:
        raise UnprintableError("activations or a cost that do another thing at each call, or with other values")
    tape, widths = recorded
    kind = _Kind(tape, matrices, len(widths), dtype, skips)
    with alone(kind):  # of several threads that need a text, one prints it
        return _printed(kind), widths


_known_text = lru_cache(maxsize=KEPT)(_text)


@torch.inference_mode(False)
@torch.no_grad()
def _recorded(
    of: OfRows, shapes: tuple[tuple[int, ...], ...], matrices: int, dtype: torch.dtype, seed: int = 0
) -> tuple[Tape, tuple[tuple[int, ...], ...]]:
    """What the function does to a block, with copies of its results into tensors that are given last; their widths."""
    inputs = examples(shapes, dtype, seed)
    results = [torch.empty_like(t) for t in of.function(inputs[:matrices], inputs[matrices:])]

    def run(*given: Tensor) -> Tensor:
        tensors, into = given[: len(shapes)], given[len(shapes) :]
        for each, value in zip(into, of.function(tensors[:matrices], tensors[matrices:]), strict=True):
            each.copy_(value)
        return tensors[0]

    return record(run, [*inputs, *results]), tuple(tuple(t.shape[1:]) for t in results)


@lru_cache(maxsize=KEPT)
def _printed(kind: _Kind) -> str:
    """A C++ file with `run`: the addresses of the rows, how many, those of parameters and results, and a workspace."""
    shapes = kind.tape.inputs
    names = [f"rows{k}" for k in range(kind.matrices)]
    form, by_columns = ("active", {0}) if kind.skips else ("", ())
    printer = Printer(graph_of(kind.tape), names, [], kind.dtype, form=form, by_columns=by_columns)
    results = dict(zip(printer.parameters[-kind.results :], shapes[-kind.results :], strict=True))
    lines = [
        *(f"const real* all{k} = all[{k}];" for k in range(kind.matrices)),
        *(f"real* {name} = parameters[{k}];" for k, name in enumerate(printer.parameters) if name not in results),
    ]
    block = [
        *printer.memory.pointers.replace("real* rows", "const real* rows").splitlines(),
        *(
            f"real* {name} = parameters[{printer.parameters.index(name)}] + first * {_stride(shape)};"
            for name, shape in results.items()
        ),
        *(
            f"{name} = padded_rows<{BLOCK}, {shapes[k][1]}>(all{k} + first * {shapes[k][1]}, workspace + at_{name});"
            for k, name in enumerate(names)
        ),
        *[f"find_active<{BLOCK}, {shapes[0][1]}>(rows0, active);"] * kind.skips,
        *printer.lines,
    ]
    return "\n".join(
        [
            headers.text(kind.dtype, *["zeros.h"] * kind.skips),
            f"namespace block {{\n{printer.memory.layout}\n}}",
            'extern "C" int64_t workspace() { return pad(block::elements); }',
            'extern "C" void run(real** all, int64_t rows, real** parameters, real* workspaces, int threads) {',
            "using namespace block;",
            *lines,
            "const auto block = [=](int64_t part, int who) {",
            f"const int64_t first = part * {BLOCK} + {BLOCK} < rows ? part * {BLOCK} : rows - {BLOCK};",
            "real* workspace = workspaces + who * pad(elements);",
            *block,
            "};",
            f"apart(threads, rows / {BLOCK}, block);  // the last one, which is with rows of before, waits for them:",
            f"if (rows % {BLOCK}) apart(1, 1, [=](int64_t, int) {{ block(rows / {BLOCK}, 0); }});",
            "}",
        ]
    )


def _stride(shape: tuple[int, ...]) -> str:
    return f"pad({shape[1]})" if len(shape) > 1 else "1"


def _addresses(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(tensors))(*(t.data_ptr() for t in tensors))


def _with_padding(tensor: Tensor) -> Tensor:
    if padding.is_padded(tensor):
        return tensor
    wide = padding.padded(tensor)
    padding.columns(wide, tensor).copy_(tensor)
    return wide

"""The C++ of a job's steps: the step itself, recorded and printed, so that no formula is written twice.

What was printed is kept, by all that it depends on.
"""

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import islice, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from bp_torch import activations
from bp_torch.activations import Activation
from bp_torch.costs import Cost
from bp_torch.native import headers, written
from bp_torch.native.build import Source
from bp_torch.native.operations import UnprintableError
from bp_torch.native.printer import Printer
from bp_torch.native.record import Tape, examples, graph_of, record
from bp_torch.network import Network
from bp_torch.own import own_functions
from bp_torch.state import State
from bp_torch.threads import alone
from bp_torch.trace import Layer
from bp_torch.training.batches import batch_sizes
from bp_torch.training.engines.native.inputs import ACTIVE, DENSE, Inputs
from bp_torch.training.job import Job
from bp_torch.training.plan import Plan, numbers_table
from bp_torch.training.step import Batch, batch_cost, step

A_RULE = 16  # tensors of a parameter's shape that a rule computes, roughly
KEPT = 64  # sources, and steps


class Kind(NamedTuple):
    """What a network computes, whatever its weights, and what a step does with it."""

    sizes: tuple[int, ...]
    dtype: torch.dtype
    activations: tuple[Activation, ...]
    cost: Cost
    plan: Plan

    @property
    def slots(self) -> int:
        """How many tensors are kept for each parameter."""
        return len(self.plan.rules[0].optimiser.slots)

    @property
    def numbers(self) -> int:
        """How many scalars a step takes."""
        return numbers_table(1.0, batch_sizes(1, 1), self.plan).shape[1]


@dataclass(frozen=True)
class _Key:
    """All that the printed step on a batch of m examples depends on, and what it is recorded from.

    functions: the `records` of the network's functions, which may be other ones that do the same. written_as: the hash
    of the package's code that was recorded, where that is known.
    """

    sizes: tuple[int, ...]
    dtype: torch.dtype
    m: int
    plan: Plan
    functions: tuple[Tape, ...]
    inputs: Inputs
    written_as: str
    kind: Kind = field(compare=False)


class _Function(NamedTuple):
    """A function that the network brings along: what it is, for messages, and the shapes of its arguments."""

    what: str
    function: Callable[..., object]
    shapes: tuple[tuple[int, ...], ...]


def of(job: Job, inputs: Inputs = DENSE) -> str:
    """The code of `source_of`."""
    return source_of(job, inputs).code


def source_of(job: Job, inputs: Inputs = DENSE) -> Source:
    """A C++ file with a function run_m for each size m of the job's batches: m examples, some steps, Σ_x C_x.

    inputs: how x comes: but for rows, the first layer's weights, and what is kept for them, lie by columns. Its zeros
    are left out by the file's function `compress`.

    It is told from others without being printed where all that the steps run is the package's own, and as its files
    have it. Functions that are not may look up what changes from call to call (a slope that the caller anneals, say):
    these are recorded anew, which takes a tenth of a millisecond or so each. Raises UnprintableError, with the
    function's name, where one does what can't be printed.
    """
    kind, ms = kind_of(job.state.net, job.plan), tuple(job.sizes_of_batches)
    if own_functions(job.state.net):
        return Source(_of_kind(kind, ms, inputs))
    return _of_the_package(kind, ms, inputs, activations.LEAK)


def kind_of(net: Network, plan: Plan) -> Kind:
    """What this network computes, and what the steps of this plan do with it."""
    return Kind(tuple(net.sizes), net.layers[0].w.dtype, tuple(net.activations), net.cost_function, plan)


@lru_cache(maxsize=KEPT)
def _of_the_package(kind: Kind, ms: tuple[int, ...], inputs: Inputs, looked_up: float) -> Source:
    """As `source_of`, for functions that look up nothing else."""
    rules_are_ours = all(written.is_ours(type(rule.optimiser).__module__) for rule in kind.plan.rules)
    written_as = written.hash_of(sys.modules[__name__]) if rules_are_ours else None
    if written_as is None:
        return Source(_of_kind(kind, ms, inputs))
    torches = torch.__version__, torch.version.git_version, torch.get_default_dtype()
    names = *(f.name for f in kind.activations), kind.cost.name
    of_all = repr((written_as, torches, kind.sizes, kind.dtype, names, kind.plan, ms, inputs))
    return Source("\0".join([of_all, _head(kind, inputs)]), partial(_as_written, kind, ms, inputs, written_as))


@lru_cache(maxsize=KEPT)
def _as_written(kind: Kind, ms: tuple[int, ...], inputs: Inputs, written_as: str) -> str:
    return _of_kind(kind, ms, inputs, written_as)


def _of_kind(kind: Kind, ms: tuple[int, ...], inputs: Inputs, written_as: str = "") -> str:
    try:
        functions = records(kind, ms[0])
        printed = [_once(_Key(kind.sizes, kind.dtype, m, kind.plan, functions, inputs, written_as, kind)) for m in ms]
    except UnprintableError as error:
        raise UnprintableError(f"engine='native' can't print {error}: use engine='eager' or 'compiled'") from error
    compress = [COMPRESS.replace("INPUTS", str(kind.sizes[0]))] * (inputs == ACTIVE)
    return "\n".join([_head(kind, inputs), *compress, *printed])


COMPRESS = """
extern "C" void compress(const real* x, int64_t rows, uint64_t* bits, real* values, int64_t* first) {
  compress_rows<INPUTS>(x, rows, bits, values, first);
}"""


def _head(kind: Kind, inputs: Inputs) -> str:
    return headers.text(kind.dtype, *inputs.headers, place=inputs.place)


def by_columns(kind: Kind) -> range:
    """Which of a step's parameters lie by columns where x does not come as rows: the first layer's w, and its slots."""
    of_each = 2 * len(kind.activations)
    return range(0, of_each * (1 + kind.slots), of_each)


def records(kind: Kind, m: int, seed: int = 0) -> tuple[Tape, ...]:
    """What the network's functions do to a batch of m examples, on random arguments: a record each, layer by layer."""
    known: dict[object, Tape] = {}  # a function of several layers is run once
    result = []
    for each in _functions(kind, m):
        key = id(each.function), each.shapes
        if key not in known:
            known[key] = _record(each, kind.dtype, seed)
        result.append(known[key])
    return tuple(result)


def _record(each: _Function, dtype: torch.dtype, seed: int = 0) -> Tape:
    try:
        return record(each.function, examples(each.shapes, dtype, seed))
    except UnprintableError as error:
        raise UnprintableError(f"{each.what} ({error})") from error


def _functions(kind: Kind, m: int) -> Iterator[_Function]:
    cost, output = kind.cost, kind.activations[-1]
    for l, f in enumerate(kind.activations):
        shape = (m, kind.sizes[l + 1])
        yield _Function(f"the activation {f.name!r}", f.f, (shape,))
        if l + 1 < len(kind.activations):
            yield _Function(f"the derivative of the activation {f.name!r}", f.derivative, (shape, shape))
    shapes, error = ((m, kind.sizes[-1]),) * 3, partial(cost.error, output)
    yield _Function(f"the cost {cost.name!r}", cost.value, shapes)
    yield _Function(f"the error of the cost {cost.name!r} with {output.name!r} outputs", error, shapes)


def record_step(kind: Kind, m: int) -> Tape:
    """The step as torch operations: the batch, its numbers and keys, the parameters and the slots in; the cost out."""
    plan, count, depth = kind.plan, kind.numbers, len(kind.activations)

    def run(x: Tensor, y: Tensor, *others: Tensor) -> Tensor:
        rest = iter(others)
        weights = next(rest) if plan.weighted else None
        numbers, keys = tuple(islice(rest, count)), tuple(islice(rest, plan.keys))
        tensors = list(rest)
        layers = [Layer(*pair) for pair in zip(tensors[::2], tensors[1::2], strict=True)]
        parameters, *slots = (tuple(layers[first : first + depth]) for first in range(0, len(layers), depth))
        state = State(Network(parameters, kind.activations, kind.cost), tuple(slots))
        batch = Batch(x, y, x.new_ones(m), weights, keys)
        return batch_cost(state.net, step(state, batch, numbers, plan=plan), y, weights)

    of_batch: list[tuple[int, ...]] = [(m, kind.sizes[0]), (m, kind.sizes[-1]), *[(m,)] * plan.weighted]
    of_layers = [shape for n_in, n_out in pairwise(kind.sizes) for shape in ((n_out, n_in), (n_out,))]
    shapes = [*of_batch, *[()] * count, *of_layers * (1 + kind.slots)]
    of_examples = kind.sizes if any(plan.dropout[:1]) else kind.sizes[1:]  # of x nothing is computed but its mask
    computed = 8 * m * sum(of_examples) + (0 if plan.is_plain else A_RULE * sum(map(math.prod, of_layers)))
    given = examples(shapes, kind.dtype, computed=computed)
    at = len(of_batch) + count
    keys = [torch.zeros((), dtype=torch.int32, device=given[0].device)] * plan.keys
    return record(run, [*given[:at], *(key.clone() for key in keys), *given[at:]])


def _once(key: _Key) -> str:
    with alone(key):  # of several threads that need a step, one prints it
        return _printed(key)


@lru_cache(maxsize=KEPT)
def _printed(key: _Key) -> str:
    kind, m = key.kind, key.m
    try:
        names = ["x", "y", *["weights"] * kind.plan.weighted]
        scalars = [*(f"n{k}" for k in range(kind.numbers)), *(f"k{k}" for k in range(kind.plan.keys))]
        form, graph = key.inputs.form, graph_of(record_step(kind, m))
        turned = by_columns(kind) if form else ()
        printer = Printer(graph, names, scalars, kind.dtype, form=form, by_columns=turned)
    except UnprintableError as error:
        raise UnprintableError(f"{_culprit(kind, m)} ({error})") from error
    batch_size = key.functions[0].inputs[0][0]  # which m is not, of a last batch
    if records(kind, batch_size, seed=1) != key.functions:
        raise UnprintableError("activations or a cost that do another thing at each call, or with other values")
    body = "\n".join(f"    {line}" for line in printer.lines)
    pointers = "".join(f"  real* {name} = parameters[{k}];\n" for k, name in enumerate(printer.parameters))
    scalars = "".join(
        f"    const {of} {name}{k} = {table}[batch * {count} + {k}];\n"
        for of, name, table, count in (
            ("real", "n", "numbers", kind.numbers),
            ("uint32_t", "k", "keys", kind.plan.keys),
        )
        for k in range(count)
    )
    weights = f"    gather<{m}>(counts, order + batch * {m}, weights);\n" if kind.plan.weighted else ""
    n_in, n_out = kind.sizes[0], kind.sizes[-1]
    gather = key.inputs.gather(m, n_in, f"order + batch * {m}")
    prefetch = key.inputs.prefetch(m, n_in, f"order + (batch + 1) * {m}")
    return f"""
namespace step_{m} {{
{printer.memory.layout}
}}
extern "C" int64_t workspace_{m}() {{ return step_{m}::elements; }}
extern "C" double run_{m}({key.inputs.type} examples, const real* targets, const real* counts, const int64_t* order,
                          int64_t batches, const real* numbers, const uint32_t* keys, real** parameters,
                          real* workspace, int threads) {{
  using namespace step_{m};
{pointers}{printer.memory.pointers}
  double cost = 0;
  together(threads, [=, &cost] {{
  for (int64_t batch = 0; batch < batches; batch++) {{
{scalars}{weights}    {gather}
    gather<{m}, {n_out}>(targets, order + batch * {m}, y);
    meet();
    if (batch + 1 < batches) {prefetch}
{body}
  }}
  }});
  return cost;
}}"""


def _culprit(kind: Kind, m: int) -> str:
    """Which of the network's functions can't be printed by itself."""
    for each in _functions(kind, m):
        try:
            Printer(graph_of(_record(each, kind.dtype)), ["x", "y"], [], kind.dtype)
        except UnprintableError:
            return each.what
    return "the step"

"""A step by a lazy rule on sparse x: the weights of inputs that its examples don't use stay as they are.

It is the step of a narrower network, whose inputs are those that are used.
"""

from dataclasses import replace

from bp_torch import sparse
from bp_torch.network import Network
from bp_torch.state import State
from bp_torch.trace import Layer, Trace
from bp_torch.training.job import Job
from bp_torch.training.plan import Numbers, Plan
from bp_torch.training.step import Batch, step


def is_lazy(job: Job) -> bool:
    """Whether the job's steps are such ones."""
    return job.plan.rules[0].optimiser.is_lazy and sparse.is_sparse(job.data[0])


def why_not(plan: Plan) -> str | None:
    """Why such steps can't follow a plan, in a sentence, or None."""
    asked = [name for name in ("l2", "l1", "max_norm") if getattr(plan, name)]
    asked += ["dropout of the inputs"] if plan.dropout and plan.dropout[0] else []
    if not asked:
        return None
    name = plan.rules[0].optimiser.name
    return (
        f"optimizer={name!r} on sparse x changes some weights alone, and {asked[0]} is of all: do without it, or use "
        "optimizer='adam'"
    )


def step_of_used(
    state: State, batch: Batch, numbers: Numbers, *, plan: Plan, passes: Network | None = None, lean: bool = True
) -> Trace:
    """As `step`."""
    used = batch.x.col_indices().unique()
    if not len(used):  # the network needs an input: it takes one, whose weights are then left as they are
        used = used.new_zeros(1)

    def narrow(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        (w, b), *others = layers
        return Layer(w.mT.index_select(0, used).mT, b), *others

    net, slots, _ = state
    of_used = State(replace(net, layers=narrow(net.layers)), tuple(map(narrow, slots)))
    trace = step(
        of_used, batch._replace(x=sparse.narrowed(batch.x, used)), numbers, plan=plan, passes=passes, lean=lean
    )
    if batch.x.values().numel():
        for layers, changed in ((net.layers, of_used.net.layers), *zip(slots, of_used.slots, strict=True)):
            layers[0].w.mT[used] = changed[0].w.mT
    return trace

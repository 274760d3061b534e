"""How the examples x come to the printed step: as rows, compressed without their zeros, or as a sparse matrix."""

from typing import NamedTuple

import torch

from bp_torch import sparse
from bp_torch.training import lazy
from bp_torch.training.job import Job
from bp_torch.training.plan import Plan

PLACES = {torch.int32: "int", torch.int64: "long long"}  # of a sparse matrix: its indices in C++


class Inputs(NamedTuple):
    """form: "": rows; "active": zeros are skipped (see zeros.h); "stored": a sparse matrix (see stored.h), with indices
    of the type `place`. lazy: whether weights of inputs that a batch doesn't use wait.
    """

    form: str = ""
    place: str = ""
    lazy: bool = False

    @property
    def headers(self) -> list[str]:
        """What is included behind the headers of all."""
        name = {"active": "zeros.h", "stored": "stored.h"}.get(self.form)
        return [name] if name else []

    @property
    def type(self) -> str:
        """That of all examples in C++."""
        return {"active": "const Rows*", "stored": "const Stored*"}.get(self.form, "const real*")

    def gather(self, m: int, n: int, order: str) -> str:
        """The statement that makes x the examples (m, n) of this order."""
        if self.form == "stored":
            return f"const Batch<{str(self.lazy).lower()}> x = {{examples, {order}}};"
        if self.form == "active":
            return f"gather_active<{m}, {n}>(examples, {order}, x, active);"
        return f"gather<{m}, {n}>(examples, {order}, x);"

    def prefetch(self, m: int, n: int, order: str) -> str:
        """The statement that has them fetched beforehand."""
        return f"prefetch{self.form and '_'}{self.form}<{m}, {n}>(examples, {order});"


DENSE, ACTIVE = Inputs(), Inputs("active")


def inputs_of(job: Job) -> Inputs:
    """How a job's examples come, where no zeros are skipped."""
    x = job.data[0]
    if not sparse.is_sparse(x):
        return DENSE
    return Inputs("stored", PLACES[x.col_indices().dtype], lazy.is_lazy(job))


def can_skip(plan: Plan) -> bool:
    """Whether all that such a step does with its inputs' weights is z, BP4 and an elementwise rule."""
    dropped = bool(plan.dropout) and plan.dropout[0] > 0
    return not dropped and plan.clip_norm is None and plan.max_norm is None

"""Random own activations: the native engine does what the eager one does, or says that it can't print them.

Twelve activations go into one library. A network of unit matrices and an error of ones show each by itself: after a
step, the weights hold f(z) and the first biases σ′(z), for the z that are its inputs.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jobs import job
from torch import Tensor

import bp_torch as bp
from bp_torch.native import headers
from bp_torch.threads import threads
from bp_torch.training.engines import ENGINES
from bp_torch.training.engines.native import source
from bp_torch.training.job import Job, Steps

Function = Callable[[Tensor], Tensor]
VALUES = [0.0, 1.0, -1.0, 0.5, -0.5, 0.1, -0.1, 2.0, -2.0, 3.0, 1e-40, 1e-20, -1e-20, 1e20, -1e20, 700.0, -700.0]
N, TOGETHER = 32, 12
X = torch.cat([torch.tensor(VALUES), torch.randn(N - len(VALUES), generator=torch.Generator().manual_seed(0))])
EACH_ONE = bp.Cost("ones", lambda z, a, y: y.sum(-1), lambda f, z, a, y: torch.ones_like(z))

scalars = st.sampled_from([0, 1, -2, 0.5, 0.1, 3, True, 1e-3])


def _of_two(a: Function, b: Function, which: Callable[[Tensor, Tensor], Tensor]) -> Function:
    return lambda z: which(a(z), b(z))


def _of_one(a: Function, c: float, which: Callable[[Tensor, float], Tensor]) -> Function:
    return lambda z: which(a(z), c)


# Each of these is rounded once by IEEE 754: the engines agree to the bit.
TWO: list[Callable[[Tensor, Tensor], Tensor]] = [
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: a * b,
    lambda a, b: a / b,
    torch.maximum,
    torch.minimum,
    lambda a, b: torch.where(a > b, a, b * 2),
    lambda a, b: (a <= b).to(a.dtype) + a,
    lambda a, b: ((a > 0) & (b < 1)) * a,
    lambda a, b: torch.where((a == b) | ~(a != 0), b, a),
    lambda a, b: torch.logical_xor(a, b > 0).to(a.dtype),
    lambda a, b: (a.bool() == b.bool()).to(a.dtype) - b,
    lambda a, b: a + b.mul_(2),
    lambda a, b: torch.where(a.bool(), a.sign(), b.relu()),
]
ONE: list[Callable[[Tensor, float], Tensor]] = [
    lambda a, c: a + c,
    lambda a, c: c - a,
    lambda a, c: a * c,
    lambda a, c: c / a,
    lambda a, c: a / c if c else a,
    lambda a, c: a.clamp(min=c),
    lambda a, c: a.clamp(-1, c),
    lambda a, c: torch.clamp(a, max=c),
    lambda a, c: torch.rsub(a, c),
    lambda a, c: (a > c) * a,
    lambda a, c: (a >= c).to(a.dtype),
    lambda a, c: torch.where(a == c, torch.full_like(a, c), a * a),
    lambda a, c: a.abs().sqrt() - c,
    lambda a, c: (-a).sign() + c,
    lambda a, c: a.square().reciprocal() * c,
    lambda a, c: torch.relu(a) ** 2,
    lambda a, c: (a.detach() + 0).add_(c),
    lambda a, c: a.pow(2) * torch.ones_like(a),
    # what can't be printed
    lambda a, c: torch.div(a, 0.5, rounding_mode="floor"),
    lambda a, c: torch.div(a, 0.5, rounding_mode="trunc"),
    lambda a, c: ((a > 0) + (a > c)).to(a.dtype),
    lambda a, c: a.clamp(-9, 9).nan_to_num().to(torch.int32).to(a.dtype),
    lambda a, c: a.round() + c,
    lambda a, c: a**3,
    lambda a, c: a.to(torch.float16).to(a.dtype),
]
# These are accurate to a few units in the last place, so they come last.
LAST: list[Callable[[Tensor, float], Tensor]] = [
    *[lambda a, c: a] * 6,
    lambda a, c: a.exp(),
    lambda a, c: a.tanh(),
    lambda a, c: a.sigmoid(),
    lambda a, c: a.abs().log1p(),
    lambda a, c: a.abs().log(),
    lambda a, c: a.expm1(),
    lambda a, c: a.erf(),
    lambda a, c: a.clamp(-9, 9).sin() + 2,
    lambda a, c: torch.nn.functional.silu(a),
    lambda a, c: torch.rsub(a.abs(), -1.0, alpha=2.0),
    lambda a, c: torch.sub(a.abs(), -1.0, alpha=2),
    lambda a, c: torch.add(a.abs(), a.square(), alpha=0.5),
    lambda a, c: torch.addcmul(a.square(), a, a, value=0.1),
]
exact = st.recursive(
    st.just(lambda z: z * 1),
    lambda inner: st.one_of(
        st.builds(_of_two, inner, inner, st.sampled_from(TWO)), st.builds(_of_one, inner, scalars, st.sampled_from(ONE))
    ),
    max_leaves=6,
)
functions = st.builds(_of_one, exact, scalars, st.sampled_from(LAST))


def _job(f: Function, derivative: Function, m: int, dtype: torch.dtype) -> Job:
    own = bp.Activation("own", f, lambda z, a: derivative(z))
    net = bp.Network.create([N, N, N], hidden=own, output="identity", cost=EACH_ONE, dtype=dtype)
    for w, b in net.layers:
        w.copy_(torch.eye(N))
        b.zero_()
    x = X.to(dtype).expand(m, N).contiguous()
    return job(net, (x, torch.zeros(m, N, dtype=dtype)), batch_size=m)


NO_KEYS = torch.empty(1, 0, dtype=torch.int32)


def _seen(job: Job, engine: str) -> tuple[Tensor, Tensor]:
    """f(z), and σ′(z), each times the number of examples, after a step with the factor 1."""
    m = job.recipe.batch_size
    ENGINES[engine].build(job)(Steps(torch.arange(m), torch.ones(1, 1, dtype=torch.float64), NO_KEYS))
    (_, b), (w, _) = job.state.net.layers
    off_diagonal = torch.cat([w[1, :1], w[0, 1:]])
    return off_diagonal, b


def _compare(monkeypatch: pytest.MonkeyPatch, pairs: list[tuple[Function, Function]], dtype: torch.dtype) -> int:
    """How many of the pairs are printed; they do what they do eagerly."""
    printed: dict[int, str] = {}
    for m, pair in enumerate(pairs, start=1):
        try:
            printed[m] = source.of(_job(*pair, m, dtype))
        except source.UnprintableError as error:
            assert "'own'" in str(error)  # noqa: PT017
    head = headers.text(dtype)
    library = "\n".join([head, *(text.removeprefix(head) for text in printed.values())])
    with monkeypatch.context() as patch, threads(1):
        patch.setattr(source, "of", lambda job, of_x: library)
        for m in printed:
            wanted, got = (_seen(_job(*pairs[m - 1], m, dtype), engine) for engine in ("eager", "native"))
            for a, b in zip(got, wanted, strict=True):
                torch.testing.assert_close(
                    a, b, rtol=64 * torch.finfo(dtype).eps, atol=torch.finfo(dtype).tiny, equal_nan=True
                )
    return len(printed)


def _checked(examples: int) -> Any:
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )


together = st.lists(st.tuples(functions, functions), min_size=TOGETHER, max_size=TOGETHER)


def test_casts_logic_and_scaled_differences_are_printed_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(z: Tensor) -> Tensor:
        positive = z > 0
        logic = (positive & ~(z > 0.1)) | (z.bool() == positive) | torch.logical_not(z)
        return torch.where(logic, torch.rsub(z, 1.0, alpha=2.0), z.bool().to(z.dtype)) + logic * z * 0.1 + positive

    def derivative(z: Tensor) -> Tensor:
        return torch.where(z * 0.1 - z * 0.1 == 0, (z.abs() ** 2 >= 1).to(z.dtype) / 3, z.clamp(-1, 1).sign())

    assert _compare(monkeypatch, [(f, derivative)], torch.float32) == 1


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_operation_by_itself_is_printed_exactly_or_refused(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    alone = [_of_one(lambda z: z * 1, 0.1, which) for which in [*ONE, *LAST[5:]]]
    alone += [_of_two(lambda z: z * 1, lambda z: z * 0.5, which) for which in TWO]
    pairs = list(zip(alone, reversed(alone), strict=True))
    assert _compare(monkeypatch, pairs[: len(pairs) // 2], dtype) > 10


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@_checked(10)
@given(pairs=together)
def test_random_activations_are_printed_exactly_or_refused(
    pairs: list[tuple[Function, Function]], dtype: torch.dtype
) -> None:
    _compare(pytest.MonkeyPatch(), pairs, dtype)

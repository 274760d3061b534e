"""The persistent kernel: a whole epoch of a network with one hidden layer in one launch of one program (Triton).

The equations stand here a second time, as a hand kernel that replaces the whole epoch; the tests hold it to the eager
engine. The hidden layer's w is read and written tile by tile and stays in the GPU's cache; all else is in registers.
Rows and columns are padded to powers of two with zeros, and what is beyond the batch has δ = 0.
"""

# pyright: reportGeneralTypeIssues=false, reportArgumentType=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportPossiblyUnboundVariable=false

import triton
import triton.language as tl


@triton.jit
def activation(z, NAME: tl.constexpr):
    if NAME == "sigmoid":
        a = tl.sigmoid(z)
    elif NAME == "tanh":
        a = 2 * tl.sigmoid(2 * z) - 1
    else:  # relu; NaN stays NaN
        a = tl.where(z < 0, 0.0, z)
    return a


@triton.jit
def derivative(a, NAME: tl.constexpr):
    if NAME == "sigmoid":
        d = a - a * a
    elif NAME == "tanh":
        d = 1 - a * a
    else:
        d = tl.where(a > 0, 1.0, 0.0)
    return d


@triton.jit
def output_cost_and_error(z, y, real, COST: tl.constexpr):
    """C_x of each row, and δᴸ (BP1); `real` marks the outputs that are not padding."""
    if COST == "quadratic":  # of sigmoid outputs
        a = tl.sigmoid(z)
        terms = 0.5 * (y - a) * (y - a)
        delta = (a - y) * (a - a * a)
        cost = tl.sum(tl.where(real, terms, 0.0), 1)
    elif COST == "binary_cross_entropy":
        terms = tl.maximum(z, 0.0) - y * z + tl.log(1 + tl.exp(-tl.abs(z)))
        delta = tl.sigmoid(z) - y
        cost = tl.sum(tl.where(real, terms, 0.0), 1)
    else:  # softmax_cross_entropy
        masked = tl.where(real, z, float("-inf"))
        top = tl.max(masked, 1)
        e = tl.exp(masked - top[:, None])
        total = tl.sum(e, 1)
        mass = tl.sum(y, 1)
        delta = e / total[:, None] * mass[:, None] - y
        cost = mass * (top + tl.log(total)) - tl.sum(tl.where(real, y * z, 0.0), 1)
    return cost, delta


@triton.jit(do_not_specialize=["steps", "last"])  # one compilation, whatever the length of an epoch
def epoch_kernel(
    x,  # (examples, N0)
    y,  # (examples, N2)
    order,  # (steps of M, the last of `last`)
    factors,  # (steps,): −η/m
    w1,  # (N1, N0)
    b1,
    w2,  # (N2, N1)
    b2,
    costs,  # (ROWS,) float64: Σ_x C_x by row of the batch
    steps,
    last,
    M: tl.constexpr,
    N0: tl.constexpr,
    N1: tl.constexpr,
    N2: tl.constexpr,
    ROWS: tl.constexpr,
    TILE: tl.constexpr,
    P1: tl.constexpr,
    P2: tl.constexpr,
    HIDDEN: tl.constexpr,
    COST: tl.constexpr,
):
    row, k, j1, j2 = tl.arange(0, ROWS), tl.arange(0, TILE), tl.arange(0, P1), tl.arange(0, P2)
    in1, in2 = j1 < N1, j2 < N2
    at2 = w2 + j2[:, None] * N1 + j1[None, :]
    inside2 = in2[:, None] & in1[None, :]
    top_w = tl.load(at2, mask=inside2, other=0.0)
    hidden_b = tl.load(b1 + j1, mask=in1, other=0.0)
    top_b = tl.load(b2 + j2, mask=in2, other=0.0)
    at1 = w1 + j1[:, None] * N0 + k[None, :]
    total = tl.zeros((ROWS,), tl.float64)
    for step in range(steps):
        m = tl.where(step == steps - 1, last, M)
        live = row < m
        example = tl.load(order + step * M + row, mask=live, other=0)
        targets = tl.load(y + example[:, None] * N2 + j2[None, :], mask=live[:, None] & in2[None, :], other=0.0)
        # z = w a + b, a = σ(z)
        z1 = tl.zeros((ROWS, P1), tl.float32)
        for start in range(0, N0, TILE):
            column = start + k
            a_tile = tl.load(
                x + example[:, None] * N0 + column[None, :],
                mask=live[:, None] & (column < N0)[None, :],
                other=0.0,
            )
            w_tile = tl.load(at1 + start, mask=in1[:, None] & (column < N0)[None, :], other=0.0)
            z1 += tl.dot(a_tile, tl.trans(w_tile), input_precision="ieee")
        a1 = activation(z1 + hidden_b[None, :], HIDDEN)
        a1 = tl.where(in1[None, :], a1, 0.0)
        z2 = tl.dot(a1, tl.trans(top_w), input_precision="ieee") + top_b[None, :]
        cost, delta2 = output_cost_and_error(z2, targets, in2[None, :], COST)  # BP1
        total += tl.where(live, cost, 0.0).to(tl.float64)
        delta2 = tl.where(live[:, None] & in2[None, :], delta2, 0.0) * tl.load(factors + step)
        delta1 = tl.dot(delta2, top_w, input_precision="ieee") * derivative(a1, HIDDEN)  # BP2
        delta1 = tl.where(live[:, None] & in1[None, :], delta1, 0.0)
        top_w += tl.dot(tl.trans(delta2), a1, input_precision="ieee")  # BP4
        top_b += tl.sum(delta2, 0)  # BP3
        hidden_b += tl.sum(delta1, 0)
        tl.debug_barrier()  # every thread has read w
        for start in range(0, N0, TILE):
            column = start + k
            inside = in1[:, None] & (column < N0)[None, :]
            a_tile = tl.load(
                x + example[:, None] * N0 + column[None, :],
                mask=live[:, None] & (column < N0)[None, :],
                other=0.0,
            )
            w_tile = tl.load(at1 + start, mask=inside, other=0.0)
            w_tile += tl.dot(tl.trans(delta1), a_tile, input_precision="ieee")
            tl.store(at1 + start, w_tile, mask=inside)
        tl.debug_barrier()  # and sees what the others wrote
    tl.store(at2, top_w, mask=inside2)
    tl.store(b1 + j1, hidden_b, mask=in1)
    tl.store(b2 + j2, top_b, mask=in2)
    tl.store(costs + row, total)

"""The four equations of backpropagation, and the weighted input they start from.

Source: M. Nielsen, *Neural Networks and Deep Learning* (2015), chapter 2, "How the backpropagation algorithm works".

Legend: m examples, one a row; a layer of n_out neurons fed by n_in. Every function works on the last two dimensions
and broadcasts over any leading ones, so a stack of K networks (w of shape (K, n_out, n_in)) runs through the same code.
A row of δ is one example's own error ∂C_x/∂z. C is the mean of the C_x: it enters once, in BP3 and BP4.

BP3 and BP4 stand here as sums over the examples, as gradients, which are their means, and as the step of gradient
descent that adds the sums to b and w in place. The backward sweep is linear in δᴸ, so a step puts the factor 1/m there
once. Plain gradient descent puts −η/m there, and then ∂C/∂w never has to exist.
"""

import torch
from torch import Tensor

from bp_torch import sparse


def weighted_input(w: Tensor, b: Tensor, a: Tensor) -> Tensor:
    """z = w a + b, for all examples at once: z_xj = Σ_k w_jk a_xk + b_j.

    w (…, n_out, n_in), b (…, n_out), a (…, m, n_in) -> z (…, m, n_out). w_jk runs from neuron k to neuron j.
    """
    dense = a.layout == torch.strided
    if dense and b.ndim == 1 and a.ndim == 2 and a.dtype == b.dtype:
        return torch.addmm(b, a, w.mT)  # as torch's Linear does it, so that z has the same bits
    z = a @ w.mT if dense else sparse.entering(a, w)
    return z.add_(b if b.ndim == 1 else b.unsqueeze(-2))


def output_error(grad_a: Tensor, sigma_prime: Tensor) -> Tensor:
    """BP1: δᴸ = ∇ₐC ⊙ σ′(zᴸ).

    grad_a ∂C_x/∂a of the output layer and sigma_prime σ′(zᴸ), both (…, m, n_L) -> δᴸ (…, m, n_L).
    """
    return grad_a * sigma_prime


def hidden_error(w_next: Tensor, delta_next: Tensor, sigma_prime: Tensor) -> Tensor:
    """BP2: δˡ = ((wˡ⁺¹)ᵀ δˡ⁺¹) ⊙ σ′(zˡ). With examples as rows, (wᵀδ)ᵀ is δ w.

    w_next (…, n_next, n), delta_next (…, m, n_next), sigma_prime σ′(zˡ) (…, m, n) -> δˡ (…, m, n).
    """
    return (delta_next @ w_next).mul_(sigma_prime)


def bias_gradient(delta: Tensor) -> Tensor:
    """BP3: ∂C/∂b = δ, averaged over the examples.

    delta (…, m, n_out) -> ∂C/∂b (…, n_out).
    """
    return delta.mean(-2)


def bias_sum(delta: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """BP3 for δ that holds the factor 1/m: ∂C/∂b = Σ_x δ_x.

    delta (…, m, n_out) -> ∂C/∂b (…, n_out), summed in this dtype, or in that of δ.
    """
    return delta.sum(-2, dtype=dtype)


def weight_sum(delta: Tensor, a: Tensor) -> Tensor:
    """BP4 for δ that holds the factor 1/m: ∂C/∂w_jk = Σ_x a_xk δ_xj, which is δᵀa.

    delta (…, m, n_out), a the activation that entered the layer (…, m, n_in) -> ∂C/∂w (…, n_out, n_in).
    """
    return delta.mT @ a if a.layout == torch.strided else sparse.gathered(delta, a)


def weight_gradient(delta: Tensor, a: Tensor) -> Tensor:
    """BP4: ∂C/∂w_jk = a_k δ_j, averaged over the examples: δᵀa / m.

    delta (…, m, n_out), a the activation that entered the layer (…, m, n_in) -> ∂C/∂w (…, n_out, n_in).
    """
    if (
        delta.dtype == torch.float16
    ):  # which ends at 65,504: the sum of many rows has to be divided before it is rounded
        return weight_gradient(delta.float(), a.float()).half()
    return (weight_sum(delta, a) / delta.shape[-2]).contiguous()  # that of a sparse a is not


def bias_update(b: Tensor, delta: Tensor, ones: Tensor) -> None:
    """BP3 as the step: b ← b − η ∂C/∂b = b + Σ_x δ_x, in place, for δ that holds the factor −η/m.

    b (…, n_out), delta (…, m, n_out), ones (m,) all 1: their product with δ is the sum, in one operation.
    """
    if b.ndim == 1 and b.dtype == delta.dtype:
        b.addmv_(delta.mT, ones)
    else:  # a stack, or δ of a smaller dtype than the parameters
        b.add_(bias_sum(delta, b.dtype))


def weight_update(w: Tensor, delta: Tensor, a: Tensor) -> None:
    """BP4 as the step: w ← w − η ∂C/∂w = w + δᵀa, in place, for δ that holds the factor −η/m.

    w (…, n_out, n_in), delta (…, m, n_out), a the activation that entered the layer (…, m, n_in). Of a sparse a, the
    weights of an input that is 0 in all examples are not even read: they don't learn.
    """
    if a.layout != torch.strided and w.ndim == 2:
        sparse.gather_into(w, delta, a)
    elif w.ndim == 2 and w.dtype == delta.dtype:
        w.addmm_(delta.mT, a)
    else:
        w.add_(weight_sum(delta, a))

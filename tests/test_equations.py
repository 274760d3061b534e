"""Each equation alone, against the sums the book writes."""

import torch

from bp_torch.equations import bias_gradient, bias_sum, hidden_error, output_error, weight_gradient, weighted_input

rng = torch.Generator().manual_seed(0)
M, N_IN, N_OUT = 3, 4, 2
w, b = torch.randn(N_OUT, N_IN, generator=rng), torch.randn(N_OUT, generator=rng)
a, delta = torch.randn(M, N_IN, generator=rng), torch.randn(M, N_OUT, generator=rng)
sigma_prime = torch.rand(M, N_IN, generator=rng)


def test_weighted_input_is_the_neuron_by_neuron_sum() -> None:
    """Statement 1: z_j = Σ_k w_jk a_k + b_j, with w_jk from neuron k to neuron j."""
    z = weighted_input(w, b, a)
    for x in range(M):
        for j in range(N_OUT):
            torch.testing.assert_close(z[x, j], sum(w[j, k] * a[x, k] for k in range(N_IN)) + b[j])


def test_bp1_multiplies_the_slope_of_the_cost_by_sigma_prime() -> None:
    got = output_error(torch.tensor([[2.0, -3.0]]), torch.tensor([[0.25, 0.5]]))
    assert got.tolist() == [[0.5, -1.5]]


def test_bp2_sums_over_the_neurons_above() -> None:
    got = hidden_error(w, delta, sigma_prime)
    for x in range(M):
        for k in range(N_IN):
            wanted = sum(w[j, k] * delta[x, j] for j in range(N_OUT)) * sigma_prime[x, k]
            torch.testing.assert_close(got[x, k], wanted)


def test_bp3_is_the_mean_error() -> None:
    torch.testing.assert_close(bias_gradient(delta), (delta[0] + delta[1] + delta[2]) / 3)


def test_bp4_is_the_mean_of_a_in_times_delta_out() -> None:
    got = weight_gradient(delta, a)
    for j in range(N_OUT):
        for k in range(N_IN):
            torch.testing.assert_close(got[j, k], sum(a[x, k] * delta[x, j] for x in range(M)) / M)


def test_leading_dimensions_are_independent_problems() -> None:
    ws, bs = torch.randn(5, N_OUT, N_IN, generator=rng), torch.randn(5, N_OUT, generator=rng)
    deltas = torch.randn(5, M, N_OUT, generator=rng)
    z, below = weighted_input(ws, bs, a), hidden_error(ws, deltas, sigma_prime)
    gradient_w, gradient_b = weight_gradient(deltas, a), bias_gradient(deltas)
    for k in range(5):
        torch.testing.assert_close(z[k], weighted_input(ws[k], bs[k], a))
        torch.testing.assert_close(below[k], hidden_error(ws[k], deltas[k], sigma_prime))
        torch.testing.assert_close(gradient_w[k], weight_gradient(deltas[k], a))
        torch.testing.assert_close(gradient_b[k], bias_gradient(deltas[k]))


def test_many_small_errors_are_summed_in_the_dtype_of_b() -> None:
    """In bfloat16 257 ones are 256."""
    delta = torch.ones(257, 3, dtype=torch.bfloat16)
    assert bias_sum(delta, torch.float32).tolist() == [257] * 3

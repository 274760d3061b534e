"""Every entry of ACTIVATIONS: its derivative, its extremes, and its agreement with torch.nn.functional."""

import pytest
import reference
import torch

import bp_torch as bp

every_entry = pytest.mark.parametrize("entry", bp.ACTIVATIONS.values(), ids=lambda entry: entry.name)


@every_entry
def test_f_is_torchs(entry: bp.Activation) -> None:
    z = torch.linspace(-15, 15, 3001, dtype=torch.float64)
    wanted = reference.ACTIVATIONS.get(entry.name, entry.f)(z)
    torch.testing.assert_close(entry.f(z), wanted, rtol=1e-9, atol=1e-15)


@every_entry
def test_derivative_is_autograds(entry: bp.Activation) -> None:
    z = torch.linspace(-15, 15, 3001, dtype=torch.float64)
    wanted = torch.func.vmap(torch.func.grad(reference.ACTIVATIONS.get(entry.name, entry.f)))(z)
    torch.testing.assert_close(entry.derivative(z, entry.f(z)), wanted, rtol=1e-9, atol=1e-15)


@every_entry
def test_derivative_is_the_central_difference(entry: bp.Activation) -> None:
    z, h = torch.linspace(-5, 5, 100, dtype=torch.float64), 1e-6  # an even number of points leaves out 0
    torch.testing.assert_close(
        entry.derivative(z, entry.f(z)), (entry.f(z + h) - entry.f(z - h)) / (2 * h), rtol=1e-8, atol=1e-9
    )


@every_entry
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_extremes_are_finite_and_keep_the_dtype(entry: bp.Activation, dtype: torch.dtype) -> None:
    z = torch.tensor([-1e4, -200.0, -30.0, 0.0, 30.0, 200.0, 1e4], dtype=dtype)
    a = entry.f(z)
    slope = entry.derivative(z, a)
    assert a.dtype == slope.dtype == dtype
    assert a.isfinite().all()
    assert slope.isfinite().all()
    exact = bp.ACTIVATIONS[entry.name].derivative(z.double(), entry.f(z.double()))
    torch.testing.assert_close(slope.double(), exact, rtol=0, atol=4 * torch.finfo(dtype).eps)


def test_z_is_left_alone() -> None:
    z = torch.linspace(-2, 2, 9)
    for entry in bp.ACTIVATIONS.values():
        entry.derivative(z, entry.f(z))
        assert torch.equal(z, torch.linspace(-2, 2, 9))

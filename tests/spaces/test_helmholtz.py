"""Fields taken apart: the split is exact, and the solver with walls returns what was put in."""

import pytest
import torch

from pathline.spaces.helmholtz import (
    centred,
    cosine_poisson,
    edge_divergence,
    edge_gradient,
    helmholtz,
    spectral_curl,
    spectral_divergence,
    weighted_laplacian,
    weighted_poisson,
)


def random_periodic(height, width, seed):
    """A smooth periodic scalar, and its exact derivatives along x and y."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    value = along_x = along_y = torch.zeros(height, width, dtype=torch.float64)
    for _ in range(6):
        k, m = torch.randint(-4, 5, (2,), generator=generator).tolist()
        size, phase = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        a, b = 2 * torch.pi * k / width, 2 * torch.pi * m / height
        angle = a * x + b * y + 7 * phase
        value = value + size * angle.sin()
        along_x, along_y = along_x + size * a * angle.cos(), along_y + size * b * angle.cos()
    return value, along_x, along_y


@pytest.mark.parametrize(("height", "width"), [(32, 48), (27, 35)])
def test_the_split_returns_the_curl_and_the_gradient_that_were_added(height, width):
    _, psi_x, psi_y = random_periodic(height, width, 0)
    _, phi_x, phi_y = random_periodic(height, width, 1)
    turning, swelling = torch.stack([psi_y, -psi_x]), torch.stack([phi_x, phi_y])
    solenoidal, irrotational = helmholtz(turning + swelling)
    torch.testing.assert_close(solenoidal, turning, atol=1e-8, rtol=0)
    torch.testing.assert_close(irrotational, swelling, atol=1e-8, rtol=0)
    assert float(turning.std()) > 0.05 and float(swelling.std()) > 0.05


@pytest.mark.parametrize(("height", "width"), [(16, 24), (15, 21), (16, 21)])
def test_parts_of_any_field_are_orthogonal_and_free_of_divergence_and_of_curl(height, width):
    field = torch.randn(3, 2, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    solenoidal, irrotational = helmholtz(field)
    torch.testing.assert_close(solenoidal + irrotational, field)
    scale = float(spectral_divergence(field).abs().max())
    assert float(spectral_divergence(solenoidal).abs().max()) < 1e-10 * scale
    assert float(spectral_curl(irrotational).abs().max()) < 1e-10 * scale
    assert abs(float((solenoidal * irrotational).sum())) < 1e-8 * float(field.square().sum())


def test_the_solver_with_walls_inverts_the_discrete_laplacian():
    phi = torch.randn(2, 13, 18, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    phi = phi - phi.mean((-2, -1), keepdim=True)
    laplacian = edge_divergence(*edge_gradient(phi))
    assert abs(float(laplacian.sum())) < 1e-10  # nothing flows through the border
    torch.testing.assert_close(cosine_poisson(laplacian), phi)


def test_with_weight_one_the_weighted_operator_is_the_laplacian_and_it_is_symmetric():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 9, 11, dtype=torch.float64, generator=generator)
    weight = 0.2 + torch.rand(9, 11, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(weighted_laplacian(a, torch.ones_like(a)), edge_divergence(*edge_gradient(a)))
    torch.testing.assert_close((a * weighted_laplacian(b, weight)).sum(), (b * weighted_laplacian(a, weight)).sum())


def test_the_weighted_solver_returns_the_potential_in_twenty_steps():
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.linspace(0, 3, 40), torch.linspace(0, 4, 56), indexing="ij")
    phi = (torch.cos(1.3 * x) * torch.cos(y) + 0.3 * torch.sin(2 * x + y)).double()
    weight = (0.2 + 0.8 * torch.rand(40, 56, generator=generator)).double()
    found = weighted_poisson(weighted_laplacian(phi, weight), weight, 20)
    expected, got = (centred(*edge_gradient(p)) for p in (phi, found))
    assert float((got - expected).norm() / expected.norm()) < 1e-4

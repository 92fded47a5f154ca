"""Principal components: exact when all are kept, of equal deviation, and nothing but the training rows decides."""

import pytest
import torch

from pathline.nn import PrincipalComponents


def rows(seed=0):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(8, 8, generator=generator, dtype=torch.float64) * torch.logspace(0, -2, 8, dtype=torch.float64)
    return torch.randn(500, 8, generator=generator, dtype=torch.float64) @ mix + 3.0


def fitted(components, target=0.5):
    codec = PrincipalComponents(8, components, target).double()
    codec.fit(rows())
    return codec


def test_all_components_reconstruct_exactly_and_fewer_explain_less():
    codec = fitted(8)
    assert torch.allclose(codec.decode(codec.encode(rows())), rows(), atol=1e-10)
    explained = codec.explained
    assert bool((explained.diff() >= 0).all()) and explained[-1] == pytest.approx(1.0)
    for count in (1, 3, 6):
        few = fitted(count)
        missed = (few.decode(few.encode(rows())) - rows()).square().sum() / (rows() - rows().mean(0)).square().sum()
        assert missed.item() == pytest.approx(1 - float(explained[count - 1]), abs=1e-9)


def test_coordinates_are_uncorrelated_and_of_the_asked_deviation():
    x = fitted(5).encode(rows())
    assert torch.allclose(x.T @ x / len(x), 0.25 * torch.eye(5, dtype=torch.float64), atol=1e-9)


def test_the_volume_of_whitening():
    codec = fitted(8)
    jacobian = torch.autograd.functional.jacobian(codec.encode, rows()[0])
    assert torch.linalg.slogdet(jacobian).logabsdet.item() == pytest.approx(codec.log_volume().item())


def test_axes_do_not_depend_on_the_order_of_rows():
    codec, other = fitted(8), PrincipalComponents(8, 8, 0.5).double()
    other.fit(rows()[torch.randperm(500, generator=torch.Generator().manual_seed(3))])
    assert torch.allclose(codec.axes, other.axes, atol=1e-8)


def test_more_components_than_dimensions_are_refused():
    with pytest.raises(ValueError, match="8 dimensions have 1 to 8"):
        PrincipalComponents(8, 9)

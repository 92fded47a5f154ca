"""The Gaussian baseline is the normal law it claims to be."""

import torch

from pathline.data import Samples
from pathline.generate.baselines import Gaussian
from pathline.sims.points import points


def test_samples_have_the_mean_and_covariance_of_the_data():
    generator = torch.Generator().manual_seed(0)
    root = torch.tensor([[2.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.0, -1.0, 3.0]])
    data = Samples(values=torch.randn(5000, 3, generator=generator) @ root.T + torch.tensor([10.0, -4.0, 0.3]))
    drawn = Gaussian.for_data(data).sample(20_000)
    assert torch.allclose(drawn.mean(0), data.values.mean(0), atol=0.1)
    assert torch.allclose(torch.cov(drawn.T), torch.cov(data.values.T), rtol=0.05, atol=0.15)


def test_with_fewer_samples_than_columns_the_covariance_is_shrunk_and_not_singular():
    x = torch.randn(12, 20, generator=torch.Generator().manual_seed(1)) * torch.linspace(0.5, 3, 20)
    found = Gaussian.for_data(Samples(values=x))
    covariance = found.root @ found.root
    assert torch.linalg.eigvalsh(covariance).min() > 0.05
    assert torch.allclose(covariance.trace(), torch.tensor(20.0), rtol=1e-4)  # of standardised columns


def test_each_class_has_its_own_mean():
    data = points("eight-gaussians", 4000, 0)
    drawn = Gaussian.for_data(data).draw(4000)
    for label in range(8):
        centre = data.values[data.labels == label].mean(0)
        assert torch.allclose(drawn.values[drawn.labels == label].mean(0), centre, atol=0.1)


def test_one_sample_and_constant_columns_are_no_trouble():
    one = Samples(values=torch.tensor([[3.0, 5.0]]))
    assert torch.isfinite(Gaussian.for_data(one).fit(one).sample(4)).all()

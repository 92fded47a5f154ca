"""Distances agree with closed forms, and the fixed classifiers are as good as their docstring says."""

import numpy as np
import ot
import pytest
import torch
from scipy.linalg import sqrtm

from pathline.data import DataError
from pathline.data.sets import load
from pathline.generate import features as module
from pathline.generate.features import (
    SPLIT_SEED,
    feature_net,
    features,
    frechet_distance,
    sliced_wasserstein,
    wasserstein_1d,
)


def cloud(mean: torch.Tensor, root: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """Points whose sample mean and covariance are exactly `mean` and root root^T."""
    x = torch.randn(count, len(mean), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = x - x.mean(0)
    x = torch.linalg.solve_triangular(torch.linalg.cholesky(torch.cov(x.T)), x.T, upper=False).T
    return mean + x @ root.T


def test_the_frechet_distance_is_that_of_two_gaussians():
    generator = torch.Generator().manual_seed(0)
    draw = torch.randn(2, 6, 6, generator=generator, dtype=torch.float64)
    means = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    a, b = cloud(means[0], draw[0], 50, 1), cloud(means[1], draw[1], 80, 2)
    first, second = (draw @ draw.mT).numpy()
    expected = float((means[0] - means[1]).square().sum()) + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-8)


def test_the_frechet_distance_of_commuting_covariances_compares_deviations():
    one, two = torch.tensor([1.0, 2.0, 0.0]).double(), torch.tensor([3.0, 0.5, 0.0]).double()
    a, b = cloud(torch.zeros(3).double(), one.diag(), 40, 3), cloud(torch.ones(3).double(), two.diag(), 40, 4)
    assert frechet_distance(a, b) == pytest.approx(3 + 4 + 2.25, rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_wasserstein_on_the_line_is_exact_for_unequal_counts():
    generator = torch.Generator().manual_seed(5)
    a = torch.randn(7, 3, generator=generator).double()
    b = torch.randn(12, 3, generator=generator).double()
    expected = [ot.emd2_1d(a[:, k].numpy(), b[:, k].numpy(), metric="sqeuclidean") for k in range(3)]
    assert wasserstein_1d(a, b).tolist() == pytest.approx(expected, rel=1e-10)


def test_sliced_wasserstein_sees_shift_and_scale():
    x = torch.randn(400, 1, generator=torch.Generator().manual_seed(6))
    assert sliced_wasserstein(x, x + 3) == pytest.approx(3, rel=1e-5)
    assert sliced_wasserstein(x, 2 * x) == pytest.approx(float(x.square().mean().sqrt()), rel=1e-5)
    plane = torch.randn(400, 5, generator=torch.Generator().manual_seed(7))
    shift = torch.tensor([3.0, 0, 4.0, 0, 0])
    assert sliced_wasserstein(plane, plane + shift, directions=4000) == pytest.approx(5 / 5**0.5, rel=0.03)
    with pytest.raises(ValueError, match="one shape"):
        sliced_wasserstein(x, plane)


@pytest.mark.parametrize("key", ["digits", "fashion-mnist"])
def test_the_fixed_classifier_is_as_accurate_as_stated_and_its_features_have_unit_variance(key):
    try:
        data = load(key)
    except DataError as error:
        pytest.skip(str(error))
    parts = data.split(SPLIT_SEED)
    net = feature_net(data.shape)
    low, high = data.bounds
    guesses = net.logits((parts.test.values - low) / (high - low)).argmax(1)
    accuracy = float((guesses == parts.test.labels).float().mean())
    line = next(line for line in (module.__doc__ or "").splitlines() if f'"{key}"' in line)
    assert f"{accuracy:.3f}" in line and f"{len(parts.train):,} training" in line
    assert accuracy > {"digits": 0.98, "fashion-mnist": 0.9}[key]
    found = features(parts.train.values[:5000], data.bounds)
    assert torch.allclose(found.std(0), torch.ones(32), atol=0.05) and found.mean(0).abs().max() < 0.05


def test_the_digit_features_tell_digits_from_a_gaussian_with_their_mean_and_covariance():
    train = load("digits").split(SPLIT_SEED).train
    x = train.values.flatten(1).double()
    noise = torch.randn(1400, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values, vectors = torch.linalg.eigh(torch.cov(x.T))
    normal = x.mean(0) + noise @ (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    assert frechet_distance(x, normal) < 0.15 * float(torch.cov(x.T).trace())  # the pixels can hardly tell
    real = features(train.values, train.bounds)
    fake = features(normal.float().reshape(-1, 1, 8, 8), train.bounds)
    assert frechet_distance(real[::2], fake) > 5 * frechet_distance(real[::2], real[1::2])


def test_images_without_a_classifier_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 9, 9\)"):
        features(torch.zeros(2, 1, 9, 9), (0.0, 1.0))

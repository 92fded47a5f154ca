"""Similarities of all pairs: two ways to the same numbers, and both equal to looking directly."""

import math

import pytest
import torch
from torch.nn import functional as F

from pathline.nn.correlation import AllPairs, OnTheFly, local_correlation
from pathline.nn.warp import pixel_grid, sample_at

BATCH, CHANNELS, HEIGHT, WIDTH = 2, 6, 9, 12
LEVELS, RADIUS = 3, 2
SIDE = 2 * RADIUS + 1


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, BATCH, CHANNELS, HEIGHT, WIDTH, generator=generator)


@pytest.fixture
def points():
    """Where points are thought to be: some far outside the picture."""
    generator = torch.Generator().manual_seed(1)
    return pixel_grid(HEIGHT, WIDTH) + 6 * torch.randn(BATCH, 2, HEIGHT, WIDTH, generator=generator)


def test_the_volume_and_products_on_the_fly_give_the_same_numbers(features, points):
    full = AllPairs(*features, LEVELS, RADIUS).lookup(points)
    light = OnTheFly(*features, LEVELS, RADIUS).lookup(points)
    assert full.shape == (BATCH, LEVELS * SIDE**2, HEIGHT, WIDTH)
    assert full.abs().max() > 1
    torch.testing.assert_close(light, full, atol=1e-5, rtol=0)


def test_gradients_of_both_ways_are_the_same(features, points):
    gradients = []
    for kind in (AllPairs, OnTheFly):
        first, second = (one.clone().requires_grad_() for one in features)
        kind(first, second, LEVELS, RADIUS).lookup(points).square().sum().backward()
        gradients.append((first.grad, second.grad))
    for full, light in zip(*gradients, strict=True):
        torch.testing.assert_close(light, full, atol=1e-4, rtol=1e-4)


def test_a_lookup_at_whole_positions_is_direct_indexing(features):
    first, second = features
    volume = torch.einsum("bchw,bcij->bhwij", first, second) / math.sqrt(CHANNELS)
    shift = torch.tensor([2.0, -1.0]).view(1, 2, 1, 1)
    windows = AllPairs(first, second, 1, RADIUS).lookup((pixel_grid(HEIGHT, WIDTH) + shift).expand(BATCH, -1, -1, -1))
    windows = windows.view(BATCH, SIDE, SIDE, HEIGHT, WIDTH)
    for y, x, row, column in ((4, 3, 0, 4), (5, 6, 3, 1), (0, 0, 4, 4), (8, 11, 2, 2)):
        i, j = y - 1 + row - RADIUS, x + 2 + column - RADIUS
        inside = 0 <= i < HEIGHT and 0 <= j < WIDTH
        expected = volume[:, y, x, i, j] if inside else torch.zeros(BATCH)
        torch.testing.assert_close(windows[:, row, column, y, x], expected)


def test_a_lookup_between_pixels_is_bilinear_with_zeros_outside(features, points):
    first, second = features
    volume = torch.einsum("bchw,bcij->bhwij", first, second) / math.sqrt(CHANNELS)
    level = F.avg_pool2d(volume.flatten(0, 2)[:, None], 2)
    offset = torch.arange(-RADIUS, RADIUS + 1.0)
    window = torch.stack(torch.meshgrid(offset, offset, indexing="xy"))
    at = points.permute(0, 2, 3, 1).reshape(-1, 2, 1, 1) / 2 + window
    expected = sample_at(level, at).view(BATCH, HEIGHT, WIDTH, -1).permute(0, 3, 1, 2)
    found = AllPairs(first, second, 2, RADIUS).lookup(points)[:, SIDE**2 :]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_averaging_the_volume_is_averaging_the_features(features):
    first, second = (one.double() for one in features)
    pyramid = AllPairs(first, second, LEVELS, RADIUS).levels
    pooled = F.avg_pool2d(F.avg_pool2d(second, 2), 2)
    direct = torch.einsum("bchw,bcij->bhwij", first, pooled) / math.sqrt(CHANNELS)
    torch.testing.assert_close(pyramid[2].view(direct.shape), direct, atol=1e-5, rtol=0)


def test_local_similarity_is_the_middle_of_the_volume(features):
    first, second = features
    found = local_correlation(first, second, 1) * math.sqrt(CHANNELS)
    windows = AllPairs(first, second, 1, 1).lookup(pixel_grid(HEIGHT, WIDTH).expand(BATCH, -1, -1, -1))
    torch.testing.assert_close(found, windows, atol=1e-5, rtol=1e-5)

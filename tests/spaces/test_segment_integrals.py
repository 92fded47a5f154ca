"""Gaussians along segments: the closed form is the integral, wherever the points are and however slowly they move."""

import math

import pytest
import torch

from pathline.spaces.segment_integrals import log_peak, log_segment_integral


def cases(count: int, seed: int = 0):
    """Places, velocities of norm 1e-8 to 1e3 in random directions, and intervals; float64."""
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.randn(count, 2, generator=generator, dtype=torch.float64)
    direction = torch.nn.functional.normalize(torch.randn(count, 2, generator=generator, dtype=torch.float64), dim=1)
    speed = 10 ** (11 * torch.rand(count, 1, generator=generator, dtype=torch.float64) - 8)
    begin = 0.1 * torch.rand(count, generator=generator, dtype=torch.float64)
    return x, direction * speed, begin, begin + 0.01 + 0.1 * torch.rand(count, generator=generator, dtype=torch.float64)


def quadrature(x, v, begin, end, points: int = 10_001):
    """log of the trapezoid rule, (count,); the exponent's peak is taken out first."""
    s = begin[:, None] + (end - begin)[:, None] * torch.linspace(0, 1, points, dtype=x.dtype)
    exponent = -(x[:, None] + s[..., None] * v[:, None]).square().sum(-1)
    weight = torch.ones(points, dtype=x.dtype)
    weight[[0, -1]] = 0.5
    return (exponent + weight.log()).logsumexp(1) + ((end - begin) / (points - 1)).log()


def test_the_closed_form_is_the_integral_for_every_speed():
    x, v, begin, end = cases(200)
    v[:5] = 0
    fast = v.norm(dim=1) * (end - begin) > 3  # too steep for a trapezoid of 1e4 points
    found = log_segment_integral(x, v, begin, end)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found[~fast], quadrature(x, v, begin, end)[~fast], rtol=0, atol=1e-5)
    assert int((~fast).sum()) > 130


def test_points_at_rest_meet_at_a_constant_rate():
    x, _, begin, end = cases(50)
    found = log_segment_integral(x, torch.zeros_like(x), begin, end)
    torch.testing.assert_close(found, (end - begin).log() - x.square().sum(1), rtol=0, atol=1e-12)


def test_both_forms_agree_where_they_meet():
    """On both sides of the limits q = 1/2 and |p| = 4 the value is the same function, to 1e-8."""
    angle = torch.linspace(0, 2 * math.pi, 41, dtype=torch.float64)
    x = torch.stack([angle.cos(), angle.sin()], 1) * 3
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    for size in (0.4999, 0.5001, 0.66, 0.67):
        v = torch.tensor([size, 0.0], dtype=torch.float64).expand_as(x)
        whole = log_segment_integral(x, v, zero, one)
        tenths = torch.stack([log_segment_integral(x, v, zero + k / 10, zero + (k + 1) / 10) for k in range(10)])
        torch.testing.assert_close(whole, tenths.logsumexp(0), rtol=0, atol=1e-8)


def test_nothing_underflows_or_overflows():
    """Both ends 60 units behind the point: exp(-3600) is 0 even in float64, its logarithm is not."""
    x = torch.tensor([[60.0, 0.0], [-60.0, 0.0], [0.0, 60.0]])
    v = torch.tensor([[40.0, 0.0], [-40.0, 0.0], [1e-12, 0.0]])
    found = log_segment_integral(x, v, torch.zeros(()), torch.ones(()))
    # the first two: erfc(60) / (2 |v| / sqrt(pi)) with erfc(z) -> exp(-z^2) / (z sqrt(pi))
    expected = torch.tensor([-3600 - math.log(2 * 60 * 40), -3600 - math.log(2 * 60 * 40), -3600.0])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("speed", [0.0, 1e-6, 0.3, 20.0])
def test_gradients_are_those_of_finite_differences(speed):
    generator = torch.Generator().manual_seed(1)
    x, v = torch.randn(2, 6, 2, generator=generator, dtype=torch.float64)
    v = speed * v
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x, v: log_segment_integral(x, v, zero, one), (x.requires_grad_(), v.requires_grad_()), atol=1e-5
    )


def test_the_peak_is_the_greatest_value_on_the_segment():
    x, v, begin, end = cases(600, seed=2)
    s = begin[:, None] + (end - begin)[:, None] * torch.linspace(0, 1, 2001, dtype=x.dtype)
    values = -(x[:, None] + s[..., None] * v[:, None]).square().sum(-1)
    peak = log_peak(x, v, begin, end)
    assert (peak >= values.amax(1) - 1e-9).all()
    close = v.norm(dim=1) < 20
    torch.testing.assert_close(peak[close], values.amax(1)[close], rtol=0, atol=1e-3)
    inside = (values.argmax(1) > 0) & (values.argmax(1) < 2000)
    assert int(inside.sum()) > 5  # tops that no end of a segment reaches

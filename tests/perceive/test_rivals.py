"""Rivals of RAFT: as many weights, estimates from coarse to fine, and that they learn at all."""

import pytest
import torch

from pathline.core.budget import steps
from pathline.perceive.raft import RAFT
from pathline.perceive.rivals import PWC, FlowNetS, of_equal_size
from tests.perceive.moving import moved_pairs, waves


@pytest.mark.parametrize("cls", [FlowNetS, PWC])
def test_the_largest_width_that_fits_is_found(cls):
    count = RAFT().parameter_count()
    width = of_equal_size(cls, count)
    assert cls(width=width).parameter_count() <= count < cls(width=width + 1).parameter_count()
    assert cls(width=width).parameter_count() > 0.9 * count


@torch.no_grad()
@pytest.mark.parametrize(("cls", "count"), [(FlowNetS, 4), (PWC, 3)])
def test_estimates_go_from_coarse_to_fine_at_full_size(cls, count):
    torch.manual_seed(0)
    estimates = cls(width=8).sequence(waves(torch.ones(2, 2), (32, 48), channels=3))
    assert len(estimates) == count and all(flow.shape == (2, 2, 32, 48) for flow in estimates)
    rough = [float(flow.diff(dim=-1).diff(dim=-1).abs().gt(1e-6).float().mean()) for flow in estimates]
    assert rough == sorted(rough) and rough[0] < rough[-1]


@pytest.mark.parametrize("cls", [FlowNetS, PWC])
def test_it_learns_the_shifts_of_textures(cls):
    shifts = 6 * torch.rand(48, 2, generator=torch.Generator().manual_seed(0)) - 3
    data = moved_pairs(shifts, size=(32, 32), seed=1)
    method = cls.seeded(data, 0, width=16, noise=0.0)
    before = method.eval().evaluate(data)["epe"]
    method.fit(data, steps(150), seed=0, lr=3e-3, batch_size=16)
    assert method.evaluate(data)["epe"] < 0.6 * before

"""Moving pictures along a flow: directions, borders, and flow carried forward."""

import torch

from pathline.nn.warp import carried_forward, lands_inside, pixel_grid, sample_at, warp


def test_coordinates_give_x_first():
    grid = pixel_grid(3, 5)
    assert grid.shape == (2, 3, 5)
    assert grid[:, 2, 4].tolist() == [4, 2]


def test_sampling_at_the_grid_is_the_picture_itself():
    picture = torch.rand(2, 3, 7, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(sample_at(picture, pixel_grid(7, 5).expand(2, -1, -1, -1)), picture)


def test_a_whole_shift_to_the_right_and_down_is_undone():
    first = torch.rand(1, 1, 8, 9, generator=torch.Generator().manual_seed(0))
    second = first.roll((1, 2), (2, 3))  # down by 1, right by 2
    flow = torch.tensor([2.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 8, 9)
    torch.testing.assert_close(warp(second, flow)[..., :-1, :-2], first[..., :-1, :-2])


def test_what_leaves_the_picture_is_known_and_takes_the_border_or_zero():
    picture = torch.ones(1, 1, 4, 4)
    flow = torch.tensor([2.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    assert lands_inside(flow)[0].sum(0).tolist() == [4, 4, 0, 0]
    assert float(warp(picture, flow).min()) == 1
    assert warp(picture, flow, "zeros")[0, 0, 0].tolist() == [1, 1, 0, 0]


def test_a_flow_that_stretches_the_picture_is_stretched_too():
    grid = pixel_grid(9, 24)
    flow = torch.stack([grid[0] / 2, torch.zeros(9, 24)])[None]  # the point at x lands at 1.5 x
    expected = grid[0] / 1.5 / 2
    assert float((carried_forward(flow)[0, 0] - expected).abs().max()) <= 0.5
    assert float((flow[0, 0] - expected).abs().max()) > 3


def test_a_uniform_flow_stays_as_it_is_and_one_that_leaves_entirely_is_forgotten():
    flow = torch.tensor([1.5, -0.5]).view(1, 2, 1, 1).expand(1, 2, 6, 6).contiguous()
    torch.testing.assert_close(carried_forward(flow), flow)
    assert float(carried_forward(flow + 100).abs().max()) == 0

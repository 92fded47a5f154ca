"""Signed distances on a grid, against closed forms and brute force."""

import math

import torch

from pathline.spaces.signed_distance import signed_distance

ROWS, COLUMNS = torch.arange(40)[:, None], torch.arange(96)


def disc(x: float, y: float, radius: float) -> torch.Tensor:
    return (COLUMNS - x).square() + (ROWS - y).square() < radius**2


def test_the_distance_to_a_disc_is_that_to_its_centre_less_the_radius():
    places = [(30.0, 20.0, 6.0), (50.3, 17.2, 8.5), (12.7, 25.1, 3.2)]
    found = signed_distance(torch.stack([disc(*place) for place in places]))
    for distance, (x, y, radius) in zip(found, places, strict=True):
        exact = ((COLUMNS - x).square() + (ROWS - y).square()).sqrt() - radius
        assert (distance - exact).abs().max() < 1


def test_zero_lies_on_the_boundary():
    """Two neighbours on either side of the boundary are half a cell from it, with opposite signs."""
    covered = disc(40, 20, 9)
    distance = signed_distance(covered)
    assert torch.equal(distance < 0, covered)
    crossing = covered[:, 1:] != covered[:, :-1]
    torch.testing.assert_close(distance[:, 1:][crossing].abs(), torch.full((int(crossing.sum()),), 0.5))
    torch.testing.assert_close(distance[:, 1:][crossing] + distance[:, :-1][crossing], torch.zeros(int(crossing.sum())))


def test_it_is_exact_against_brute_force_and_grids_do_not_see_each_other():
    covered = torch.rand(3, 9, 11, generator=torch.Generator().manual_seed(0)) < 0.3
    cells = torch.cartesian_prod(torch.arange(9.0), torch.arange(11.0))
    for grid, distance in zip(covered, signed_distance(covered), strict=True):
        apart = torch.cdist(cells, cells)
        inside = grid.flatten()
        to_covered, to_free = apart[:, inside].amin(1), apart[:, ~inside].amin(1)
        expected = torch.where(inside, 0.5 - to_free, to_covered - 0.5)
        torch.testing.assert_close(distance.flatten(), expected)


def test_without_a_boundary_everything_is_as_far_as_can_be():
    for covered, sign in ((torch.zeros(1, 40, 96).bool(), 1), (torch.ones(40, 96).bool(), -1)):
        torch.testing.assert_close(signed_distance(covered), torch.full(covered.shape, sign * math.hypot(40, 96)))
    both = signed_distance(torch.stack([torch.zeros(40, 96).bool(), disc(30, 20, 6)]))
    torch.testing.assert_close(both[0], torch.full((40, 96), math.hypot(40, 96)))

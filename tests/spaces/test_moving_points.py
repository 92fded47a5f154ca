"""Paths in straight pieces: the formula, the ends, and rest after them."""

import torch

from pathline.spaces.moving_points import PiecewisePaths

PATHS = PiecewisePaths(
    torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64),
    torch.randn(5, 4, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64),
)


def test_places_follow_the_sum_over_pieces():
    time = torch.tensor([0.0, 0.05, 0.2, 0.31, 0.999, 1.0], dtype=torch.float64)
    point = torch.tensor([0, 1, 2, 3, 0, 1])
    found = PATHS.at(time, point)
    for t, i, place in zip(time.tolist(), point.tolist(), found, strict=True):
        k = min(int(t / 0.2), 4)
        expected = PATHS.start[i] + 0.2 * PATHS.velocity[:k, i].sum(0) + (t - 0.2 * k) * PATHS.velocity[k, i]
        torch.testing.assert_close(place, expected)


def test_the_last_instant_belongs_to_the_last_piece_and_points_rest_after_it():
    end = torch.ones(4, dtype=torch.float64)
    every = torch.arange(4)
    torch.testing.assert_close(PATHS.at(end, every), PATHS.corners()[-1])
    torch.testing.assert_close(PATHS.at(3 * end, every), PATHS.corners()[-1])
    assert PATHS.piece_of(end)[0].tolist() == [4] * 4


def test_paths_are_continuous():
    edges = torch.arange(1, 5, dtype=torch.float64) / 5
    every = torch.zeros(4, dtype=torch.int64)
    torch.testing.assert_close(PATHS.at(edges - 1e-9, every), PATHS.at(edges + 1e-9, every), atol=1e-7, rtol=0)

"""The detector of points and its score: average precision counted by hand."""

import pytest
import torch

from pathline.nn.warp import pixel_grid
from pathline.perceive.heat_map import HeatMapDetector, average_precision, peaks


def maps(*pictures):
    """(pictures, 20, 20): each picture a list of (x, y, logit), elsewhere far less."""
    made = torch.full((len(pictures), 20, 20), -50.0)
    made += torch.rand(made.shape, generator=torch.Generator().manual_seed(0))  # no ties
    for one, spots in zip(made, pictures, strict=True):
        for x, y, logit in spots:
            one[y, x] = logit
    return made


def test_peaks_are_local_maxima_from_the_surest_down():
    place, score = peaks(maps([(4, 5, 3.0), (5, 5, 2.5), (12, 9, 4.0)]), most=2)
    assert place[0].tolist() == [[12, 9], [4, 5]] and score[0].tolist() == [4.0, 3.0]


def test_average_precision_counted_by_hand():
    centre = torch.tensor([[5.0, 5.0], [5.0, 5.0], [5.0, 5.0]])
    # in the order of confidence: right, wrong, right (1.4 pixels off), and one picture is missed
    logits = maps([(5, 5, 9.0)], [(15, 15, 8.0), (6, 6, 7.0)], [(10, 10, 6.0)])
    expected = (1 / 1 + 2 / 3) / 3
    found = average_precision(logits, centre)
    assert found == pytest.approx(expected, abs=0.02)  # stray detections deep down add next to nothing
    assert average_precision(logits, centre, tolerance=1.0) < 0.4


def test_a_second_detection_of_the_same_point_is_wrong():
    centre = torch.tensor([[9.0, 9.0], [9.0, 9.0]])
    twice = maps([(9, 9, 9.0), (9, 12, 1.0)], [(9, 9, 0.5)])
    assert average_precision(twice, centre, tolerance=3.0) == pytest.approx((1 + 2 / 3) / 2)


def test_a_perfect_map_has_ap_one_and_a_flat_one_next_to_none():
    centre = torch.randint(3, 17, (8, 2), generator=torch.Generator().manual_seed(0)).float()
    square = (pixel_grid(20, 20) - centre[..., None, None]).square().sum(1)
    assert average_precision(-square, centre) == 1.0
    assert average_precision(torch.rand(8, 20, 20, generator=torch.Generator().manual_seed(1)), centre) < 0.3


def test_the_detector_learns_bright_spots():
    generator = torch.Generator().manual_seed(0)
    centre = torch.randint(4, 28, (96, 2), generator=generator).float()
    square = (pixel_grid(32, 32) - centre[..., None, None]).square().sum(1)
    pictures = 0.2 * torch.rand(96, 3, 32, 32, generator=generator) + torch.exp(-square / 2)[:, None]
    torch.manual_seed(0)
    detector = HeatMapDetector(width=8)
    with torch.no_grad():
        before = average_precision(detector(pictures[64:]), centre[64:])
    detector.learn(pictures[:64], centre[:64], steps=60, batch=16, seed=0)
    with torch.no_grad():
        assert average_precision(detector(pictures[64:]), centre[64:]) > max(0.9, before)

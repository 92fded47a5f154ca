"""The peak finder does what one does by hand: take the highest, strike out its neighbourhood, go on."""

import pytest
import torch

from pathline.signal import find_peaks


def by_hand(curve: list[float], height: float, distance: int) -> list[int]:
    """The definition, one candidate at a time."""
    candidates = [
        i
        for i in range(1, len(curve) - 1)
        if curve[i] > curve[i - 1] and curve[i] >= curve[i + 1] and curve[i] >= height
    ]
    kept: list[int] = []
    for i in sorted(candidates, key=lambda i: (-curve[i], i)):
        if all(abs(i - j) > distance for j in kept):
            kept.append(i)
    return sorted(kept)


@pytest.mark.parametrize("distance", [0, 1, 5, 17, 50, 400])
@pytest.mark.parametrize("height", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("levels", [0, 6])
def test_it_equals_brute_force_on_random_curves(distance, height, levels):
    curves = torch.rand(12, 300, generator=torch.Generator().manual_seed(distance))
    if levels:  # few different heights: ties and flat tops
        curves = (curves * levels).round() / levels
    found = find_peaks(curves, height, distance)
    for row, curve in enumerate(curves):
        expected = by_hand(curve.tolist(), height, distance)
        assert found.sample[found.curve == row].tolist() == expected
    assert torch.equal(found.height, curves[found.curve, found.sample])


def test_a_chain_of_rising_peaks_is_decided_from_its_highest():
    """1 < 2 < 3 < 4, each within reach of the next only: 4 strikes 3 out, so that 2 stays and strikes 1 out."""
    curve = torch.zeros(1, 60)
    curve[0, [10, 20, 30, 40]] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert find_peaks(curve, 0.5, 10).sample.tolist() == [20, 40]


def test_curves_do_not_strike_each_other_out_and_gaps_are_no_peaks():
    curves = torch.zeros(2, 10)
    curves[0, 8], curves[1, 1] = 1.0, 2.0
    assert find_peaks(curves, 0.5, 9).sample.tolist() == [8, 1]
    curves[0, 7] = torch.nan
    assert find_peaks(curves, 0.5, 0).sample.tolist() == [1]
    with pytest.raises(ValueError, match=r"\(count, samples\)"):
        find_peaks(curves[0], 0.5)

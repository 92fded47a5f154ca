"""Running normalisation and sliding windows."""

import pytest
import torch

from pathline.signal import running_normalise, slide, window_starts

DRAW = torch.Generator().manual_seed(0)


def test_a_record_of_one_window_is_normalised_as_a_whole():
    x = 5 + 3 * torch.randn(4, 3, 1000, generator=DRAW)
    normal = running_normalise(x, 1000)
    expected = (x - x.mean(-1, keepdim=True)) / x.std(-1, correction=0, keepdim=True)
    torch.testing.assert_close(normal, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("samples", [400, 3000, 7321])
def test_scale_and_offset_change_nothing(samples):
    x = torch.randn(2, 3, samples, generator=DRAW)
    torch.testing.assert_close(running_normalise(1000 * x + 17, 1000), running_normalise(x, 1000), atol=1e-4, rtol=1e-4)


def test_the_deviation_runs_along_a_signal_that_grows():
    """At the nodes it is the deviation of the window around them; between, the straight line."""
    x = torch.randn(1, 1, 6000, generator=DRAW) * torch.linspace(1, 50, 6000)
    normal = running_normalise(x, 1000)
    nodes = torch.arange(500, 5501, 500)
    around = torch.stack([x[0, 0, n - 500 : n + 500] for n in nodes.tolist()])
    node_values = (x[0, 0, nodes] - around.mean(1)) / around.std(1, correction=0)
    torch.testing.assert_close(normal[0, 0, nodes], node_values, atol=1e-4, rtol=1e-4)
    middle, mean, deviation = nodes[:-1] + 250, around.mean(1), around.std(1, correction=0)
    between = (x[0, 0, middle] - (mean[1:] + mean[:-1]) / 2) / ((deviation[1:] + deviation[:-1]) / 2)
    torch.testing.assert_close(normal[0, 0, middle], between, atol=1e-4, rtol=1e-4)
    assert abs(normal[..., 1000:2000].std() - normal[..., 4000:5000].std()) < 0.1


@pytest.mark.parametrize("samples", [900, 5000])
def test_gaps_and_dead_components_become_zero_and_leave_the_rest_alone(samples):
    x = torch.randn(1, 3, samples, generator=DRAW)
    x[:, 1], x[:, 2] = 0.0, 12345.678
    whole = running_normalise(x, 1000)
    assert not whole[:, 1:].any()
    x[..., 100:150] = torch.nan
    normal = running_normalise(x, 1000)
    assert not normal[..., 100:150].any() and bool(torch.isfinite(normal).all())
    kept = torch.cat([normal[0, 0, :100], normal[0, 0, 150:900]])
    assert abs(kept.std() - 1) < 0.05
    x[..., : samples // 2] = torch.nan  # longer than a window
    assert normal[0, 0, samples // 2 :].abs().max() < 6 and bool(torch.isfinite(running_normalise(x, 1000)).all())
    assert running_normalise(x, 1000)[0, 0].abs().max() < 6


@pytest.mark.parametrize(
    ("samples", "window", "overlap"), [(3000, 3000, 0.5), (7777, 3000, 0.5), (100, 30, 0.9), (5, 9, 0.5)]
)
def test_windows_cover_everything_and_the_last_ends_with_the_record(samples, window, overlap):
    starts = window_starts(samples, window, overlap)
    covered = torch.zeros(max(samples, window), dtype=torch.bool)
    for start in starts.tolist():
        covered[start : start + window] = True
    assert bool(covered.all()) and int(starts[-1]) == max(samples - window, 0)
    assert bool((starts.diff() > 0).all()) and bool((starts.diff() <= max(1, round(window * (1 - overlap)))).all())


@pytest.mark.parametrize("combine", ["max", "mean"])
def test_sliding_equals_a_loop_over_windows(combine):
    x = torch.randn(3, 2, 530, generator=DRAW)
    calls = []

    def function(windows: torch.Tensor) -> torch.Tensor:
        """Depends on where in its window a sample lies, so that overlaps disagree."""
        calls.append(len(windows))
        return windows[:, :1] * torch.linspace(0, 1, windows.shape[-1])

    found = slide(function, x, 100, overlap=0.5, combine=combine, size=7)
    for record in range(3):
        for sample in range(0, 530, 13):
            values = [
                float(x[record, 0, sample] * torch.linspace(0, 1, 100)[sample - start])
                for start in [*range(0, 401, 50), 430]
                if start <= sample < start + 100
            ]
            expected = max(values) if combine == "max" else sum(values) / len(values)
            assert abs(float(found[record, 0, sample]) - expected) < 1e-5
    assert max(calls) <= 7 and sum(calls) == 30
    with pytest.raises(ValueError, match="max or mean"):
        slide(function, x, 100, combine="sum")


def test_a_short_record_is_filled_up_and_cut_again():
    x = torch.randn(2, 3, 70, generator=DRAW)
    torch.testing.assert_close(slide(lambda windows: windows, x, 100), x)

"""Simulated seismograms against what their equations promise."""

import math

import torch

from pathline.sims.seismograms import coloured_noise, simulate_seismograms

QUIET = {"snr": (0.0, math.inf), "vertical_only": 0.0}


def gaps(data) -> torch.Tensor:
    """(records,) samples from P to S."""
    where, phase, sample = data.pick_table
    table = torch.full((2, len(data.signals)), torch.nan, dtype=torch.float64)
    table[phase, where] = sample
    return table[1] - table[0]


def test_nothing_moves_before_p_and_something_does_right_after():
    data = simulate_seismograms(30, seed=1, **QUIET)
    where, phase, sample = data.pick_table
    for record, arrival in zip(where[phase == 0].tolist(), sample[phase == 0].tolist(), strict=True):
        first = math.ceil(arrival)
        assert not data.signals[record, :, :first].any()
        assert data.signals[record, :, first : first + 60].abs().max() > 0.02 * data.signals[record].abs().max()


def test_s_is_later_by_the_ratio_of_velocities():
    """With one seed, the same events: P to S is (ratio - 1) travel times."""
    slow, fast = (gaps(simulate_seismograms(20, seed=3, samples=9000, ratio=ratio, **QUIET)) for ratio in (2.0, 1.73))
    torch.testing.assert_close(fast / slow, torch.full((20,), 0.73, dtype=torch.float64), atol=1e-9, rtol=0)
    assert fast.min() > 0.73 * 0.8 * 100 - 1 and fast.max() < 0.73 * 14 * 100 + 1


def test_p_moves_along_its_ray_and_s_across_it():
    """The first wavelet is linearly polarised; at steep incidence P is strongest on Z and S on the horizontals."""
    data = simulate_seismograms(60, seed=5, samples=9000, **QUIET)
    where, phase, sample = data.pick_table
    apart = gaps(data) > 150
    rays, shears = [], []
    for record in torch.nonzero(apart).flatten().tolist():
        mine = where == record
        p, s = (int(sample[mine & (phase == k)]) + 1 for k in (0, 1))
        rays.append(torch.linalg.svd(data.signals[record, :, p : p + 20].double())[0][:, 0])
        shears.append(torch.linalg.svd(data.signals[record, :, s : s + 20].double())[0][:, 0])
    ray, shear = torch.stack(rays), torch.stack(shears)
    assert (ray[:, 2].abs() > ray[:, :2].norm(dim=1)).float().mean() > 0.7
    assert (shear[:, :2].norm(dim=1) > shear[:, 2].abs()).float().mean() > 0.7
    assert (ray * shear).sum(1).abs().median() < 0.35


def test_the_ratio_of_signal_to_noise_is_the_one_asked_for():
    options = {"seed": 2, "vertical_only": 0.0}
    clean = simulate_seismograms(40, snr=(0.0, math.inf), **options)
    where, phase, sample = clean.pick_table
    for decibels in (0.0, 20.0):
        noisy = simulate_seismograms(40, snr=(decibels, decibels), **options)
        for record in torch.nonzero(gaps(clean) > 101).flatten().tolist():  # S comes after the first second
            p = math.ceil(float(sample[(where == record) & (phase == 0)]))
            wave, both = clean.signals[record].double(), noisy.signals[record].double()
            ratio = wave[:, p : p + 100].square().mean() / (both - wave).square().mean()
            assert abs(10 * math.log10(float(ratio)) - decibels) < 0.1


def test_noise_falls_with_frequency_as_its_exponent_says():
    draw = torch.Generator().manual_seed(0)
    alpha = torch.tensor([0.0, 1.0], dtype=torch.float64)
    noise = coloured_noise((2, 40, 4096), alpha, 100.0, draw)
    spectrum = torch.fft.rfft(noise).abs().square().mean(1).sqrt()
    frequency = torch.fft.rfftfreq(4096, 0.01)
    low, high = (spectrum[:, (frequency > f) & (frequency < 1.2 * f)].mean(1) for f in (1.0, 20.0))
    torch.testing.assert_close((low / high).log2() / math.log2(20), alpha.to(low), atol=0.08, rtol=0)


def test_a_seed_gives_one_set_and_some_records_have_one_component():
    first, again, other = (simulate_seismograms(40, seed=seed, samples=2000) for seed in (0, 0, 1))
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    assert 0 < int(first.vertical_only.sum()) < 20 and len(set(first.station)) == 10

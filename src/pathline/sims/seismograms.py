"""Seismograms of local earthquakes: a P and an S wave with their codas, as a station with three components feels them.

    u(t) = [p w_P(t - t_P) + coda_P] + a [s w_S(t - t_S) + coda_S] + noise,        t_S - t_0 = ratio (t_P - t_0)

w is a Ricker wavelet; p points along the ray and s across it, so that P is strongest on Z and S on the horizontal
components of a ray that comes from below. A coda is noise around the frequency of its wave under an envelope
(1 - exp(-t / rise)) exp(-t / decay), which begins polarised as the wave and ends without direction (Aki, Chouet, 1975,
J. Geophys. Res. 80). Noise has a spectrum f^-alpha; every station has its own alpha and its own decay of codas.
"""

import math

import torch
from torch import Tensor

from pathline.data.waveforms import Waveforms

LOWEST = 0.1  # Hz: noise is as strong below this as at it


def simulate_seismograms(
    records: int,
    seed: int = 0,
    samples: int = 6000,
    rate: float = 100.0,
    stations: int | None = None,
    ratio: float = 1.73,
    snr: tuple[float, float] = (0.0, 30.0),
    vertical_only: float = 0.15,
    first: float = 0.5,
) -> Waveforms:
    """Records of one event each, with the exact samples of both arrivals.

    Args:
        ratio:         velocity of P over that of S: travel times of S are so many times as long
        snr:           decibels of the first second of P over noise, drawn uniformly; infinite for no noise
        vertical_only: share of records whose horizontal components are missing (0)
        first:         P arrives at this share of the record, up to a sample
        stations:      how many stations, by default a quarter of the records
    """
    draw = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float, count: int = records) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=draw, dtype=torch.float64)

    def logarithmic(low: float, high: float, count: int = records) -> Tensor:
        return uniform(math.log(low), math.log(high), count).exp()

    groups = max(1, records // 4) if stations is None else stations
    station = torch.arange(records) % groups
    alpha, decay = uniform(0.0, 1.2, groups)[station], logarithmic(0.7, 4.0, groups)[station]
    travel = logarithmic(0.8, 14.0)  # seconds of P
    frequency = logarithmic(2.5, 14.0) * (1 + travel / 20) ** -0.5
    p_time = first * samples / rate + uniform(0.0, 1.0) / rate
    s_time = p_time + (ratio - 1) * travel

    azimuth, incidence = uniform(0.0, 2 * math.pi), uniform(0.05, 0.9)
    sine, cosine = incidence.sin(), incidence.cos()
    ray = torch.stack([sine * azimuth.sin(), sine * azimuth.cos(), cosine], dim=1)
    across = torch.stack([cosine * azimuth.sin(), cosine * azimuth.cos(), -sine], dim=1)  # SV
    level = torch.stack([azimuth.cos(), -azimuth.sin(), torch.zeros(records)], dim=1)  # SH
    turn = uniform(0.0, 2 * math.pi)[:, None]
    shear = turn.cos() * across + turn.sin() * level

    time = torch.arange(samples, dtype=torch.float64) / rate
    p_wave = _arrival(time - p_time[:, None], ray, frequency, decay, logarithmic(0.005, 0.08), draw, rate)
    s_frequency = frequency / uniform(1.2, 2.0)
    s_wave = _arrival(time - s_time[:, None], shear, s_frequency, 1.5 * decay, logarithmic(0.02, 0.2), draw, rate)
    wave = p_wave + logarithmic(1.0, 5.0)[:, None, None] * s_wave

    noise = coloured_noise((records, 3, samples), alpha, rate, draw)
    begun = time - p_time[:, None]
    first_second = ((begun >= 0) & (begun < 1.0)).double()[:, None]
    power = (p_wave.square().sum(1, keepdim=True) * first_second).sum(-1, keepdim=True) / first_second.sum(-1, True)
    share = uniform(0.0, 1.0)
    decibels = snr[0] + (snr[1] - snr[0]) * share if math.isfinite(snr[1]) else torch.full_like(share, math.inf)
    strength = (power / 3).sqrt() * (10 ** (-decibels / 20))[:, None, None]
    signals = (wave + strength * noise) * logarithmic(1.0, 1e4)[:, None, None]
    silent = torch.rand(records, generator=draw) < vertical_only
    signals[silent, :2] = 0.0
    arrival = torch.cat([p_time, s_time]) * rate
    kept = arrival < samples
    return Waveforms(
        signals=signals.float(),
        rate=rate,
        pick_record=torch.arange(records).repeat(2)[kept],
        pick_phase=torch.arange(2).repeat_interleave(records)[kept],
        pick_sample=arrival[kept],
        labelled=torch.ones(records, dtype=torch.bool),
        station=tuple(f"XX.S{int(number):03d}" for number in station),
        channels=tuple("HHZ" if flag else "HHE_HHN_HHZ" for flag in silent.tolist()),
        name="simulated-seismograms",
    )


def _arrival(
    after: Tensor, direction: Tensor, frequency: Tensor, decay: Tensor, rise: Tensor, draw: torch.Generator, rate: float
) -> Tensor:
    """One wave and its coda, (records, 3, samples): nothing before it arrives, peak 1 of the direct wave along
    `direction`; after: (records, samples) seconds since the arrival."""
    scaled = math.pi * frequency[:, None] * (after - 0.8 / frequency[:, None])  # the wavelet's own first swing arrives
    ricker = (1 - 2 * scaled.square()) * torch.exp(-scaled.square())
    begun = after.clamp(min=0)
    envelope = (1 - torch.exp(-begun / rise[:, None])) * torch.exp(-begun / decay[:, None])
    spectrum = torch.fft.rfftfreq(after.shape[-1], 1 / rate, dtype=torch.float64)[None] / frequency[:, None]
    white = torch.randn(len(after), 4, after.shape[-1], generator=draw, dtype=torch.float64)
    band = torch.fft.irfft(torch.fft.rfft(white) * (spectrum * torch.exp(1 - spectrum))[:, None], n=after.shape[-1])
    band = band / band.std(-1, keepdim=True)
    ordered = torch.exp(-begun / 0.7)[:, None]  # the share that still moves along the direction
    coda = ordered * band[:, :1] * direction[..., None] + (1 - ordered) * band[:, 1:] / math.sqrt(3)
    wave = ricker[:, None] * direction[..., None] + 0.7 * envelope[:, None] * coda
    return wave * (after >= 0)[:, None]


def coloured_noise(shape: tuple[int, int, int], alpha: Tensor, rate: float, draw: torch.Generator) -> Tensor:
    """Unit-variance noise (records, components, samples) whose amplitude spectrum falls as f^-alpha above `LOWEST` Hz;
    alpha: (records,)."""
    frequency = torch.fft.rfftfreq(shape[-1], 1 / rate, dtype=torch.float64).clamp(min=LOWEST)
    white = torch.randn(shape, generator=draw, dtype=torch.float64)
    noise = torch.fft.irfft(torch.fft.rfft(white) * (frequency ** -alpha[:, None])[:, None], n=shape[-1])
    noise = noise - noise.mean(-1, keepdim=True)
    return noise / noise.std(-1, keepdim=True)


def simulated_seismograms() -> Waveforms:
    """The built-in set: 400 records of 100 stations, 60 seconds each."""
    return simulate_seismograms(400, seed=0)

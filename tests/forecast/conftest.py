"""Tiny series on which forecasters are tested."""

from dataclasses import replace

import pytest
import torch

from pathline.data import Series

MONDAY = 1_704_067_200  # 2024-01-01 00:00


@pytest.fixture(scope="session")
def series() -> Series:
    """Eleven days of four sensors every three hours: a daily wave with noise, one reading in eight missing."""
    generator = torch.Generator().manual_seed(0)
    step = torch.arange(11 * 8)
    wave = 50 + 20 * torch.sin(2 * torch.pi * (step[:, None] / 8 - torch.arange(4) / 4))
    values = wave + torch.randn(wave.shape, generator=generator)
    return Series(
        values=values[..., None],
        observed=torch.rand(wave.shape, generator=generator)[..., None] > 0.125,
        start=MONDAY,
        interval=3 * 3600,
        adjacency=torch.roll(torch.eye(4), 1, dims=1),
        positions=torch.rand(4, 2, generator=generator),
        channels=("speed",),
        unit="km/h",
        history=4,
        horizon=4,
        name="tiny",
    )


@pytest.fixture(scope="session")
def complete(series: Series) -> Series:
    """The same without gaps."""
    generator = torch.Generator().manual_seed(1)
    filled = torch.where(series.observed, series.values, 50 + 5 * torch.randn(series.values.shape, generator=generator))
    return replace(series, values=filled, observed=torch.ones_like(series.observed))

"""Pairs whose motion is known, small enough for tests."""

import torch

from pathline.data import Pairs


def waves(shift, size=(32, 40), seed=0, channels=1):
    """A smooth texture and itself moved by `shift` (batch, 2): images (batch, 2, channels, height, width)."""
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    batch = len(shift)
    wave = torch.rand(batch, 8, 2, 1, 1, generator=generator) - 0.5
    phase = 6 * torch.rand(batch, 8, 1, 1, generator=generator)
    grid = torch.stack(torch.meshgrid(torch.arange(float(width)), torch.arange(float(height)), indexing="xy"))
    frames = []
    for moved in (torch.zeros_like(shift), shift):
        place = grid - moved[:, :, None, None]
        frames.append(0.5 + torch.sin((wave * place[:, None]).sum(2) + phase).mean(1) / 2)
    return torch.stack(frames, 1)[:, :, None].expand(-1, -1, channels, -1, -1).contiguous()


def moved_pairs(shift, **options):
    images = waves(shift, **options)
    flow = shift[:, :, None, None].expand(-1, -1, *images.shape[-2:]).contiguous()
    return Pairs(images=images, flow=flow, name="moved")

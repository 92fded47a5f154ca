"""Digits in a box: they keep their ink, their pace, and to the box."""

import torch

from pathline.sims.bouncing_digits import bouncing_digits, bouncing_pixels
from pathline.sims.flowing_digits import digits


def corners(clips):
    """First row and column with ink: (clips, frames, 2)."""
    bright = clips > 0
    return torch.stack([bright.any(3).float().argmax(2), bright.any(2).float().argmax(2)], -1)


def test_digits_are_moved_unchanged_and_never_leave_the_box():
    clips = bouncing_digits(40, 30, "test", seed=1)
    ink = clips.sum((2, 3))
    torch.testing.assert_close(ink, ink[:, :1].expand(-1, 30))
    known = {tuple(scan[scan > 0].tolist()) for scan in digits("test")}
    assert all(tuple(frame[frame > 0].tolist()) in known for frame in clips[:, ::7].flatten(0, 1))


def test_they_go_straight_at_their_pace_between_walls():
    clips = bouncing_digits(200, 12, seed=0, speed=(1.5, 1.5))
    step = corners(clips).diff(dim=1).float()
    free = (step[:, 1:-1].sign() == step[:, 2:].sign()).all(-1)  # no wall in between
    assert step.abs().max() <= 2 and 0.3 < free.float().mean() < 1
    pace = step.norm(dim=-1)
    assert 1.2 < pace.mean() < 1.6  # walls shorten a step, rounding moves it by up to a pixel
    flips = (step[:, :-1] * step[:, 1:] < 0).any(-1).any(-1).float().mean()
    assert flips > 0.8  # in twelve frames nearly all meet a wall


def test_several_digits_overlap_by_the_brighter_and_seeds_differ():
    two = bouncing_digits(5, 4, seed=3, count=2)
    assert two.max() <= 1 and (two.sum((2, 3)) > bouncing_digits(5, 4, seed=3).sum((2, 3)).min()).all()
    assert torch.equal(two, bouncing_digits(5, 4, seed=3, count=2))
    assert not torch.equal(two, bouncing_digits(5, 4, seed=4, count=2))


def test_pixels_become_sensors_of_a_lattice_and_clips_its_windows():
    data = bouncing_pixels(6, seed=2)
    clips = bouncing_digits(6, 10, seed=2)
    window = data.gather(torch.tensor([4]))
    assert len(data) == 6
    assert torch.equal(window.past[0, :, :, 0].view(5, 16, 16), clips[4, :5])
    assert torch.equal(window.future[0, :, :, 0].view(5, 16, 16), clips[4, 5:])
    near = data.adjacency
    assert torch.equal(near, near.T) and (near > 0).sum(1).max() == 8 and near[0, 1] > near[0, 17] > 0
    assert data.positions[1].tolist() == [1.0, 0.0] and data.positions[16].tolist() == [0.0, -1.0]

"""Flow equivariance of the cells, exactly and only where the theorem promises it."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pathline.nn.flow_equivariant import (
    ClipClassifier,
    GroupConv,
    LiftingConv,
    RotationCell,
    TranslationCell,
    rolled,
    rotated,
    turned,
)

SIDE, TIME = 5, 8


def states(cell: TranslationCell | RotationCell, clip: Tensor) -> list[Tensor]:
    """Hidden states after 1, 2, ... frames of (time, channels, height, width)."""
    h, found = cell.start(clip[:1]), []
    for frame in clip:
        h = cell(frame[None], h)
        found.append(h)
    return found


def cyclic() -> list[tuple[int, int]]:
    return list(itertools.product(range(SIDE), range(SIDE)))


def flowing(clip: Tensor, u: tuple[int, int]) -> Tensor:
    return torch.stack([rolled(frame, (k * u[0], k * u[1])) for k, frame in enumerate(clip)])


def test_rolling_moves_along_x_and_then_y() -> None:
    picture = torch.zeros(4, 6)
    picture[1, 2] = 1
    assert rolled(picture, (3, 1))[2, 5] == 1
    assert rolled(picture, (4, -2))[3, 0] == 1


@pytest.mark.parametrize("u", [(1, 0), (2, 3), (4, 4)])
def test_all_velocities_of_a_torus_are_exactly_flow_equivariant(u: tuple[int, int]) -> None:
    torch.manual_seed(0)
    cell = TranslationCell(2, 3, cyclic()).double()
    clip = torch.randn(TIME, 2, SIDE, SIDE, dtype=torch.float64)
    still, moved = states(cell, clip), states(cell, flowing(clip, u))
    place = {v: k for k, v in enumerate(cyclic())}
    for t in range(1, TIME + 1):
        for v in cyclic():
            source = place[((v[0] - u[0]) % SIDE, (v[1] - u[1]) % SIDE)]
            expected = rolled(still[t - 1][0, source], ((t - 1) * u[0], (t - 1) * u[1]))
            assert (moved[t - 1][0, place[v]] - expected).abs().max() < 1e-10


def test_a_plain_cell_is_not() -> None:
    torch.manual_seed(0)
    cell = TranslationCell(2, 3, [(0, 0)]).double()
    clip = torch.randn(TIME, 2, SIDE, SIDE, dtype=torch.float64)
    still, moved = states(cell, clip), states(cell, flowing(clip, (1, 0)))
    assert (moved[-1] - rolled(still[-1], (TIME - 1, 0))).abs().max() > 1e-2


def test_of_a_truncated_set_those_velocities_are_whose_shifted_one_remains() -> None:
    torch.manual_seed(0)
    line = (-1, 0, 1)
    within = list(itertools.product(line, line))
    cell = TranslationCell(1, 3, within).double()
    clip = torch.randn(TIME, 1, 7, 7, dtype=torch.float64)
    u = (1, 0)
    with torch.no_grad():
        still, moved = states(cell, clip)[-1], states(cell, flowing(clip, u))[-1]
    for k, v in enumerate(within):
        shifted = (v[0] - u[0], v[1] - u[1])
        if shifted in within:
            expected = rolled(still[0, within.index(shifted)], ((TIME - 1) * u[0], (TIME - 1) * u[1]))
            assert (moved[0, k] - expected).abs().max() < 1e-10
        else:
            nearest = [rolled(still[0, j], ((TIME - 1) * u[0], (TIME - 1) * u[1])) for j in range(len(within))]
            assert min(float((moved[0, k] - other).abs().max()) for other in nearest) > 1e-2


def test_one_velocity_of_zero_is_a_plain_convolutional_recurrence() -> None:
    torch.manual_seed(0)
    cell = TranslationCell(2, 3, [(0, 0)])
    clip = torch.randn(TIME, 2, 6, 6)
    h = torch.zeros(1, 3, 6, 6)
    for frame, found in zip(clip, states(cell, clip), strict=True):
        recur = F.conv2d(F.pad(h, (1, 1, 1, 1), mode="circular"), cell.recur.weight)
        read = F.conv2d(F.pad(frame[None], (1, 1, 1, 1), mode="circular"), cell.read.weight)
        h = F.relu(recur + read)
        assert torch.equal(found[:, 0], h)


def test_group_convolutions_turn_with_their_input() -> None:
    torch.manual_seed(0)
    lift, conv = LiftingConv(2, 3, 4).double(), GroupConv(3, 5, 4).double()
    picture = torch.randn(2, 2, 6, 6, dtype=torch.float64)
    for turns in range(4):
        lifted = lift(turned(picture, turns, 4))
        assert (lifted - rotated(lift(picture), turns, 4)).abs().max() < 1e-10
        assert (conv(lifted) - rotated(conv(lift(picture)), turns, 4)).abs().max() < 1e-10


@pytest.mark.parametrize("u", [1, 2, 3])
def test_all_quarter_turns_are_exactly_flow_equivariant(u: int) -> None:
    torch.manual_seed(0)
    cell = RotationCell(1, 3, [0, 1, 2, 3]).double()
    clip = torch.randn(TIME, 1, 6, 6, dtype=torch.float64)
    spinning = torch.stack([turned(frame, k * u, 4) for k, frame in enumerate(clip)])
    still, moved = states(cell, clip), states(cell, spinning)
    for t in range(1, TIME + 1):
        for v in range(4):
            expected = rotated(still[t - 1][0, (v - u) % 4], (t - 1) * u, 4)
            assert (moved[t - 1][0, v] - expected).abs().max() < 1e-10
    plain = RotationCell(1, 3, [0]).double()
    assert (states(plain, spinning)[-1] - rotated(states(plain, clip)[-1], (TIME - 1) * u, 4)).abs().max() > 1e-2


def test_turns_other_than_quarters_interpolate() -> None:
    line = torch.linspace(-1, 1, 33)
    y, x = torch.meshgrid(line, line, indexing="ij")
    bump = (-((x - 0.4) ** 2 + y**2) / 0.04).exp()
    half = turned(turned(bump, 1, 8), 1, 8)
    assert (half - turned(bump, 1, 4)).abs().max() < 0.1
    assert (turned(bump, 1, 8) - bump).abs().max() > 0.5


def test_classes_do_not_depend_on_how_the_clip_flows() -> None:
    torch.manual_seed(0)
    clip = torch.randn(TIME, 1, SIDE, SIDE, dtype=torch.float64)
    ours = ClipClassifier(TranslationCell(1, 4, cyclic()), 3).double()
    theirs = ClipClassifier(TranslationCell(1, 4, [(0, 0)]), 3).double()
    moved = flowing(clip, (2, 1))
    assert (ours(clip[None]) - ours(moved[None])).abs().max() < 1e-10
    assert (theirs(clip[None]) - theirs(moved[None])).abs().max() > 1e-4

"""Local frames: velocity is one of their axes, they turn with the scene, and features of pairs do not."""

import pytest
import torch
from torch import Tensor

from pathline.graph import complete_graph
from pathline.spaces.poses import (
    euler_angles,
    from_velocity,
    from_velocity_and_acceleration,
    into,
    out_of,
    pose_sizes,
    relative_pose,
    spherical_angles,
)

EDGES = complete_graph(5)


def turn_of(dims: int, about_z: bool = False) -> Tensor:
    if about_z:
        c, s = torch.tensor([0.6, 0.8], dtype=torch.float64)
        return torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=torch.float64)
    q = torch.linalg.qr(torch.randn(dims, dims, dtype=torch.float64))[0]
    q[:, 0] *= torch.linalg.det(q).sign()
    return q


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_velocity_is_the_first_axis_in_the_plane_and_the_third_in_space(dims: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    u = torch.randn(100, dims, dtype=dtype)
    u[0, :-1] = 0  # along the last axis: the pole of spherical coordinates
    rotation = from_velocity(u)
    expected = torch.zeros_like(u)
    expected[:, 0 if dims == 2 else 2] = u.norm(dim=-1)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    assert (into(rotation, u) - expected).abs().max() < tolerance
    eye = torch.eye(dims, dtype=dtype)
    assert (rotation.mT @ rotation - eye).abs().max() < tolerance
    assert (torch.linalg.det(rotation) - 1).abs().max() < 10 * tolerance
    assert (out_of(rotation, into(rotation, u)) - u).abs().max() < 10 * tolerance


def test_frames_in_space_are_the_papers_matrix() -> None:
    u = torch.tensor([0.3, -0.4, 0.5], dtype=torch.float64)
    theta, phi = torch.atan2(u[1], u[0]), torch.acos(u[2] / u.norm())
    c, s, k, l = theta.cos(), theta.sin(), phi.cos(), phi.sin()  # noqa: E741
    zero = torch.zeros(())
    rows = [torch.stack([k * c, -s, l * c]), torch.stack([k * s, c, l * s]), torch.stack([-l, zero, k])]
    assert torch.allclose(from_velocity(u), torch.stack(rows), atol=1e-12)


def test_a_frame_of_velocity_turns_with_the_plane_and_about_z_only_in_space() -> None:
    torch.manual_seed(0)
    flat, deep = torch.randn(50, 2, dtype=torch.float64), torch.randn(50, 3, dtype=torch.float64)
    for u, turn in ((flat, turn_of(2)), (deep, turn_of(3, about_z=True))):
        assert torch.allclose(from_velocity(u @ turn.T), turn @ from_velocity(u), atol=1e-12)
    general = turn_of(3)
    assert not torch.allclose(from_velocity(deep @ general.T), general @ from_velocity(deep), atol=0.1)


def test_with_the_acceleration_it_turns_with_space() -> None:
    torch.manual_seed(0)
    u, a = torch.randn(2, 50, 3, dtype=torch.float64)
    turn, frame = turn_of(3), from_velocity_and_acceleration(u, a)
    assert torch.allclose(from_velocity_and_acceleration(u @ turn.T, a @ turn.T), turn @ frame, atol=1e-12)
    assert torch.allclose(torch.linalg.det(frame), torch.ones(50, dtype=torch.float64))
    assert torch.allclose(into(frame, u)[:, :2], torch.zeros(50, 2, dtype=torch.float64), atol=1e-12)
    assert into(frame, a)[:, 1].abs().max() < 1e-12 and into(frame, a)[:, 0].min() > 0


def test_parallel_velocity_and_acceleration_fall_back_to_the_velocity() -> None:
    u = torch.randn(10, 3, dtype=torch.float64)
    assert torch.allclose(from_velocity_and_acceleration(u, -2 * u), from_velocity(u), atol=1e-9)
    assert torch.allclose(from_velocity_and_acceleration(u, 0 * u), from_velocity(u), atol=1e-9)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_body_at_rest_takes_the_fallback_and_slow_ones_blend_into_it(dims: int) -> None:
    axis = 0 if dims == 2 else 2
    rest, way = torch.zeros(1, dims), torch.eye(dims)[1:2]
    assert torch.equal(from_velocity(rest), torch.eye(dims)[None])
    assert torch.allclose(from_velocity(rest, 3 * way)[..., axis], way)
    other = torch.eye(dims)[:1]
    between = [from_velocity(other * 1e-3 * share, way)[0, 0, axis].item() for share in (0.01, 0.5, 0.999, 1.0, 5.0)]
    assert between == sorted(between) and 0 < between[0] < 0.05 and between[3] == between[4] == 1.0
    assert between[3] - between[2] < 0.01  # no jump at the threshold
    assert bool(torch.isfinite(from_velocity(1e-30 * other)).all())


def test_angles_are_those_of_known_rotations() -> None:
    c, s = torch.tensor([0.6, 0.8], dtype=torch.float64)
    yaw = torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=torch.float64)
    pitch = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=torch.float64)
    roll = torch.tensor([[1, 0, 0], [0, c, -s], [0, s, c]], dtype=torch.float64)
    angle = torch.atan2(s, c)
    for place, one in enumerate((yaw, pitch, roll)):
        expected = torch.zeros(3, dtype=torch.float64)
        expected[place] = angle
        assert torch.allclose(euler_angles(one), expected)
    assert torch.allclose(euler_angles(yaw[:2, :2]), angle)
    whole = yaw @ pitch @ roll
    assert torch.allclose(euler_angles(whole), angle.expand(3))
    x = torch.randn(20, 3, dtype=torch.float64)
    azimuth, polar = spherical_angles(x).unbind(-1)
    back = torch.stack([polar.sin() * azimuth.cos(), polar.sin() * azimuth.sin(), polar.cos()], -1)
    assert torch.allclose(back * x.norm(dim=-1, keepdim=True), x)
    assert not spherical_angles(torch.zeros(2, 3)).any()


@pytest.mark.parametrize(
    ("dims", "angles", "sizes"),
    [(2, "wrapped", (7, 4)), (3, "wrapped", (12, 6)), (2, "sincos", (9, 5)), (3, "sincos", (17, 8))],
)
def test_poses_of_pairs_do_not_notice_turns_and_shifts(dims: int, angles: str, sizes: tuple[int, int]) -> None:
    torch.manual_seed(0)
    assert pose_sizes(dims, angles) == sizes  # type: ignore[arg-type]
    x, u, a = torch.randn(3, 4, 5, dims, dtype=torch.float64)
    turn, shift = turn_of(dims), torch.randn(dims, dtype=torch.float64)

    def poses(x: Tensor, u: Tensor, a: Tensor) -> list[Tensor]:
        rotation = from_velocity(u) if dims == 2 else from_velocity_and_acceleration(u, a)
        return list(relative_pose(x, u, rotation, EDGES, angles))  # type: ignore[arg-type]

    before, after = poses(x, u, a), poses(x @ turn.T + shift, u @ turn.T, a @ turn.T)
    for one, other, size in zip(before, after, sizes, strict=True):
        assert one.shape == (4, 20, size) and torch.allclose(one, other, atol=1e-10)
    mirrored = poses(x * torch.tensor([-1.0] + [1.0] * (dims - 1)), u, a)
    assert not torch.allclose(before[0], mirrored[0], atol=0.1)


def test_a_pose_says_where_the_sender_is_and_how_it_moves_as_seen_by_the_receiver() -> None:
    """The receiver heads up the y axis; the sender is on its left and comes toward it."""
    x, u = torch.tensor([[0.0, 0.0], [-2.0, 0.0]]), torch.tensor([[0.0, 1.0], [3.0, 0.0]])
    pose = relative_pose(x, u, from_velocity(u), torch.tensor([[1], [0]]))
    assert torch.allclose(pose.features[0], torch.tensor([0.0, 2.0, -0.5, 2.0, 0.5, 0.0, -3.0]), atol=1e-6)
    assert torch.allclose(pose.place[0], torch.tensor([0.0, 2.0, 2.0, 0.5]), atol=1e-6)


def test_other_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="not in 4"):
        from_velocity(torch.randn(3, 4))

"""Local coordinate frames of moving bodies, and how one body looks from another's.

    plane   theta = atan2(u_y, u_x)                                R = [[c, -s], [s, c]]: velocity is the first axis
    space   azimuth theta, polar angle phi of u                    R = R_z(theta) R_y(phi): velocity is the third axis
    from_velocity_and_acceleration: Gram-Schmidt of (u, a), which leaves no roll undefined
A frame turns with its scene: in the plane under all turns, in space under turns about z only, unless the acceleration
defines it too: the roll of a frame that velocity alone defines hangs on the z axis.

    relative_pose: [R_i^T (p_j - p_i), euler(R_i^T R_j), ||p_j - p_i||, spherical angles of R_i^T (p_j - p_i),
                    R_i^T u_j]
Kofinas, Nagaraja, Gavves, 2021, "Roto-translated Local Coordinate Frames For Interacting Dynamical Systems",
arXiv:2110.14961. A frame R is (..., dims, dims) with its axes as columns: R^T x are the coordinates of x in it.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

SLOW = 1e-3  # below this speed a heading blends into its fallback
Angles = Literal["wrapped", "sincos"]


def from_velocity(velocity: Tensor, fallback: Tensor | None = None, slow: float = SLOW) -> Tensor:
    """The frame of each body's heading, (..., dims, dims) from (..., dims), dims 2 or 3.

    A body slower than `slow` has no heading to speak of: it blends into the direction of `fallback` (..., dims), such
    as its last heading or the pull of its neighbours; where that is 0 or missing, into the first (space: third) axis.
    """
    direction = heading(velocity, fallback, slow)
    if velocity.shape[-1] == 2:
        cos, sin = direction.unbind(-1)
        return torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], -1)
    x, y, z = direction.unbind(-1)
    across = torch.hypot(x, y)  # sin(phi), and z is cos(phi)
    cos = torch.where(across > 0, x / across.clamp(min=torch.finfo(x.dtype).tiny), 1.0)
    sin = torch.where(across > 0, y / across.clamp(min=torch.finfo(x.dtype).tiny), 0.0)
    first = torch.stack([z * cos, z * sin, -across], -1)
    second = torch.stack([-sin, cos, torch.zeros_like(z)], -1)
    return torch.stack([first, second, direction], -1)


def heading(velocity: Tensor, fallback: Tensor | None = None, slow: float = SLOW) -> Tensor:
    """Unit vectors along the velocity, see `from_velocity`; (..., dims)."""
    dims = velocity.shape[-1]
    if dims not in (2, 3):
        raise ValueError(f"headings are defined in 2 and 3 dimensions, not in {dims}")
    axis = torch.zeros_like(velocity)
    axis[..., 0 if dims == 2 else 2] = 1.0
    rest = axis if fallback is None else _unit(fallback, axis)
    share = (velocity.norm(dim=-1, keepdim=True) / slow).clamp(max=1.0)
    return _unit(share * _unit(velocity, rest) + (1 - share) * rest, rest)


def from_velocity_and_acceleration(
    velocity: Tensor,
    acceleration: Tensor,
    fallback: Tensor | None = None,
    otherwise: Tensor | None = None,
    slow: float = SLOW,
) -> Tensor:
    """Gram-Schmidt in space: the third axis along the velocity (see `from_velocity`), the first along what is left of
    the acceleration, the second completes them to the right; (..., 3, 3).

    Where both are parallel (or there is no acceleration), `otherwise` (..., 3) takes the acceleration's place; and
    where that fails too, the roll is that of `from_velocity`.
    """
    third = heading(velocity, fallback, slow)
    first = from_velocity(third)[..., 0]
    for guide in (otherwise, acceleration):
        if guide is not None:
            across = guide - (guide * third).sum(-1, keepdim=True) * third
            clear = across.norm(dim=-1, keepdim=True) > 1e-6 * guide.norm(dim=-1, keepdim=True)
            first = torch.where(clear, _unit(across, first), first)
    first = _unit(first - (first * third).sum(-1, keepdim=True) * third, first)
    return torch.stack([first, torch.linalg.cross(third, first), third], -1)


def _unit(x: Tensor, otherwise: Tensor) -> Tensor:
    """x / ||x||, or `otherwise` where x is 0."""
    length = x.norm(dim=-1, keepdim=True)
    return torch.where(length > 0, x / length.clamp(min=torch.finfo(x.dtype).tiny), otherwise)


def into(rotation: Tensor, x: Tensor) -> Tensor:
    """R^T x: world to local, (..., dims)."""
    return torch.einsum("...ij,...i->...j", rotation, x)


def out_of(rotation: Tensor, x: Tensor) -> Tensor:
    """R x: local to world, (..., dims)."""
    return torch.einsum("...ij,...j->...i", rotation, x)


def euler_angles(rotation: Tensor) -> Tensor:
    """Yaw, or yaw, pitch and roll (z, y, x convention), in radians: (..., 1) or (..., 3) from (..., dims, dims)."""
    if rotation.shape[-1] == 2:
        return torch.atan2(rotation[..., 1, :1], rotation[..., 0, :1])
    yaw = torch.atan2(rotation[..., 1, 0], rotation[..., 0, 0])
    pitch = torch.asin(-rotation[..., 2, 0].clamp(-1.0, 1.0))
    roll = torch.atan2(rotation[..., 2, 1], rotation[..., 2, 2])
    return torch.stack([yaw, pitch, roll], -1)


def spherical_angles(x: Tensor) -> Tensor:
    """Azimuth, or azimuth and polar angle, in radians: (..., dims - 1); 0 for the zero vector."""
    azimuth = torch.atan2(x[..., 1], x[..., 0])
    if x.shape[-1] == 2:
        return azimuth[..., None]
    return torch.stack([azimuth, torch.atan2(torch.hypot(x[..., 0], x[..., 1]), x[..., 2])], -1)


class RelativePose(NamedTuple):
    """features: (..., edges, `pose_sizes`[0]) all of them;  place: (..., edges, `pose_sizes`[1]) where the sender is:
    position, distance and its angles."""

    features: Tensor
    place: Tensor


def pose_sizes(dims: int, angles: Angles = "wrapped") -> tuple[int, int]:
    """Columns of a `RelativePose`: 7 and 4 in the plane, 12 and 6 in space with wrapped angles."""
    each = 1 if angles == "wrapped" else 2
    turns, directions = dims * (dims - 1) // 2, dims - 1
    return 2 * dims + 1 + each * (turns + directions), dims + 1 + each * directions


def relative_pose(
    position: Tensor, velocity: Tensor, rotation: Tensor, edge_index: Tensor, angles: Angles = "wrapped"
) -> RelativePose:
    """How each sender looks from its receiver's frame (equation of the module), invariant where frames turn with it.

    position, velocity: (..., nodes, dims);  rotation: (..., nodes, dims, dims);  edge_index: (2, edges);
    angles: "wrapped" in (-1, 1], as shares of pi, which jump where a body passes right behind another; or "sincos"
    """
    sender, receiver = edge_index
    own = rotation.index_select(-3, receiver)
    apart = position.index_select(-2, sender) - position.index_select(-2, receiver)
    local = into(own, apart)
    turned = own.mT @ rotation.index_select(-3, sender)
    distance = apart.norm(dim=-1, keepdim=True)

    def written(angle: Tensor) -> Tensor:
        return angle / torch.pi if angles == "wrapped" else torch.cat([angle.sin(), angle.cos()], -1)

    toward = written(spherical_angles(local))
    moving = into(own, velocity.index_select(-2, sender))
    features = torch.cat([local, written(euler_angles(turned)), distance, toward, moving], -1)
    return RelativePose(features, torch.cat([local, distance, toward], -1))

"""Motion capture as skeleton (asf) and joint angles (amc), the format of the CMU database, as moving joints.

    M_b = Rz Ry Rx of the bone's angles,  C_b = Rz Ry Rx of its axis        (angles in degrees; x acts first)
    R_b = R_parent C_b M_b C_b^-1,        end_b = end_parent + R_b length_b direction_b
Lengths are in inches divided by the file's unit of length (0.45): x 0.0254 / 0.45 metres.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pathline.data.errors import DataError
from pathline.data.rollouts import Rollouts

RATE = 120.0  # frames per second of the CMU database
INCH = 0.0254  # metres
EVERY, SPAN, WINDOW = 5, 6, 19  # recorded frames per frame; frames per supervised step (0.25 s), and per rollout


@dataclass(frozen=True)
class Bone:
    """direction: (3,) unit vector in the pose of rest;  axis: (3, 3) the rotation C;  angles: such as ("rx", "rz")."""

    name: str
    parent: int
    length: float
    direction: Tensor
    axis: Tensor
    angles: tuple[str, ...]


def rotation(degrees: Tensor) -> Tensor:
    """Rz Ry Rx from angles about x, y, z in degrees: (..., 3, 3) from (..., 3)."""
    (cx, cy, cz), (sx, sy, sz) = (f(degrees.double() * torch.pi / 180).unbind(-1) for f in (torch.cos, torch.sin))
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def read_skeleton(path: Path) -> tuple[list[Bone], float]:
    """The bones, the root first and every parent before its children, and metres per unit of length."""
    text = path.read_text(encoding="latin-1")
    try:
        unit = INCH / float(re.search(r"^\s*length\s+(\S+)", text.split(":bonedata")[0], re.M).group(1))  # type: ignore[union-attr]
        found: dict[str, dict[str, list[str]]] = {}
        for block in re.findall(r"begin(.*?)end", text.split(":bonedata")[1].split(":hierarchy")[0], re.S):
            words = {line.split()[0]: line.split()[1:] for line in block.splitlines() if line.split()}
            found[words["name"][0]] = words
        children = [line.split() for line in text.split(":hierarchy")[1].splitlines() if len(line.split()) > 1]
        zero, still = torch.zeros(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
        bones, places = [Bone("root", -1, 0.0, zero, still, ())], {"root": 0}
        for parent, *names in children:
            for name in names:
                words = found[name]
                direction = torch.tensor([float(x) for x in words["direction"]], dtype=torch.float64)
                axis = rotation(torch.tensor([float(x) for x in words["axis"][:3]], dtype=torch.float64))
                places[name] = len(bones)
                angles = tuple(words.get("dof", []))
                bones.append(Bone(name, places[parent], float(words["length"][0]), direction, axis, angles))
    except (AttributeError, IndexError, KeyError, ValueError) as error:
        raise DataError(f"{path}: not readable as a skeleton in the asf format ({error!r})") from None
    return bones, unit


def read_angles(path: Path, bones: Sequence[Bone]) -> dict[str, Tensor]:
    """Numbers of each bone in each frame, (frames, its angles) float64; the root's are its place and its angles."""
    lines = path.read_text(encoding="latin-1").splitlines()
    first = next((place for place, line in enumerate(lines) if line.strip().isdigit()), None)
    if first is None:
        raise DataError(f"{path}: there is no frame; each begins with a line that holds its number")
    rows: dict[str, list[list[float]]] = {bone.name: [] for bone in bones}
    for number, line in enumerate(lines[first:], start=first + 1):
        name, *values = line.split() or ["0"]
        if not name.isdigit():
            if name not in rows:
                raise DataError(f"{path}, line {number}: the skeleton has no bone '{name}'")
            try:
                rows[name].append([float(value) for value in values])
            except ValueError:
                raise DataError(f"{path}, line {number}: '{line.strip()}' holds something that is no number") from None
    frames, found = len(rows["root"]), {}
    for bone in bones:
        wanted = 6 if bone.name == "root" else len(bone.angles)
        if wanted:
            if len(rows[bone.name]) != frames or any(len(row) != wanted for row in rows[bone.name]):
                raise DataError(f"{path}: bone '{bone.name}' needs {wanted} numbers in each of the {frames} frames")
            found[bone.name] = torch.tensor(rows[bone.name], dtype=torch.float64)
    return found


def joint_positions(bones: Sequence[Bone], angles: dict[str, Tensor]) -> Tensor:
    """Where the root and the far end of each bone are, (frames, bones, 3), in the skeleton's unit."""
    root = angles["root"]
    turns, ends = [rotation(root[:, 3:])], [root[:, :3]]
    for bone in bones[1:]:
        about = torch.zeros(len(root), 3, dtype=torch.float64)
        for column, name in enumerate(bone.angles):
            about[:, ("rx", "ry", "rz").index(name)] = angles[bone.name][:, column]
        turns.append(turns[bone.parent] @ bone.axis @ rotation(about) @ bone.axis.T)
        ends.append(ends[bone.parent] + turns[-1] @ (bone.length * bone.direction))
    return torch.stack(ends, 1)


def read_motion(path: Path | Sequence[Path], interval: float = EVERY / RATE) -> Rollouts:
    """One skeleton (asf) and recordings of it (amc) as rollouts of joints, in metres and seconds.

    path:     these files; or the skeleton alone, whose recordings then are the amc files beside it that begin with its
              name, or else all of them
    interval: seconds between the frames that are kept; a supervised step has 6 of them, a rollout 19

    velocities are those since the recorded frame before. edges join joints one and two bones apart, and edge features
    say which; features name the joint (one-hot). Rollouts of one recording stay together in a split.
    """
    paths = _beside(path) if isinstance(path, Path) else [Path(one) for one in path]
    skeletons = [one for one in paths if one.suffix.lower() == ".asf"]
    records = [one for one in paths if one.suffix.lower() == ".amc"]
    if len(skeletons) != 1 or not records or len(paths) != 1 + len(records):
        raise DataError(
            f"{', '.join(map(str, paths))}: motion is read from one skeleton (.asf) with one or more recordings (.amc)"
        )
    bones, unit = read_skeleton(skeletons[0])
    every = max(1, round(interval * RATE))
    positions, velocities, groups = [], [], []
    for number, record in enumerate(records):
        x = unit * joint_positions(bones, read_angles(record, bones))
        v = x.diff(dim=0) * RATE
        x, v = x[1::every], v[::every]
        count = len(x) // WINDOW
        positions.append(x[: count * WINDOW].unflatten(0, (count, WINDOW)))
        velocities.append(v[: count * WINDOW].unflatten(0, (count, WINDOW)))
        groups += [number] * count
    if not groups:
        raise DataError(f"{records[0]}: a rollout has {WINDOW * every} recorded frames; bring longer recordings")
    edge_index, hops = _near(torch.tensor([bone.parent for bone in bones]))
    return Rollouts(
        positions=torch.cat(positions).float(),
        velocities=torch.cat(velocities).float(),
        edge_index=edge_index,
        features=torch.eye(len(bones)).expand(len(groups), -1, -1).clone(),
        edge_features=torch.nn.functional.one_hot(hops - 1).float().expand(len(groups), -1, -1).clone(),
        interval=every / RATE,
        span=SPAN,
        nodes=tuple(bone.name for bone in bones),
        unit="m",
        groups=tuple(groups),
        name=skeletons[0].stem,
    )


def _beside(skeleton: Path) -> list[Path]:
    """A skeleton and its recordings."""
    records = sorted(one for one in skeleton.parent.iterdir() if one.suffix.lower() == ".amc")
    own = [one for one in records if one.stem.startswith(f"{skeleton.stem}_")]
    return [skeleton, *(own or records)]


def _near(parents: Tensor) -> tuple[Tensor, Tensor]:
    """Ordered pairs of joints one or two bones apart, (2, edges), and how many it is, (edges,)."""
    count = len(parents)
    bone = torch.zeros(count, count, dtype=torch.long)
    children = torch.arange(1, count)
    bone[children, parents[1:]] = bone[parents[1:], children] = 1
    hops = torch.where(bone > 0, 1, torch.where(bone @ bone > 0, 2, 0))
    hops.fill_diagonal_(0)
    receiver, sender = hops.nonzero().T
    return torch.stack([sender, receiver]), hops[receiver, sender]

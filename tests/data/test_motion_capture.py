"""Motion capture: forward kinematics by hand, rigid bones, and errors that name file and line."""

import os
from pathlib import Path

import pytest
import torch

from pathline.data import DataError, load, read
from pathline.data.readers.asf_amc import joint_positions, read_angles, read_motion, read_skeleton, rotation

SKELETON = """
:units
  length 0.45
:root
   order TX TY TZ RX RY RZ
:bonedata
  begin
     name thigh
     direction 0 -1 0
     length 2
     axis 0 0 90 XYZ
    dof rx rz
    limits (-160.0 20.0)
           (-70.0 70.0)
  end
  begin
     name shin
     direction 0 -1 0
     length 1
     axis 0 0 0 XYZ
    dof rx
    limits (-10.0 170.0)
  end
:hierarchy
  begin
    root thigh
    thigh shin
  end
"""
UNIT = 0.0254 / 0.45


def files(folder: Path, frames: list[str]) -> list[Path]:
    (folder / "leg.asf").write_text(SKELETON)
    text = "".join(f"{number}\n{frame}\n" for number, frame in enumerate(frames, start=1))
    (folder / "walk.amc").write_text(f":FULLY-SPECIFIED\n:DEGREES\n{text}")
    return [folder / "leg.asf", folder / "walk.amc"]


def test_rotations_turn_about_x_first_then_y_then_z() -> None:
    def about(axis: int, degrees: float) -> torch.Tensor:
        angles = torch.zeros(3)
        angles[axis] = degrees
        return rotation(angles)

    turn = rotation(torch.tensor([30.0, -50.0, 70.0]))
    assert torch.allclose(turn, about(2, 70.0) @ about(1, -50.0) @ about(0, 30.0))
    assert torch.allclose(about(2, 90.0) @ torch.tensor([1.0, 0, 0]).double(), torch.tensor([0, 1.0, 0]).double())


def test_joints_follow_the_chain_of_bones(tmp_path: Path) -> None:
    """A thigh whose own x axis is the world's y axis (its axis is turned by 90 degrees about z)."""
    frames = [
        "root 1 2 3 0 0 0\nthigh 0 0\nshin 0",
        "root 0 0 0 0 0 90\nthigh 0 90\nshin 90",
        "root 0 0 0 0 0 0\nthigh 90 0\nshin 0",
    ]
    asf, amc = files(tmp_path, frames)
    bones, unit = read_skeleton(asf)
    assert [bone.name for bone in bones] == ["root", "thigh", "shin"] and unit == pytest.approx(UNIT)
    found = joint_positions(bones, read_angles(amc, bones))
    rest = torch.tensor([[1.0, 2, 3], [1, 0, 3], [1, -1, 3]], dtype=torch.float64)
    assert torch.allclose(found[0], rest)
    # the root by 90 about z and the thigh by 90 more about its z: it points up; the shin by 90 about x from there
    assert torch.allclose(found[1], torch.tensor([[0.0, 0, 0], [0, 2, 0], [0, 2, -1]]).double(), atol=1e-12)
    # the thigh by 90 about its own x axis, which is y: it points down as before
    assert torch.allclose(found[2], torch.tensor([[0.0, 0, 0], [0, -2, 0], [0, -3, 0]]).double(), atol=1e-12)


def test_recordings_become_rollouts_in_metres_and_metres_per_second(tmp_path: Path) -> None:
    """A root that moves by its unit 0.12 times a frame at 120 Hz: 14.4 units a second."""
    frames = [f"root {0.12 * k} 0 0 0 0 0\nthigh 0 0\nshin {k}" for k in range(200)]
    data = read(files(tmp_path, frames)[0], "Rollouts")
    assert data.positions.shape == (2, 19, 3, 3) and data.interval == pytest.approx(5 / 120) and data.groups == (0, 0)
    assert torch.allclose(data.velocities[:, :, 0, 0], torch.tensor(14.4 * UNIT), atol=1e-4)
    step = data.positions[0, 1, 0, 0] - data.positions[0, 0, 0, 0]
    assert float(step) == pytest.approx(5 * 0.12 * UNIT, rel=1e-4)
    pairs = {(int(s), int(r)): hop.tolist() for s, r, hop in zip(*data.edge_index, data.edge_features[0], strict=True)}
    assert pairs[0, 1] == pairs[2, 1] == [1, 0] and pairs[0, 2] == [0, 1] and len(pairs) == 6
    fine = read_motion(files(tmp_path, frames), interval=1 / 120)
    assert fine.positions.shape[:2] == (10, 19)


def test_faults_are_named_with_their_line(tmp_path: Path) -> None:
    frame = "root 0 0 0 0 0 0\nthigh 0 0\nshin 0"
    with pytest.raises(DataError, match=r"walk.amc, line 9: the skeleton has no bone 'tail'"):
        read_motion(files(tmp_path, [frame, "root 0 0 0 0 0 0\ntail 1"]))
    with pytest.raises(DataError, match=r"line 5: 'thigh 0 x' holds something that is no number"):
        read_motion(files(tmp_path, [frame.replace("thigh 0 0", "thigh 0 x")]))
    with pytest.raises(DataError, match="bone 'shin' needs 1 numbers in each of the 2 frames"):
        read_motion(files(tmp_path, [frame, frame.replace("shin 0", "")]))
    with pytest.raises(DataError, match="bring longer recordings"):
        read_motion(files(tmp_path, [frame] * 20))
    paths = files(tmp_path, [frame])
    with pytest.raises(DataError, match="one or more recordings"):
        read_motion(paths[1:])
    (tmp_path / "walk.amc").write_text("nothing")
    with pytest.raises(DataError, match="there is no frame"):
        read_motion(paths)
    paths[0].write_text(SKELETON.replace("direction 0 -1 0", "direction 0 down 0"))
    with pytest.raises(DataError, match="not readable as a skeleton"):
        read_motion(paths)


@pytest.mark.skipif(not os.environ.get("PATHLINE_DATA"), reason="PATHLINE_DATA names no mirror")
def test_the_walking_person_stands_upright_on_rigid_bones() -> None:
    data = load("mocap-cmu")
    assert data.positions.shape == (73, 19, 31, 3) and data.span * data.interval == pytest.approx(0.25)
    head, foot = (data.nodes.index(name) for name in ("head", "lfoot"))
    assert 1.5 < float((data.positions[:, :, head, 1] - data.positions[:, :, foot, 1]).mean()) < 1.7
    sender, receiver = data.edge_index[:, data.edge_features[0, :, 0] > 0]
    length = (data.positions[:, :, sender] - data.positions[:, :, receiver]).norm(dim=-1)
    assert len(sender) == 60 and (length.amax((0, 1)) - length.amin((0, 1))).max() < 1e-5
    assert float(data.velocities[:, :, 0].norm(dim=-1).mean()) == pytest.approx(1.2, abs=0.3)  # a walk, in m/s
    parts = data.split()
    groups = [set(part.groups) for part in (parts.train, parts.validation, parts.test)]
    assert all(groups) and not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]

"""ASE's frames in and out: units of velocity, periodic boundaries, files with and without forces."""

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("ase")
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read as ase_read
from ase.io import write

from pathline.core.budget import Budget
from pathline.data import DataError, Rollouts, atoms_from_positions, read, rollouts_from_atoms
from pathline.simulate.base import Simulator
from pathline.simulate.baselines import ConstantVelocity
from pathline.simulate.egnn import EGNN
from pathline.simulate.persistence import Persistence

WAY = torch.tensor([[0.0, 0, 0], [1.1, 0, 0], [0, 1.3, 0.2]]).double()
SPEED = torch.tensor([[0.01, 0, 0], [0, 0.02, 0], [0, 0, -0.03]]).double()  # angstrom / fs


def motion(frames: int, interval: float = 2.0, **options: Any) -> list[Atoms]:
    return [Atoms("COH", positions=(WAY + k * interval * SPEED).numpy(), **options) for k in range(frames)]


def test_velocities_are_differences_where_frames_have_none() -> None:
    data = rollouts_from_atoms(motion(45), interval=2.0)
    assert data.positions.shape == (4, 11, 3, 3) and data.nodes == ("C", "O", "H") and data.unit == "angstrom"
    assert torch.allclose(data.velocities, SPEED.float().expand_as(data.velocities), atol=1e-5)
    assert torch.allclose(data.positions[0, 0], (WAY + 2 * SPEED).float())  # the first frame only gives a velocity
    assert torch.equal(data.features[0], torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]]))  # C, H, O
    assert ConstantVelocity.for_data(data).score(data) < 1e-10


def test_velocities_of_frames_are_turned_into_angstrom_per_fs() -> None:
    frames = motion(11)
    for frame in frames:
        frame.set_velocities(SPEED.numpy() / units.fs)
    data = rollouts_from_atoms(frames, interval=2.0)
    assert data.positions.shape[:2] == (1, 11)
    assert torch.allclose(data.velocities, SPEED.float().expand_as(data.velocities), atol=1e-6)


def test_the_interval_is_that_of_the_frames_times_or_asked_for() -> None:
    frames = motion(12)
    with pytest.raises(DataError, match="give the interval"):
        rollouts_from_atoms(frames)
    for number, frame in enumerate(frames):
        frame.info["time"] = 2.0 * number
    assert rollouts_from_atoms(frames).interval == 2.0
    with pytest.raises(DataError, match="more than 0"):
        rollouts_from_atoms(frames, interval=-1.0)


def test_atoms_are_followed_through_periodic_boundaries() -> None:
    frames = motion(12, interval=50.0, cell=[4.0, 4.0, 4.0], pbc=True)
    for frame in frames:
        frame.wrap()
    data = rollouts_from_atoms(frames, interval=50.0)
    assert torch.allclose(data.velocities, SPEED.float().expand_as(data.velocities), atol=1e-5)


def test_several_trajectories_stay_apart_in_a_split() -> None:
    data = rollouts_from_atoms([motion(23), motion(23), motion(23), motion(12)], interval=2.0)
    assert data.positions.shape[0] == 7 and data.groups == (0, 0, 1, 1, 2, 2, 3)
    parts = data.split()
    assert not set(parts.train.groups) & set(parts.test.groups)


def test_many_atoms_are_joined_only_where_they_come_near() -> None:
    line = [Atoms("H70", positions=[[2.1 * i, 0.1 * k, 0] for i in range(70)]) for k in range(12)]
    data = rollouts_from_atoms(line, interval=1.0)
    gap = (data.edge_index[0] - data.edge_index[1]).abs()
    assert gap.max() == 2 and gap.min() == 1  # 2.1 and 4.2 angstrom, but not 6.3


def test_frames_of_other_atoms_none_or_few_are_refused() -> None:
    with pytest.raises(DataError, match="frame 3"):
        rollouts_from_atoms([*motion(3), Atoms("OCH", positions=WAY.numpy())], interval=1.0)
    with pytest.raises(DataError, match="no frame"):
        rollouts_from_atoms([], interval=1.0)
    with pytest.raises(DataError, match="smaller window"):
        rollouts_from_atoms(motion(5), interval=1.0)
    assert len(rollouts_from_atoms(motion(5), interval=1.0, window=4).positions) == 1


def test_positions_become_frames_and_frames_positions_again() -> None:
    data = rollouts_from_atoms(motion(12), interval=2.0)
    frames = atoms_from_positions(data.positions[0], data.nodes, data.interval)
    assert all(isinstance(frame, Atoms) for frame in frames) and frames[3].get_chemical_formula() == "CHO"
    again = rollouts_from_atoms(frames, window=10)
    assert again.interval == 2.0 and torch.allclose(again.positions[0], data.positions[0, 1:])
    with pytest.raises(DataError, match="'Xx' is no chemical element"):
        atoms_from_positions(data.positions[0], ["C", "O", "Xx"])
    with pytest.raises(DataError, match="2 symbols"):
        atoms_from_positions(data.positions[0], ["C", "O"])


def with_forces(frames: list[Atoms]) -> list[Atoms]:
    for frame in frames:
        frame.calc = SinglePointCalculator(frame, forces=SPEED.numpy())
    return frames


@pytest.mark.parametrize("ending", [".xyz", ".extxyz", ".traj"])
def test_files_of_a_motion_are_read_with_their_interval(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"run{ending}"
    write(path, motion(23), format="traj" if ending == ".traj" else "extxyz")
    data = read(path, "Rollouts", interval=2.0)
    assert data.positions.shape[:2] == (2, 11) and data.name == "run" and data.interval == 2.0
    with pytest.raises(DataError, match="--interval"):
        read(path, "Rollouts")


def test_frames_with_forces_are_single_ones_unless_something_says_they_move(tmp_path: Path) -> None:
    path = tmp_path / "run.xyz"
    write(path, with_forces(motion(23)), format="extxyz")
    assert read(path, "Rollouts").positions.shape[:2] == (23, 2)
    assert read(path, "Rollouts", interval=2.0).positions.shape[:2] == (2, 11)
    moving = with_forces(motion(23))
    for number, frame in enumerate(moving):
        frame.set_velocities(SPEED.numpy() / units.fs)
        frame.info["time"] = 2.0 * number
    write(path, moving, format="extxyz")
    data = read(path, "Rollouts")
    assert data.positions.shape[:2] == (2, 11)
    assert torch.allclose(data.velocities, SPEED.float().expand_as(data.velocities), atol=1e-5)


def test_files_that_are_none_are_named(tmp_path: Path) -> None:
    for ending in (".xyz", ".traj"):
        path = tmp_path / f"bad{ending}"
        path.write_text("no frames here\n")
        with pytest.raises(DataError, match=f"bad{ending}"):
            read(path, "Rollouts", interval=1.0)


@pytest.mark.parametrize("ending", [".xyz", ".extxyz", ".traj"])
def test_a_method_writes_its_rollouts_as_frames(ending: str, tmp_path: Path) -> None:
    data = rollouts_from_atoms(motion(45), interval=2.0)
    method: Simulator = EGNN.seeded(data, 0, width=8, layers=2).fit(data, Budget(steps=2))
    path = tmp_path / f"out{ending}"
    method.writers()[ending](data, path, 0)
    frames = ase_read(path, index=":")
    assert len(frames) == 4 * 11
    expected = method.rollout(data.step_between(0, 1).gather(torch.arange(4)), 10)
    assert torch.allclose(torch.tensor(frames[15].positions).float(), expected[1, 4], atol=1e-5)


def test_rollouts_of_no_atoms_are_not_written_as_such(tmp_path: Path) -> None:
    data = rollouts_from_atoms(motion(12), interval=2.0)
    bare: Rollouts = Rollouts(**{**vars(data), "nodes": ()})
    with pytest.raises(DataError, match="chemical"):
        Persistence.for_data(bare).writers()[".xyz"](bare, tmp_path / "out.xyz", 0)

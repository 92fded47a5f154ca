"""Extended XYZ frames of molecules, read by ASE: of a motion, or single ones with the forces on them."""

from pathlib import Path
from typing import Any

import torch

from pathline.data.errors import DataError
from pathline.data.readers.atoms import ase_or_error, rollouts_from_atoms
from pathline.data.rollouts import Rollouts

ACCELERATION = 0.009648533212331  # one eV / (angstrom x atomic mass unit), in angstrom / fs^2
DURATION = 10.0  # fs


def read_extxyz(path: str | Path, interval: float | None = None) -> Rollouts:
    """A motion, if an interval (fs between frames) is given, or velocities, or no forces: see `rollouts_from_atoms`.
    Otherwise frames with forces that do not follow each other: see `rollouts_from_forces`."""
    frames = _frames(path)
    forces = all(frame.calc is not None and "forces" in frame.calc.results for frame in frames)
    if interval is None and forces and not all(frame.has("momenta") for frame in frames):
        return rollouts_from_forces(path)
    return rollouts_from_atoms(frames, interval, name=Path(path).stem)


def _frames(path: str | Path) -> list[Any]:
    """ASE's `Atoms`, at least one."""
    ase_or_error(str(path))
    from ase.io.extxyz import read_extxyz as frames_of

    if not Path(path).is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        with open(path, encoding="utf-8") as file:
            frames = list(frames_of(file, index=slice(None)))
    except Exception as error:  # ASE raises whatever its parser met
        raise DataError(f"{path}: not readable as extended xyz ({error})") from None
    if not frames:
        raise DataError(f"{path}: there is no frame in it")
    return frames


def rollouts_from_forces(path: str | Path, duration: float = DURATION) -> Rollouts:
    """Frames with forces as a one-step task: where is each atom `duration` fs after being let go?

        x' = x + F / (2 m) duration^2        (the first Verlet step from rest)

    The frames of such files are not consecutive in time, so no motion can be read off them; but the forces are, and
    this step holds exactly the forces. An error of e angstrom is a force error of 2 m e / duration^2.

    Returns rollouts of two frames with velocity 0, the complete graph, and the elements as one-hot features;
    positions in angstrom relative to each frame's centre, time in fs.
    """
    frames = _frames(path)
    symbols = frames[0].get_chemical_symbols()
    for number, frame in enumerate(frames):
        if frame.get_chemical_symbols() != symbols:
            raise DataError(
                f"{path}, frame {number}: its atoms are not those of frame 0; one molecule per file, please"
            )
        if frame.calc is None or "forces" not in frame.calc.results:
            raise DataError(f"{path}, frame {number}: there are no forces")
    position = torch.stack([torch.tensor(frame.positions) for frame in frames])
    position = position - position.mean(1, keepdim=True)
    force = torch.stack([torch.tensor(frame.get_forces()) for frame in frames])
    mass = torch.tensor(frames[0].get_masses())[:, None]
    after = position + 0.5 * ACCELERATION * duration**2 * force / mass
    elements = sorted(set(symbols))
    one_hot = torch.tensor([[float(symbol == element) for element in elements] for symbol in symbols])
    nodes = len(symbols)
    edge_index = torch.nonzero(~torch.eye(nodes, dtype=torch.bool)).T.contiguous()
    positions = torch.stack([position, after], dim=1).float()
    return Rollouts(
        positions=positions,
        velocities=torch.zeros_like(positions),
        edge_index=edge_index,
        features=one_hot.expand(len(frames), -1, -1).clone(),
        interval=duration,
        start=0,
        nodes=tuple(symbols),
        unit="angstrom",
        name=Path(path).stem,
    )

"""Extended XYZ frames of molecules, read by ASE."""

from pathlib import Path

import torch

from pathline.data.errors import DataError
from pathline.data.rollouts import Rollouts

ACCELERATION = 0.009648533212331  # one eV / (angstrom x atomic mass unit), in angstrom / fs^2
DURATION = 10.0  # fs


def rollouts_from_forces(path: str | Path, duration: float = DURATION) -> Rollouts:
    """Frames with forces as a one-step task: where is each atom `duration` fs after being let go?

        x' = x + F / (2 m) duration^2        (the first Verlet step from rest)

    The frames of such files are not consecutive in time, so no motion can be read off them; but the forces are, and
    this step holds exactly the forces. An error of e angstrom is a force error of 2 m e / duration^2.

    Returns rollouts of two frames with velocity 0, the complete graph, and the elements as one-hot features;
    positions in angstrom relative to each frame's centre, time in fs.
    """
    try:
        from ase.io.extxyz import read_extxyz
    except ModuleNotFoundError:
        raise DataError(f"{path}: reading molecules needs ASE; pip install 'pathline[molecules]'") from None
    if not Path(path).is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        with open(path, encoding="utf-8") as file:
            frames = list(read_extxyz(file, index=slice(None)))
    except Exception as error:  # ASE raises whatever its parser met
        raise DataError(f"{path}: not readable as extended xyz ({error})") from None
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

"""Molecules in motion: ASE's `Atoms` objects and what ASE reads, in and out.

Positions in angstrom, time in fs; one list of frames is one trajectory of the same atoms.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pathline.data.errors import DataError
from pathline.data.rollouts import Rollouts

if TYPE_CHECKING:
    from ase import Atoms

WINDOW = 11  # frames per rollout
NEAR = 6.0  # angstrom: atoms that are ever nearer are joined, in molecules of more than MANY atoms
MANY = 64


def ase_or_error(what: str) -> None:
    """A DataError that says what to install, where ASE is missing."""
    try:
        import ase  # noqa: F401
    except ModuleNotFoundError:
        raise DataError(f"{what}: reading molecules needs ASE; pip install 'pathline[molecules]'") from None


def rollouts_from_atoms(
    frames: "Sequence[Atoms] | Sequence[Sequence[Atoms]]",
    interval: float | None = None,
    window: int = WINDOW,
    name: str = "atoms",
) -> Rollouts:
    """Frames that follow each other in time, as rollouts of `window` frames each, one after the other.

    frames:   one trajectory, or several of the same atoms
    interval: fs between frames; by default what `info["time"]` (fs) of the frames says

    Velocities are those of the frames (momenta), or else differences to the frame before, and then the first frame is
    only used for them. Atoms that cross a periodic boundary are followed through it. features: one-hot elements;
    edges: all pairs, or in large systems those that come within 6 angstrom. Each frame keeps its place in the world.

    Raises:
        DataError: frames that do not hold the same atoms, no interval, or too few frames for one rollout.
    """
    ase_or_error(name)
    from ase import Atoms

    groups = [frames] if not len(frames) or isinstance(frames[0], Atoms) else frames
    tracks: list[list[Any]] = [list(group) for group in groups]
    if not tracks or not tracks[0]:
        raise DataError(f"{name}: there is no frame")
    symbols = tracks[0][0].get_chemical_symbols()
    for track in tracks:
        for number, frame in enumerate(track):
            if frame.get_chemical_symbols() != symbols:
                raise DataError(f"{name}, frame {number}: its atoms are not those of frame 0; one molecule at a time")
    interval = _interval(tracks[0], name) if interval is None else interval
    if not interval > 0:
        raise DataError(f"{name}: the interval between frames is {interval:g} fs; it must be more than 0")
    moving = [_motion(track, interval) for track in tracks]
    counts = [len(x) // window for x, _ in moving]
    if not sum(counts):
        raise DataError(
            f"{name}: the longest trajectory has {max(len(x) for x, _ in moving)} frames with velocities, a rollout "
            f"needs {window}; bring more frames or choose a smaller window"
        )
    positions, velocities = (
        torch.cat([one[: n * window].unflatten(0, (n, window)) for one, n in zip(all_, counts, strict=True)])
        for all_ in zip(*moving, strict=True)
    )
    elements = sorted(set(symbols))
    one_hot = torch.tensor([[float(symbol == element) for element in elements] for symbol in symbols])
    separate = [number for number, n in enumerate(counts) for _ in range(n)] if sum(n > 0 for n in counts) > 2 else []
    return Rollouts(
        positions=positions.float(),
        velocities=velocities.float(),
        edge_index=_pairs(positions),
        features=one_hot.expand(len(positions), -1, -1).clone(),
        interval=interval,
        nodes=tuple(symbols),
        unit="angstrom",
        groups=tuple(separate),
        name=name,
    )


def _interval(track: list[Any], name: str) -> float:
    """fs between frames, from their times."""
    times = [frame.info.get("time", frame.info.get("Time")) for frame in track]
    steps = {round(later - earlier, 6) for earlier, later in pairwise(times)} if None not in times else set()
    if len(steps) != 1:
        raise DataError(
            f"{name}: the frames do not say how many fs lie between them; give the interval (--interval, in fs)"
        )
    return float(steps.pop())


def _motion(track: list[Any], interval: float) -> tuple[Tensor, Tensor]:
    """Positions and velocities, (frames, atoms, 3) float64 each, followed through periodic boundaries."""
    from ase import units
    from ase.geometry import find_mic

    positions = torch.stack([torch.tensor(frame.positions) for frame in track])
    if any(track[0].pbc) and len(track) > 1:
        moves = [
            torch.tensor(find_mic(after.positions - before.positions, before.cell, before.pbc)[0])
            for before, after in pairwise(track)
        ]
        positions = torch.cat([positions[:1], positions[:1] + torch.stack(moves).cumsum(0)])
    if all(frame.has("momenta") for frame in track):
        return positions, torch.stack([torch.tensor(frame.get_velocities()) for frame in track]) * units.fs
    return positions[1:], positions.diff(dim=0) / interval


def _pairs(positions: Tensor) -> Tensor:
    """All ordered pairs of atoms, or for many atoms those that come near: (2, edges), sorted by receiver."""
    nodes = positions.shape[2]
    joined = ~torch.eye(nodes, dtype=torch.bool)
    if nodes > MANY:
        near = torch.zeros(nodes, nodes, dtype=torch.bool)
        for frame in positions.flatten(0, 1):
            near |= torch.cdist(frame, frame) < NEAR
        joined &= near
    receiver, sender = joined.nonzero().T
    return torch.stack([sender, receiver])


def atoms_from_positions(positions: Tensor, symbols: Sequence[str], interval: float | None = None) -> "list[Atoms]":
    """ASE frames of (frames, atoms, dims) positions, with their times in fs if an interval is given.

    symbols: an element per atom, such as `rollouts.nodes`. Raises DataError for names that are no elements.
    """
    ase_or_error("atoms")
    from ase import Atoms
    from ase.data import atomic_numbers

    if positions.ndim != 3 or positions.shape[1] != len(symbols) or positions.shape[2] > 3:
        raise DataError(
            f"positions have shape {tuple(positions.shape)}, but {len(symbols)} symbols were given; "
            "frames need (frames, atoms, 3)"
        )
    for symbol in symbols:
        if symbol not in atomic_numbers:
            raise DataError(f"'{symbol}' is no chemical element; ASE's frames need one symbol per atom")
    whole = torch.nn.functional.pad(positions.detach().cpu().double(), (0, 3 - positions.shape[2])).numpy()
    times = [{} if interval is None else {"time": number * interval} for number in range(len(whole))]
    return [Atoms(list(symbols), positions=frame, info=info) for frame, info in zip(whole, times, strict=True)]


def write_atoms(path: Path, frames: "list[Atoms]") -> None:
    """A trajectory in the format that the ending names (.xyz and .extxyz: extended xyz, .traj: ASE's own)."""
    from ase.io import write

    write(path, frames, format="traj" if path.suffix.lower() == ".traj" else "extxyz")


def read_trajectory(path: Path, interval: float | None = None) -> Rollouts:
    """ASE's trajectory files (.traj) as rollouts, see `rollouts_from_atoms`."""
    ase_or_error(str(path))
    from ase.io import read

    try:
        frames: Any = read(path, index=":")
    except Exception as error:  # ASE raises whatever its parser met
        raise DataError(f"{path}: not readable as a trajectory of ASE ({error})") from None
    return rollouts_from_atoms(frames, interval, name=path.stem)

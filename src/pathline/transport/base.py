"""The room's verb: push a population from one time to another.

Nobody is seen twice, so what is learned is a motion of the whole population: where a cell that is at x at time t0 will
be at t1, and, where mass is born and lost, how much it then weighs. Everything that all methods need is here: units,
the verb, and the metrics, which are Wasserstein distances between pushed and measured populations.

A measured time that the method did not learn from is *held out*; the distance there comes first, for it tells motion
from memory. Populations are pushed from the first snapshot of the data all the way, never from snapshot to snapshot.
"""

import itertools
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor

from pathline.core.errors import DataError
from pathline.core.method import Figure, Method
from pathline.data import Snapshots
from pathline.flow import relative_mass_error, wasserstein

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 2000  # cells of either side of a distance; more are thinned at random, which changes it by little
SAME = 1e-9  # two times closer than this, relative to the range, are one


class Pushed(NamedTuple):
    """positions: (cells, dims); log_weights: (cells,), 0 for a cell that became exactly one."""

    positions: Tensor
    log_weights: Tensor


class Transporter(Method):
    """A method that carries populations through time.

    dims:      of a cell
    snapshots: how many times it learns from. `for_data` reads both off the data

    Inside, positions have mean 0 and one common scale for all axes, so that distances keep their proportions, and time
    begins at 0 and has the mean interval between snapshots as its unit.
    """

    room = "transport"
    container = Snapshots
    precision = "fp32"  # bf16 rounds positions to 1 part in 256, coarser than one step of an integration moves them
    shift: Tensor
    scale: Tensor
    learned_times: Tensor

    def __init__(self, dims: int, snapshots: int) -> None:
        super().__init__()
        self.dims = dims
        self.register_buffer("shift", torch.zeros(dims))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("learned_times", torch.arange(snapshots, dtype=torch.float64))

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part = cls.require(data)
        method = cls(**{"dims": part.dims, "snapshots": len(part.times)} | config)
        method.read_units(part)
        return method

    @classmethod
    def require(cls, data: Any) -> Any:
        """Also asks for two snapshots: from one alone there is no motion to learn."""
        part = super().require(data)
        if isinstance(part, Snapshots) and len(part.times) < 2:
            raise DataError(f"{part.name}: a single time has no motion to learn; bring snapshots of at least two")
        return part

    def read_units(self, data: Snapshots) -> None:
        """Fill the buffers from the training part."""
        x = data.positions
        spread = x.std(0, correction=0).square().mean().sqrt()
        self.shift.copy_(x.mean(0))
        self.scale.copy_(spread if spread > 0 else torch.ones(()))
        self.learned_times.copy_(data.times)

    @property
    def interval(self) -> float:
        """The unit of time inside: the mean interval between the snapshots learned from."""
        return float(self.learned_times[-1] - self.learned_times[0]) / (len(self.learned_times) - 1)

    def scaled(self, x: Tensor) -> Tensor:
        """The data's units to those inside."""
        return (x - self.shift) / self.scale

    def unscaled(self, x: Tensor) -> Tensor:
        """The units inside to those of the data."""
        return x * self.scale + self.shift

    def clock(self, time: float) -> float:
        """A time of the data in the units inside."""
        return (time - float(self.learned_times[0])) / self.interval

    # -- the verb -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def carry(self, x: Tensor, start: float, end: float, **options: Any) -> tuple[Tensor, Tensor]:
        """Positions (cells, dims) and gained log-weights (cells,) at `end` of cells at x at `start` < or > `end`.

        All in the units inside; options: the method's own settings of carrying.
        """

    @torch.no_grad()
    def push(self, x: Tensor, t0: float, t1: float, **options: Any) -> Pushed:
        """Where cells at x (cells, dims) at time t0 are at time t1, and how much each weighs by then.

        Raises DataError for positions of another size, or that are not finite, or a way that the method cannot go.
        """
        self._check_positions(x)
        return self._push(x.to(self.shift), t0, t1, **options)

    @torch.no_grad()
    def _push(self, x: Tensor, t0: float, t1: float, **options: Any) -> Pushed:
        """`push` of positions that may have run away on the way."""
        start, end = self.clock(t0), self.clock(t1)
        if abs(end - start) < SAME:
            return Pushed(x, x.new_zeros(len(x)))
        positions, gained = self.carry(self.scaled(x), start, end, **options)
        return Pushed(self.unscaled(positions), gained)

    def trajectory(self, x: Tensor, times: Tensor | list[float], **options: Any) -> Pushed:
        """The way of cells that are at x at times[0]: positions (times, cells, dims), log-weights (times, cells)."""
        self._check_positions(x)
        nodes = [float(t) for t in times]
        steps = [Pushed(x.to(self.shift), self.shift.new_zeros(len(x)))]
        for before, after in itertools.pairwise(nodes):
            positions, gained = self._push(steps[-1].positions, before, after, **options)
            steps.append(Pushed(positions, steps[-1].log_weights + gained))
        return Pushed(*(torch.stack(part) for part in zip(*steps, strict=True)))

    @torch.no_grad()
    def velocity(self, x: Tensor, time: float) -> Tensor:
        """dx/dt at x (cells, dims) and `time`, in the data's units; by default a difference over a short push."""
        step = 0.01 * self.interval
        return (self.push(x, time, time + step).positions - x.to(self.shift)) / step

    @torch.no_grad()
    def growth(self, x: Tensor, time: float) -> Tensor:
        """d log w / dt of cells at x (cells, dims) at `time`, per unit of the data's time: (cells,)."""
        step = 0.01 * self.interval
        return self.push(x, time, time + step).log_weights / step

    # -- how good it is -----------------------------------------------------------------------------------------------

    def evaluate(self, data: Snapshots, seed: int = 0) -> dict[str, float]:
        """Of the first snapshot of `data`, pushed to all others:

        w1_held_out: mean Wasserstein-1 distance of the weighted cells at times that were not learned from
        w1, w2:      mean Wasserstein-1 and -2 distance at the learned times after the first
        mass_error:  mean |predicted mass - measured mass| / measured mass over all times after the first
        """
        data = self.check(data)
        if len(data.times) < 2:
            raise DataError(f"{data.name}: a single time cannot judge a motion; bring snapshots of at least two")
        table = self.by_time(data, seed, with_w2=True)
        held = [row["w1"] for row in table if not row["learned"]]
        seen = [row for row in table if row["learned"]]
        found = {"w1_held_out": _mean(held)} if held else {}
        if seen:
            found |= {name: _mean([row[name] for row in seen]) for name in ("w1", "w2")}
        return found | {"mass_error": _mean([row["mass_error"] for row in table])}

    def score(self, data: Snapshots, seed: int = 0) -> float:
        """Mean Wasserstein-1 distance over all times after the first."""
        return _mean([row["w1"] for row in self.by_time(self.check(data), seed)])

    @torch.no_grad()
    def by_time(self, data: Snapshots, seed: int = 0, with_w2: bool = False) -> list[dict[str, float]]:
        """A row for each snapshot after the first: time, learned (1 or 0), w1, perhaps w2, mass, mass_error."""
        generator = torch.Generator().manual_seed(seed)
        start = thinned(data.population(0), generator)
        way = self.trajectory(start, data.times.tolist())
        rows = []
        for k in range(1, len(data.times)):
            target = thinned(data.population(k), generator)
            # in logarithms and relative to the heaviest cell, so that no weight overflows
            weights = torch.softmax(way.log_weights[k].double(), 0).cpu()
            cloud = way.positions[k].cpu()
            row = {"time": float(data.times[k]), "learned": float(self.learned(float(data.times[k])))}
            finite = bool(torch.isfinite(cloud).all() & torch.isfinite(weights).all())
            for power in (1, 2) if with_w2 else (1,):
                row[f"w{power}"] = wasserstein(cloud, target, weights, power=power) if finite else float("inf")
            mass = float(data.masses[k] / data.masses[0])
            row["mass"] = float(way.log_weights[k].double().exp().mean())
            row["mass_error"] = relative_mass_error(way.log_weights[k].cpu(), mass)
            rows.append(row)
        return rows

    def learned(self, time: float) -> bool:
        """Whether the method learned from a snapshot at this time."""
        return bool(((self.learned_times - time).abs() < 1e-6 * self.interval).any())

    def check(self, data: Any) -> Snapshots:
        """`data` if its cells have this method's dimensions."""
        snapshots: Snapshots = super().require(data)
        if not isinstance(snapshots, Snapshots) or snapshots.dims != self.dims:
            raise DataError(
                f"{snapshots.name}: its cells have {getattr(snapshots, 'dims', 'no')} dimensions, but this "
                f"{type(self).__name__} was made for {self.dims}"
            )
        return snapshots

    def _check_positions(self, x: Tensor) -> None:
        if x.ndim != 2 or x.shape[1] != self.dims or not bool(torch.isfinite(x).all()):
            raise DataError(
                f"{type(self).__name__} pushes finite positions of shape (cells, {self.dims}), got {tuple(x.shape)}"
            )

    def predict(self, data: Snapshots, seed: int = 0) -> "pd.DataFrame":
        """A row per cell of the first snapshot of `data` and time: the cell's number, position and log-weight.

        Times are those of `data` and those learned from, from the first snapshot of `data` on.
        """
        import pandas as pd

        data = self.check(data)
        first = float(data.times[0])
        later = [t for t in [*data.times.tolist(), *self.learned_times.tolist()] if t > first]
        times = [first, *sorted(set(later))]
        way = self.trajectory(data.population(0), times)
        cells = way.positions.shape[1]
        names = data.columns or [f"x{i + 1}" for i in range(self.dims)]
        table = pd.DataFrame(way.positions.flatten(0, 1).cpu().numpy(), columns=list(names))
        table.insert(0, "time", torch.tensor(times).repeat_interleave(cells).numpy())
        table.insert(0, "cell", torch.arange(cells).repeat(len(times)).numpy())
        return table.assign(log_weight=way.log_weights.flatten().cpu().numpy())

    @classmethod
    def figures(cls, methods: dict[str, Method], data: Snapshots) -> list[Figure]:
        from pathline.transport import pictures

        chosen = {name: method for name, method in methods.items() if isinstance(method, Transporter)}
        return pictures.figures(chosen, data) if chosen and isinstance(data, Snapshots) else []


def branched(pushed: Pushed, seed: int = 0) -> Tensor:
    """A population without weights: a cell of weight w leaves floor(w) or ceil(w) copies, w on average.

    (cells, dims) -> (copies, dims), as the pushed cells would be counted in a laboratory.
    """
    weights = pushed.log_weights.double().exp().cpu()
    chance = torch.rand(len(weights), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    copies = (weights + chance).floor().long()
    return pushed.positions.repeat_interleave(copies.to(pushed.positions.device), 0)


def thinned(cells: Tensor, generator: torch.Generator, largest: int = LARGEST) -> Tensor:
    """The cells, or `largest` of them at random."""
    return cells if len(cells) <= largest else cells[torch.randperm(len(cells), generator=generator)[:largest]]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)

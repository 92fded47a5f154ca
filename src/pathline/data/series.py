"""Series: many sensors measured together at a fixed interval, with gaps, and perhaps a graph between them."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from pathline.data.container import IF_USED, Batch, Container, Split
from pathline.data.errors import DataError

DAY, WEEK = 86_400, 604_800
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0


@dataclass(frozen=True)
class Windows(Batch):
    """Past and future around a moment.

    past, past_observed:     (batch, history, nodes, channels); 0 and False where nothing was observed
    future, future_observed: (batch, horizon, nodes, channels)
    time_of_day:             (batch, history + horizon), the step within its day, 0 .. steps_per_day - 1
    day_of_week:             (batch, history + horizon), 0 is Monday
    graph:                   (batch, history, nodes, nodes), the graph at each past step, where it changes; else None
    """

    past: Tensor
    past_observed: Tensor
    future: Tensor
    future_observed: Tensor
    time_of_day: Tensor
    day_of_week: Tensor
    graph: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Series(Container):
    """Measurements at a fixed interval.

    values:     (time, nodes, channels) float32, 0 where nothing was observed
    observed:   the same shape, bool
    start:      seconds since 1970-01-01 on the data's LOCAL clock, so that the time of day is that of the people there
    interval:   seconds from one step to the next
    adjacency:  (nodes, nodes) weights >= 0, or (time, nodes, nodes) for a graph that changes, or None
    positions:  (nodes, 2) map coordinates, or None
    history, horizon: how windows are cut, in steps
    stride:     a window begins at every stride-th step; separate clips of equal length, one after the other, are a
                series whose stride is that length
    """

    values: Tensor
    observed: Tensor
    start: int
    interval: int
    adjacency: Tensor | None = None
    positions: Tensor | None = None
    nodes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ("value",)
    unit: str = ""
    history: int = 12
    horizon: int = 12
    stride: int = field(default=1, metadata=IF_USED)
    fractions: ClassVar[tuple[float, float]] = (0.7, 0.8)

    def __post_init__(self) -> None:
        name = self.name
        if self.values.ndim != 3:
            raise DataError(f"{name}: values have shape {tuple(self.values.shape)}; expected (time, nodes, channels)")
        if self.observed.shape != self.values.shape:
            raise DataError(
                f"{name}: observed has shape {tuple(self.observed.shape)}, values {tuple(self.values.shape)}"
            )
        if self.interval <= 0:
            raise DataError(f"{name}: interval is {self.interval} seconds; it must be positive")
        if self.history < 1 or self.horizon < 1:
            raise DataError(f"{name}: history {self.history} and horizon {self.horizon} must be at least 1 step")
        if self.stride < 1:
            raise DataError(f"{name}: stride is {self.stride}; windows must begin at least 1 step apart")
        finite = torch.isfinite(self.values)
        if not bool(finite.all()):  # a gap is a gap, however it was written
            object.__setattr__(self, "observed", self.observed & finite)
        object.__setattr__(self, "values", torch.where(self.observed, self.values, 0.0).float())
        count = self.values.shape[1]
        if not self.nodes:
            object.__setattr__(self, "nodes", tuple(str(i) for i in range(count)))
        if len(self.nodes) != count:
            raise DataError(f"{name}: {len(self.nodes)} node names for {count} sensors")
        if len(self.channels) != self.values.shape[2]:
            raise DataError(f"{name}: {len(self.channels)} channel names for {self.values.shape[2]} channels")
        if self.adjacency is not None:
            _check_graph(self.adjacency, self.steps, self.nodes, name)
        if self.positions is not None and self.positions.shape != (count, 2):
            raise DataError(f"{name}: positions have shape {tuple(self.positions.shape)}; expected ({count}, 2)")

    @property
    def steps(self) -> int:
        return self.values.shape[0]

    @property
    def steps_per_day(self) -> int:
        """Distinct values of `time_of_day`; 1 where a step is a day or longer."""
        return max(1, round(DAY / self.interval))

    @property
    def changing(self) -> bool:
        """Whether the graph has a matrix for every step."""
        return self.adjacency is not None and self.adjacency.ndim == 3

    @property
    def graph(self) -> Tensor | None:
        """(nodes, nodes): the graph, of one that changes the mean over time; or None."""
        if self.adjacency is None or not self.changing:
            return self.adjacency
        return self.adjacency.mean(0) if len(self.adjacency) else self.adjacency.sum(0)

    def __len__(self) -> int:
        """How many windows fit."""
        return max(0, (self.steps - self.history - self.horizon) // self.stride + 1)

    def with_window(self, history: int, horizon: int) -> "Series":
        """The same data, cut into other windows."""
        return replace(self, history=history, horizon=horizon)

    def clock(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Time of day (step within the day) and day of week (Monday 0) of time steps `index`, same shape."""
        seconds = self.start + index * self.interval
        time_of_day = (seconds % DAY) // self.interval % self.steps_per_day
        return time_of_day, (seconds // DAY + _EPOCH_WEEKDAY) % 7

    def gather(self, index: Tensor) -> Windows:
        """Windows number `index` (batch,), whose first past step is index * stride."""
        steps = index[:, None] * self.stride + torch.arange(self.history + self.horizon)
        values, observed = self.values[steps], self.observed[steps]
        time_of_day, day_of_week = self.clock(steps)
        past, future = slice(None, self.history), slice(self.history, None)
        return Windows(
            values[:, past],
            observed[:, past],
            values[:, future],
            observed[:, future],
            time_of_day,
            day_of_week,
            self.adjacency[steps[:, past]] if self.changing else None,  # type: ignore[index]
        )

    def slice(self, begin: int, end: int) -> "Series":
        """Steps begin .. end - 1, with the clock moved along."""
        return replace(
            self,
            values=self.values[begin:end],
            observed=self.observed[begin:end],
            adjacency=self.adjacency[begin:end] if self.changing else self.adjacency,  # type: ignore[index]
            start=self.start + begin * self.interval,
        )

    def last_window(self) -> Windows:
        """The most recent `history` steps as a batch of one whose future is still unknown (0, unobserved)."""
        if self.steps < self.history:
            raise DataError(
                f"{self.name}: {self.steps} time steps are fewer than the {self.history} that a forecast looks back on"
            )
        unknown = torch.zeros(self.horizon, *self.values.shape[1:])
        tail = self.slice(self.steps - self.history, self.steps)
        longer = replace(
            tail,
            values=torch.cat([tail.values, unknown]),
            observed=torch.cat([tail.observed, unknown.bool()]),
            adjacency=_lasting(tail.adjacency, self.horizon),
        )
        return longer.gather(torch.zeros(1, dtype=torch.long))

    def split(self, seed: int = 0) -> Split["Series"]:
        """70, 10 and 20 percent in the order of time. No window reaches across a border; `seed` changes nothing."""
        first, second = (int(self.steps * share) // self.stride * self.stride for share in self.fractions)
        parts = [self.slice(0, first), self.slice(first, second), self.slice(second, self.steps)]
        shortest = min(parts, key=lambda part: part.steps)
        if not len(shortest):
            need = 10 * (self.history + self.horizon)
            raise DataError(
                f"{self.name}: {self.steps} time steps are too few to split by time with windows of "
                f"{self.history} + {self.horizon} steps; bring at least {need}, or choose a shorter history and horizon"
            )
        return Split(*parts)

    def describe(self) -> dict[str, Any]:
        return {
            "container": "Series",
            "steps": self.steps,
            "nodes": self.values.shape[1],
            "channels": list(self.channels),
            "interval_seconds": self.interval,
            "unit": self.unit,
            "missing": round(1 - self.observed.float().mean().item(), 6) if self.observed.numel() else 0.0,
            "graph": self.adjacency is not None,
        }


def _check_graph(adjacency: Tensor, steps: int, nodes: tuple[str, ...], name: str) -> None:
    """A `DataError` for a graph of another size than the data, or with weights that no method could use."""
    count = len(nodes)
    if adjacency.ndim == 3 and len(adjacency) != steps:
        raise DataError(f"{name}: the graph changes over {len(adjacency)} steps, but the data has {steps}")
    if adjacency.ndim not in (2, 3) or adjacency.shape[-2:] != (count, count):
        rows, columns = (0, 0, *adjacency.shape)[-2:]
        raise DataError(
            f"{name}: the graph is {rows} x {columns} but there are {count} sensors; "
            "give one row and one column per sensor, in the order of the sensor columns"
        )
    wrong = ~(adjacency.isfinite() & (adjacency >= 0))
    if bool(wrong.any()):
        place = tuple(wrong.nonzero()[0].tolist())
        raise DataError(
            f"{name}: the graph's weight from sensor {nodes[place[-2]]} to {nodes[place[-1]]} is "
            f"{adjacency[place].item():g}; weights must be finite and not negative, 0 where there is no edge"
        )


def _lasting(adjacency: Tensor | None, steps: int) -> Tensor | None:
    """A graph that changes, `steps` longer, as it was at the end."""
    if adjacency is None or adjacency.ndim == 2:
        return adjacency
    return torch.cat([adjacency, adjacency[-1:].expand(steps, -1, -1)])

"""Tracks: where agents were, step by step, in one or more scenes; people, vehicles, drones, animals, in two or three
dimensions.

Every agent has a row of its own that begins at its first step, so that agents who come and go cost no more than what
was seen of them. Windows show a target with the agents nearest to it. Whole scenes or whole trajectories go to one
part of a split, never single windows.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from pathline.data.container import IF_USED, Batch, Container, Split, require_finite
from pathline.data.errors import DataError


@dataclass(frozen=True)
class Encounters(Batch):
    """A target and those around it, before and after a moment. The target is agent 0 and was seen at every step.

    past:            (batch, agents, history, dims) in metres, nearest neighbours first; 0 where nothing was seen
    past_observed:   (batch, agents, history); all False for the padding
    future:          (batch, agents, horizon, dims)
    future_observed: (batch, agents, horizon)
    agent:           (batch, agents) row in the container, -1 for the padding
    scene, frame:    (batch,) the scene, and its frame at the last past step
    interval:        seconds from one step to the next
    """

    past: Tensor
    past_observed: Tensor
    future: Tensor
    future_observed: Tensor
    agent: Tensor
    scene: Tensor
    frame: Tensor
    interval: float
    shared: ClassVar[tuple[str, ...]] = ("interval",)


@dataclass(frozen=True, kw_only=True)
class Tracks(Container):
    """Positions of agents at a fixed interval.

    positions:  (agents, steps, dims) float32 in metres, dims 2 or 3; 0 where the agent was not seen
    observed:   (agents, steps) bool
    first:      (agents,) int64, the frame of its scene at which an agent's row begins
    scene:      (agents,) int64, which scene the agent is in; only agents of one scene meet
    scenes, agents: names
    interval:   seconds from one frame to the next
    start:      seconds since 1970-01-01 at frame 0, or 0 where only durations are known
    history, horizon: how windows are cut, in steps
    neighbours: how many agents around the target a window shows; missing ones are padding
    stride:     steps from one window of an agent to its next
    hold_out:   the scene that is the test part, or several separated by commas; "" for none
    radius:     agents nearer to each other than this, in metres, collide
    origin:     what the point 0 of each scene was called in the file: its coordinates there, or latitude and longitude
                in degrees (and the height in metres) if `geographic`; () for 0
    """

    positions: Tensor
    observed: Tensor
    interval: float
    first: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    scene: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    scenes: tuple[str, ...] = ("scene",)
    agents: tuple[str, ...] = ()
    start: float = 0.0
    history: int = 8
    horizon: int = 12
    neighbours: int = 3
    stride: int = 1
    hold_out: str = ""
    radius: float = 0.2
    origin: tuple[tuple[float, ...], ...] = field(default=(), metadata=IF_USED)
    geographic: bool = field(default=False, metadata=IF_USED)

    def __post_init__(self) -> None:
        name, shape = self.name, tuple(self.positions.shape)
        if self.positions.ndim != 3 or shape[2] not in (2, 3):
            raise DataError(f"{name}: positions have shape {shape}; expected (agents, steps, dims) with 2 or 3 dims")
        if tuple(self.observed.shape) != shape[:2]:
            raise DataError(f"{name}: observed has shape {tuple(self.observed.shape)}; expected {shape[:2]}")
        if not shape[0] or not bool(self.observed.any()):
            raise DataError(f"{name}: nobody was seen at any step; bring at least one track")
        if not self.interval > 0:
            raise DataError(f"{name}: interval is {self.interval} seconds; it must be positive")
        if self.history < 2 or self.horizon < 1 or self.stride < 1 or self.neighbours < 0:
            raise DataError(
                f"{name}: history {self.history} must be at least 2 steps (one has no velocity), horizon "
                f"{self.horizon} and stride {self.stride} at least 1, neighbours {self.neighbours} at least 0"
            )
        count = shape[0]
        for label in ("first", "scene"):
            tensor = getattr(self, label)
            if not len(tensor):
                object.__setattr__(self, label, torch.zeros(count, dtype=torch.long))
            elif tuple(tensor.shape) != (count,):
                raise DataError(f"{name}: {label} has shape {tuple(tensor.shape)}; expected one entry per agent")
        if not self.agents:
            object.__setattr__(self, "agents", tuple(str(i) for i in range(count)))
        if len(self.agents) != count:
            raise DataError(f"{name}: {len(self.agents)} names for {count} agents")
        if not 0 <= int(self.scene.min()) <= int(self.scene.max()) < len(self.scenes):
            raise DataError(f"{name}: scene {int(self.scene.max())} has no name; there are {len(self.scenes)} names")
        for held in self._held:
            if held not in self.scenes:
                raise DataError(f"{name}: there is no scene '{held}' to hold out; scenes: {self._some_scenes()}")
        if self.origin and len(self.origin) != len(self.scenes):
            raise DataError(f"{name}: {len(self.origin)} origins for {len(self.scenes)} scenes; give one for each")
        object.__setattr__(self, "positions", torch.where(self.observed[..., None], self.positions, 0.0).float())
        require_finite(self.positions, "position", name)

    def _some_scenes(self) -> str:
        return ", ".join(self.scenes[:8]) + (", ..." if len(self.scenes) > 8 else "")

    @property
    def _held(self) -> list[str]:
        return [part.strip() for part in self.hold_out.split(",") if part.strip()]

    @property
    def dims(self) -> int:
        return self.positions.shape[2]

    # -- windows ------------------------------------------------------------------------------------------------------

    @cached_property
    def _windows(self) -> tuple[Tensor, Tensor]:
        """Agent and step of the first past step of every window, (windows,) each."""
        return self._seen_for(self.history + self.horizon)

    def _seen_for(self, length: int) -> tuple[Tensor, Tensor]:
        """Agent and first step of every run of `length` steps at which the agent was seen, every `stride` steps."""
        if self.observed.shape[1] < length:
            return torch.zeros(2, 0, dtype=torch.long).unbind(0)  # type: ignore[return-value]
        seen = torch.nn.functional.pad(self.observed.long().cumsum(1), (1, 0))
        whole = seen[:, length:] - seen[:, :-length] == length
        whole &= torch.arange(whole.shape[1]) % self.stride == 0
        return whole.nonzero(as_tuple=True)  # type: ignore[return-value]

    def __len__(self) -> int:
        """How many windows there are."""
        return len(self._windows[0])

    @cached_property
    def _present(self) -> tuple[Tensor, Tensor, Tensor]:
        """Who is there when: sorted keys of (scene, frame), where each key's agents begin, and the agents."""
        agent, step = self.observed.nonzero(as_tuple=True)
        key = self._key(self.scene[agent], self.first[agent] + step)
        order = key.argsort(stable=True)
        keys, counts = key[order].unique_consecutive(return_counts=True)
        return keys, torch.nn.functional.pad(counts.cumsum(0), (1, 0)), agent[order]

    def _key(self, scene: Tensor, frame: Tensor) -> Tensor:
        lowest = int(self.first.min())
        span = int(self.first.max()) + self.observed.shape[1] - lowest
        return scene * span + frame - lowest

    def gather(self, index: Tensor) -> Encounters:
        agent, step = self._windows
        return self._encounters(agent[index], step[index])

    def _encounters(self, agent: Tensor, step: Tensor) -> Encounters:
        """Windows of `agent` whose first past step is `step`, (batch,) each; steps beyond the row are unseen."""
        frame = self.first[agent] + step + self.history - 1
        shown = agent[:, None]
        if self.neighbours:
            shown = torch.cat([shown, self._nearest(agent, frame)], 1)
        frames = frame[:, None, None] + torch.arange(1 - self.history, self.horizon + 1)
        positions, observed = self._at(shown, frames)
        past, future = slice(None, self.history), slice(self.history, None)
        return Encounters(
            past=positions[:, :, past],
            past_observed=observed[:, :, past],
            future=positions[:, :, future],
            future_observed=observed[:, :, future],
            agent=shown,
            scene=self.scene[agent],
            frame=frame,
            interval=self.interval,
        )

    def _at(self, agent: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Positions and whether they were observed of agents (batch, agents) at frames (batch, 1, times)."""
        row = agent.clamp(min=0)[..., None]
        step = frames - self.first[row]
        inside = (step >= 0) & (step < self.observed.shape[1]) & (agent >= 0)[..., None]
        step = step.clamp(0, self.observed.shape[1] - 1)
        observed = self.observed[row, step] & inside
        return torch.where(observed[..., None], self.positions[row, step], 0.0), observed

    def _nearest(self, agent: Tensor, frame: Tensor) -> Tensor:
        """The `neighbours` agents nearest to each target at its frame, (batch, neighbours); -1 for want of one."""
        keys, begins, present = self._present
        slot = torch.searchsorted(keys, self._key(self.scene[agent], frame))
        most = int((begins[slot + 1] - begins[slot]).max()) if len(slot) else 0
        place = begins[slot, None] + torch.arange(most)
        there = place < begins[slot + 1, None]
        others = present[place.clamp(max=len(present) - 1)]
        there &= others != agent[:, None]
        at = frame[:, None, None]
        position = self._at(others, at)[0][:, :, 0]
        mine = self._at(agent[:, None], at)[0][:, :, 0]
        distance = torch.where(there, (position - mine).square().sum(-1), torch.inf)
        few = min(self.neighbours, most)
        near, which = distance.topk(few, largest=False)
        found = torch.where(near.isfinite(), others.gather(1, which), -1)
        return torch.nn.functional.pad(found, (0, self.neighbours - few), value=-1)

    def last_windows(self) -> Encounters:
        """Every agent's most recent `history` seen steps, with an unknown future: one window per agent that has any.

        Raises:
            DataError: nobody was seen for `history` steps in a row.
        """
        every = replace(self, stride=1)
        agent, step = every._seen_for(self.history)
        if not len(agent):
            raise DataError(
                f"{self.name}: nobody was seen for {self.history} steps in a row, which a forecast looks back on"
            )
        latest = torch.full((len(self.agents),), -1).scatter_reduce(0, agent, step, "amax")
        who = (latest >= 0).nonzero()[:, 0]
        window = self._encounters(who, latest[who])
        return replace(
            window,
            future=torch.zeros_like(window.future),
            future_observed=torch.zeros_like(window.future_observed),
        )

    def with_window(self, history: int, horizon: int) -> "Tracks":
        """The same data, cut into other windows."""
        return replace(self, history=history, horizon=horizon)

    # -- parts --------------------------------------------------------------------------------------------------------

    def select(self, agents: Tensor) -> "Tracks":
        """Only these agents (indices, or a bool for each), with everything that was seen of them."""
        index = agents.nonzero()[:, 0] if agents.dtype == torch.bool else agents
        return replace(
            self,
            positions=self.positions[index],
            observed=self.observed[index],
            first=self.first[index],
            scene=self.scene[index],
            agents=tuple(self.agents[i] for i in index.tolist()),
        )

    def in_scenes(self, *names: str) -> "Tracks":
        """Only the agents of these scenes."""
        wanted = torch.tensor([name in names for name in self.scenes])
        return replace(self, hold_out="").select(wanted[self.scene])

    def steps(self, begin: Tensor, end: Tensor) -> "Tracks":
        """What was seen of each agent from its step `begin` to before `end`, (agents,) each."""
        step = torch.arange(self.observed.shape[1])
        return replace(self, observed=self.observed & (step >= begin[:, None]) & (step < end[:, None]))

    def split(self, seed: int = 0) -> Split["Tracks"]:
        """Train, validation and test parts, of which no two share a trajectory.

        hold_out: that scene is the test part, and of each other scene the tenth of the trajectories that come last
            validates (with ten others or more, a tenth of these scenes). Otherwise, with three scenes or more: 80, 10
            and 10 percent of the scenes, drawn by `seed`; with fewer: 70, 10 and 20 percent of the trajectories in the
            order in which they begin. Where there are too few trajectories for that, each is cut at 70 and 80 percent
            of its own time, and no window reaches across.

        Raises:
            DataError: a part would hold no window of history + horizon steps.
        """
        generator = torch.Generator().manual_seed(seed)
        if self.hold_out:
            chosen = torch.tensor([name in self._held for name in self.scenes])[self.scene]
            others = self.scene[~chosen].unique()
            early, late = self._in_order(0.9)
            if len(others) >= 10:
                late = torch.isin(self.scene, others[torch.randperm(len(others), generator=generator)][::10])
                early = ~late
            parts = self._three(early & ~chosen, late & ~chosen, chosen)
        elif len(used := self.scene[self._windows[0]].unique()) >= 3:
            order = used[torch.randperm(len(used), generator=generator)]
            held = max(1, len(order) // 10)
            validation, test = (torch.isin(self.scene, part) for part in (order[:held], order[held : 2 * held]))
            parts = self._three(~validation & ~test, validation, test)
        else:
            early, late = self._in_order(0.8)
            train, middle = self._in_order(0.7)
            parts = self._three(train, middle & early, late)
        if parts is None and not self.hold_out:
            parts = self._by_time()
        if parts is None:
            raise DataError(
                f"{self.name}: {len(self)} windows of {self.history} + {self.horizon} steps in {len(self.agents)} "
                "tracks are too few for train, validation and test parts; bring longer or more tracks, or choose a "
                "shorter history and horizon"
            )
        return parts

    def _in_order(self, share: float) -> tuple[Tensor, Tensor]:
        """(agents,) bool twice: in each scene, who begins in the first `share` of its windows, and who does not."""
        windows = torch.zeros(len(self.agents), dtype=torch.long).index_add_(
            0, self._windows[0], torch.ones(len(self), dtype=torch.long)
        )
        order = self.first.argsort(stable=True)
        order = order[self.scene[order].argsort(stable=True)]
        total = torch.zeros(len(self.scenes), dtype=torch.long).index_add_(0, self.scene, windows)
        before = torch.zeros_like(windows)
        before[order] = windows[order].cumsum(0) - windows[order]
        before -= (total.cumsum(0) - total)[self.scene]
        early = before + windows / 2 < share * total[self.scene]
        return early, ~early

    def _three(self, train: Tensor, validation: Tensor, test: Tensor) -> Split["Tracks"] | None:
        if not (train.any() and validation.any() and test.any()):
            return None
        parts = [replace(self, hold_out="").select(part) for part in (train, validation, test)]
        return Split(*parts) if all(len(part) for part in parts) else None

    def _by_time(self) -> Split["Tracks"] | None:
        seen = self.observed.long().cumsum(1)
        cuts = [(seen <= share * seen[:, -1:]).sum(1) for share in (0.7, 0.8)]
        none, all_ = torch.zeros_like(cuts[0]), torch.full_like(cuts[0], self.observed.shape[1])
        borders = [none, *cuts, all_]
        spans = list(pairwise(borders))
        if not all((self.observed & _between(self.observed.shape[1], *span)).any() for span in spans):
            return None
        parts = [self.steps(*span) for span in spans]
        return Split(*parts) if all(len(part) for part in parts) else None

    def describe(self) -> dict[str, Any]:
        seen = self.observed.sum()
        return {
            "container": "Tracks",
            "scenes": len(self.scenes),
            "tracks": len(self.agents),
            "dims": self.dims,
            "interval_seconds": self.interval,
            "positions": int(seen),
            "windows": len(self),
            "history": self.history,
            "horizon": self.horizon,
            "neighbours": self.neighbours,
            "median_speed": round(self.median_speed(), 4),
            "unit": "m",
        }

    def median_speed(self) -> float:
        """Median of distance over time between successive seen steps, in metres per second; 0 if there are none."""
        both = self.observed[:, 1:] & self.observed[:, :-1]
        speed = self.positions.diff(dim=1).norm(dim=-1)[both] / self.interval
        return speed.median().item() if len(speed) else 0.0


def _between(count: int, begin: Tensor, end: Tensor) -> Tensor:
    step = torch.arange(count)
    return (step >= begin[:, None]) & (step < end[:, None])

"""VECTOR on simulated flights: velocities know no place, so a volume that no training flight has seen costs nothing.

All networks have the same cells, size, steps and batches; the positions' one is given absolute positions, as in the
paper, and a third, given positions relative to the last, shows what it is that matters. Of the test flights
every third window counts, where the training flights were and moved by (60, -40, 25) m; the Kalman filter is that of
constant acceleration. The learning rate was chosen on seed 100, by the
validation flights, for velocities and for positions each by itself (0.001, 0.003, 0.01); it is the same, and the third
network has it too.
"""

import time
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pathline.core.budget import steps
from pathline.core.claim import Claim, at_least, at_most
from pathline.data.tracks import Tracks
from pathline.sims.quadrotor import simulate_quadrotor
from pathline.track.base import EVALUATION_BATCH, Tracker
from pathline.track.baselines import ConstantAcceleration, ConstantVelocity, KalmanAcceleration, LinearMotion
from pathline.track.vector import Vector

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLIGHTS, STEPS = 600, 600
AWAY = torch.tensor([60.0, -40.0, 25.0])  # metres
VELOCITIES, POSITIONS, OFFSETS = "vector", "positions", "positions from the last"
NETWORKS = {
    VELOCITIES: {},
    POSITIONS: {"inputs": "position", "outputs": "position"},
    OFFSETS: {"inputs": "offset", "outputs": "position"},
}
PLAIN = {
    "constant velocity": ConstantVelocity,
    "constant acceleration": ConstantAcceleration,
    "Kalman filter": KalmanAcceleration,
    "ridge": LinearMotion,
}


class VelocitiesKnowNoPlace(Claim):
    """On simulated quadrotor flights, the GRU of velocities has at most a tenth of the position error of the GRU of
    positions 76 m from where they were trained, the same error as at home to 2 %, at home no more than the GRU of
    positions or a ridge regression, and at most 0.8 times that of constant velocity and of constant acceleration.
    """

    system = "vector"
    baselines = ("track-velocity",)
    paper = (
        "5000 Gazebo flights, UZH-FPV, Mid-Air: mean squared error down to 2e-8 on its scale; velocities beat "
        "positions, above all outside the positions of the training"
    )
    metric, better = "root mean square error of positions over one second [m]", "lower"
    require = (
        at_most(f"{VELOCITIES}, away", 0.1, f"{POSITIONS}, away"),
        at_most(f"{VELOCITIES}, away", 1.02, f"{VELOCITIES}, home"),
        at_least(f"{VELOCITIES}, away", 0.98, f"{VELOCITIES}, home"),
        at_most(f"{VELOCITIES}, home", 1.0, f"{POSITIONS}, home"),
        at_most(f"{VELOCITIES}, home", 0.8, "constant velocity, home"),
        at_most(f"{VELOCITIES}, home", 0.8, "constant acceleration, home"),
        at_most(f"{VELOCITIES}, home", 1.0, "ridge, home"),
    )

    def run(self, seed: int) -> dict[str, float]:
        data = self.uses(simulate_quadrotor(FLIGHTS, seed=seed).tracks(name=f"quadrotor, seed {seed}"))
        split = data.split(seed)
        self.home, self.away = split.test, replace(split.test, positions=split.test.positions + AWAY)
        self.arms: dict[str, Tracker] = {}
        for name, config in NETWORKS.items():
            network = Vector.seeded(split.train, seed, **config)
            self.arms[name] = network.fit(split.train, steps(STEPS), seed=seed)
        for name, cls in PLAIN.items():
            self.arms[name] = cls.for_data(split.train)
        found = {}
        for name, arm in self.arms.items():
            found[f"{name}, home"] = float(mean_square(arm, self.home).mean().sqrt())
            found[f"{name}, away"] = float(mean_square(arm, self.away).mean().sqrt())
        vector = self.arms[VELOCITIES]
        assert isinstance(vector, Vector)
        return found | {"latency, ms": latency(vector, self.home.positions[0])}

    def picture(self) -> "Figure":
        """Left: a flight at home and the same flight away, from above, with forecasts every second; right: the error by
        lead time."""
        from matplotlib.figure import Figure

        picture = Figure(figsize=(11, 4), layout="constrained")
        left, middle, right = picture.subplots(1, 3)
        drawn = {VELOCITIES: "#1f6fb4", POSITIONS: "#d1622b"}
        flight = max(range(len(self.home.agents)), key=lambda i: self.home.scenes[int(self.home.scene[i])] > "lem")
        for axis, data, title in ((left, self.home, "at home"), (middle, self.away, "76 m away")):
            path = data.positions[flight]
            axis.plot(*path[:, :2].T.numpy(), color="#bbbbbb", linewidth=1.2, label="flown")
            mine = data.select(torch.tensor([flight]))
            window = mine.gather(torch.arange(0, len(mine), 12))
            for name, colour in drawn.items():
                best = self.arms[name].forecast(window, 1).best[:, 0]
                for number, (last, future) in enumerate(zip(window.past[:, 0, -1:], best, strict=True)):
                    line = torch.cat([last, future])[:, :2]
                    label = name if not number else None
                    axis.plot(*line.T.numpy(), color=colour, linewidth=1, label=label)
            axis.set(title=title, xlabel="east [m]", ylabel="north [m]", aspect="equal")
        left.legend(frameon=False, fontsize=8)
        lead = self.home.interval * torch.arange(1, self.home.horizon + 1)
        for name, colour in {**drawn, OFFSETS: "#8a5fa8", "ridge": "#3d8f5f", "constant velocity": "#777777"}.items():
            for data, style in ((self.home, "-"), (self.away, ":")):
                curve = mean_square(self.arms[name], data).sqrt()
                right.plot(lead.numpy(), curve.numpy(), style, color=colour, label=name if style == "-" else None)
        right.set(yscale="log", xlabel="seconds ahead", ylabel="error [m]", title="solid: at home, dotted: away")
        right.legend(frameon=False, fontsize=8)
        for axis in (left, middle, right):
            axis.spines[["top", "right"]].set_visible(False)
        return picture


def mean_square(arm: Tracker, data: Tracks) -> Tensor:
    """Mean squared distance of the single best path by step, (horizon,), over every third window."""
    total = torch.zeros(data.horizon, dtype=torch.float64)
    chosen = torch.arange(0, len(data), 3)
    for index in chosen.split(EVALUATION_BATCH):
        window = data.gather(index)
        best = arm.forecast(window, 1).best[:, 0]
        total += (best - window.future[:, 0]).double().square().sum(-1).sum(0)
    return total / len(chosen)


def latency(vector: Vector, path: Tensor) -> float:
    """Median milliseconds of a thousand steps of the stream along `path` (steps, 3)."""
    stream, seconds = vector.streaming(), []
    for step in range(1000):
        begun = time.perf_counter()
        stream.predict_step(path[step % len(path)])
        seconds.append(time.perf_counter() - begun)
    return 1000 * median(seconds)

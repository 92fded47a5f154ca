"""GMAN on simulated motorways: forecasts that are not built on forecasts.

Two weeks and 500 steps for every network, whose clocks all have a row for every step of the day. The learning rate did
best for GMAN and the graph network on another city.
"""

from typing import TYPE_CHECKING

import torch

from pathline.core.budget import steps
from pathline.core.claim import Claim, at_most, widest_within
from pathline.data import Series
from pathline.forecast.base import Forecaster
from pathline.forecast.baselines import DailyProfile
from pathline.forecast.gman import GMAN
from pathline.forecast.rivals import AttentionGRU, DiffusionGRU
from pathline.sims import simulate_roads

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SENSORS, DAYS = 24, 14
BUDGET, RATE = steps(500), 4e-3
DESK = {"heads": 4, "head_width": 5, "blocks": 1, "embedding": 32}


class NoForecastOnForecasts(Claim):
    """On a simulated city of 24 sensors GMAN has, one hour ahead, at most 0.97 times the mean absolute error of the
    better of two networks of its size that decode step by step (its own encoder with a recurrent decoder, and DCRNN's
    graph recurrent units), and its error grows less from 5 to 60 minutes than that of the first.
    """

    system, baselines = "gman", ("daily-profile",)
    paper = (
        "PeMS-BAY and Xiamen: up to 4 % lower MAE one hour ahead than the best earlier method; PeMS-BAY 1.86 against "
        "1.95 (Graph WaveNet) and 2.07 (DCRNN)"
    )
    metric, better = "mean absolute error one hour ahead [km/h]; its growth from 5 to 60 minutes", "lower"
    require = (
        at_most("gman, 60 min", 0.97, "better rival, 60 min"),
        at_most("gman, growth", 1.0, "attention GRU, growth"),
    )
    tried = (
        "Two cities that are not among the seeds, 500 steps, km/h one hour ahead. A clock with a row per step "
        "instead of 96 a day, where three readings in a row share one and attention cannot tell which came last: "
        "2.69 instead of 2.91 (with 96 rows, three seeds gave 1.12 times the better rival); on the second city "
        "2.66, against 2.96 (attention GRU) and 2.46 (diffusion GRU). There, rate 1e-2: 2.65, and with it one head "
        "of 20 channels: 3.01; batch norm with statistics of the whole training part: 2.60. With 96 rows: attention "
        "both ways 3.05 instead of 2.91; rates 1e-2 and 2e-2, and layer norm: no better; two weeks and 2000 steps "
        "1.07 and 1.12 times the better rival on seeds 0 and 1; six weeks and 2000 steps 0.996 times on a city not "
        "among the seeds, six weeks and 4000 steps 1.09 times on seed 0. GMAN fits too slowly: on the second city "
        "its error on the training part is 3.26, the diffusion GRU's 2.71, that of the daily profile 2.72. What a "
        "moment's own embedding says reaches its forecast through attention only, which starts out as a mean over "
        "moments and sensors and takes more steps to sharpen."
    )

    def run(self, seed: int) -> dict[str, float]:
        record = simulate_roads(SENSORS, DAYS, seed)
        split = self.uses(record.series("speed")).split()
        train, self.test = split.train, split.test
        gman = GMAN.seeded(train, seed, **DESK)
        count = gman.parameter_count()

        def attention(width: int) -> AttentionGRU:
            return AttentionGRU.seeded(train, seed, **DESK, decoder_width=width)

        def diffusion(width: int) -> DiffusionGRU:
            return DiffusionGRU.seeded(train, seed, width=width, ste_width=20, embedding=32)

        self.arms: dict[str, Forecaster] = {
            "gman": gman,
            "attention GRU": attention(widest_within(count, attention)),
            "diffusion GRU": diffusion(widest_within(count, diffusion)),
        }
        for arm in self.arms.values():
            assert 0.95 * count <= arm.parameter_count() <= count
            arm.fit(split, BUDGET, seed=seed, lr=RATE)
        self.arms["daily profile"] = DailyProfile.for_data(train)
        near = record.near_incident()[-self.test.steps :]
        found = {
            f"{name}, {what}": value
            for name, arm in self.arms.items()
            for what, value in measure(arm, self.test, near).items()
        }
        rivals = [found["attention GRU, 60 min"], found["diffusion GRU, 60 min"]]
        return found | {"better rival, 60 min": min(rivals)}

    def picture(self) -> "Figure | None":
        from pathline.forecast.figures import draw

        return draw(self.arms, self.test)[1].picture


def measure(arm: Forecaster, data: Series, near: torch.Tensor) -> dict[str, float]:
    """Errors 5 and 60 minutes ahead, their ratio, and the hour's error near incidents; near: (time, sensors) bool."""
    by_lead = arm.errors(data).mae((1, 2))
    return {
        "5 min": float(by_lead[0]),
        "60 min": float(by_lead[-1]),
        "growth": float(by_lead[-1] / by_lead[0]),
        "60 min, near incidents": float(arm.errors(data, near).mae((1, 2))[-1]),
    }

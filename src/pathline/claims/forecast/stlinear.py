"""STLinear on simulated motorways: linear layers against a graph recurrent network.

Two fair fights, in both of which the validation part stops and picks: the same time on the clock, and the same number
of epochs, enough of them for both to be done. The clock is a constant number of steps per arm, measured once, so that
the same seed gives the same numbers. Learning rates are the methods' own: AGCRN's as released, which on another city is
no worse than twice as much; STLinear's from two other cities and METR-LA.
"""

from typing import TYPE_CHECKING

import torch

from pathline.core.budget import epochs, steps
from pathline.core.claim import Claim, at_least, at_most
from pathline.data.container import Split
from pathline.data.sets import load
from pathline.forecast.base import Forecaster
from pathline.forecast.rivals import AdaptiveGraphGRU
from pathline.forecast.stlinear import STLinear
from pathline.nn.macs import macs
from pathline.sims import simulate_roads

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pathline.data import Series

SENSORS, DAYS = 40, 21
LINEAR, GRAPH = "stlinear", "graph GRU"
IN_25_SECONDS = {LINEAR: 2000, GRAPH: 56}  # steps of 64 windows, one thread, bf16
EPOCHS, BUS_EPOCHS = 24, 2
ABLATIONS = {
    "without sensor vectors": {"node_width": 0},
    "without clock": {"time_width": 0, "day_width": 0},
    "without decomposition": {"kernel": 1},
}
STOP = {"validations": 12, "patience": 4}


class LinearLayersAreEnough(Claim):
    """On the flow at 40 sensors of a simulated city, STLinear has at most 1.03 times the mean absolute error of a graph
    recurrent network with learned graph (AGCRN, given the same clock), after the same time and after the same number of
    epochs, for at most 5 % of its multiply-accumulates; and each of its parts earns its place.
    """

    system = "stlinear"
    paper = "PeMS03/04/07/08: as accurate as the leading graph networks with over 95 % fewer MACs per epoch"
    metric, better = "mean absolute error over the hour [veh/h]; multiply-accumulates per epoch", "lower"
    require = (
        at_most(f"{LINEAR}, equal time", 1.03, f"{GRAPH}, equal time"),
        at_most(f"{LINEAR}, equal epochs", 1.03, f"{GRAPH}, equal epochs"),
        at_most(f"{LINEAR}, GMACs per epoch", 0.05, f"{GRAPH}, GMACs per epoch"),
        at_least("without sensor vectors", 0.99, f"{LINEAR}, equal epochs"),
        at_least("without clock", 1.03, f"{LINEAR}, equal epochs"),
        at_least("without decomposition", 0.99, f"{LINEAR}, equal epochs"),
    )

    def run(self, seed: int) -> dict[str, float]:
        record = simulate_roads(SENSORS, DAYS, seed)
        split = self.uses(record.series("flow")).split()
        near = record.near_incident()[-split.test.steps :]
        found: dict[str, float] = {}
        for name, arm in contestants(split, seed).items():
            arm.fit(split, steps(IN_25_SECONDS[name]), seed=seed, **STOP)
            found[f"{name}, equal time"] = float(arm.errors(split.test).mae())
        self.arms, self.test = contestants(split, seed), split.test
        for name, arm in self.arms.items():
            arm.fit(split, epochs(EPOCHS), seed=seed, **STOP)
            found[f"{name}, equal epochs"] = float(arm.errors(split.test).mae())
            found[f"{name}, near incidents"] = float(arm.errors(split.test, near).mae())
            found[f"{name}, GMACs per epoch"] = cost(arm, split.train)
        for name, without in ABLATIONS.items():
            arm = STLinear.seeded(split.train, seed, **without).fit(split, epochs(EPOCHS), seed=seed, **STOP)
            found[name] = float(arm.errors(split.test).mae())
        return found | self.buses(seed)

    def buses(self, seed: int) -> dict[str, float]:
        """A real network, reported and not required: passengers boarding at 675 stops of Montevideo, every hour."""
        split: Split[Series] = self.uses(load("montevideo-bus")).split()
        found = {}
        for name, arm in contestants(split, seed).items():
            arm.fit(split, epochs(BUS_EPOCHS), seed=seed, batch_size=16, **STOP)
            found[f"{name}, Montevideo"] = float(arm.errors(split.test).mae())
            found[f"{name}, Montevideo, GMACs per epoch"] = cost(arm, split.train)
        return found

    def picture(self) -> "Figure | None":
        from pathline.forecast.figures import draw

        return draw(self.arms, self.test)[0].picture


def contestants(split: "Split[Series]", seed: int) -> dict[str, Forecaster]:
    """Both networks at their published sizes, with the same clock."""
    return {
        LINEAR: STLinear.seeded(split.train, seed),
        GRAPH: AdaptiveGraphGRU.seeded(split.train, seed, time_width=16),
    }


def cost(arm: Forecaster, data: "Series") -> float:
    """10^9 multiply-accumulates of one pass forward over all windows of `data`."""
    window = data.gather(torch.arange(64))
    return macs(arm, window) / 64 * len(data) / 1e9

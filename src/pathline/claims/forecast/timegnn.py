"""TimeGNN recovers what smoothness cannot: a simulated signal against its prior, and real winters of the Pacific.

Both arms choose on the same tenth of what is seen, TimeGNN among three penalties, GraphTRSS among fifteen pairs of
strength and eps. Everything is measured at entries that nobody saw. Real sets of the paper are reported beside them:
there GraphTRSS is better. Low rank, reported too, is the reference where the signal is of low rank; on one seed in
three it diverges.
"""

from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from pathline.core.budget import steps
from pathline.core.claim import Claim, at_most
from pathline.data.container import Split
from pathline.data.graph_signal import GraphSignal
from pathline.data.sets import load
from pathline.forecast.recovery import Recoverer
from pathline.forecast.recovery_baselines import GraphTRSS, LowRank, NaturalNeighbours, NearestNeighbour
from pathline.forecast.timegnn import TimeGNN
from pathline.sims.graph_signals import rough_signal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DENSITIES = (0.3, 0.5, 0.7)
BUDGET = steps(300)
PENALTIES = (1e-3, 0.03, 0.3)
REPORTED = ("pm25-california", "sea-surface-temperature")  # at density 0.5
RIVALS: dict[str, type[Recoverer]] = {
    "graph-trss": GraphTRSS,
    "nearest-neighbour": NearestNeighbour,
    "natural-neighbours": NaturalNeighbours,
    "low-rank": LowRank,
}


class BeyondSmoothness(Claim):
    """In the mean over densities 0.3, 0.5 and 0.7, TimeGNN's error at unseen entries is at most 0.9 times that of the
    best-tuned GraphTRSS on a signal whose changes are not smooth on its graph, and on winter anomalies of the Pacific
    at most 1.05 times that of GraphTRSS and 0.9 times that of the nearest neighbour.
    """

    system = "timegnn"
    baselines = tuple(RIVALS)
    paper = "best or second-best RMSE, MAE and MAPE on synthetic signals, PM2.5, sea surface temperature and Intel-lab"
    metric, better = "root mean squared error at unseen entries, mean over densities", "lower"
    require = (
        at_most("timegnn, rough", 0.9, "graph-trss, rough"),
        at_most("timegnn, winters", 1.05, "graph-trss, winters"),
        at_most("timegnn, winters", 0.9, "nearest-neighbour, winters"),
    )

    def run(self, seed: int) -> dict[str, float]:
        signals = {"rough": rough_signal(seed=seed), "winters": load("pacific-winters")}
        found: dict[str, float] = {}
        for name, signal in signals.items():
            self.uses(signal)
            errors = [self.measure(replace(signal, density=density), seed) for density in DENSITIES]
            found |= {f"{arm}, {name}": fmean(error[arm] for error in errors) for arm in errors[0]}
            for density, error in zip(DENSITIES, errors, strict=True):
                found |= {f"{arm}, {name}, {density:g}": error[arm] for arm in ("timegnn", "graph-trss")}
        self.shown = self.arms, self.test  # the last winters
        for key in REPORTED:
            found |= {f"{arm}, {key}": error for arm, error in self.measure(self.uses(load(key)), seed).items()}
        return found

    def measure(self, signal: GraphSignal, seed: int) -> dict[str, float]:
        """The error of every arm at the entries that this density and seed hide."""
        split = signal.split(seed)
        self.arms: dict[str, Recoverer] = {"timegnn": tuned(split, seed)}
        self.arms |= {key: cls.for_data(split.train).fit(split) for key, cls in RIVALS.items()}
        self.test = split.test
        return {key: arm.evaluate(split.test)["RMSE"] for key, arm in self.arms.items()}

    def picture(self) -> "Figure | None":
        from pathline.forecast.recovery_pictures import draw_maps

        arms, test = self.shown
        shown = {key: arms[key] for key in ("timegnn", "graph-trss", "nearest-neighbour")}
        labelled = {f"{key} ({arm.evaluate(test)['RMSE']:.2f})": arm.recover(test) for key, arm in shown.items()}
        return draw_maps(labelled, test).picture


def tuned(split: Split[GraphSignal], seed: int) -> TimeGNN:
    """The best of the penalties on the validation part, which also picks the best weights of each."""
    arms = [TimeGNN.seeded(split.train, seed, penalty=penalty).fit(split, BUDGET, seed=seed) for penalty in PENALTIES]
    return min(arms, key=lambda arm: arm.score(split.validation))

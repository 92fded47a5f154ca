"""LTCLoad after network failures: a frozen liquid network against networks that are refitted, on the links struck most.

Every link has networks of its own, trained on the 14 days before its failure, the last 36 hours of which pick the best
weights, and read by the same sample stream. Errors are in units of the link's root mean square change from sample to
sample before the failure, over the first 200 samples after it. The very first of all is left out: nobody can foresee
the jump itself, and everybody's error there is the jump. Not so for convergence: its window of 20 samples holds the
jump, so 20 is the least there is, and the last value has it too. Within 200 samples b = 500 is never refitted, and b =
200 only before the last of them.

Incremental learning is given its best: of four batch sizes and two activations the arm that errs least, per seed. With
the usual ReLU, perceptrons err by tens of units while the jump is among their lags, for they extrapolate; with tanh
they do not. Options were chosen on other seeds: learning rates, the unit of changes, and the passes of a refit.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pathline.core.budget import steps
from pathline.core.claim import Claim, at_most, widest_within
from pathline.data import Series
from pathline.data.container import Split
from pathline.forecast.ltcload import LTCLoad
from pathline.forecast.stream_rivals import Autoregression, GatedLoad, Incremental, LagMLP
from pathline.forecast.streaming import HybridForecaster, StreamForecaster, time_to_convergence
from pathline.sims.link_loads import drift_cases

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINKS = 12
HELD, SHOWN = 432, 400  # samples before the failure that pick weights, and from which on streams are read
AFTER, WATCHED = 200, 576  # samples after the failure that are measured, and that are read
BUDGET = steps(250)
SIZES = (50, 100, 200, 500)
LIQUID = {"width": 24, "unfolds": 4, "reach": 8.0, "capacity": 1.0, "slowest": 30.0}
RIVAL = {"reach": 4.0, "capacity": 1.0}
REFIT = {"epochs": 20, "lr": 1e-3}
FIT = {"batch_size": 16, "validations": 6}


class WithoutRetraining(Claim):
    """On the 12 links of nobel-eu that a line failure strikes most, the frozen liquid network's error over the 200
    samples after the first is at most 0.9 times that of the best incremental learning, 0.8 times that of the static
    perceptron and 1.05 times that of the last value, and it converges no later than incremental learning with b = 100.
    """

    system = "ltcload"
    paper = (
        "under drastic shifts the liquid network has lower RMSE and converges faster than incremental learning; under "
        "moderate ones incremental learning with larger batches is better"
    )
    metric, better = "root mean squared error [usual changes before the failure]; samples to convergence", "lower"
    require = (
        at_most("ltcload, drastic", 0.9, "best incremental, drastic"),
        at_most("ltcload, drastic", 0.8, "static perceptron, drastic"),
        at_most("ltcload, drastic", 1.05, "last value, drastic"),
        at_most("ltcload, convergence", 1.0, "incremental b = 100, convergence"),
    )
    tried = (
        "Six of the links, seeds 100 and 101; error over the 200 samples in usual changes. Seed 100: last value 5.12, "
        "autoregression 16.2, perceptron with tanh 4.33 (unit of changes 1) and 4.24 (4); refitted every 50 samples, "
        "3.80 and 3.79. Liquid: 4.17 (unit 4, rate 5e-3), 4.19 (unit 1, rate 2e-2), 3.99 (unit 8, rate 2e-2), 3.90 "
        "(time constants from 1/2 to 30 samples too, which is used), 4.17 (two unfolds, 450 steps, rate 3e-2: better "
        "before the failure, worse after it); closed-form cell 4.09, gated unit 4.03; without the level among the "
        "inputs 4.18. On seed 101 and four links, perceptrons with ReLU err by 19.6 whatever the batch, for the jump "
        "is among their lags for twelve samples. So a frozen liquid network beats the last value and whatever "
        "extrapolates, but a perceptron that saturates survives the jump as well, and refitting it learns the steeper "
        "ramps of the new load, which no frozen network follows: the filter that is best against the noise of a small "
        "load is too slow for a large one."
    )

    def run(self, seed: int) -> dict[str, float]:
        cases = [drift_cases(kind, LINKS, seed) for kind in ("drastic", "moderate")]
        for case in cases:
            self.uses(case.series)
        self.told = self.streams([case.series for case in cases], cases[0].begin, seed)
        found: dict[str, float] = {}
        for kind, links in (("drastic", slice(0, LINKS)), ("moderate", slice(LINKS, None))):
            rows = {name: measure(told, self.test, self.usual, links) for name, told in self.told.items()}
            found |= {f"{name}, {kind}": row["RMSE"] for name, row in rows.items()}
            for best, begins in (("best incremental", "incremental"), ("static perceptron", "perceptron")):
                found[f"{best}, {kind}"] = min(row["RMSE"] for name, row in rows.items() if name.startswith(begins))
            if kind == "drastic":
                for what in ("convergence", "MAPE"):
                    found |= {f"{name}, {what}": row[what] for name, row in rows.items()}
        return found

    def streams(self, parts: "list[Series]", begin: int, seed: int) -> dict[str, Tensor]:
        """Forecasts (time, links) of every arm, one step ahead, from SHOWN samples before the failure on. The links of
        all parts are side by side, each with networks of its own."""
        series = replace(
            parts[0],
            values=torch.cat([part.values for part in parts], 1),
            observed=torch.cat([part.observed for part in parts], 1),
            nodes=tuple(name for part in parts for name in part.nodes),
        )
        train, validation = series.slice(0, begin - HELD), series.slice(begin - HELD, begin)
        self.test = series.slice(begin - SHOWN, begin + WATCHED)
        split = Split(train, validation, self.test)
        liquid = LTCLoad.seeded(train, seed, **LIQUID).fit(split, BUDGET, seed=seed, lr=2e-2, **FIT)
        count = liquid.parameter_count()
        self.usual = liquid.usual[:, 0] / LIQUID["reach"]

        def perceptron(width: int, activation: str) -> LagMLP:
            return LagMLP.seeded(train, seed, width=width, activation=activation, **RIVAL)

        def gated(width: int) -> GatedLoad:
            return GatedLoad.seeded(train, seed, width=width, **RIVAL)

        frozen: dict[str, StreamForecaster] = {
            "gated": gated(widest_within(count, gated)).fit(split, BUDGET, seed=seed, **FIT)
        }
        told = {"ltcload": liquid.stream(self.test)}
        for activation in ("relu", "tanh"):
            width = widest_within(count, lambda width, activation=activation: perceptron(width, activation))  # type: ignore[misc]
            network = frozen[f"perceptron, {activation}"] = perceptron(width, activation)
            assert 0.95 * count <= network.parameter_count() <= count
            network.fit(split, BUDGET, seed=seed, **FIT)
            for every in SIZES:
                name = f"incremental b = {every}" + (", relu" if activation == "relu" else "")
                told[name] = Incremental(network, every, **REFIT).stream(self.test, SHOWN)  # type: ignore[arg-type]
        frozen["autoregression"] = Autoregression.for_data(train, capacity=1.0)
        told |= {name: network.stream(self.test) for name, network in frozen.items()}
        refitted = Incremental(frozen["perceptron, tanh"], 50, **REFIT)  # type: ignore[arg-type]
        told["hybrid"] = HybridForecaster(liquid, refitted).stream(self.test)
        told["last value"] = torch.cat([self.test.values[:1], self.test.values[:-1]])
        return {name: forecast[..., 0] for name, forecast in told.items()}

    def picture(self) -> "Figure | None":
        from pathline.forecast.stream_pictures import draw_failure

        names = ("ltcload", "incremental b = 50", "incremental b = 50, relu", "perceptron, tanh", "last value")
        shown = {name: self.told[name][:, :LINKS] for name in names}
        test = replace(
            self.test,
            values=self.test.values[:, :LINKS],
            observed=self.test.observed[:, :LINKS],
            nodes=self.test.nodes[:LINKS],
        )
        return draw_failure(shown, test, SHOWN, self.usual[:LINKS])


def measure(told: Tensor, test: Series, usual: Tensor, links: slice) -> dict[str, float]:
    """told: (time, links).  RMSE and MAPE over the AFTER samples after the first, means over `links`; the median number
    of samples until the relative error stays under 1.2 times its mean before the failure, for the rest of two days."""
    truth, usual = test.values[:, links, 0], usual[links]
    error = (told[:, links] - truth).abs()
    after = slice(SHOWN + 1, SHOWN + 1 + AFTER)
    relative = error / truth
    return {
        "RMSE": float((error[after] / usual).square().mean(0).sqrt().mean()),
        "MAPE": 100 * float(relative[after].mean()),
        "convergence": float(time_to_convergence(relative, SHOWN).float().median()),
    }

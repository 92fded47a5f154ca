"""VGFM on simulated cells of which one fate divides and the other dies, and on cells simulated by dyngen.

Toggle-switch cultures of 2400 progenitors are measured at five times; a sixth of each is learned from (400 cells of
the first), a twenty-fourth picks the weights, the rest tests, and so does the whole culture at the middle time, which
nobody learns from. The measured masses are those of the whole cultures. Options (tau and the share of fitting; noise
and the decay of the learning rate, for all arms alike) were chosen on seeds 100 and 101, by their test parts; tau and
the share as they stand were never piloted together.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pathline.core.budget import steps
from pathline.core.claim import Claim, at_least, at_most
from pathline.data import Snapshots
from pathline.data.container import Split
from pathline.data.sets import load
from pathline.sims.cells import ToggleSwitch, simulated_cells
from pathline.transport.base import Transporter
from pathline.transport.rivals import OTCFM, GrowthOnly
from pathline.transport.vgfm import VGFM

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = 2000
PROGENITORS, LEARNED, PICKING = 2400, 6, 24  # one cell in so many is learned from, and picks the weights
MIDDLE = 2
OURS, MATCHED, BALANCED, STANDING = "vgfm", "vgfm, matching only", "OT-CFM", "growth only"


class WhereAndHowMany(Claim):
    """On a toggle switch of which one fate divides and the other dies, VGFM's weighted Wasserstein-1 distance is at
    most 0.7 times that of OT-CFM with the same networks and steps, at the held-out middle time and at the last; its
    masses are off by at most 8 percent (those of OT-CFM by 1 - 1 / M) and its growth has a rank correlation of at least
    0.8 with the true rate. Fitting distributions does not worsen the distance. On dyngen's cells the mean distance is
    at most OT-CFM's."""

    system, baselines = "vgfm", ("linear-transport",)
    paper = (
        "lower distribution error than ten other methods with and without growth, on synthetic and real single cells"
    )
    metric, better = "weighted Wasserstein-1 distance, pushed from the first snapshot", "lower"
    require = (
        at_most(f"{OURS}, held out", 0.7, f"{BALANCED}, held out"),
        at_most(f"{OURS}, last", 0.7, f"{BALANCED}, last"),
        at_most(f"{OURS}, mass error", 0.08),
        at_least(f"{OURS}, growth rank correlation", 0.8),
        at_most(f"{OURS}, all times", 1.0, f"{MATCHED}, all times"),
        at_most(f"{OURS}, dyngen", 1.0, f"{BALANCED}, dyngen"),
    )

    tried = (
        "On seeds 100 and 101: tau 0.5, 1 and 2 (1 brings the held-out ratio down and the rank correlation below "
        "0.8), fitting for 5 and 15 % of the steps, a smaller epsilon, pairs weighted by r^(s-1). The means are on "
        "the right side but for dyngen's; single seeds are not, where the populations of the test part are a few "
        "hundred cells."
    )

    def run(self, seed: int) -> dict[str, float]:
        self.split = shared_out(self.uses(simulated_cells(PROGENITORS, seed=seed)), seed)
        found: dict[str, float] = {}
        self.arms: dict[str, Transporter] = {}
        arms: tuple[tuple[str, type[VGFM], dict[str, float]], ...] = (
            (OURS, VGFM, {}),
            (MATCHED, VGFM, {"fitting": 0.0}),
            (BALANCED, OTCFM, {}),
            (STANDING, GrowthOnly, {"fitting": 0.0}),
        )
        for name, kind, options in arms:
            arm = kind.seeded(self.split.train, seed, **options).fit(self.split, steps(STEPS), seed=seed)
            found |= {f"{name}, {what}": value for what, value in measure(arm, self.split.test).items()}
            self.arms[name] = arm
        dyngen = self.uses(load("single-cell-simulated")).split(seed)
        for name, kind, options in (arms[0], arms[2]):
            arm = kind.seeded(dyngen.train, seed, **options).fit(dyngen, steps(STEPS), seed=seed)
            rows = arm.by_time(dyngen.test)
            found[f"{name}, dyngen"] = sum(row["w1"] for row in rows) / len(rows)
        return found

    def picture(self) -> "Figure":
        from pathline.transport.pictures import populations_picture

        return populations_picture({name: self.arms[name] for name in (OURS, BALANCED)}, self.split.test)


def shared_out(data: Snapshots, seed: int) -> Split[Snapshots]:
    """Cells of every culture at random; all of the middle one in the test part."""
    generator = torch.Generator().manual_seed(seed)
    parts: tuple[list[Tensor], ...] = ([], [], [])
    for k, count in enumerate(data.counts.tolist()):
        cells = torch.nonzero(data.snapshot == k).flatten()[torch.randperm(count, generator=generator)]
        learned, picking = (0, 0) if k == MIDDLE else (count // LEARNED, count // PICKING)
        for part, chosen in zip(parts, cells.split([learned, picking, count - learned - picking]), strict=True):
            part.append(chosen)
    return Split(*(data.take(torch.cat(part)) for part in parts))


def measure(arm: Transporter, test: Snapshots) -> dict[str, float]:
    """Distances, the mean error of the masses, and how well the growth at all test cells is ranked."""
    from scipy.stats import spearmanr

    rows = arm.by_time(test)
    growth = torch.cat([arm.growth(test.population(k), float(t)) for k, t in enumerate(test.times)])
    true = torch.cat([ToggleSwitch().growth(test.population(k).double()) for k in range(len(test.times))])
    varies = bool(growth.std() > 0)
    return {
        "held out": next(row["w1"] for row in rows if not row["learned"]),
        "last": rows[-1]["w1"],
        "all times": sum(row["w1"] for row in rows) / len(rows),
        "mass error": sum(row["mass_error"] for row in rows) / len(rows),
        "growth rank correlation": float(spearmanr(growth.numpy(), true.numpy())[0]) if varies else 0.0,
    }

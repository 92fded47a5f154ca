"""The claim of TGNv2: messages that say who sent and who received let a temporal graph network learn habits.

Both networks have the same sizes (but for the encoding itself), steps, learning rate and decoder; the best weights are
those with the best NDCG on the validation part. Options were chosen on pilot seeds on the validation part.
"""

from typing import TYPE_CHECKING, Any

from pathline.core.budget import steps
from pathline.core.claim import Claim, at_least
from pathline.data.sets import load
from pathline.events.affinity import AffinityModel, ndcg
from pathline.events.affinity_baselines import LabelAverage, LabelPersistence, MessageAverage, Popularity
from pathline.events.tgnv2 import TGNv2
from pathline.sims.event_streams import drifting_preferences

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = 1500
WHO, PLAIN, AVERAGE = "TGNv2", "TGN", "moving average"
OPTIONS: dict[str, Any] = {"aggregate": "mean", "neighbours": 20}
HEURISTICS: dict[str, type[AffinityModel]] = {
    AVERAGE: LabelAverage,
    "persistence": LabelPersistence,
    "moving average of messages": MessageAverage,
    "popularity": Popularity,
}


class SourceAndTarget(Claim):
    """NDCG@10 of the next period's partners: TGNv2 is at least 0.10 above a TGN on sources whose tastes drift, and at
    most 0.10 below a moving average there; and at least 0.03 above a TGN on a hospital's contacts in the next hour."""

    system = "tgnv2"
    paper = (
        "better than TGN and all other temporal graph models on the four node-affinity sets of TGB: on tgbn-trade "
        "about 0.735 against 0.374, on tgbn-reddit about 0.507 against 0.315 (numbers from memory)"
    )
    metric, better = "NDCG@10", "higher"
    require = (
        at_least(f"{WHO}, drifting", 1, f"{PLAIN}, drifting", plus=0.10),
        at_least(f"{WHO}, drifting", 1, f"{AVERAGE}, drifting", plus=-0.10),
        at_least(f"{WHO}, hospital", 1, f"{PLAIN}, hospital", plus=0.03),
    )

    tried = (
        "The gap to the moving average is too wide. On pilot seeds 100 and 101, on the validation part of the "
        "drifting sources (moving average 0.694 and 0.656): 10, 20, 30 and 40 neighbours; the last message and the "
        "mean; unit vectors instead of waves; dropout 0 to 0.4; weight decay up to 1; learning rates from 0.002 to "
        "0.01; widths of 128; 400 to 2,400 steps: 0.34 to 0.61 on the one, 0.45 to 0.55 on the other. Asking three "
        "times in a period, at shifting times, helped most (0.57 to 0.61): with one question a period the network "
        "learns the tastes of the training periods by heart. Options were chosen for TGNv2; TGN got the same ones. "
        "On the hospital's contacts both networks (0.228 and 0.190) are below popularity (0.246) and far below "
        "persistence (0.426): the margin there is one between two weak models."
    )

    def run(self, seed: int) -> dict[str, float]:
        found: dict[str, float] = {}
        self.answers: dict[str, dict[str, Any]] = {}
        for name, data in (
            ("drifting", drifting_preferences(seed=seed)),
            ("hospital", self.uses(load("hospital-hours"))),
        ):
            parts = data.split()
            arms: dict[str, AffinityModel] = {
                WHO: TGNv2.seeded(parts.train, seed, **OPTIONS),
                PLAIN: TGNv2.seeded(parts.train, seed, idx_dim=-1, **OPTIONS),
            }
            for model in arms.values():
                model.fit(parts, steps(STEPS), seed=seed, precision="fp32")
            arms |= {key: cls.for_data(parts.train) for key, cls in HEURISTICS.items()}
            self.answers[name] = {}
            for arm, model in arms.items():
                said, true = model.answers(parts.test)
                found[f"{arm}, {name}"] = float(ndcg(said, true).mean())
                self.answers[name] |= {arm: said, "true": true}
        return found

    def picture(self) -> "Figure":
        from pathline.events.affinity_pictures import shares

        return shares(self.answers["drifting"])

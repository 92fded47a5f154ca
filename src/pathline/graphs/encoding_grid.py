"""The benchmark's protocol: every encoding on every network, of equal size, on equal terms; ranks and gains over none.

    gain(model, encoding) = score(model, encoding) - score(model, none), paired by data and seed, with the interval that
    Student's t gives the mean over seeds of its mean over data
Networks of one grid are the widest with at most `parameters` weights, those that read an encoding included. Scores
are accuracies, or negative mean absolute errors where numbers are answered: higher is better.
"""

from collections.abc import Sequence
from math import sqrt
from typing import TYPE_CHECKING, Any

from pathline.core.budget import Budget
from pathline.core.errors import MethodError
from pathline.data.container import Split
from pathline.graphs.pebench import PEBench

if TYPE_CHECKING:
    import pandas as pd


def widest(data: Any, parameters: int, **config: Any) -> int:
    """The largest width, a multiple of the heads, whose network has at most `parameters` weights."""
    heads: int = config.get("heads", 4)
    width = 2 * heads if heads >= 4 else 8
    while PEBench.for_data(data, width=width + heads, **config).parameter_count() <= parameters:
        width += heads
    if PEBench.for_data(data, width=width, **config).parameter_count() > parameters:
        raise MethodError(f"no {config.get('model', 'network')} has at most {parameters} weights; allow more")
    return width


def run_grid(
    name: str,
    split: Split[Any],
    models: dict[str, dict[str, Any]],
    encodings: dict[str, dict[str, Any]],
    seed: int,
    parameters: int,
    budget: Budget,
    **recipe: Any,
) -> "pd.DataFrame":
    """A row for every model and encoding: data, model, encoding, seed, score on the test part, watched on the
    validation part, weights, width, and pairs listed for the training part.

    models, encodings: further settings of each, by name
    """
    import pandas as pd

    rows = []
    for model, shape in models.items():
        for encoding, details in encodings.items():
            config = {"model": model, "encoding": encoding, **shape, **details}
            width = widest(split.train, parameters, **config)
            method = PEBench.seeded(split.train, seed, width=width, **config)
            method.fit(split, budget, seed=seed, **recipe)
            sign = -1.0 if method.wants == "lower" else 1.0
            rows.append(
                {
                    "data": name,
                    "model": model,
                    "encoding": encoding,
                    "seed": seed,
                    "score": sign * method.score(split.test),
                    "watched": sign * method.score(split.validation),
                    "weights": method.parameter_count(),
                    "width": width,
                    "pairs": method.prepared(split.train).edge_index.shape[1],
                }
            )
    return pd.DataFrame(rows)


def rank_table(grid: "pd.DataFrame", by: Sequence[str] = ("model", "encoding")) -> "pd.DataFrame":
    """The rank of every combination on each data set by its mean over seeds (1 is best, ties share), and the mean rank;
    best first."""
    mean = grid.groupby([*by, "data"])["score"].mean().unstack("data")
    ranks = mean.rank(ascending=False)
    ranks["mean rank"] = ranks.mean(axis=1)
    return ranks.sort_values("mean rank")


def gain_table(grid: "pd.DataFrame", confidence: float = 0.95, base: str = "none") -> "pd.DataFrame":
    """What each encoding adds to `base` for each model: gain, low and high; an interval needs at least two seeds."""
    import pandas as pd
    from scipy.stats import t

    score = grid.set_index(["model", "encoding", "data", "seed"])["score"]
    rows = []
    for (model, encoding), mine in score.groupby(level=["model", "encoding"]):
        if encoding == base:
            continue
        paired = mine.droplevel(["model", "encoding"]) - score[model, base]
        each = paired.groupby(level="seed").mean()
        spread = each.std() / sqrt(len(each)) if len(each) > 1 else float("nan")
        reach = float(t.ppf((1 + confidence) / 2, max(1, len(each) - 1))) * spread
        gain = float(each.mean())
        rows.append((model, encoding, gain, gain - reach, gain + reach))
    return pd.DataFrame(rows, columns=["model", "encoding", "gain", "low", "high"])

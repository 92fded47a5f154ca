"""The protocol: networks of equal size, ranks, and gains with their intervals."""

import pandas as pd
import pytest

from pathline.core.budget import Budget
from pathline.core.errors import MethodError
from pathline.core.tiny_graphs import tiny_graph_classes, tiny_graph_numbers
from pathline.graphs.encoding_grid import gain_table, rank_table, run_grid, widest
from pathline.graphs.pebench import PEBench


def test_networks_are_as_wide_as_their_weights_allow():
    data = tiny_graph_classes().split().train
    for config in ({"model": "gin"}, {"model": "grit", "encoding": "rwse", "layers": 2}):
        width = widest(data, 12_000, **config)
        assert PEBench.for_data(data, width=width, **config).parameter_count() <= 12_000
        assert PEBench.for_data(data, width=width + 4, **config).parameter_count() > 12_000
    with pytest.raises(MethodError, match="at most 50 weights"):
        widest(data, 50, model="gin")


def test_a_grid_has_every_combination_once_and_lower_errors_score_higher():
    models, encodings = {"gin": {"layers": 2}, "sparse-grit": {"layers": 1}}, {"none": {}, "rwse": {"k": 4}}
    for tiny, sign in ((tiny_graph_classes, 1), (tiny_graph_numbers, -1)):
        split = tiny().split()
        grid = run_grid("tiny", split, models, encodings, 0, 6000, Budget(steps=2), batch_size=8)
        assert sorted(zip(grid["model"], grid["encoding"], strict=True)) == sorted(
            (model, encoding) for model in models for encoding in encodings
        )
        assert bool((sign * grid["score"] >= 0).all())
        assert bool((grid["weights"] <= 6000).all())
        pairs = grid.set_index("model")["pairs"]
        assert pairs["gin"].tolist() == pairs["sparse-grit"].tolist()


def known():
    """Two data sets, two seeds; an encoding that adds 0.1 and 0.3 on one of them, and one that ruins the other."""
    rows = [("a", "gin", "none", seed, 0.5) for seed in (0, 1)] + [("b", "gin", "none", seed, 0.6) for seed in (0, 1)]
    rows += [("a", "gin", "rwse", 0, 0.6), ("a", "gin", "rwse", 1, 0.8)]
    rows += [("b", "gin", "rwse", seed, 0.6) for seed in (0, 1)]
    rows += [("a", "gin", "wl", seed, 0.5) for seed in (0, 1)] + [("b", "gin", "wl", seed, 0.2) for seed in (0, 1)]
    return pd.DataFrame(rows, columns=["data", "model", "encoding", "seed", "score"])


def test_ranks_are_by_data_set_and_ties_share_them():
    ranks = rank_table(known())
    assert ranks.loc[("gin", "rwse")].tolist() == [1.0, 1.5, 1.25]
    assert ranks.loc[("gin", "none")].tolist() == [2.5, 1.5, 2.0]
    assert list(ranks.index)[-1] == ("gin", "wl")


def test_gains_are_paired_and_their_intervals_are_those_of_students_t():
    gains = gain_table(known()).set_index("encoding")
    assert abs(gains.loc["rwse", "gain"] - 0.1) < 1e-12  # 0.05 with one seed and 0.15 with the other
    assert abs(gains.loc["rwse", "high"] - (0.1 + 12.7062 * 0.05)) < 1e-4
    assert gains.loc["wl", "low"] == pytest.approx(-0.2) == gains.loc["wl", "high"]
    assert "none" not in gains.index

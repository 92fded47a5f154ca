"""The task of recovery: baselines, protocols, what is asked for, tables and pictures."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import pathline as pl
from pathline.core.budget import steps
from pathline.core.compare import compare
from pathline.core.errors import DataError
from pathline.core.tiny import tiny_series, tiny_signal
from pathline.data import GraphSignal, signal_of_series
from pathline.forecast.recovery import Recoverer, alike, signal_graph
from pathline.forecast.recovery_baselines import (
    BASELINES,
    GraphTRSS,
    LowRank,
    NaturalNeighbours,
    NearestNeighbour,
    ridge_rows,
)
from pathline.forecast.timegnn import TimeGNN
from pathline.graph.sobolev import Sobolev, smoothest, smoothness

SMALL = {"wide": 8, "narrow": 4, "order": 3}
ALL = pytest.mark.parametrize("cls", [TimeGNN, *BASELINES], ids=lambda cls: cls.__name__)


@pytest.fixture(scope="module")
def signal() -> GraphSignal:
    return tiny_signal()


@pytest.fixture(scope="module")
def split(signal):
    return signal.split(1)


def built(cls, data):
    return cls.seeded(data, 0, **(SMALL if cls is TimeGNN else {}))


# -- baselines --------------------------------------------------------------------------------------------------------


def test_smoothness_is_solved_with_what_the_validation_part_chose(split):
    method = GraphTRSS.for_data(split.train).fit(split)
    tried = {}
    for strength in GraphTRSS.choices["strength"]:
        for eps in GraphTRSS.choices["eps"]:
            sobolev = Sobolev(split.train.adjacency.double(), eps)
            found = smoothest(split.validation.values, split.validation.seen, sobolev, strength)
            error = (found - split.validation.values)[split.validation.asked]
            tried[strength, eps] = error.square().mean().item()
    assert (method.setting("strength"), method.setting("eps")) == min(tried, key=tried.get)
    assert smoothness(method.fill(split.test), Sobolev(split.train.adjacency.double(), 0.1)) > 0


def test_low_rank_finds_a_matrix_of_low_rank():
    generator = torch.Generator().manual_seed(0)
    exact = torch.randn(30, 2, generator=generator) @ torch.randn(2, 40, generator=generator)
    data = GraphSignal(values=exact + 5, seen=torch.ones(30, 40, dtype=torch.bool), density=0.6).split(0)
    method = LowRank.for_data(data.train).fit(data)
    assert method.evaluate(data.test)["unexplained variance"] < 0.01
    basis = torch.randn(40, 3, dtype=torch.float64, generator=generator)
    seen = (torch.rand(30, 40, generator=generator) < 0.5).double()
    rows = ridge_rows(exact.double(), seen, basis, 0.3)
    known = seen[4] > 0
    alone = basis[known]
    expected = torch.linalg.solve(alone.T @ alone + 0.3 * torch.eye(3), alone.T @ exact[4, known].double())
    torch.testing.assert_close(rows[4], expected)


def test_neighbours_are_those_of_the_map_or_of_the_graph(split):
    on_map = NearestNeighbour.for_data(split.train).recover(split.test)
    along = NearestNeighbour.for_data(replace(split.train, positions=None)).recover(replace(split.test, positions=None))
    assert on_map.isfinite().all() and along.isfinite().all()
    node, step = split.test.asked.nonzero()[0].tolist()
    both = [(node - 1) % 10, (node + 1) % 10]
    near = [split.test.values[n, step] for n in both if split.test.seen[n, step]]
    assert not near or any(torch.isclose(on_map[node, step], value) for value in near)
    flat = NaturalNeighbours.for_data(replace(split.train, positions=None)).recover(replace(split.test, positions=None))
    assert torch.equal(flat, along)


def test_without_graph_and_map_those_are_neighbours_that_are_seen_to_go_alike(signal, split):
    whole = alike(signal, 2)
    assert torch.equal(whole, whole.T) and torch.equal(whole > 0, signal.adjacency > 0)
    found = alike(split.train, 2)
    node, other = (found > 0).nonzero()[0].tolist()
    both = split.train.seen[node] & split.train.seen[other]
    apart = [split.train.values[n] - split.train.values[n][split.train.seen[n]].mean() for n in (node, other)]
    expected = (apart[0] * apart[1])[both].sum() / (
        apart[0][both].square().sum() * apart[1][both].square().sum()
    ).sqrt()
    torch.testing.assert_close(found[node, other], expected)
    assert torch.equal(signal_graph(replace(split.train, adjacency=None, positions=None), 2), found)


# -- protocols --------------------------------------------------------------------------------------------------------


def test_protocols_hide_entries_snapshots_or_the_future(signal):
    gap = signal.seen.clone()
    gap[0, :8] = False
    data = replace(signal, seen=gap)
    entries = replace(data, density=0.4).split(3)
    per_time = entries.test.seen.sum(0)
    assert torch.equal(per_time, (0.4 * gap.sum(0)).round().long()) and not (entries.test.known & ~gap).any()
    snapshots = replace(data, density=0.4, protocol="snapshots").split(3)
    whole = snapshots.test.seen.any(0)
    assert whole.sum() == 10 and torch.equal(snapshots.test.seen, gap & whole)
    assert not (snapshots.validation.asked.any(0) & snapshots.validation.seen.any(0)).any()
    future = replace(data, density=0.75, protocol="forecast").split(3)
    assert future.test.seen[1].tolist() == [True] * 18 + [False] * 6
    assert future.validation.asked[1].nonzero().min() > future.train.seen[1].nonzero().max()
    assert not torch.equal(entries.test.seen, replace(data, density=0.4).split(4).test.seen)
    assert torch.equal(entries.test.seen, replace(data, density=0.4).split(3).test.seen)


@ALL
@pytest.mark.parametrize("protocol", ["snapshots", "forecast"])
def test_every_method_recovers_whole_snapshots_and_futures(cls, protocol, signal):
    data = replace(signal, protocol=protocol, density=0.7).split(0)
    method = built(cls, data.train)
    found = method.recover(data.test)
    assert found.isfinite().all() and torch.equal(found[data.test.seen], data.test.values[data.test.seen])


def test_metrics_are_of_the_entries_that_are_asked_for(split):
    method = built(GraphTRSS, split.train)
    found = method.recover(split.test).numpy()
    asked = split.test.asked.numpy()
    error = (found - split.test.values.numpy())[asked]
    metrics = method.evaluate(split.test)
    assert metrics["RMSE"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
    assert metrics["MAE"] == pytest.approx(np.abs(error).mean(), rel=1e-5)
    assert metrics["unexplained variance"] == pytest.approx(
        (error**2).mean() / split.test.values.numpy()[asked].var(), rel=1e-4
    )


def test_wrong_signals_are_named(signal):
    with pytest.raises(DataError, match="protocol 'rows'; choose entries"):
        replace(signal, protocol="rows")
    with pytest.raises(DataError, match=r"density is 1\.5"):
        replace(signal, density=1.5)
    with pytest.raises(DataError, match="entry 0, 0 is both"):
        replace(signal, asked=signal.seen)
    with pytest.raises(DataError, match=r"the graph has shape \(9, 10\)"):
        replace(signal, adjacency=signal.adjacency[:9])
    with pytest.raises(DataError, match="no entry is hidden"):
        replace(
            signal,
            values=signal.values[:2],
            seen=signal.seen[:2],
            asked=None,
            adjacency=None,
            positions=None,
            nodes=(),
            density=0.9,
        ).split()
    two = replace(
        tiny_series(),
        values=tiny_series().values.repeat(1, 1, 2),
        observed=tiny_series().observed.repeat(1, 1, 2),
        channels=("a", "b"),
    )
    with pytest.raises(DataError, match="2 channels, a, b"):
        signal_of_series(two)


# -- the frame --------------------------------------------------------------------------------------------------------


def test_methods_of_the_two_tasks_are_never_ranked_together(signal):
    board = compare(None, replace(signal, name="ring"), room="forecast", budget=steps(2))
    keys = {arm.key for arm in board.arms}
    assert keys == {"timegnn", "nearest-neighbour", "natural-neighbours", "graph-trss", "low-rank"}
    assert board.naive == "nearest-neighbour" and board.metrics[0] == "RMSE"
    assert all(issubclass(type(model), Recoverer) for model in board.models.values())
    with pytest.raises(DataError, match="LTCLoad learns from Series"):
        compare(["ltcload"], signal)
    with pytest.raises(DataError, match="TimeGNN learns from GraphSignal"):
        compare(["timegnn"], tiny_series())


def test_a_table_with_gaps_is_recovered_when_it_is_asked_for(tmp_path, signal):
    table = pd.DataFrame(signal.values.T.numpy(), columns=[f"n{i}" for i in range(10)])
    table = table.mask(np.random.default_rng(0).random(table.shape) < 0.3)
    table.insert(0, "time", pd.date_range("2024-01-01", periods=24, freq="h"))
    path = tmp_path / "gaps.csv"
    table.to_csv(path, index=False)
    assert type(pl.read(path, room="forecast")).__name__ == "Series"
    data = pl.read(path, room="forecast", task="recover", density=0.8)
    assert isinstance(data, GraphSignal) and data.density == 0.8 and data.values.shape == (10, 24)
    assert torch.equal(data.seen, torch.tensor(table.iloc[:, 1:].notna().to_numpy().T))
    filled = LowRank.for_data(data).fit(data).predict(data)
    assert not filled.isna().any().any() and list(filled.columns) == list(table.columns)
    there = table.iloc[:, 1:].notna().to_numpy()
    np.testing.assert_allclose(filled.iloc[:, 1:].to_numpy()[there], table.iloc[:, 1:].to_numpy()[there], rtol=1e-5)
    with pytest.raises(DataError, match="--density hides entries"):
        pl.read(path, room="forecast", density=0.8)


def test_figures_show_the_map_and_the_courses(split):
    arms = {"timegnn": built(TimeGNN, split.train), "smooth": built(GraphTRSS, split.train)}
    figures = TimeGNN.figures(arms, split.test)
    assert [figure.title for figure in figures] == ["Recovered maps", "Recovered courses"]
    assert len(TimeGNN.figures(arms, replace(split.test, positions=None))) == 1


def test_the_settings_of_the_smoothest_signal_reach_its_solver(split):
    method = GraphTRSS.for_data(split.train, in_time=0.0, beta=2.0)
    smooth = Sobolev(split.train.adjacency.double(), method.setting("eps"), 2.0)
    seen, values = split.test.seen, split.test.values.double()
    expected = smoothest(values, seen, smooth, method.setting("strength"), in_time=False)
    assert torch.allclose(method.fill(split.test).double(), expected, atol=1e-4)
    assert not torch.allclose(GraphTRSS.for_data(split.train, beta=2.0).fill(split.test).double(), expected, atol=1e-2)

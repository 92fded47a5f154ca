"""TimeGNN and the task of recovery: cascades, equivariance, what is seen and what is not, baselines, tasks."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import pathline as pl
from pathline.core.budget import steps
from pathline.core.compare import compare
from pathline.core.errors import DataError, MethodError
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
from pathline.forecast.timegnn import Cascade, TimeGNN
from pathline.graph.adjacency import scaled_laplacian
from pathline.graph.sobolev import Sobolev, smoothest, smoothness
from pathline.nn.chebyshev import ChebyshevFilter
from pathline.sims.graph_signals import rough_signal

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


# -- the cascade ------------------------------------------------------------------------------------------------------


def graph(nodes: int = 7) -> torch.Tensor:
    weights = torch.rand(nodes, nodes, generator=torch.Generator().manual_seed(0))
    return scaled_laplacian((weights + weights.T).fill_diagonal_(0.0))


def test_a_cascade_of_order_one_is_a_linear_map_of_each_node():
    torch.manual_seed(0)
    cascade, x, matrix = Cascade(5, 4, 1, activation=None), torch.randn(2, 7, 5), graph()
    only = cascade.filters[0]
    torch.testing.assert_close(cascade(x, matrix), x @ only.weight[0] + only.bias)
    moved = x.clone()
    moved[:, 3] += 1
    changed = (cascade(moved, matrix) - cascade(x, matrix)).abs().sum((0, 2)) > 1e-6
    assert changed.tolist() == [False, False, False, True, False, False, False]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_with_all_weight_on_one_branch_a_cascade_is_the_chebyshev_filter(order):
    torch.manual_seed(0)
    cascade, x, matrix = Cascade(5, 4, 4, activation=None), torch.randn(2, 7, 5), graph()
    with torch.no_grad():
        cascade.mixing.copy_(torch.eye(4)[order - 1])
    alone = ChebyshevFilter(5, 4, order, bias=True)
    alone.load_state_dict(cascade.filters[order - 1].state_dict())
    torch.testing.assert_close(cascade(x, matrix), alone(x, matrix))
    values, vectors = torch.linalg.eigh(matrix)
    polynomials = torch.stack([torch.cos(k * values.clamp(-1, 1).arccos()) for k in range(order)])
    spectral = sum(vectors @ (polynomials[k][:, None] * (vectors.T @ x)) @ alone.weight[k] for k in range(order))
    torch.testing.assert_close(cascade(x, matrix), spectral + alone.bias, atol=1e-4, rtol=1e-4)


def test_a_cascade_mixes_its_branches_after_their_activation():
    torch.manual_seed(0)
    cascade, x, matrix = Cascade(5, 4, 3), torch.randn(2, 7, 5), graph()
    with torch.no_grad():
        cascade.mixing.normal_()
    expected = sum(
        mu * torch.relu(filter_(x, matrix)) for mu, filter_ in zip(cascade.mixing, cascade.filters, strict=True)
    )
    torch.testing.assert_close(cascade(x, matrix), expected)


def test_permuting_the_nodes_permutes_the_answer(split):
    method = built(TimeGNN, split.train)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))

    def permuted(data):
        assert data.asked is not None
        fields = {name: getattr(data, name)[order] for name in ("values", "seen", "asked", "positions")}
        return replace(data, **fields, adjacency=data.adjacency[order][:, order])

    other = built(TimeGNN, permuted(split.train))
    weights = dict(method.named_parameters())
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            parameter.copy_(weights[name])
    found = method.fill(split.test)
    assert (other.fill(permuted(split.test)) - found[order]).abs().max() < 1e-5
    assert (found[order] - found).abs().max() > 1e-3


# -- the loss ---------------------------------------------------------------------------------------------------------


def test_the_loss_is_the_error_at_what_is_seen_plus_the_trace(split):
    method = built(TimeGNN, split.train)
    method.hidden = 0.0
    batch = next(method.batches(split.train, 4, torch.Generator().manual_seed(0)))
    filled = method.network(batch.values, batch.seen)
    seen = split.train.seen
    standard = (split.train.values - method.mean) / method.deviation
    fit = (filled[0] - standard)[seen].square().mean()
    D = torch.eye(24).diff(dim=0).T
    L = Sobolev(signal_graph(split.train), method.eps).dense()
    trace = torch.trace((filled[0] @ D).T @ L @ filled[0] @ D) / (10 * 24)
    terms = method.loss(batch)
    torch.testing.assert_close(terms["loss"], fit + method.penalty * trace)
    torch.testing.assert_close(terms["roughness"], trace.detach())


def test_each_step_hides_its_share_from_the_network_but_asks_for_all(split, monkeypatch):
    method = built(TimeGNN, split.train)
    batch = next(method.batches(split.train, 4, torch.Generator().manual_seed(0)))
    shown = []
    original = method.network

    def network(values, seen):
        shown.append(seen)
        return original(values, seen)

    monkeypatch.setattr(method, "network", network)
    torch.manual_seed(0)
    for _ in range(40):
        method.loss(batch)
    share = torch.stack(shown).float().sum() / (40 * batch.seen.sum())
    assert not torch.equal(shown[0], shown[1]) and all((seen & ~batch.seen).sum() == 0 for seen in shown)
    assert share.item() == pytest.approx(0.8, abs=0.03)


@ALL
def test_what_was_not_seen_changes_no_bit_of_the_answer(cls, signal, split):
    def answers(changed):
        own = changed.split(1)
        assert torch.equal(own.train.seen, split.train.seen)
        options = {} if not cls.trains else {"budget": steps(3)}
        method = built(cls, own.train).fit(own.train, seed=0, **options)
        return method.recover(replace(own.test, asked=None))

    junk = torch.where(split.test.seen, signal.values, 1e3 * torch.rand(10, 24))
    assert torch.equal(answers(signal), answers(replace(signal, values=junk)))


def test_validation_entries_are_seen_by_the_test_part_only(signal, split):
    train, validation, test = split.train, split.validation, split.test
    assert torch.equal(train.seen, validation.seen) and not (train.seen & validation.asked).any()
    assert torch.equal(test.seen, train.seen | validation.asked)
    assert torch.equal(test.seen ^ test.asked, signal.seen) and not (test.seen & test.asked).any()
    hidden = torch.where(train.seen, signal.values, 77.0)
    method = built(TimeGNN, replace(train, values=hidden))
    assert torch.equal(method.mean, built(TimeGNN, train).mean)  # statistics are of what is seen alone


# -- windows, nodes without values ------------------------------------------------------------------------------------


def test_long_signals_are_cut_into_windows_that_cover_them():
    data = rough_signal(nodes=20, steps=50, seed=0).split(0)
    method = TimeGNN.seeded(data.train, 0, **SMALL, window=20)
    assert method.starts().tolist() == [0, 20, 30] and method.epoch_length(data.train, 2) == 2
    standard = (data.test.values - method.mean) / method.deviation
    expected = method.network(standard[None, :, 30:50], data.test.seen[None, :, 30:50])[0]
    torch.testing.assert_close(method.fill(data.test)[:, 30:], expected * method.deviation + method.mean)
    shapes = [batch.values.shape for batch in method.batches(data.train, 2, torch.Generator().manual_seed(0))]
    assert shapes == [(2, 20, 20), (1, 20, 20)]


def test_a_node_that_was_never_seen_takes_the_level_of_all(split):
    seen = split.train.seen.clone()
    seen[4] = False
    method = built(TimeGNN, replace(split.train, seen=seen))
    values = split.train.values[seen]
    torch.testing.assert_close(method.mean[4, 0], values.mean())
    torch.testing.assert_close(method.deviation[4, 0], values.std(correction=0))
    assert method.recover(replace(split.test, seen=seen & split.test.seen, asked=None)).isfinite().all()


def test_what_it_reads_are_differences_unless_it_is_told(split):
    method = built(TimeGNN, split.train)
    values, seen = torch.randn(1, 10, 24), torch.ones(1, 10, 24, dtype=torch.bool)
    torch.testing.assert_close(method.network(values + 3.0, seen), method.network(values, seen), atol=1e-5, rtol=1e-4)
    other = TimeGNN.seeded(split.train, 0, **SMALL, on="values")
    assert not torch.allclose(other.network(values + 3.0, seen), other.network(values, seen), atol=1e-2)


def test_wrong_settings_are_refused(split):
    for wrong in ({"hidden": 1.0}, {"penalty": -1.0}, {"on": "both"}, {"window": 1}):
        with pytest.raises(MethodError):
            TimeGNN.for_data(split.train, **wrong)
    method = built(TimeGNN, split.train)
    with pytest.raises(DataError, match="10 nodes and 23 times, but TimeGNN was built for 10 and 24"):
        method.recover(replace(split.test, values=split.test.values[:, 1:], seen=split.test.seen[:, 1:], asked=None))


def test_it_beats_smoothness_where_changes_are_not_smooth():
    data = rough_signal(nodes=60, steps=80, seed=7, density=0.6).split(7)
    method = TimeGNN.seeded(data.train, 0, wide=32, narrow=16).fit(data, steps(150), seed=0)
    smooth = GraphTRSS.for_data(data.train).fit(data)
    assert method.evaluate(data.test)["RMSE"] < 0.9 * smooth.evaluate(data.test)["RMSE"]


def test_the_rough_signal_is_of_low_rank_and_half_rough():
    data = rough_signal(nodes=40, steps=120, seed=0, noise=0.0)
    assert torch.linalg.matrix_rank(data.values.double(), rtol=1e-4) == 5
    assert 0.7 < data.values.std() < 1.5
    values, vectors = torch.linalg.eigh(torch.diag(data.adjacency.sum(1)) - data.adjacency)
    energy = (vectors.T @ data.values.diff(dim=1)).square().sum(1)
    assert 0.3 < energy[20:].sum() / energy.sum() < 0.7 and values[0].abs() < 1e-5


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


def test_dropout_acts_in_training_only(split):
    method = TimeGNN.for_data(split.train, dropout=0.5)
    values, seen = split.test.values[None], split.test.seen[None]
    method.train()
    assert not torch.equal(method.network(values, seen), method.network(values, seen))
    method.eval()
    assert torch.equal(method.network(values, seen), method.network(values, seen))

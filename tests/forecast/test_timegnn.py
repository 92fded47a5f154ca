"""TimeGNN and the task of recovery: cascades, equivariance, what is seen and what is not, baselines, tasks."""

from dataclasses import replace

import pytest
import torch

from pathline.core.budget import steps
from pathline.core.errors import DataError, MethodError
from pathline.core.tiny import tiny_signal
from pathline.data import GraphSignal
from pathline.forecast.recovery import signal_graph
from pathline.forecast.recovery_baselines import (
    BASELINES,
    GraphTRSS,
)
from pathline.forecast.timegnn import Cascade, TimeGNN
from pathline.graph.adjacency import scaled_laplacian
from pathline.graph.sobolev import Sobolev
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


def test_dropout_acts_in_training_only(split):
    method = TimeGNN.for_data(split.train, dropout=0.5)
    values, seen = split.test.values[None], split.test.seen[None]
    method.train()
    assert not torch.equal(method.network(values, seen), method.network(values, seen))
    method.eval()
    assert torch.equal(method.network(values, seen), method.network(values, seen))

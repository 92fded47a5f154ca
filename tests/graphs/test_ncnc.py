"""NCNC: heuristics as special cases, completion between none and all, hidden targets, symmetry, what is missing."""

import dataclasses
import math

import networkx as nx
import pytest
import torch

from pathline.core.budget import Budget
from pathline.core.errors import MethodError
from pathline.core.schedule import rate_groups
from pathline.core.tiny_graphs import tiny_graph, tiny_links
from pathline.data.links import Links
from pathline.graph.common_neighbours import Neighbourhoods
from pathline.graph.links import both_ways, keys_of, links_of
from pathline.graphs.metrics import hits_at, link_metrics
from pathline.graphs.ncnc import NCNC, CommonNeighbourPredictor
from pathline.nn.link_predictors import HEURISTICS, HeuristicPredictor


@pytest.fixture(scope="module")
def graph():
    return nx.gnm_random_graph(50, 220, seed=3)


@pytest.fixture(scope="module")
def near(graph):
    return Neighbourhoods(both_ways(torch.tensor(list(graph.edges)).T), 50)


@pytest.fixture(scope="module")
def pairs(graph):
    missing = torch.tensor(list(nx.non_edges(graph)))
    return torch.cat([missing[::5], torch.tensor(list(graph.edges))[::9]]).T


@pytest.fixture(scope="module")
def expected(graph, pairs):
    """What networkx says of the pairs."""
    wanted = list(map(tuple, pairs.T.tolist()))
    indices = {"aa": nx.adamic_adar_index, "ra": nx.resource_allocation_index}
    said = {kind: [score for _, _, score in index(graph, wanted)] for kind, index in indices.items()}
    said["cn"] = [float(len(list(nx.common_neighbors(graph, a, b)))) for a, b in wanted]
    return {kind: torch.tensor(values, dtype=torch.float64) for kind, values in said.items()}


def predictor(depth=1, width=6, seed=0, **options):
    torch.manual_seed(seed)
    return CommonNeighbourPredictor(width, depth=depth, **options).double().eval()


def encoded(width=6, seed=1):
    return torch.randn(50, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def far(one, other):
    """Mean absolute difference."""
    return float((one - other).detach().abs().mean())


def bare(model):
    """The predictor with the identity for every network: the logit is x_cn."""
    model.common, model.out, model.extra = torch.nn.Identity(), torch.nn.Identity(), None
    model.pair = torch.nn.Sequential()
    return model


# -- heuristics -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", HEURISTICS)
def test_heuristics_are_the_predictor_with_fixed_representations(kind, graph, near, pairs, expected):
    degree = torch.tensor([graph.degree(node) for node in range(50)]).double()
    h = {"cn": torch.ones(50).double(), "aa": 1 / degree.log(), "ra": 1 / degree}[kind][:, None]
    model = bare(predictor(depth=0, width=1))
    product = h[pairs[0], 0] * h[pairs[1], 0]
    found = model(h, near, pairs) - product  # x_ij, which is the product here
    assert torch.allclose(found, expected[kind], atol=1e-6)
    assert torch.allclose(HeuristicPredictor(kind)(h, near, pairs), expected[kind], atol=1e-6)
    assert float(expected[kind].std()) > 0.1


def test_there_is_no_other_heuristic():
    with pytest.raises(ValueError, match="no heuristic 'jaccard'"):
        HeuristicPredictor("jaccard")


# -- NCN and completion -----------------------------------------------------------------------------------------------


def test_ncn_is_its_equation(graph, near, pairs):
    model, h = predictor(depth=0), encoded()
    with torch.no_grad():
        model.beta.fill_(1.7)
        said = h + model.extra(h)
        for column, (i, j) in enumerate(pairs.T.tolist()):
            if column % 20 == 0:
                shared = said[list(nx.common_neighbors(graph, i, j))].sum(0)
                logit = model.out(1.7 * model.common(shared) + model.pair(h[i] * h[j]))
                assert torch.allclose(model(h, near, pairs)[column], logit[0], atol=1e-10)


def test_completion_that_believes_nothing_is_ncn(near, pairs):
    h = encoded()
    plain, none, some = (predictor(depth, alpha=alpha) for depth, alpha in ((0, 1.0), (1, 0.0), (1, 1.0)))
    some.offset.fill_(0)
    assert torch.allclose(none(h, near, pairs), plain(h, near, pairs), atol=1e-12)
    assert far(some(h, near, pairs), plain(h, near, pairs)) > 1e-3


def test_completion_that_believes_everything_sums_the_union_once(graph, near, pairs):
    h = encoded()
    model = bare(predictor(offset=-1e9, drawn=(8, 1000)))
    expected = torch.stack([h[list(set(graph[i]) | set(graph[j]))].sum(0) for i, j in pairs.T.tolist()])
    rows = model.neighbours(h, near, pairs, h[pairs[0]] * h[pairs[1]], 1)
    assert torch.allclose(rows.times(h), expected, atol=1e-9)


def test_completion_is_the_weighted_sum_of_the_card(graph, near, pairs):
    """Each neighbour of one end alone counts by the calibrated probability that NCN gives to the missing link."""
    h, model = encoded(), predictor(scale=2.0, offset=0.1, certainty=0.4, alpha=0.9)
    plain = predictor(depth=0)
    with torch.no_grad():
        i, j = pairs[:, 3].tolist()
        total = h.new_zeros(6)
        said = h + model.extra(h)
        for u in set(graph[i]) | set(graph[j]):
            weight = 1.0
            if (u in graph[i]) != (u in graph[j]):
                end = j if u in graph[i] else i
                q = torch.sigmoid(2.0 * (plain(h, near, torch.tensor([[end], [u]])) - 0.1))
                weight = 0.9 * 0.4 * q / (0.4 * q + 1 - q)
            total = total + weight * said[u]
        logit = model.out(model.common(total) + model.pair(h[i] * h[j]))
        assert torch.allclose(model(h, near, pairs[:, 3:4]), logit, atol=1e-7)


def test_calibration_is_the_formula_and_its_numbers_are_not_learned():
    model = predictor(alpha=0.8, certainty=0.3)
    logits = torch.linspace(0, 6, 13).double()
    q = torch.sigmoid(5 * (logits - 3))
    expected = 0.8 * 0.3 * q / (0.3 * q + 1 - q)
    said = model.probability(logits, torch.zeros(1, 6).double(), torch.zeros(13, dtype=torch.int64))
    assert torch.allclose(said, expected, atol=1e-7)
    learned = dict(model.named_parameters())
    assert not {"alpha", "scale", "offset", "certainty"} & set(learned)
    assert not any(learned[f"certain.{place}.weight"].requires_grad for place in (0, 2))


def test_certainty_can_be_read_off_the_pair():
    model = predictor(learn_certainty=True)
    product = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).double()
    logits, pair = torch.tensor([2.9, 3.1, 3.0]).double(), torch.tensor([3, 0, 3])
    said = model.probability(logits, product, pair)
    p, q = torch.sigmoid(model.certain(product)[:, 0])[pair], torch.sigmoid(5 * (logits - 3))
    assert torch.allclose(said, p * q / (p * q + 1 - q), atol=1e-7)
    (gradient,) = torch.autograd.grad(said.sum(), model.certain[2].weight)
    assert float(gradient.abs().sum()) > 0


def test_probabilities_carry_no_gradient(near, pairs):
    model, h = predictor(offset=0.0), encoded().requires_grad_(True)
    asked = []
    judged = model.judged
    model.judged = lambda *given: asked.append(judged(*given)) or asked[-1]
    found = model(h, near, pairs).sum()
    assert not asked[0].requires_grad
    (ours,) = torch.autograd.grad(found, h)
    fixed = asked[0].clone()
    model.judged = lambda *given: fixed
    (expected,) = torch.autograd.grad(model(h, near, pairs).sum(), h)
    assert torch.equal(ours, expected)


def test_deeper_completion_judges_by_completed_neighbours(near, pairs):
    h, deep = encoded(), predictor(depth=2, offset=0.0)
    asked = []
    judged = deep.judged
    deep.judged = lambda h, near, pairs, depth: asked.append(depth) or judged(h, near, pairs, depth)
    found = deep(h, near, pairs[:, :8])
    assert asked == [1, 0]
    assert far(found, predictor(depth=1, offset=0.0)(h, near, pairs[:, :8])) > 1e-6


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_pair_and_its_reverse_score_alike(depth, near, pairs):
    model, h = predictor(depth, offset=0.0), encoded()
    asked = pairs[:, :40]
    assert torch.allclose(model(h, near, asked), model(h, near, asked.flip(0)), atol=1e-6)
    assert float(model(h, near, asked).detach().std()) > 1e-3


def test_few_neighbours_are_drawn_in_training_and_more_later(near, pairs):
    model, h = predictor(drawn=(2, 5), most_common=1), encoded()
    product = h[pairs[0]] * h[pairs[1]]
    overlap = near.overlap(pairs)
    for training, most in ((True, 2), (False, 5)):
        model.train(training)
        torch.manual_seed(0)
        rows = model.neighbours(h, near, pairs, product, 1)
        sizes = [overlap.first.count.clamp(max=most), overlap.second.count.clamp(max=most)]
        assert torch.equal(rows.count, sum(sizes) + overlap.common.count.clamp(max=1))


# -- the method -------------------------------------------------------------------------------------------------------


def quiet(data, **config):
    """A method without dropout, whose training mode draws nothing."""
    torch.manual_seed(0)
    off = dict.fromkeys(("dropout", "feature_dropout", "predictor_dropout"), 0.0)
    return NCNC.for_data(data, width=8, drawn=(1000, 1000), offset=0.0, **off, **config).double()


@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize("depth", [0, 1])
def test_hidden_targets_are_as_good_as_deleted(depth, described):
    data = tiny_links()
    if not described:
        data = dataclasses.replace(data, features=data.features[:, :0])
    asked, method = data.links[:, ::4], quiet(data, depth=depth).train()
    rest = data.among(data.links[:, ~torch.isin(torch.arange(len(data)), torch.arange(0, len(data), 4))])
    truth = torch.ones(asked.shape[1], dtype=torch.bool)

    def double(batch):
        return dataclasses.replace(batch, features=batch.features.double(), memo={})

    hidden = method(double(data.about(asked, truth)))
    deleted = method(double(rest.about(asked, truth)))
    assert torch.allclose(hidden, deleted, atol=1e-6)
    method.eval()  # later nothing is taken away
    seen = method(double(data.about(asked, truth)))
    assert far(seen, hidden) > 1e-4
    assert torch.allclose(method(double(rest.about(asked, truth))), hidden, atol=1e-6)
    method.train()
    method.remove_targets = False
    assert torch.allclose(method(double(data.about(asked, truth))), seen, atol=1e-6)


def test_both_directions_and_weights_leave_with_a_target_and_negatives_hide_nothing():
    data = tiny_links()
    data = dataclasses.replace(data, weight=torch.arange(data.edge_index.shape[1]).float())
    method = quiet(data).train()
    asked = torch.cat([data.links[:, 5:6].flip(0), torch.tensor([[0], [39]])], 1)
    seen = method.visible(data.about(asked, torch.tensor([True, False])))
    gone = ~torch.isin(data.weight, seen.weight)
    assert torch.equal(data.edge_index[:, gone].sort(0).values, data.links[:, 5:6].expand(2, 2))
    assert torch.equal(seen.edge_index, data.edge_index[:, ~gone])


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_names_of_nodes_do_not_matter(depth):
    data, method = tiny_links(), quiet(tiny_links(), depth=depth, jumping=True, layers=2).eval()
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    moved = dataclasses.replace(data, features=data.features[order.argsort()], edge_index=order[data.edge_index])
    pairs = torch.triu_indices(40, 40, 1)

    def said(links, asked):
        batch = links.about(asked)
        return method(dataclasses.replace(batch, features=batch.features.double(), memo={}))

    assert torch.allclose(said(data, pairs), said(moved, order[pairs]), atol=1e-9)
    assert far(said(data, pairs), said(data, order[pairs])) > 1e-3


def test_a_step_hides_a_quarter_of_the_links_at_most():
    data = tiny_links().split(0).train
    method = NCNC.for_data(data)
    batches = list(method.batches(data, 1024, torch.Generator().manual_seed(0)))
    assert len(batches) == method.epoch_length(data, 1024) >= 4
    assert all(int(batch.labels.sum()) <= len(data) / 4 for batch in batches)
    assert sum(int(batch.labels.sum()) for batch in batches) == len(data)
    for batch in batches:  # as many pairs that are no links
        assert int((batch.labels == 0).sum()) == int(batch.labels.sum())
        assert not torch.isin(keys_of(batch.pairs[:, batch.labels == 0], 40), data.keys).any()


def test_the_loss_is_that_of_links_plus_that_of_other_pairs():
    data = tiny_links()
    method = quiet(data).float().eval()
    pairs, truth = torch.tensor([[0, 1, 2], [9, 30, 35]]), torch.tensor([True, False, False])
    batch = data.about(pairs, truth)
    logits = method(batch)
    expected = -torch.nn.functional.logsigmoid(logits[0]) - torch.nn.functional.logsigmoid(-logits[1:]).mean()
    assert torch.allclose(method.loss(batch), expected)


def test_rates_differ_between_encoder_and_predictor():
    method = NCNC.for_data(tiny_links(), predictor_rate=0.25)
    groups = {group["relative"]: {id(p) for p in group["params"]} for group in rate_groups(method)}
    assert groups[1.0] == {id(p) for p in method.encoder.parameters()}
    assert groups[0.25] == {id(p) for p in method.head.parameters() if p.requires_grad}


def test_the_graph_autoencoder_sees_no_neighbours_and_gradients_reach_all_else(near):
    data = tiny_links()
    gae, ncnc = NCNC.for_data(data, predictor="hadamard"), NCNC.for_data(data, offset=0.0)
    h, pairs = torch.randn(50, 64), torch.tensor([[0, 1], [2, 3]])
    gae.eval()
    nobody = Neighbourhoods(torch.zeros(2, 0, dtype=torch.int64), 50)
    assert torch.equal(gae.head(h, near, pairs), gae.head(h, nobody, pairs))
    ncnc.loss(next(ncnc.batches(data, 64, torch.Generator().manual_seed(0)))).backward()
    for part in (ncnc.encoder, ncnc.head.pair, ncnc.head.common, ncnc.head.extra, ncnc.head.out):
        assert sum(float(p.grad.abs().sum()) for p in part.parameters() if p.grad is not None) > 0
    assert ncnc.head.beta.grad is not None


def test_settings_that_cannot_be_are_refused():
    data = tiny_links()
    for name, value in {"predictor": "dot", "conv": "gat", "most_hidden": 0.0, "edge_dropout": 1.0}.items():
        with pytest.raises(MethodError, match=str(value)):
            NCNC.for_data(data, **{name: value})


def test_neighbours_are_dropped_in_training_only():
    data = tiny_links()
    method, batch = quiet(data, neighbour_dropout=0.5).train(), data.whole()
    torch.manual_seed(0)
    assert 0.3 < len(method.neighbourhoods(batch).keys) / data.edge_index.shape[1] < 0.7
    method.eval()
    assert len(method.neighbourhoods(batch).keys) == data.edge_index.shape[1]


def test_validation_links_can_be_seen_at_test_time():
    data = dataclasses.replace(tiny_links(), weight=torch.full((tiny_links().edge_index.shape[1],), 2.0))
    split = data.split(0)
    found = split.validation.pairs[:, split.validation.truth]
    test = split.test.seeing(found)
    assert torch.equal(test.links, links_of(torch.cat([split.train.links, found], 1)))
    assert torch.equal(test.pairs, split.test.pairs)
    assert test.weight.unique().tolist() == [2.0]
    method = quiet(split.train, depth=0).float().eval()
    assert not torch.equal(method.said(test), method.said(split.test))


def test_hits_at_any_k_and_reciprocal_ranks():
    links, others = torch.tensor([0.9, 0.5, 0.1]), torch.linspace(0, 1, 200)
    assert hits_at(links, others, 100) == pytest.approx(1 / 3)
    assert hits_at(links, others, 50) == pytest.approx(1 / 3)
    assert hits_at(links, others, 20) == 0
    score, truth = torch.cat([links, others]), torch.arange(203) < 3
    assert link_metrics(score, truth)["mrr"] == pytest.approx((1 / 21 + 1 / 101 + 1 / 181) / 3, rel=1e-3)


# -- what is missing --------------------------------------------------------------------------------------------------


def test_completion_finds_links_that_were_deleted():
    """Half the links of a random geometric graph are deleted: those score above pairs that never were links."""
    graph = nx.random_geometric_graph(300, 0.12, seed=4)
    every = torch.tensor(list(graph.edges)).T
    data = Links(edge_index=both_ways(links_of(every)), features=torch.zeros(300, 0), shares=(0.05, 0.45), name="near")
    split = data.split(0)
    method = NCNC.seeded(split.train, 0, width=32, feature_dropout=0.0)
    method.fit(split, Budget(steps=120), seed=0, validations=6)
    batch = split.train.whole()
    near, deleted = method.neighbourhoods(batch), data.keys
    with torch.no_grad():
        h = method.encode(method.features(batch), batch)
        pairs = split.test.pairs
        overlap = near.overlap(pairs)
        ends = torch.cat([pairs[1][overlap.first.pair], pairs[0][overlap.second.pair]])
        missing = torch.stack([ends, torch.cat([overlap.first.node, overlap.second.node])])
        missing = missing[:, missing[0] != missing[1]].sort(0).values.unique(dim=1)
        logits = method.head.judged(h, near, missing, 0)
        chance = method.head.probability(logits, h[:1], torch.zeros(len(logits), dtype=torch.int64))
    truth = torch.isin(keys_of(missing, 300), deleted)
    assert float(chance[truth].mean()) > 1.2 * float(chance[~truth].mean())
    assert link_metrics(chance.double(), truth)["auc"] > 0.8


def test_a_graph_without_features_or_common_neighbours_is_answered():
    star = torch.stack([torch.zeros(30, dtype=torch.int64), torch.arange(1, 31)])
    data = Links(edge_index=both_ways(star), features=torch.zeros(31, 0), shares=(0.1, 0.2), name="star")
    method = NCNC.seeded(data, 0).fit(data.split(0), Budget(steps=3))
    assert len(method.predict(data)) == 100
    assert math.isfinite(method.evaluate(data)["auc"])
    assert tiny_graph().links().task == "predict-links"

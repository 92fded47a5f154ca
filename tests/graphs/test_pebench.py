"""Encodings on networks: every combination runs, what is equivariant, what each can tell apart, what is kept."""

from dataclasses import replace

import networkx as nx
import pytest
import torch

from pathline.core.budget import Budget
from pathline.core.errors import MethodError
from pathline.core.tiny_graphs import tiny_graph, tiny_graph_classes, tiny_graph_numbers
from pathline.data.graph_list import graphs_of
from pathline.graph.links import both_ways
from pathline.graphs import positional
from pathline.graphs.pebench import MODELS, PEBench
from pathline.graphs.positional import ENCODINGS
from pathline.nn.pna import PNAConv
from pathline.sims.skip_links import circular_skip_links

SMALL = {"k": 4, "layers": 2, "width": 8, "heads": 2}


def edges_of(graph):
    return both_ways(torch.tensor(list(nx.convert_node_labels_to_integers(graph).edges)).T)


def some_graphs(seed=0):
    """Four connected graphs whose eigenvalues differ, with features of nodes and edges."""
    generator = torch.Generator().manual_seed(seed)
    graphs = [nx.gnm_random_graph(10, 18, seed=seed + k) for k in range(2, 6)]
    edges = [edges_of(one) for one in graphs]
    return graphs_of(
        edges,
        [torch.randn(10, 3, generator=generator) for _ in graphs],
        labels=torch.tensor([0, 1, 0, 1]),
        classes=("a", "b"),
        edge_features=torch.randn(sum(one.shape[1] for one in edges), 2, generator=generator),
        name="some-graphs",
    )


def relabelled(data, seed=1):
    """The same graphs with other numbers of nodes, and which number each node has now."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(len(data.features), generator=generator, dtype=torch.float64)
    order = (data.graph.double() + drawn).argsort().argsort()
    return replace(data, edge_index=order[data.edge_index], features=data.features[order.argsort()]), order


def encoded(method, data):
    """(nodes, width) in float64."""
    batch = method.prepared(data).whole().map(lambda t: t.double() if t.is_floating_point() else t)
    with torch.no_grad():
        return method.double().eval().encode(method.features(batch), batch)


@pytest.mark.parametrize("model", [model for model in MODELS if model != "exphormer"])
@pytest.mark.parametrize("encoding", ["none", "eslap", "rwse", "rrwp"])
def test_models_are_permutation_equivariant(model, encoding):
    data = some_graphs()
    moved, order = relabelled(data)
    torch.manual_seed(0)
    method = PEBench.for_data(data, model=model, encoding=encoding, **SMALL)
    found = encoded(method, data)
    assert torch.allclose(encoded(method, moved)[order], found, atol=1e-5)
    assert float(found.std(0).max()) > 1e-2


@pytest.mark.parametrize(
    ("encoding", "signs"),
    [(encoding, "signnet") for encoding in ENCODINGS if encoding != "gpse"] + [("laplacian", "spe")],
)
def test_encodings_are_permutation_equivariant_in_a_network(encoding, signs):
    data = some_graphs()
    moved, order = relabelled(data)
    torch.manual_seed(0)
    method = PEBench.for_data(data, model="gatedgcn", encoding=encoding, signs=signs, **SMALL)
    found = encoded(method, data)
    assert torch.allclose(encoded(method, moved)[order], found, atol=1e-4)
    if encoding != "none":
        plain = replace(data, edge_index=data.edge_index)
        with torch.no_grad():
            for part in (method.place, method.pair):
                if part is not None:
                    part.weight.zero_()
        assert not torch.allclose(encoded(method, plain), found, atol=1e-3)


def test_exphormer_is_equivariant_but_for_its_random_cycles_and_hears_through_the_virtual_node():
    path = both_ways(torch.stack([torch.arange(29), torch.arange(1, 30)]))
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    data = graphs_of([path], [x], labels=torch.zeros(1, dtype=torch.int64), classes=("a", "b"))
    torch.manual_seed(0)
    method = PEBench.for_data(data, model="exphormer", encoding="none", attention_graph="edges", **SMALL)
    moved, order = relabelled(data)
    found = encoded(method, data)
    assert torch.allclose(encoded(method, moved)[order], found, atol=1e-5)
    other = replace(data, features=x + (torch.arange(30) == 0)[:, None])
    far = (encoded(method, other) - found).abs().amax(1)[10:]  # two layers reach two steps along the path
    assert bool((far > 1e-5).all())
    grit = PEBench.for_data(data, encoding="none", **SMALL)
    near = (encoded(grit, other) - encoded(grit, data)).abs().amax(1)
    assert bool((near[10:] < 1e-6).all())
    assert float(near[:3].max()) > 1e-3


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("attention_graph", ["full", "edges", "khop", "expander"])
def test_connectivity_and_update_are_chosen_apart(model, attention_graph):
    data = some_graphs()
    torch.manual_seed(0)
    method = PEBench.for_data(data, model=model, attention_graph=attention_graph, **SMALL)
    ready = method.prepared(data)
    pairs = {"full": 400, "edges": 40 + 144}.get(attention_graph)
    assert pairs is None or ready.edge_index.shape[1] == pairs
    x = data.features.clone()
    x[0] += 1
    changed = (encoded(method, replace(data, features=x)) - encoded(method, data)).abs().amax(1)
    assert bool((changed[10:] < 1e-9).all())  # other graphs
    if attention_graph == "full":
        assert bool((changed[:10] > 1e-9).all())


def test_full_message_passing_and_sparse_grit_are_the_same_update_on_another_graph():
    data = some_graphs()
    torch.manual_seed(0)
    sparse = PEBench.for_data(data, model="sparse-grit", **SMALL)
    torch.manual_seed(0)
    grit = PEBench.for_data(data, model="grit", attention_graph="edges", **SMALL)
    assert torch.allclose(encoded(sparse, data), encoded(grit, data), atol=1e-9)
    torch.manual_seed(0)
    full = PEBench.for_data(data, model="grit", **SMALL)
    assert not torch.allclose(encoded(full, data), encoded(sparse, data), atol=1e-3)


def test_numbers_of_pairs_run_from_the_receiver_to_the_sender():
    star = edges_of(nx.star_graph(3))
    data = graphs_of([star] * 3, [torch.ones(4, 1)] * 3, labels=torch.tensor([0, 1, 0]), classes=("a", "b"))
    method = PEBench.for_data(data, model="grit", encoding="rrwp", **SMALL)
    ready = method.prepared(data)
    at = (ready.edge_index[0] == 1) & (ready.edge_index[1] == 0)  # sender: a leaf, receiver: the hub
    assert torch.allclose(ready.edge_features[at, 1:], torch.tensor([[0, 1 / 3, 0, 1 / 3]]))
    at = (ready.edge_index[0] == 0) & (ready.edge_index[1] == 1)
    assert torch.allclose(ready.edge_features[at, 1:], torch.tensor([[0, 1.0, 0, 1]]))


@pytest.mark.parametrize(
    ("encoding", "signs", "joined", "extra"),
    [(one, "signnet", "added", {}) for one in ENCODINGS]
    + [("laplacian", one, "concatenated", {}) for one in ("spe", "flips", "none")]
    + [("wl", "none", "added", {"learned_colours": True}), ("rwdiff", "none", "added", {"walk_loss": 0.5})],
)
def test_every_encoding_trains_on_every_task_and_its_weights_get_gradients(encoding, signs, joined, extra):
    config = {"encoding": encoding, "signs": signs, "joined": joined, "pretraining": 2, **extra, **SMALL}
    for tiny in (tiny_graph, tiny_graph_classes, tiny_graph_numbers):
        split = tiny().split()
        method = PEBench.seeded(split.train, 0, **config).fit(split.train, Budget(steps=2), seed=0)
        assert method.said(split.test).isfinite().all()
    method.train()
    terms = method.loss(next(iter(method.batches(split.train, 8, torch.Generator().manual_seed(0)))))
    assert isinstance(terms, dict) == bool(extra.get("walk_loss"))
    (terms["loss"] if isinstance(terms, dict) else terms).backward()
    if method.place is not None:
        assert float(method.place.weight.grad.abs().sum()) > 0
        learned = list(method.encoder.parameters())
        assert not learned or any(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in learned)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_and_all_its_weights_get_gradients(model):
    split = tiny_graph_classes().split()
    method = PEBench.seeded(split.train, 0, model=model, **SMALL).fit(split.train, Budget(steps=2), seed=0)
    method.train()
    for p in method.parameters():
        p.grad = None
    method.loss(method.prepared(split.train).whole()).backward()
    silent = [name for name, p in method.named_parameters() if p.grad is None]
    assert not silent, silent


def csl(copies=3):
    return circular_skip_links(copies, nodes=41)


def test_skip_links_are_rings_with_chords_and_networks_without_encoding_cannot_tell_them_apart():
    data = csl(2)
    assert len(data) == 20
    for k, skip in ((0, 2), (19, 16)):
        one = nx.Graph(data.take(torch.tensor([k])).edge_index.T.tolist())
        assert nx.is_isomorphic(one, nx.circulant_graph(41, [1, skip]))
    for model in ("gin", "gps", "grit", "sparse-grit"):
        torch.manual_seed(0)
        method = PEBench.for_data(data, model=model, encoding="none", **SMALL)
        pooled = method.pooled(encoded(method, data), method.prepared(data).whole())
        assert torch.allclose(pooled, pooled[:1].expand_as(pooled), atol=1e-9)


@pytest.mark.parametrize("encoding", ["rwse", "rrwp", "laplacian"])
def test_gin_with_an_encoding_names_skip_links_it_has_not_seen_and_without_answers_at_chance(encoding):
    data = csl(5)
    seen = torch.arange(50) % 5 < 3
    train, test = data.take(seen.nonzero()[:, 0]), data.take((~seen).nonzero()[:, 0])
    recipe = {"batch_size": 30, "lr": 1e-2, "weight_decay": 0.0}
    config = {"model": "gin", "k": 8 if encoding == "laplacian" else 20, "layers": 2, "width": 24}
    method = PEBench.seeded(train, 0, encoding=encoding, **config).fit(train, Budget(steps=120), **recipe)
    assert method.evaluate(test)["accuracy"] == 1.0
    if encoding == "rwse":
        blind = PEBench.seeded(train, 0, encoding="none", **config).fit(train, Budget(steps=5), **recipe)
        assert blind.evaluate(test)["accuracy"] <= 0.1 + 1e-9


def test_returns_do_not_name_rook_and_shrikhande_in_a_network_but_paths_do():
    rook = nx.line_graph(nx.complete_bipartite_graph(4, 4))
    steps = [(0, 1), (1, 0), (1, 1)]
    shrikhande = nx.Graph(((x, y), ((x + a) % 4, (y + b) % 4)) for x in range(4) for y in range(4) for a, b in steps)
    data = graphs_of(
        [edges_of(rook), edges_of(shrikhande)] * 2,
        [torch.zeros(16, 0)] * 4,
        labels=torch.tensor([0, 1, 0, 1]),
        classes=("rook", "shrikhande"),
    )
    for model in ("gin", "sparse-grit"):
        torch.manual_seed(0)
        method = PEBench.for_data(data, model=model, encoding="rwse", **SMALL)
        pooled = method.pooled(encoded(method, data), method.prepared(data).whole())
        assert torch.allclose(pooled[0], pooled[1], atol=1e-8)


def test_what_is_computed_from_edges_is_kept_with_the_container(monkeypatch):
    data = some_graphs()
    calls = []
    real = positional.random_walks_at
    monkeypatch.setattr(positional, "random_walks_at", lambda *given: calls.append(1) or real(*given))
    for model in ("sparse-grit", "sparse-grit", "gin"):
        PEBench.for_data(data, model=model, **SMALL).prepared(data)
    assert len(calls) == 2  # for nodes, and for the pairs of one wiring
    method = PEBench.for_data(data, model="grit", **SMALL)
    assert method.prepared(data) is method.prepared(data)
    assert len(calls) == 3


def test_features_of_edges_reach_the_pairs_they_belong_to():
    data = some_graphs()
    method = PEBench.for_data(data, model="grit", encoding="none", **SMALL)
    ready = method.prepared(data)
    assert method.edge_inputs == 2
    own = ready.edge_features[:, 1:]
    for edge in (0, 17, 100):
        s, r = data.edge_index[:, edge]
        at = (ready.edge_index[0] == s) & (ready.edge_index[1] == r)
        scaled = (data.edge_features[edge] - method.edge_mean) / method.edge_scale
        assert torch.allclose(own[at][0], scaled, atol=1e-6)
    assert bool((own[ready.edge_features[:, 0] != 1] == 0).all())
    before = method.eval().said(data)
    other = replace(data, edge_features=data.edge_features + 1)
    assert not torch.allclose(method.said(other), before, atol=1e-4)


def test_pna_knows_how_many_neighbours_are_usual():
    data = some_graphs()
    method = PEBench.for_data(data, model="pna", **SMALL)
    degree = torch.bincount(data.edge_index[1]).double()
    (layer, *_) = [one for one in method.modules() if isinstance(one, PNAConv)]
    assert abs(float(layer.delta) - float(degree.log1p().mean())) < 1e-6


@pytest.mark.parametrize("joined", ["added", "concatenated"])
def test_signs_are_drawn_in_training_and_nowhere_else(joined):
    data = some_graphs()
    torch.manual_seed(0)
    method = PEBench.for_data(data, model="gin", encoding="laplacian", signs="flips", joined=joined, **SMALL)
    batch = method.prepared(data).whole()
    with torch.no_grad():
        draws = [method.train()(batch) for _ in range(6)]
        assert any(not torch.allclose(draws[0], draw, atol=1e-4) for draw in draws[1:])
        assert torch.equal(method.eval()(batch), method(batch))
        method.encoder.signs = "none"
        assert torch.allclose(method.train()(batch), method(batch), atol=1e-6)


def test_what_small_graphs_do_not_have_is_marked():
    triangle = edges_of(nx.complete_graph(3))
    data = graphs_of([triangle] * 3, [torch.ones(3, 1)] * 3, labels=torch.tensor([0, 1, 0]), classes=("a", "b"))
    method = PEBench.for_data(data, encoding="laplacian", **SMALL)
    numbers = method.prepared(data).features[:, 1:]
    assert torch.equal(numbers[:, 8:], torch.tensor([[1.0, 1.0, 0.0, 0.0]]).expand(9, -1))
    assert bool((numbers[:, 2:4] == 0).all())


def test_the_encoder_is_trained_once_and_then_left_alone(tmp_path):
    split = tiny_graph_classes().split()
    method = PEBench.seeded(split.train, 0, encoding="gpse", pretraining=3, **SMALL)
    untrained = {name: value.clone() for name, value in method.gpse.state_dict().items()}
    before = method.prepared(split.train).features
    method.fit(split.train, Budget(steps=1), seed=0)
    trained = {name: value.clone() for name, value in method.gpse.state_dict().items()}
    assert any(not torch.equal(value, untrained[name]) for name, value in trained.items())
    assert not torch.equal(method.prepared(split.train).features, before)
    method.fit(split.train, Budget(steps=2), seed=1)
    assert all(torch.equal(value, trained[name]) for name, value in method.gpse.state_dict().items())
    assert all(p.requires_grad for p in method.parameters())
    again = PEBench.load(method.save(tmp_path))
    assert torch.equal(again.said(split.test), method.said(split.test))


def test_settings_that_cannot_be_are_refused(monkeypatch):
    data = tiny_graph()
    for wrong in (
        {"model": "gat"},
        {"encoding": "magic"},
        {"attention_graph": "stars"},
        {"signs": "plus"},
        {"joined": "not"},
        {"layers": 0},
        {"width": 30},
    ):
        with pytest.raises(MethodError, match=next(iter(wrong))):
            PEBench.for_data(data, **wrong)
    monkeypatch.setattr("pathline.graphs.encoded.MOST", 100)
    with pytest.raises(MethodError, match="attention_graph=edges"):
        PEBench.for_data(data, model="grit").prepared(data)
    monkeypatch.undo()
    monkeypatch.setattr(positional, "LARGEST", 10)
    with pytest.raises(MethodError, match="encoding=rwse"):
        PEBench.for_data(data, model="gin", encoding="ppr").prepared(data)
    monkeypatch.setattr(positional, "MOST_PATHS", 10)
    with pytest.raises(MethodError, match="than gckn"):
        PEBench.for_data(data, model="gin", encoding="gckn")

"""Block models: edges follow the coin, beacons announce the next one, and blocks move."""

import torch

from pathline.sims.switching_blocks import moving_blocks, switching_blocks


def equals_meet(graph, step):
    source, target, _ = graph.edges(step)
    block = graph.node_labels[step]
    return float((block[source] == block[target]).double().mean())


def test_beacons_announce_the_coin_of_the_next_snapshot():
    graph = switching_blocks(nodes=120, steps=20, seed=1)
    shares = torch.tensor([equals_meet(graph, step) for step in range(20)])
    assert ((shares > 0.7) | (shares < 0.3)).all()
    beacons = graph.features[..., 2:].sum(1)  # (steps, 2): how many nodes shine
    assert (beacons.sum(1) == 5).all() and (beacons.amax(1) == 5).all()
    assert torch.equal(beacons[:-1, 0] == 5, shares[1:] > 0.5)
    now = (beacons[:, 0] == 5) == (shares > 0.5)
    assert 0 < int(now.sum()) < 20  # the present coin says nothing of the next


def test_silent_beacons_have_no_edges():
    for silent in (True, False):
        graph = switching_blocks(nodes=60, steps=8, silent=silent, seed=1)
        lit = graph.features[..., 2:].any(2)
        touched = lit[graph.snapshot, graph.source] | lit[graph.snapshot, graph.target]
        assert bool(touched.any()) != silent


def test_the_hint_is_wrong_for_a_fifth():
    graph = switching_blocks(nodes=2000, steps=2, seed=0)
    wrong = (graph.features[0, :, :2].argmax(1) != graph.node_labels[0]).double().mean()
    assert abs(float(wrong) - 0.2) < 0.04


def test_densities_are_those_asked_for():
    graph = switching_blocks(nodes=200, steps=30, seed=2)
    pairs = 200 * 199 / 2 * 30
    assert abs(len(graph.source) / pairs - 0.07) < 0.01
    assert (graph.source < graph.target).all()


def test_some_nodes_move_at_every_step():
    graph = moving_blocks(nodes=100, steps=15, movers=7, seed=0)
    assert ((graph.node_labels.diff(dim=0) != 0).sum(1) == 7).all()
    assert min(equals_meet(graph, step) for step in range(15)) > 0.7

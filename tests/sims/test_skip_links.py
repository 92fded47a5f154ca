"""Circular skip links are what they are called."""

import networkx as nx
import torch

from pathline.graph.encodings import wl_colours
from pathline.sims.skip_links import SKIPS, circular_skip_links


def test_every_graph_is_the_circulant_of_its_class_under_other_names():
    data = circular_skip_links(2)
    assert data.labels.tolist() == [k for k in range(10) for _ in range(2)]
    for k in (0, 7, 19):
        one = data.take(torch.tensor([k])).edge_index
        assert one.shape[1] == 4 * 41
        assert nx.is_isomorphic(nx.Graph(one.T.tolist()), nx.circulant_graph(41, [1, SKIPS[k // 2]]))
    first, second = (data.take(torch.tensor([k])).edge_index for k in (0, 1))
    assert set(map(tuple, first.T.tolist())) != set(map(tuple, second.T.tolist()))


def test_refinement_gives_all_nodes_of_all_graphs_one_colour():
    data = circular_skip_links(1)
    assert len(wl_colours(data.edge_index, len(data.features), 5).unique()) == 1

"""Convolutions with weights that do not move, and memories for nodes, against dense equations."""

import torch

from pathline.events.snapshot_pictures import over_snapshots
from pathline.events.snapshot_rivals import GCNGRU, Convolutions, StaticGCN
from pathline.sims.switching_blocks import switching_blocks

GRAPH = switching_blocks(nodes=16, steps=16, beacons=2, window=3, seed=0)
SMALL = {"width": 6, "head": 6, "largest_degree": 5}


def batch_of(model):
    return model._asked(model.described(GRAPH), torch.tensor([5, 9]), 1, torch.Generator().manual_seed(0))


def dense(network, features, adjacency):
    """act(A act(A X W_1) W_2) of one snapshot, with the mean slope of the randomised activation."""
    slope = (1 / 8 + 1 / 3) / 2
    hidden = torch.nn.functional.leaky_relu(adjacency @ features @ network.weights[0], slope)
    return torch.nn.functional.leaky_relu(adjacency @ hidden @ network.weights[1], slope)


def test_the_static_convolution_sees_the_last_snapshot_only():
    torch.manual_seed(0)
    model = StaticGCN.for_data(GRAPH, **SMALL).eval()
    made = model.described(GRAPH)
    with torch.no_grad():
        found = model.encode(batch_of(model))
        for row, step in enumerate((4, 8)):
            expected = dense(model.network, made.features[step], made.adjacency[step].to_dense())
            torch.testing.assert_close(found[row], expected)


def test_the_memory_runs_along_each_node():
    torch.manual_seed(0)
    model = GCNGRU.for_data(GRAPH, **SMALL).eval()
    made = model.described(GRAPH)
    with torch.no_grad():
        found = model.encode(batch_of(model))
        for row, last in enumerate((4, 8)):
            each = [
                dense(model.network, made.features[step], made.adjacency[step].to_dense())
                for step in range(last - 2, last + 1)
            ]
            _, expected = model.recurrent(torch.stack(each))
            torch.testing.assert_close(found[row], expected[0])


def test_first_weights_are_wide():
    torch.manual_seed(0)
    weights = Convolutions(64, 16).weights
    assert 0.2 < weights[0].abs().max() <= 0.25 and 0.45 < weights[1].abs().max() <= 0.5


def test_the_picture_has_a_line_for_every_model():
    models = {name: kind.for_data(GRAPH, **SMALL) for name, kind in (("a", StaticGCN), ("b", GCNGRU))}
    picture = over_snapshots(models, GRAPH.split().test)
    above, below = picture.axes
    lines = [line for line in above.lines if line.get_marker() == "o"]
    assert len(lines) == 2 and len(below.patches) == len(lines[0].get_xdata()) == len(GRAPH.split().test)

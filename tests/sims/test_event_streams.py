"""The simulated streams follow their rules."""

import torch

from pathline.sims.event_streams import drifting_preferences, triangle_closing


def test_triangles_close_as_often_as_said():
    """An open wedge of the last 20 contacts is closed in 70% of all events, and by chance in very few more."""
    data = triangle_closing(nodes=200, events=3000, closing=0.7, recent=20, seed=1)
    pairs = list(zip(data.source.tolist(), data.target.tolist(), strict=True))
    closed = 0
    for k in range(20, 3000):
        window = [frozenset(pair) for pair in pairs[k - 20 : k]]
        u, v = pairs[k]
        near_u = {*frozenset().union(*(pair for pair in window if u in pair))} - {u}
        near_v = {*frozenset().union(*(pair for pair in window if v in pair))} - {v}
        closed += bool(near_u & near_v) and frozenset((u, v)) not in window
    assert abs(closed / 2980 - 0.7) < 0.035
    assert not data.directed and torch.equal(data.time, torch.arange(3000))
    same = triangle_closing(nodes=200, events=3000, closing=0.7, recent=20, seed=1)
    assert same.fingerprint() == data.fingerprint()


def test_tastes_are_sparse_and_change_for_one_source_in_twenty():
    data = drifting_preferences(sources=60, targets=40, periods=40, events=96_000, seed=0)
    stream = data.events
    period = stream.clock.floor().long()
    counts = torch.zeros(40, 60, 40).index_put((period, stream.source, stream.target - 60), torch.ones(96_000), True)
    shares = counts / counts.sum(2, keepdim=True)
    top = shares.sort(2, descending=True).values[..., :5].sum(2).mean()
    assert float(top) > 0.8  # a Dirichlet of 0.1 puts nearly everything on a few targets
    distance = (shares[1:] - shares[:-1]).abs().sum(2) / 2
    changed = (distance > 0.6).float().mean()
    assert 0.03 < float(changed) < 0.07
    assert stream.senders == 60 and len(stream.source) == 96_000

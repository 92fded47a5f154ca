"""Thinned contacts: as many as the integral says, when the rate says, and clusters that merge and split."""

import torch

from pathline.sims.contacts import expected_contacts, log_rates, merging_clusters, thin_contacts
from pathline.spaces.moving_points import PiecewisePaths


def crossing():
    """Two points that pass each other in the middle of a piece, and a third far away."""
    start = torch.tensor([[-1.5, 0.1], [1.5, 0.0], [0.0, 9.0]], dtype=torch.float64)
    velocity = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    return PiecewisePaths(start, velocity.expand(3, 3, 2).clone()), torch.tensor([3.5, 3.5, 0.0], dtype=torch.float64)


def test_as_many_contacts_as_the_integral_says():
    paths, activity = crossing()
    expected = expected_contacts(paths, activity)
    counts = []
    for seed in range(20):
        source, target, _ = thin_contacts(paths, activity, torch.Generator().manual_seed(seed))
        assert ((source == 0) & (target == 1)).all()  # the third is out of reach
        counts.append(len(source))
    mean = float(expected[0, 1])
    assert abs(sum(counts) / 20 - mean) < 4 * (mean / 20) ** 0.5
    assert float(expected[0, 2]) < 1e-20


def test_contacts_happen_when_the_rate_is_high():
    """A chi-square of ten bins of time around the passage, whose greatest rate no corner of the paths sees."""
    paths, activity = crossing()
    time = torch.cat([thin_contacts(paths, activity, torch.Generator().manual_seed(seed))[2] for seed in range(20)])
    fine = (torch.arange(5000, dtype=torch.float64) + 0.5) / 5000
    pair = torch.zeros(5000, dtype=torch.int64)
    rate = log_rates(paths, activity, pair, pair + 1, fine).exp()
    share = rate.view(50, 100).sum(1)
    inner = share / share.sum() * len(time) > 5
    seen = torch.histc(time, 50, 0, 1)[inner]
    wanted = (share / share.sum() * len(time))[inner]
    chi = float(((seen - wanted).square() / wanted).sum())
    freedom = int(inner.sum()) - 1
    assert chi < freedom + 5 * (2 * freedom) ** 0.5
    assert float(rate.max()) > 100 * float(rate[[0, -1]].max())


def test_clusters_merge_and_split():
    record = merging_clusters(points=45, contacts=4000, seed=3)
    assert abs(len(record.time) - 4000) < 5 * 4000**0.5
    assert (record.time.diff() >= 0).all() and record.time[0] >= 0 and record.time[-1] <= 1
    mixed = record.cluster[record.source] + 10 * record.cluster[record.target]
    first_two = (mixed == 10) | (mixed == 1)
    at = torch.histc(record.time[first_two], 10, 0, 1)
    assert at[3:5].sum() > 5 * at[[0, 1, 8, 9]].sum()  # clusters 0 and 1 are one at t = 0.4
    assert torch.equal(merging_clusters(points=45, contacts=4000, seed=3).time, record.time)


def test_the_record_is_a_container():
    events = merging_clusters(points=12, contacts=300, seed=0).events()
    assert events.nodes == 12 and not events.directed and len(events) > 200

"""Link loads: routing against a search by hand, conservation, failure and repair, classes of drift."""

import builtins
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from pathline.data import DataError
from pathline.sims.link_loads import (
    FULL,
    capacities,
    drift_cases,
    drift_class,
    growth,
    offered_traffic,
    simulate_link_loads,
)
from pathline.sims.topologies import Network, sndlib

pytest.importorskip("topohub")


@pytest.fixture(scope="module")
def diamond() -> Network:
    """a - b - d is short, a - c - d longer, and e hangs at d by one line."""
    demand = torch.ones(5, 5, dtype=torch.float64).fill_diagonal_(0.0)
    return Network(
        nodes=("a", "b", "c", "d", "e"),
        positions=torch.tensor([[0.0, 0], [15, 1], [15, -1], [30, 0], [45, 0]], dtype=torch.float64),
        lines=torch.tensor([[0, 1, 0, 2, 3], [1, 3, 2, 3, 4]]),
        length=torch.tensor([1.0, 1.0, 2.0, 2.5, 1.0], dtype=torch.float64),
        demand=demand,
    )


def test_nobel_eu_is_the_network_of_the_paper_of_sndlib():
    network = sndlib()
    assert len(network.nodes) == 28 and network.lines.shape == (2, 41) and network.pairs.shape == (2, 756)
    assert torch.equal(network.demand, network.demand.T) and "Zurich" in network.nodes


def walk(network: Network, taken: torch.Tensor, demand: int) -> list[int]:
    """The nodes that a demand passes, read off its links."""
    source, target = network.pairs[:, demand].tolist()
    links = {network.links[0, link].item(): network.links[1, link].item() for link in taken[:, demand].nonzero()[:, 0]}
    way = [source]
    while way[-1] != target:
        way.append(links.pop(way[-1]))
    assert not links
    return way


def test_routes_are_connected_shortest_ways(diamond):
    taken = diamond.routes()
    ways = {(way[0], way[-1]): way for way in (walk(diamond, taken, demand) for demand in range(20))}
    assert (
        ways[0, 3] == [0, 1, 3] and ways[3, 0] == [3, 1, 0] and ways[0, 4] == [0, 1, 3, 4] and ways[1, 2] == [1, 0, 2]
    )
    around = diamond.routes([1])
    ways = {(way[0], way[-1]): way for way in (walk(diamond, around, demand) for demand in range(20))}
    assert ways[0, 3] == [0, 2, 3] and ways[1, 4] == [1, 0, 2, 3, 4]
    assert around[1].sum() == around[1 + 5].sum() == 0
    network = sndlib()
    length = torch.cat([network.length, network.length])
    through = network.routes()
    brute = torch.full((28, 28), torch.inf, dtype=torch.float64).fill_diagonal_(0.0)  # Floyd and Warshall
    brute[network.links[0], network.links[1]] = length
    for middle in range(28):
        brute = torch.minimum(brute, brute[:, middle, None] + brute[None, middle])
    torch.testing.assert_close(length @ through, brute[network.pairs[0], network.pairs[1]])
    for demand in range(0, 756, 50):
        assert all(a != b for a, b in pairwise(walk(network, through, demand)))


def test_loads_are_the_path_indicators_times_the_demands_and_offered_traffic_is_conserved():
    record = simulate_link_loads(days=4, seed=3, line=11, begin=2.0, end=3.0)
    day = 288
    dense = torch.zeros(4 * day, 82, dtype=torch.float64)
    network = record.network
    for demand in range(756):
        for part, routes in ((slice(0, 2 * day), record.normal), (slice(2 * day, 3 * day), record.failed)):
            for link in routes[:, demand].nonzero()[:, 0].tolist():
                dense[part, link] += record.offered[part, demand]
        for link in record.normal[:, demand].nonzero()[:, 0].tolist():
            dense[3 * day :, link] += record.offered[3 * day :, demand]
    torch.testing.assert_close(record.loads, dense)
    into = torch.zeros(28, 82, dtype=torch.float64)
    into[network.links[1], torch.arange(82)] = 1
    into[network.links[0], torch.arange(82)] -= 1
    ends = torch.zeros(28, 756, dtype=torch.float64)
    ends[network.pairs[1], torch.arange(756)] = 1
    ends[network.pairs[0], torch.arange(756)] -= 1
    # what flows into a node less what flows out is what is meant for it less what it sends: at all times, nothing lost
    torch.testing.assert_close(record.loads @ into.T, record.offered @ ends.T, atol=1e-9, rtol=0)
    assert record.lost.eq(0).all()


def test_loads_return_bit_exact_after_the_repair_and_change_during_the_failure():
    failing = simulate_link_loads(days=3, seed=1, line=11, begin=1.0, end=2.0)
    whole = replace(failing, failed=failing.normal)
    assert torch.equal(failing.loads[:288], whole.loads[:288]) and torch.equal(failing.loads[576:], whole.loads[576:])
    during = failing.loads[288:576]
    assert during[:, [11, 11 + 41]].eq(0).all() and (during - whole.loads[288:576]).abs().max() > 10


def test_a_failed_node_loses_its_own_traffic_only(diamond):
    offered = offered_traffic(diamond, 288, 0)
    record = simulate_link_loads(days=1, seed=0, node=3, begin=0.25, end=0.75, network=diamond)
    of_node = (diamond.pairs == 3).any(0)
    cut_off = (diamond.pairs == 4).any(0)  # e hangs at d
    stranded = offered[:, of_node | cut_off].sum(1)
    torch.testing.assert_close(record.lost[72:216], stranded[72:216])
    assert record.lost[:72].eq(0).all() and record.lost[216:].eq(0).all()
    carried = record.failed.any(0)
    assert torch.equal(carried, ~(of_node | cut_off))


def test_traffic_has_its_rhythm_on_the_clock_of_its_place():
    network = sndlib()
    offered = offered_traffic(network, 288 * 10, 0)
    base = network.demand[network.pairs[0], network.pairs[1]]
    assert offered.min() >= 0
    torch.testing.assert_close(offered.mean(0), base, rtol=0.02, atol=0)
    assert not torch.equal(offered, offered_traffic(network, 288 * 10, 1))
    assert torch.equal(offered, offered_traffic(network, 288 * 10, 0))
    day = offered.view(10, 288, -1).mean(0)
    angle = torch.arange(288, dtype=torch.float64) * (2 * torch.pi / 288)
    peak = torch.atan2((day * angle[:, None].sin()).sum(0), (day * angle[:, None].cos()).sum(0)) * 24 / (2 * torch.pi)
    east = network.positions[network.pairs, 0].mean(0)
    moments = torch.cov(torch.stack([east, peak % 24]))
    assert (moments[0, 1] / moments[0, 0]).item() == pytest.approx(-1 / 15, rel=0.2)  # one hour earlier for 15 degrees
    assert (peak % 24 + east / 15).mean().item() == pytest.approx(14.0, abs=0.2)


def test_capacities_survive_any_one_line_and_classes_say_how_much_the_mean_moves():
    network = sndlib()
    offered = offered_traffic(network, 288, 5)
    capacity = capacities(network, offered)
    for line in (0, 11, 16, 40):
        assert (offered @ network.routes([line]).T <= FULL * capacity + 1e-9).all()
    change, pattern = growth(network, offered)
    assert change.shape == (41, 82) and change[11, 11] == -1 and pattern[11, 11].isnan()
    normal, failed = (offered @ routes.T for routes in (network.routes(), network.routes([11])))
    assert change[11, 20].item() == pytest.approx((failed[:, 20].mean() / normal[:, 20].mean() - 1).item())
    assert [drift_class(x) for x in (2.0, -0.6, 0.4, -0.2, 0.1, 0.0)] == [
        "drastic",
        "drastic",
        "moderate",
        "moderate",
        "mild",
        "mild",
    ]


def test_cases_of_drift_are_struck_at_their_step():
    cases = drift_cases("drastic", 6, seed=2, days_before=2, days_after=1)
    values = cases.series.values[..., 0]
    assert values.shape == (3 * 288, 6) and cases.begin == 576 and len(cases) == 6
    jump = (values[576] - values[575]).abs()
    usual = values[:576].diff(dim=0).std(0)
    assert (jump > 20 * usual).all() and (cases.change > 0.5).all() and cases.change.diff().le(0).all()
    assert len(set(cases.link.tolist())) == 6
    moderate = drift_cases("moderate", 4, seed=2, days_before=2, days_after=1)
    assert ((moderate.change > 0.15) & (moderate.change <= 0.5)).all()
    with pytest.raises(DataError, match="fewer than 90 links with a drastic drift"):
        drift_cases("drastic", 90, seed=2, days_before=1, days_after=1)


def test_what_is_missing_is_named(monkeypatch):
    with pytest.raises(DataError, match="no network 'sndlib/atlantis'; try nobel-eu"):
        sndlib("atlantis")
    with pytest.raises(DataError, match="must end after it began"):
        simulate_link_loads(days=1, line=0, begin=0.5, end=0.2)
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "topohub":
            raise ModuleNotFoundError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=r"pip install 'pathline\[networks\]'"):
        sndlib()


def test_the_built_in_record_fails_where_it_hurts():
    record = simulate_link_loads(days=2, seed=0, begin=1.0, end=1.5)
    series = record.series()
    assert series.values.shape == (576, 82, 1) and series.values.max() <= 1 and series.adjacency.shape == (82, 82)
    a, b = series.nodes[0].split("-")
    assert series.nodes[41] == f"{b}-{a}"
    rise = record.loads[288:432].mean(0) / record.loads[:288].mean(0)
    assert rise.max() > 4

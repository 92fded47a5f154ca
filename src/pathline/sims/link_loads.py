"""Loads on the links of a network, before, during and after a failure.

Every pair of nodes has a demand, a daily rhythm on the clocks of its ends; it takes the shortest way, and a link's load
is the sum of the demands that take it:

    d_ij(t) = base_ij (1 + sum_{k=1..3} a_k sin(2 pi (t - t_ij,k) / T_k)) + noise,      T = 24, 12 and 8 h
    load(t) = R(t) d(t),      R = (links, demands) of 0 and 1
When a line or a node fails, R changes at once and back again at the repair: what its demands bring to other links is
the drift that forecasters of those links have to survive. Capacities are such that the network survives the failure of
any one line, as operators plan them.

The desk generator of this library for the setting of Ayoub et al., 2024, arXiv:2404.05304, who have Euro28 and demands
from economic figures; here the topology and mean demands are SNDlib's nobel-eu (Orlowski et al., 2010).
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from pathline.data.errors import DataError
from pathline.data.series import Series
from pathline.sims.topologies import Network, sndlib

START = 1_704_067_200  # Monday 2024-01-01 00:00
INTERVAL = 300  # seconds
PERIODS = (24.0, 12.0, 8.0)  # hours
AMPLITUDES = ((0.3, 0.6), (0.1, 0.25), (0.05, 0.15))  # ranges of a_1 .. a_3; they sum to at most 1
PEAK_HOUR = 14.0  # of local time, give or take JITTER
JITTER = 0.7  # hours
NOISE = 0.03  # of the mean demand
FULL = 0.8  # largest utilisation under any single failure
MODULE = 10.0  # capacities come in multiples of this
DRASTIC, MODERATE = 0.5, 0.15  # |relative change of the mean|

Drift = Literal["drastic", "moderate", "mild"]


def offered_traffic(network: Network, steps: int, seed: int, interval: int = INTERVAL) -> Tensor:
    """(steps, demands) float64 >= 0: d_ij(t) of the module for every pair with traffic, in the order of `pairs`."""
    generator = torch.Generator().manual_seed(seed)
    pairs = network.pairs
    base = network.demand[pairs[0], pairs[1]]
    count = len(base)
    hour = torch.arange(steps, dtype=torch.float64) * interval / 3600
    east = network.positions[pairs, 0].mean(0) / 15  # hours that local noon is ahead of Greenwich
    shape = torch.ones(steps, count, dtype=torch.float64)
    for period, (low, high) in zip(PERIODS, AMPLITUDES, strict=True):
        amplitude = low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)
        late = JITTER * torch.randn(count, generator=generator, dtype=torch.float64)
        top = PEAK_HOUR - east + late - period / 4  # the sine is highest a quarter of its period later
        shape += amplitude * torch.sin(2 * math.pi * (hour[:, None] - top) / period)
    noise = NOISE * torch.randn(steps, count, generator=generator, dtype=torch.float64)
    return (base * (shape + noise)).clamp(min=0.0)


def capacities(network: Network, offered: Tensor) -> Tensor:
    """(links,) in units of the demand: the smallest multiple of MODULE that no single failed line fills beyond FULL."""
    worst = torch.stack([peak_loads(offered, network.routes([line])) for line in range(len(network.length))])
    worst = torch.cat([worst, peak_loads(offered, network.routes())[None]]).amax(0)
    return MODULE * torch.ceil(worst / (FULL * MODULE)).clamp(min=1.0)


def peak_loads(offered: Tensor, routes: Tensor) -> Tensor:
    """(links,) largest load over time."""
    return (offered @ routes.T).amax(0)


@dataclass(frozen=True)
class LinkRecord:
    """What happened on a network.

    offered:  (steps, demands) traffic that wanted to go
    normal, failed: (links, demands), routes without and with the failure
    begin, end: steps of the failure and of the repair
    capacity: (links,)
    """

    network: Network
    offered: Tensor
    normal: Tensor
    failed: Tensor
    begin: int
    end: int
    capacity: Tensor

    @cached_property
    def loads(self) -> Tensor:
        """(steps, links)."""
        parts = (slice(0, self.begin), slice(self.begin, self.end), slice(self.end, None))
        routes = (self.normal, self.failed, self.normal)
        return torch.cat([self.offered[part] @ route.T for part, route in zip(parts, routes, strict=True)])

    @property
    def lost(self) -> Tensor:
        """(steps,) traffic that had no way: that of failed nodes and of parts that were cut off."""
        stranded = self.offered[:, self.failed.sum(0) == 0].sum(1)
        during = torch.arange(len(self.offered))
        return stranded * ((during >= self.begin) & (during < self.end))

    def series(self) -> Series:
        """Utilisations, load / capacity, of all links; links are neighbours where one leads into the other."""
        links = self.network.links
        values = (self.loads / self.capacity).float()[..., None]
        return Series(
            values=values,
            observed=torch.ones_like(values, dtype=torch.bool),
            start=START,
            interval=INTERVAL,
            adjacency=(links[1][:, None] == links[0]).float(),
            positions=self.network.positions[links].mean(0).float(),
            nodes=self.network.link_names(),
            channels=("utilisation",),
            name="link-loads",
        )


def simulate_link_loads(
    days: int = 21,
    seed: int = 0,
    line: int | None = None,
    node: int | None = None,
    begin: float = 14.0,
    end: float = 19.0,
    network: Network | None = None,
) -> LinkRecord:
    """Loads over `days`, with the failure of one line or node from day `begin` to day `end`.

    Without either, the line fails whose failure raises some link's mean load most.
    """
    network = sndlib() if network is None else network
    per_day = 86_400 // INTERVAL
    offered = offered_traffic(network, days * per_day, seed)
    if line is None and node is None:
        line = int(growth(network, offered)[0].amax(1).argmax())
    failed = network.routes([] if line is None else [line], [] if node is None else [node])
    first, last = (round(day * per_day) for day in (begin, end))
    if not 0 <= first < min(last, len(offered)):
        raise DataError(
            f"a failure from day {begin:g} to day {end:g} is none in {days} days: it must end after it began, and "
            "begin before the record ends"
        )
    return LinkRecord(network, offered, network.routes(), failed, first, last, capacities(network, offered))


def growth(network: Network, offered: Tensor) -> tuple[Tensor, Tensor]:
    """How each line's failure changes each link, for the same demands: both (lines, links).

    First the relative change of the mean load, then how much of the pattern changes, 1 - correlation over time. Links
    of the failed line itself and links that carry nothing have -1 in the first and nan in the second.
    """
    normal = offered @ network.routes().T
    changes, patterns = [], []
    for line in range(len(network.length)):
        failed = offered @ network.routes([line]).T
        changes.append(failed.mean(0) / normal.mean(0) - 1)
        pair = torch.stack([normal, failed])
        pair = pair - pair.mean(1, keepdim=True)
        patterns.append(1 - pair.prod(0).sum(0) / pair.square().sum(1).prod(0).sqrt())
    change, pattern = torch.stack(changes), torch.stack(patterns)
    count = torch.arange(len(change))
    for matrix in (change, pattern):
        matrix[count, count] = matrix[count, count + len(change)] = torch.nan
        matrix[~matrix.isfinite()] = torch.nan
    return change.nan_to_num(nan=-1.0), pattern


def drift_class(change: float) -> Drift:
    """By the relative change of the mean load."""
    size = abs(change)
    return "drastic" if size > DRASTIC else "moderate" if size >= MODERATE else "mild"


@dataclass(frozen=True)
class DriftCases:
    """Links around failures: utilisation (steps, cases) of one link each, which its failure strikes at step `begin`.

    change: (cases,) relative change of the mean;  pattern: 1 - correlation;  link, line: which, and what failed
    """

    series: Series
    begin: int
    change: Tensor
    pattern: Tensor
    link: Tensor
    line: Tensor

    def __len__(self) -> int:
        return len(self.change)


def drift_cases(
    kind: Drift,
    count: int,
    seed: int,
    days_before: int = 14,
    days_after: int = 5,
    network: Network | None = None,
) -> DriftCases:
    """The `count` links of a class of drift whose mean load changes most, each with the failure that does it.

    A link occurs once only. Drastic and moderate cases are of links that get more load.  Raises DataError if there are
    fewer.
    """
    network = sndlib() if network is None else network
    per_day = 86_400 // INTERVAL
    offered = offered_traffic(network, (days_before + days_after) * per_day, seed)
    change, pattern = growth(network, offered)
    low, high = {"drastic": (DRASTIC, math.inf), "moderate": (MODERATE, DRASTIC), "mild": (-MODERATE, MODERATE)}[kind]
    fitting = torch.where((change > low) & (change <= high), change, -torch.inf)
    most, line = fitting.max(0)  # the worst failure of each link within the class
    order = most.argsort(descending=True)[:count]
    if not bool((most[order] > -torch.inf).all()) or len(order) < count:
        raise DataError(f"the network has fewer than {count} links with a {kind} drift; ask for fewer")
    capacity = capacities(network, offered)
    begin = days_before * per_day
    loads = []
    normal = network.routes()
    for link in order.tolist():
        failed = network.routes([int(line[link])])
        load = torch.cat([offered[:begin] @ normal[link], offered[begin:] @ failed[link]])
        loads.append(load / capacity[link])
    values = torch.stack(loads, 1).float()[..., None]
    names = network.link_names()
    series = Series(
        values=values,
        observed=torch.ones_like(values, dtype=torch.bool),
        start=START,
        interval=INTERVAL,
        nodes=tuple(names[link] for link in order.tolist()),
        channels=("utilisation",),
        history=64,
        horizon=1,
        name=f"{kind}-drift-{seed}",
    )
    failure = line[order]
    return DriftCases(series, begin, change[failure, order], pattern[failure, order], order, failure)


def simulated_link_loads() -> Series:
    """Three weeks of all 82 links of nobel-eu; a line fails after two weeks and is repaired five days later."""
    return replace(simulate_link_loads().series(), name="simulated-link-loads")

"""Traffic on a motorway network: the cell transmission model.

Cars flow from cell to cell as fast as the one behind can send and the one ahead can receive:

    send    S = min(v_f rho, q_max),     receive  R = min(q_max, w (rho_jam - rho))          [per lane, veh/h]
    edge e: want D_e = turn_e S,         merging streams get  f_e = min(D_e, max(R - D_other, priority_e R)),
    and a cell is held up as a whole by its most crowded exit (first in, first out):  flow_e = D_e min_{exits} f / D

Daganzo 1994, "The cell transmission model", Transportation Research B 28(4); 1995, "... part II: network traffic",
B 29(2), whose merge is the median of three that the formula for f_e writes as one min and one max.
On top: weekday and weekend demand with noise, turning ratios that drift over the day, incidents that cut capacity, and
sensors that report 5-minute means with noise and gaps. Units: km, hours, vehicles, unless a name says otherwise.
Departs: cities relax the first-in-first-out rule (`FIFO`), as lanes do on real roads, for without that rings gridlock.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from scipy.signal import lfilter
from torch import Tensor

from pathline.data import Series
from pathline.data.cache import cached
from pathline.graph.adjacency import gaussian_kernel
from pathline.sims.cities import CELL, ROAD, SINK, SOURCE, Floats, Ints, RoadNetwork, city

FREE_SPEED = 100.0  # v_f, km/h
WAVE_SPEED = 20.0  # w, km/h, upstream
CAPACITY = 2000.0  # q_max, veh/h per lane
JAM = 160.0  # rho_jam, veh/km per lane
STEP = 10  # seconds
MINUTE = 6  # steps: demand, turning ratios and incidents change once a minute
START = 1_704_067_200  # Monday 2024-01-01 00:00 on the local clock
FIFO = 0.6  # of simulated cities, see `transmit`; with 1 a ring road that fills up is locked for good
BUSY = 1.08  # see `_arrivals`
WARM_UP = 60  # minutes before START, not recorded

Quantity = Literal["speed", "flow"]


class Traffic(NamedTuple):
    """What `transmit` returns, for `bins` intervals and all cells.

    outflow: (bins, cells) veh/h leaving each cell;  density: (bins, cells) veh/km, mean over the interval
    entered, left: (bins,) cars that arrived at the sources and that reached the sinks
    stock: (bins + 1,) cars in the network and in the queues of its sources at the borders of the intervals
    final: (cells,) cars in each cell at the end (in sinks 0)
    """

    outflow: Floats
    density: Floats
    entered: Floats
    left: Floats
    stock: Floats
    final: Floats


def transmit(
    network: RoadNetwork,
    arrivals: Floats,
    turns: Floats,
    capacity_share: Floats,
    interval: int = 5,
    free_speed: float = FREE_SPEED,
    fifo: float = 1.0,
    initial: Floats | None = None,
) -> Traffic:
    """Run the model of the module in float64 for as many minutes as the inputs have rows.

    arrivals: (minutes, sources) veh/h, in the order of the source cells;  turns: (minutes, edges), 1 in sum per cell;
    capacity_share: (minutes, cells), 1 without incident;  interval: minutes per recorded bin;
    initial: (cells,) cars at the start, default none;  fifo: 1 is Daganzo's rule that a crowded exit holds up its whole
    cell, 0 lets cars for the other exit pass, between them flow_e = D_e (s_e - fifo max(0, s_e - s_twin)), s = f / D.
    """
    minutes, hour = len(arrivals), STEP / 3600
    if free_speed * hour > CELL:
        raise ValueError(f"at {free_speed} km/h a car jumps over a cell in one step: stay below {CELL / hour} km/h")
    if minutes % interval:
        raise ValueError(f"{minutes} minutes are not a whole number of intervals of {interval} minutes")
    cells, edges = network.cells, len(network.sender)
    sender, receiver, priority = network.sender, network.receiver, network.priority
    source, sink = np.flatnonzero(network.kind == SOURCE), np.flatnonzero(network.kind == SINK)
    rival = _partner(receiver, default=np.full(edges, edges))  # the other stream of a merge, or the idle edge `edges`
    twin = _partner(sender, default=np.arange(edges))  # the other exit of a diverge, or the edge itself

    full = CAPACITY * hour * network.lanes
    move = np.where(network.kind == SOURCE, 1.0, free_speed * hour / CELL)  # a queue sends all it has
    wave = WAVE_SPEED * hour / CELL
    jam = np.where(network.kind == SINK, np.inf, JAM * CELL * network.lanes)
    cars = np.zeros(cells) if initial is None else initial.copy()
    want = np.zeros(edges + 1)
    tiny = np.finfo(float).tiny

    bins = minutes // interval
    outflow, density = np.zeros((bins, cells)), np.zeros((bins, cells))
    entered, left, stock = np.zeros(bins), np.zeros(bins), np.zeros(bins + 1)
    stock[0] = cars.sum()
    for minute in range(minutes):
        now = minute // interval
        gone, present = outflow[now], density[now]
        limit = full * capacity_share[minute]
        roomy = np.where(network.kind == SINK, np.inf, limit)
        turn, arriving = turns[minute], arrivals[minute] * hour
        for _ in range(MINUTE):
            send = np.minimum(move * cars, limit)
            receive = np.minimum(roomy, wave * (jam - cars))
            np.multiply(turn, send[sender], out=want[:-1])
            room, wish = receive[receiver], want[:-1]
            granted = np.minimum(wish, np.maximum(room - want[rival], priority * room))
            share = (granted + tiny) / (wish + tiny)  # 1 where nobody wants to go
            flow = wish * (share - fifo * np.maximum(share - share[twin], 0.0))
            out = np.bincount(sender, flow, cells)
            gone += out
            present += cars
            cars += np.bincount(receiver, flow, cells)
            cars -= out
            cars[source] += arriving
        entered[now] += MINUTE * arriving.sum()
        if (minute + 1) % interval == 0:
            left[now] = cars[sink].sum()
            cars[sink] = 0.0
            stock[now + 1] = cars.sum()
    steps = interval * MINUTE
    return Traffic(outflow / (steps * hour), density / (steps * CELL), entered, left, stock, cars)


def _partner(ends: Ints, default: Ints) -> Ints:
    """For each edge the one other edge with the same end, or its default; ValueError where there are more than two."""
    partner = default.copy()
    order = np.argsort(ends, kind="stable")
    same = ends[order][1:] == ends[order][:-1]
    if (same[1:] & same[:-1]).any():
        raise ValueError("a cell has more than two ways in or out: put another cell between them")
    first, second = order[:-1][same], order[1:][same]
    partner[first], partner[second] = second, first
    return partner


def autoregression(shape: tuple[int, int], tau: float, sd: float, rng: np.random.Generator) -> Floats:
    """Stationary AR(1) noise (time, series): standard deviation `sd`, correlation exp(-k / tau) over k steps."""
    decay = np.exp(-1 / tau)
    shocks = sd * np.sqrt(1 - decay**2) * rng.standard_normal(shape)
    shocks[0] /= np.sqrt(1 - decay**2)
    return lfilter([1.0], [1.0, -decay], shocks, axis=0)


def _window(hour: Floats, begin: float, end: float, soft: float) -> Floats:
    """1 between two hours of the day, 0 outside, with soft shoulders."""
    return 1 / ((1 + np.exp((begin - hour) / soft)) * (1 + np.exp((hour - end) / soft)))


def demand_profile(minute: Ints, morning: Floats, evening: Floats) -> Floats:
    """(minutes, sources) share of the peak demand at minutes since Monday midnight.

    Weekdays have a morning peak (7 to 9 h) and an evening one (16 to 19 h), of heights `morning` and `evening`
    (sources,) above a daytime plateau; Saturday and Sunday have a lower plateau only.
    """
    hour = (minute % 1440)[:, None] / 60
    peaks = morning * _window(hour, 7.0, 9.0, 0.3) + evening * _window(hour, 16.0, 19.0, 0.4)
    weekday = 0.05 + 0.45 * _window(hour, 6.0, 21.5, 0.7) + 0.5 * peaks
    weekend = 0.05 + 0.4 * _window(hour, 9.0, 21.0, 1.0)
    return np.where((minute // 1440 % 7 < 5)[:, None], weekday, weekend)


@dataclass(frozen=True)
class RoadRecord:
    """The true state of a simulated road network, before sensors see it.

    density (veh/km), flow (veh/h), speed (km/h): (time, cells) float32, means over `interval` seconds, all lanes
    entered, left: (time,) and stock: (time + 1,) float64 cars; entered - left = change of stock
    incidents: (incidents, 4) float64: cell, first minute, last minute + 1 (since the record's start), capacity left
    sensors: (nodes,) int64, the cell of each sensor
    """

    network: RoadNetwork
    density: Tensor
    flow: Tensor
    speed: Tensor
    entered: Tensor
    left: Tensor
    stock: Tensor
    incidents: Tensor
    sensors: Tensor
    interval: int
    seed: int
    name: str = "roads"

    def near_incident(self, minutes: float = 30.0, reach: float = 3.0) -> Tensor:
        """(time, sensors) bool: an incident downstream within `reach` km is going on or ended < `minutes` ago.

        Errors at these entries show how a forecaster copes with what no daily pattern foretells.
        """
        near = torch.zeros(len(self.speed), len(self.sensors), dtype=torch.bool)
        events = self.incidents.numpy()
        cells = np.concatenate([self.sensors.numpy(), events[:, 0].astype(int)])
        ways = self.network.distances(cells)[: len(self.sensors), len(self.sensors) :]
        for (_, first, last, _), way in zip(events, ways.T, strict=True):
            begin, end = (int(m * 60 // self.interval) for m in (first, last + minutes))
            near[max(0, begin) : max(0, end + 1)] |= torch.from_numpy(way <= reach)
        return near

    def series(self, quantity: Quantity = "speed", noise: float = 0.02, missing: float = 0.01) -> Series:
        """What the sensors report: relative Gaussian `noise`, and a share `missing` of readings that never came.

        The graph is the Gaussian kernel of the driving distance from sensor to sensor (directed).
        """
        if quantity not in ("speed", "flow"):
            raise ValueError(f"a road sensor measures 'speed' or 'flow', not {quantity!r}")
        truth = (self.speed if quantity == "speed" else self.flow)[:, self.sensors]
        generator = torch.Generator().manual_seed(self.seed)
        observed = torch.rand(truth.shape, generator=generator) >= missing
        values = truth * (1 + noise * torch.randn(truth.shape, generator=generator)).clamp(min=0)
        cells = self.sensors.numpy()
        return Series(
            values=torch.where(observed, values, 0.0)[..., None],
            observed=observed[..., None],
            start=START,
            interval=self.interval,
            adjacency=gaussian_kernel(torch.from_numpy(self.network.distances(cells))).float(),
            positions=torch.from_numpy(self.network.position[cells]).float(),
            nodes=tuple(f"cell {cell}" for cell in cells),
            channels=(quantity,),
            unit="km/h" if quantity == "speed" else "veh/h",
            name=self.name,
        )


def simulate_roads(
    sensors: int = 40,
    days: int = 21,
    seed: int = 0,
    layout: str = "ring",
    interval: int = 300,
    free_speed: float = FREE_SPEED,
    demand: float = 1.0,
    peak_shift: float = 0.0,
    citywide: float = 0.0,
    incidents: float = 1.0,
) -> RoadRecord:
    """Simulate a city of about 4 corridor cells per sensor from Monday midnight; cached on disk.

    layout: see `cities.city`;  interval: seconds per record, a multiple of 60;  demand: scale of all arrivals;
    peak_shift: minutes by which all daily patterns come later;  citywide: standard deviation of a hidden factor of all
    on-ramps' demand, AR(1) with time constant 90 min;  incidents: 1 means one per 2 days per 40 cells, capacity cut to
    20 to 50 % for 20 to 60 min. Every seed is another city of that layout, with its own ramps, noise and incidents.
    """
    if interval % 60 or 86_400 % interval:
        raise ValueError(f"interval is {interval} s but must be whole minutes that divide a day")
    if days < 1:
        raise ValueError(f"days is {days}: simulate at least one")
    network = city(layout, 4 * sensors, seed)
    parameters = {
        "version": 2, "sensors": sensors, "days": days, "seed": seed, "layout": layout, "interval": interval,
        "free_speed": free_speed, "demand": demand, "peak_shift": peak_shift, "citywide": citywide,
        "incidents": incidents,
    }  # fmt: skip

    def build() -> dict[str, Tensor]:
        rng = np.random.default_rng([seed, 2])
        warm = -(-WARM_UP * 60 // interval)  # whole records
        minute = np.arange(-warm * interval // 60, days * 1440)
        arrivals = _arrivals(network, minute - round(peak_shift), demand, citywide, rng)
        turns = _turns(network, minute - round(peak_shift), rng)
        events, share = _incidents(network, minute, incidents, rng)
        traffic = transmit(network, arrivals, turns, share, interval // 60, free_speed, FIFO)
        density, flow = traffic.density[warm:], traffic.outflow[warm:]
        moving = density > 1e-9
        speed = np.where(moving, flow / np.where(moving, density, 1.0), free_speed)
        tensors = {"density": density, "flow": flow, "speed": np.minimum(speed, free_speed)}
        exact = {
            "entered": traffic.entered[warm:],
            "left": traffic.left[warm:],
            "stock": traffic.stock[warm:],
        }
        return {
            **{key: torch.from_numpy(value).float() for key, value in tensors.items()},
            **{key: torch.from_numpy(value).clone() for key, value in exact.items()},
            "incidents": torch.from_numpy(events),
        }

    data = cached("roads", parameters, build)
    cells = torch.from_numpy(network.sensor_cells(sensors))
    return RoadRecord(network=network, sensors=cells, interval=interval, seed=seed, name=f"roads-{layout}", **data)


def simulated_roads(
    sensors: int = 40,
    days: int = 21,
    seed: int = 0,
    quantity: Quantity = "speed",
    layout: str = "ring",
    interval: int = 300,
    free_speed: float = FREE_SPEED,
    demand: float = 1.0,
    peak_shift: float = 0.0,
    citywide: float = 0.0,
    incidents: float = 1.0,
) -> Series:
    """The sensors' readings of `simulate_roads` with the same arguments: 2 % noise, 1 % missing."""
    record = simulate_roads(sensors, days, seed, layout, interval, free_speed, demand, peak_shift, citywide, incidents)
    return record.series(quantity)


def _arrivals(network: RoadNetwork, minute: Ints, scale: float, citywide: float, rng: np.random.Generator) -> Floats:
    """(minutes, sources) veh/h: peak demand x profile x lognormal noise of mean 1 (x the citywide factor at ramps).

    Peak demands are drawn, then scaled together so that at `scale` 1 the busiest tenth of the corridor cells is asked
    for at least BUSY times its capacity in the rush hour: every city has its jams, whatever its layout and seed.
    """
    source = np.flatnonzero(network.kind == SOURCE)
    ramp, count = network.lanes[source] == 1, len(source)
    following = np.zeros(network.cells, dtype=int)
    following[network.sender] = network.receiver  # the only cell after a source
    rate = np.where(ramp, rng.uniform(200, 320, count), rng.uniform(1300, 1700, count))
    peak = rate * network.lanes[following[source]]  # a wide road has busy ramps
    morning = rng.uniform(0.6, 1.1, count)
    evening = 1.7 - morning
    main = np.concatenate(network.main)
    rush = np.zeros((2, network.cells))
    rush[:, source] = peak * (0.5 + 0.5 * np.stack([morning, evening]))
    asked = np.maximum(*(network.load(arrivals) for arrivals in rush))[main] / (CAPACITY * network.lanes[main])
    peak = peak * BUSY / np.quantile(asked, 0.9)
    noise = np.exp(autoregression((len(minute), count), 30.0, 0.15, rng) - 0.15**2 / 2)
    common = np.exp(autoregression((len(minute), 1), 90.0, citywide, rng) - citywide**2 / 2)
    return scale * peak * demand_profile(minute, morning, evening) * noise * np.where(ramp, common, 1.0)


def _turns(network: RoadNetwork, minute: Ints, rng: np.random.Generator) -> Floats:
    """(minutes, edges): the share that leaves a corridor swings by up to 40 % around its mean, once a day."""
    turns = np.tile(network.turn, (len(minute), 1))
    twin = _partner(network.sender, default=np.full(len(network.sender), -1))
    leaving = np.flatnonzero((twin >= 0) & (np.arange(len(twin)) > twin))  # the later of two exits leaves the corridor
    phase, depth = rng.uniform(0, 2 * np.pi, len(leaving)), rng.uniform(0.1, 0.4, len(leaving))
    turns[:, leaving] *= 1 + depth * np.sin(2 * np.pi * minute[:, None] / 1440 + phase)
    turns[:, twin[leaving]] = 1 - turns[:, leaving]
    return turns


def _incidents(network: RoadNetwork, minute: Ints, rate: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Events (incidents, 4) as in `RoadRecord`, and the share (minutes, cells) of its capacity that each cell keeps."""
    road = np.flatnonzero(network.kind == ROAD)
    count = rng.poisson(rate * len(road) / 40 * len(minute) / 2880)
    first = np.sort(rng.integers(minute[0], minute[-1] + 1, count))
    last = first + rng.integers(20, 61, count)
    events = np.stack([rng.choice(road, count), first, last, rng.uniform(0.2, 0.5, count)], 1).astype(float)
    share = np.ones((len(minute), network.cells))
    for cell, begin, end, kept in events:
        rows = slice(int(begin - minute[0]), int(end - minute[0]))
        share[rows, int(cell)] = np.minimum(share[rows, int(cell)], kept)
    return events, share

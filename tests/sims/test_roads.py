import numpy as np
import pytest
import torch

from pathline.sims import RoadNetwork, city, simulate_roads, simulated_roads, transmit
from pathline.sims.cities import CELL, LAYOUTS, ROAD, SINK, SOURCE
from pathline.sims.roads import autoregression


@pytest.fixture(scope="module", autouse=True)
def fresh_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATHLINE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def record():
    return simulate_roads(sensors=16, days=2, seed=3)


def straight(cells, lanes=1.0):
    """A source, `cells` road cells in a row, a sink."""
    kind = np.array([SOURCE] + [ROAD] * cells + [SINK])
    sender = np.arange(cells + 1)
    return RoadNetwork(
        kind=kind,
        lanes=np.full(cells + 2, lanes),
        position=np.stack([CELL * np.arange(cells + 2), np.zeros(cells + 2)], 1),
        sender=sender,
        receiver=sender + 1,
        turn=np.ones(cells + 1),
        priority=np.ones(cells + 1),
        main=(np.arange(1, cells + 1),),
    )


def run(network, arrivals, minutes, share=None, **options):
    """Constant arrivals (veh/h per source) and mean turning ratios."""
    share = np.ones((minutes, network.cells)) if share is None else share
    arrivals = np.tile(np.atleast_1d(np.asarray(arrivals, float)), (minutes, 1))
    return transmit(network, arrivals, np.tile(network.turn, (minutes, 1)), share, interval=1, **options)


def test_no_car_appears_or_vanishes(record):
    assert (record.entered - record.left - record.stock.diff()).abs().max() < 1e-9
    assert record.left.sum() > 10_000


@pytest.mark.parametrize("layout", LAYOUTS)
def test_conservation_holds_in_every_layout_and_in_gridlock(layout):
    network = city(layout, 96, seed=1)
    traffic = run(network, np.full((network.kind == SOURCE).sum(), 4000.0), 60)
    assert np.abs(traffic.entered - traffic.left - np.diff(traffic.stock)).max() < 1e-9
    assert traffic.final.min() >= 0
    road = network.kind == ROAD
    assert (traffic.final[road] <= 160 * CELL * network.lanes[road] + 1e-9).all()


def test_light_traffic_drives_at_free_speed():
    traffic = run(straight(20), 900.0, 60)
    assert traffic.outflow[-1, 1:-1] == pytest.approx(900)
    assert traffic.density[-1, 1:-1] == pytest.approx(900 / 100)
    slow = run(straight(20), 900.0, 60, free_speed=80.0)
    assert slow.density[-1, 1:-1] == pytest.approx(900 / 80)


def test_a_jam_travels_upstream_at_the_rankine_hugoniot_speed():
    """Demand q1 meets capacity q2: shock speed (q2 - q1) / (rho2 - rho1), rho1 = q1/v_f, rho2 = rho_jam - q2/w."""
    cells, minutes, q1, q2 = 60, 120, 1500.0, 800.0
    share = np.ones((minutes, cells + 2))
    share[:, cells] = q2 / 2000
    traffic = run(straight(cells), q1, minutes, share)
    rho1, rho2 = q1 / 100, 160 - q2 / 20
    jam = traffic.density[:, 1:cells]  # km of jam, from how much denser the road has become than rho1
    length = ((jam - rho1).clip(min=0) / (rho2 - rho1)).sum(1) * CELL
    speed = (length[110] - length[60]) / 50 * 60
    assert speed == pytest.approx((q1 - q2) / (rho2 - rho1), rel=0.01)
    assert jam[-1, -4:] == pytest.approx(rho2, rel=1e-3)
    assert traffic.outflow[-1, cells] == pytest.approx(q2)


def test_a_ring_without_exits_keeps_its_cars_and_spreads_them():
    cells = 20
    sender = np.arange(cells)
    ring = RoadNetwork(
        np.full(cells, ROAD), np.ones(cells), np.zeros((cells, 2)), sender, (sender + 1) % cells, np.ones(cells),
        np.ones(cells), (sender,),
    )  # fmt: skip
    initial = np.zeros(cells)
    initial[:5] = 60.0
    traffic = transmit(ring, np.zeros((120, 0)), np.ones((120, cells)), np.ones((120, cells)), 1, initial=initial)
    assert traffic.stock == pytest.approx(300, abs=1e-9)
    assert traffic.outflow[-1] == pytest.approx(2000.0, rel=1e-3)  # 30 veh/km on average: the flat top of the diagram
    assert traffic.density[-1].max() < 61 and traffic.density[-1].min() > 19


def fork(merge):
    """Two sources into one cell (merge), or one cell into two (diverge); the second branch leads to a narrow cell."""
    if merge:
        kind, sender, receiver = [SOURCE, SOURCE, ROAD, SINK], [0, 1, 2], [2, 2, 3]
        turn, priority, lanes = [1.0, 1.0, 1.0], [0.75, 0.25, 1.0], [3.0, 1.0, 1.0, 1.0]
    else:
        kind, sender, receiver = [SOURCE, ROAD, ROAD, ROAD, SINK, SINK], [0, 1, 1, 2, 3], [1, 2, 3, 4, 5]
        turn, priority, lanes = [1.0, 0.8, 0.2, 1.0, 1.0], [1.0] * 5, [1.0, 1.0, 1.0, 0.1, 1.0, 1.0]
    return RoadNetwork(
        *map(np.array, (kind, lanes)),
        np.zeros((len(kind), 2)),
        *map(np.array, (sender, receiver, turn, priority)),
        (),
    )


def test_a_full_merge_shares_its_room_by_priority_and_never_wastes_any():
    both = run(fork(merge=True), [3000.0, 3000.0], 60)
    assert both.outflow[-1, :2] == pytest.approx([1500, 500])
    few = run(fork(merge=True), [3000.0, 300.0], 60)
    assert few.outflow[-1, :2] == pytest.approx([1700, 300])


def test_a_blocked_exit_holds_up_the_whole_cell_first_in_first_out():
    """The exit takes 200 veh/h and is wanted by a fifth: 1000 veh/h pass in all; without the rule 1800 or more do."""
    strict, loose = (run(fork(merge=False), 2000.0, 120, fifo=fifo) for fifo in (1.0, 0.0))
    assert strict.outflow[-1, 1] == pytest.approx(1000)
    assert loose.outflow[-1, 1] > 1600


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", range(5))
def test_cities_are_sound(layout, seed):
    network = city(layout, 96, seed)
    exits, entries = (np.bincount(ends, minlength=network.cells) for ends in (network.sender, network.receiver))
    assert exits.max() <= 2 and entries.max() <= 2
    assert (exits[network.kind == SINK] == 0).all() and (entries[network.kind == SOURCE] == 0).all()
    assert (exits[network.kind != SINK] >= 1).all() and (entries[network.kind != SOURCE] >= 1).all()
    out = np.bincount(network.sender, network.turn, network.cells)
    into = np.bincount(network.receiver, network.priority, network.cells)
    assert out[network.kind != SINK] == pytest.approx(1) and into[network.kind != SOURCE] == pytest.approx(1)
    distance = network.distances(network.sensor_cells(24))
    assert np.isfinite(distance).mean() > 0.2 and (np.diag(distance) == 0).all()
    arrivals = np.where(network.kind == SOURCE, 100.0, 0.0)
    assert network.load(arrivals)[network.kind == SINK].sum() == pytest.approx(arrivals.sum())


def test_weekdays_have_two_peaks_and_weekends_none():
    flow = simulate_roads(sensors=12, days=7, seed=0, incidents=0.0).flow.mean(1).view(7, 24, 12).mean(2)
    weekday, weekend = flow[:5].mean(0), flow[5:].mean(0)
    assert min(weekday[7:9].mean(), weekday[16:19].mean()) > 1.25 * weekday[11:14].mean()
    assert weekend[7:9].mean() < weekend[11:14].mean() * 1.1
    assert weekday[2] < 0.2 * weekday[12]


def test_incidents_are_felt_where_the_record_says_so():
    record = simulate_roads(sensors=16, days=2, seed=3, incidents=8.0)
    calm = simulate_roads(sensors=16, days=2, seed=3, incidents=0.0)
    near = record.near_incident(minutes=30, reach=3.0)
    assert near.shape == (576, 16) and 0.02 < near.float().mean() < 0.6
    slower = (calm.speed - record.speed)[:, record.sensors]
    assert slower[near].mean() > 4 * slower[~near].mean().clamp(min=0.1)
    assert len(calm.incidents) == 0 and not calm.near_incident().any()


def test_sensors_report_with_two_percent_noise_and_one_percent_gaps(record):
    for quantity, truth in (("speed", record.speed), ("flow", record.flow)):
        series = record.series(quantity)
        assert series.values.shape == (576, 16, 1) and series.steps_per_day == 288
        assert 1 - series.observed.float().mean() == pytest.approx(0.01, abs=0.003)
        assert (series.values[~series.observed] == 0).all()
        seen = series.observed[..., 0]
        relative = (series.values[..., 0] / truth[:, record.sensors] - 1)[seen]
        assert relative.std() == pytest.approx(0.02, rel=0.05)
    assert int(series.clock(torch.tensor([0]))[1]) == 0  # begins on a Monday
    assert (series.adjacency.diagonal() == 1).all() and (series.adjacency > 0).float().mean() < 0.6
    assert not torch.equal(series.adjacency, series.adjacency.T)  # motorways have directions


def test_the_seed_reproduces_a_city_and_another_seed_is_another_city():
    options = {"sensors": 12, "days": 1, "quantity": "flow", "layout": "bridge", "interval": 900}
    first, again, other = (simulated_roads(seed=seed, **options) for seed in (0, 0, 1))
    assert torch.equal(first.values, again.values) and first.values.shape == (96, 12, 1)
    assert not torch.equal(first.values, other.values)


def test_later_peaks_and_more_demand_do_what_they_say():
    plain, later, busier = (
        simulate_roads(sensors=12, days=1, seed=0, layout="tree", incidents=0.0, **change).flow.mean(1)
        for change in ({}, {"peak_shift": 60.0}, {"demand": 1.2})
    )
    lags = [float(((later.roll(-lag) - plain)[24:-24] ** 2).mean()) for lag in range(24)]
    assert abs(int(np.argmin(lags)) - 12) <= 1  # 12 records of 5 minutes
    assert busier[48:240].mean() > 1.08 * plain[48:240].mean()


def test_noise_has_the_promised_spread_and_memory():
    noise = autoregression((20_000, 4), 30.0, 0.15, np.random.default_rng(0))
    assert noise.std() == pytest.approx(0.15, rel=0.05)
    assert (noise[30:] * noise[:-30]).mean() / noise.var() == pytest.approx(np.exp(-1), abs=0.06)


def test_requests_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="no layout 'moebius'"):
        simulate_roads(layout="moebius")
    with pytest.raises(ValueError, match="jumps over a cell"):
        run(straight(3), 100.0, 1, free_speed=200.0)
    with pytest.raises(ValueError, match="divide a day"):
        simulate_roads(interval=420)
    with pytest.raises(ValueError, match="'speed' or 'flow'"):
        simulated_roads(sensors=12, days=1, quantity="density")

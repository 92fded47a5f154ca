"""The hidden factor that all on-ramps of a city share."""

import numpy as np
import pytest

from pathline.sims import city, simulate_roads
from pathline.sims.cities import SOURCE
from pathline.sims.roads import _arrivals


def test_all_ramps_and_nothing_else_follow_one_factor_with_the_promised_memory():
    """arrivals with the factor / arrivals without it = the factor, for the same draws of everything else."""
    network = city("ring", 80, seed=0)
    minute = np.arange(200 * 1440)
    with_it, without = (_arrivals(network, minute, 1.0, sd, np.random.default_rng(1)) for sd in (0.3, 0.0))
    ratio = with_it / without
    ramp = network.lanes[np.flatnonzero(network.kind == SOURCE)] == 1
    assert ramp.any() and not ramp.all()
    np.testing.assert_allclose(ratio[:, ~ramp], 1.0)
    np.testing.assert_allclose(ratio[:, ramp], ratio[:, ramp][:, :1].repeat(ramp.sum(), 1))
    log = np.log(ratio[:, ramp][:, 0])
    assert log.std() == pytest.approx(0.3, rel=0.05) and ratio[:, ramp].mean() == pytest.approx(1.0, abs=0.02)
    for lag in (30, 90, 180):
        assert np.corrcoef(log[:-lag], log[lag:])[0, 1] == pytest.approx(np.exp(-lag / 90), abs=0.06)


def test_citywide_demand_conserves_cars_and_moves_distant_sensors_together(tmp_path, monkeypatch):
    monkeypatch.setenv("PATHLINE_CACHE", str(tmp_path))
    records = {sd: simulate_roads(16, 3, seed=2, interval=600, citywide=sd) for sd in (0.0, 0.3)}
    for record in records.values():
        assert (record.entered - record.left - record.stock.diff()).abs().max() < 1e-9
    together = {}
    for sd, record in records.items():
        flow = record.flow[:, record.sensors].double().view(3, 144, 16)
        deviation = (flow - flow.mean(0)).flatten(0, 1)  # from the time of day
        together[sd] = float(deviation.T.corrcoef().mean())
    assert together[0.3] > together[0.0] + 0.1

"""The built-in sensor networks, read from the mirror."""

import os

import pytest
import torch

from pathline.data.sets import load

pytestmark = pytest.mark.skipif(not os.environ.get("PATHLINE_DATA"), reason="PATHLINE_DATA names no mirror")


def test_chickenpox_has_its_counties_and_their_borders():
    data = load("chickenpox")
    assert data.values.shape == (521, 20, 1) and data.nodes[4] == "BUDAPEST"
    assert torch.equal(data.adjacency, data.adjacency.T) and data.adjacency.sum() == 102
    assert data.clock(torch.tensor([0]))[1].item() == 0 and len(data.split().validation)


def test_england_has_a_graph_for_every_day():
    data = load("england-covid")
    assert data.adjacency.shape == (61, 129, 129) and data.values.shape == (61, 129, 1)
    assert not torch.equal(data.adjacency[0], data.adjacency[50])
    window = data.gather(torch.tensor([3, 10]))
    assert torch.equal(window.graph[1], data.adjacency[10:14])
    assert torch.equal(data.split().test.adjacency[0], data.adjacency[48])
    assert data.graph.shape == (129, 129) and len(data.split().validation)


def test_small_and_wide_ones_split():
    for key, shape in (("pedalme-london", (35, 15, 1)), ("twitter-tennis", (112, 1000, 1))):
        data = load(key)
        assert data.values.shape == shape and all(len(part) for part in vars(data.split()).values())
    tennis = load("twitter-tennis")
    assert tennis.values.max() > 1000 and tennis.adjacency.sum() > 10_000


def test_air_quality_knows_its_gaps():
    beijing, california = load("air-quality-beijing"), load("air-quality-california")
    assert beijing.values.shape == (35_064, 12, 1) and beijing.nodes[0] == "Aotizhongxin"
    assert beijing.values[:2, 0, 0].tolist() == [4.0, 8.0] and 0.005 < beijing.describe()["missing"] < 0.05
    assert california.values.shape == (304, 93, 1)
    assert california.describe()["missing"] == pytest.approx(0.43, abs=0.02)
    assert torch.equal(california.adjacency, california.adjacency.T)
    assert (california.adjacency > 0).sum(1).min() >= 5
    span = california.positions.amax(0) - california.positions.amin(0)
    assert 300 < span[0] < 1200 and 600 < span[1] < 1300  # California, in km

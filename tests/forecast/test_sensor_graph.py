"""The graph of data that brings none."""

from dataclasses import replace

import torch

from pathline.forecast.sensor_graph import correlation_graph, sensor_graph


def test_the_data_s_own_graph_loses_its_loops_only(series):
    looped = replace(series, adjacency=series.adjacency + 3 * torch.eye(4))
    assert torch.equal(sensor_graph(looped), series.adjacency)


def test_sensors_that_move_together_are_joined(complete):
    generator = torch.Generator().manual_seed(0)
    a, b, noise = torch.randn(3, 300, 1, generator=generator)
    walk = torch.cat([a, a + 0.1 * noise, b, b - 0.1 * noise], dim=1).cumsum(0)
    observed = torch.rand(300, 4, 1, generator=generator) > 0.1
    data = replace(complete, values=walk[..., None], observed=observed, adjacency=None)
    graph = correlation_graph(data, neighbours=1)
    assert torch.equal(graph, graph.T)
    assert torch.equal(graph > 0.8, torch.block_diag(*[1 - torch.eye(2)] * 2).bool())
    assert torch.equal(sensor_graph(data, neighbours=1), graph)


def test_correlation_is_that_of_numpy_without_gaps(complete):
    change = (complete.values[1:] - complete.values[:-1])[..., 0].T.double()
    expected = torch.corrcoef(change).fill_diagonal_(0).clamp(min=0)
    torch.testing.assert_close(correlation_graph(complete, neighbours=3).double(), expected, rtol=1e-5, atol=1e-6)

"""Interpolation between nodes of the plane: nearest by brute force, natural neighbours by what they reproduce."""

import torch

from pathline.graph.interpolation import in_time, natural_neighbours, nearest_values


def scattered(nodes: int = 12, steps: int = 6):
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(nodes, 2, generator=generator)
    values = torch.randn(nodes, steps, generator=generator)
    seen = torch.rand(nodes, steps, generator=generator) < 0.5
    return places, values, seen


def test_the_nearest_is_the_nearest_seen_at_that_time():
    places, values, seen = scattered()
    seen[:, 3] = False
    distance = torch.cdist(places, places)
    found = nearest_values(values, seen, distance)
    for node in range(12):
        for step in range(6):
            if step == 3:
                continue
            candidates = [(float(distance[node, j]), j) for j in range(12) if seen[j, step]]
            expected = values[node, step] if seen[node, step] else values[min(candidates)[1], step]
            assert found[node, step] == expected
    assert torch.equal(found[:, 3], found[:, 2])  # nobody was seen: the time before
    junk = torch.where(seen, values, 1e9)
    assert torch.equal(nearest_values(junk, seen, distance), found)


def test_gaps_in_time_take_the_nearest_time_the_earlier_of_two():
    gap = torch.nan
    values = torch.tensor([[gap, 1.0, gap, 3.0, gap, gap], [gap] * 6, [gap, gap, gap, gap, gap, 7.0]])
    expected = torch.tensor([[1.0, 1.0, 1.0, 3.0, 3.0, 3.0], [0.0] * 6, [7.0] * 6])
    assert torch.equal(in_time(values), expected)


def test_natural_neighbours_reproduce_planes_inside_and_stay_between_the_values():
    generator = torch.Generator().manual_seed(1)
    grid = torch.cartesian_prod(torch.arange(7.0), torch.arange(7.0))
    places = torch.cat([grid, 2 + 2 * torch.rand(8, 2, generator=generator)])
    plane = (places @ torch.tensor([1.0, -2.0]) + 0.5)[:, None].expand(-1, 2)
    seen = torch.ones(57, 2, dtype=torch.bool)
    seen[49:] = False
    found = natural_neighbours(plane, seen, places, raster=300)
    assert (found - plane)[49:].abs().max() < 0.06  # Sibson's weights reproduce linear functions, up to the raster
    values = torch.rand(57, 2, generator=generator)
    found = natural_neighbours(values, seen, places)
    assert found[49:].max() <= values[:49].max() and found[49:].min() >= values[:49].min()
    assert torch.equal(found[:49], values[:49])
    nearest = nearest_values(plane, seen, torch.cdist(places, places))
    assert (nearest - plane)[49:].abs().max() > 0.3  # which the nearest neighbour does not do


def test_natural_neighbours_look_at_what_is_seen_only_and_need_not_see_every_time():
    places, values, seen = scattered()
    seen[:, 2] = False
    found = natural_neighbours(values, seen, places)
    junk = torch.where(seen, values, 1e9)
    assert torch.equal(natural_neighbours(junk, seen, places), found) and found.isfinite().all()

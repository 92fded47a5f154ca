"""Edges, areas, triangulations and contact edges against brute force."""

import pytest
import torch

from pathline.graph.mesh import (
    boundary_edges,
    delaunay,
    euler_characteristic,
    mesh_edges,
    signed_areas,
    unique_edges,
    world_edges,
)

CELLS = torch.tensor([[0, 1, 2], [0, 2, 3]])  # a square cut along 0-2


def pairs(edges: torch.Tensor) -> set[tuple[int, int]]:
    return {(int(a), int(b)) for a, b in edges.T}


def test_the_edge_inside_appears_once_each_way() -> None:
    once = {(0, 1), (1, 2), (0, 2), (2, 3), (0, 3)}
    assert pairs(unique_edges(CELLS)) == once and unique_edges(CELLS).shape[1] == 5
    both = mesh_edges(CELLS)
    assert pairs(both) == once | {(b, a) for a, b in once} and both.shape[1] == 10
    assert bool((both[1].diff() >= 0).all())
    assert pairs(boundary_edges(CELLS)) == once - {(0, 2)}


def test_edges_do_not_depend_on_how_triangles_are_written() -> None:
    turned = torch.stack([CELLS[1].roll(1), CELLS[0].flip(0)])
    assert torch.equal(mesh_edges(CELLS), mesh_edges(turned))


def test_a_square_is_a_disc_and_a_ring_is_not() -> None:
    assert euler_characteristic(CELLS) == 1
    inner, outer = torch.arange(4), torch.arange(4, 8)
    ring = torch.cat(
        [torch.stack([inner, outer, outer.roll(-1)], 1), torch.stack([inner, outer.roll(-1), inner.roll(-1)], 1)]
    )
    assert euler_characteristic(ring) == 0


def test_delaunay_leaves_no_point_inside_a_circumcircle() -> None:
    points = torch.rand(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cells = delaunay(points)
    assert bool((signed_areas(points, cells) > 0).all()) and euler_characteristic(cells) == 1
    a, b, c = (points[corner] for corner in cells.T)
    rows = 2 * torch.stack([b - a, c - a], 1)
    right = torch.stack([(b.square() - a.square()).sum(1), (c.square() - a.square()).sum(1)], 1)
    centre = torch.linalg.solve(rows, right)
    inside = torch.cdist(centre, points) < (centre - a).norm(dim=1, keepdim=True) * (1 - 1e-9)
    assert not bool(inside.any())
    hull = signed_areas(points, cells).sum()
    assert 0.7 < float(hull) < 1


def test_points_on_a_line_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be triangulated"):
        delaunay(torch.stack([torch.arange(5.0), torch.arange(5.0)], 1))


def test_world_edges_are_near_pairs_that_no_edge_joins() -> None:
    positions = torch.rand(3, 10, 3, generator=torch.Generator().manual_seed(0))
    joined = torch.tensor([[0, 1, 4, 7], [1, 0, 7, 4]])
    edges, item = world_edges(positions, 0.5, joined)
    expected = {
        (b * 10 + i, b * 10 + j)
        for b in range(3)
        for i in range(10)
        for j in range(10)
        if i != j and (i, j) not in pairs(joined) and float((positions[b, i] - positions[b, j]).norm()) < 0.5
    }
    assert len(expected) > 20 and pairs(edges) == expected and edges.shape[1] == len(expected)
    assert torch.equal(item, edges[0] // 10) and torch.equal(item, edges[1] // 10)
    assert bool((edges[1].diff() >= 0).all())


def test_world_edges_in_blocks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    positions = torch.rand(5, 8, 2, generator=torch.Generator().manual_seed(0))
    none = torch.empty(2, 0, dtype=torch.int64)
    whole = world_edges(positions, 0.4, none)[0]
    monkeypatch.setattr("pathline.graph.mesh._BLOCK", 130)
    assert torch.equal(whole, world_edges(positions, 0.4, none)[0])

"""The remesher: valid edges, no triangle turned over, the same region, few nodes, and fields carried along."""

import pytest
import torch
from torch import Tensor

from pathline.graph.mesh import delaunay, euler_characteristic, mesh_edges, signed_areas, unique_edges
from pathline.graph.remesh import Mesh, flip, interpolate, lengths, remesh, sizing_of, split


def square(seed: int = 0, inside: int = 30) -> tuple[Tensor, Tensor]:
    """The unit square, four nodes on each side and random ones inside."""
    generator = torch.Generator().manual_seed(seed)
    line = torch.arange(4) / 4.0
    zero, one = torch.zeros(4), torch.ones(4)
    sides = [torch.stack(side, 1) for side in ((line, zero), (one, line), (1 - line, one), (zero, 1 - line))]
    points = torch.cat([*sides, 0.05 + 0.9 * torch.rand(inside, 2, generator=generator)]).double()
    return points, delaunay(points)


def isotropic(points: Tensor, size: float | Tensor) -> Tensor:
    return torch.eye(2, dtype=torch.float64) / torch.as_tensor(size).double().expand(len(points))[:, None, None] ** 2


def fields(points: Tensor) -> dict[str, Tensor]:
    slanted = torch.tensor([[40.0, 15.0], [15.0, 20.0]], dtype=torch.float64)
    return {
        "coarse": isotropic(points, 2.0),
        "fine": isotropic(points, 0.15),
        "graded": isotropic(points, 0.08 + 0.5 * points[:, 0]),
        "anisotropic": slanted.expand(len(points), 2, 2).clone(),
    }


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", ["coarse", "fine", "graded", "anisotropic"])
def test_what_a_remeshed_square_must_be(kind: str, seed: int) -> None:
    points, cells = square(seed)
    mesh = remesh(points, cells, fields(points)[kind])
    edges = unique_edges(mesh.cells)
    assert float(lengths(mesh, edges).max()) <= 1 + 1e-9
    areas = signed_areas(mesh.points, mesh.cells)
    assert bool((areas > 0).all())
    assert abs(float(areas.sum()) - 1) < 1e-9
    assert euler_characteristic(mesh.cells) == 1
    assert len(mesh.cells.unique()) == len(mesh.points)
    pairs = torch.cat([mesh.cells[:, [0, 1]], mesh.cells[:, [1, 2]], mesh.cells[:, [2, 0]]])
    assert len(pairs.unique(dim=0)) == len(pairs)  # each side of an edge belongs to one triangle


def test_a_coarse_field_leaves_few_nodes_and_a_fine_one_adds_some() -> None:
    points, cells = square()
    coarse, fine = (remesh(points, cells, fields(points)[kind]) for kind in ("coarse", "fine"))
    assert len(coarse.points) <= 6 and len(coarse.cells) <= 4
    assert len(fine.points) > 2 * len(points)
    graded = remesh(points, cells, fields(points)["graded"])
    left = (graded.points[:, 0] < 0.3).sum()
    assert left > 3 * (graded.points[:, 0] > 0.7).sum()


def test_an_anisotropic_field_gives_long_triangles() -> None:
    points, cells = square()
    wide = torch.diag(torch.tensor([4.0, 400.0], dtype=torch.float64)).expand(len(points), 2, 2)
    mesh = remesh(points, cells, wide)
    i, j = unique_edges(mesh.cells)
    extent = (mesh.points[i] - mesh.points[j]).abs().mean(0)
    assert float(extent[0]) > 3 * float(extent[1])
    isotropic_count = len(remesh(points, cells, isotropic(points, 0.05)).points)
    assert len(mesh.points) < isotropic_count / 2


def test_a_hole_stays_a_hole() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(150, 2, generator=generator).double()
    frame = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=torch.float64)
    rim = torch.tensor([[0.3, 0.3], [0.3, 0.7], [0.7, 0.3], [0.7, 0.7]], dtype=torch.float64)
    points = torch.cat([frame, rim, points[((points - 0.5).abs() > 0.22).any(1)]])
    cells = delaunay(points)
    centre = points[cells].mean(1)
    cells = cells[((centre - 0.5).abs() > 0.2).any(1)]
    used = cells.unique()
    place = torch.full((len(points),), -1)
    place[used] = torch.arange(len(used))
    points, cells = points[used], place[cells]
    before, area = euler_characteristic(cells), float(signed_areas(points, cells).sum())
    for size in (0.1, 0.6):
        mesh = remesh(points, cells, isotropic(points, size))
        assert euler_characteristic(mesh.cells) == before == 0
        assert abs(float(signed_areas(mesh.points, mesh.cells).sum()) - area) < 1e-9


def test_flips_of_an_isotropic_field_end_at_delaunay() -> None:
    generator = torch.Generator().manual_seed(3)
    points = torch.rand(40, 2, generator=generator).double()
    target = delaunay(points)
    sliced = points * torch.tensor([1.0, 12.0], dtype=torch.float64)
    other = delaunay(sliced)  # Delaunay of a stretched plane: a bad one of this, with the same hull
    assert {tuple(e) for e in unique_edges(other).T.tolist()} != {tuple(e) for e in unique_edges(target).T.tolist()}
    mesh = flip(Mesh(points, other, isotropic(points, 10.0), torch.zeros(40, dtype=torch.bool)))
    assert {tuple(e) for e in unique_edges(mesh.cells).T.tolist()} == {
        tuple(e) for e in unique_edges(target).T.tolist()
    }
    stretched = torch.diag(torch.tensor([1e-3, 144e-3], dtype=torch.float64)).expand(40, 2, 2)
    back = flip(Mesh(points, target, stretched, mesh.keep))
    assert {tuple(e) for e in unique_edges(back.cells).T.tolist()} == {tuple(e) for e in unique_edges(other).T.tolist()}


def test_splitting_halves_what_is_too_long_and_nothing_else() -> None:
    points = torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=torch.float64)
    cells = torch.tensor([[0, 1, 2], [0, 2, 3]])
    mesh = split(Mesh(points, cells, isotropic(points, 1.2), torch.zeros(4, dtype=torch.bool)))
    assert len(mesh.points) == 5 and torch.allclose(mesh.points[4], torch.tensor([0.5, 0.5], dtype=torch.float64))
    assert len(mesh.cells) == 4
    same = split(Mesh(points, cells, isotropic(points, 1.5), torch.zeros(4, dtype=torch.bool)))
    assert torch.equal(same.cells, cells)


def test_nodes_that_must_stay_stay() -> None:
    points, cells = square()
    keep = torch.zeros(len(points), dtype=torch.bool)
    keep[[1, 20, 33]] = True
    mesh = remesh(points, cells, isotropic(points, 2.0), keep)
    distance = torch.cdist(points[keep], mesh.points).amin(1)
    assert float(distance.max()) == 0.0 and int(mesh.keep.sum()) == 3
    assert len(mesh.points) < 15


def test_linear_fields_survive_interpolation() -> None:
    points, cells = square()
    plane = points @ torch.tensor([[2.0, 1.0], [-1.0, 0.5]], dtype=torch.float64) + 3
    mesh = remesh(points, cells, fields(points)["graded"])
    carried = interpolate(points, cells, plane, mesh.points)
    assert torch.allclose(carried, mesh.points @ torch.tensor([[2.0, 1.0], [-1.0, 0.5]], dtype=torch.float64) + 3)
    assert torch.allclose(interpolate(points, cells, plane, points), plane)
    bump = torch.zeros(len(points), dtype=torch.float64)
    bump[20] = 1.0
    shown = interpolate(points, cells, bump, mesh.points)
    assert float(shown.min()) > -1e-9 and float(shown.max()) <= 1 + 1e-9


def test_the_sizing_of_a_mesh_is_the_least_ellipse_around_its_edges() -> None:
    points, cells = square(seed=4)
    edges = mesh_edges(cells)
    sizing = sizing_of(points, edges)
    u = points[edges[0]] - points[edges[1]]
    reach = torch.einsum("ea,eab,eb->e", u, sizing[edges[1]], u)
    assert float(reach.max()) <= 1 + 1e-9
    longest = torch.zeros(len(points), dtype=torch.float64).scatter_reduce(0, edges[1], reach, "amax")
    assert torch.allclose(longest, torch.ones_like(longest))
    angle = torch.linspace(0, torch.pi, 91, dtype=torch.float64)[:-1]
    for node in (0, 20, 35):  # brute force over ellipses of every direction and ratio
        own = u[edges[1] == node]
        turn = torch.stack([torch.stack([angle.cos(), angle.sin()], 1), torch.stack([-angle.sin(), angle.cos()], 1)], 1)
        along = torch.einsum("tab,eb->tea", turn, own).square()
        ratio = torch.logspace(-3, 3, 200, dtype=torch.float64)
        scale = (along[:, None, :, 0] + ratio[None, :, None] * along[:, None, :, 1]).amax(2)
        least = float((scale / ratio.sqrt()).min())  # 1 / sqrt(det S)
        assert 1 / float(torch.linalg.det(sizing[node]).sqrt()) == pytest.approx(least, rel=0.02)


def test_bad_input_is_named() -> None:
    points, cells = square()
    with pytest.raises(ValueError, match="clockwise"):
        remesh(points, cells.flip(1), isotropic(points, 1.0))
    with pytest.raises(ValueError, match="positive definite"):
        remesh(points, cells, 0 * isotropic(points, 1.0))
    with pytest.raises(ValueError, match="too fine"):
        remesh(points, cells, isotropic(points, 1e-30))

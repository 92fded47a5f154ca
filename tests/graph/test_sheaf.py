"""Sheaf Laplacians: equal to the dense matrix delta^T delta for every family of maps, with the kernels theory names."""

import pytest
import torch
from torch import Tensor

from pathline.graph import SheafLaplacian, map_parameters, restriction_maps

FAMILIES = ("diagonal", "general", "orthogonal")


def ring(nodes: int, chords: int = 3) -> Tensor:
    edges = [(v, (v + 1) % nodes) for v in range(nodes)] + [(v, (v + nodes // 2) % nodes) for v in range(chords)]
    one = torch.tensor(edges).T
    return torch.cat([one, one.flip(0)], 1)


def square(maps: Tensor) -> Tensor:
    """Diagonal maps as matrices."""
    return torch.diag_embed(maps) if maps.ndim == 2 else maps


def dense_coboundary(laplacian: SheafLaplacian, maps: Tensor) -> Tensor:
    """delta as a matrix, one block row per undirected edge."""
    s, rows = laplacian.stalk, []
    full = square(maps)
    for e in range(laplacian.edges.shape[1]):
        v, u = laplacian.edges[:, e].tolist()
        if v < u:
            row = torch.zeros(s, laplacian.nodes * s, dtype=maps.dtype)
            row[:, v * s : (v + 1) * s] = full[e]
            row[:, u * s : (u + 1) * s] = -full[laplacian.reverse[e]]
            rows.append(row)
    return torch.cat(rows)


def made(family: str, stalk: int, nodes: int = 8) -> tuple[SheafLaplacian, Tensor]:
    torch.manual_seed(stalk)
    laplacian = SheafLaplacian(ring(nodes), nodes, stalk, family)
    raw = torch.randn(laplacian.edges.shape[1], map_parameters(family, stalk), dtype=torch.float64)
    return laplacian, restriction_maps(raw, family, stalk)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("stalk", [1, 2, 4])
def test_the_product_equals_the_assembled_matrix_which_is_symmetric_and_positive(family: str, stalk: int) -> None:
    """Card 097, proof 1."""
    laplacian, maps = made(family, stalk)
    delta = dense_coboundary(laplacian, maps)
    dense = delta.T @ delta
    x = torch.randn(8, stalk, 3, dtype=torch.float64)
    torch.testing.assert_close(laplacian.apply(maps, x).flatten(0, 1), dense @ x.flatten(0, 1), atol=1e-6, rtol=0)
    assert float(torch.linalg.eigvalsh(dense).min()) > -1e-9
    disagreement = laplacian.coboundary(maps, x).square().sum() / 2  # every edge is seen from both ends
    torch.testing.assert_close((x * laplacian.apply(maps, x)).sum(), disagreement)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_normalised_form_is_between_zero_and_two_and_has_the_gradient_of_finite_differences(family: str) -> None:
    laplacian, maps = made(family, 2)
    eye = torch.eye(16, dtype=torch.float64).view(16, 8, 2).permute(1, 2, 0).contiguous()
    dense = laplacian.apply(maps, eye, normalised=True).flatten(0, 1)
    torch.testing.assert_close(dense, dense.T)
    values = torch.linalg.eigvalsh(dense)
    assert values.min() > -1e-9 and values.max() <= 2
    delta = dense_coboundary(laplacian, maps)
    plain = delta.T @ delta
    block = torch.block_diag(*(plain[2 * v : 2 * v + 2, 2 * v : 2 * v + 2] for v in range(8)))
    like = torch.linalg.eigvals(torch.linalg.solve(block + torch.eye(16), plain)).real.sort().values
    torch.testing.assert_close(values, like, msg="similar to (D + I)^-1 L")
    x = torch.randn(8, 2, 2, dtype=torch.float64, requires_grad=True)
    learned = maps.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda m, x: laplacian.apply(m, x, normalised=True), (learned, x))


def test_orthogonal_maps_are_orthogonal() -> None:
    for stalk in (1, 2, 4):
        _, maps = made("orthogonal", stalk)
        torch.testing.assert_close(maps @ maps.transpose(1, 2), torch.eye(stalk).double().expand_as(maps))


def test_signs_that_a_bipartition_explains_leave_the_sign_vector_in_the_kernel() -> None:
    """Card 097, proof 2, second half."""
    edges = ring(8, 0)
    laplacian = SheafLaplacian(edges, 8)
    side = 1.0 - 2.0 * (torch.arange(8) % 2).double()
    maps = side[laplacian.edges[0]][:, None]  # F_own F_other = -1 on every edge
    assert float(laplacian.apply(maps, side[:, None, None]).abs().max()) == 0
    assert float(laplacian.apply(maps, torch.ones(8, 1, 1).double()).abs().max()) > 1


@pytest.mark.parametrize("split", [False, True])
def test_maps_of_a_gauge_have_a_kernel_of_a_stalk_per_component_to_which_diffusion_goes(split: bool) -> None:
    """Card 097, proof 3: F_{v<e} = O_v."""
    edges = torch.cat([ring(5, 0), ring(5, 0) + 5], 1) if split else ring(10)
    laplacian = SheafLaplacian(edges, 10, 2, "orthogonal")
    torch.manual_seed(0)
    gauge = restriction_maps(torch.randn(10, 1, dtype=torch.float64), "orthogonal", 2)
    maps = gauge[laplacian.edges[0]]
    eye = torch.eye(20, dtype=torch.float64).view(20, 10, 2).permute(1, 2, 0).contiguous()
    values, vectors = torch.linalg.eigh(laplacian.apply(maps, eye).flatten(0, 1))
    kernel = vectors[:, values < 1e-9]
    assert kernel.shape[1] == 2 * (1 + split)
    x = torch.randn(10, 2, 3, dtype=torch.float64)
    wanted = (kernel @ kernel.T @ x.flatten(0, 1)).view_as(x)
    for _ in range(400):
        x = x - 0.2 * laplacian.apply(maps, x)
    torch.testing.assert_close(x, wanted, atol=1e-8, rtol=0)


def test_diffusion_keeps_two_colours_apart_where_the_trivial_sheaf_blends_them() -> None:
    """Card 097, proof 5: a heterophilic graph, 20 steps; between over within variance."""
    torch.manual_seed(0)
    colour = torch.arange(40) % 2
    pairs = torch.rand(40, 40) < torch.where(colour[:, None] != colour, 0.3, 0.02)
    one = pairs.triu(1).nonzero().T
    laplacian = SheafLaplacian(torch.cat([one, one.flip(0)], 1), 40)
    side = 1.0 - 2.0 * colour.double()
    start = (side + 0.5 * torch.randn(40).double())[:, None, None]
    separation = {}
    for name, gauge in (("trivial", torch.ones_like(side)), ("signed", side)):
        x = start
        for _ in range(20):
            x = x - 0.08 * laplacian.apply(gauge[laplacian.edges[0]][:, None], x)
        values = x.flatten()
        means = torch.stack([values[colour == c].mean() for c in (0, 1)])
        within = torch.stack([values[colour == c].var() for c in (0, 1)]).mean()
        separation[name] = float(means.var() / within)
    assert separation["signed"] > 10 and separation["trivial"] < 1


def test_a_graph_that_is_not_both_ways_or_has_doubles_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks its reverse"):
        SheafLaplacian(torch.tensor([[0, 1], [1, 2]]), 3)
    with pytest.raises(ValueError, match="there twice"):
        SheafLaplacian(torch.tensor([[0, 1, 0], [1, 0, 1]]), 2)
    with pytest.raises(ValueError, match="no 'unitary' maps"):
        SheafLaplacian(ring(4), 4, family="unitary")

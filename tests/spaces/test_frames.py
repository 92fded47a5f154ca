"""Frames as sets, exact symmetry of random networks, and clouds on which frames are hard to define."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pathline.graph import complete_graph
from pathline.nn.equivariant import EquivariantNetwork
from pathline.nn.mlp import MLP
from pathline.spaces.frames import OrthogonalFrame, WholeGroup, least_axis, neighbourhoods, symmetrize

POINTS = 10


class Flat(nn.Module):
    """A random MLP of all coordinates of the first input (and of others, turned or not)."""

    def __init__(self, inputs: int, outputs: int, dims: int) -> None:
        super().__init__()
        torch.manual_seed(inputs)
        self.mlp, self.dims = MLP([inputs, 64, outputs]), dims

    def forward(self, *parts: Tensor) -> Tensor:
        return self.mlp(torch.cat([part.flatten(1) for part in parts], 1)).unflatten(1, (-1, self.dims))


def orthogonal(dims: int, determinant: float) -> Tensor:
    q = torch.linalg.qr(torch.randn(dims, dims, dtype=torch.float64))[0]
    q[:, 0] *= determinant * torch.linalg.det(q).sign()
    return q


def error(net: Any, x: Tensor, determinant: float) -> float:
    """How far net(g x) is from g net(x), for one g of E(d)."""
    turn = orthogonal(x.shape[-1], determinant).to(x)
    shift = 3 * torch.randn(x.shape[-1]).to(x)
    with torch.no_grad():
        return float((net(x @ turn.T + shift) - net(x) @ turn.T - shift).abs().max())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("determinant", [1.0, -1.0])
def test_any_network_becomes_equivariant_to_turns_flips_and_shifts(
    dtype: torch.dtype, tolerance: float, determinant: float
) -> None:
    net = Flat(3 * POINTS, 3 * POINTS, 3).to(dtype)
    torch.manual_seed(1)
    x = torch.randn(20, POINTS, 3, dtype=dtype)
    assert error(symmetrize(net, OrthogonalFrame(3)), x, determinant) < tolerance
    assert error(net, x, determinant) > 0.1


def test_without_flips_turns_pass_and_flips_fail() -> None:
    net = Flat(3 * POINTS, 3 * POINTS, 3).double()
    torch.manual_seed(1)
    x = torch.randn(20, POINTS, 3, dtype=torch.float64)
    symmetric = symmetrize(net, OrthogonalFrame(3, reflections=False))
    assert error(symmetric, x, 1.0) < 1e-10
    assert error(symmetric, x, -1.0) > 1e-2


@pytest.mark.parametrize("dims", [1, 2, 4])
def test_any_number_of_dimensions_and_leading_ones(dims: int) -> None:
    net = Flat(dims * POINTS, dims * POINTS, dims).double()
    torch.manual_seed(dims)
    symmetric = symmetrize(net, OrthogonalFrame(dims))
    x = torch.randn(2, 3, POINTS, dims, dtype=torch.float64)
    assert error(symmetric, x, -1.0) < 1e-10
    with torch.no_grad():
        assert torch.allclose(symmetric(x)[1, 2], symmetric(x[1, 2]), atol=1e-12)


@pytest.mark.parametrize("reflections", [True, False])
def test_a_frame_moves_with_the_data_as_a_set(reflections: bool) -> None:
    """F(g x) = g F(x) for 100 random g."""
    torch.manual_seed(0)
    frame, x = OrthogonalFrame(3, reflections), torch.randn(100, POINTS, 3, dtype=torch.float64)
    signs = torch.tensor([1.0, -1.0])[torch.randint(2, (100,))] if reflections else torch.ones(100)
    turn = torch.stack([orthogonal(3, float(sign)) for sign in signs])
    shift = torch.randn(100, 1, 3, dtype=torch.float64)
    before, after = frame.elements(x), frame.elements(x @ turn.mT + shift)
    assert len(before.turn) == (8 if reflections else 4)
    assert torch.allclose(after.centre, before.centre @ turn.mT + shift)
    moved = (turn @ before.turn).flatten(2).transpose(0, 1)
    assert torch.cdist(moved, after.turn.flatten(2).transpose(0, 1)).amin(2).max() < 1e-8
    if not reflections:
        assert torch.allclose(torch.linalg.det(after.turn), torch.ones(4, 100, dtype=torch.float64))


def test_what_is_equivariant_already_is_left_as_it_is() -> None:
    torch.manual_seed(0)
    x = torch.randn(5, POINTS, 3, dtype=torch.float64)
    network = EquivariantNetwork(1, 8, 2).double()
    for layer in network.layers:
        nn.init.normal_(layer.phi_x[-1].weight)

    def egnn(y: Tensor) -> Tensor:
        edges = complete_graph(POINTS)
        return y + network(network.embedding(torch.ones_like(y[..., :1])), y, edges)[1][-1]

    def centroid(y: Tensor) -> Tensor:
        return y.mean(1, keepdim=True)

    for net in (egnn, centroid):
        with torch.no_grad():
            assert (net(x) - x).abs().max() > 0.1
            assert torch.allclose(symmetrize(net, OrthogonalFrame(3))(x), net(x), atol=1e-6)


def test_kinds_say_what_is_shifted_turned_or_left_and_answers_may_be_several() -> None:
    net = Flat(7 * POINTS, 3 * (POINTS + 1), 3).double()

    def both(x: Tensor, v: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        y = net(x, v, s)
        return y[:, :POINTS], y[:, POINTS:].sum(-1)

    symmetric = symmetrize(both, OrthogonalFrame(3), ("point", "vector", "scalar"), ("vector", "invariant"))
    torch.manual_seed(0)
    x, v = torch.randn(2, 4, POINTS, 3, dtype=torch.float64)
    s, turn = torch.randn(4, POINTS, 1, dtype=torch.float64), orthogonal(3, -1.0)
    with torch.no_grad():
        vector, scalar = symmetric(x, v, s)
        vector_moved, scalar_moved = symmetric(x @ turn.T + 2, v @ turn.T, s)
        other = symmetric(x, v, 2 * s)[1]
    assert torch.allclose(vector_moved, vector @ turn.T, atol=1e-10)
    assert torch.allclose(scalar_moved, scalar, atol=1e-10) and not torch.allclose(other, scalar, atol=1e-3)
    with pytest.raises(ValueError, match="3 kinds"):
        symmetric(x, v)


def test_chunks_change_memory_and_not_the_answer() -> None:
    net = Flat(3 * POINTS, 3 * POINTS, 3).double()
    sizes: list[int] = []
    net.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    x = torch.randn(5, POINTS, 3, dtype=torch.float64)
    with torch.no_grad():
        whole = symmetrize(net, OrthogonalFrame(3))(x)
        assert torch.allclose(symmetrize(net, OrthogonalFrame(3), chunk=3)(x), whole, atol=1e-12)
    assert sizes == [40, 15, 15, 10]


def test_padding_counts_neither_in_the_centre_nor_in_the_axes() -> None:
    x = torch.randn(4, POINTS, 3, dtype=torch.float64)
    mask = torch.arange(POINTS + 2).expand(4, -1) < POINTS
    padded = torch.cat([x, 100 * torch.randn(4, 2, 3, dtype=torch.float64)], 1)
    plain, masked = OrthogonalFrame(3).elements(x), OrthogonalFrame(3).elements(padded, mask=mask)
    assert torch.allclose(plain.centre, masked.centre) and torch.allclose(plain.turn.abs(), masked.turn.abs())

    def mean(y: Tensor, mask: Tensor) -> Tensor:
        weight = mask[..., None].double()
        return (y.square() * y * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)

    symmetric = symmetrize(mean, OrthogonalFrame(3), output="vector")
    expected = symmetrize(lambda y: (y**3).mean(1, keepdim=True), OrthogonalFrame(3), output="vector")(x)
    assert torch.allclose(symmetric(padded, mask=mask), expected, atol=1e-10)


@pytest.mark.parametrize("cloud", ["line", "pair", "plane", "one point"])
@pytest.mark.parametrize("reflections", [True, False])
def test_thin_clouds_are_no_exception(cloud: str, reflections: bool) -> None:
    """A line leaves two axes free: a network cannot notice how they turn, and its answer has no part along them."""
    torch.manual_seed(3)
    x = torch.randn(6, POINTS, 3, dtype=torch.float64)
    x = {"line": x[..., :1] * x[:1, :1], "pair": x[:, :2], "plane": x[..., :2] @ x[0, :2], "one point": x[:, :1]}[cloud]
    net = Flat(3 * x.shape[1], 3 * x.shape[1], 3).double()
    assert error(symmetrize(net, OrthogonalFrame(3, reflections)), x, 1.0) < 1e-9


def test_vectors_define_what_positions_leave_open() -> None:
    """Two bodies with velocities across the line between them."""
    net = Flat(12, 6, 3).double()
    symmetric = symmetrize(net, OrthogonalFrame(3), ("point", "vector"), "vector")
    torch.manual_seed(0)
    x, v = torch.randn(2, 6, 2, 3, dtype=torch.float64)
    turn = orthogonal(3, -1.0)
    with torch.no_grad():
        assert torch.allclose(symmetric(x @ turn.T + 1, v @ turn.T), symmetric(x, v) @ turn.T, atol=1e-9)


def test_a_cube_is_flagged_and_noise_tells_its_axes_apart() -> None:
    cube = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)[None]
    assert float(OrthogonalFrame(3).elements(cube).gap) < 1e-4
    assert float(OrthogonalFrame(3, jitter=0.1).elements(cube).gap) > 1e-4
    assert float(OrthogonalFrame(3).elements(torch.randn(1, 9, 3)).gap) > 1e-4
    state = torch.get_rng_state()
    OrthogonalFrame(3, jitter=0.1).elements(cube)
    assert torch.equal(state, torch.get_rng_state())


def test_the_wrong_number_of_coordinates_is_named() -> None:
    with pytest.raises(ValueError, match="2 coordinates"):
        OrthogonalFrame(3).elements(torch.randn(4, 2))
    with pytest.raises(ValueError, match="at least 1"):
        OrthogonalFrame(0)


def test_gradients_pass_through_the_network_and_not_through_the_axes() -> None:
    cube = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)[None].requires_grad_()
    net = Flat(24, 24, 3)
    symmetrize(net, OrthogonalFrame(3))(cube).square().sum().backward()
    assert bool(torch.isfinite(cube.grad).all()) and float(net.mlp[0].weight.grad.abs().max()) > 0


def test_with_the_whole_group_it_is_the_average_over_the_group() -> None:
    """Cyclic shifts of 6 entries, one by one."""
    torch.manual_seed(0)
    net, x = MLP([6, 16, 6]), torch.randn(4, 6)
    shifts = (torch.arange(6)[:, None] + torch.arange(6)) % 6
    symmetric = symmetrize(net, WholeGroup(shifts), ("sequence",), "sequence")
    with torch.no_grad():
        expected = torch.stack([net(x.roll(k, 1)).roll(-k, 1) for k in range(6)]).mean(0)
        assert torch.allclose(symmetric(x), expected, atol=1e-6)
        assert torch.allclose(symmetric(x.roll(2, 1)), symmetric(x).roll(2, 1), atol=1e-6)
        assert not torch.allclose(net(x.roll(2, 1)), net(x).roll(2, 1), atol=1e-2)
        value = symmetrize(MLP([6, 16, 1]), WholeGroup(shifts), ("sequence",), "invariant")
        assert torch.allclose(value(x.roll(2, 1)), value(x), atol=1e-6)


def test_local_frames_find_the_normals_of_a_sphere_and_turn_what_a_network_says() -> None:
    torch.manual_seed(0)
    sphere = nn.functional.normalize(torch.randn(600, 3, dtype=torch.float64), dim=-1)
    local = neighbourhoods(sphere, 12)
    assert local.shape == (600, 13, 3) and torch.equal(local[:, 0], sphere)
    assert (least_axis(local) * sphere).sum(-1).abs().mean() > 0.98
    net = symmetrize(Flat(39, 3, 3).double(), OrthogonalFrame(3), output="vector")
    turn = orthogonal(3, -1.0)
    with torch.no_grad():
        normals, turned = net(local), net(neighbourhoods(sphere @ turn.T, 12))
    assert normals.shape == (600, 1, 3)
    assert torch.allclose(turned, normals @ turn.T, atol=1e-9)
    with pytest.raises(ValueError, match="between 1 and 599"):
        neighbourhoods(sphere, 600)

"""The lattice Boltzmann channel: what it conserves, and flows whose solution is known."""

import math

import pytest
import torch

from pathline.sims.lattice_boltzmann import (
    OPPOSITE,
    SOUND,
    C,
    Lattice,
    W,
    parabola,
    steady_flow,
    streaming,
)
from pathline.sims.shapes import KINDS, cover, random_shapes


def disc(height: int, width: int, x: float, y: float, radius: float) -> torch.Tensor:
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    return (columns - x).square() + (rows - y).square() < radius**2


@pytest.fixture(scope="module")
def past_a_disc():
    """An empty channel and one with a disc in the middle between the walls, at Reynolds number 20, steady."""
    solid = torch.stack([torch.zeros(24, 60, dtype=torch.bool), disc(24, 60, 18, 11.5, 3.4)])
    return solid, steady_flow(solid, viscosity=0.08 * 2 / 3 * 7 / 20, tolerance=1e-8, dtype=torch.float64)


def test_the_nine_velocities_are_isotropic_to_fourth_order():
    c, w = C.double(), W
    torch.testing.assert_close(torch.einsum("i,ai->a", w, c), torch.zeros(2).double())
    torch.testing.assert_close(torch.einsum("i,ai,bi->ab", w, c, c), torch.eye(2).double() * SOUND**2)
    fourth = torch.einsum("i,ai,bi,di,ei->abde", w, c, c, c, c)
    same = torch.eye(2).double()
    expected = sum(torch.einsum(form, same, same) for form in ("ab,de->abde", "ad,be->abde", "ae,bd->abde")) * SOUND**4
    torch.testing.assert_close(fourth, expected)
    assert torch.equal(C[:, OPPOSITE], -C)


def test_streaming_is_a_permutation_so_that_no_population_is_lost_or_doubled():
    solid = cover(random_shapes(5, 20, 30, seed=3), 20, 30)
    for periodic in (False, True):
        source = streaming(solid, periodic)
        assert torch.equal(source.sort().values, torch.arange(9 * solid.numel()))
    # and no population crosses into an obstacle: what a fluid cell receives comes from a fluid cell
    place = source % solid.numel()
    fluid = ~solid.flatten().repeat(9)
    assert not solid.flatten()[place[fluid]].any()


def test_a_closed_channel_keeps_its_mass_and_the_collision_its_momentum():
    solid = torch.stack([torch.zeros(16, 20, dtype=torch.bool), disc(16, 20, 9, 7, 3)])
    generator = torch.Generator().manual_seed(0)
    start = 0.05 * torch.randn(2, 2, 16, 20, generator=generator, dtype=torch.float64)
    lattice = Lattice(solid, 0.02, velocity=start, dtype=torch.float64)
    mass = lattice.moments()[0].sum((1, 2))
    for _ in range(50):
        lattice.step()
    torch.testing.assert_close(lattice.moments()[0].sum((1, 2)), mass, rtol=1e-13, atol=0)
    lattice.source = torch.arange(9 * solid.numel())  # collide without streaming
    before = lattice.moments()
    lattice.step()
    torch.testing.assert_close(lattice.moments(), before, rtol=0, atol=1e-13)


def test_the_inlet_lets_in_exactly_its_flux():
    """Until anything reaches the outlet, the mass grows by the inflow alone."""
    solid = torch.zeros(1, 12, 40, dtype=torch.bool)
    inflow = parabola(12, 0.06)
    lattice = Lattice(solid, 0.02, inflow, dtype=torch.float64)
    flux = lattice.pushed.sum()
    assert abs(flux / inflow.sum() - 1) < 0.01  # links cross between cell centres
    mass = lattice.moments()[0, :, :, :-2].sum()
    for step in range(1, 16):
        lattice.step()
        assert (lattice.moments()[0, :, :, :-2].sum() - mass - step * flux).abs() < 1e-12 * mass


def test_a_shear_flow_decays_with_the_viscosity():
    """u = sin(pi y / H) between walls decays as exp(-nu (pi / H)^2 t)."""
    height, nu, steps = 32, 0.03, 2000
    y = torch.arange(height, dtype=torch.float64) + 0.5
    profile = 0.05 * torch.sin(math.pi * y / height)
    start = torch.stack([profile[:, None].expand(height, 4), torch.zeros(height, 4, dtype=torch.float64)])
    lattice = Lattice(torch.zeros(1, height, 4, dtype=torch.bool), nu, velocity=start, dtype=torch.float64)
    for _ in range(steps):
        lattice.step()
    expected = profile * math.exp(-nu * (math.pi / height) ** 2 * steps)
    torch.testing.assert_close(lattice.moments()[1, 0, :, 2], expected, rtol=0, atol=0.01 * float(expected.max()))


def test_the_empty_channel_holds_the_parabola_of_poiseuille_and_its_pressure_gradient(past_a_disc):
    _, flow = past_a_disc
    profile = parabola(24, 0.08)
    error = (flow.velocity[0, 0, :, 5:-5] - profile[:, None]).abs().max() / 0.08
    assert error < 0.01
    assert flow.velocity[0, 1, :, 5:-5].abs().max() < 0.01 * 0.08
    nu = 0.08 * 2 / 3 * 7 / 20
    gradient = (flow.pressure[0, :, 10] - flow.pressure[0, :, 50]).mean() / 40
    assert abs(gradient / (8 * nu * 0.08 / 24**2) - 1) < 0.01


def test_the_flux_is_the_same_through_every_cross_section(past_a_disc):
    _, flow = past_a_disc
    flux = flow.velocity[:, 0].sum(1)
    assert ((flux.amax(1) - flux.amin(1)) / flux.mean(1) < 0.005).all()
    assert ((flux / parabola(24, 0.08).sum() - 1).abs() < 0.01).all()


def test_behind_a_disc_in_the_middle_the_flow_is_its_own_mirror_image(past_a_disc):
    solid, flow = past_a_disc
    u, v = flow.velocity[1] / 0.08
    assert (v + v.flip(0)).abs().max() < 1e-3 and (u - u.flip(0)).abs().max() < 1e-3
    assert u[10:14, 22:26].min() < 0 < u[2, 18]  # a wake that turns back, and a faster flow in the gaps
    assert v.abs().max() > 0.1
    assert not flow.velocity.masked_select(solid[:, None]).any() and not flow.pressure.masked_select(solid).any()
    assert flow.pressure[1, :, 10].mean() > flow.pressure[1, :, 30].mean() > 0
    torch.testing.assert_close(flow.pressure[..., -1].mean(1), torch.zeros(2).double(), atol=1e-12, rtol=0)


def test_a_batch_is_its_items_and_those_that_are_steady_are_left_alone(past_a_disc):
    solid, flow = past_a_disc
    alone = steady_flow(solid[:1], viscosity=0.08 * 2 / 3 * 7 / 20, tolerance=1e-8, dtype=torch.float64)
    assert flow.steps[0] < flow.steps[1] and alone.steps[0] == flow.steps[0]
    torch.testing.assert_close(alone.velocity[0], flow.velocity[0], rtol=0, atol=1e-12)
    assert (flow.change < 1e-8).all()


def test_a_flow_that_diverges_is_named():
    solid = disc(16, 40, 12, 8, 4)[None]
    with pytest.raises(ValueError, match="diverges"):
        steady_flow(solid, viscosity=1e-4, peak=0.5, longest=3000)
    with pytest.raises(ValueError, match="viscosity above 0"):
        steady_flow(solid, viscosity=0.0)


def test_shapes_have_their_areas_and_come_in_every_kind():
    shapes = random_shapes(50, 200, 480, seed=1)
    area = cover(shapes, 200, 480).flatten(1).sum(1) / (4 * shapes.half.prod(1))
    share = torch.tensor([math.pi / 4, 1, 0.5, 0.5, 0.5])[shapes.kind]  # of the rectangle around each kind
    torch.testing.assert_close(area, share.double(), rtol=0.06, atol=0)
    assert shapes.kind.bincount().tolist() == [10] * len(KINDS)
    few = random_shapes(7, 200, 480, seed=1)
    assert torch.equal(few.middle, shapes.middle[:7])
    assert not torch.equal(few.middle, random_shapes(7, 200, 480, seed=2).middle)
    left, right = (cover(shapes, 200, 480)[shapes.kind == kind] for kind in (2, 3))
    columns = torch.arange(480.0)
    for pictures, sign in ((left, 1), (right, -1)):  # the centre of mass lies on the side of the base
        mass = (pictures.sum(1) * columns).sum(1) / pictures.sum((1, 2))
        middle = shapes.middle[shapes.kind == (2 if sign > 0 else 3), 0]
        assert ((mass - middle) * sign > 0).all()


def test_a_flow_that_is_given_up_on_is_still_handed_over():
    """Also where the longest run is no whole number of looks."""
    flow = steady_flow(disc(12, 24, 7.0, 6.0, 2.5)[None], 0.05, longest=250, every=100)
    assert int(flow.steps[0]) == 200 and float(flow.velocity.abs().max()) > 0.01
    assert int(steady_flow(disc(12, 24, 7.0, 6.0, 2.5)[None], 0.05, longest=30, every=100).steps[0]) == 100


def test_an_inflow_of_the_wrong_length_is_named():
    with pytest.raises(ValueError, match=r"the inflow has shape \(5,\); expected \(12,\)"):
        Lattice(torch.zeros(1, 12, 20, dtype=torch.bool), 0.05, torch.zeros(5))

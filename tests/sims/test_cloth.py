"""Cloth: what it must conserve, how its integrator converges, and that it is held where it is held."""

from dataclasses import replace

import pytest
import torch

from pathline.graph.mesh import euler_characteristic, signed_areas
from pathline.sims.cloth import Cloth, simulated_cloth

SMALL = Cloth(rows=4, columns=5, spacing=0.1)
FREE = replace(SMALL, pins="none", gravity=0.0, drag=0.0, damping=0.0)


def disturbed(cloth: Cloth, copies: int = 3):
    """A crumpled state that is neither at rest nor flat."""
    generator = torch.Generator().manual_seed(1)
    x, v, wind = cloth.hung(copies, generator)
    x = x + 0.02 * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    v = torch.randn(v.shape, generator=generator, dtype=x.dtype).masked_fill(cloth.held[:, None, None], 0.0)
    return x, v, wind


def final(cloth: Cloth, steps: int, time: float = 0.05):
    x, v, wind = disturbed(cloth)
    a = cloth.acceleration(x, v, wind)
    for _ in range(steps):
        x, v, a = cloth.step(x, v, a, wind, time / steps)
    return x, v


def test_springs_and_damping_conserve_momentum_and_angular_momentum() -> None:
    cloth = replace(FREE, damping=0.1)
    x, v, _ = disturbed(cloth)
    later, u = final(cloth, 200)
    assert (later - x).abs().max() > 0.01
    assert torch.allclose(u.sum(0), v.sum(0), atol=1e-12)
    before, after = torch.linalg.cross(x, v).sum(0), torch.linalg.cross(later, u).sum(0)
    assert torch.allclose(before, after, atol=1e-3 * float(before.abs().max()))
    force = cloth.force(x, v, torch.zeros(3, 3, dtype=x.dtype))
    assert torch.linalg.cross(x, force).sum(0).abs().max() < 1e-12 * float(force.abs().max())


def test_wind_and_gravity_push_what_is_free() -> None:
    cloth = replace(FREE, gravity=9.81, drag=0.6)
    x, v, wind = disturbed(cloth)
    total = cloth.force(x, v, wind).sum(0)
    still = replace(cloth, drag=0.0).force(x, v, wind).sum(0)
    weight = torch.tensor([0.0, 0.0, -9.81 * cloth.mass * 20], dtype=x.dtype)
    assert torch.allclose(still, weight.expand(3, 3), atol=1e-10)
    assert (total - still).norm(dim=1).min() > 0.01


def test_no_wind_is_felt_by_a_cloth_that_moves_with_it() -> None:
    cloth = replace(FREE, drag=0.6)
    x, v, wind = disturbed(cloth)
    calm = replace(FREE).force(x, wind.expand_as(v), wind)
    assert torch.allclose(cloth.force(x, wind.expand_as(v), wind), calm, atol=1e-12)


def test_energy_is_kept_to_the_second_order() -> None:
    cloth = replace(FREE, gravity=9.81)
    begin = cloth.energy(*disturbed(cloth)[:2])
    errors = [float((cloth.energy(*final(cloth, steps)) - begin).abs().mean()) for steps in (100, 200, 400)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.25)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.25)


def test_damping_loses_energy() -> None:
    cloth = replace(FREE, damping=0.1)
    assert (cloth.energy(*final(cloth, 200)) < 0.9 * cloth.energy(*disturbed(cloth)[:2])).all()


def test_force_is_minus_the_gradient_of_the_energy() -> None:
    cloth = replace(FREE, gravity=9.81)
    x, v, wind = disturbed(cloth)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(cloth.energy(x, v).sum(), x)
    assert torch.allclose(cloth.force(x, v, wind), -gradient, atol=1e-10)


def test_pins_hold() -> None:
    for pins, count in (("corners", 2), ("edge", 4), ("none", 0)):
        cloth = replace(SMALL, pins=pins)
        assert int(cloth.held.sum()) == count
        x, v, wind = disturbed(cloth)
        path = cloth.run(x, v, wind, 3, 0.02, 20)
        moved = (path[:, -1] - path[:, 0]).norm(dim=-1)
        assert bool((moved[:, cloth.held] == 0).all()) and bool((moved[:, ~cloth.held] > 0).all())


def test_trajectories_do_not_feel_each_other() -> None:
    x, v, wind = disturbed(SMALL)
    together = SMALL.run(x, v, wind, 3, 0.02, 20)
    alone = SMALL.run(x[:, 1:2], v[:, 1:2], wind[1:2], 3, 0.02, 20)
    assert torch.allclose(together[1:2], alone, atol=1e-12)


def test_the_mesh_is_a_sheet() -> None:
    assert euler_characteristic(SMALL.cells) == 1
    areas = signed_areas(SMALL.mesh, SMALL.cells)
    assert bool((areas > 0).all()) and float(areas.sum()) == pytest.approx(0.3 * 0.4)
    (i, j), _, rest = SMALL.springs
    assert torch.allclose((SMALL.mesh[i] - SMALL.mesh[j]).norm(dim=1), rest)
    assert len(rest) == 4 * 4 + 3 * 5 + 2 * 12 + 4 * 3 + 2 * 5


def test_same_seed_same_flags_and_too_long_steps_are_named() -> None:
    one, other = (simulated_cloth(3, 5, seed=2, cloth=SMALL) for _ in range(2))
    assert one.fingerprint() == other.fingerprint()
    assert one.fingerprint() != simulated_cloth(3, 5, seed=3, cloth=SMALL).fingerprint()
    with pytest.raises(ValueError, match="unstable"):
        simulated_cloth(3, 20, substeps=2, cloth=replace(SMALL, stretch=700.0))

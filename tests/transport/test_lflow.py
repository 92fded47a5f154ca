"""Lagrangian flows: the continuity equation holds for any weights, mass stays, and paths are what the velocity says."""

import math

import pytest
import torch
from torch.func import grad, jacrev, vmap

from pathline.core.errors import DataError, MethodError
from pathline.data import Measurements, snapshots_of
from pathline.sims.advection import BOX, Carrier, sensors
from pathline.transport.lflow import LFlow
from pathline.transport.rivals import PINN

VARIANTS = {
    "coupling": {"dims": 2},
    "coupling in space": {"dims": 3, "layers": 3, "width": 32},
    "mixture": {"dims": 2, "base": "mixture", "layers": 3},
    "residual": {"dims": 2, "stack": "residual", "layers": 3, "width": 24},
    "shallow": {"dims": 2, "stack": "shallow", "layers": 3, "width": 24, "base": "mixture", "spread": 0.5},
    "shallow line": {"dims": 1, "stack": "shallow", "layers": 3, "width": 24},
    "sigmoids": {"dims": 2, "stack": "sigmoids", "layers": 3, "width": 24},
    "line": {"dims": 1, "layers": 3, "width": 24},
    "box": {"dims": 2, "domain": "box", "low": [-1.0, -2.0], "high": [1.5, 2.0], "layers": 4},
    "box onto itself": {"dims": 2, "domain": "box", "low": [-1.0, -2.0], "high": [1.5, 2.0], "base": "uniform"},
    "torus": {"dims": 2, "domain": "torus", "low": [-1.0, -2.0], "high": [1.5, 2.0], "layers": 3, "width": 24},
}


def built(name, seed=0):
    """Random weights, made large, in float64."""
    torch.manual_seed(seed)
    flow = LFlow(**{"snapshots": 2} | VARIANTS[name]).double().eval()
    for parameter in flow.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(1.3)
    return flow


def places(flow, count=200, seed=1):
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand(count, flow.dims, generator=generator).double()
    low, high = (flow.low, flow.high) if flow.domain != "space" else (torch.tensor(-2.0), torch.tensor(2.0))
    return low + (high - low) * (0.05 + 0.9 * u), torch.rand(count, generator=generator).double()


@pytest.mark.parametrize("name", VARIANTS)
def test_mass_is_conserved_at_every_point_for_any_weights(name):
    """d_t rho + div(rho v) by derivatives of the density and the velocity as they are given out."""
    flow = built(name)
    x, t = places(flow, 1000 if name == "coupling" else 60)

    def density(p, s):
        return flow.log_density_inside(p[None], s[None])[0].exp()

    def momentum(p, s):
        return density(p, s) * flow.velocity_inside(p[None], s[None])[0]

    in_time = vmap(grad(density, argnums=1))(x, t)
    spread = vmap(lambda p, s: jacrev(momentum)(p, s).diagonal().sum())(x, t)
    velocity_spread = vmap(
        lambda p, s: density(p, s) * jacrev(lambda q: flow.velocity_inside(q[None], s[None])[0])(p).diagonal().sum()
    )(x, t)
    relative = (in_time + spread).abs() / (in_time.abs() + velocity_spread.abs() + 1e-12)
    assert relative.max() < 1e-8
    assert in_time.abs().max() > 1e-3


@pytest.mark.parametrize("name", ["coupling", "mixture", "sigmoids", "box onto itself", "torus"])
def test_the_density_integrates_to_its_mass_at_all_times(name):
    torch.manual_seed(0)
    flow = LFlow(**{"snapshots": 2} | VARIANTS[name] | {"layers": 2, "width": 16}).double().eval()
    flow.log_mass.data.fill_(math.log(2.5))
    low, high, count = flow.low, flow.high, 250
    if flow.domain == "space":  # where the mass lies at these weights
        z = flow._base_sample(2000, torch.Generator().manual_seed(0)).double()
        drawn = torch.cat([flow.from_base(z, torch.full((2000,), t).double()) for t in (0.0, 0.3, 1.0)])
        middle, reach = (drawn.amin(0) + drawn.amax(0)) / 2, (drawn.amax(0) - drawn.amin(0))
        low, high = middle - reach, middle + reach
    steps = (torch.arange(count).double() + 0.5) / count
    grid = torch.cartesian_prod(*(a + (b - a) * steps for a, b in zip(low, high, strict=True)))
    for t in (0.0, 0.3, 1.0):
        total = flow.log_density(grid, t).exp().mean() * (high - low).prod()
        assert float(total.detach()) == pytest.approx(2.5, rel=1e-3)


@pytest.mark.parametrize("name", ["coupling", "coupling in space", "residual", "sigmoids", "box", "torus"])
def test_paths_move_with_the_velocity_and_compose(name):
    flow = built(name)
    _, t = places(flow)
    t = 0.1 + 0.8 * t
    z = flow._base_sample(200, torch.Generator().manual_seed(2)).double()
    step = 1e-4
    with torch.no_grad():
        x = flow.from_base(z, t)
        difference = (flow.from_base(z, t + step) - flow.from_base(z, t - step)) / (2 * step)
        velocity = flow.velocity_inside(x, t)
    assert velocity.abs().max() > 0.1
    assert (velocity - difference).abs().max() < 1e-6 * (1 + velocity.abs().max()) * (10 if flow.domain == "box" else 1)
    there = flow.push(flow.push(x, 0.2, 0.5).positions, 0.5, 0.9).positions
    torch.testing.assert_close(there, flow.push(x, 0.2, 0.9).positions, atol=1e-7, rtol=0)
    torch.testing.assert_close(flow.push(there, 0.9, 0.2).positions, x, atol=1e-6, rtol=0)


def test_the_two_formulas_of_the_velocity_agree():
    flow = built("coupling")
    x, t = places(flow)
    z, _ = flow.to_base(x, t)
    torch.testing.assert_close(flow.velocity_of_path(z, t), flow.velocity_by_solve(x, t), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", ["coupling", "residual", "shallow", "box"])
def test_derivatives_taken_at_once_are_those_of_the_map_and_its_determinant(name):
    flow = built(name)
    x, t = places(flow, 20)
    z, jacobian, in_time = flow.tangents(x, t)
    whole = vmap(jacrev(lambda p, s: flow.to_base(p[None], s[None])[0][0], argnums=(0, 1)))(x, t)
    torch.testing.assert_close(z, flow.to_base(x, t)[0])
    torch.testing.assert_close(jacobian, whole[0], atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(in_time, whole[1], atol=1e-9, rtol=1e-9)
    both = flow.both_inside(x, t)
    torch.testing.assert_close(both[0], flow.log_density_inside(x, t), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(both[1], flow.velocity_inside(x, t), atol=1e-9, rtol=1e-9)


def test_the_shallow_stack_begins_slower_and_smoother_than_couplings():
    """Mean speed before any training and how much it changes over a tenth of the spread, over four draws of weights."""
    torch.manual_seed(0)
    x, t, aside = torch.randn(300, 2), torch.rand(300), torch.tensor([0.1, 0.0])
    speed, change = {}, {}
    for stack in ("shallow", "coupling"):
        flows = []
        for seed in range(4):
            torch.manual_seed(seed)
            flows.append(LFlow(2, 2, stack=stack))
        here = torch.stack([flow.velocity_inside(x, t) for flow in flows]).detach()
        there = torch.stack([flow.velocity_inside(x + aside, t) for flow in flows]).detach()
        speed[stack], change[stack] = here.norm(dim=-1).mean(), (there - here).norm(dim=-1).mean()
    assert speed["shallow"] < 0.7 * speed["coupling"]
    assert change["shallow"] < 0.7 * change["coupling"]


def test_an_affine_flow_is_known_in_closed_form():
    """Without couplings, z = e^{s(t)} R(t) x + b(t): a Gaussian with v = A' A^-1 (x - b) + b'."""
    torch.manual_seed(0)
    flow = LFlow(2, 2, layers=0).double()
    x, t = places(flow, 20)

    def linear(s):
        """A(t) and b(t) of x = A z + b."""
        zero = torch.zeros(1, 2).double()
        b = flow.from_base(zero, s[None])[0]
        return torch.stack([flow.from_base(e[None], s[None])[0] - b for e in torch.eye(2).double()], 1), b

    for place, time in zip(x, t, strict=True):
        (a, b), (a_rate, b_rate) = torch.func.jvp(linear, (time,), (torch.ones_like(time),))
        law = torch.distributions.MultivariateNormal(b, a @ a.T)
        density = flow.log_density_inside(place[None], time[None])[0]
        torch.testing.assert_close(density, law.log_prob(place), atol=1e-10, rtol=0)
        expected = a_rate @ torch.linalg.solve(a, place - b) + b_rate
        torch.testing.assert_close(flow.velocity_inside(place[None], time[None])[0], expected, atol=1e-10, rtol=0)


def test_nothing_flows_through_the_border_of_a_box():
    flow = built("box")
    inside = torch.rand(200, 1).double() * 3.6 - 1.8
    for gap, bound in ((1e-3, 0.2), (1e-6, 1e-3)):
        near = torch.cat([torch.full((200, 1), 1.5 - gap).double(), inside], 1)
        assert flow.velocity(near, 0.4)[:, 0].abs().max() < bound
    away = flow.velocity(torch.cat([torch.zeros(200, 1).double(), inside], 1), 0.4)
    assert away[:, 0].abs().max() > 0.1
    assert ((flow.draw(500, 0.7) > flow.low) & (flow.draw(500, 0.7) < flow.high)).all()


def test_a_torus_has_no_seam():
    flow = built("torus")
    y = torch.linspace(-1.9, 1.9, 50).double()
    left, right = (torch.stack([torch.full((50,), float(edge)).double(), y], 1) for edge in (flow.low[0], flow.high[0]))
    torch.testing.assert_close(flow.log_density(left, 0.3), flow.log_density(right, 0.3))
    torch.testing.assert_close(flow.velocity(left, 0.3), flow.velocity(right, 0.3))


def test_it_learns_sensors_and_keeps_their_mass():
    data = sensors(20, 6, seed=3)
    flow = LFlow.seeded(data, 0, layers=3, width=32, kinetic=0.0)
    before = flow.evaluate(data)
    flow.fit(data, seed=0, steps=150, lr=1e-2)
    after = flow.evaluate(data)
    assert after["density_rmse"] < 0.95 * before["density_rmse"]
    assert after["velocity_rmse"] < 0.8 * before["velocity_rmse"]
    assert flow.log_mass.requires_grad
    table = flow.predict(data)
    assert list(table) == ["time", "x", "y", "density", "v_x", "v_y"] and len(table) == len(data)


def test_readings_that_are_missing_do_not_count():
    data = sensors(10, 5, seed=1)
    flow = LFlow.seeded(data, 0, layers=2, width=16, kinetic=0.0)
    gaps = data.velocity.clone()
    gaps[::2] = torch.nan
    holes = data.density.clone()
    holes[1::2] = torch.nan
    sparse = Measurements(positions=data.positions, times=data.times, density=holes, velocity=gaps)
    terms = flow.loss(sparse.gather(torch.arange(len(sparse))))
    even = torch.arange(0, len(data), 2)
    odd = torch.arange(1, len(data), 2)
    torch.testing.assert_close(terms["density"], flow.loss(data.gather(even))["density"])
    torch.testing.assert_close(terms["velocity"], flow.loss(data.gather(odd))["velocity"])
    (gradient,) = torch.autograd.grad(terms["loss"], flow.flow.layers[0].net[0].weight)
    assert torch.isfinite(gradient).all()


def test_a_softplus_misfit_lies_between_densities_and_their_logarithms():
    """Far below the floor it is the density's, far above it the logarithm's, each in its own unit."""
    data = sensors(20, 6, seed=3)
    log_density = data.density.clamp(min=1e-2).log() + 0.1 * torch.randn(len(data))
    batch, velocity = data.gather(torch.arange(len(data))), data.velocity

    def misfit(fit_to, floor):
        flow = LFlow.for_data(data, layers=1, width=8, fit_to=fit_to, floor=floor)
        unit = flow.bent_scale if fit_to == "softplus" else 1.0
        return float((flow.of_readings(batch, log_density - flow._log_unit(), velocity)["density"] * unit**2).detach())

    observed = data.density[data.density > 0.05]
    largest = float(data.density.max())
    flow = LFlow.for_data(data, layers=1, width=8, fit_to="softplus", floor=1e3)
    by_difference = misfit("density", 1e-3)
    assert misfit("softplus", 1e3) / float(flow.bent_scale**2) == pytest.approx(by_difference, rel=0.01)
    assert len(observed) > 10 and largest > 0.1
    seen = data.take(torch.nonzero(data.density > 0.05).flatten())
    batch, velocity = seen.gather(torch.arange(len(seen))), seen.velocity
    log_density = seen.density.log() + 0.1 * torch.randn(len(seen))
    assert misfit("softplus", 1e-7) == pytest.approx(misfit("log", 1e-7), rel=0.01)


def test_kinetic_energy_is_the_mean_square_speed_of_the_mass():
    flow = built("coupling")
    torch.manual_seed(0)
    x = torch.zeros(4000, 2).double()
    found = flow.kinetic_energy(x, x[:, 0])
    generator = torch.Generator().manual_seed(9)
    t = torch.rand(4000, generator=generator).double()
    drawn = flow.from_base(flow._base_sample(4000, generator).double(), t)
    speeds = flow.velocity_inside(drawn, t).square().sum(1)
    assert abs(float((found - speeds.mean()).detach())) < 5 * float(speeds.detach().std()) / math.sqrt(4000) * 1.5


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(MethodError, match="needs low and high"):
        LFlow(2, 2, domain="box")
    with pytest.raises(MethodError, match="base=uniform"):
        LFlow(2, 2, base="uniform")
    with pytest.raises(MethodError, match="choose one of coupling"):
        LFlow(2, 2, stack="spline")
    with pytest.raises(DataError, match="single time"):
        LFlow.for_data(sensors(5, 5).take(torch.arange(5)))
    flow = LFlow.for_data(sensors(5, 5), layers=1, width=8)
    flat = Measurements(
        positions=torch.zeros(2, 1),
        times=torch.arange(2.0),
        density=torch.ones(2),
        velocity=torch.ones(2, 1),
        name="flat",
    )
    with pytest.raises(DataError, match="its places have 1 dimensions"):
        flow.evaluate(flat)


# -- the ground truth and the rival ----------------------------------------------------------------------------------


def test_the_carried_density_obeys_the_continuity_equation_and_keeps_its_mass():
    carrier, t, step = Carrier(), 0.6, 1e-3
    x = (torch.rand(40, 2).double() - 0.5) * 3

    def density(p, s):
        return carrier.log_density(p, s).exp()

    in_time = (density(x, t + step) - density(x, t - step)) / (2 * step)
    spread = torch.zeros(40).double()
    for axis in range(2):
        bump = step * torch.eye(2).double()[axis]
        ahead, behind = (
            density(x + s * bump, t) * carrier.velocity(x + s * bump, torch.tensor(t).double())[:, axis]
            for s in (1, -1)
        )
        spread = spread + (ahead - behind) / (2 * step)
    assert (in_time + spread).abs().max() < 1e-3 * in_time.abs().max()
    steps = (torch.arange(60).double() + 0.5) / 60 * 12 - 6
    total = density(torch.cartesian_prod(steps, steps), 1.0).mean() * 144
    assert float(total.detach()) == pytest.approx(carrier.mass, rel=1e-3)


def test_sensors_read_what_is_there_but_for_noise():
    data, carrier = sensors(15, 4, seed=2), Carrier()
    assert data.positions.abs().max() <= BOX and len(data) == 60
    late = data.times == 1.0
    truth = carrier.log_density(data.positions[late], 1.0).exp()
    error = (data.density[late] - truth) / truth
    assert 0.002 < error.std() < 0.05
    exact = sensors(15, 4, seed=2, density_noise=0.0, velocity_noise=0.0)
    assert torch.equal(exact.positions, data.positions) and not torch.equal(exact.velocity, data.velocity)


def test_the_rival_s_penalty_is_what_is_left_of_the_continuity_equation():
    data = sensors(10, 5, seed=1)
    rival = PINN.seeded(data, 0, width=16, depth=2).double()
    x, t = torch.randn(30, 2).double(), torch.rand(30).double()

    def density(p, s):
        return rival.log_density_inside(p[None], s[None])[0].exp()

    in_time = vmap(grad(density, argnums=1))(x, t)
    spread = vmap(
        lambda p, s: jacrev(lambda q: density(q, s) * rival.velocity_inside(q[None], s[None])[0])(p).diagonal().sum()
    )(x, t)
    rho = vmap(density)(x, t)
    torch.testing.assert_close(rival.residual(x, t), (in_time + spread) / rho, atol=1e-9, rtol=1e-6)
    batch = data.gather(torch.arange(50))
    assert "continuity" in rival.float().loss(batch) and "continuity" not in PINN.seeded(data, 0, continuity=0.0).loss(
        batch
    )


def test_populations_are_learned_by_likelihood():
    clouds = [torch.randn(200, 2, generator=torch.Generator().manual_seed(k)) * 0.3 + k for k in range(3)]
    data = snapshots_of(clouds, name="steps")
    flow = LFlow.seeded(data, 0, layers=2, width=16)
    batch = data.gather(torch.arange(len(data)))
    before = float(flow.loss(batch)["loss"].detach())
    flow.fit(data, seed=0, steps=80, lr=1e-2)
    assert float(flow.loss(batch)["loss"].detach()) < before - 0.5
    assert not flow.log_mass.requires_grad
    assert flow.push(clouds[0], 0.0, 2.0).log_weights.abs().max() == 0

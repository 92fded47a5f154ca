"""Reflected flow matching in the room: samples stay where data can be."""

import math

import pytest
import torch

from pathline.core.budget import steps
from pathline.core.errors import DataError, MethodError
from pathline.data import Samples
from pathline.generate.flow_matching import SOLVERS, FlowMatching
from pathline.generate.reflected_flow_matching import ReflectedFlowMatching
from pathline.sims.constrained import DOMAINS as DOMAIN_OF
from pathline.sims.constrained import constrained
from pathline.sims.points import points

DOUBLE = torch.float64
DOMAINS = {
    "box": {"name": "box", "lower": [-1.0, 0.0], "upper": [2.0, 1.0]},
    "simplex": {"name": "simplex", "dims": 4},
    "ball": {"name": "ball", "dims": 3, "radius": 2.0},
    "polygon": {"name": "polygon", "corners": [[0.0, 0.0], [2.0, 0.0], [0.5, 1.5]]},
    "half-annulus": {"name": "half-annulus", "inner": 0.5, "outer": 2.0},
}
SIZES = {"box": 2, "simplex": 4, "ball": 3, "polygon": 2, "half-annulus": 2}


def untrained(name: str, scale: float = 100.0, **config) -> ReflectedFlowMatching:
    """A random network whose velocity is `scale` times too large."""
    torch.manual_seed(4)
    method = ReflectedFlowMatching(shape=[SIZES[name]], domain=DOMAINS[name], width=16, depth=1, **config).eval()
    with torch.no_grad():
        method.network.head.weight.normal_().mul_(scale / 4)
    return method


def law(name: str, count: int = 3000) -> Samples:
    """Points of the domain that crowd at one place of its wall."""
    method = ReflectedFlowMatching(shape=[SIZES[name]], domain=DOMAINS[name], width=8, depth=1)
    uniform = method.domain.sample(20 * count, torch.Generator().manual_seed(0))
    near = (uniform - uniform[uniform[:, 0].argmax()]).norm(dim=1)
    return Samples(values=uniform[near.argsort()[:count]].float(), name=name)


@pytest.mark.parametrize("name", DOMAINS)
def test_no_solver_draws_outside_whatever_the_network(name):
    method = untrained(name)
    for solver in SOLVERS:
        if solver == "dopri5":
            drawn = untrained(name, 3.0).sample(200, solver=solver, tolerance=0.1)
        else:
            drawn = method.sample(500, steps=2, solver=solver)
        assert method.domain.contains(drawn).all(), solver
        assert drawn.unique(dim=0).shape[0] > 5  # and not all in one corner
    assert method.domain.contains(method.sample(1000, steps=3, boundary="project")).all()
    assert not method.domain.contains(method.sample(1000, steps=3, boundary="none")).all()
    assert method.overshoot(500, steps=3) > 0.3


def test_far_from_the_walls_it_is_flow_matching_to_the_last_bit():
    data = Samples(values=torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * 2 + 5)
    walls = {"name": "box", "lower": -1e6, "upper": 1e6}
    reflected = ReflectedFlowMatching.seeded(data, 0, domain=walls, width=32, depth=2).eval()
    plain = FlowMatching.seeded(data, 0, width=32, depth=2).eval()
    assert torch.equal(reflected.network.lift.weight, plain.network.lift.weight)
    noise = torch.randn(300, 3, generator=torch.Generator().manual_seed(1))
    for solver in SOLVERS:
        ours, theirs = (m.carry(noise, None, 5, keep="all", solver=solver).states for m in (reflected, plain))
        assert torch.equal(ours, theirs), solver
    assert torch.equal(reflected.unscaled(ours), plain.unscaled(theirs))


@pytest.mark.parametrize("name", DOMAINS)
def test_the_prior_lies_inside_and_paths_of_training_too(name):
    method = ReflectedFlowMatching.seeded(law(name), 0, domain=DOMAINS[name], width=16, depth=1)
    noise = method.prior(2000, torch.Generator().manual_seed(0))
    assert method.scaled_domain().contains(noise).all()
    again = method.prior(2000, torch.Generator().manual_seed(0))
    assert torch.equal(noise, again) and method.paths(50, steps=2)[0].shape == (50, SIZES[name])
    seen = []
    method.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    method.loss(law(name).gather(torch.arange(500)))
    assert method.scaled_domain().contains(seen[0].double(), 1e-5).all()


@pytest.mark.parametrize("name", ["polygon", "half-annulus"])
def test_it_learns_a_law_that_leans_on_the_wall(name):
    data = law(name)
    method = ReflectedFlowMatching.seeded(data, 0, domain=DOMAINS[name], width=64, depth=2)
    before = method.evaluate(data)["sliced_w2"]
    method.fit(data, steps(300), batch_size=256, lr=3e-3, warmup=20, ema=0.98, precision="fp32")
    drawn = method.draw(1000)
    assert method.evaluate(data)["sliced_w2"] < 0.2 * before
    assert method.domain.contains(drawn.values).all() and drawn.values.dtype == DOUBLE


def test_a_box_without_bounds_is_read_off_the_data_and_pixels_reach_their_bounds_exactly():
    clouds = points("eight-gaussians", 500, 0)
    method = ReflectedFlowMatching.seeded(clouds, 0, width=8, depth=1).eval()
    low, high = clouds.values.amin(0), clouds.values.amax(0)
    assert torch.allclose(method.domain.lower.float(), low - 0.05 * (high - low))
    generator = torch.Generator().manual_seed(0)
    images = Samples(values=torch.randint(0, 17, (60, 1, 4, 4), generator=generator).float(), bounds=(0.0, 16.0))
    method = ReflectedFlowMatching.seeded(images, 0, width=8, depth=1, prior="normal").eval()
    with torch.no_grad():
        method.network.head.weight.mul_(300)
    drawn = method.sample(300, steps=4)
    assert (drawn >= 0).all() and (drawn <= 16).all()
    noise = method.prior(4000, generator)
    assert noise.abs().max() <= 1 and float(noise.std()) == pytest.approx(0.5396, abs=0.01)  # of N(0, 1) within +-1
    clipped = method.sample(300, steps=4, boundary="project")
    assert ((clipped == 0) | (clipped == 16)).float().mean() > 0.3 > ((drawn == 0) | (drawn == 16)).float().mean()


def test_guidance_pushes_further_and_stays_inside():
    corners = constrained("square", 4000)
    corners = corners.take((corners.labels < 3).nonzero()[:, 0])  # three corners, dense at two walls each
    method = ReflectedFlowMatching.seeded(corners, 0, domain=DOMAIN_OF["square"], width=64, depth=2)
    method.fit(corners, steps(300), batch_size=256, lr=3e-3, warmup=20, ema=0.98, precision="fp32")
    plain, guided = method.draw(1000, solver="euler"), method.draw(1000, solver="euler", guidance=6.0)
    corner = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0]])

    def distance(drawn):
        return float((drawn.values - corner[drawn.labels]).norm(dim=1).mean())

    assert distance(guided) < 0.9 * distance(plain) and guided.evaluations == 2 * plain.evaluations
    assert (guided.values.abs() <= 1).all()
    outside = method.sample(1000, solver="euler", guidance=6.0, boundary="none")
    assert (outside.abs() > 1).float().mean() > 0.05
    assert method.overshoot(500, guidance=6.0, solver="euler") > 2 * method.overshoot(500, solver="euler")


def test_network_calls_are_counted_as_they_are_made():
    method = untrained("ball", 1.0)
    seen = []
    method.network.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    for options in ({"steps": 5}, {"steps": 3, "solver": "rk3"}, {"solver": "dopri5", "tolerance": 1e-2}):
        seen.clear()
        assert method.draw(10, **options).evaluations == sum(seen) / 10


def test_a_network_of_zeros_leaves_the_uniform_law():
    method = untrained("half-annulus")
    for parameter in method.network.parameters():
        torch.nn.init.zeros_(parameter)
    radius = method.sample(20_000).norm(dim=1)
    assert float((radius < 1).double().mean()) == pytest.approx(0.75 / 3.75, abs=0.01)
    assert math.isclose(method.overshoot(100), 0.0)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"domain": "sphere"}, "say auto"),
        ({"domain": {"name": "torus"}}, "no domain 'torus'"),
        ({"domain": {"name": "simplex", "dims": 5}}, r"points of shape \(5,\)"),
        ({"domain": {"name": "half-annulus"}, "prior": "normal"}, "needs a box"),
        ({"domain": {"name": "polygon", "corners": [[0, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2]]}}, "not convex"),
        ({"boundary": "bounce"}, "reflect, project, none"),
        ({"solver": "rk45"}, "dopri5"),
        ({"prior": "laplace"}, "uniform, normal"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_the_way_out(config, message):
    with pytest.raises(MethodError, match=message):
        ReflectedFlowMatching(shape=[2], **config)


def test_data_outside_the_domain_are_named():
    with pytest.raises(DataError, match=r"clouds: 500 samples lie outside .* sample 0"):
        data = Samples(values=torch.full((500, 2), 9.0), name="clouds")
        ReflectedFlowMatching.for_data(data, domain={"name": "ball", "dims": 2})

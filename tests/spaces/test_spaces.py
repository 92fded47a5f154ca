"""Domains: what lies inside, where mirrors lead, and which point is nearest."""

import math

import pytest
import torch
from torch import Tensor

from pathline.ode import FIXED_STEP, integrate, time_grid
from pathline.spaces import Ball, Box, HalfAnnulus, Polytope, Simplex, polygon, space

DOUBLE = torch.float64
TRIANGLE = [[0.0, 0.0], [2.0, 0.0], [0.5, 1.5]]
CUBE = [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [-1.0, 0, 0], [0, -1.0, 0], [0, 0, -1.0]]
SPACES = {
    "box": Box(torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([1.0, 0.5, 5.0])),
    "simplex": Simplex(5),
    "ball": Ball(3, 2.0, [1.0, 0.0, -1.0]),
    "polytope": Polytope([*CUBE, [1.0, 1.0, 1.0]], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.5]),
    "polygon": polygon(TRIANGLE),
    "half-annulus": HalfAnnulus(0.5, 2.0),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=DOUBLE)


class Wild(torch.nn.Module):
    """An untrained network, a hundred times too large."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Linear(dims, 16), torch.nn.Tanh(), torch.nn.Linear(16, dims)).double()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return 100 * self.net(x) * (1 + t)


@pytest.mark.parametrize("name", SPACES)
@torch.no_grad()
def test_no_solver_leaves_a_domain_whatever_the_velocity(name: str) -> None:
    domain = SPACES[name]
    start = domain.sample(10_000, generator())
    velocity = Wild(domain.shape[0])
    plans = [(method, 1, 10_000) for method in FIXED_STEP] + [(method, 3, 500) for method in FIXED_STEP]
    for method, count, points in [*plans, ("euler", 50, 300)]:
        for boundary in ("reflect", "project"):
            hooks = domain.hooks(boundary)
            states = integrate(velocity, start[:points], time_grid(count), method, **hooks._asdict()).states
            assert domain.contains(states.flatten(0, 1)).all(), (method, count, boundary)
    free = integrate(velocity, start, time_grid(7), "euler", **domain.hooks("none")._asdict()).states
    assert not domain.contains(free[-1]).all()


@pytest.mark.parametrize("name", SPACES)
@torch.no_grad()
def test_adaptive_steps_stay_inside_and_judge_the_unfolded_error(name: str) -> None:
    """A constant velocity that presses against the wall has no error, unless folded and unfolded are mixed up."""
    domain = SPACES[name]
    start = domain.sample(500, generator())
    velocity = Wild(domain.shape[0])
    hooks = domain.hooks("reflect", carry_back=False)._asdict()
    solution = integrate(lambda x, t: velocity(x, t) / 50, start, time_grid(2), "dopri5", 1e-2, 1e-2, **hooks)
    assert domain.contains(solution.states.flatten(0, 1)).all() and solution.accepted < 100
    pressing = integrate(lambda x, t: torch.ones_like(x), start, time_grid(3), "dopri5", 1e-9, 1e-9, **hooks)
    assert pressing.rejected == 0 and pressing.accepted < 30
    assert domain.contains(pressing.states.flatten(0, 1)).all()


def test_in_single_precision_a_box_is_still_never_left() -> None:
    domain = Box(torch.tensor([-0.3, 0.1]), torch.tensor([0.7, 0.1 + 1e-3]))
    x = domain.sample(10_000, generator()).float()
    velocity = Wild(2).float()
    with torch.no_grad():
        states = integrate(velocity, x, time_grid(9), "heun", **domain.hooks()._asdict()).states
    lower, upper = domain.walls(states)
    assert (states >= lower).all() and (states <= upper).all()


def test_the_fold_is_idempotent_periodic_contracting_and_the_identity_inside() -> None:
    box = Box(torch.tensor([-1.0, 2.0]), torch.tensor([1.5, 3.0]))
    y, z = 10 * normal(20_000, 2), 10 * normal(20_000, 2, seed=1)
    folded = box.fold(y)
    assert box.contains(folded).all() and torch.equal(box.fold(folded), folded)
    inside = box.sample(5000, generator())
    assert torch.equal(box.fold(inside), inside)
    width = box.upper - box.lower
    assert (box.fold(y + 2 * width) - folded).abs().max() < 1e-12
    assert (box.fold(y + width) - folded).abs().max() > 0.1
    assert ((folded - box.fold(z)).abs() <= (y - z).abs() + 1e-12).all()
    assert torch.equal(box.fold(box.lower), box.lower) and torch.equal(box.fold(box.upper), box.upper)
    slope = (box.fold(y + 1e-7) - folded) / 1e-7
    assert ((slope - box.sign(y)).abs() < 1e-5).float().mean() > 0.999


def test_ray_tracing_between_the_faces_of_a_box_is_its_fold() -> None:
    box = Box(-torch.ones(3, dtype=DOUBLE), torch.ones(3, dtype=DOUBLE))
    traced = Polytope(CUBE, [1.0] * 6)
    old = box.sample(5000, generator())
    new = old + 4 * normal(5000, 3)
    one, other = box.reflect(old, new), traced.reflect(old, new)
    assert (one.state - other.state).abs().max() < 1e-12
    slope = normal(5000, 3, seed=2)
    assert (one.pull_back(slope) - other.pull_back(slope)).abs().max() < 1e-12


def test_steps_on_the_simplex_keep_its_sum() -> None:
    domain = Simplex(10)
    old = domain.sample(5000, generator())
    moved = domain.reflect(old, old + normal(5000, 10))
    assert (moved.state.sum(1) - 1).abs().max() < 1e-12 and domain.contains(moved.state).all()
    assert (moved.state - old).norm(dim=1).median() > 0.05
    carried = moved.pull_back(normal(5000, 10, seed=3))
    assert carried.sum(1).abs().max() < 1e-12


@pytest.mark.parametrize("name", SPACES)
def test_a_way_that_stays_inside_is_not_bent_and_mirrors_keep_lengths(name: str) -> None:
    domain = SPACES[name]
    old = domain.sample(4000, generator())
    small = old + 1e-3 * (domain.sample(4000, generator(1)) - old)
    kept = domain.contains(small, 0.0) if name != "simplex" else torch.ones(4000, dtype=torch.bool)
    assert kept.float().mean() > 0.99
    assert (domain.reflect(old, small).state - small)[kept].abs().max() < 1e-12
    slope = normal(4000, domain.shape[0])
    if isinstance(domain, Simplex):
        slope = domain.flat(slope)
    moved = domain.reflect(old, old + 0.5 * slope)
    assert (moved.pull_back(slope).norm(dim=1) - slope.norm(dim=1)).abs().max() < 1e-12


def test_a_ray_leaves_a_mirror_at_the_angle_at_which_it_came() -> None:
    corner = polygon([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]])
    old, new = torch.tensor([[1.0, 1.0]], dtype=DOUBLE), torch.tensor([[-1.0, -2.0]], dtype=DOUBLE)
    assert torch.allclose(corner.reflect(old, new).state, torch.tensor([[1.0, 2.0]], dtype=DOUBLE))
    ball = Ball(2)
    straight = ball.reflect(torch.tensor([[0.5, 0.0]], dtype=DOUBLE), torch.tensor([[1.7, 0.0]], dtype=DOUBLE)).state
    assert torch.allclose(straight, torch.tensor([[0.3, 0.0]], dtype=DOUBLE))
    # Along the chord from (0, -1) at 45 degrees a ray runs around an inscribed square.
    start = torch.tensor([[0.0, -1.0 + 1e-15]], dtype=DOUBLE)
    around = ball.reflect(start, start + 4 * torch.tensor([[1.0, 1.0]], dtype=DOUBLE))
    assert torch.allclose(around.state, start, atol=1e-9)
    ring = HalfAnnulus(1.0, 3.0)
    old = torch.tensor([[0.0, 2.0]], dtype=DOUBLE)
    assert torch.allclose(ring.reflect(old, old - torch.tensor([[0.0, 1.5]])).state, old - torch.tensor([[0.0, 0.5]]))


@pytest.mark.parametrize("name", SPACES)
def test_projection_finds_the_nearest_point(name: str) -> None:
    domain = SPACES[name]
    x = domain.sample(60, generator()) + normal(60, domain.shape[0])
    near = domain.project(x)
    assert domain.contains(near).all()
    others = domain.sample(20_000, generator(1))
    distance = (x - near).norm(dim=1)
    assert (distance <= torch.cdist(x, others).amin(1) + 1e-7).all()
    if domain.convex:  # the nearest point is the one with (x - near) . (other - near) <= 0
        assert torch.einsum("nd,nmd->nm", x - near, others[None] - near[:, None]).max() < 1e-6
    inside = domain.sample(100, generator(2))
    assert (domain.project(inside) - inside).abs().max() < 1e-12


def test_uniform_samples_are_uniform() -> None:
    count = 100_000
    triangle = polygon(TRIANGLE).sample(count, generator())
    assert torch.allclose(triangle.mean(0), torch.tensor(TRIANGLE, dtype=DOUBLE).mean(0), atol=0.01)
    weights = Simplex(4).sample(count, generator())
    assert float((weights[:, 0] > 0.5).double().mean()) == pytest.approx(0.5**3, abs=0.005)
    radius = Ball(3, 2.0).sample(count, generator()).norm(dim=1)
    assert float((radius < 1).double().mean()) == pytest.approx(1 / 8, abs=0.005)
    ring = HalfAnnulus(1.0, 2.0).sample(count, generator())
    assert float((ring.norm(dim=1) < 1.5).double().mean()) == pytest.approx(1.25 / 3, abs=0.006)
    cut = SPACES["polytope"].sample(count, generator())  # a cube of volume 8 less a corner of 1.5^3 / 6
    low = float((cut.sum(1) < -1.5).double().mean())
    assert low == pytest.approx((1.5**3 / 6) / (8 - 1.5**3 / 6), abs=0.004)


def test_a_truncated_normal_is_one_per_coordinate() -> None:
    box = Box(-1.0, torch.tensor([1.0] * 63 + [30.0]))
    x = box.truncated_normal(50_000, generator())
    assert box.contains(x).all()
    uniform = (torch.special.ndtr(x[:, 0]) - torch.special.ndtr(torch.tensor(-1.0, dtype=DOUBLE))) / 0.6826894921
    ranks = torch.arange(1, 50_001, dtype=DOUBLE) / 50_000
    assert (uniform.sort().values - ranks).abs().max() < 0.01
    assert float(x[:, 63].mean()) == pytest.approx(math.exp(-0.5) / math.sqrt(2 * math.pi) / 0.8413447, abs=0.015)


def ks_to_uniform(x: Tensor) -> float:
    ranks = torch.arange(1, len(x) + 1, dtype=DOUBLE) / len(x)
    return float((x.sort().values - ranks).abs().max())


def test_a_walk_between_mirrors_stays_uniform_while_projection_piles_up_at_the_walls() -> None:
    """The method of images: steps that are as likely to the left as to the right keep the uniform law under a fold."""
    box = Box(0.0, 1.0, (1,))
    ends = {}
    for boundary in ("reflect", "project"):
        draws = generator(1)

        def walk(x: Tensor, t: Tensor, draws: torch.Generator = draws) -> Tensor:
            return 6.0 * (2 * torch.randint(2, x.shape, generator=draws).double() - 1)

        start = box.sample(200_000, generator())
        ends[boundary] = integrate(walk, start, time_grid(20), **box.hooks(boundary)._asdict()).final[:, 0]
    assert ks_to_uniform(ends["reflect"]) < 0.01
    walls = (ends["project"] == 0) | (ends["project"] == 1)
    assert walls.double().mean() > 0.1
    assert not ((ends["reflect"] == 0) | (ends["reflect"] == 1)).any()


def test_one_step_of_a_drift_doubles_the_density_before_the_wall() -> None:
    """The image of the part that went through: from uniform, a drift of 0.3 gives density 0, 1, 2 on three pieces."""
    box = Box(0.0, 1.0, (1,))
    start = box.sample(200_000, generator())
    x = integrate(lambda x, t: 0.3 * torch.ones_like(x), start, (0.0, 1.0), **box.hooks()._asdict()).final[:, 0]
    law = ((x - 0.3).clamp(min=0) + (x - 0.7).clamp(min=0)).clamp(max=1)
    assert ks_to_uniform(law) < 0.01 and x.min() >= 0.3


@pytest.mark.parametrize("method", ["midpoint", "heun", "rk3", "rk4", "dopri5"])
def test_slopes_carried_back_through_the_mirror_keep_the_order(method: str) -> None:
    """A pendulum q'' = -sin q that bounces off a wall at 0 is the free pendulum folded: smooth, since sin is odd."""

    def velocity(state: tuple[Tensor, ...], t: Tensor) -> tuple[Tensor, ...]:
        return state[1], -state[0].sin()

    wall = Box(0.0, 10.0, (1,))

    def bounce(old: tuple[Tensor, ...], new: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return wall.fold(new[0]), wall.sign(new[0]) * new[1]

    def mirrored(old: tuple[Tensor, ...], new: tuple[Tensor, ...]):
        from pathline.ode import Moved

        sign = wall.sign(new[0])
        return Moved(bounce(old, new), lambda slope: tuple(sign * part for part in slope))

    start = (torch.tensor([[1.0]], dtype=DOUBLE), torch.tensor([[-0.4]], dtype=DOUBLE))
    exact = float(integrate(velocity, start, (0.0, 2.0), "dopri5", 1e-12, 1e-12).final[0].abs())

    def error(stage_hook, count: int) -> float:
        nodes = time_grid(count, 0.0, 2.0)
        solution = integrate(velocity, start, nodes, method, post_stage=stage_hook, post_step=bounce)
        return abs(float(solution.final[0]) - exact)

    def slope(stage_hook) -> float:
        """Order of the worst errors of many grids, since the bounce falls anywhere within a step."""
        coarse = max(error(stage_hook, count) for count in range(40, 60))
        fine = max(error(stage_hook, count) for count in range(160, 240, 4))
        return math.log(coarse / fine, 4)

    if method == "dopri5":
        found = integrate(velocity, start, (0.0, 2.0), method, 1e-9, 1e-9, post_stage=mirrored, post_step=bounce)
        assert abs(float(found.final[0]) - exact) < 1e-7 and found.rejected < 5
        return
    order = FIXED_STEP[method].order
    assert slope(mirrored) == pytest.approx(order, abs=0.25)
    if order == 2:
        assert slope(bounce) < 1.4


def test_paths_between_points_stay_inside_and_have_the_velocity_they_say() -> None:
    for domain in SPACES.values():
        x0, x1 = domain.sample(2000, generator()), domain.sample(2000, generator(1))
        t = torch.rand(2000, generator=generator(2), dtype=DOUBLE)
        place, velocity = domain.between(x0, x1, t)
        assert domain.contains(place).all()
        ahead, _ = domain.between(x0, x1, t + 1e-6)
        assert ((ahead - place) / 1e-6 - velocity).abs().max() < 1e-4
        ends = [domain.between(x0, x1, torch.full((2000,), end, dtype=DOUBLE))[0] for end in (0.0, 1.0)]
        assert (ends[0] - x0).abs().max() < 1e-9 and (ends[1] - x1).abs().max() < 1e-9
    ring = SPACES["half-annulus"]
    straight = 0.5 * (ring.sample(2000, generator()) + ring.sample(2000, generator(1)))
    assert not ring.contains(straight).all()  # so the map is needed


@pytest.mark.parametrize("name", SPACES)
def test_what_is_outside_is_seen_and_nan_is_nowhere(name: str) -> None:
    domain = SPACES[name]
    x = domain.sample(1000, generator())
    assert domain.contains(x).all() and domain.contains(x.float()).all()
    assert not domain.contains(x + 100).any()
    assert not domain.contains(torch.full_like(x, math.nan)).any()


def test_domains_are_made_by_name() -> None:
    assert isinstance(space({"name": "simplex", "dims": 4}), Simplex)
    assert space({"name": "ball", "dims": 2, "radius": 3.0}).radius == 3.0
    assert space({"name": "polygon", "corners": TRIANGLE}).shape == (2,)
    with pytest.raises(ValueError, match="no domain 'torus'; choose one of box"):
        space({"name": "torus"})
    with pytest.raises(ValueError, match="domain 'ball'"):
        space({"name": "ball", "size": 2})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: polygon([[0, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2]]), "not convex"),
        (lambda: polygon([[0, 0], [1, 1], [1, 0], [0, 1]]), "not convex"),
        (lambda: Polytope([[1.0, 0.0], [-1.0, 0.0]], [1.0, 1.0]), "open|unbounded"),
        (lambda: Polytope([[1.0], [-1.0]], [0.0, -1.0]), "empty"),
        (lambda: Box(1.0, 1.0), "lower < upper"),
        (lambda: Box(torch.zeros(2), 1.0, (3,)), "do not fit"),
        (lambda: HalfAnnulus(2.0, 1.0), "inner < outer"),
        (lambda: Ball(2, -1.0), "positive radius"),
        (lambda: Simplex(1), "at least 2"),
        (lambda: Box(0.0, 1.0, (2,)).hooks("bounce"), "reflect, project, none"),
    ],
)
def test_domains_that_cannot_be_are_refused(build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()

"""Bodies in free space that act on each other in pairs: electric charges, gravity, springs.

    m_i a_i = sum_{j != i} c_ij g(||x_i - x_j||^2) (x_i - x_j),        c_ij = c_ji

    charged:   c_ij = q_i q_j       g(s) = s^(-3/2)                    like charges repel
    gravity:   c_ij = -G m_i m_j    g(s) = (s + softening^2)^(-3/2)
    springs:   c_ij = -k_ij         g(s) = 1                           rest length 0

integrated by symplectic Euler, v <- v + dt a(x), then x <- x + dt v, in float64, all rollouts at once.

The charged protocol is that of Satorras, Hoogeboom and Welling 2021, "E(n) Equivariant Graph Neural Networks",
arXiv:2102.09844 (after Kipf et al. 2018, arXiv:1802.04687, and Fuchs et al. 2020, arXiv:2006.10503): its force is cut
off at +-100 per component. That cut breaks rotation symmetry, momentum and energy, and many rollouts meet it, because
opposite charges fall into each other; the flag `clamped` marks them. We keep all of them and never mix the subsets.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pathline.data import Rollouts
from pathline.data.cache import cached
from pathline.graph.build import complete_graph

DT = 0.001  # time units per integration step
FORCE_LIMIT = 100.0  # per component, in the charged protocol only
CLOSE = 0.1  # a pair that ever comes nearer than this sets the flag `close`
_PART = 1024  # rollouts integrated at once: the working set stays in the processor's cache

Law = Callable[[Tensor], Tensor]


class Motion(NamedTuple):
    """What `simulate_bodies` returns.

    positions, velocities: (rollouts, frames, bodies, dims);  clamped: (rollouts,) bool, the force met its limit before
    the last frame;  closest: (rollouts,) the smallest distance between two bodies at any step.
    """

    positions: Tensor
    velocities: Tensor
    clamped: Tensor
    closest: Tensor


def inverse_cube(square: Tensor) -> Tensor:
    """s^(-3/2): with the displacement it makes Coulomb's 1/r^2 force."""
    return square.rsqrt() ** 3


def simulate_bodies(
    position: Tensor,
    velocity: Tensor,
    coupling: Tensor,
    law: Law,
    frames: Sequence[int],
    mass: Tensor | None = None,
    dt: float = DT,
    limit: float | None = None,
) -> Motion:
    """Integrate the equation of the module from a given state and keep the states after `frames` steps.

    position, velocity: (rollouts, bodies, dims) at step 0;  coupling: (rollouts, bodies, bodies) symmetric, c_ij;
    law: g, from squared distances to force per unit of displacement;  mass: (rollouts, bodies), default 1;
    limit: each component of each body's total force is clamped to +-limit.
    """
    if list(frames) != sorted(set(frames)) or not frames or frames[0] < 0:
        raise ValueError(f"frames must be increasing step numbers >= 0, got {list(frames)}")
    mass = torch.ones(coupling.shape[:2]) if mass is None else mass
    parts = [
        _integrate(x.double(), v.double(), c.double(), m.double(), law, frames, dt, limit)
        for x, v, c, m in zip(*(t.split(_PART) for t in (position, velocity, coupling, mass)), strict=True)
    ]
    return Motion(*(torch.cat(pieces) for pieces in zip(*parts, strict=True)))


def _integrate(
    position: Tensor,
    velocity: Tensor,
    coupling: Tensor,
    mass: Tensor,
    law: Law,
    frames: Sequence[int],
    dt: float,
    limit: float | None,
) -> Motion:
    bodies = position.shape[1]
    i, j = torch.triu_indices(bodies, bodies, offset=1)
    c = coupling[:, i, j].T.contiguous()  # (pairs, rollouts)
    pair = torch.arange(len(i))
    incidence = torch.zeros(
        bodies, len(i), dtype=torch.float64
    )  # a pair pushes i by +f and j by -f: Newton's third law
    incidence[i, pair], incidence[j, pair] = 1.0, -1.0
    x, v = (state.permute(1, 2, 0).contiguous() for state in (position, velocity))  # (bodies, dims, rollouts)
    kick = dt / mass.T[:, None]

    positions, velocities = [], []
    clamped = torch.zeros(len(position), dtype=torch.bool)
    nearest = torch.full((len(position),), torch.inf, dtype=torch.float64)
    keep = set(frames)
    for step in range(frames[-1] + 1):
        if step in keep:
            positions.append(x.permute(2, 0, 1).clone())
            velocities.append(v.permute(2, 0, 1).clone())
        apart = x[i] - x[j]  # (pairs, dims, rollouts)
        square = (apart * apart).sum(1)
        nearest = torch.minimum(nearest, square.amin(0))
        if step == frames[-1]:
            break
        push = apart * (c * law(square))[:, None]
        force = (incidence @ push.flatten(1)).view_as(x)
        if limit is not None:
            clamped |= force.abs().amax((0, 1)) > limit
            force = force.clamp(-limit, limit)
        v = v + kick * force
        x = x + dt * v
    return Motion(torch.stack(positions, 1), torch.stack(velocities, 1), clamped, nearest.sqrt())


def _spacing(frames: Sequence[int]) -> int:
    """Steps between saved frames; ValueError unless they are at least two and equally spaced."""
    gaps = {later - earlier for earlier, later in pairwise(frames)}
    if len(gaps) != 1 or min(gaps) <= 0:
        raise ValueError(
            f"frames must be two or more step numbers at equal distances, as in range(0, 2001, 100), got {list(frames)}"
        )
    return gaps.pop()


def _start(
    rollouts: int, bodies: int, dims: int, spread: float, speed: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Positions ~ N(0, spread^2) and velocities of norm `speed` in uniformly random directions, float64."""
    position = spread * torch.randn(rollouts, bodies, dims, generator=generator, dtype=torch.float64)
    direction = torch.randn(rollouts, bodies, dims, generator=generator, dtype=torch.float64)
    return position, speed * torch.nn.functional.normalize(direction, dim=-1)


def _rollouts(
    name: str,
    parameters: dict[str, Any],
    build: Callable[[], tuple[Motion, Tensor, Tensor]],
    start: int | None,
    span: int,
) -> Rollouts:
    """`build` gives the motion, the node features (R, N) and the pair matrix (R, N, N); the result is cached."""
    frames = parameters["frames"]
    interval = _spacing(frames) * DT

    def tensors() -> dict[str, Tensor]:
        motion, features, coupling = build()
        return {
            "positions": motion.positions.float(),
            "velocities": motion.velocities.float(),
            "features": features[..., None].float(),
            "coupling": coupling.float(),
            "clamped": motion.clamped,
            "close": motion.closest < CLOSE,
        }

    data = cached(name, {"version": 1, "dt": DT, **parameters}, tensors)
    edge_index = complete_graph(parameters["bodies"])
    return Rollouts(
        positions=data["positions"],
        velocities=data["velocities"],
        features=data["features"],
        edge_index=edge_index,
        edge_features=data["coupling"][:, edge_index[0], edge_index[1], None],
        interval=interval,
        start=start,
        span=span,
        flags={flag: data[flag] for flag in ("clamped", "close")},
        name=name,
    )


def charged_nbody(
    rollouts: int,
    frames: Sequence[int] = (3100, 4100),
    bodies: int = 5,
    dims: int = 3,
    seed: int = 0,
    start: int | None = None,
    span: int = 1,
) -> Rollouts:
    """Charges +-1 with equal odds, by the protocol of EGNN (see the module); masses 1.

    Positions start as N(0, s^2) with s = (bodies / 5)^(1/3), velocities with norm 0.5 and random direction; dt = 0.001.
    `frames` are step numbers: the defaults are the paper's input (step 3100, its frame 30) and target (4100, frame 40),
    one time unit apart; its shifted test set is (2100, 3100). `start` and `span` choose the supervised step.
    features: charge (R, N, 1);  edge_features: q_i q_j (R, E, 1) on the complete graph;  flags: `clamped` (the force
    limit was met before the last frame), `close` (a pair came nearer than 0.1).
    """

    def build() -> tuple[Motion, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        charge = 2.0 * torch.randint(2, (rollouts, bodies), generator=generator) - 1.0
        position, velocity = _start(rollouts, bodies, dims, (bodies / 5) ** (1 / 3), 0.5, generator)
        coupling = charge[:, :, None] * charge[:, None, :]
        motion = simulate_bodies(position, velocity, coupling, inverse_cube, frames, limit=FORCE_LIMIT)
        return motion, charge, coupling

    parameters = {"rollouts": rollouts, "frames": list(frames), "bodies": bodies, "dims": dims, "seed": seed}
    return _rollouts("charged-nbody", parameters, build, start, span)


def gravity_nbody(
    rollouts: int,
    frames: Sequence[int] = range(0, 2001, 500),
    bodies: int = 5,
    dims: int = 3,
    seed: int = 0,
    masses: tuple[float, float] = (0.5, 2.0),
    softening: float = 0.1,
    start: int | None = None,
    span: int = 1,
) -> Rollouts:
    """Gravitating bodies, G = 1, masses log-uniform in `masses`, potential -G m m' / sqrt(r^2 + softening^2).

    Starts like `charged_nbody`, then the momentum is removed, so that the centre of mass rests.
    features: mass (R, N, 1);  edge_features: m_i m_j (R, E, 1);  flags: `close`, and `clamped` (never set: no limit).
    """

    def build() -> tuple[Motion, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        low, high = masses
        mass = low * (high / low) ** torch.rand(rollouts, bodies, generator=generator, dtype=torch.float64)
        position, velocity = _start(rollouts, bodies, dims, (bodies / 5) ** (1 / 3), 0.5, generator)
        drift = (mass[..., None] * velocity).sum(1, keepdim=True) / mass.sum(1)[:, None, None]
        product = mass[:, :, None] * mass[:, None, :]
        motion = simulate_bodies(
            position,
            velocity - drift,
            -product,
            lambda square: inverse_cube(square + softening**2),
            frames,
            mass,
        )
        return motion, mass, product

    parameters = {"rollouts": rollouts, "frames": list(frames), "bodies": bodies, "dims": dims, "seed": seed}
    parameters |= {"masses": list(masses), "softening": softening}
    return _rollouts("gravity-nbody", parameters, build, start, span)


def spring_nbody(
    rollouts: int,
    frames: Sequence[int] = range(0, 4001, 500),
    bodies: int = 5,
    dims: int = 3,
    seed: int = 0,
    stiffness: tuple[float, float] = (0.5, 2.0),
    probability: float = 0.5,
    start: int | None = None,
    span: int = 1,
) -> Rollouts:
    """Unit masses joined by springs of rest length 0, each pair with `probability`, stiffness uniform in `stiffness`.

    After Kipf et al. 2018, arXiv:1802.04687 (positions N(0, 0.5^2), speed 0.5), without its walls and with unequal,
    stiffer springs (its single value is 0.1, for which these times are almost straight lines).
    features: mass 1 (R, N, 1);  edge_features: k_ij (R, E, 1), 0 where there is no spring, on the complete graph;
    flags: `close`, and `clamped` (never set: no limit).
    """

    def build() -> tuple[Motion, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        low, high = stiffness
        k = low + (high - low) * torch.rand(rollouts, bodies, bodies, generator=generator, dtype=torch.float64)
        k = (k * (torch.rand(k.shape, generator=generator) < probability)).triu(1)
        k = k + k.transpose(1, 2)
        position, velocity = _start(rollouts, bodies, dims, 0.5, 0.5, generator)
        motion = simulate_bodies(position, velocity, -k, torch.ones_like, frames)
        return motion, torch.ones(rollouts, bodies), k

    parameters = {"rollouts": rollouts, "frames": list(frames), "bodies": bodies, "dims": dims, "seed": seed}
    parameters |= {"stiffness": list(stiffness), "probability": probability}
    return _rollouts("spring-nbody", parameters, build, start, span)

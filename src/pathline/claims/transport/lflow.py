"""Lagrangian flow networks on a density that a known compressible flow carries, read by twenty sensors.

All arms learn from the same noisy readings of density and velocity and have as many parameters (within 5 percent). A
step of the flow takes MEASURED times as long as one of the physics-informed network, which gets as many more steps; the
plain network gets PLAIN times as many (constants, not clocks, so that the same seed gives the same numbers). Five more
sensors pick the weights of every arm. Options were chosen by the errors on the grid of pilot seeds: on 100 to 102 those
of the flow (stack, base law, misfit, weight of velocities, rate and decay of weights), on 100 those of the rival (the
weight of its penalty from three, misfit from three, weight of velocities from two, decay of weights or none).
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import grad, jacrev, vmap

from pathline.core.budget import steps
from pathline.core.claim import Claim, at_least, at_most, widest_within
from pathline.data.container import Split
from pathline.sims.advection import BOX, Carrier, sensors
from pathline.transport.field_pictures import grid
from pathline.transport.fields import FieldLearner
from pathline.transport.lflow import LFlow
from pathline.transport.rivals import PINN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = 1500
MEASURED, PLAIN = 2.4, 8.5  # 25.3 ms of processor time for a whole step of training, against 10.6 and 3.0
CONTINUITY = 0.1  # of 0.01, 0.1 and 1
VELOCITY_WEIGHT = 20.0  # for all arms
MISFIT = {"fit_to": "softplus", "floor": 0.3, "velocity_weight": VELOCITY_WEIGHT}
SHAPE = {"stack": "shallow", "layers": 4, "width": 48, "base": "mixture", "components": 6, "spread": 0.37}
OPTIONS = {"kinetic": 0.0, **MISFIT, **SHAPE}
TRAINING = {"lr": 4e-3, "weight_decay": 0.5}
SENSORS, PICKING, READINGS = 20, 5, 25
SIDE, MOMENTS = 40, 10
WIDE, WIDE_SIDE = 10.0, 300  # a box that holds all mass, and the quadrature on it
FLOW, INFORMED, NETWORK = "lflow", "PINN", "plain network"


class ConservedByConstruction(Claim):
    """From 20 sensors of a density carried by a known compressible flow, a Lagrangian flow has at most 0.8 times the
    density error of a physics-informed network of as many parameters and as much time, and at most its velocity error;
    what is left of the continuity equation, relative to its terms, is below 1e-4 in float32 (above 1e-2 for the rival),
    and mass drifts by less than 0.5 percent."""

    system = "lflow"
    paper = "higher density accuracy than physics-informed and other conserving networks in 2-D and 3-D, at low cost"
    metric, better = "root mean squared error of the density on a grid at unseen times", "lower"
    require = (
        at_most(f"{FLOW}, density", 0.8, f"{INFORMED}, density"),
        at_most(f"{FLOW}, velocity", 1.0, f"{INFORMED}, velocity"),
        at_most(f"{FLOW}, continuity", 1e-4),
        at_least(f"{INFORMED}, continuity", 1e-2),
        at_most(f"{FLOW}, mass drift", 0.005),
    )

    tried = (
        "Before, with couplings and densities as they are, 0.108 against 0.091 in density and 0.575 against 0.440 in "
        "velocity: the flow fitted its readings below their noise within 250 steps and was rough between sensors. On "
        "seeds 100, 101 and 102, errors in the mean (the flow in a version with the same layers and sinusoids of its "
        "own): one-layer residuals of sines 0.168 and 1.05, of hyperbolic tangents 0.151 and 0.71, with smaller "
        "weights at the beginning 0.192 and 0.35, and a mixture of 8 as base law 0.159 and 0.40; log(1 + rho) and "
        "velocities weighted 5-fold 0.144 and 0.29 after 350 steps, 0.101 and 0.29 after 1500; logarithms and a "
        "10-fold weight 0.095 and 0.32; a floor of 0.1 of the largest density 0.094 and 0.27, 16 laws 0.095 and 0.33, "
        "a 20-fold weight 0.083 and 0.24, half as wide with a decay of weights of 0.3 0.083 and 0.24, a floor of 0.3 "
        "0.081 and 0.24; as it stands 0.079 and 0.22 after 500 steps; a decay of 2 0.158 and 0.23; a penalty on the "
        "second differences of the velocity 0.184 and 0.32. The rival with velocities weighted once had 0.084 and 0.44 "
        "after 3200 steps there; on seed 100 after 900 steps it had 0.163 and 0.91, with the 20-fold weight 0.147 and "
        "0.36, which it was given too; with log(1 + rho) 0.172 and 0.34, and a decay of 0.5 0.208 and 0.29; with a "
        "penalty of 1 0.191 and 0.48."
    )

    def run(self, seed: int) -> dict[str, float]:
        learned = self.uses(sensors(SENSORS, READINGS, seed=seed))
        picking = sensors(PICKING, READINGS, seed=seed + 10_000)
        data = Split(learned, picking, picking)
        flow = LFlow.seeded(learned, seed, **OPTIONS)
        allowed = round(1.05 * flow.parameter_count())
        width = widest_within(allowed, lambda width: PINN.for_data(learned, width=width))
        rival = {"width": width, "velocity_weight": VELOCITY_WEIGHT}
        self.arms: dict[str, tuple[FieldLearner, int, dict[str, float]]] = {
            FLOW: (flow, STEPS, TRAINING),
            INFORMED: (PINN.seeded(learned, seed, continuity=CONTINUITY, **rival), round(STEPS * MEASURED), {}),
            NETWORK: (PINN.seeded(learned, seed, continuity=0.0, **rival), round(STEPS * PLAIN), {}),
        }
        found: dict[str, float] = {}
        for name, (arm, budget, training) in self.arms.items():
            arm.fit(data, steps(budget), seed=seed, **training)
            found |= {f"{name}, {what}": value for what, value in measure(arm).items()}
        return found

    def picture(self) -> "Figure":
        from pathline.transport.field_pictures import density_of, fields_picture

        carrier, corner = Carrier(), torch.tensor([BOX, BOX])
        rows = {
            "truth": (
                lambda x, time: carrier.log_density(x, time).exp().float(),
                lambda x, time: carrier.velocity(x.double(), torch.tensor(time, dtype=torch.float64)).float(),
            )
        }
        rows |= {name: (density_of(arm), arm.velocity) for name, (arm, *_) in self.arms.items() if name != NETWORK}
        return fields_picture(rows, [0.0, 0.33, 0.67, 1.0], -corner, corner)


def measure(arm: FieldLearner) -> dict[str, float]:
    """Errors on a grid between the sensors' readings, what is left of the continuity equation, and drift of mass."""
    carrier, corner = Carrier(), torch.tensor([BOX, BOX])
    x = grid(-corner, corner, SIDE).repeat(MOMENTS, 1)
    t = ((torch.arange(MOMENTS) + 0.5) / MOMENTS).double().repeat_interleave(SIDE**2)
    truth = carrier.log_density(x, t).exp()
    density = arm.log_density(x, t).exp().double() - truth
    velocity = arm.velocity(x, t).double() - carrier.velocity(x.double(), t)
    wide = grid(torch.tensor([-WIDE, -WIDE]), torch.tensor([WIDE, WIDE]), WIDE_SIDE)
    reach = WIDE if isinstance(arm, LFlow) else BOX  # the rival's density is not told to vanish beyond its sensors
    wide = wide[(wide.abs() <= reach).all(1)]
    mass = torch.stack([arm.log_density(wide, float(s)).exp().double().sum() for s in torch.linspace(0, 1, 6)])
    return {
        "density": float(density.square().mean().sqrt()),
        "velocity": float(velocity.square().sum(1).mean().sqrt()),
        "continuity": float(relative_residual(arm).mean()),
        "mass drift": float((mass / mass[0] - 1).abs().max()),
        "thousand parameters": arm.parameter_count() / 1000,
    }


def relative_residual(arm: FieldLearner, count: int = 1000) -> Tensor:
    """|d_t rho + div(rho v)| / (|d_t rho| + |v . grad rho| + |rho div v|) at random points in float32: (count,)."""
    generator = torch.Generator().manual_seed(0)
    x = arm.scaled((2 * torch.rand(count, arm.dims, generator=generator) - 1) * BOX)
    t = torch.rand(count, generator=generator)

    def density(p: Tensor, s: Tensor) -> Tensor:
        return arm.log_density_inside(p[None], s[None])[0].exp()

    def velocity(p: Tensor, s: Tensor) -> Tensor:
        return arm.velocity_inside(p[None], s[None])[0]

    def terms(p: Tensor, s: Tensor) -> Tensor:
        in_time, along = grad(density, argnums=1)(p, s), (velocity(p, s) * grad(density)(p, s)).sum()
        return torch.stack([in_time, along, density(p, s) * jacrev(velocity)(p, s).diagonal().sum()])

    parts = vmap(terms)(x, t).detach().double()
    return parts.sum(1).abs() / (parts.abs().sum(1) + 1e-12)

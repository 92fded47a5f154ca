"""Lagrangian flow networks on a density that a known compressible flow carries, read by twenty sensors.

All arms learn from the same noisy readings of density and velocity and have as many parameters (within 5 percent). A
step of the flow takes MEASURED times as long as one of the physics-informed network, which gets as many more steps; the
plain network gets PLAIN times as many (constants, not clocks, so that the same seed gives the same numbers). Five more
sensors pick the weights of every arm. By the error on the grid of seed 100 were chosen the weight of the rival's
penalty, from three, for each arm whether it fits densities or their logarithms, and the flow's base law.
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

STEPS = 1000
MEASURED, PLAIN = 3.2, 6.4  # 40 ms of processor time for the loss and its gradient, against 13 and 3
CONTINUITY = 0.1  # of 0.01, 0.1 and 1
OPTIONS = {"kinetic": 0.0, "fit_to": "density", "base": "mixture", "components": 6}
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
        "On seed 100: fitting logarithms of the density instead of densities 0.220 against 0.208 after 250 steps, a "
        "mixture as base law 0.192 after 240; the rival 0.13 to 0.21 with logarithms and 0.23 to 0.47 with densities "
        "after 1000 steps, by the weight of its penalty. 1000 steps of ours instead of the 1500 of the card; more "
        "were not tried."
    )

    def run(self, seed: int) -> dict[str, float]:
        learned = self.uses(sensors(SENSORS, READINGS, seed=seed))
        picking = sensors(PICKING, READINGS, seed=seed + 10_000)
        data = Split(learned, picking, picking)
        flow = LFlow.seeded(learned, seed, **OPTIONS)
        allowed = round(1.05 * flow.parameter_count())
        width = widest_within(allowed, lambda width: PINN.for_data(learned, width=width))
        self.arms: dict[str, tuple[FieldLearner, int]] = {
            FLOW: (flow, STEPS),
            INFORMED: (PINN.seeded(learned, seed, width=width, continuity=CONTINUITY), round(STEPS * MEASURED)),
            NETWORK: (PINN.seeded(learned, seed, width=width, continuity=0.0), round(STEPS * PLAIN)),
        }
        found: dict[str, float] = {}
        for name, (arm, budget) in self.arms.items():
            arm.fit(data, steps(budget), seed=seed)
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
        rows |= {name: (density_of(arm), arm.velocity) for name, (arm, _) in self.arms.items() if name != NETWORK}
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

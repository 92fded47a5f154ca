"""Lagrangian against fixed-place networks on fast transport: two branches on moving characteristics, or one network.

Both have as many parameters (within 10 %), steps, collocation points and rates; both get the periodic inputs and the
weight of the initial state of the plan. The Lagrangian residual is divided by the fastest speed; the other's is not.
Nothing was chosen on the claim's seeds.
"""

from typing import TYPE_CHECKING

import torch

from pathline.core.budget import Budget
from pathline.core.claim import Claim, at_least, at_most
from pathline.data.equation import Equation
from pathline.simulate.equations import draw_solutions
from pathline.simulate.lpinn import LPINN
from pathline.simulate.pinn import PINN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BUDGET = Budget(steps=1500)
POINTS = 256
FAST = "speed 30"


def problems() -> dict[str, Equation]:
    """A sine wave carried at speeds 1 and 30, at 30 with viscosity, and by itself on a mean of 10."""
    x = torch.arange(POINTS, dtype=torch.float64) * (2 * torch.pi / POINTS)
    return {
        "speed 1": Equation(initial=x.sin(), speed=1.0, name="speed 1"),
        FAST: Equation(initial=x.sin(), speed=30.0, name=FAST),
        "speed 30, viscous": Equation(initial=x.sin(), speed=30.0, viscosity=0.01, name="speed 30, viscous"),
        "burgers": Equation(initial=x.sin() + 10.0, self_advection=1.0, viscosity=0.05, name="burgers"),
    }


class FastTransport(Claim):
    """At a speed of 30, with and without a viscosity of 0.01, the relative error of a Lagrangian network is at most
    0.1, while that of a network at fixed places is at least 0.5; at a speed of 1 both are at most 0.05; on Burgers'
    equation with a mean of 10 the Lagrangian error is at most half of the other."""

    system, baselines = "lpinn", ("pinn",)
    paper = (
        "convection, convection-diffusion and Burgers' equation: a network at fixed places breaks down for speeds "
        "beyond 10 to 30; on characteristics it stays accurate up to 50 and more"
    )
    metric, better = "relative L2 error over all places and times", "lower"
    require = (
        at_most("lpinn, speed 1", 0.05),
        at_most("pinn, speed 1", 0.05),
        at_most(f"lpinn, {FAST}", 0.1),
        at_least(f"pinn, {FAST}", 0.5),
        at_most(f"lpinn, {FAST}, viscous", 0.1),
        at_least(f"pinn, {FAST}, viscous", 0.5),
        at_most("lpinn, burgers", 0.5, "pinn, burgers"),
    )

    def run(self, seed: int) -> dict[str, float]:
        found: dict[str, float] = {}
        self.solvers: dict[str, LPINN | PINN] = {}
        for name, equation in problems().items():
            self.uses(equation)
            for key, cls in (("lpinn", LPINN), ("pinn", PINN)):
                solver = cls.seeded(equation, seed).fit(equation, BUDGET, seed=seed)
                found[f"{key}, {name}"] = solver.evaluate(equation)["relative_l2"]
                if name == FAST:
                    self.solvers[key] = solver
                    found[f"{key}, parameters"] = float(solver.parameter_count())
        return found

    def picture(self) -> "Figure":
        """Both solutions at a speed of 30."""
        return draw_solutions(self.solvers, problems()[FAST]).picture

"""Rivals for claims about populations: velocity matching without growth, growth without motion, and plain networks.

The first two have the networks, plans and steps of VGFM, so that what differs is what their names say.
"""

from typing import Any

import torch
from torch import Tensor, nn

from pathline.core.method import Recipe
from pathline.data import Measurements, Snapshots
from pathline.nn import MLP
from pathline.ode import integrate, time_grid
from pathline.transport.fields import FieldLearner
from pathline.transport.matching import Pairs
from pathline.transport.vgfm import VGFM


class OTCFM(VGFM):
    """Flow matching along balanced optimal plans of whole snapshots; every cell keeps its weight.

    epsilon: 0 for exact plans, as its authors use, or a blur as VGFM's.
    Tong et al., 2024, "Improving and generalizing flow-based generative models with minibatch optimal transport",
    arXiv:2302.00482.
    """

    def __init__(
        self,
        dims: int,
        snapshots: int,
        width: int = 128,
        depth: int = 3,
        epsilon: float = 0.0,
        noise: float = 0.03,
        largest: int = 1000,
        step: float = 0.05,
    ) -> None:
        super().__init__(
            dims,
            snapshots,
            width,
            depth,
            growth_width=0,
            epsilon=epsilon,
            tau=float("inf"),
            noise=noise,
            fitting=0.0,
            largest=largest,
            step=step,
        )


class GrowthOnly(VGFM):
    """Cells stay and only their weights change, by the growth that VGFM's plan implies at their place."""

    def carry(
        self, x: Tensor, start: float, end: float, step: float | None = None, **options: Any
    ) -> tuple[Tensor, Tensor]:
        standing = x
        _, gained = super().carry(standing, start, end, step, **options)
        return standing, gained

    def fields(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        _, growth = super().fields(x, t)
        return x.new_zeros(x.shape), growth

    def loss(self, batch: Pairs) -> dict[str, Tensor]:
        """Growth at the source cell, where it happens when nobody moves."""
        return super().loss(Pairs(batch.source, batch.source, batch.start, batch.duration, batch.log_growth))


class Sine(nn.Module):
    """sin(x), smooth as physics-informed networks need their activations."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x)


class PINN(FieldLearner):
    """Two plain networks for log rho and v, with a penalty on what is left of the continuity equation.

        loss + continuity E |d_t log rho + v . grad log rho + div v|^2       at `collocation` points of the box and time

    In this form, the equation divided by rho, places with little mass count as much as others. continuity=0 is a plain
    network that knows no law. Raissi, Perdikaris, Karniadakis, 2019, "Physics-informed neural networks", Journal of
    Computational Physics 378, 686.
    """

    recipe = Recipe(steps=1500, batch_size=256, lr=2e-3, clip=5.0)
    low: Tensor
    high: Tensor

    def __init__(
        self,
        dims: int,
        snapshots: int,
        mass: bool = False,
        velocity_weight: float = 1.0,
        fit_to: str = "log",
        floor: float = 1e-3,
        width: int = 100,
        depth: int = 3,
        continuity: float = 0.1,
        collocation: int = 500,
    ) -> None:
        super().__init__(dims, snapshots, mass, velocity_weight, fit_to, floor)
        self.continuity, self.collocation = continuity, collocation
        self.log_density_net = MLP([dims + 1, *[width] * depth, 1], Sine)
        self.velocity_net = MLP([dims + 1, *[width] * depth, dims], Sine)
        self.register_buffer("low", torch.zeros(dims))
        self.register_buffer("high", torch.ones(dims))

    def read_units(self, data: Snapshots | Measurements) -> None:
        super().read_units(data)
        x = self.scaled(data.positions)
        self.low.copy_(x.amin(0))
        self.high.copy_(x.amax(0))

    def log_density_inside(self, x: Tensor, t: Tensor) -> Tensor:
        found: Tensor = self.log_density_net(torch.cat([x, t[:, None]], 1))
        return found[:, 0]

    def velocity_inside(self, x: Tensor, t: Tensor) -> Tensor:
        found: Tensor = self.velocity_net(torch.cat([x, t[:, None]], 1))
        return found

    def residual(self, x: Tensor, t: Tensor) -> Tensor:
        """d_t log rho + v . grad log rho + div v, (batch,), inside."""
        x, t = x.detach().requires_grad_(), t.detach().requires_grad_()
        velocity = self.velocity_inside(x, t)
        along: Any = torch.autograd.grad(self.log_density_inside(x, t).sum(), (x, t), create_graph=True)
        spread = sum(
            torch.autograd.grad(velocity[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(x.shape[1])
        )
        return along[1] + (velocity * along[0]).sum(1) + spread

    def loss(self, batch: Any) -> dict[str, Tensor]:
        terms = super().loss(batch)
        if self.continuity:
            x = self.low + (self.high - self.low) * torch.rand(self.collocation, self.dims).to(self.low)
            error = self.residual(x, torch.rand(self.collocation).to(self.low)).square().mean()
            terms |= {"loss": terms["loss"] + self.continuity * error, "continuity": error}
        return terms

    def carry(self, x: Tensor, start: float, end: float, **options: Any) -> tuple[Tensor, Tensor]:
        """Along the velocity, by 20 steps of the fourth order."""
        whole = self.clock(float(self.learned_times[-1]))
        nodes = time_grid(20, start / whole, end / whole)
        moved = integrate(lambda y, t: self.velocity_inside(y, t.to(y).expand(len(y))), x, nodes, "rk4", keep="last")
        return moved.final, x.new_zeros(len(x))

"""Flow through a channel past obstacles in the plane: a lattice Boltzmann method, for any number of channels at once.

    f_i(x + c_i, t + 1) = f_i + (f_i^eq - f_i) / tau,        nu = (tau - 1/2) / 3
    f_i^eq = w_i (rho + 3 c_i.u + 9/2 (c_i.u)^2 - 3/2 u.u),  rho = sum f_i,   u = sum c_i f_i
Nine velocities (D2Q9, Qian, d'Humieres, Lallemand, 1992) with the equilibrium of He, Luo, 1997, J. Stat. Phys. 88, 927,
in which u is the momentum itself, so that a steady flow is exactly that of an incompressible fluid of density 1.
Everything is in lattice units: cells, steps; the pressure is rho / 3, and only its differences matter.

Streaming and boundaries are one gather. A population that would leave the fluid turns round half-way to the next cell
centre, so streaming permutes the populations and conserves mass exactly; to the turned ones the inlet then adds the
momentum of a moving wall (Ladd, 1994), f_i += 6 w_i c_i.u_in, and the outlet turns them into those of a given pressure
(anti-bounce-back, Ginzburg, Verhaeghe, d'Humieres, 2008), f_i = -f_i + 2 w_i (rho_out + 9/2 (c_i.u)^2 - 3/2 u.u).
The outlet's density follows the waves that run into it, d rho_out = d<u_x> / c_s, and is drawn back to 1 slowly: sound
leaves the channel, and the pressure is 0 there on average in the end.
"""

from typing import NamedTuple

import torch
from torch import Tensor

# Columns are velocities: rest, east, north, west, south, north-east, north-west, south-west, south-east.
C = torch.tensor([[0, 1, 0, -1, 0, 1, -1, -1, 1], [0, 0, 1, 0, -1, 1, 1, -1, -1]])
W = torch.tensor([4 / 9] + [1 / 9] * 4 + [1 / 36] * 4, dtype=torch.float64)
OPPOSITE = torch.tensor([0, 3, 4, 1, 2, 7, 8, 5, 6])
IN, OUT = torch.tensor([1, 5, 8]), torch.tensor([3, 6, 7])  # that enter at the inlet and at the outlet
SOUND = 3**-0.5  # cells a step
RECALL = 2e-3  # how fast the outlet's density returns to 1, per step


class ChannelFlow(NamedTuple):
    """velocity: (items, 2, height, width) along and across the channel; pressure: (items, height, width), 0 on average
    in the last column; both 0 in solid cells.  steps: (items,) until steady;  change: (items,) the mean change of the
    velocity per step, at the end."""

    velocity: Tensor
    pressure: Tensor
    steps: Tensor
    change: Tensor


def parabola(height: int, peak: float) -> Tensor:
    """(height,) float64: velocity of a fully developed flow at the centres of cells between walls half a cell away."""
    y = torch.arange(height, dtype=torch.float64) + 0.5
    return 4 * peak * y * (height - y) / height**2


def streaming(solid: Tensor, periodic: bool = False) -> Tensor:
    """Where every population comes from: (9 * items * height * width,) places in the flattened populations.

    It is a permutation: from the cell up-stream, or from the opposite population of the same cell where a wall, an
    obstacle, or an end of the channel (unless periodic in x) is in the way. Populations of solid cells stay.
    """
    height, width = solid.shape[1:]
    place = torch.arange(solid.numel()).view(solid.shape)
    source = torch.empty(9, *solid.shape, dtype=torch.int64)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    for i, ((x, y), opposite) in enumerate(zip(C.T.tolist(), OPPOSITE.tolist(), strict=True)):
        row, column = rows - y, columns - x
        outside = (row < 0) | (row >= height) | (((column < 0) | (column >= width)) & (not periodic))
        row, column = row.clamp(0, height - 1), column % width
        blocked = outside | solid[:, row, column]
        free = torch.where(blocked, opposite * solid.numel() + place, i * solid.numel() + place[:, row, column])
        source[i] = torch.where(solid, i * solid.numel() + place, free)
    return source.flatten()


class Lattice:
    """Populations of several channels with walls above and below, and obstacles.

    solid:     (items, height, width) bool, cells of the obstacles
    viscosity: in cells^2 a step
    inflow:    (height,) or (items, height), velocity that enters on the left; None: the channel is closed to a ring
    velocity:  (2, height, width) or (items, 2, height, width) to start from; at rest by default
    """

    def __init__(
        self,
        solid: Tensor,
        viscosity: float,
        inflow: Tensor | None = None,
        velocity: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if solid.ndim != 3 or solid.dtype != torch.bool or not viscosity > 0:
            raise ValueError("a lattice needs obstacles (items, height, width) of bool and a viscosity above 0")
        if inflow is not None and tuple(inflow.shape) not in ((solid.shape[1],), (len(solid), solid.shape[1])):
            raise ValueError(
                f"the inflow has shape {tuple(inflow.shape)}; expected ({solid.shape[1]},) or "
                f"({len(solid)}, {solid.shape[1]}): a velocity for each row of cells"
            )
        self.inflow, self.rate = inflow, 1 / (3 * viscosity + 0.5)
        c = C.double()
        self.moments_of = torch.cat([torch.ones(1, 9), c]).to(dtype)
        squares = torch.stack([4.5 * c[0] ** 2 - 1.5, 9 * c[0] * c[1], 4.5 * c[1] ** 2 - 1.5])
        self.equilibrium_of = (W * torch.cat([torch.ones(1, 9), 3 * c, squares])).T.contiguous().to(dtype)
        self._enclose(solid)
        start = torch.zeros(1, 2, *solid.shape[1:]) if velocity is None else velocity.expand(len(solid), -1, -1, -1)
        moments = torch.zeros(3, *solid.shape, dtype=dtype)
        moments[0] = 1
        moments[1:] = (start * ~solid[:, None]).transpose(0, 1)
        self.populations = self.equilibrium_of @ _powers(moments.flatten(1))
        self.outlet_density = torch.ones(len(solid), dtype=dtype)
        self.outlet_speed = moments[1, :, :, -1].mean(1)

    def _enclose(self, solid: Tensor) -> None:
        self.solid, dtype = solid, self.equilibrium_of.dtype
        self.source = streaming(solid, periodic=self.inflow is None)
        if self.inflow is None:
            return
        inflow = self.inflow.double()
        above, below = inflow.roll(1, -1), inflow.roll(-1, -1)
        between = torch.stack([inflow, (inflow + above) / 2, (inflow + below) / 2])  # where the links cross the inlet
        between[1, ..., 0] = between[2, ..., -1] = 0  # these two links end in the corners, on the walls
        self.pushed = (6 * W[IN, None, None] * between.view(3, -1, between.shape[-1])).to(dtype)

    def moments(self) -> Tensor:
        """(3, items, height, width): density, and the momentum along and across the channel."""
        return (self.moments_of @ self.populations).view(3, *self.solid.shape)

    def step(self) -> None:
        """Collide, stream, and let in and out."""
        moments = self.moments_of @ self.populations
        powers = _powers(moments)
        collided = torch.addmm(self.populations, self.equilibrium_of, powers, beta=1 - self.rate, alpha=self.rate)
        self.populations = collided.view(-1).index_select(0, self.source).view(9, -1)
        if self.inflow is not None:
            self._let_in_and_out(moments.view(3, *self.solid.shape)[..., -1])

    def _let_in_and_out(self, last: Tensor) -> None:
        """last: (3, items, height), moments of the last column before the step."""
        populations = self.populations.view(9, *self.solid.shape)
        populations[IN, :, :, 0] += self.pushed
        speed = last[1].mean(1)
        self.outlet_density += (speed - self.outlet_speed) / SOUND + RECALL * (1 - self.outlet_density)
        self.outlet_speed = speed
        powers = _powers(torch.stack([self.outlet_density[:, None].expand_as(last[0]), last[1], last[2]]))
        powers[1:3] = 0  # what is left is even in c
        given = torch.einsum("im,mnh->inh", 2 * self.equilibrium_of[OUT], powers)
        populations[OUT, :, :, -1] = given - populations[OUT, :, :, -1]

    def keep(self, items: Tensor) -> None:
        """Go on with the channels `items` only."""
        self.populations = self.populations.view(9, *self.solid.shape)[:, items].flatten(1)
        self.outlet_density, self.outlet_speed = self.outlet_density[items], self.outlet_speed[items]
        if self.inflow is not None and self.inflow.ndim == 2:
            self.inflow = self.inflow[items]
        self._enclose(self.solid[items])


def _powers(moments: Tensor) -> Tensor:
    """(3, ...) density and momentum -> (6, ...): rho, u, v, u u, u v, v v."""
    u, v = moments[1], moments[2]
    return torch.cat([moments, torch.stack([u * u, u * v, v * v])])


def steady_flow(
    solid: Tensor,
    viscosity: float,
    peak: float = 0.08,
    tolerance: float = 1e-7,
    longest: int = 20_000,
    every: int = 100,
    dtype: torch.dtype = torch.float32,
) -> ChannelFlow:
    """The steady flow past each of the obstacles `solid` (items, height, width), which a parabola of velocity enters.

    peak:      largest velocity of the parabola; above about 0.1 cells a step the method loses its accuracy
    tolerance: a flow is steady when the mean change of its velocity per step is below it; looked at `every` so many
               steps, and a channel that is steady costs nothing from there on
    longest:   steps after which it is given up on: see `change`

    Raises ValueError for a flow that diverges.
    """
    items, height, width = solid.shape
    longest = max(every, longest // every * every)  # the last look is at the last step
    inflow = parabola(height, peak)
    start = torch.stack([inflow[:, None].expand(height, width), torch.zeros(height, width, dtype=torch.float64)])
    lattice = Lattice(solid, viscosity, inflow, start, dtype)
    found = torch.zeros(items, 3, height, width, dtype=dtype)
    steps, change = torch.zeros(items, dtype=torch.int64), torch.full((items,), torch.inf, dtype=dtype)
    going, fluid = torch.arange(items), (~solid).flatten(1).sum(1)
    before = lattice.moments()
    for step in range(every, longest + 1, every):
        for _ in range(every):
            lattice.step()
        now = lattice.moments()
        moved = (now - before)[1:].square().sum(0).sqrt().flatten(1).sum(1) / fluid[going] / every
        if not bool(torch.isfinite(moved).all()):
            raise ValueError(f"the flow diverges within {step} steps: take a larger viscosity than {viscosity:g}")
        steps[going], change[going], before = step, moved, now
        steady = moved < tolerance
        if bool(steady.any()) or step == longest:
            found[going] = now.transpose(0, 1)
            going, before = going[~steady], now[:, ~steady]
            if not len(going):
                break
            lattice.keep(~steady)
    pressure = found[:, 0] / 3
    pressure = pressure - pressure[..., -1].mean(1)[:, None, None]
    return ChannelFlow(found[:, 1:] * ~solid[:, None], pressure * ~solid, steps, change)

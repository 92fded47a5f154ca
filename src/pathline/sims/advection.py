"""A density that a known velocity field carries, and sensors that read both: ground truth for conservation laws.

    v(x, t) = w R x + a sin(2 pi t) (x_1, 0) + exp(-|x - p|^2 / (2 l^2)) (c R (x - p) + e (x - p)),      R = 90 degrees
    rho(x, t) = rho_0(x_0) exp(-integral_0^t div v ds)  along the path that ends at x,    rho_0 four normal clouds

A rotation of the plane, a strain that comes and goes, and a swirl that also spreads: the flow compresses and dilates.
Paths and divergences are integrated in float64 by Runge and Kutta's fourth-order method.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pathline.data import Measurements
from pathline.ode import integrate, time_grid

STEPS = 100  # of the fourth-order method over one unit of time
CLOUDS = ((-0.9, 0.3), (0.8, 0.7), (0.2, -0.9), (-0.3, -0.2))
SHARES = (0.3, 0.3, 0.25, 0.15)
DEVIATION = 0.35
BOX = 2.0  # sensors lie in [-BOX, BOX]^2


@dataclass(frozen=True)
class Carrier:
    """Constants of the velocity above; mass is the total of the density."""

    rotation: float = 1.2
    strain: float = 0.9
    swirl: float = 1.5
    spreading: float = 0.8
    centre: tuple[float, float] = (0.4, 0.2)
    length: float = 0.7
    mass: float = 3.0

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """(points, 2) at one time t or at times (points,)."""
        away, fade = self._swirl(x)
        strain = self.strain * torch.sin(2 * math.pi * t) * x[:, 0]
        flow = self.rotation * _turned(x) + fade[:, None] * (self.swirl * _turned(away) + self.spreading * away)
        return torch.stack([flow[:, 0] + strain, flow[:, 1]], 1)

    def divergence(self, x: Tensor, t: Tensor) -> Tensor:
        """div v, (points,): a sin(2 pi t) + e (2 - |x - p|^2 / l^2) exp(-|x - p|^2 / (2 l^2))."""
        away, fade = self._swirl(x)
        spread = self.spreading * (2 - away.square().sum(1) / self.length**2) * fade
        return self.strain * torch.sin(2 * math.pi * t) + spread

    def _swirl(self, x: Tensor) -> tuple[Tensor, Tensor]:
        away = x - torch.tensor(self.centre, dtype=x.dtype)
        return away, torch.exp(-away.square().sum(1) / (2 * self.length**2))

    def log_density(self, x: Tensor, t: Tensor | float) -> Tensor:
        """log rho at x (points, 2) and times t, one or (points,), by carrying x back to time 0: (points,) float64."""
        x = x.double()
        t = torch.as_tensor(t, dtype=torch.float64).expand(len(x))

        def back(state: tuple[Tensor, ...], s: Tensor) -> tuple[Tensor, ...]:
            """d/ds along the path at time (1 - s) t, each point on its own clock."""
            place, time = state[0], (1 - s) * t
            return -t[:, None] * self.velocity(place, time), t * self.divergence(place, time)

        carried: tuple[Tensor, ...] = (x, x.new_zeros(len(x)))
        start, spread = integrate(back, carried, time_grid(STEPS), "rk4", keep="last").final
        centres = torch.tensor(CLOUDS, dtype=torch.float64)
        square = (start[:, None] - centres).square().sum(-1)
        shares = torch.tensor(SHARES, dtype=torch.float64).log()
        law = torch.logsumexp(shares - square / (2 * DEVIATION**2), 1) - math.log(2 * math.pi * DEVIATION**2)
        return math.log(self.mass) + law - spread


def sensors(
    count: int = 20,
    times: int = 25,
    seed: int = 0,
    density_noise: float = 0.02,
    velocity_noise: float = 0.05,
    carrier: Carrier | None = None,
) -> Measurements:
    """`count` sensors at random places that read at `times` evenly spaced moments from 0 to 1.

    Density has a relative error of deviation `density_noise`, velocity an error of `velocity_noise` times its root mean
    square over all readings.
    """
    carrier = carrier or Carrier()
    generator = torch.Generator().manual_seed(seed)
    places = (2 * torch.rand(count, 2, generator=generator, dtype=torch.float64) - 1) * BOX
    moments = torch.linspace(0, 1, times, dtype=torch.float64)
    x, t = places.repeat(times, 1), moments.repeat_interleave(count)
    density, velocity = carrier.log_density(x, t).exp(), carrier.velocity(x, t)
    density = density * (1 + density_noise * torch.randn(density.shape, generator=generator, dtype=torch.float64))
    size = velocity.square().mean().sqrt()
    noise = torch.randn(velocity.shape, generator=generator, dtype=torch.float64)
    return Measurements(
        positions=x,
        times=t,
        density=density.clamp(min=0),
        velocity=velocity + velocity_noise * size * noise,
        columns=("x", "y"),
        name="carried-density",
    )


def _turned(x: Tensor) -> Tensor:
    return torch.stack([-x[:, 1], x[:, 0]], 1)

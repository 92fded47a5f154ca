"""Lagrangian flow networks: a density and a velocity that conserve mass by construction, from sparse measurements.

    z = Psi_t(x),  Phi_t = Psi_t^-1              a bijection for each time t, from space to a fixed base law p_0
    rho(x, t) = M p_0(z) |det J Psi_t(x)|         density
    v(x, t)   = (d_t Phi_t)(z) = -[J Psi_t(x)]^-1 d_t Psi_t(x)           velocity
    d_t rho + div(rho v) = 0                      exactly, for any weights: no penalty, no solver
    x(t) = Phi_t(Psi_t0(x0))                      paths are evaluations of a map

Trained on densities and velocities where sensors have them, on populations by likelihood; what a density leaves
open of its velocity, any field u with div(rho u) = 0, is settled by velocity sensors or the kinetic energy E |v|^2.
Arend Torres, Negri, Inversi, Aellen, Roth, 2024, "Lagrangian Flow Networks for Conservation Laws", ICLR,
arXiv:2305.16846; authors' program github.com/bmda-unibas/LagrangianFlowNetworks.
Departs: the program stacks residual dense networks of sines, each held to a contraction, with linear maps by singular
values that depend on time; our shallow stack is that with one hidden layer of hyperbolic tangents, the others are
couplings with rotations, deeper residual layers and sums of sigmoids, all smooth in space and time. The program fits
log(1 + rho) (`fit_to="softplus"` with the largest density as unit) and starts from a single normal law. Where all
layers have a formula for their inverse, v is one derivative of Phi in t, else a small linear system.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import jvp, vmap

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.nn.embeddings import sinusoidal_embedding
from pathline.nn.invertible import (
    Affine,
    BoxToSpace,
    Coupling,
    Invertible,
    InvertibleSequence,
    Residual,
    Rotation,
    ShallowResidual,
    SpaceToBox,
    Stretch,
    SumOfSigmoids,
)
from pathline.transport.fields import FieldLearner

STACKS = ("coupling", "residual", "sigmoids", "shallow")
BASES = ("gaussian", "mixture", "uniform")
DOMAINS = ("space", "box", "torus")
TIME_WIDTH = 64  # of the network that reads time for all layers of the shallow stack


class LFlow(FieldLearner):
    """A time-dependent bijection to a base law; its density and velocity satisfy the continuity equation.

    dims, snapshots, mass, velocity_weight, fit_to, floor: see `FieldLearner`
    layers, width: of the bijection and of the networks in its layers
    stack:      "coupling" (with rotations; two dimensions or more), "residual" or "sigmoids" (with rotations), or
                "shallow": residual layers of one hidden layer with linear maps between, all reading time through one
                small network; its velocity begins slower and smoother than the others', which few sensors ask for
    base:       "gaussian", "mixture" of `components` normal laws that are learned, of deviation `spread` at the
                beginning, or "uniform" on a box or torus
    domain:     "space"; "box" from `low` to `high` in the data's units, through whose border nothing flows; or "torus",
                whose opposite sides are one, always with residual layers and the uniform base
    features, frequency: sinusoids of time that the layers see, and the fastest of them in radians over all times
    kinetic:    weight of the kinetic energy E |v|^2, in the data's spread per range of times, squared
    """

    recipe = Recipe(steps=1500, batch_size=256, lr=2e-3, clip=5.0)

    def __init__(
        self,
        dims: int,
        snapshots: int,
        mass: bool = False,
        velocity_weight: float = 1.0,
        fit_to: str = "log",
        floor: float = 1e-3,
        layers: int = 6,
        width: int = 64,
        stack: str | None = None,
        base: str = "gaussian",
        components: int = 4,
        spread: float = 1.0,
        domain: str = "space",
        low: list[float] | None = None,
        high: list[float] | None = None,
        features: int = 16,
        frequency: float = 6.0,
        kinetic: float = 0.01,
    ) -> None:
        super().__init__(dims, snapshots, mass, velocity_weight, fit_to, floor)
        stack = stack or ("coupling" if dims > 1 else "sigmoids")
        for name, value, known in (("stack", stack, STACKS), ("base", base, BASES), ("domain", domain, DOMAINS)):
            if value not in known:
                raise MethodError(f"{name} is '{value}'; choose one of {', '.join(known)}")
        if domain != "space" and (low is None or high is None or not len(low) == len(high) == dims):
            raise MethodError(f"domain={domain} needs low and high, one number each for {dims} dimensions")
        if base == "uniform" and domain == "space":
            raise MethodError("base=uniform needs domain=box or torus: nothing is uniform on all of space")
        if stack == "coupling" and dims == 1 and domain != "torus":
            raise MethodError("stack=coupling needs two dimensions; choose sigmoids or residual")
        self.base, self.domain, self.features, self.frequency = base, domain, features, frequency
        self.kinetic, self.components = kinetic, components
        self.register_buffer("low", torch.tensor(low or [0.0] * dims))
        self.register_buffer("high", torch.tensor(high or [1.0] * dims))
        condition = features + 1
        self.time_net: nn.Module = nn.Identity()
        if stack == "shallow" and domain != "torus":
            self.time_net, condition = nn.Sequential(nn.Linear(condition, TIME_WIDTH), nn.Tanh()), TIME_WIDTH
        if domain == "torus":
            self.base = "uniform"
            pairs = [
                (Residual(dims, condition, width, periodic=True), Affine(dims, condition, scales=False))
                for _ in range(layers)
            ]
            self.flow = InvertibleSequence([layer for pair in pairs for layer in pair])
        else:
            inner: list[Invertible] = [_layer(stack, k, dims, condition, width) for k in range(layers)]
            mixed = [part for layer in inner for part in (layer, *_between(stack, dims, condition))]
            mixed += [Stretch(dims, condition) if stack == "shallow" else Affine(dims, condition)]
            last: list[Invertible] = [SpaceToBox([0.0] * dims, [1.0] * dims)] if base == "uniform" else []
            first: list[Invertible] = [BoxToSpace([0.0] * dims, [1.0] * dims)] if domain == "box" else []
            self.flow = InvertibleSequence([*first, *mixed, *last])
        if base == "mixture":
            self.weights = nn.Parameter(torch.zeros(components))
            self.means = nn.Parameter(torch.randn(components, dims))
            self.log_deviations = nn.Parameter(torch.full((components, dims), math.log(spread)))

    low: Tensor
    high: Tensor

    # -- the bijection ------------------------------------------------------------------------------------------------

    def to_base(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """z = Psi_t(x) (batch, dims) and log |det J Psi_t(x)| (batch,), for scaled x and t from 0 to 1."""
        gained = x.new_zeros(())
        if self.domain != "space":
            gained = (self._unit() * self.scale / (self.high - self.low)).log().sum()
        z, log_determinant = self.flow(self._placed(x), self._time(t))
        return z, log_determinant + gained

    def _image(self, x: Tensor, t: Tensor) -> Tensor:
        """z alone."""
        return self.flow.image(self._placed(x), self._time(t))

    def _unit(self) -> float:
        """Length of the sides of the box, or torus, that the layers see."""
        return 1.0 if self.domain == "box" else 2 * math.pi

    def _placed(self, x: Tensor) -> Tensor:
        """Scaled x as the layers see it."""
        if self.domain == "space":
            return x
        return self._unit() * (self.unscaled(x) - self.low) / (self.high - self.low)

    def from_base(self, z: Tensor, t: Tensor) -> Tensor:
        """x = Phi_t(z)."""
        x = self.flow.inverse(z, self._time(t))
        if self.domain != "space":
            x = self.scaled(self.low + (self.high - self.low) * x / self._unit())
        return x

    def _time(self, t: Tensor) -> Tensor:
        raw = torch.cat([t[:, None], sinusoidal_embedding(t, self.features, self.frequency)], 1).to(t.dtype)
        read: Tensor = self.time_net(raw)
        return read

    def log_base(self, z: Tensor) -> Tensor:
        """log p_0(z): (batch,)."""
        if self.base == "uniform":
            return z.new_full((len(z),), -self.dims * math.log(2 * math.pi) if self.domain == "torus" else 0.0)
        if self.base == "gaussian":
            return -0.5 * z.square().sum(1) - 0.5 * self.dims * math.log(2 * math.pi)
        u = (z[:, None] - self.means) * (-self.log_deviations).exp()
        each = -0.5 * u.square().sum(-1) - self.log_deviations.sum(-1) - 0.5 * self.dims * math.log(2 * math.pi)
        return torch.logsumexp(each + torch.log_softmax(self.weights, 0), 1)

    # -- density and velocity -----------------------------------------------------------------------------------------

    def log_density_inside(self, x: Tensor, t: Tensor) -> Tensor:
        z, log_determinant = self.to_base(x, t)
        return self.log_base(z) + log_determinant

    def velocity_inside(self, x: Tensor, t: Tensor) -> Tensor:
        if self.flow.analytic:
            return self.velocity_of_path(self.to_base(x, t)[0], t)
        return self.velocity_by_solve(x, t)

    def both_inside(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        if self.flow.analytic:
            z, log_determinant = self.to_base(x, t)
            return self.log_base(z) + log_determinant, self.velocity_of_path(z, t)
        z, jacobian, in_time = self.tangents(x, t)
        return self.log_base(z) + torch.linalg.slogdet(jacobian)[1], _solved(jacobian, in_time)

    def velocity_of_path(self, z: Tensor, t: Tensor) -> Tensor:
        """(d_t Phi_t)(z): one forward derivative in t; needs a formula for Phi."""
        found: Any = jvp(lambda s: self.from_base(z, s), (t,), (torch.ones_like(t),))
        return found[1]

    def velocity_by_solve(self, x: Tensor, t: Tensor) -> Tensor:
        """-[J Psi]^-1 d_t Psi."""
        return _solved(*self.tangents(x, t)[1:])

    def tangents(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z = Psi_t(x) (batch, dims), J Psi (batch, dims, dims) and d_t Psi (batch, dims), by one forward derivative
        along each axis and time, all at once."""
        along = torch.eye(self.dims + 1, dtype=x.dtype, device=x.device)
        found: Any = vmap(lambda e: jvp(self._image, (x, t), (e[:-1].expand_as(x), e[-1].expand_as(t))))(along)
        return found[0][0], found[1][:-1].permute(1, 2, 0), found[1][-1]

    # -- the verb, drawing, learning ----------------------------------------------------------------------------------

    def carry(self, x: Tensor, start: float, end: float, **options: Any) -> tuple[Tensor, Tensor]:
        """Phi_end(Psi_start(x)), by evaluation."""
        whole = self.clock(float(self.learned_times[-1]))
        z, _ = self.to_base(x, x.new_full((len(x),), start / whole))
        return self.from_base(z, x.new_full((len(x),), end / whole)), x.new_zeros(len(x))

    @torch.no_grad()
    def draw(self, count: int, time: float, seed: int = 0) -> Tensor:
        """Cells of the population at `time`: (count, dims), in the data's units."""
        z = self._base_sample(count, torch.Generator().manual_seed(seed)).to(self.shift)
        return self.unscaled(self.from_base(z, self.moment(time).expand(count)))

    def _base_sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        if self.base == "uniform":
            return torch.rand(count, self.dims, generator=generator) * (2 * math.pi if self.domain == "torus" else 1.0)
        z = torch.randn(count, self.dims, generator=generator)
        if self.base == "mixture":
            chosen = torch.multinomial(self.weights.softmax(0).cpu(), count, replacement=True, generator=generator)
            z = self.means.cpu()[chosen] + self.log_deviations.exp().cpu()[chosen] * z
        return z

    def kinetic_energy(self, x: Tensor, t: Tensor) -> Tensor:
        """E |v|^2 over mass and time: at points of the flow itself where Phi is a formula, else at the given ones."""
        if not self.flow.analytic:
            return self.velocity_by_solve(x, t).square().sum(1).mean()
        z = self._base_sample(len(x)).to(x)
        return self.velocity_of_path(z, torch.rand(len(x)).to(x)).square().sum(1).mean()

    def loss(self, batch: Any) -> dict[str, Tensor]:
        terms = super().loss(batch)
        if self.kinetic:
            energy = self.kinetic_energy(self.scaled(batch.positions), self.moment(batch.times))
            terms |= {"loss": terms["loss"] + self.kinetic * energy, "kinetic": energy}
        return terms


def _solved(jacobian: Tensor, in_time: Tensor) -> Tensor:
    """-jacobian^-1 in_time."""
    return -torch.linalg.solve(jacobian, in_time[..., None])[..., 0]


def _layer(stack: str, place: int, dims: int, condition: int, width: int) -> Invertible:
    if stack == "coupling":
        return Coupling(dims, condition, width, flip=place % 2 == 1)
    if stack == "residual":
        return Residual(dims, condition, width)
    if stack == "shallow":
        return ShallowResidual(dims, condition, width)
    return SumOfSigmoids(dims, condition, width=width)


def _between(stack: str, dims: int, condition: int) -> tuple[Invertible, ...]:
    """What mixes the axes after each layer."""
    if stack == "shallow":
        return (Stretch(dims, condition),)
    return (Rotation(dims, condition),) if dims > 1 else ()

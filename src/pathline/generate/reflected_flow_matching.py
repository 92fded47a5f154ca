"""Reflected flow matching: samples never leave the domain of the data, with few steps or strong guidance alike.

    d phi_t = v(phi_t, t) dt + n(phi_t) dL_t      n the inward normal; L grows only at the wall, and keeps phi inside
    x0 ~ p0 inside the domain,  psi_t = (1 - t) x0 + t x1,  u_t = x1 - x0          in a convex domain
    psi_t = g^-1((1 - t) g(x0) + t g(x1)),  u_t by the chain rule                 with a map g to a convex one
    loss    E |v(psi_t, t) - u_t|^2

Between points of a convex domain straight paths never touch the wall, so L = 0 in training: the price is that of flow
matching. When sampling, every stage and step of the solver that crosses a wall is folded back as by a mirror.
Xie, Zhu, Yu, Yang, Cheng, Zhang, Zhang, Zhang, 2024, "Reflected Flow Matching", ICML, arXiv:2405.16577.
Departs: slopes of reflected stages are mirrored back, as in the authors' third-order solver, in all solvers with fixed
steps; small networks, AdamW with a cosine; classes with guidance (Ho, Salimans, 2022, arXiv:2207.12598). Outside
boxes the solver works in float64, and the network sees coordinates of mean 0 and variance 1.
"""

from typing import Any, Self

import torch
from torch import Tensor

from pathline.core.errors import DataError, MethodError
from pathline.core.method import Recipe
from pathline.data import Draw, Samples
from pathline.flow import as_velocity, drop_labels, guided_velocity, uniform_times
from pathline.flow.velocity import Velocity, squared_error
from pathline.generate.base import Carried, Generator
from pathline.generate.flow_matching import SOLVERS, check_choice, refuse_options
from pathline.generate.networks import velocity_network
from pathline.ode import Solution, integrate, time_grid
from pathline.spaces import BOUNDARIES, Box, Space, space

MARGIN = 0.05  # of the range of data without bounds, left free on each side of their box
PRIORS = ("uniform", "normal")


class ReflectedFlowMatching(Generator):
    """Regress the velocity of paths inside a domain; integrate it between mirrors to sample.

    shape, classes: see `Generator`; a label is hidden from the network with probability `drop_label`
    network, width, depth: see `velocity_network`
    domain:   "auto" for the box that the data's bounds make (or, without bounds, the data themselves and 5% more), or a
              name with its values in the data's own units: {"name": "simplex", "dims": 10}; see `spaces.space`
    prior:    "uniform" in the domain; "normal", truncated to a box
    boundary: "reflect" at the wall; "project" to the nearest point; "none" to see what would leave
    guidance: w of v = (1 + w) v(x, t | label) - w v(x, t | null), when sampling
    solver, steps: as for flow matching
    """

    recipe = Recipe(steps=4000, batch_size=256, lr=1e-3, warmup=200, clip=1.0, ema=0.999)
    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        shape: list[int],
        classes: int = 0,
        network: str = "auto",
        width: int | None = None,
        depth: int = 4,
        domain: str | dict[str, Any] = "auto",
        prior: str = "uniform",
        boundary: str = "reflect",
        drop_label: float = 0.1,
        guidance: float = 0.0,
        solver: str = "midpoint",
        steps: int = 16,
    ) -> None:
        super().__init__(shape, classes, steps)
        check_choice("prior", prior, PRIORS)
        check_choice("boundary", boundary, BOUNDARIES)
        check_choice("solver", solver, SOLVERS)
        self.domain = self._domain(domain)
        if prior == "normal" and not isinstance(self.domain, Box):
            raise MethodError(
                "prior=normal is truncated coordinate by coordinate, so it needs a box; use prior=uniform"
            )
        self.prior_law, self.boundary = prior, boundary
        self.drop_label, self.guidance, self.solver = drop_label, guidance, solver
        self.network = velocity_network(shape, network, width, depth, classes)
        self.register_buffer("centre", torch.zeros(self.shape))
        self.register_buffer("spread", torch.ones(self.shape))

    def _domain(self, domain: str | dict[str, Any]) -> Space:
        """The domain in the data's own units; without data "auto" is the box of -1 and 1."""
        settings = {"name": "box", "lower": -1.0, "upper": 1.0} if domain == "auto" else domain
        if not isinstance(settings, dict):
            raise MethodError(f"domain is '{domain}'; say auto, or name it with its values: {{'name': 'box', ...}}")
        try:
            if settings.get("name") == "box":
                values = {**settings, "shape": self.shape}
                values |= {side: torch.tensor(values[side]) for side in ("lower", "upper") if side in values}
                return space(values)
            found = space(settings)
        except ValueError as error:
            raise MethodError(f"domain: {error}") from None
        if tuple(found.shape) != self.shape:
            raise MethodError(f"the domain holds points of shape {tuple(found.shape)}, but samples have {self.shape}")
        return found

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part: Samples = cls.require(data)
        if config.get("domain", "auto") == "auto":
            if part.bounds is not None:
                low, high = torch.tensor(part.bounds[0]), torch.tensor(part.bounds[1])
            else:
                low, high = part.values.amin(0), part.values.amax(0)
                margin = torch.where(high > low, MARGIN * (high - low), 1.0)
                low, high = low - margin, high + margin
            config["domain"] = {"name": "box", "lower": low.tolist(), "upper": high.tolist()}
        return super().for_data(part, **config)

    def read_scale(self, data: Samples) -> None:
        """Boxes are scaled as the data are; other domains keep their units, and the network's inputs are scaled.

        Raises DataError if a sample lies outside the domain.
        """
        outside = ~self.domain.contains(data.values, 1e-5)
        if outside.any():
            raise DataError(
                f"{data.name}: {int(outside.sum())} samples lie outside the domain, the first is sample "
                f"{int(outside.nonzero()[0])}; remove them or widen the domain"
            )
        super().read_scale(data)
        if not isinstance(self.domain, Box):
            self.centre.copy_(self.shift)
            self.spread.copy_(self.scale)
            self.shift.zero_()
            self.scale.fill_(1.0)

    def scaled_domain(self) -> Space:
        """The domain in the units of the solver."""
        if not isinstance(self.domain, Box):
            return self.domain
        shift, scale = self.shift.double().cpu(), self.scale.double().cpu()
        return Box((self.domain.lower - shift) / scale, (self.domain.upper - shift) / scale, self.shape)

    def unscaled(self, values: Tensor) -> Tensor:
        """The network's units to those of the data; what rounding moves across the wall of a box goes back to it."""
        found = super().unscaled(values)
        if not isinstance(self.domain, Box):
            return found
        near = self.domain.project(found)
        return torch.where((found - near).abs() <= 1e-5 * self.scale, near, found)

    # -- training -----------------------------------------------------------------------------------------------------

    def prior(self, n: int, generator: torch.Generator) -> Tensor:
        domain = self.scaled_domain()
        if isinstance(domain, Box):
            drawn = domain.truncated_normal(n, generator) if self.prior_law == "normal" else domain.sample(n, generator)
            return domain.project(drawn.float())
        return domain.sample(n, generator)

    def forward(self, x: Tensor, t: Tensor, r: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """The velocity, in the units and the type of x."""
        inner = (x.to(self.centre.dtype) - self.centre) / self.spread
        velocity: Tensor = self.network(inner, t.to(self.centre.dtype), label=label)
        return (velocity * self.spread).to(x.dtype)

    def loss(self, batch: Draw) -> Tensor:
        x1, label = self.scaled(batch.values), self.training_labels(batch.labels)
        if label is not None:
            label = drop_labels(label, self.classes, self.drop_label)
        x0 = self.prior(len(x1), torch.default_generator).to(x1)
        t = uniform_times(len(x1)).to(x1.device)
        place, target = self.domain.between(x0, x1, t)
        return squared_error(self(place, t, label=label) / self.spread, target / self.spread).mean()

    # -- sampling -----------------------------------------------------------------------------------------------------

    def velocity(self, labels: Tensor | None = None, guidance: float = 0.0) -> Velocity:
        """v(x, t) in the solver's units; labels: (count,) or None."""
        return as_velocity(self) if labels is None else guided_velocity(self, labels, self.classes, guidance)

    def carry(
        self,
        noise: Tensor,
        labels: Tensor | None,
        steps: int,
        keep: str = "last",
        solver: str | None = None,
        guidance: float | None = None,
        boundary: str | None = None,
        tolerance: float = 1e-5,
        **options: Any,
    ) -> Carried:
        """Integrate from the prior to data. tolerance: atol and rtol of dopri5."""
        refuse_options(self, options)
        guidance = self.guidance if guidance is None or not self.classes else guidance
        solver, boundary = solver or self.solver, boundary or self.boundary
        check_choice("solver", solver, SOLVERS)
        check_choice("boundary", boundary, BOUNDARIES)
        nodes = time_grid(1 if solver == "dopri5" and keep == "last" else steps)
        hooks = self.scaled_domain().hooks(boundary, carry_back=solver != "dopri5")
        solution: Solution[Tensor] = integrate(
            self.velocity(labels, guidance), noise, nodes, solver, tolerance, tolerance, *hooks, keep=keep
        )
        return Carried(solution.states, solution.evaluations * (2 if guidance else 1))

    @torch.no_grad()
    def overshoot(self, n: int, steps: int | None = None, seed: int = 0, **options: Any) -> float:
        """Share of samples and steps that cross a wall before they are folded back: a diagnostic of the velocity.

        options: labels, guidance and solver, as for `sample`
        """
        noise, labels, steps = self._prepare(n, steps, seed, options.pop("labels", None))
        domain, crossed = self.scaled_domain(), []
        hooks = domain.hooks(self.boundary, carry_back=False)

        def watch(old: Tensor, new: Tensor) -> Tensor:
            crossed.append(~domain.contains(new))
            return new if hooks.post_step is None else hooks.post_step(old, new)

        guidance = float(options.pop("guidance", self.guidance)) if self.classes else 0.0
        solver = str(options.pop("solver", self.solver))
        refuse_options(self, options)
        velocity = self.velocity(labels, guidance)
        integrate(velocity, noise, time_grid(steps), solver, post_stage=hooks.post_stage, post_step=watch, keep="last")
        return float(torch.stack(crossed).float().mean())

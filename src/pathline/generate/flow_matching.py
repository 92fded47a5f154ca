"""Flow matching: train a continuous normalizing flow by plain regression; sample it with an ODE solver.

    psi_t(x0) = alpha_t x1 + sigma_t x0        x0 ~ N(0, I), x1 ~ data, noise at t = 0 and data at t = 1
    loss      E_{t, x0, x1} |v(psi_t(x0), t) - d psi_t / dt|^2
    sample    dx/dt = v(x, t) from 0 to 1      log p1(x1) = log p0(x0) - integral_0^1 div v dt

The path is straight (optimal transport), or that of a variance-preserving or variance-exploding diffusion. With
objective="noise" the network predicts x0 on the same path, as diffusion models do: the comparison of the paper.
Lipman, Chen, Ben-Hamu, Nickel, Le, 2023, "Flow Matching for Generative Modeling", arXiv:2210.02747; minibatch optimal
transport from Tong et al., arXiv:2302.00482, and Pooladian et al., arXiv:2304.14772.
Departs: AdamW with a cosine instead of Adam with polynomial decay; small networks; classes with guidance (Ho, Salimans,
2022, arXiv:2207.12598), which the paper leaves out. The variance-exploding path runs from sigma 50 to 0.01, our choice.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from pathline.core.errors import DataError, MethodError
from pathline.core.method import Recipe
from pathline.data import Draw, Samples
from pathline.flow import (
    GaussianPath,
    OptimalTransport,
    VarianceExploding,
    VariancePreserving,
    Velocity,
    as_velocity,
    bits_per_dimension,
    drop_labels,
    flow_matching_loss,
    guided_velocity,
    independent,
    log_likelihood,
    minibatch_optimal_transport,
    noise_matching_loss,
    uniform_times,
    velocity_of_noise_network,
)
from pathline.generate.base import Carried, Generator
from pathline.generate.networks import velocity_network
from pathline.ode import FIXED_STEP, integrate, time_grid

PATHS: dict[str, type[GaussianPath]] = {"ot": OptimalTransport, "vp": VariancePreserving, "ve": VarianceExploding}
COUPLINGS = {"independent": independent, "ot": minibatch_optimal_transport}
SOLVERS = (*FIXED_STEP, "dopri5")
OBJECTIVES = {"velocity": flow_matching_loss, "noise": noise_matching_loss}


class FlowMatching(Generator):
    """Regress the velocity of a probability path; integrate it to sample.

    shape, classes: see `Generator`; a label is hidden from the network with probability `drop_label`
    network, width, depth: see `velocity_network`
    path:       "ot" straight lines, "vp" or "ve" diffusions
    objective:  "velocity", or "noise"
    coupling:   "independent", or "ot": noise is paired with data by optimal transport within a batch
    levels:     grey levels of quantised data with bounds, which are then blurred by one level in training, so that the
                density stays finite; 0 leaves the data as they are
    guidance:   w of v = (1 + w) v(x, t | label) - w v(x, t | null), when sampling
    solver, steps: "euler", "midpoint", "heun", "rk4" with that many steps, or "dopri5", which chooses its own
    """

    recipe = Recipe(steps=4000, batch_size=256, lr=1e-3, warmup=200, clip=1.0, ema=0.999)

    def __init__(
        self,
        shape: list[int],
        classes: int = 0,
        network: str = "auto",
        width: int | None = None,
        depth: int = 4,
        path: str = "ot",
        objective: str = "velocity",
        coupling: str = "independent",
        levels: int = 0,
        drop_label: float = 0.1,
        guidance: float = 0.0,
        solver: str = "midpoint",
        steps: int = 16,
    ) -> None:
        super().__init__(shape, classes, steps)
        check_choice("path", path, PATHS)
        check_choice("objective", objective, OBJECTIVES)
        check_choice("coupling", coupling, COUPLINGS)
        check_choice("solver", solver, SOLVERS)
        if (path, objective) == ("ot", "noise"):
            raise MethodError("objective=noise needs path=vp or ve: on straight lines its velocity is 0/0 at t = 0")
        if (path, objective) == ("ve", "velocity"):
            raise MethodError(
                "path=ve needs objective=noise: its velocities span four orders of magnitude, and a plain regression "
                "learns the largest alone"
            )
        self.path, self.objective, self.couple = PATHS[path](), objective, COUPLINGS[coupling]
        self.levels, self.drop_label, self.guidance, self.solver = levels, drop_label, guidance, solver
        self.network = velocity_network(shape, network, width, depth, classes)

    def forward(self, x: Tensor, t: Tensor, r: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """The network's prediction, of velocity or noise; exploding inputs are brought to unit variance first."""
        if isinstance(self.path, VarianceExploding):
            x = x / (1 + self.path.at(t, x).sigma.square()).sqrt()
        prediction: Tensor = self.network(x, t, label=label)
        return prediction

    def loss(self, batch: Draw) -> Tensor:
        x1, label = self.scaled(self.dequantised(batch.values)), self.training_labels(batch.labels)
        if label is not None:
            label = drop_labels(label, self.classes, self.drop_label)
        x0, x1 = self.couple(torch.randn_like(x1), x1)
        t = uniform_times(len(x1), self.path).to(x1.device)
        return OBJECTIVES[self.objective](self, self.path, x0, x1, t, label)

    # -- sampling -----------------------------------------------------------------------------------------------------

    def velocity(self, labels: Tensor | None = None, guidance: float = 0.0) -> Velocity:
        """v(x, t) in scaled units, as a solver wants it; labels: (count,) or None."""
        net = velocity_of_noise_network(self, self.path) if self.objective == "noise" else self
        if labels is None:
            return as_velocity(net)
        return guided_velocity(net, labels, self.classes, guidance)

    def carry(
        self,
        noise: Tensor,
        labels: Tensor | None,
        steps: int,
        keep: str = "last",
        solver: str | None = None,
        guidance: float | None = None,
        tolerance: float = 1e-5,
        **options: Any,
    ) -> Carried:
        """Integrate from noise to data. tolerance: atol and rtol of dopri5."""
        refuse_options(self, options)
        guidance = self.guidance if guidance is None or not self.classes else guidance
        solver = solver or self.solver
        check_choice("solver", solver, SOLVERS)
        nodes = time_grid(1 if solver == "dopri5" and keep == "last" else steps, end=self.path.last)
        solution = integrate(
            self.velocity(labels, guidance),
            self.path.prior_scale * noise,
            nodes,
            solver,
            tolerance,
            tolerance,
            keep=keep,
        )
        return Carried(solution.states, solution.evaluations * (2 if guidance else 1))

    # -- likelihood ---------------------------------------------------------------------------------------------------

    def log_density(
        self, values: Tensor, labels: Tensor | None = None, seed: int = 0, solver: str = "dopri5", steps: int = 1
    ) -> Tensor:
        """log p(x) in nats, in the data's own units: (count, *shape) -> (count,).

        The divergence is exact up to 64 dimensions; above, one random probe from `seed` estimates it without bias.
        steps: of a fixed-step solver; dopri5 chooses its own.
        """
        if values.shape[1:] != self.shape or not bool(torch.isfinite(values).all()):
            raise DataError(f"expected finite values of shape (count, {', '.join(map(str, self.shape))})")
        if self.classes and labels is not None:
            self._check_labels(labels)
            labels = labels.to(self.device)
        x = self.scaled(values.to(self.device))
        found = log_likelihood(
            self.velocity(labels if self.classes else None),
            x,
            time_grid(steps, self.path.last, 0.0),
            solver,
            prior_scale=self.path.prior_scale,
            generator=torch.Generator().manual_seed(seed),
        )
        return found.log_density - self.scale.log().sum()

    def bits_per_dimension(self, data: Samples, seed: int = 0) -> float:
        """Mean -log2 of the probability of a quantised sample, per dimension; an upper bound by dequantisation.

        Needs `levels`, which were also trained with: the density of undisturbed levels is not finite.
        """
        data = self.check(data)
        if not self.levels or data.bounds is None:
            raise DataError(f"{data.name}: bits per dimension need levels=... in the method and bounds of the data")
        low, high = data.bounds
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            values = self.dequantised(data.values.to(self.device))
        density = self.log_density(values, data.labels, seed)
        dims = self.shift.numel()
        return float(bits_per_dimension(density, dims, scale=(self.levels - 1) / (high - low)).mean())

    def dequantised(self, values: Tensor) -> Tensor:
        """Values spread uniformly over the width of their level; as they are without levels."""
        if not self.levels:
            return values
        width = 2 * self.scale / (self.levels - 1)  # data with bounds are scaled by half their range
        return values + (torch.rand_like(values) - 0.5) * width


def check_choice(name: str, value: str, known: Iterable[str]) -> None:
    """Raise a `MethodError` that lists what a setting can be."""
    if value not in known:
        raise MethodError(f"{name} is '{value}'; choose one of {', '.join(known)}")


def refuse_options(method: Generator, options: dict[str, Any]) -> None:
    """Raise a `MethodError` that names a setting of sampling which the method does not have."""
    for name in options:
        raise MethodError(f"{type(method).__name__} has no setting '{name}' for sampling")

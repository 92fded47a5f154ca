"""Mean flows: sample in one network call by learning the average velocity over an interval.

    u(z, t, r) = 1/(r - t) integral_t^r v(z_s, s) ds         identity:  u = v + (r - t) du/dt
    z = (1 - t) x0 + t x1,  v = x1 - x0                      target:    sg(v + (r - t) du/dt)
    loss  E[w |u - target|^2],  w = sg(1 / (|u - target|^2 + c)^p)
    sample  z_r = z_t + (r - t) u(z_t, t, r), so x1 = x0 + u(x0, 0, 1)

The weight hides progress (with p = 1 the loss stays near 1 for ever): watch the logged `error`, in all and by length
of interval.
Geng, Deng, Bai, Kolter, He, 2025, "Mean Flows for One-step Generative Modeling", arXiv:2505.13447.
Departs: time runs from noise (0) to data (1), so the paper's laws of time are mirrored; errors are means over
dimensions, not sums; AdamW with a cosine; small networks; p = 1/2, where the paper has 1 on ImageNet and 3/4 on CIFAR:
on digits it samples better at any number of calls, on plane shapes no worse.
"""

from typing import Any, Self

import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.errors import DataError, MethodError
from pathline.core.method import Recipe, unwrap_split
from pathline.data import Draw
from pathline.flow import (
    as_velocity,
    check_jvp,
    drop_labels,
    error_by_interval,
    interval_times,
    mean_velocity_loss,
    sample_mean_velocity,
)
from pathline.generate.base import Carried, Generator
from pathline.generate.networks import velocity_network
from pathline.nn import set_math_attention
from pathline.ode import integrate, time_grid

CHECKED = 4  # samples on which the forward-mode derivative is checked before training


class MeanFlow(Generator):
    """Regress the average velocity on what the mean-flow identity says it is; cross the interval in `steps` calls.

    shape, classes: see `Generator`; network, width, depth: see `velocity_network`
    distinct:      share of a batch with r != t; the rest anchors u(z, t, t) = v. 0.25 on ImageNet, 0.75 on CIFAR-10
    time_mean, time_deviation: of the normal under the sigmoid that draws times; the paper's N(-0.4, 1) mirrored
    power, constant: p and c of the adaptive weight
    omega, kappa:  guidance built into the field, so that one call still samples with it; needs classes: v becomes
                   w v + k u(z, t, t | label) + (1 - w - k) u(z, t, t | null), an effective scale of w / (1 - k)
    reversed_share: probability of swapping t and r in training, for `invert`
    """

    precision = "fp32"  # the Jacobian-vector product is noise in bf16
    recipe = Recipe(steps=6000, batch_size=256, lr=1e-3, warmup=200, clip=1.0, ema=0.999)

    def __init__(
        self,
        shape: list[int],
        classes: int = 0,
        network: str = "auto",
        width: int | None = None,
        depth: int = 4,
        distinct: float = 0.25,
        time_mean: float = 0.4,
        time_deviation: float = 1.0,
        power: float = 0.5,
        constant: float = 1e-3,
        omega: float = 1.0,
        kappa: float = 0.0,
        drop_label: float = 0.1,
        reversed_share: float = 0.0,
        steps: int = 1,
    ) -> None:
        super().__init__(shape, classes, steps)
        if (omega != 1.0 or kappa) and not classes:
            raise MethodError("guidance (omega, kappa) needs data with labels")
        if not 0 <= kappa < 1:
            raise MethodError(f"kappa is {kappa}; it must be in [0, 1): the effective scale is omega / (1 - kappa)")
        self.distinct, self.time_mean, self.time_deviation = distinct, time_mean, time_deviation
        self.power, self.constant, self.omega, self.kappa = power, constant, omega, kappa
        self.drop_label, self.reversed_share = drop_label, reversed_share
        self.network = velocity_network(shape, network, width, depth, classes, interval=True)
        set_math_attention(self.network)

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Check the network's forward-mode derivative against finite differences, then train."""
        x = self.scaled(self.check(unwrap_split(data)).values[:CHECKED].to(self.device))
        label = torch.arange(len(x), device=self.device) % self.classes if self.classes else None
        try:
            check_jvp(self.network, x, label)
        except ValueError as error:
            raise MethodError(str(error)) from None
        return super().fit(data, budget, seed, validation, **options)

    def loss(self, batch: Draw) -> dict[str, Tensor]:
        x1, label = self.scaled(batch.values), self.training_labels(batch.labels)
        if label is not None:
            label = drop_labels(label, self.classes, self.drop_label)
        x0 = torch.randn_like(x1)
        t, r = interval_times(len(x1), self.distinct, self.time_mean, self.time_deviation, self.reversed_share)
        t, r = t.to(x1.device), r.to(x1.device)
        found = mean_velocity_loss(
            self.network, x0, x1, t, r, label, self.classes, self.omega, self.kappa, self.power, self.constant
        )
        return {"loss": found.loss, "error": found.error.mean(), **error_by_interval(found.error, t, r)}

    # -- sampling -----------------------------------------------------------------------------------------------------

    def carry(
        self,
        noise: Tensor,
        labels: Tensor | None,
        steps: int,
        keep: str = "last",
        solver: str | None = None,
        **options: Any,
    ) -> Carried:
        """Cross [0, 1] in `steps` average velocities, one call each; with a `solver` integrate u(x, t, t) instead."""
        for name in options:
            raise MethodError(
                f"MeanFlow has no setting '{name}' for sampling; guidance is part of its training (omega, kappa)"
            )
        nodes = time_grid(steps)
        if solver is not None:
            solution = integrate(as_velocity(self.network, labels), noise, nodes, solver, keep=keep)
            return Carried(solution.states, solution.evaluations)
        states = [noise]
        for ends in zip(nodes[:-1].tolist(), nodes[1:].tolist(), strict=True):
            states.append(sample_mean_velocity(self.network, states[-1], ends, labels))
        return Carried(torch.stack(states if keep == "all" else states[-1:]), steps)

    @torch.no_grad()
    def invert(self, values: Tensor, steps: int = 1, labels: Tensor | None = None) -> Tensor:
        """The noise that samples come from, (count, *shape) in the data's units -> standard normal, in `steps` calls.

        Needs training with reversed_share > 0: otherwise the network has never seen an interval from data to noise.
        """
        if not self.reversed_share:
            raise MethodError("inversion needs a network that ran both ways: train with reversed_share=0.5")
        if values.shape[1:] != self.shape:
            raise DataError(
                f"values have shape {tuple(values.shape)}; expected (count, {', '.join(map(str, self.shape))})"
            )
        x = self.scaled(values.to(self.device))
        return sample_mean_velocity(self.network, x, time_grid(steps, 1.0, 0.0), labels)

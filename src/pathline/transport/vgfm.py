"""Joint velocity-growth flow matching: learn from unpaired snapshots of unequal size where cells go and how fast mass
is born or lost there, mostly without simulation.

    pi   = argmin <pi, C> + eps H(pi) + tau KL(pi 1 | 1)  with  pi^T 1 = 1      C_ij = |x_i - x_j|^2, masses as counted
    r_i  = sum_j pi_ij                             descendants of cell i; two periods: grow from 1 to r_i, then move
    x_s  = (1 - s) x_i + s x_j + sigma noise       (i, j) ~ pi,  s ~ U(0, 1),  dt the interval
    loss = |v(x_s, t) - (x_j - x_i) / dt|^2 + |g(x_s, t) - log(r_i) / dt|^2                    (matching)
    loss = W_1(cells pushed from the first snapshot, weighted; the next snapshot)              (fitting)
    push dx/dt = v(x, t),   d log w/dt = g(x, t)   by Euler steps

Wang, Jiang, Zhang, Gu, Zhou, Sun, 2025, "Joint Velocity-Growth Flow Matching for Single-Cell Dynamics Modeling",
NeurIPS, arXiv:2505.13413; authors' program github.com/DongyiWang-66/VGFM.
Departs: s runs from x_i to x_j (in the published program the weights run the other way, the velocity is x_j - x_i); eps
and tau are relative to the median cost, since tau is a squared length: cells closer than its root share their mass; in
the fitting phase, cells are pushed anew from the first snapshot with the present weights instead of from where they
were left one step before; Euler steps of 0.05 instead of 0.01 intervals; AdamW with a cosine; sigma is 0.03 of the
data's spread, since the 0.1 of the program would blur whole populations of narrow snapshots.
"""

import itertools
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from pathline.core.budget import Budget
from pathline.core.errors import Interrupted, MethodError
from pathline.core.method import Recipe, unwrap_split
from pathline.core.store import read_metrics, write_metrics
from pathline.data import Batch, Snapshots
from pathline.flow import sinkhorn_divergence, transport_cost
from pathline.nn import MLP
from pathline.ode import integrate, time_grid
from pathline.transport.base import Transporter, thinned
from pathline.transport.matching import Pairs, Plans, Populations, solve_plans

FITTING_RATE = 0.1  # learning rate of the fitting phase relative to that of matching
DRAWING = 2.0  # a step of matching, with its batch and its update, takes so many times as long as loss and gradient
MATCHING, FITTING = "matching", "fitting"


class VGFM(Transporter):
    """Match velocity and growth to a semi-relaxed plan, then fit the pushed populations to the snapshots.

    dims, snapshots: see `Transporter`
    width, depth: of the velocity's hidden layers;  growth_width, growth_depth: of the growth's; 0 width for no growth
    epsilon:  entropic blur of the plan, relative to the median squared distance between two snapshots
    tau:      price of growth relative to the same; inf forbids growth
    noise:    deviation around the line between two cells, in units of the data's scale
    fitting:  share of the training steps that fit distributions; 0 leaves that phase out
    distance: "emd", exact, or "sinkhorn", whose gradient reaches the growth too
    largest:  cells of a snapshot that plans and fitting use at most, drawn at random; masses keep their ratios
    largest_log_growth: bound on |log r_i|, against isolated cells
    step:     of Euler's method, in intervals
    """

    recipe = Recipe(steps=2000, batch_size=256, lr=1e-3, clip=None)

    def __init__(
        self,
        dims: int,
        snapshots: int,
        width: int = 128,
        depth: int = 3,
        growth_width: int = 64,
        growth_depth: int = 3,
        epsilon: float = 0.02,
        tau: float = 2.0,
        noise: float = 0.03,
        fitting: float = 0.15,
        distance: str = "emd",
        largest: int = 1000,
        largest_log_growth: float = 5.0,
        step: float = 0.05,
    ) -> None:
        super().__init__(dims, snapshots)
        if not (epsilon >= 0 and tau > 0 and step > 0 and 0 <= fitting < 1 and largest >= 2):
            raise MethodError(
                f"epsilon {epsilon} must be at least 0, tau {tau} and step {step} above 0, fitting {fitting} in [0, 1) "
                f"and largest {largest} at least 2"
            )
        if distance not in ("emd", "sinkhorn"):
            raise MethodError(f"distance is '{distance}'; choose emd or sinkhorn")
        if epsilon == 0 and tau != math.inf:
            raise MethodError("epsilon=0, the exact plan, needs tau=inf: only balanced transport is solved exactly")
        self.epsilon, self.tau, self.noise, self.fitting = epsilon, tau, noise, fitting
        self.distance, self.largest, self.largest_log_growth, self.step = distance, largest, largest_log_growth, step
        self.velocity_net = MLP([dims + 1, *[width] * depth, dims], nn.Tanh)
        self.growth_net = MLP([dims + 1, *[growth_width] * growth_depth, 1], nn.Tanh) if growth_width else None
        self.phase = MATCHING
        self._plans: tuple[str, Plans] | None = None

    # -- the fields ---------------------------------------------------------------------------------------------------

    def fields(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """v (cells, dims) and g (cells,) at x (cells, dims), t () or (cells,), in the units inside."""
        state = torch.cat([x, t.to(x.dtype).expand(len(x))[:, None]], 1)
        growth = x.new_zeros(len(x)) if self.growth_net is None else self.growth_net(state)[:, 0]
        return self.velocity_net(state), growth

    def carry(
        self, x: Tensor, start: float, end: float, step: float | None = None, **options: Any
    ) -> tuple[Tensor, Tensor]:
        nodes = time_grid(max(1, math.ceil(abs(end - start) / (step or self.step) - 1e-9)), start, end)
        moved: Any = integrate(lambda state, t: self.fields(state[0], t), (x, x.new_zeros(len(x))), nodes, keep="last")
        return moved.final[0], moved.final[1]

    @torch.no_grad()
    def velocity(self, x: Tensor, time: float) -> Tensor:
        found = self.fields(self.scaled(x.to(self.shift)), torch.tensor(self.clock(time)))[0]
        return found * self.scale / self.interval

    @torch.no_grad()
    def growth(self, x: Tensor, time: float) -> Tensor:
        return self.fields(self.scaled(x.to(self.shift)), torch.tensor(self.clock(time)))[1] / self.interval

    # -- training -----------------------------------------------------------------------------------------------------

    def plans(self, data: Snapshots) -> Plans:
        """The plans between the snapshots of `data`, solved once."""
        key = data.fingerprint()
        if self._plans is None or self._plans[0] != key:
            generator = torch.Generator().manual_seed(0)
            populations = [
                self.scaled(thinned(data.population(k), generator, self.largest).to(self.shift)).cpu()
                for k in range(len(data.times))
            ]
            times = [self.clock(t) for t in data.times.tolist()]
            self._plans = key, solve_plans(populations, times, data.masses.tolist(), self.epsilon, self.tau)
        return self._plans[1]

    def batches(self, data: Snapshots, size: int, generator: torch.Generator) -> Iterator[Batch]:
        plans = self.plans(data)
        if self.phase == FITTING:
            return plans.intervals()
        return plans.batches(size, self.epoch_length(data, size), generator, self.largest_log_growth)

    def epoch_length(self, data: Snapshots, size: int) -> int:
        return len(data.times) - 1 if self.phase == FITTING else super().epoch_length(data, size)

    def loss(self, batch: Pairs) -> dict[str, Tensor]:
        """Both regressions on the noisy line between the two cells of each pair."""
        s = torch.rand(len(batch), device=batch.source.device)
        x = torch.lerp(batch.source, batch.target, s[:, None]) + self.noise * torch.randn_like(batch.source)
        velocity, growth = self.fields(x, batch.start + s * batch.duration)
        of_velocity = (velocity - (batch.target - batch.source) / batch.duration[:, None]).square().mean()
        of_growth = (growth - batch.log_growth / batch.duration).square().mean()
        if self.growth_net is None:
            of_growth = torch.zeros_like(of_velocity)
        return {"loss": of_velocity + of_growth, "velocity": of_velocity, "growth": of_growth}

    def distribution_loss(self, batch: Populations) -> Tensor:
        """Distance of the pushed first snapshot to the target; only the last interval is differentiated."""
        times = batch.times.tolist()
        x, log_weights = batch.first, batch.first.new_zeros(len(batch.first))
        for k, (start, end) in enumerate(itertools.pairwise(times), start=1):
            with torch.set_grad_enabled(torch.is_grad_enabled() and k == len(times) - 1):
                x, gained = self.carry(x, start, end)
                log_weights = log_weights + gained
        weights = torch.softmax(log_weights, 0)
        uniform = weights.new_full((len(batch.target),), 1 / len(batch.target))
        if self.distance == "emd":
            return transport_cost(x, batch.target, weights, uniform)
        blur = 0.05 * float((x.detach()[:, None] - batch.target).square().sum(-1).median())
        return sinkhorn_divergence(x, batch.target, weights, uniform, max(blur, 1e-6))

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Matching, then fitting at a tenth of the learning rate; steps are shared as `fitting` says."""
        from pathline.core.train import train

        if validation is None and data is not unwrap_split(data):
            validation = data.validation
        part = self.require(unwrap_split(data))
        folder = None if (given := options.pop("folder", None)) is None else Path(given)
        total = self._total_steps(part, budget, options, validation)
        last = round(self.fitting * total)
        records, weights = [], []
        phases = ((MATCHING, total - last, self.loss, 1.0), (FITTING, last, self.distribution_loss, FITTING_RATE))
        rate = options.pop("lr", self.recipe.lr)
        for phase, steps, loss, factor in phases:
            if not steps:
                continue
            self.phase, place = phase, None if folder is None else folder / phase
            options |= {"loss": loss, "lr": rate * factor, "validation": validation, "folder": place}
            try:
                records.append(train(self, part, Budget(steps=steps), seed=seed, **options))
            except Interrupted as stop:
                raise Interrupted(str(stop).replace(str(place), str(folder)), stop.signal) from None
            weights.append({name: value.clone() for name, value in self.state_dict().items()})
        self.phase = MATCHING
        if folder is not None:
            _join(folder, [(folder / phase, steps) for phase, steps, _, _ in phases if steps])
        best = [math.inf if record.best is None else record.best for record in records]
        chosen = best.index(min(best)) if min(best) < math.inf else len(records) - 1
        self.load_state_dict(weights[chosen])
        whole = {name: sum(getattr(record, name) for record in records) for name in ("steps", "planned", "seconds")}
        kept = records[chosen]
        step = None if kept.best_step is None else kept.best_step + sum(record.planned for record in records[:chosen])
        self.training_record = replace(records[0], **whole, best=kept.best, best_step=step)
        return self

    def _total_steps(self, data: Snapshots, budget: Budget | None, options: dict[str, Any], validation: Any) -> int:
        """A budget as steps of both phases; one in minutes is shared by what a step of each takes here."""
        size = options.get("batch_size", self.recipe.batch_size)
        if budget is None or budget.steps is not None:
            return (budget.steps if budget is not None else None) or options.get("steps", self.recipe.steps)
        if budget.epochs is not None:
            return max(1, round(budget.epochs * self.epoch_length(data, size)))
        assert budget.minutes is not None
        began = time.monotonic()
        with torch.random.fork_rng(devices=[]):
            batch: Any = next(iter(self.plans(data).batches(size, 1, torch.Generator().manual_seed(0), 1.0)))
            last: Any = list(self.plans(data).intervals())[-1]
            matching = _seconds(lambda: self.loss(batch.to(self.device))["loss"].backward())
            fitting = _seconds(lambda: self.distribution_loss(last.to(self.device)).backward()) if self.fitting else 0.0
            look = 0.0 if validation is None else _seconds(lambda: self.score(validation))
        self.zero_grad()
        left = budget.minutes * 60 - (time.monotonic() - began)
        if look:  # at most a fifth of the time looks at the validation part, as in every training
            looks = options.get("validations", self.recipe.validations)
            options["validations"] = min(looks, max(1, int(0.1 * budget.minutes * 60 / look)))
            left -= 2 * options["validations"] * look
        per_step = (1 - self.fitting) * DRAWING * matching + self.fitting * fitting
        return max(2, int(left / per_step))


def _seconds(work: Any, count: int = 3) -> float:
    """The mean of a few timings, after one that warms up."""
    work()
    began = time.monotonic()
    for _ in range(count):
        work()
    return (time.monotonic() - began) / count


def _join(folder: Path, phases: list[tuple[Path, int]]) -> None:
    """One metrics.csv for all phases; what they left for a resumption is no longer needed."""
    rows, done = [], 0
    for place, steps in phases:
        rows += [row | {"step": int(row["step"]) + done, "epoch": int(row["epoch"])} for row in read_metrics(place)]
        done += steps
    if rows:
        write_metrics(folder, rows)
    for place, _ in phases:
        shutil.rmtree(place, ignore_errors=True)

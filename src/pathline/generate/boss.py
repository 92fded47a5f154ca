"""BOSS: the best K steps for a trained flow, and then a network that is straight on exactly those steps.

    schedule     c[j, k] = E |x_j + (t_k - t_j) v(x_j, t_j) - x_k|^2 along a fine Euler trajectory x_0 .. x_M; dynamic
                 programming over c gives the K steps with the least sum of local errors, for every K from one matrix
    straighten   E |v_theta(z_j, s_j) - (z_{j+1} - z_j) / (s_{j+1} - s_j)|^2, j uniform, over states z of the
                 teacher's fine trajectories at the chosen nodes s_0 .. s_K, from the trained weights: all of them, or a
                 low-rank update
    sample       K Euler or Heun steps on the chosen nodes

The first part needs no training. In the rivals of the paper the nodes are equal steps, or one learns from the ends of
the trajectories at uniform times (reflow): straighten="reflow".
Nguyen, Nguyen, Nguyen, 2024, "Bellman Optimal Step-size Straightening of Flow-Matching Models", ICLR, arXiv:2312.16414;
reflow is Liu, Gong, Liu, 2023, "Flow Straight and Fast", arXiv:2209.03003.
Departs: errors of the straightening are means over dimensions; no perceptual distance; the weights with the least error
on the held-out tenth of the trajectories are kept; AdamW with a cosine, lr 3e-4 for small networks (the paper: 2e-4).
"""

import itertools
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from pathline.core import store
from pathline.core.budget import Budget
from pathline.core.errors import DataError, MethodError
from pathline.core.method import Recipe
from pathline.core.train import train
from pathline.flow import drop_labels
from pathline.flow.velocity import squared_error
from pathline.generate.base import PART, Carried
from pathline.generate.flow_matching import SOLVERS, FlowMatching, check_choice, refuse_options
from pathline.generate.segments import Segment, Trajectories
from pathline.nn.lora import LoRA
from pathline.ode import integrate, local_error_matrix, optimal_schedule, rho_grid, time_grid

GRIDS, NODES, STRAIGHTEN = ("uniform", "edm"), ("bellman", "uniform"), ("bellman", "reflow", "none")
HELD_OUT = 0.1  # share of the teacher's trajectories that is watched and not learned from
SHARED = ("resume", "accelerator", "devices", "strategy", "precision", "progress", "checkpoint_seconds")
UNKNOWN = -1.0  # a cost before it is measured
EARLIER = 1_000_003  # keeps the noise of schedule and teacher apart from that of sampling with the same seed


class Boss(FlowMatching):
    """Choose the K best steps of a flow by dynamic programming, then straighten the flow on them.

    shape .. guidance: see `FlowMatching`, whose training is the first phase of `fit`
    steps:        K, for which the flow is straightened; other numbers of steps take their schedule from the same matrix
    solver:       "euler", or another; the cost matrix is that of Euler
    grid, fine:   the M steps of the fine trajectory, "uniform" or "edm": t = 1 - (1 - i / M)^rho
    probes:       samples whose trajectories fill the cost matrix
    straighten:   "bellman"; "reflow" for the rival, which learns from the same trajectories; "none" chooses steps only
    trajectories: of the teacher, to learn from and to watch
    share:        of the budget of `fit`, spent on straightening
    rank:         of low-rank updates that alone are trained, with scale alpha / rank; 0 trains all weights
    """

    recipe = replace(FlowMatching.recipe, steps=5500)
    straightening = Recipe(steps=1500, batch_size=128, lr=3e-4, warmup=50, ema=0.99)
    cost: Tensor
    held_out_error: Tensor

    def __init__(
        self,
        shape: list[int],
        classes: int = 0,
        network: str = "auto",
        width: int | None = None,
        depth: int = 4,
        path: str = "ot",
        coupling: str = "independent",
        drop_label: float = 0.1,
        guidance: float = 0.0,
        steps: int = 4,
        solver: str = "euler",
        grid: str = "uniform",
        rho: float = 7.0,
        fine: int = 100,
        probes: int = 100,
        straighten: str = "bellman",
        trajectories: int = 2048,
        share: float = 0.25,
        rank: int = 0,
        alpha: float = 1.0,
    ) -> None:
        super().__init__(
            shape, classes, network, width, depth, path, "velocity", coupling,
            drop_label=drop_label, guidance=guidance, solver=solver, steps=steps,
        )  # fmt: skip
        check_choice("grid", grid, GRIDS)
        check_choice("straighten", straighten, STRAIGHTEN)
        if not steps <= fine:
            raise MethodError(f"steps={steps} cannot be chosen among the fine={fine} steps of the grid; make it finer")
        if trajectories < 2 or probes < 1 or not 0 < share < 1:
            raise MethodError(
                f"trajectories={trajectories} must be at least 2, probes={probes} at least 1, share={share} in (0, 1)"
            )
        self.grid, self.rho, self.fine, self.probes = grid, rho, fine, probes
        self.straighten_by, self.trajectories, self.share = straighten, trajectories, share
        self.rank, self.alpha = rank, alpha
        self.register_buffer("cost", torch.full((fine + 1, fine + 1), UNKNOWN, dtype=torch.float64))
        self.register_buffer("held_out_error", torch.zeros(steps, dtype=torch.float64))

    @classmethod
    def from_flow(cls, flow: FlowMatching, **settings: Any) -> Self:
        """Start from a fitted flow, whose network is copied; `settings` are those of the schedule and straightening.

        Raises MethodError for a flow that predicts noise.
        """
        if flow.objective != "velocity":
            raise MethodError("steps are chosen for a flow with objective=velocity; this one predicts noise")
        shared = ("shape", "classes", "network", "width", "depth", "path", "coupling", "drop_label", "guidance")
        method = cls(**{name: flow.config[name] for name in shared} | settings)
        method.load_state_dict(flow.state_dict(), strict=False)
        return method.to(flow.device).eval()

    # -- the schedule -------------------------------------------------------------------------------------------------

    def base_grid(self) -> Tensor:
        """The fine nodes t_0 = 0 < .. < t_M, float64 (M + 1,)."""
        if self.grid == "uniform":
            return time_grid(self.fine, end=self.path.last)
        return rho_grid(self.fine, self.rho, end=self.path.last)

    @torch.no_grad()
    def measure(self, seed: int = 0) -> Self:
        """Fill the cost matrix from one fine trajectory of each of `probes` samples, drawn with `seed`."""
        noise, labels, _ = self._prepare(self.probes, 1, seed + EARLIER, None)
        velocity = self.velocity(labels, self.guidance if self.classes else 0.0)
        cost = local_error_matrix(velocity, self.path.prior_scale * noise, self.base_grid())
        self.cost.copy_(cost.nan_to_num(posinf=0.0))  # a step backwards is never asked for; 0 is a plain number on disk
        return self

    def schedule(self, steps: int) -> Tensor:
        """The nodes of the best `steps` steps, float64 (steps + 1,), from the stored cost matrix.

        Raises DataError if the matrix is not measured yet or coarser than that.
        """
        if float(self.cost[0, -1]) == UNKNOWN:
            raise DataError(
                f"{type(self).__name__} has no cost matrix yet: fit it, or call measure() on a trained flow"
            )
        if not 1 <= steps <= self.fine:
            raise DataError(f"{type(self).__name__} chooses among {self.fine} fine steps; {steps} cannot be had")
        return self.base_grid()[optimal_schedule(self.cost.cpu(), steps).path]

    # -- training -----------------------------------------------------------------------------------------------------

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Train the flow, choose the steps, straighten the flow on them with `share` of the budget."""
        budget, began = budget or Budget(steps=self.recipe.steps), time.monotonic()
        if self.straighten_by == "none":
            super().fit(data, budget, seed, validation, **options)
            return self.measure(seed)
        folder = options.pop("folder", None)
        first = None if folder is None else Path(folder) / "flow"
        if first is not None and options.get("resume") and (first / store.WEIGHTS).exists():
            store.read_weights(first, self)
        else:
            super().fit(data, _part(budget, 1 - self.share), seed, validation, folder=first, **options)
            self.measure(seed)
            if first is not None:
                store.write(first, self)
                (first / store.CHECKPOINT).unlink(missing_ok=True)
        rest = _part(budget, self.share) if budget.minutes is None else _left(budget, began, self.share)
        return self.straighten(rest, seed, folder=folder, **{k: options[k] for k in options if k in SHARED})

    def straighten(self, budget: Budget | None = None, seed: int = 0, **options: Any) -> Self:
        """Fine-tune on the teacher's states, a tenth of its trajectories held out; needs `measure` first.

        options: fields of `Recipe` instead of those of `straightening`, and those of `train`
        """
        settings, began = vars(self.straightening) | options, time.monotonic()
        budget = budget or Budget(steps=settings["steps"])
        count = self.trajectories
        if budget.steps is not None:  # no more than training sees
            count = min(count, max(2, round(budget.steps * settings["batch_size"] / (1 - HELD_OUT))))
        known = self.teach(count, seed)
        learned, held_out = known.held_out(HELD_OUT, seed)
        budget = budget if budget.minutes is None else _left(budget, began)
        torch.manual_seed(seed)
        lora = LoRA(self.network, self.rank, self.alpha) if self.rank else None
        self.training_record = train(
            self, learned, budget, seed=seed, loss=self.straightening_loss(known.nodes), validation=held_out, **settings
        )  # fmt: skip
        if lora is not None:
            lora.merge()
        self.held_out_error.copy_(self.interval_errors(held_out))
        return self.eval()

    @torch.no_grad()
    def teach(self, count: int, seed: int = 0) -> Trajectories:
        """Fine trajectories of the flow as it is now, kept at the nodes that `straighten` learns from.

        Labels are hidden as often as in training, so that guidance still finds a null class.
        """
        grid = self.base_grid()
        nodes = self.schedule(self.steps) if self.straighten_by == "bellman" else grid[[0, -1]]
        index = torch.searchsorted(grid, nodes)
        noise, labels, _ = self._prepare(count, 1, seed + 2 * EARLIER, None)
        if labels is not None:
            hidden = torch.Generator().manual_seed(seed)
            labels = drop_labels(labels, self.classes, self.drop_label, hidden)
        parts = []
        for i in range(0, count, PART):
            velocity = self.velocity(None if labels is None else labels[i : i + PART])
            states = integrate(velocity, self.path.prior_scale * noise[i : i + PART], grid).states
            parts.append(states[index.to(states.device)].transpose(0, 1).cpu())
        return Trajectories(states=torch.cat(parts), nodes=nodes, labels=None if labels is None else labels.cpu())

    def straightening_loss(self, nodes: Tensor) -> Any:
        """The loss of a batch of trajectories known at `nodes`, each at one interval or, for reflow, one time."""
        spans, starts = nodes.diff().float(), nodes.float()

        def loss(batch: Segment) -> Tensor:
            count, rows = len(batch.states), torch.arange(len(batch.states), device=batch.states.device)
            interval = torch.randint(len(spans), (count,)).to(rows.device)
            begin, end = batch.states[rows, interval], batch.states[rows, interval + 1]
            wide = (count, *[1] * (begin.ndim - 1))
            span, t = spans.to(rows.device)[interval], starts.to(rows.device)[interval]
            slope = (end - begin) / span.view(wide)
            if self.straighten_by == "reflow":
                passed = torch.rand(count).to(rows.device) * span
                begin, t = begin + passed.view(wide) * slope, t + passed
            return squared_error(self(begin, t, label=batch.labels), slope).mean()

        return loss

    @torch.no_grad()
    def interval_errors(self, data: Trajectories) -> Tensor:
        """Mean squared error of the velocity where each of the K steps starts, float64 (K,).

        For reflow these are the starts of K equal steps on the straight line between the ends of a trajectory.
        """
        states, nodes = data.states, data.nodes
        if self.straighten_by == "reflow":
            nodes = time_grid(self.steps, float(nodes[0]), float(nodes[-1]))
            done = ((nodes - nodes[0]) / (nodes[-1] - nodes[0])).float().view(1, -1, *[1] * (states.ndim - 2))
            states = torch.lerp(states[:, :1], states[:, -1:], done)
        errors = []
        for interval, (begin, end) in enumerate(itertools.pairwise(nodes.tolist())):
            found = []
            for i in range(0, len(data), PART):
                z, ahead = (states[i : i + PART, j].to(self.device) for j in (interval, interval + 1))
                label = None if data.labels is None else data.labels[i : i + PART].to(self.device)
                t = torch.full((len(z),), begin, device=z.device)
                found.append(squared_error(self(z, t, label=label), (ahead - z) / (end - begin)))
            errors.append(torch.cat(found).double().mean())
        return torch.stack(errors).cpu()

    def score(self, data: Any, seed: int = 0) -> float:
        """While straightening, the error on the held-out trajectories; otherwise the room's metric."""
        if isinstance(data, Trajectories):
            return float(self.interval_errors(data).mean())
        return super().score(data, seed)

    # -- sampling -----------------------------------------------------------------------------------------------------

    def carry(
        self,
        noise: Tensor,
        labels: Tensor | None,
        steps: int,
        keep: str = "last",
        solver: str | None = None,
        guidance: float | None = None,
        tolerance: float = 1e-5,
        nodes: str = "auto",
        **options: Any,
    ) -> Carried:
        """Integrate over the chosen nodes.

        nodes: "bellman"; "uniform" for equal steps; "auto" is "bellman", unless the flow was straightened by reflow
        """
        refuse_options(self, options)
        solver = solver or self.solver
        check_choice("solver", solver, SOLVERS)
        check_choice("nodes", nodes, ("auto", *NODES))
        chosen = nodes == "bellman" or (nodes == "auto" and self.straighten_by != "reflow")
        times = self.schedule(steps) if chosen else time_grid(steps, end=self.path.last)
        guidance = self.guidance if guidance is None or not self.classes else guidance
        start, velocity = self.path.prior_scale * noise, self.velocity(labels, guidance)
        solution = integrate(velocity, start, times, solver, tolerance, tolerance, keep=keep)
        return Carried(solution.states, solution.evaluations * (2 if guidance else 1))


def _part(budget: Budget, share: float) -> Budget:
    """A share of a budget, at least one step."""
    if budget.steps is not None:
        return Budget(steps=max(1, round(share * budget.steps)))
    if budget.epochs is not None:
        return Budget(epochs=share * budget.epochs)
    assert budget.minutes is not None
    return Budget(minutes=share * budget.minutes)


def _left(budget: Budget, began: float, share: float = 1.0) -> Budget:
    """What is left of a budget in minutes that runs since `began`, but at least a tenth of `share` of it."""
    assert budget.minutes is not None
    return Budget(minutes=max(budget.minutes - (time.monotonic() - began) / 60, 0.1 * share * budget.minutes))

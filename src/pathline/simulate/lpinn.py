"""Lagrangian physics-informed network: learn where each point is carried, and what it carries along.

For u_t + f(u) u_x = nu u_xx, two networks of a label X and the time:
    x = x(X, t)   the characteristic that starts at X         R_x = d_t x - f(w)
    w = u(x(X, t), t)   the state on it                       R_u = d_t w - nu u_xx
    u_xx = (1 / x_X) d_X (w_X / x_X)                          derivatives in moving coordinates, x_X = d x / d X
    loss = g_x |R_x| + g_u |R_u| + g_0 (|x - X| + |w - u0| at t = 0)
A fast transport is steep in (x, t) but smooth in (X, t), which is why this learns where a network at fixed places
fails. Where characteristics have crossed (x_X <= 0), there is no solution of this form: a warning says so.
Mojgani, Balajewicz, Hassanzadeh, 2023, CMAME 404, arXiv:2205.02902.
Departs: x = X + t s g(cos X, sin X, t), with s the fastest speed: displacements are periodic, exact at t = 0 and of
order 1 (`characteristic="direct"` is the network of the official code, whose output is x itself). R_x is measured in
units of s. u_xx follows the chain rule (`diffusion="label"` takes w_XX, as the code does: exact only where x_X = 1).
Use it for one equation in which transport dominates; not for shocks, nor where there are data and no equation.
"""

import warnings
from typing import Any, Self

import torch
from torch import Tensor, nn

from pathline.core.budget import Budget
from pathline.core.errors import MethodError
from pathline.data.equation import Equation, Nodes
from pathline.nn.conditions import periodic, starting_from
from pathline.nn.derivatives import along, twice_along
from pathline.nn.mlp import MLP
from pathline.simulate.equations import CollocationSolver

SMALLEST = 1e-3  # of x_X in a denominator
DENSER = 8  # labels per place of a solution: the error of interpolating between them is of the order 1e-5


class LPINN(CollocationSolver):
    """Characteristics and what they carry, as two branches.

    width, depth:     hidden layers of the branch of w, with tanh
    path_depth:       hidden layers of the branch of x, which is simpler
    shared:           whether both branches share the first hidden layer
    characteristic:   "displacement" or "direct", see above
    diffusion:        "chain" or "label"
    hard_initial:     whether w = u0 + t (network) instead of a penalty
    path_weight, state_weight: g_x and g_u; `initial_weight` is g_0
    polish:           iterations of L-BFGS after training
    """

    def __init__(
        self,
        points: int,
        speed: float,
        self_advection: float,
        viscosity: float,
        duration: float,
        period: float,
        labels: int = 64,
        times: int = 32,
        initial_weight: float = 10.0,
        norm: str = "squared",
        width: int = 32,
        depth: int = 4,
        path_depth: int = 2,
        shared: bool = False,
        characteristic: str = "displacement",
        diffusion: str = "chain",
        hard_initial: bool = False,
        path_weight: float = 1.0,
        state_weight: float = 1.0,
        polish: int = 0,
    ) -> None:
        super().__init__(
            points, speed, self_advection, viscosity, duration, period, labels, times, initial_weight, norm
        )
        for name, value, known in (
            ("characteristic", characteristic, ("displacement", "direct")),
            ("diffusion", diffusion, ("chain", "label")),
        ):
            if value not in known:
                raise MethodError(f"{name} is '{value}'; choose {' or '.join(known)}")
        self.characteristic, self.diffusion, self.hard_initial = characteristic, diffusion, hard_initial
        self.path_weight, self.state_weight, self.polish = path_weight, state_weight, polish
        first = [3, width] if shared else []
        self.trunk = MLP(first, nn.Tanh, final_activation=True) if shared else nn.Identity()
        inner = width if shared else 3
        self.path_net = MLP([inner, *[width] * (path_depth - shared), 1], nn.Tanh)
        self.state_net = MLP([inner, *[width] * (depth - shared), 1], nn.Tanh)

    # -- the two branches, in the data's units ------------------------------------------------------------------------

    def _inputs(self, label: Tensor, t: Tensor) -> Tensor:
        inputs: Tensor = self.trunk(torch.cat([periodic(label, self.period), (t / self.duration)[:, None]], -1))
        return inputs

    def path(self, label: Tensor, t: Tensor) -> Tensor:
        """x(X, t): (batch,)."""
        length = self.period / (2 * torch.pi)
        net = self.path_net(self._inputs(label, t))[:, 0]
        if self.characteristic == "direct":
            return length * net
        return starting_from(label, t / self.duration, net, length * self.fastest)

    def state(self, label: Tensor, t: Tensor) -> Tensor:
        """w(X, t): (batch,)."""
        net = self.state_net(self._inputs(label, t))[:, 0]
        return starting_from(self.start(label), t / self.duration, net) if self.hard_initial else net

    def curvature(self, label: Tensor, t: Tensor) -> Tensor:
        """u_xx on the characteristic: (1 / x_X) d_X (w_X / x_X) = (w_XX - w_X x_XX / x_X) / x_X^2, or w_XX alone."""
        _, slope, bend = twice_along(self.state, 0, label, t)
        if self.diffusion == "label":
            return bend
        _, stretch, stretching = twice_along(self.path, 0, label, t)
        stretch = stretch.clamp(min=SMALLEST)
        return (bend - slope * stretching / stretch) / stretch.square()

    # -- what training minimises --------------------------------------------------------------------------------------

    def residuals(self, label: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """R_x in units of the fastest speed, and R_u, in units of u per duration: each (batch,)."""
        length = self.period / (2 * torch.pi)
        _, velocity = along(self.path, 1, label, t)
        w, rate = along(self.state, 1, label, t)
        path = (velocity - self.carried(w)) * (self.duration / (length * self.fastest))
        if self.viscosity:
            rate = rate - self.viscosity * self.curvature(label, t)
        return path, rate * self.duration

    def losses(self, nodes: Nodes) -> dict[str, Tensor]:
        path, state = map(self.penalty, self.residuals(nodes.x, nodes.t))
        label = nodes.x[nodes.t == 0]
        begin = torch.zeros_like(label)
        initial = self.penalty(self.state(label, begin) - self.start(label))
        if self.characteristic == "direct":
            initial = initial + self.penalty((self.path(label, begin) - label) * (2 * torch.pi / self.period))
        total = self.path_weight * path + self.state_weight * state + self.initial_weight * initial
        return {"loss": total, "path": path, "state": state, "initial": initial}

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Adam, and then L-BFGS if `polish` asks for it."""
        super().fit(data, budget, seed, validation, **options)
        if self.polish:
            self.train()
            nodes = self.nodes(self.labels, self.times).to(self.device)
            optimizer = torch.optim.LBFGS(self.parameters(), max_iter=self.polish, line_search_fn="strong_wolfe")

            def closure() -> Tensor:
                optimizer.zero_grad()
                loss = self.losses(nodes)["loss"]
                loss.backward()
                return loss

            optimizer.step(closure)
        return self.eval()

    # -- the solution at fixed places ---------------------------------------------------------------------------------

    @torch.no_grad()
    def carried_grid(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """x and w of `DENSER` labels per place at `times`: each (frames, labels)."""
        count = DENSER * len(self.initial)
        label = torch.arange(count, device=self.device) * (self.period / count)
        shape = (len(times), count)
        flat_label = label.to(self.initial.dtype).expand(shape).flatten()
        flat_time = times.to(self.device, self.initial.dtype)[:, None].expand(shape).flatten()
        return self.path(flat_label, flat_time).view(shape), self.state(flat_label, flat_time).view(shape)

    def crossed(self, times: Tensor) -> float:
        """The share of neighbouring characteristics that have crossed (x_X <= 0)."""
        x, _ = self.carried_grid(times)
        gap = torch.cat([x, x[:, :1] + self.period], 1).diff(dim=1)
        return float((gap <= 0).double().mean())

    @torch.no_grad()
    def solve(self, times: Tensor) -> Tensor:
        x, w = self.carried_grid(times)
        places = torch.arange(len(self.initial), device=x.device) * (self.period / len(self.initial))
        return resampled(x, w, places.to(x.dtype), self.period)

    def evaluate(self, data: Equation, seed: int = 0) -> dict[str, float]:
        """Also crossed: the share of neighbouring characteristics that have crossed, where x is no map any more."""
        metrics = super().evaluate(data, seed)
        metrics["crossed"] = self.crossed(data.times)
        if metrics["crossed"]:
            warnings.warn(
                f"{data.name}: {100 * metrics['crossed']:.2g} % of the characteristics have crossed; where they have, "
                "the nearest one is taken. Past a shock this method does not apply",
                RuntimeWarning,
                stacklevel=2,
            )
        return metrics


def resampled(x: Tensor, values: Tensor, places: Tensor, period: float) -> Tensor:
    """Values known at scattered x on a circle, at fixed places, row by row: (rows, n), (rows, n), (m,) -> (rows, m).

    Linear between neighbours where x ascends once around; the value of the nearest x in rows where it does not.
    """
    ascends = (torch.cat([x, x[:, :1] + period], 1).diff(dim=1) > 0).all(1, keepdim=True)
    x, order = (x % period).sort(1)
    values = values.gather(1, order)
    x = torch.cat([x[:, -1:] - period, x, x[:, :1] + period], 1)
    values = torch.cat([values[:, -1:], values, values[:, :1]], 1)
    places = places.expand(len(x), -1).contiguous()
    right = torch.searchsorted(x, places, right=True).clamp(1, x.shape[1] - 1)
    x0, x1 = x.gather(1, right - 1), x.gather(1, right)
    share = (places - x0) / (x1 - x0).clamp(min=torch.finfo(x.dtype).tiny)
    share = torch.where(ascends, share, share.round())
    return torch.lerp(values.gather(1, right - 1), values.gather(1, right), share)

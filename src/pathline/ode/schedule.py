"""Which K nodes should a few-step solver take? Local errors from one fine trajectory, then dynamic programming.

    c[j, k] = mean_n d(P(x_j, t_j -> t_k), x_k)           cost of crossing [t_j, t_k] in one step P, j < k
    V_1[i] = c[i, M],    V_k[i] = min_{i < j < M} c[i, j] + V_{k-1}[j]          exactly k steps from i to M

x_0 .. x_M is the trajectory of the same one-step method on a fine grid t_0 .. t_M; d is the squared distance, summed
over dimensions. With Euler, P = x_j + (t_k - t_j) v_j needs no call of the velocity beyond the M of the trajectory.
What is minimised is the sum of local errors, each measured from the fine trajectory: not the error at the end.

Nguyen, Nguyen, Nguyen, 2024, "Bellman Optimal Step-size Straightening of Flow-Matching Models", arXiv:2312.16414; the
grid that is denser towards one end is that of Karras et al., 2022, arXiv:2206.00364.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pathline.ode.integrate import checked_nodes, runge_kutta_step
from pathline.ode.tableaus import EULER, FIXED_STEP


class OptimalSchedule(NamedTuple):
    """path: (steps + 1,) int64 nodes from 0 to M, increasing; cost: their summed local error."""

    path: Tensor
    cost: float


def rho_grid(steps: int, rho: float = 7.0, start: float = 0.0, end: float = 1.0) -> Tensor:
    """Nodes end - (end - start) (1 - i / steps)^rho: float64, (steps + 1,), denser towards `end` for rho > 1."""
    if steps < 1 or rho <= 0:
        raise ValueError(f"a grid needs at least 1 step and a positive rho, got {steps} and {rho}")
    left = 1.0 - torch.arange(steps + 1, dtype=torch.float64) / steps
    return end - (end - start) * left**rho


@torch.no_grad()
def local_error_matrix(
    velocity: Callable[[Tensor, Tensor], Tensor],
    x0: Tensor,
    grid: Tensor | Sequence[float],
    predictor: str = "euler",
    distance: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """c[j, k], the mean error over samples of one step from node j to node k of `grid`: float64 (M + 1, M + 1).

    velocity:  (x, t) -> dx/dt, t without dimension
    x0:        (batch, ...) where the trajectories start; about 100 of them are enough
    grid:      M + 1 strictly monotone nodes
    predictor: the one-step method, a name in `FIXED_STEP`; beyond "euler" every pair costs its later stages
    distance:  (predicted, true), both (steps, batch, ...) float64, -> (steps, batch); by default the squared distance

    On and below the diagonal the matrix is infinite: there is no step backwards. Entries next to the diagonal are 0 up
    to the rounding of the states. One row at a time bounds the memory to that of the trajectory.
    """
    if predictor not in FIXED_STEP:
        raise ValueError(f"unknown predictor '{predictor}'; choose one of {', '.join(FIXED_STEP)}")
    nodes, tableau = checked_nodes(grid), FIXED_STEP[predictor]
    distance = distance or _squared_distance

    def slope(_: tuple[Tensor, ...], stage: tuple[Tensor, ...], t: float) -> tuple[Tensor, ...]:
        time = torch.tensor(t, dtype=torch.promote_types(x0.dtype, torch.float32), device=x0.device)
        return (velocity(stage[0], time),)

    states, slopes = [x0], []
    for begin, end in itertools.pairwise(nodes):
        (state,), found = runge_kutta_step(tableau, slope, (states[-1],), begin, end)
        states.append(state)
        slopes.append(found[0][0])
    true = torch.stack(states).double()
    times = torch.tensor(nodes, dtype=torch.float64, device=x0.device)
    cost = torch.full((len(nodes), len(nodes)), torch.inf, dtype=torch.float64)
    for row, first in enumerate(slopes):
        if tableau is EULER:
            spans = (times[row + 1 :] - times[row]).reshape(-1, *[1] * x0.ndim)
            predicted = true[row] + spans * first.double()
        else:
            ahead = [
                runge_kutta_step(tableau, slope, (states[row],), nodes[row], end, (first,))[0][0]
                for end in nodes[row + 1 :]
            ]
            predicted = torch.stack(ahead).double()
        cost[row, row + 1 :] = distance(predicted, true[row + 1 :]).double().mean(1).cpu()
    return cost


def _squared_distance(predicted: Tensor, true: Tensor) -> Tensor:
    return (predicted - true).square().flatten(2).sum(2)


def optimal_schedule(cost: Tensor, steps: int, fewer: bool = False) -> OptimalSchedule:
    """The path from node 0 to the last in exactly `steps` steps (at most, with `fewer`) whose costs have the least sum.

    cost: (M + 1, M + 1), read above the diagonal; see `local_error_matrix`. O(steps M^2), every step one minimum over a
    matrix with its argmin stored. More steps need not be better for arbitrary costs: that is what `fewer` is for.
    Raises ValueError unless 1 <= steps <= M and the matrix is square.
    """
    count = len(cost)
    if cost.ndim != 2 or cost.shape[1] != count or count < 2:
        raise ValueError(f"costs of steps between nodes form a square matrix, got shape {tuple(cost.shape)}")
    if not 1 <= steps < count:
        raise ValueError(f"{count} nodes allow 1 to {count - 1} steps, not {steps}")
    ahead = torch.ones(count, count, dtype=torch.bool, device=cost.device).triu(1)
    cost = cost.double().masked_fill(~ahead, torch.inf)
    value, values, choices = cost[:, -1], [cost[0, -1]], []
    for _ in range(1, steps):
        value, choice = (cost + value).min(dim=1)
        values.append(value[0])
        choices.append(choice)
    used = 1 + int(torch.stack(values).argmin()) if fewer else steps
    path = [0]
    for choice in reversed(choices[: used - 1]):
        path.append(int(choice[path[-1]]))
    return OptimalSchedule(torch.tensor([*path, count - 1]), float(values[used - 1]))

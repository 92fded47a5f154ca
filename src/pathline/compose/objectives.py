"""What a sampler of objects minimises: flows that must balance along a trajectory s_0 -> s_1 -> ... -> s_n = x.

    r_ij = log F(s_i) + sum_{t=i}^{j-1} log P_F(s_{t+1} | s_t) - log F(s_j) - sum_{t=i}^{j-1} log P_B(s_t | s_{t+1})

with log F(s_n) = log R(x) and log F(s_0) = log Z. With c_t the running sum of log P_F - log P_B and g_t = log F(s_t)
- c_t it is g_i - g_j, so all of a batch's residuals are one subtraction. Squared and averaged:

    detailed balance     j = i + 1                      Bengio et al., 2023, arXiv:2111.09266
    trajectory balance   i = 0, j = n                   Malkin et al., 2022, arXiv:2201.13259
    sub-trajectories     all i < j, weighted            Madan et al., 2023, arXiv:2209.12782
    flow matching        inflow = outflow of a state    Bengio et al., 2021, arXiv:2106.04399

The functions know tensors only: any environment whose moves have log-probabilities (or log-densities) can use them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

WEIGHTINGS = ("geometric_within", "geometric", "equal_within", "equal", "db", "tb")


@dataclass(frozen=True)
class Trajectories:
    """Log-probabilities and flows along a batch of trajectories, or of pieces of them, padded to T moves.

    log_pf, log_pb: (batch, T), anything beyond a trajectory's length
    log_flow:   (batch, T + 1): log Z (or the flow where a piece starts) in column 0, log R(x) in column `length` of a
                trajectory that ends in an object, anything beyond
    length:     (batch,) int64 moves, at least 1
    log_reward: (batch,) of the objects, or nan for pieces that end in none
    """

    log_pf: Tensor
    log_pb: Tensor
    log_flow: Tensor
    length: Tensor
    log_reward: Tensor

    @property
    def moves(self) -> Tensor:
        """(batch, T) whether a column is a move."""
        return torch.arange(self.log_pf.shape[1], device=self.length.device) < self.length[:, None]

    @property
    def potential(self) -> Tensor:
        """g_t = log F(s_t) - sum_{u < t} (log P_F - log P_B), (batch, T + 1); 0 beyond the end."""
        ratio = torch.where(self.moves, self.log_pf - self.log_pb, 0.0).cumsum(1)
        potential = self.log_flow - torch.cat([torch.zeros_like(ratio[:, :1]), ratio], 1)
        inside = torch.cat([torch.ones_like(self.moves[:, :1]), self.moves], 1)
        return torch.where(inside, potential, 0.0)

    @property
    def log_importance(self) -> Tensor:
        """sum log P_F - sum log P_B of each, (batch,): its mean of exp over backward draws is P_T(x)."""
        return torch.where(self.moves, self.log_pf - self.log_pb, 0.0).sum(1)


def residuals(paths: Trajectories) -> tuple[Tensor, Tensor]:
    """r_ij (batch, T + 1, T + 1), and which of them are of a piece i < j <= length."""
    g, place = paths.potential, torch.arange(paths.log_flow.shape[1], device=paths.length.device)
    real = (place[:, None] < place) & (place <= paths.length[:, None, None])
    return torch.where(real, g[:, :, None] - g[:, None, :], 0.0), real


def detailed_balance(paths: Trajectories) -> Tensor:
    """Mean of r_{t, t+1}^2 over all moves of the batch."""
    g = paths.potential
    return torch.where(paths.moves, g[:, :-1] - g[:, 1:], 0.0).square().sum() / paths.moves.sum()


def trajectory_balance(paths: Trajectories) -> Tensor:
    """Mean of r_{0, n}^2 over the batch."""
    g = paths.potential
    end = g.gather(1, paths.length[:, None])[:, 0]
    return (g[:, 0] - end).square().mean()


def sub_trajectory_balance(paths: Trajectories, lamda: float = 0.9, weighting: str = "geometric_within") -> Tensor:
    """sum_{i<j} w_ij r_ij^2 with weights that sum to 1.

    weighting: "geometric_within" (the paper): w_ij ~ lamda^(j - i), summing to 1 in each trajectory, then the batch
               mean; "geometric": summing to 1 over the batch, so that long trajectories count more; "equal_within",
               "equal": the same with lamda = 1; "db", "tb": only pieces of one move, only whole trajectories

    The weights are summed and not taken from the closed form, which divides by (1 - lamda)^2.
    """
    if weighting not in WEIGHTINGS:
        raise ValueError(f"unknown weighting '{weighting}'; choose one of {', '.join(WEIGHTINGS)}")
    if weighting == "db":
        return detailed_balance(paths)
    if weighting == "tb":
        return trajectory_balance(paths)
    residual, real = residuals(paths)
    place = torch.arange(real.shape[1], device=residual.device, dtype=residual.dtype)
    span = (place - place[:, None]).clamp(min=1)
    rate = 1.0 if weighting.startswith("equal") else lamda
    weight = torch.where(real, rate ** (span - 1), 0.0)
    square = (weight * residual.square()).sum((1, 2))
    total = weight.sum((1, 2))
    return (square / total).mean() if weighting.endswith("within") else square.sum() / total.sum()


def flow_matching(log_inflow: Tensor, log_outflow: Tensor) -> Tensor:
    """Mean over visited states of (log inflow - log outflow)^2, both (states,); the outflow of an object is its
    reward."""
    return (log_inflow - log_outflow).square().mean()


OBJECTIVES: dict[str, Callable[[Trajectories], Tensor]] = {
    "db": detailed_balance,
    "tb": trajectory_balance,
    "subtb": sub_trajectory_balance,
}

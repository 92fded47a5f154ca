"""Sub-trajectory balance: sample objects in proportion to a reward, with a dial between local and whole-path credit.

    r_ij  = log F(s_i) + sum_{t=i}^{j-1} log P_F(s_{t+1} | s_t) - log F(s_j) - sum_{t=i}^{j-1} log P_B(s_t | s_{t+1})
    loss    sum_{i<j} lamda^(j-i) r_ij^2 / sum_{i<j} lamda^(j-i), mean over trajectories         log F(x) = log R(x)

lamda -> 0 leaves single moves (detailed balance: local, low variance), a large one whole trajectories (trajectory
balance: no bias). Pieces that end in no object are training items too (`fit_partial`). log Z is log F(s_0).
Madan, Rector-Brooks, Korablyov, Bengio, Jain, Nica, Bosc, Bengio, Malkin, 2023, "Learning GFlowNets from partial
episodes for improved convergence and stability", ICML, arXiv:2209.12782.
Departs: AdamW without weight decay for Adam, which is the same.

Where it does not help: on small grids with a reward of at least 0.1 everywhere, trajectory balance with its own fast
log Z ends closer to the target; the gain is speed on large, sparse grids.
"""

from dataclasses import replace

import torch
from torch import Tensor

from pathline.compose.base import FlowComposer
from pathline.compose.objectives import sub_trajectory_balance
from pathline.compose.policy import Paths


class SubTB(FlowComposer):
    """Balance all pieces of each trajectory, those of one move most; see `FlowComposer` for the settings."""


def gradients(method: FlowComposer, batches: list[Paths], objective: str) -> Tensor:
    """Gradients of an objective with respect to what log P_F depends on, flows held fixed (log Z = log F(s_0)), one
    row for each of `batches`: (batches, parameters)."""
    weights, rows = list(method.policy.net.parameters()), []
    for paths in batches:
        scored = method.scored(paths)
        scored = replace(scored, log_flow=scored.log_flow.detach())
        loss = sub_trajectory_balance(scored, method.lamda, method.weighting if objective == "subtb" else objective)
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)]))
    return torch.stack(rows)


def agreement(gradient: Tensor, other: Tensor | None = None) -> float:
    """Mean cosine between different rows of `gradient` (batches, parameters), the higher the less variance; or, with
    `other` (parameters,), mean cosine with that direction, the higher the less bias."""
    unit = torch.nn.functional.normalize(gradient.double(), dim=1)
    if other is not None:
        return float((unit @ torch.nn.functional.normalize(other.double(), dim=0)).mean())
    count = len(unit)
    return float(((unit @ unit.T).sum() - count) / (count * (count - 1)))

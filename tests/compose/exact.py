"""Flows, policies and trajectories that are known exactly on small environments."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pathline.compose.objectives import Trajectories
from pathline.compose.policy import Paths
from pathline.data.environment import DiscreteEnvironment


@dataclass(frozen=True)
class Flows:
    """log F of every state and log P_F, under uniform P_B and the environment's own reward, all float64.

    codes: (states,) sorted;  log_flow: (states,);  log_forward: (states, actions), -inf where not legal
    """

    codes: Tensor
    log_flow: Tensor
    log_forward: Tensor

    def place(self, environment: DiscreteEnvironment, states: Tensor) -> Tensor:
        return torch.searchsorted(self.codes, environment.code(states))


def solve(environment: DiscreteEnvironment) -> Flows:
    """By a sweep from objects to the source: F(s) = sum over children s' of F(s') / parents(s')."""
    states = torch.cat(environment.levels)
    codes, order = environment.code(states).sort()
    states = states[order]
    flow = torch.zeros(len(states), dtype=torch.float64)
    done = environment.is_terminal(states)
    flow[done] = environment.log_reward(states[done]).double().exp()
    parents = environment.backward_mask(states).sum(1).clamp(min=1)
    share = torch.zeros(len(states), environment.actions, dtype=torch.float64)
    for level in reversed(environment.levels):
        here = level[~environment.is_terminal(level)]
        at, action = environment.forward_mask(here).nonzero(as_tuple=True)
        child = torch.searchsorted(codes, environment.code(environment.step(here[at], action)))
        rows = torch.searchsorted(codes, environment.code(here))
        share[rows[at], action] = flow[child] / parents[child]
        flow[rows] = share[rows].sum(1)
    return Flows(codes, flow.log(), (share / flow[:, None]).log())


def scored(environment: DiscreteEnvironment, flows: Flows, paths: Paths) -> Trajectories:
    """`paths` with their exact log-probabilities and flows."""
    place = flows.place(environment, paths.states.flatten(0, 1)).view(paths.states.shape[:2])
    log_pf = flows.log_forward[place[:, :-1]].gather(2, paths.actions[..., None])[..., 0]
    parents = environment.backward_mask(paths.states[:, 1:].flatten(0, 1)).sum(1).view_as(log_pf)
    log_pb = -parents.clamp(min=1).double().log()
    reward = environment.log_reward(paths.ends).double()
    moves = paths.moves
    return Trajectories(
        torch.where(moves, log_pf, 0.0), torch.where(moves, log_pb, 0.0), flows.log_flow[place], paths.length, reward
    )

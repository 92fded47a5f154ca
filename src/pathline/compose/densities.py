"""Policies whose moves have densities: what every method on a continuous environment trains and samples with.

log_pf[t] = log p_F(s_t, s_{t+1})      log_pb[t] = log p_B(s_{t+1}, s_t), 0 for the first move and for a stop
log p(x)  = log mean_k p_F(tau_k) / p_B(tau_k | x), tau_k ~ p_B(. | x), without bias before the logarithm
"""

import math

import torch
from torch import Tensor, nn

from pathline.compose.objectives import Trajectories
from pathline.nn.mlp import MLP
from pathline.sims.environments.continuous import ContinuousEnvironment, Paths, walk, walk_back

PLAIN = 0.01  # scale of the last layer of a policy that starts plain
PART = 4096  # paths scored together, which bounds the memory


class DensityPolicy(nn.Module):
    """Forward and backward kernels and the state flow of one environment, each from its own network.

    components, source_components: of the mixtures, elsewhere and at s_0
    width, depth: hidden layers of every network, with ELU between them
    learn_backward: False keeps the backward kernel at raw outputs 0
    """

    def __init__(
        self,
        environment: ContinuousEnvironment,
        components: int = 2,
        source_components: int = 4,
        width: int = 64,
        depth: int = 3,
        learn_backward: bool = True,
        flow: bool = True,
    ) -> None:
        super().__init__()
        self.environment, self.source_components = environment, source_components
        self.back_size = environment.backward_size(components)

        def network(outputs: int) -> MLP:
            return MLP([environment.features, *[width] * depth, outputs], nn.ELU)

        self.forward_net = network(environment.forward_size(components))
        if environment.starts_plain:
            with torch.no_grad():
                for parameter in self.forward_net[-1].parameters():
                    parameter.mul_(PLAIN)
        self.backward_net = network(self.back_size) if learn_backward and self.back_size else None
        self.flow_net = network(1) if flow else None
        size = environment.source_size(source_components)
        self.source = nn.Parameter(0.5 * torch.randn(size)) if size else None

    # -- raw outputs --------------------------------------------------------------------------------------------------

    def forward_raw(self, states: Tensor, first: bool) -> Tensor:
        """Raw outputs of the forward kernel; the network is never asked about s_0 if s_0 has parameters of its own."""
        if first and self.source is not None:
            return self.source.expand(len(states), -1)
        raw: Tensor = self.forward_net(self.environment.encode(states))
        return raw

    def backward_raw(self, states: Tensor) -> Tensor:
        """Raw outputs of the backward kernel."""
        if self.backward_net is None:
            return states.new_zeros(len(states), self.back_size)
        raw: Tensor = self.backward_net(self.environment.encode(states))
        return raw

    # -- paths --------------------------------------------------------------------------------------------------------

    def walk(self, count: int, explore: float = 0.0) -> Paths:
        """Paths drawn from p_F, or from something wider."""
        return walk(self.environment, self.forward_raw, count, explore)

    def walk_back(self, objects: Tensor) -> Paths:
        """One path to each object, drawn from p_B."""
        return walk_back(self.environment, self.backward_raw, objects)

    def log_forward(self, paths: Paths) -> Tensor:
        """log_pf (batch, moves), 0 beyond a path's length."""
        environment, live = self.environment, paths.live
        source, later = paths.states[:, 0], live.clone()
        later[:, 0] = False
        first = environment.log_forward(self.forward_raw(source, True), source, paths.actions[:, 0], True)
        found = torch.zeros_like(live, dtype=first.dtype)
        states, actions = paths.states[:, :-1][later], paths.actions[later]
        if len(states):
            found = found.masked_scatter(
                later, environment.log_forward(self.forward_raw(states, False), states, actions, False)
            )
        return torch.cat([first[:, None], found[:, 1:]], 1)

    def log_backward(self, paths: Paths) -> Tensor:
        """log_pb (batch, moves), 0 for the first move, for stops and beyond a path's length."""
        environment, moved = self.environment, paths.live
        moved = moved & ~environment.is_stop(paths.actions.flatten(0, 1)).view_as(moved)
        moved[:, 0] = False
        children, actions = paths.states[:, 1:][moved], paths.actions[moved]
        found = torch.zeros_like(moved, dtype=paths.states.dtype)
        if not len(children):
            return found
        return found.masked_scatter(moved, environment.log_backward(self.backward_raw(children), children, actions))

    def log_flow(self, paths: Paths, log_z: Tensor, log_reward: Tensor) -> Tensor:
        """log u of the states of each path (batch, moves + 1): log Z at s_0, log r at and beyond the end."""
        batch, columns = paths.states.shape[:2]
        place = torch.arange(columns, device=paths.states.device).expand(batch, -1)
        inside = (place > 0) & (place < paths.length[:, None])
        found = torch.where(place == 0, log_z, log_reward[:, None].expand(-1, columns))
        if self.flow_net is None or not bool(inside.any()):
            return found
        return found.masked_scatter(inside, self._flow(paths.states[inside]))

    def score(self, paths: Paths, log_z: Tensor) -> Trajectories:
        """Log densities and flows along `paths`, ready for any objective."""
        log_reward = self.environment.log_reward(paths.objects)
        flow = self.log_flow(paths, log_z, log_reward)
        return Trajectories(self.log_forward(paths), self.log_backward(paths), flow, paths.length, log_reward)

    def flow_balance(self, paths: Paths, log_z: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
        """log inflow and log outflow of the states that `paths` visit after s_0, and of their objects: each (states,).

        The inflow of a state is the integral of u(s) p_F(s, s') over kappa_b(s', ds), by a quadrature of so many
        nodes, or Z p_F(s_0, s') where only s_0 leads to it; the flow that leaves an object by its stop is u(s) p_F(s,
        stop) = r(s).
        """
        environment = self.environment
        live = paths.live & ~environment.is_stop(paths.actions.flatten(0, 1)).view_as(paths.live)
        states = paths.states[:, 1:][live]
        near = environment.from_source(states)
        actions, weight = environment.parents(states[~near], nodes)
        spread = states[~near].repeat_interleave(nodes, 0)
        taken = actions.flatten(0, 1)
        parents = environment.undo(spread, taken)
        edge = self._flow(parents) + environment.log_forward(self.forward_raw(parents, False), parents, taken, False)
        inflow = states.new_empty(len(states)).masked_scatter(~near, (edge.view_as(weight) + weight).logsumexp(1))
        source, first = environment.source(int(near.sum())), environment.first_action(states[near])
        inflow = inflow.masked_scatter(
            near, log_z + environment.log_forward(self.forward_raw(source, True), source, first, True)
        )
        raw, stop = self.forward_raw(states, False), environment.stop_action(states)
        ending = self._flow(states) + environment.log_forward(raw, states, stop, False)
        reward = environment.log_reward(states)
        return torch.cat([inflow, ending]), torch.cat([self._flow(states), reward])

    def _flow(self, states: Tensor) -> Tensor:
        assert self.flow_net is not None
        flows: Tensor = self.flow_net(self.environment.encode(states))[:, 0]
        return flows

    @torch.no_grad()
    def log_density(self, objects: Tensor, count: int = 32) -> Tensor:
        """Estimated log p(x) of each object, from `count` backward paths: (n,)."""
        repeated = objects.repeat_interleave(count, 0)
        weights = []
        for part in repeated.split(PART):
            paths = self.walk_back(part)
            weights.append(self.log_forward(paths).sum(1) - self.log_backward(paths).sum(1))
        return torch.cat(weights).view(len(objects), count).logsumexp(1) - math.log(count)

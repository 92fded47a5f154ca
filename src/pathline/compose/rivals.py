"""Rivals of the room's systems that have no entry of their own.

PathIntegralSampler   on-policy stochastic control of a diffusion: least KL(forward paths || target paths)
ReplayTB              trajectory balance on new trajectories and on replayed objects, the host of local search
"""

from typing import Any, ClassVar

import torch
from torch import Tensor

from pathline.compose.base import FlowComposer
from pathline.compose.contgfn import DensityComposer
from pathline.compose.policy import Paths, joined
from pathline.compose.replay import Replay
from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data.environment import Starts
from pathline.sims.environments.diffusion import Diffusion


class PathIntegralSampler(DensityComposer):
    """loss = E[sum log p_F - sum log p_B - log r(x_T)], differentiated through the path that noise and drift make.

    That is KL(p_F || p_B r) up to log Z: the path-wise objective of Zhang, Chen, 2022, "Path Integral Sampler",
    arXiv:2111.15141, with the same network, steps and rewards as the continuous GFlowNet that it is compared with.
    """

    def __init__(self, environment: dict[str, Any], width: int = 64, depth: int = 3, components: int = 1) -> None:
        super().__init__(environment, components, components, width, depth, flow=False)
        if not isinstance(self.environment, Diffusion):
            raise MethodError(
                f"{type(self).__name__} controls diffusions; {self.environment.name} is none: use contgfn"
            )

    def loss(self, batch: Starts) -> dict[str, Tensor]:
        environment = self.policy.environment
        assert isinstance(environment, Diffusion)
        self.reward_calls += len(batch)
        state, balance = environment.source(len(batch)), torch.zeros(len(batch))
        for move in range(environment.bound):
            raw = self.policy.forward_raw(state, move == 0)
            drift, deviation = environment.step_law(raw, state)
            action = drift + deviation * torch.randn_like(drift)
            child = environment.step(state, action)
            balance = balance + environment.log_forward(raw, state, action, move == 0)
            if move:
                balance = balance - environment.log_backward(raw, child, action)
            state = child
        return {"loss": (balance - environment.log_reward(state)).mean() + 0.0 * self.log_z}


class ReplayTB(FlowComposer):
    """One round a step: `batch_size` trajectories of the explorer, and as many to replayed objects by P_B.

    replay: "prioritised" or "uniform", see `Replay`

    log Z starts where the first trajectories put it.
    Shen et al., 2023, arXiv:2305.07170; trajectories to replayed objects are drawn anew and scored by today's policy.
    """

    recipe = Recipe(steps=600, batch_size=32, lr=1e-3, schedule="constant", clip=10.0, validations=5)
    rates: ClassVar[dict[str, float]] = {"log_z": 50.0}

    def __init__(
        self,
        environment: dict[str, Any],
        width: int = 128,
        depth: int = 2,
        objective: str = "tb",
        epsilon: float = 0.01,
        learn_backward: bool = True,
        replay: str = "prioritised",
    ) -> None:
        super().__init__(environment, width, depth, objective, epsilon=epsilon, learn_backward=learn_backward)
        if objective == "fm":
            raise MethodError(f"{type(self).__name__} learns from whole trajectories: choose objective tb, db or subtb")
        self.replay = Replay(self.policy.environment.width, scheme=replay)

    def explored(self, count: int) -> Paths:
        """`count` new trajectories, each of which asks for one reward."""
        return self.policy.draw(count, self.epsilon)

    @torch.no_grad()
    def start_log_z(self, paths: Paths) -> None:
        """log Z <- mean of log R + sum log P_B - sum log P_F over the first trajectories, its best value for them."""
        assert self.log_z is not None
        scored = self.policy.score(paths)
        self.log_z.fill_(float((scored.log_reward - scored.log_importance).mean()))

    def loss(self, batch: Starts) -> dict[str, Tensor]:
        paths = self.explored(len(batch))
        if self.log_z is not None and not len(self.replay):
            self.start_log_z(paths)
        log_rewards = self.policy.environment.log_reward(paths.ends)
        self.reward_calls += len(paths.ends)
        self.replay.add(paths.ends, log_rewards)
        again = self.replay.draw(len(batch))
        if len(again):
            paths = joined([paths, self.policy.draw_back(again)])
        return {"loss": self.balance(paths)}

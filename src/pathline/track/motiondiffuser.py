"""MotionDiffuser: one diffusion over the joint future of all agents, with exact log-probabilities and steering.

    x = d P (s - m) / deviation                      principal components of a future s in the agent's own frame
    D(x, sigma, C) = c_skip x + c_out F(c_in x, ln(sigma) / 4, C)                    x in R^(agents x components)
    loss    E lambda(sigma) |D(x + sigma n) - x|^2,  ln sigma ~ N(-1.2, 1.2^2)       and that is all
    sample  dx/dsigma = (x - D) / sigma by Heun's rule on the grid of Karras et al.
    log p(x) = log N(x_max; 0, sigma_max^2 + d^2) + integral div (x - D) / sigma d sigma
    steer   D' = D - lambda sigma g / rms(g),  g = grad_x L(decode(D)),              L on paths in the world
The denoiser attends across agents, who carry no index, and to the encoded past of all; `forecast` draws many joint
futures and keeps k that stand for them.

Use it where agents depend on each other, where samples should come with log-probabilities, or where futures must obey
something that was not known in training. A regressor of k answers is faster and hardly worse for the best of k alone.
Log-probabilities compare futures of one window only.

Jiang, Cornman, Park, Sapp, Zhou, Anguelov, 2023, "MotionDiffuser: Controllable Multi-Agent Motion Prediction using
Diffusion", arXiv:2306.03083 (no code is public).
Departs: there are no maps in this room; modes are weighed by counts (`modes.density_weights` weighs by density); how
gradients of costs are scaled is ours (`flow.cost_guidance`); 16 steps.
"""

from typing import Any

import torch
from torch import Tensor

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data.tracks import Encounters, Tracks
from pathline.flow.cost_guidance import Steering, steered
from pathline.flow.edm import Denoiser, NoiseSchedule, churned_walk, denoising_log_density, denoising_walk
from pathline.flow.paths import over
from pathline.nn.principal_components import PrincipalComponents
from pathline.track.agent_network import AgentNetwork, Context
from pathline.track.agents import AgentTracker, all_agents
from pathline.track.base import EVALUATION_BATCH, Futures, evaluating
from pathline.track.costs import PathCost
from pathline.track.modes import cluster_means, distances, representatives
from pathline.track.scene import Scene

VALIDATION_WINDOWS = 1024


class MotionDiffuser(AgentTracker):
    """Settings beside those of the network:

    components: of a future, at most horizon * dims
    steps, churn: of the sampler, and the new noise per sample (S_churn)
    draws:      joint futures that k are chosen from
    radius:     metres within which draws are one mode; None: half their median distance
    centre:     a mode is the "mean" of its cluster, or a "draw" of it
    joint:      whether the denoiser attends across agents; without it every agent is drawn by itself
    sigma_max:  largest noise level
    """

    recipe = Recipe(steps=4000, batch_size=64, lr=1e-3, weight_decay=0.01, warmup=50, ema=0.995)

    def __init__(
        self,
        dims: int,
        history: int,
        horizon: int,
        neighbours: int,
        interval: float,
        components: int = 10,
        width: int = 64,
        heads: int = 4,
        encoder_depth: int = 2,
        depth: int = 2,
        steps: int = 16,
        churn: float = 0.0,
        draws: int = 64,
        radius: float | None = None,
        centre: str = "mean",
        joint: bool = True,
        sigma_max: float = 80.0,
    ) -> None:
        super().__init__(dims, history, horizon, neighbours, interval)
        if centre not in ("mean", "draw"):
            raise MethodError(f"a mode is the 'mean' of its cluster or a 'draw' of it, not '{centre}'")
        if steps < 2 or draws < 1:
            raise MethodError(f"MotionDiffuser needs at least 2 steps and 1 draw, got {steps} and {draws}")
        components = min(components, horizon * dims)
        self.steps, self.churn, self.draws, self.radius, self.centre = steps, churn, draws, radius, centre
        self.schedule = NoiseSchedule(sigma_max=sigma_max)
        self.codec = PrincipalComponents(horizon * dims, components, self.schedule.sigma_data)
        self.network = AgentNetwork(
            history, dims, components, components, 1, width, heads, encoder_depth, depth, joint=joint, scored=False
        )

    def read(self, data: Tracks) -> None:
        super().read(data)
        rows = []
        for window in data.batches(EVALUATION_BATCH, shuffle=False):
            assert isinstance(window, Encounters)
            own, known = self.truth(window, self.scene(window))
            rows.append(own[known].flatten(1))
        self.codec.fit(torch.cat(rows))

    # -- diffusion ----------------------------------------------------------------------------------------------------

    def denoiser(self, context: Context, present: Tensor | None = None) -> Denoiser:
        """D(x, sigma), x: (batch, agents, components) or (batch, draws, agents, components); who is not `present`
        (batch, agents) stays as they are."""
        there = context.present if present is None else present

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            draws = x if x.ndim == 4 else x[:, None]
            level = sigma.to(x.dtype).expand(len(x))
            c = self.schedule.precondition(level)
            output = self.network(context, over(c.input, draws) * draws, c.noise, there)[0]
            guess = over(c.skip, draws) * draws + over(c.out, draws) * output
            guess = torch.where(there[:, None, :, None], guess, draws)
            return guess if x.ndim == 4 else guess[:, 0]

        return denoise

    def loss(self, batch: Encounters) -> Tensor:
        scene = self.scene(batch)
        own, known = self.truth(batch, scene)
        x = self.codec.encode(own.flatten(2)) * known[..., None]
        sigma = self.schedule.draw(len(x)).to(x.device)
        noisy = x + over(sigma, x) * torch.randn_like(x) * known[..., None]
        denoised = self.denoiser(self.network.encode(scene), known)(noisy, sigma)
        error = ((denoised - x).square().mean(-1) * known).sum(1) / known.sum(1)
        return (self.schedule.weight(sigma) * error).mean()

    @torch.no_grad()
    def score(self, data: Any, seed: int = 0) -> float:
        """The loss at fixed noise: sampling is too slow for early stopping."""
        part = self._windows_of(data)
        index = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))[:VALIDATION_WINDOWS]
        with evaluating(self), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            losses = [
                len(some) * self.loss(part.gather(some).to(self.device)) for some in index.split(EVALUATION_BATCH)
            ]
        return float(torch.stack(losses).sum() / len(index))

    # -- sampling -----------------------------------------------------------------------------------------------------

    def decode(self, x: Tensor, scene: Scene) -> Tensor:
        """Coefficients (batch, ..., agents, components) as paths (batch, ..., agents, horizon, dims) in the world."""
        return scene.to_world(self.codec.decode(x).unflatten(-1, (self.horizon, self.dims)))

    @torch.no_grad()
    def draw(
        self,
        past: Encounters,
        draws: int,
        generator: torch.Generator,
        cost: PathCost | None = None,
        steering: Steering | None = None,
        steps: int | None = None,
        start: Tensor | None = None,
    ) -> Tensor:
        """Coefficients of joint futures, (batch, draws, agents, components).

        cost:  of decoded paths, to sample with less of it; how much so: `steering`
        start: standard normal noise (batch, draws, agents, components) instead of that of `generator`
        """
        scene = self.scene(past)
        context = self.network.encode(scene)
        shape = (*scene.present.shape[:1], draws, scene.present.shape[1], len(self.codec.deviation))
        noise = torch.randn(shape, generator=generator, device=self.device) if start is None else start
        noise = self.schedule.sigma_max * noise * scene.present[:, None, :, None]
        steering = steering or Steering()
        levels = self.schedule.grid(steps or self.steps)
        if cost is None or not (steering.weight or steering.inner):
            return self._walk(self.denoiser(context), noise, levels, generator)
        many, wide = context.repeated(draws), _repeated(scene, draws)
        denoise = steered(
            self.denoiser(many), lambda x: cost(self.decode(x[:, None], wide)[:, 0], wide.present), steering
        )
        return self._walk(denoise, noise.flatten(0, 1), levels, generator).unflatten(0, shape[:2])

    def _walk(self, denoise: Denoiser, noise: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
        if self.churn:
            return churned_walk(denoise, noise, levels, self.churn, generator=generator).final
        return denoising_walk(denoise, noise, levels, keep="last").final

    @torch.no_grad()
    def log_probability(self, past: Encounters, x: Tensor, steps: int | None = None) -> Tensor:
        """log p(x | past) in nats of coefficients (batch, draws, agents, components), exactly but for the steps; add
        the codec's `log_volume` per agent for a density of paths."""
        draws = x.shape[1]
        context = self.network.encode(self.scene(past)).repeated(draws)
        there = context.present[:, :, None].expand(-1, -1, x.shape[3])
        values = denoising_log_density(
            self.denoiser(context), x.flatten(0, 1) * there, self.schedule, steps or self.steps, counted=there
        )
        return values.unflatten(0, (-1, draws))

    def futures(self, past: Encounters, k: int, generator: torch.Generator) -> Futures:
        """k joint futures that stand for `draws` of them."""
        scene = self.scene(past)
        paths = self.decode(self.draw(past, max(k, self.draws), generator), scene).cpu()
        positions, probability = modes_of(paths, scene.present.cpu(), k, self.radius, self.centre)
        return all_agents(positions.to(self.device), probability.to(self.device), scene)


def modes_of(
    paths: Tensor, present: Tensor, k: int, radius: float | None = None, centre: str = "mean"
) -> tuple[Tensor, Tensor]:
    """k modes of equally likely draws (batch, draws, agents, steps, dims): (batch, k, agents, steps, dims), likeliest
    first, and their probabilities (batch, k)."""
    weights = torch.full(paths.shape[:2], 1 / paths.shape[1])
    apart = distances(paths, present)
    modes, probability = representatives(apart, weights, k, radius)
    if centre == "mean":
        return cluster_means(paths, apart, weights, modes), probability
    return paths.gather(1, modes[:, :, None, None, None].expand(-1, -1, *paths.shape[2:])), probability


def _repeated(scene: Scene, draws: int) -> Scene:
    """Every window `draws` times in a row."""
    return Scene(*(getattr(scene, name).repeat_interleave(draws, 0) for name in scene.__dataclass_fields__))

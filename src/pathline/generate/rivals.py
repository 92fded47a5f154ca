"""Diffusion of categories, which Bayesian flow networks are compared with: uniform and absorbing.

    uniform    q(x_t | x) = a_t e_x + (1 - a_t) / K      a step draws x_s from sum_k q(x_s, x_t | k) p_theta(k | x_t)
      bound    E KL(q(x_s | x_t, x) | p_theta(x_s | x_t)) summed over T steps of t
    absorbing  q(x_t | x) = a_t e_x + (1 - a_t) e_mask   what is revealed stays
      bound    E_t -a'_t / (1 - a_t) sum over masked dimensions of -ln p_theta(x | x_t), whatever the schedule a_t

Austin, Johnson, Ho, Tarlow, van den Berg, 2021, "Structured Denoising Diffusion Models in Discrete State-Spaces",
arXiv:2107.03006 (D3PM); continuous time: Shi, Han, Wang, Doucet, Titsias, 2024, arXiv:2406.04329, and Sahoo et al.,
2024, arXiv:2406.07524. A mask enters the network as the belief 1/K, so that all three methods share one network.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pathline.core.method import Recipe
from pathline.flow.paths import over
from pathline.generate.base import Carried
from pathline.generate.categories import CategoryGenerator
from pathline.generate.flow_matching import check_choice, refuse_options

SCHEDULES = ("cosine", "linear")


class UniformDiffusion(CategoryGenerator):
    """D3PM with uniform noise; settings as for `CategoryGenerator`.

    schedule:  "cosine" or "linear" a_t
    diffusion: T, steps of the bound
    auxiliary: weight of -ln p_theta(x | x_t) added to the bound in training
    bayes:     whether a step draws from sum_k q(x_s | x_t, k) p_theta(k | x_t), which takes it for p(x | x_t); as
               published it does not, and the network has to say only what the other dimensions tell, which is easier
    """

    recipe = Recipe(steps=2500, batch_size=128, lr=1e-3, warmup=200, clip=1.0, ema=0.995)

    def __init__(
        self,
        shape: list[int],
        classes: int = 0,
        categories: int = 2,
        network: str = "auto",
        width: int | None = None,
        depth: int = 4,
        dropout: float = 0.0,
        schedule: str = "cosine",
        diffusion: int = 1000,
        auxiliary: float = 0.001,
        bayes: bool = False,
        steps: int = 32,
    ) -> None:
        super().__init__(shape, classes, categories, network, width, depth, dropout, steps)
        check_choice("schedule", schedule, SCHEDULES)
        self.schedule, self.diffusion, self.auxiliary = schedule, diffusion, auxiliary
        self.bayes = bayes

    def kept(self, t: Tensor) -> Tensor:
        """a_t, from 1 at t = 0 to 0 at t = 1."""
        if self.schedule == "linear":
            return 1 - t
        start = math.cos(math.pi / 2 * 0.008 / 1.008) ** 2
        return ((torch.cos(math.pi / 2 * (t + 0.008) / 1.008)).square() / start).clamp(0, 1)

    def backwards(self, now: Tensor, before: Tensor, s: Tensor, t: Tensor) -> Tensor:
        """q(x_s | x_t, x ~ before): (batch, *shape, K); now: x_t one-hot, before: probabilities of x.

        The same for a certain x, whether `bayes` or not.
        """
        a_s, a_t = over(self.kept(s), now), over(self.kept(t), now)
        ratio = torch.where(a_s > 0, a_t / a_s.clamp(min=1e-12), 0.0)
        forward = ratio * now + (1 - ratio) / self.categories  # q(x_t | x_s), as a function of x_s
        weights = before
        if self.bayes:
            weights = before / (a_t * now + (1 - a_t) / self.categories).clamp(min=1e-12)  # p(k) / q(x_t | k)
        found = forward * (a_s * weights + (1 - a_s) / self.categories * weights.sum(-1, keepdim=True))
        return found / found.sum(-1, keepdim=True)

    def sending_loss(self, x: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        i = (t * self.diffusion).floor().clamp(max=self.diffusion - 1) + 1
        t, s = i / self.diffusion, (i - 1) / self.diffusion
        clean = F.one_hot(x, self.categories).float()
        a_t = over(self.kept(t), clean)
        now = F.one_hot(drawn(a_t * clean + (1 - a_t) / self.categories), self.categories).float()
        guess = self.network(now, t, label).softmax(dim=-1)
        true, model = self.backwards(now, clean, s, t), self.backwards(now, guess, s, t)
        divergence = torch.xlogy(true, true) - true * model.clamp(min=1e-30).log()
        nats = self.diffusion * divergence.flatten(1).sum(1)
        if self.training and self.auxiliary:
            missed = -guess.clamp(min=1e-30).log().gather(-1, x[..., None])
            nats = nats + self.auxiliary * self.diffusion * missed.flatten(1).sum(1)
        return nats

    def carry(self, noise: Tensor, labels: Tensor | None, steps: int, keep: str = "last", **options: Any) -> Carried:
        refuse_options(self, options)
        shape = (*noise.shape, self.categories)
        now = drawn(torch.full(shape, 1 / self.categories, device=noise.device))
        states = [now.to(noise.dtype)]
        for i in range(steps, 0, -1):
            t, s = (torch.full((len(noise),), k / steps, device=noise.device) for k in (i, i - 1))
            seen = F.one_hot(now, self.categories).float()
            guess = self.network(seen, t, labels).softmax(dim=-1)
            now = drawn(self.backwards(seen, guess, s, t))
            states.append(now.to(noise.dtype))
        return Carried(torch.stack(states if keep == "all" else states[-1:]), steps)


class AbsorbingDiffusion(CategoryGenerator):
    """Masked diffusion in continuous time with a_t = 1 - t; settings as for `CategoryGenerator`."""

    recipe = UniformDiffusion.recipe

    def sending_loss(self, x: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        t = t.clamp(min=1e-4)
        hidden = torch.rand(x.shape, device=x.device) < over(t, x)
        theta = torch.where(hidden[..., None], 1 / self.categories, F.one_hot(x, self.categories).float())
        missed = -self.network(theta, t, label).log_softmax(dim=-1).gather(-1, x[..., None]).squeeze(-1)
        return (missed * hidden).flatten(1).sum(1) / t

    def carry(self, noise: Tensor, labels: Tensor | None, steps: int, keep: str = "last", **options: Any) -> Carried:
        """Reveal each masked dimension with probability (t - s) / t, as the network draws it."""
        refuse_options(self, options)
        theta = torch.full((*noise.shape, self.categories), 1 / self.categories, device=noise.device)
        hidden = torch.ones_like(noise, dtype=torch.bool)
        states = [expected_place(theta)]
        for i in range(steps, 0, -1):
            t = torch.full((len(noise),), i / steps, device=noise.device)
            guess = drawn(self.network(theta, t, labels).softmax(dim=-1))
            reveal = hidden & (torch.rand(noise.shape, device=noise.device) < 1 / i)
            theta = torch.where(reveal[..., None], F.one_hot(guess, self.categories).float(), theta)
            hidden = hidden & ~reveal
            states.append(expected_place(theta))
        return Carried(torch.stack(states if keep == "all" else states[-1:]), steps)


def drawn(probabilities: Tensor) -> Tensor:
    """One category per row: (..., K) -> (...) int64."""
    flat = probabilities.flatten(0, -2)
    return torch.multinomial(flat, 1).reshape(probabilities.shape[:-1])


def expected_place(theta: Tensor) -> Tensor:
    """Mean place of a belief: (..., K) -> (...); exact for a certain one."""
    return theta @ torch.arange(theta.shape[-1], dtype=theta.dtype, device=theta.device)

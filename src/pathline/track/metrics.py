"""How far off, how dense, how safe: metrics of forecast paths, all in metres and nats.

    ADE = mean_t |x_t - y_t|,   FDE = |x_T - y_T|,   minADE_k, minFDE_k: the best of k futures, each by itself
    NLL = - mean_t log p_t(y_t), the density of every step by itself, in nats per step
Pellegrini, Ess, Schindler, van Gool, 2009, "You'll never walk alone" (ADE, FDE); Gupta et al., 2018, "Social GAN",
arXiv:1803.10892 (best of k).
"""

import torch
from torch import Tensor


def displacement(futures: Tensor, truth: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Average and final distance over the observed steps; nan where there is none.

    futures: (batch, k, agents, horizon, dims), truth: (batch, agents, horizon, dims), observed: (batch, agents,
    horizon) -> (batch, k, agents) each. "Final" is the last observed step.
    """
    distance = (futures - truth[:, None]).norm(dim=-1)
    seen = observed[:, None].to(distance.dtype).expand_as(distance)
    average = (distance * seen).sum(-1) / seen.sum(-1)
    last = (seen * torch.arange(1, seen.shape[-1] + 1, dtype=seen.dtype, device=seen.device)).argmax(-1)
    final = distance.gather(-1, last[..., None])[..., 0]
    return average, torch.where(seen.any(-1), final, torch.nan)


def collisions(paths: Tensor, others: Tensor, observed: Tensor, radius: float) -> Tensor:
    """Whether a path comes nearer than `radius` to anybody, also between two steps.

    paths: (..., horizon, dims), others: (..., agents, horizon, dims), observed: (..., agents, horizon) -> (...) bool.
    Between steps both move in straight lines, so the smallest distance of each step has a closed form.
    """
    gap = others - paths.unsqueeze(-3)
    start, change = gap[..., :-1, :], gap.diff(dim=-2)
    share = -(start * change).sum(-1) / change.square().sum(-1).clamp(min=1e-12)
    nearest = (start + share.clamp(0, 1)[..., None] * change).norm(dim=-1)
    both = observed[..., 1:] & observed[..., :-1]
    close = ((nearest < radius) & both).flatten(-2).any(-1)
    return close | ((gap.norm(dim=-1) < radius) & observed).flatten(-2).any(-1)


def diversity(futures: Tensor) -> Tensor:
    """Mean distance between two different futures of the target, over its steps: (batch, k, horizon, dims) -> (batch,).

    0 for a single future.
    """
    k = futures.shape[1]
    distance = (futures[:, :, None] - futures[:, None]).norm(dim=-1).mean(-1)
    return distance.sum((1, 2)) / max(1, k * (k - 1))


def coverage_levels(truth: Tensor, samples: Tensor) -> Tensor:
    """The share of samples that are denser than the truth: uniform on [0, 1] for a calibrated density.

    truth: (batch, horizon) log-densities of what happened, samples: (batch, k, horizon) of draws -> (batch, horizon).
    Half of the ties count.
    """
    denser = (samples > truth[:, None]).double() + 0.5 * (samples == truth[:, None]).double()
    return denser.mean(1)


def calibration_error(levels: Tensor, bins: int = 10) -> Tensor:
    """mean over nominal levels q = 1/bins .. 1 - 1/bins of |share of `levels` at most q  -  q|; 0 is calibrated.

    The region of the q densest samples should hold the truth a share q of the time.
    """
    nominal = torch.arange(1, bins, dtype=torch.float64, device=levels.device) / bins
    covered = (levels.double().flatten()[:, None] <= nominal).double().mean(0)
    return (covered - nominal).abs().mean()

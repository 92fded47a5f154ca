"""Classifier-free guidance: one network with and without its label, and the difference exaggerated.

    v = (1 + w) v(x, t | c) - w v(x, t | null)

Ho, Salimans, 2022, "Classifier-Free Diffusion Guidance", arXiv:2207.12598; for velocities Zheng et al., 2023,
arXiv:2311.13443.
"""

import torch
from torch import Tensor

from pathline.flow.velocity import Velocity, VelocityNetwork, as_velocity


def drop_labels(label: Tensor, null: int, probability: float = 0.1, generator: torch.Generator | None = None) -> Tensor:
    """Labels (batch,), each replaced by the null class with the given probability; a new tensor."""
    dropped = torch.rand(label.shape, generator=generator).to(label.device) < probability
    return label.masked_fill(dropped, null)


def guided_velocity(net: VelocityNetwork, label: Tensor, null: int, weight: float) -> Velocity:
    """v(x, t) = (1 + w) v_label - w v_null for a solver.

    label: (batch,) int64; null: index of the null class; weight: w, where 0 is the plain conditional velocity

    Both halves pass as one batch of twice the size: a solver counts one evaluation, the work is that of two.
    """
    if weight == 0.0:
        return as_velocity(net, label)
    labels = torch.cat([label, torch.full_like(label, null)])

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        conditional, unconditional = as_velocity(net, labels)(torch.cat([x, x]), t).chunk(2)
        return (1.0 + weight) * conditional - weight * unconditional

    return velocity

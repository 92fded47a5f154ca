"""Mean flows: learn the average velocity over an interval, and cross the interval in one network call.

    u(z, t, r) = 1/(r - t) integral_t^r v(z_s, s) ds         identity:  u = v + (r - t) du/dt
    du/dt = v . grad_z u + partial_t u, r held fixed         z_r = z_t + (r - t) u(z_t, t, r)

Geng, Deng, Bai, Kolter, He, 2025, "Mean Flows for One-step Generative Modeling", arXiv:2505.13447.
Departs: time runs from noise (0) to data (1), so the paper's laws of time are mirrored. The squared error is
a mean over the dimensions of a sample, not a sum, so at p = 1 the paper's constant c is c / dims here. The
Jacobian-vector product is taken without a graph and only where r != t: the same numbers at a fraction of the
cost.
"""

import copy
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import jvp

from pathline.flow.paths import OptimalTransport, over
from pathline.flow.velocity import VelocityNetwork, squared_error

STRAIGHT = OptimalTransport(s_min=0.0)


def interval_times(
    count: int,
    distinct: float = 0.25,
    mean: float = 0.4,
    deviation: float = 1.0,
    reversed_share: float = 0.0,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """t <= r, each (count,): two logit-normal draws in order, then r = t except with probability `distinct`.

    mean, deviation: of the normal under the sigmoid; N(-0.4, 1) in the paper's time is N(+0.4, 1) in ours
    distinct:        0.25 for the paper's ImageNet models; the authors' CIFAR-10 recipe uses 0.75
    reversed_share:  probability of swapping a pair, which trains the network to run from data to noise too
    """
    drawn = torch.sigmoid(torch.randn(2, count, generator=generator) * deviation + mean)
    t, r = drawn.amin(dim=0), drawn.amax(dim=0)
    chance, swap = torch.rand(2, count, generator=generator)
    # As in the authors' code, an empty interval sits at the noisier of the two draws.
    r = torch.where(chance < distinct, r, t)
    return torch.where(swap < reversed_share, r, t), torch.where(swap < reversed_share, t, r)


def total_derivative(
    net: VelocityNetwork, z: Tensor, t: Tensor, r: Tensor, velocity: Tensor, label: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """u(z, t, r) and du/dt = v . grad_z u + partial_t u in one forward-mode pass, outside autocast."""

    def u(z: Tensor, t: Tensor, r: Tensor) -> Tensor:
        return net(z, t, r, label)

    with torch.autocast(z.device.type, enabled=False):
        dual: Any = jvp(u, (z, t, r), (velocity, torch.ones_like(t), torch.zeros_like(r)))
    return dual[0], dual[1]


@torch.no_grad()
def mean_velocity_target(
    net: VelocityNetwork, z: Tensor, t: Tensor, r: Tensor, velocity: Tensor, label: Tensor | None = None
) -> Tensor:
    """v + (r - t) du/dt, a constant; rows with r = t are v itself and cost nothing.

    z, velocity: (batch, ...); t, r: (batch,); label: (batch,) or None
    """
    (rows,) = torch.nonzero(r != t, as_tuple=True)
    if not len(rows):
        return velocity
    labels = None if label is None else label[rows]
    _, derivative = total_derivative(net, z[rows], t[rows], r[rows], velocity[rows], labels)
    step = over(r - t, z)[rows] * derivative
    return velocity.index_add(0, rows, step.to(velocity.dtype))


@torch.no_grad()
def guided_target_velocity(
    net: VelocityNetwork,
    z: Tensor,
    t: Tensor,
    velocity: Tensor,
    label: Tensor,
    null: int,
    omega: float,
    kappa: float = 0.0,
) -> Tensor:
    """omega v + kappa u(z, t, t | label) + (1 - omega - kappa) u(z, t, t | null): guidance inside the field.

    One network call then samples with guidance, at the effective scale omega / (1 - kappa). Rows whose label
    is the null class keep v: there is nothing to guide towards.

    z, velocity: (batch, ...); t: (batch,); label: (batch,) int64, after dropping; null: the null class
    """
    if kappa == 1.0:
        raise ValueError("kappa must not be 1: the effective scale omega / (1 - kappa) would be infinite")
    guided = omega * velocity + (1.0 - omega - kappa) * net(z, t, t, torch.full_like(label, null))
    if kappa:
        guided = guided + kappa * net(z, t, t, label)
    return torch.where(over(label == null, z), velocity, guided)


class MeanVelocityLoss(NamedTuple):
    """loss: the scalar to minimise; error: (batch,) the plain squared error, the one worth watching."""

    loss: Tensor
    error: Tensor


def mean_velocity_loss(
    net: VelocityNetwork,
    x0: Tensor,
    x1: Tensor,
    t: Tensor,
    r: Tensor,
    label: Tensor | None = None,
    null: int | None = None,
    omega: float = 1.0,
    kappa: float = 0.0,
    power: float = 1.0,
    constant: float = 1e-3,
) -> MeanVelocityLoss:
    """E[w D] with D = |u(z, t, r) - sg(v + (r - t) du/dt)|^2 / dims and w = sg(1 / (D + c)^p).

    z = (1 - t) x0 + t x1 and v = x1 - x0, the conditional velocity: the identity is linear in v, so its mean
    is the marginal one. sg stops gradients: no second derivatives, and no graph through the jvp.

    x0, x1:       noise and data (batch, ...); t, r: (batch,) from `interval_times`
    label:        (batch,) int64, after dropping
    omega, kappa: see `guided_target_velocity`; omega = 1 and kappa = 0 is no guidance
    power:        p = 1 weighs every sample alike, so the loss stays near 1 for ever: watch `error`. p = 0 is
                  the plain squared error, and with r = t that is flow matching
    constant:     c, which keeps the weight of a perfect sample finite
    """
    z, velocity = STRAIGHT.sample(x0, x1, t), STRAIGHT.target(x0, x1, t)
    if omega != 1.0 or kappa:
        if label is None or null is None:
            raise ValueError("guidance (omega, kappa) needs labels and the index of the null class")
        velocity = guided_target_velocity(net, z, t, velocity, label, null, omega, kappa)
    target = mean_velocity_target(net, z, t, r, velocity, label)
    error = squared_error(net(z, t, r, label), target)
    detached = error.detach()
    return MeanVelocityLoss((error / (detached + constant) ** power).mean(), detached)


def error_by_interval(error: Tensor, t: Tensor, r: Tensor, edges: Sequence[float] = (0.25, 0.5)) -> dict[str, Tensor]:
    """Mean error of the samples with r = t, and by |r - t| in (0, 0.25], (0.25, 0.5], (0.5, 1].

    error, t, r: (batch,). An interval without samples gives NaN.
    """
    length = (r - t).abs()
    bounds = [0.0, *edges, 1.0]
    bins = {"error r=t": length == 0}
    for low, high in itertools.pairwise(bounds):
        bins[f"error {low:g}-{high:g}"] = (length > low) & (length <= high)
    return {name: (error * rows).sum() / rows.sum() for name, rows in bins.items()}


@torch.no_grad()
def sample_mean_velocity(
    net: VelocityNetwork, x: Tensor, times: Tensor | Sequence[float] = (0.0, 1.0), label: Tensor | None = None
) -> Tensor:
    """x <- x + (r - t) u(x, t, r) over consecutive nodes: one network call per interval, by default one.

    x: (batch, ...) at times[0] -> (batch, ...) at times[-1]; label: (batch,) or None

    Decreasing times swap the ends and invert the flow; ask that of a network that was trained with
    `reversed_share` > 0. The same network is an ODE through `as_velocity`.
    """
    nodes = torch.as_tensor(times, dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
    for t, r in itertools.pairwise(nodes):
        x = x + (r - t) * net(x, t.expand(len(x)), r.expand(len(x)), label)
    return x


def check_jvp(
    net: nn.Module, x: Tensor, label: Tensor | None = None, step: float = 1e-5, tolerance: float = 1e-3
) -> float:
    """Relative gap between the forward-mode du/dt of a network and a central finite difference.

    Call it once before training. A kernel without a forward-mode rule stops here; dropout, or a layer whose
    rule is wrong, would give targets that train to something blurry. It works on a copy: in float64, because
    a difference in float32 shows nothing, and with perturbed weights, because a fresh network may be 0.

    x: (batch, ...), a few samples; label: (batch,) int64 or None
    Raises ValueError with a hint when there is no rule or the gap exceeds `tolerance`.
    """
    hint = (
        "Mean flows differentiate the network forwards: switch fused attention off with "
        "pathline.nn.set_math_attention(net), set dropout to 0, and give custom functions a jvp"
    )
    generator = torch.Generator().manual_seed(0)
    double = copy.deepcopy(net).double()
    with torch.no_grad():
        for parameter in double.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.05 * noise.to(parameter.device))
    z = x.double()
    draw = torch.rand(2, len(x), generator=generator, dtype=torch.float64).to(x.device)
    t, r = 0.05 + 0.4 * draw[0], 0.5 + 0.4 * draw[1]
    direction = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device)
    with torch.no_grad():
        try:
            _, forward = total_derivative(double, z, t, r, direction, label)
        except (NotImplementedError, RuntimeError) as error:
            raise ValueError(f"the network has no forward-mode derivative: {error}. {hint}") from error
        ahead = double(z + step * direction, t + step, r, label)
        behind = double(z - step * direction, t - step, r, label)
    difference = (ahead - behind) / (2 * step)
    gap = float((forward - difference).norm() / difference.norm().clamp_min(1e-12))
    if not gap <= tolerance:
        raise ValueError(f"the forward-mode derivative is off by {gap:.1%} from a finite difference. {hint}")
    return gap

"""Optimal transport between weighted point clouds: exact, entropic, and with masses that may be created or lost.

    min_pi <pi, C> + eps sum pi (log pi - 1) + tau_1 KL(pi 1 | a) + tau_2 KL(pi^T 1 | b)

tau = inf is a hard marginal: both hard is balanced transport, the source relaxed and the target hard is semi-relaxed
transport. Solved by generalised Sinkhorn iterations on the potentials f = eps log u and g = eps log v, in logarithms:

    u <- (a / K v)^(tau_1 / (tau_1 + eps)),    v <- (b / K^T u)^(tau_2 / (tau_2 + eps)),    K = exp(-C / eps)

Cuturi, 2013, arXiv:1306.0895; Chizat, Peyre, Schmitzer, Vialard, 2018, "Scaling algorithms for unbalanced optimal
transport problems", arXiv:1607.05816; the divergence without entropic bias: Feydy et al., 2019, arXiv:1810.08278.
Exact plans are POT's network simplex. POT's unbalanced solvers multiply exponentials, which underflow where eps is
small against C; where they do not, the plans are equal (tested).
"""

import math

import ot
import torch
from torch import Tensor

ITERATIONS = 5000
COOLING = 0.5  # eps starts at the largest cost and is multiplied by this, which saves most iterations at small eps
ABSORB_EVERY = 20  # iterations on a kernel that has absorbed the potentials, between two in logarithms


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """C_ij = |x_i - y_j|^2: (n, d), (m, d) -> (n, m)."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()


@torch.no_grad()
def entropic_potentials(
    cost: Tensor,
    a: Tensor,
    b: Tensor,
    epsilon: float,
    tau_source: float = math.inf,
    tau_target: float = math.inf,
    tolerance: float = 1e-10,
    iterations: int = ITERATIONS,
) -> tuple[Tensor, Tensor]:
    """f: (n,) and g: (m,), float64, of the problem above; cost: (n, m), a: (n,), b: (m,) positive masses.

    Stops when no row sum of the plan changes by more than `tolerance` of its value in twenty iterations.
    Raises ValueError when hard marginals carry different masses, or a mass or parameter is not positive.
    """
    cost, a, b = cost.double(), a.double(), b.double()
    if not (epsilon > 0 and tau_source > 0 and tau_target > 0 and bool((a > 0).all()) and bool((b > 0).all())):
        raise ValueError("masses, epsilon and tau must be above 0")
    if math.isinf(tau_source) and math.isinf(tau_target) and not torch.isclose(a.sum(), b.sum(), rtol=1e-6):
        raise ValueError(f"hard marginals need equal masses, got {float(a.sum()):g} and {float(b.sum()):g}")
    f, g = torch.zeros_like(a), torch.zeros_like(b)
    eps = max(epsilon, float(cost.max()) * COOLING)
    while True:
        final = eps <= epsilon
        f, g = _iterate(cost, a, b, f, g, eps, tau_source, tau_target, tolerance, iterations if final else ABSORB_EVERY)
        if final:
            return f, g
        eps = max(epsilon, eps * COOLING)


def _iterate(
    cost: Tensor,
    a: Tensor,
    b: Tensor,
    f: Tensor,
    g: Tensor,
    eps: float,
    tau_source: float,
    tau_target: float,
    tolerance: float,
    iterations: int,
) -> tuple[Tensor, Tensor]:
    """Sinkhorn iterations at one eps, the target's update last, so that a hard target is met exactly."""
    power_a = 1.0 if math.isinf(tau_source) else tau_source / (tau_source + eps)
    power_b = 1.0 if math.isinf(tau_target) else tau_target / (tau_target + eps)
    log_a, log_b, kernel = a.log(), b.log(), cost / -eps
    columns = kernel.T.contiguous()
    phi, psi = f / eps, g / eps
    before = torch.full_like(a, math.inf)
    for _ in range(math.ceil(iterations / ABSORB_EVERY)):
        phi = power_a * (log_a - torch.logsumexp(kernel + psi, 1))
        psi = power_b * (log_b - torch.logsumexp(columns + phi, 1))
        near, far = phi, psi
        plan = torch.exp(kernel + phi[:, None] + psi)
        u, v = torch.ones_like(phi), torch.ones_like(psi)
        target_a, target_b = power_a * (log_a + phi) - phi, power_b * (log_b + psi) - psi
        for _ in range(ABSORB_EVERY - 1):  # the same two updates relative to the potentials above, without exponentials
            u = torch.exp(target_a - power_a * torch.log(plan @ v))
            v = torch.exp(target_b - power_b * torch.log(u @ plan))
        phi, psi = near + u.log(), far + v.log()
        if not bool(torch.isfinite(phi).all() & torch.isfinite(psi).all()):  # out of range: keep the logarithms' result
            phi, psi = near, far
        rows = u * (plan @ v)
        if bool(((rows - before).abs() <= tolerance * rows).all()):
            break
        before = rows
    return phi * eps, psi * eps


def entropic_plan(
    cost: Tensor,
    a: Tensor,
    b: Tensor,
    epsilon: float,
    tau_source: float = math.inf,
    tau_target: float = math.inf,
    tolerance: float = 1e-10,
    iterations: int = ITERATIONS,
) -> Tensor:
    """The plan (n, m), float64; arguments as in `entropic_potentials`."""
    f, g = entropic_potentials(cost, a, b, epsilon, tau_source, tau_target, tolerance, iterations)
    return torch.exp((f[:, None] + g - cost.double()) / epsilon)


def exact_plan(cost: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The cheapest plan (n, m), float64, between a: (n,) and b: (m,) of equal mass."""
    source, target = a.detach().double().cpu(), b.detach().double().cpu()
    target = target * (source.sum() / target.sum())  # equal but for rounding, which the simplex does not forgive
    plan = ot.emd(source.numpy(), target.numpy(), cost.detach().double().cpu().numpy(), numItermax=2_000_000)
    return torch.as_tensor(plan, device=cost.device)


def wasserstein(x: Tensor, y: Tensor, a: Tensor | None = None, b: Tensor | None = None, power: int = 1) -> float:
    """W_p = (min_pi sum pi_ij |x_i - y_j|^p)^(1/p) between clouds of weights a, b (uniform by default), normalised."""
    a = _normalised(a, x)
    b = _normalised(b, y)
    distance = torch.cdist(x.detach().double(), y.detach().double(), compute_mode="donot_use_mm_for_euclid_dist")
    cost = distance**power
    return float((exact_plan(cost, a, b) * cost).sum().clamp(min=0) ** (1 / power))


def transport_cost(x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """W_1 between weighted clouds as a loss: exact, with a gradient in x and y through the distances.

    x: (n, d), y: (m, d); weights a: (n,), b: (m,), normalised here, get no gradient.
    """
    distance = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    plan = exact_plan(distance, _normalised(a, x), _normalised(b, y))
    return (plan.to(x.dtype) * distance).sum()


def sinkhorn_divergence(x: Tensor, y: Tensor, a: Tensor, b: Tensor, epsilon: float) -> Tensor:
    """S = OT(x, y) - OT(x, x)/2 - OT(y, y)/2 for squared distances, with a gradient in points and in weights.

    Differentiated by the envelope theorem: dOT/dC is the plan and dOT/da the potential f, so no iteration is unrolled.
    """
    a, b = _normalised(a, x), _normalised(b, y)
    within = _entropic_cost(x, x, a, a, epsilon) + _entropic_cost(y, y, b, b, epsilon)
    return _entropic_cost(x, y, a, b, epsilon) - within / 2


def _entropic_cost(x: Tensor, y: Tensor, a: Tensor, b: Tensor, epsilon: float) -> Tensor:
    cost = squared_distances(x, y)
    f, g = entropic_potentials(cost.detach(), a.detach(), b.detach(), epsilon, tolerance=1e-6, iterations=500)
    plan = torch.exp((f[:, None] + g - cost.detach().double()) / epsilon).to(x.dtype)
    return (f.to(x.dtype) * a).sum() + (g.to(x.dtype) * b).sum() + (plan * (cost - cost.detach())).sum()


def _normalised(weights: Tensor | None, points: Tensor) -> Tensor:
    if weights is None:
        return points.new_full((len(points),), 1 / len(points))
    return weights / weights.sum()


def sample_pairs(plan: Tensor, count: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """`count` pairs (i, j) with probability pi_ij / sum pi, independent of each other; (count,) int64 each."""
    cumulative = plan.double().flatten().cumsum(0)
    place = torch.rand(count, generator=generator, dtype=torch.float64).to(plan.device) * cumulative[-1]
    index = torch.searchsorted(cumulative, place, right=True).clamp(max=plan.numel() - 1)
    return index // plan.shape[1], index % plan.shape[1]


def barycentric_map(plan: Tensor, y: Tensor) -> Tensor:
    """Where each source goes in the mean, T(x_i) = sum_j pi_ij y_j / sum_j pi_ij: (n, m), (m, d) -> (n, d)."""
    rows = plan.sum(1, keepdim=True)
    return (plan / rows.clamp(min=torch.finfo(plan.dtype).tiny)).to(y.dtype) @ y


def relative_mass_error(log_weights: Tensor, mass: float) -> float:
    """|sum_i w_i - M| / M of a cloud that began with total weight 1: log_weights (n,) are log(n w_i)."""
    return abs(float(log_weights.double().exp().mean()) - mass) / mass

"""Flow matching with K answers at once, of which only the best learns.

    Y_t = (1 - t) Y_0 + t Y_1      Y_0 ~ N(0, I) (K, agents, ...), Y_1 the one truth, K times
    S_1..K, zeta_1..K = D(Y_t, t)  predictions of the data and their scores
    loss  w(t) min_k ||S_k - Y_1|| - log softmax(zeta)_argmin
    dY/dt = (D(Y_t, t) - Y_t) / (1 - t)            Euler's last step from t = 1 - 1/n returns D itself
The other K - 1 answers stay free, so they spread over what else could happen; the scores learn which one will win.

A network F is read as data in one of three ways (F: the output, d: deviation of the data):
    direct     D = F                    w = 1
    velocity   D = Y_t + (1 - t) F      w = 1 / (1 - t)^2
    scaled     D = a Y_t + b F          w = 1 / b^2      a = t d^2 / c, b = (1 - t) d / c^1/2, c = (t d)^2 + (1 - t)^2
with w between 1e-4 and 1e4, or its root. Near the data Y_t gives the answer away, so training hides it with probability
1 / (1 + exp(-20 (t - 1/2))).

Fu, Yan, Wang, Li, Liao, 2025, "MoFlow", arXiv:2503.09950; the widths of w, the law of t and of the hiding as in the
authors' code. Reading as data: Karras et al., 2022, arXiv:2206.00364, on a straight path.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pathline.flow.paths import OptimalTransport, over
from pathline.ode import integrate, time_grid

READINGS = ("direct", "velocity", "scaled")
STRAIGHT = OptimalTransport(s_min=0.0)
LIGHTEST, HEAVIEST = 1e-4, 1e4

Answers = tuple[Tensor, Tensor]  # data (batch, K, agents, ...), scores (batch, K, agents)


class BestOf(NamedTuple):
    """regression, classification: scalars; winner: (batch, agents) int64 of the answer that learned."""

    regression: Tensor
    classification: Tensor
    winner: Tensor


@dataclass(frozen=True)
class Reading:
    """How an output F is read as data, and how much an error then weighs."""

    kind: Literal["direct", "velocity", "scaled"] = "direct"
    deviation: float = 0.13
    root: bool = False

    def __post_init__(self) -> None:
        if self.kind not in READINGS:
            raise ValueError(f"an output is read as data in one of the ways {', '.join(READINGS)}, not '{self.kind}'")

    def _scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        total = (t * self.deviation).square() + (1 - t).square()
        return t * self.deviation**2 / total, (1 - t) * self.deviation / total.sqrt()

    def data(self, output: Tensor, y: Tensor, t: Tensor) -> Tensor:
        """D; output, y: (batch, ...), t: (batch,)."""
        if self.kind == "direct":
            return output
        wide = over(t, y)
        if self.kind == "velocity":
            return y + (1 - wide) * output
        keep, scale = self._scales(wide)
        return keep * y + scale * output

    def weight(self, t: Tensor) -> Tensor:
        """w(t), (batch,)."""
        if self.kind == "direct":
            return torch.ones_like(t)
        weight = (1 - t if self.kind == "velocity" else self._scales(t)[1]).square().reciprocal()
        return (weight.sqrt() if self.root else weight).clamp(LIGHTEST, HEAVIEST)


def logit_normal_times(count: int, mean: float = -0.5, deviation: float = 1.5) -> Tensor:
    """t = sigmoid(n), n ~ N(mean, deviation^2), from the global generator: (count,) float32."""
    return torch.sigmoid(mean + deviation * torch.randn(count))


def hidden(t: Tensor, steepness: float = 20.0, middle: float = 0.5) -> Tensor:
    """Whether each sample's Y_t is hidden, with a probability that grows with t: (batch,) bool."""
    return torch.rand(t.shape, device=t.device) < torch.sigmoid(steepness * (t - middle))


def best_of_loss(
    answers: Tensor,
    scores: Tensor,
    truth: Tensor,
    known: Tensor,
    weight: Tensor,
    by: str = "agent",
    squared: bool = False,
) -> BestOf:
    """The best answer of each agent (or of each scene) regresses on the truth; scores learn which it is.

    answers: (batch, K, agents, steps, dims); scores: (batch, K, agents); truth: (batch, agents, steps, dims)
    known:   (batch, agents) bool, whose truth counts; weight: (batch,)
    squared: squared distances instead of distances; both are summed over the steps
    """
    apart = answers - truth[:, None]
    distance = apart.square().sum(-1) if squared else torch.linalg.vector_norm(apart, dim=-1)
    error = distance.sum(-1) * known[:, None]  # (batch, K, agents)
    share = known / known.sum(1, keepdim=True).clamp(min=1)
    if by == "scene":
        winner = (error * share[:, None]).sum(-1).argmin(1)
        winners = winner[:, None].expand(-1, known.shape[1])
        nats = F.cross_entropy((scores * share[:, None]).sum(-1), winner, reduction="none")
    elif by == "agent":
        winners = error.argmin(1)
        nats = (F.cross_entropy(scores, winners, reduction="none") * share).sum(1)
    else:
        raise ValueError(f"the best answer is chosen by agent or by scene, not by '{by}'")
    least = error.gather(1, winners[:, None])[:, 0]
    return BestOf((weight * (least * share).sum(1)).mean(), nats.mean(), winners)


@torch.no_grad()
def walk_to_data(
    predict: Callable[[Tensor, Tensor], Answers], noise: Tensor, steps: int = 10
) -> tuple[Tensor, Tensor, int]:
    """Euler's method along (D - Y) / (1 - t) from noise at t = 0 in `steps` calls of predict(y, t of no dimension):
    the data, the scores of the last call, and the calls."""
    last: list[Tensor] = []

    def velocity(y: Tensor, t: Tensor) -> Tensor:
        data, scores = predict(y, t)
        last[:] = [scores]
        return STRAIGHT.velocity_from_data(y, data, t)

    walk = integrate(velocity, noise, time_grid(steps), "euler", keep="last")
    return walk.final, last[0], walk.evaluations

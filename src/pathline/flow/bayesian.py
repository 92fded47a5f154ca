"""Bayesian flows: a belief about data that noisy messages sharpen, and what it costs to send them.

A sender knows x and sends y ~ p_S(y | x; alpha); a receiver holds a belief theta about each dimension alone, lets a
network see all of them at once, expects y ~ p_R, a mixture of p_S over what the network thinks x is, and updates theta
by Bayes' rule. Accuracies add up: beta(t) is what was sent up to t. A message costs KL(p_S | p_R) nats.

    numbers x in [-1, 1]  p_S = N(x, 1/alpha)                     theta = (mu, rho), (0, 1) at first
      rho' = rho + alpha,  mu' = (rho mu + alpha y) / rho'        beta = s^-2t - 1,  gamma = 1 - s^2t,  s = deviation
      mu_t ~ N(gamma x, gamma (1 - gamma))                        x^ = mu/gamma - ((1 - gamma)/gamma)^1/2 eps^
      L_inf = -ln(s) E_t s^-2t |x - x^|^2,     L_n = n/2 (1 - s^2/n) E_i s^-2i/n |x - x^|^2 at t = (i - 1)/n
    K categories          p_S = N(alpha (K e_x - 1), alpha K I)   theta = 1/K at first
      theta' = softmax(y + ln theta)                              beta = t^2 beta_1
      theta_t = softmax(N(beta (K e_x - 1), beta K I))            L_inf = K beta_1 E_t t |e_x - e^|^2

Graves, Srivastava, Atkinson, Gomez, 2023, "Bayesian Flow Networks", arXiv:2308.07037.

Everywhere x, mu: (batch, ...); theta, y and probabilities of categories: (batch, ..., K); t and accuracies: (batch,) or
without dimension. Losses are nats per sample, (batch,). Noise comes from torch's global generator.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pathline.flow.paths import over

EARLIEST = 1e-6  # before this the belief says nothing, and the network's word on the noise is not asked
LEAST_DEVIATION, LARGEST_DEVIATION = 1e-3, 10.0  # of the law that a network gives a number on a grid


def _total(per_dimension: Tensor) -> Tensor:
    return per_dimension.flatten(1).sum(dim=1)


@dataclass(frozen=True)
class GaussianBayesianFlow:
    """Messages about numbers in [-1, 1]; `deviation` is that of the belief at t = 1."""

    deviation: float

    def known(self, t: Tensor) -> Tensor:
        """gamma(t) = beta / (1 + beta), the weight of the messages in mu, from 0 to nearly 1."""
        return -torch.expm1(2 * math.log(self.deviation) * t)

    def accuracy(self, i: Tensor, rounds: int) -> Tensor:
        """alpha_i of message i = 1 .. rounds; they add up to beta(1)."""
        return self.deviation ** (-2 * i / rounds) * (1 - self.deviation ** (2 / rounds))

    def belief(self, x: Tensor, t: Tensor) -> Tensor:
        """mu after all messages up to t."""
        known = over(self.known(t), x)
        return known * x + (known * (1 - known)).sqrt() * torch.randn_like(x)

    def message(self, x: Tensor, accuracy: Tensor) -> Tensor:
        """y ~ N(x, 1 / alpha)."""
        return x + over(accuracy, x).rsqrt() * torch.randn_like(x)

    def update(self, mean: Tensor, precision: Tensor, y: Tensor, accuracy: Tensor) -> tuple[Tensor, Tensor]:
        """Bayes' rule for a normal belief: (mu, rho) after y; precisions: (batch,) or without dimension."""
        total = precision + accuracy
        return (over(precision, mean) * mean + over(accuracy, mean) * y) / over(total, mean), total

    def data_of_noise(self, mean: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x^ that a network means when it says which noise is in mu; 0 before `EARLIEST`, and not clipped."""
        known = over(self.known(t.clamp(min=EARLIEST)), mean)
        return torch.where(over(t, mean) < EARLIEST, 0.0, mean / known - ((1 - known) / known).sqrt() * noise)

    def data_deviation(self, t: Tensor, log_deviation: Tensor) -> Tensor:
        """Deviation of x when that of the noise is exp(log_deviation)."""
        known = over(self.known(t.clamp(min=EARLIEST)), log_deviation)
        deviation = ((1 - known) / known).sqrt() * log_deviation.clamp(-20, 20).exp()
        return torch.where(over(t, deviation) < EARLIEST, 1.0, deviation).clamp(LEAST_DEVIATION, LARGEST_DEVIATION)

    def endless_loss(self, x: Tensor, guess: Tensor, t: Tensor) -> Tensor:
        """L_inf, sampled at one t per sample."""
        return -math.log(self.deviation) * self.deviation ** (-2 * t) * _total((x - guess).square())

    def message_loss(self, x: Tensor, guess: Tensor, i: Tensor, rounds: int) -> Tensor:
        """L_n, sampled at message i, when the network is sure of its guess: n alpha_i / 2 |x - x^|^2."""
        return rounds / 2 * self.accuracy(i, rounds) * _total((x - guess).square())

    def mixture_loss(self, x: Tensor, places: Tensor, probabilities: Tensor, i: Tensor, rounds: int) -> Tensor:
        """L_n, sampled at message i and one y, when the network gives probabilities to the values `places` (K,)."""
        accuracy = self.accuracy(i, rounds)
        y, alpha = self.message(x, accuracy), over(accuracy, x)
        sent = -alpha / 2 * (y - x).square()
        each = -alpha[..., None] / 2 * (y[..., None] - places).square()
        return rounds * _total(sent - (each + _log(probabilities)).logsumexp(dim=-1))


@dataclass(frozen=True)
class CategoricalBayesianFlow:
    """Messages about one of `categories`; `accuracy_total` is beta(1)."""

    categories: int
    accuracy_total: float

    def accuracy(self, i: Tensor, rounds: int) -> Tensor:
        """alpha_i = beta(1) (2i - 1) / n^2 of message i = 1 .. rounds."""
        return self.accuracy_total * (2 * i - 1) / rounds**2

    def message(self, x: Tensor, accuracy: Tensor) -> Tensor:
        """y ~ N(alpha (K e_x - 1), alpha K I); x: (batch, ...) int64 -> (batch, ..., K)."""
        mean = self.categories * F.one_hot(x, self.categories).to(accuracy.dtype) - 1
        alpha = over(accuracy, mean)
        return alpha * mean + (alpha * self.categories).sqrt() * torch.randn_like(mean)

    def update(self, theta: Tensor, y: Tensor) -> Tensor:
        """Bayes' rule: softmax(y + ln theta)."""
        return (y + theta.clamp(min=torch.finfo(theta.dtype).tiny).log()).softmax(dim=-1)

    def belief(self, x: Tensor, t: Tensor) -> Tensor:
        """theta after all messages up to t: one message of accuracy beta(t) = t^2 beta(1)."""
        return self.message(x, self.accuracy_total * t.square()).softmax(dim=-1)

    def endless_loss(self, x: Tensor, probabilities: Tensor, t: Tensor) -> Tensor:
        """L_inf, sampled at one t per sample."""
        error = (F.one_hot(x, self.categories) - probabilities).square()
        return self.categories * self.accuracy_total * t * _total(error)

    def mixture_loss(self, x: Tensor, probabilities: Tensor, i: Tensor, rounds: int) -> Tensor:
        """L_n, sampled at message i and one y: n (ln p_S - ln p_R).

        |y|^2 and the terms that every category shares cancel, so that component k is left with y_k.
        """
        y = self.message(x, self.accuracy(i, rounds))
        sent = y.gather(-1, x[..., None]).squeeze(-1)
        return rounds * _total(sent - (y + _log(probabilities)).logsumexp(dim=-1))


def bin_centres(count: int) -> Tensor:
    """Centres of `count` equal bins of [-1, 1]: (2k - 1) / K - 1."""
    return (2 * torch.arange(1, count + 1) - 1) / count - 1


def bin_probabilities(mean: Tensor, deviation: Tensor, count: int) -> Tensor:
    """Of N(mean, deviation^2) in each bin of [-1, 1], the outer ones reaching to infinity: (..., count)."""
    edges = bin_centres(count).to(mean)[:-1] + 1 / count
    below = torch.special.ndtr((edges - mean[..., None]) / deviation[..., None])
    return F.pad(F.pad(below, (1, 0)), (0, 1), value=1.0).diff(dim=-1)


def _log(probabilities: Tensor) -> Tensor:
    """ln p with the smallest normal number instead of 0."""
    return probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log()

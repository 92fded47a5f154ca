"""A chain of flows: where the target is at step t comes from where it was at t - 1, one flow for each step.

    u_0 ~ N(x_0, diag var_0),   x_1 = f_1(u_0; c),   x_t = f_t(x_{t-1}; c)                       sampling
    log p_t(x) = log N(f_1^-1 ... f_t^-1(x); x_0, var_0) + sum_{j <= t} log |det df_j^-1|        density at step t
    log p(x_t | x_{t-1}) = log N(f_t^-1(x_t); x_{t-1}, var_t) + log |det df_t^-1|                transition

The second line holds for flows that depend on c alone. With `previous` they also depend on x_1 .. x_{t-1}, which u_0
determines too: then the sum is not the logarithm of the whole Jacobian, and the densities it gives are a heuristic.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pathline.nn.step_flows import (
    LOG_TWO_PI,
    IndexedFlow,
    StepAutoregressive,
    StepBatchNorm,
    StepCoupling,
    StepFlow,
    StepSequence,
)

FLOOR = 1e-4  # of var_t
TAIL = -60.0  # log-densities are not let below: samples of a far tail give -inf


@dataclass(frozen=True)
class ChainSamples:
    """states: (batch, samples, horizon, dims); volumes: (batch, samples, horizon), log |det df_t^-1| at each of them;
    base: (batch, samples), log N(u_0; x_0, var_0)."""

    states: Tensor
    volumes: Tensor
    base: Tensor

    def log_density(self, average: bool = False) -> Tensor:
        """(batch, samples, horizon). average: divide the sum by its number of terms, as the released code does; that is
        not a change of variables."""
        return (self.base[..., None] + _sum(self.volumes, average)).clamp(min=TAIL)


def _sum(volumes: Tensor, average: bool) -> Tensor:
    total = volumes.cumsum(-1)
    return total / torch.arange(1, volumes.shape[-1] + 1, device=volumes.device) if average else total


class DensityChain(nn.Module):
    """The flows, their base, and the four things one can do with them.

    calls: how often a flow was evaluated
    """

    def __init__(
        self,
        dims: int,
        horizon: int,
        condition: int,
        blocks: int = 3,
        width: int = 32,
        index: int | None = None,
        previous: bool = False,
        architecture: str = "coupling",
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.dims, self.horizon, self.previous = dims, horizon, previous
        given = condition + previous * dims * horizon
        layer = {"coupling": StepCoupling, "autoregressive": StepAutoregressive}[architecture]
        layers: list[StepFlow] = []
        for block in range(blocks):
            layers.append(layer(horizon, dims, index or given, width, flip=bool(block % 2)))
            if batch_norm:
                layers.append(StepBatchNorm(horizon, dims))
        bijection = StepSequence(layers)
        self.flow: StepFlow = IndexedFlow(bijection, horizon, dims, given, index) if index else bijection
        self.variance = nn.Parameter(torch.full((horizon, dims), 0.1))
        self.calls = 0

    def base_log_density(self, u: Tensor, centre: Tensor, at: slice = slice(None)) -> Tensor:
        """log N(u; centre, var_t): u and centre (steps, ..., dims) -> (steps, ...)."""
        variance = self.variance[at].clamp(min=FLOOR)
        variance = variance.reshape(len(variance), *(1,) * (u.ndim - 2), -1)
        return -0.5 * ((u - centre).square() / variance + variance.log() + LOG_TWO_PI).sum(-1)

    def _given(self, c: Tensor, before: Tensor | None, step: int | None = None) -> Tensor:
        """Conditions (steps, batch, width): c, and with `previous` the earlier states, (batch, horizon, dims), those
        that come later as 0; step: of this one step only."""
        steps = range(self.horizon) if step is None else [step]
        rows = c.expand(len(steps), *c.shape)
        if not self.previous:
            return rows
        states = c.new_zeros(len(c), self.horizon, self.dims) if before is None else before
        known = torch.arange(self.horizon, device=c.device) < torch.tensor(list(steps), device=c.device)[:, None]
        return torch.cat([rows, (states * known[:, None, :, None]).flatten(2)], -1)

    def transitions(self, x: Tensor, c: Tensor, start: Tensor, noise: float = 0.0) -> Tensor:
        """log p(x_t | x_{t-1}, c) of true states x: (batch, horizon, dims) from start (batch, dims): (batch, horizon).

        noise: deviation added to the earlier states that are conditions, for in use they will be generated ones
        """
        self.calls += 1
        before = torch.cat([start[:, None], x[:, :-1]], 1)
        shown = x + noise * torch.randn_like(x) if noise else x
        u, volume = self.flow(x.transpose(0, 1), self._given(c, shown))
        return (self.base_log_density(u, before.transpose(0, 1)) + volume).T

    def log_density(self, x: Tensor, step: Tensor, c: Tensor, start: Tensor) -> Tensor:
        """log p_t(x), by pulling x back through its chain: (batch,).

        x: (batch, dims) states at steps t - 1 = step: (batch,) from 0. All that have reached step j go through f_j^-1
        together.
        """
        if self.previous:
            raise ValueError("with `previous` a state can not be pulled back: what came before it is not known")
        order = step.argsort(descending=True, stable=True)
        x, given, steps = x[order], c[order], step[order]
        total = x.new_zeros(len(x))
        with self._frozen():
            for place in range(int(steps[0]), -1, -1):
                self.calls += 1
                count = int((steps >= place).sum())
                u, volume = self.flow(x[None, :count], given[None, :count], slice(place, place + 1))
                x = torch.cat([u[0], x[count:]])
                total = total + torch.nn.functional.pad(volume[0], (0, len(total) - count))
        found = self.base_log_density(x[None], start[order][None], slice(0, 1))[0] + total
        return torch.zeros_like(found).scatter(0, order, found)

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        """States on their way back must not change the statistics of batch normalisation."""
        norms = [layer for layer in self.modules() if isinstance(layer, StepBatchNorm)]
        for norm in norms:
            norm.frozen = True
        try:
            yield
        finally:
            for norm in norms:
                norm.frozen = False

    def sample(self, c: Tensor, start: Tensor, count: int, generator: torch.Generator | None) -> ChainSamples:
        """`count` futures for each row of c (batch, condition) from start (batch, dims)."""
        batch = len(c)
        shape = (batch, count, self.dims)
        white = torch.randn(shape, generator=generator, device=c.device, dtype=c.dtype)
        u = start[:, None] + self.variance[0].clamp(min=FLOOR).sqrt() * white
        base = self.base_log_density(u[None], start[None, :, None], slice(0, 1))[0]
        many = c[:, None].expand(-1, count, -1).reshape(batch * count, -1)
        states = c.new_zeros(batch * count, self.horizon, self.dims)
        volumes = []
        x = u.reshape(1, batch * count, self.dims)
        for step in range(self.horizon):
            self.calls += 1
            x, volume = self.flow.inverse(x, self._given(many, states, step), slice(step, step + 1))
            states[:, step] = x[0]
            volumes.append(volume[0])
        found = states.unflatten(0, (batch, count))
        return ChainSamples(found, torch.stack(volumes, -1).unflatten(0, (batch, count)), base)

    def update(
        self, samples: ChainSamples, step: int, state: Tensor, renormalise: bool = True, average: bool = False
    ) -> Tensor:
        """Log-densities of the steps after `step` once the true state there is known, without any flow:

            log p_t(x_t^(i)) = log N(x_s^(i); state, var_s) + sum_{s < j <= t} log |det df_j^-1|

        These are density values where the cached samples are, not weights of the samples.
        step: 1 .. horizon - 1, how many steps have been seen; state: (batch, dims) -> (batch, samples, horizon - step)
        renormalise: scale the base so that it sums over the samples to what the original did, as released
        """
        at = slice(step, step + 1)
        base = self.base_log_density(samples.states[:, :, step - 1][None], state[None, :, None], at)[0]
        if renormalise:
            base = base + (torch.logsumexp(samples.base, 1) - torch.logsumexp(base, 1))[:, None]
        return (base[..., None] + _sum(samples.volumes[..., step:], average)).clamp(min=TAIL)

"""What density forecasters are compared with: a mixture of Gaussians from a network, and a conditional VAE whose
samples are smoothed. Both see the past through the same encoder and live in the same frame as FlowChain.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pathline.core.method import Recipe
from pathline.data.tracks import Encounters, Tracks
from pathline.nn import MLP
from pathline.spaces.gaussian_mixture import GaussianMixture
from pathline.track.base import Futures, Tracker, equally_likely
from pathline.track.densities import kernel_log_density
from pathline.track.local_frame import Frame, HistoryEncoder, LocalFuture

KERNELS = 512


class DensityRival(Tracker):
    """Encoder, frame and recipe, as FlowChain's."""

    precision: ClassVar[Any] = "fp32"
    recipe: ClassVar[Recipe] = Recipe(steps=1500, batch_size=128, lr=3e-3, ema=0.99)

    def __init__(
        self, dims: int, history: int, horizon: int, neighbours: int, interval: float, width: int, condition: int
    ) -> None:
        super().__init__(dims, history, horizon, neighbours, interval)
        self.local = LocalFuture(dims, horizon)
        self.encoder = HistoryEncoder(dims, width, condition)

    def read(self, data: Tracks) -> None:
        super().read(data)
        self.local.read(self._windows_of(data))

    def _truth(self, window: Encounters, frame: Frame) -> Tensor:
        """(batch, horizon, dims), local."""
        return self.local.enter(window.future[:, :1], frame)[:, 0]

    def samples(self, window: Encounters, count: int, generator: torch.Generator) -> Tensor:
        """Futures of the target in metres, (batch, count, horizon, dims), without gradients."""
        raise NotImplementedError

    def futures(self, past: Encounters, k: int, generator: torch.Generator) -> Futures:
        drawn = self.samples(past, max(k, 32), generator)
        nearest = (drawn - drawn.mean(1, keepdim=True)).square().sum((2, 3)).argmin(1)
        positions = torch.cat([drawn[torch.arange(len(drawn)), nearest][:, None], drawn[:, : k - 1]], 1)
        return equally_likely(positions[:, :, None])


class MixtureHead(DensityRival):
    """A mixture of Gaussians with full covariances for every step, trained by its likelihood.

    Bishop, 1994, "Mixture density networks". Futures use the same quantile of the components and the same standard
    normal at all steps, which makes them smooth and leaves every step's density what it is.
    """

    def __init__(
        self,
        dims: int,
        history: int,
        horizon: int,
        neighbours: int,
        interval: float,
        width: int = 32,
        condition: int = 16,
        hidden: int = 200,
        components: int = 5,
    ) -> None:
        super().__init__(dims, history, horizon, neighbours, interval, width, condition)
        self.components = components
        self.head = MLP([condition, hidden, hidden, horizon * GaussianMixture.size(components, dims)])

    def mixture(self, window: Encounters) -> GaussianMixture:
        """Of every step, local: (batch, horizon)."""
        raw = self.head(self.encoder(window, self.typical_step)).unflatten(1, (self.horizon, -1))
        return GaussianMixture.of(raw, self.components, self.dims)

    def loss(self, batch: Encounters) -> Tensor:
        return -self.mixture(batch).log_density(self._truth(batch, Frame.of(batch))).mean()

    def log_density(self, window: Encounters, generator: torch.Generator) -> Tensor:
        local = self.mixture(window).log_density(self._truth(window, Frame.of(window)))
        return local - self.local.log_volume()

    def log_density_at(self, window: Encounters, places: Tensor) -> Tensor:
        """places: (batch, n, horizon, dims) metres -> (batch, n, horizon), nats per metre^dims."""
        mixture, local = self.mixture(window), self.local.enter(places, Frame.of(window))
        many = GaussianMixture(mixture.log_weight[:, None], mixture.mean[:, None], mixture.factor[:, None])
        return many.log_density(local) - self.local.log_volume()

    def samples(self, window: Encounters, count: int, generator: torch.Generator) -> Tensor:
        mixture = self.mixture(window)
        quantile = torch.rand(len(window.past), count, 1, generator=generator, device=window.past.device)
        edges = mixture.log_weight.exp().cumsum(-1)[:, None]  # (batch, 1, horizon, components)
        which = (quantile[..., None] > edges).sum(-1).clamp(max=self.components - 1)
        rows = torch.arange(len(which), device=which.device)[:, None, None]
        steps = torch.arange(self.horizon, device=which.device)
        white = torch.randn(*which.shape[:2], 1, self.dims, 1, generator=generator, device=which.device)
        local = mixture.mean[rows, steps, which] + (mixture.factor[rows, steps, which] @ white)[..., 0]
        return self.local.leave(local, Frame.of(window))


class VariationalFutures(DensityRival):
    """A conditional variational autoencoder of the whole future; its densities are kernel estimates from its samples.

        E_q(z | y, c) sum_t log N(y_t; decoder(z, c)_t, s_t^2)  -  KL(q(z | y, c) || p(z | c))
    Sohn, Lee, Yan, 2015, "Learning Structured Output Representation using Deep Conditional Generative Models".
    """

    def __init__(
        self,
        dims: int,
        history: int,
        horizon: int,
        neighbours: int,
        interval: float,
        width: int = 32,
        condition: int = 16,
        hidden: int = 200,
        latent: int = 8,
    ) -> None:
        super().__init__(dims, history, horizon, neighbours, interval, width, condition)
        size = horizon * dims
        self.prior = MLP([condition, hidden // 2, 2 * latent])
        self.recognise = MLP([condition + size, hidden, 2 * latent])
        self.decoder = MLP([condition + latent, hidden, hidden, size])
        self.log_deviation = nn.Parameter(torch.zeros(horizon, dims))

    def _gaussian(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_deviation = raw.chunk(2, -1)
        return mean, 4 * torch.tanh(log_deviation / 4)

    def _decoded(self, z: Tensor, c: Tensor) -> Tensor:
        return self.decoder(torch.cat([z, c], -1)).unflatten(-1, (self.horizon, self.dims))

    def loss(self, batch: Encounters) -> dict[str, Tensor]:
        c, y = self.encoder(batch, self.typical_step), self._truth(batch, Frame.of(batch))
        p_mean, p_log = self._gaussian(self.prior(c))
        q_mean, q_log = self._gaussian(self.recognise(torch.cat([c, y.flatten(1)], 1)))
        z = q_mean + q_log.exp() * torch.randn_like(q_mean)
        deviation = self.log_deviation.clamp(min=-5).exp()
        fit = (0.5 * ((y - self._decoded(z, c)) / deviation).square() + deviation.log()).sum((1, 2)).mean()
        gap = ((q_mean - p_mean) / p_log.exp()).square() + (2 * (q_log - p_log)).exp() - 1
        apart = (0.5 * gap - (q_log - p_log)).sum(1).mean()
        return {"loss": fit + apart, "fit": fit, "apart": apart}

    def samples(self, window: Encounters, count: int, generator: torch.Generator) -> Tensor:
        c = self.encoder(window, self.typical_step)[:, None].expand(-1, count, -1)
        mean, log_deviation = self._gaussian(self.prior(c))
        z = mean + log_deviation.exp() * torch.randn(mean.shape, generator=generator, device=c.device)
        local = self._decoded(z, c)
        noise = torch.randn(local.shape, generator=generator, device=c.device)
        local = local + self.log_deviation.clamp(min=-5).exp() * noise
        return self.local.leave(local, Frame.of(window))

    def log_density(self, window: Encounters, generator: torch.Generator) -> Tensor:
        drawn = self.samples(window, KERNELS, generator)
        return kernel_log_density(drawn, window.future[:, :1])[:, 0]

"""PFGM++: one number D between Poisson flows (D = 1) and diffusion (D infinite); smaller D forgives more errors.

    x = y + sigma g / (chi / D)^1/2           g ~ N(0, I), chi ~ chi^2(D): noise whose tails grow as D falls
    loss    E lambda(sigma) |D_theta(x, sigma) - y|^2,  ln sigma ~ N(-1.2, 1.2^2)
    D_theta(x, sigma) = c_skip x + c_out F(c_in x, c_noise)
    sample  x from the noise at sigma_max around 0, then dx/dsigma = (x - D_theta(x, sigma)) / sigma down to 0

With r = sigma D^1/2, the distance from the data's plane in a space of D more dimensions, these are the field lines of
charges. Network, schedule and sampler are those of EDM, and the same for every D.
Xu, Liu, Tian, Tong, Tegmark, Jaakkola, 2023, "PFGM++: Unlocking the Potential of Physics-Inspired Generative Models",
arXiv:2302.04265.
Departs: data are scaled to a mean of 0 and a deviation of sigma_data = 1/2, so that EDM's numbers fit data of any unit;
at small D, what the network sees is drawn in on its ray to a root mean square of 10; small networks; AdamW with cosine;
no augmentation.
"""

import copy
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data import Draw, Samples
from pathline.flow import NoiseSchedule, denoising_loss, denoising_walk, poisson_noise
from pathline.flow.paths import over
from pathline.generate.base import Carried, Generator
from pathline.generate.flow_matching import refuse_options
from pathline.generate.networks import velocity_network

REACH = 10.0  # in units of what the network usually sees; beyond D = 8 nothing ever gets there


class PFGMpp(Generator):
    """Denoise Student noise with D degrees of freedom; sample by Heun's rule on the grid of EDM.

    shape, classes: see `Generator`; network, width, depth: see `velocity_network`
    extra:     D, how many dimensions are added: 1 is Poisson flow, None infinitely many, which is diffusion
    sigma_min, sigma_max, rho: of the sampler's grid, for data of deviation 1/2
    log_mean, log_deviation:   of ln sigma in training
    steps:     noise levels on the way; all but the last cost two network calls
    """

    recipe = Recipe(steps=4000, batch_size=256, lr=1e-3, warmup=200, clip=1.0, ema=0.999)

    def __init__(
        self,
        shape: list[int],
        classes: int = 0,
        network: str = "auto",
        width: int | None = None,
        depth: int = 4,
        extra: int | None = 128,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
        rho: float = 7.0,
        log_mean: float = -1.2,
        log_deviation: float = 1.2,
        steps: int = 18,
    ) -> None:
        super().__init__(shape, classes, steps)
        if extra is not None and (not isinstance(extra, int) or extra < 1):
            raise MethodError(f"extra is {extra}; give at least 1 dimension, or null for infinitely many")
        try:
            self.schedule = NoiseSchedule(sigma_min, sigma_max, rho, log_mean, log_deviation)
        except ValueError as error:
            raise MethodError(str(error)) from None
        self.extra = extra
        self.network = velocity_network(shape, network, width, depth, classes)

    def read_scale(self, data: Samples) -> None:
        """Mean 0 and deviation sigma_data, of each column of a table or of all pixels."""
        super().read_scale(replace(data, bounds=None))
        self.scale.div_(self.schedule.sigma_data)

    def denoise(self, x: Tensor, sigma: Tensor, label: Tensor | None = None) -> Tensor:
        """D_theta(x, sigma) in scaled units; x: (batch, *shape), sigma: without dimension or (batch,)."""
        return self.schedule.denoise(self.network, x, sigma.to(x.dtype).expand(len(x)), label, REACH)

    def loss(self, batch: Draw) -> Tensor:
        y, label = self.scaled(batch.values), self.training_labels(batch.labels)
        sigma = self.schedule.draw(len(y)).to(y.device)
        x = y + over(sigma, y) * poisson_noise(tuple(y.shape), self.extra).to(y.device)
        return denoising_loss(self.schedule, self.denoise(x, sigma, label), y, sigma)

    # -- sampling -----------------------------------------------------------------------------------------------------

    def prior(self, n: int, generator: torch.Generator) -> Tensor:
        """The noise at sigma_max around 0. A normal law instead would silently ruin samples at small D."""
        return self.schedule.sigma_max * poisson_noise((n, *self.shape), self.extra, generator)

    def carry(
        self,
        noise: Tensor,
        labels: Tensor | None,
        steps: int,
        keep: str = "last",
        injected: float = 0.0,
        **options: Any,
    ) -> Carried:
        """Walk down the noise levels. injected: errors made on purpose after every step, see `denoising_walk`."""
        refuse_options(self, options)
        walk = denoising_walk(
            lambda x, sigma: self.denoise(x, sigma, labels),
            noise,
            self.schedule.grid(steps),
            injected=injected,
            keep=keep,
        )
        return Carried(walk.states, walk.evaluations)

    def quantised(self, bits: int) -> Self:
        """A copy whose weight matrices have 2^bits values each, evenly spaced between their least and greatest."""
        rounded = copy.deepcopy(self)
        for layer in rounded.network.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                layer.weight.data.copy_(evenly_rounded(layer.weight.data, bits))
        return rounded


def evenly_rounded(weights: Tensor, bits: int) -> Tensor:
    """The nearest of 2^bits evenly spaced values from the least to the greatest weight."""
    if bits < 1:
        raise MethodError(f"weights cannot be kept in {bits} bits; give at least 1")
    low, high = weights.min(), weights.max()
    step = ((high - low) / (2**bits - 1)).clamp(min=torch.finfo(weights.dtype).tiny)
    return low + step * ((weights - low) / step).round()

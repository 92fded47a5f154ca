"""A small stochastic method and its data: enough for every property of the training loop."""

import torch
from torch import Tensor, nn

from pathline.core.method import Method, Recipe
from pathline.data import Samples


class Denoiser(Method):
    """Predicts clean samples from noisy ones; draws its noise from torch's global generator, as methods do."""

    room = "generate"
    container = Samples
    precision = "fp32"
    recipe = Recipe(steps=60, batch_size=16, lr=5e-3)

    def __init__(self, columns: int = 4, width: int = 16) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(columns, width), nn.SiLU(), nn.Linear(width, columns))

    @classmethod
    def for_data(cls, data, **config):
        return cls(cls.require(data).shape[0], **config)

    def loss(self, batch) -> dict[str, Tensor]:
        noise = torch.randn_like(batch.values)
        error = self.net(batch.values + 0.3 * noise) - batch.values
        return {"loss": error.square().mean(), "bias": error.mean()}

    def evaluate(self, data, seed: int = 0) -> dict[str, float]:
        torch.rand(1)  # the loop must shield training from what evaluation draws
        return {"error": (self.net(data.values) - data.values).square().mean().item()}


def samples(count: int = 203) -> Samples:
    return Samples(values=torch.randn(count, 4, generator=torch.Generator().manual_seed(1)), name="toy")

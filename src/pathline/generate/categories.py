"""Samples whose values are categories: grey levels or symbols. Networks for them, and the cost of sending them.

A generator of categories works on places 0 .. K - 1: `scaled` gives them as numbers, `places` as integers. Its network
maps one belief per dimension, theta (batch, *shape, K), to logits of the same shape, seeing all dimensions at once.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from pathline.core.errors import DataError, MethodError
from pathline.data import Draw, Samples
from pathline.generate.base import Generator
from pathline.generate.networks import velocity_network
from pathline.nn import DiT

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # of x, t and labels, in nats per sample
DRAWS = 64  # times per sample at which a bound is estimated
CHUNK = 4096


class CategoryNetwork(nn.Module):
    """theta (batch, *shape, K) in [0, 1], t (batch,), label (batch,) or None -> logits (batch, *shape, K).

    Beliefs enter as (K theta - 1) / (K - 1)^1/2, which is 0 for no knowledge and of unit size for certainty; of two
    categories one input and one output are enough.
    network: "auto", "mlp", "unet" or "dit" as in `velocity_network`, or "transformer", whose tokens are the dimensions
             (the default for symbols in a row)
    """

    def __init__(
        self,
        shape: Sequence[int],
        categories: int,
        network: str = "auto",
        width: int | None = None,
        depth: int = 4,
        classes: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if categories < 2:
            raise MethodError(f"there are {categories} categories; at least 2 are needed")
        self.shape, self.categories = tuple(shape), categories
        self.channels = 1 if categories == 2 else categories
        if network == "auto" and len(shape) == 1 and categories > 2:
            network = "transformer"
        if network == "transformer":
            self.inside: tuple[int, ...] = (self.channels, 1, math.prod(shape))
            self.body: nn.Module = DiT(self.inside, 1, width or 128, depth, num_classes=classes or None)
        else:
            self.inside = (self.channels * shape[0], *shape[1:])
            self.body = velocity_network(self.inside, network, width, depth, classes, dropout=dropout)

    def forward(self, theta: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        belief = (self.categories * theta - 1) / math.sqrt(self.categories - 1)
        if self.channels == 1:
            logit = self.body(belief[..., 1].reshape(-1, *self.inside), t, label=label).float()
            logit = logit.reshape(theta.shape[:-1])
            return torch.stack([torch.zeros_like(logit), logit], dim=-1)
        logits: Tensor = self.body(belief.movedim(-1, 1).reshape(-1, *self.inside), t, label=label).float()
        return logits.reshape(len(theta), self.categories, *self.shape).movedim(1, -1)


class CategoryGenerator(Generator):
    """A generator of grey levels or symbols that bounds the cost of sending a sample.

    shape, classes: see `Generator`; network, width, depth, dropout: see `CategoryNetwork`
    categories: K, read off the data by `for_data`
    """

    def __init__(
        self,
        shape: list[int],
        classes: int = 0,
        categories: int = 2,
        network: str = "auto",
        width: int | None = None,
        depth: int = 4,
        dropout: float = 0.0,
        steps: int = 32,
    ) -> None:
        super().__init__(shape, classes, steps)
        self.categories = categories
        self.network = CategoryNetwork(shape, categories, network, width, depth, classes, dropout)

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part = cls.require(data)
        if not part.categories:
            raise DataError(f"{part.name}: {cls.__name__} learns categories; say how many `levels` or which `symbols`")
        return super().for_data(data, **{"categories": part.categories} | config)

    def read_scale(self, data: Samples) -> None:
        """Scaled values are places 0 .. K - 1."""
        super().read_scale(data)
        scale_to_places(self, data)

    def places(self, values: Tensor) -> Tensor:
        """Values in the data's units as places, int64."""
        return self.scaled(values).round().long().clamp(0, self.categories - 1)

    @abstractmethod
    def sending_loss(self, x: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        """One draw of the bound at times t in [0, 1): nats per sample (batch,), whose mean over t is the bound."""

    def last_loss(self, x: Tensor, label: Tensor | None) -> Tensor:
        """What must still be sent at the end: nats per sample (batch,); part of the bound."""
        return torch.zeros(len(x), device=x.device)

    def loss(self, batch: Draw) -> dict[str, Tensor]:
        x, label = self.places(batch.values), self.training_labels(batch.labels)
        nats = self.sending_loss(x, stratified(len(x)).to(x.device), label).mean()
        return {"loss": nats / self.shift.numel(), "nats": nats}

    def nats(self, data: Samples, draws: int = DRAWS, seed: int = 0) -> dict[str, float]:
        """The mean bound on -ln p of the samples, in nats: `sending`, `last`, and their sum `nats`."""
        data = self.check(data)
        x = self.places(data.values.to(self.device))
        label = self.training_labels(data.labels)
        return bound(self.sending_loss, self.last_loss, x, label, draws, seed)

    def evaluate(self, data: Samples, seed: int = 0) -> dict[str, float]:
        """The room's metrics, and the bound in nats per sample."""
        return super().evaluate(data, seed) | {"nats": self.nats(data, seed=seed)["nats"]}

    def score(self, data: Samples, seed: int = 0) -> float:
        """The bound with few draws: what training should lower, and quicker than drawing samples."""
        return self.nats(data, 8, seed)["nats"]


def scale_to_places(method: Generator, data: Samples) -> None:
    """Let the scaled values of `method` be places 0 .. K - 1."""
    low, high = (0.0, float(data.categories - 1)) if data.bounds is None else data.bounds
    method.shift.fill_(low)
    method.scale.fill_((high - low) / (data.categories - 1))


def stratified(count: int) -> Tensor:
    """`count` times in [0, 1), one in each of as many equal parts, in random order."""
    return (torch.randperm(count) + torch.rand(count)) / count


@torch.no_grad()
def bound(
    sending: Loss,
    last: Callable[[Tensor, Tensor | None], Tensor],
    x: Tensor,
    label: Tensor | None,
    draws: int,
    seed: int,
) -> dict[str, float]:
    """Means of a bound over samples, each at `draws` stratified times; all noise follows from `seed`."""
    devices = [x.device] if x.device.type == "cuda" else []
    sent = rest = 0.0
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        for pairs in torch.arange(draws * len(x)).split(CHUNK):
            chosen = pairs % len(x)
            t = ((pairs // len(x) + torch.rand(len(pairs))) / draws).clamp(max=1 - 1e-7).to(x.device)
            part = None if label is None else label[chosen]
            sent += float(sending(x[chosen], t, part).double().sum())
            rest += float(last(x[chosen], part).double().sum())
    sent, rest = sent / (draws * len(x)), rest / (draws * len(x))
    return {"sending": sent, "last": rest, "nats": sent + rest}

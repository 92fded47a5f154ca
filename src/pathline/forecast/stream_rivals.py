"""Rivals of liquid networks on streams: refitted, frozen, linear, and none at all. They read and say the same.

LagMLP:        a multilayer perceptron on the last lags; `static` never learns again, `Incremental` does
Incremental:   after every `every` samples, `epochs` passes of gradient steps over these samples, then it goes on
GatedLoad:     a gated recurrent unit, frozen, that keeps its state like the liquid network
Autoregression: least squares on the lags, once
"""

import copy
import itertools
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data import Series
from pathline.forecast.baselines import Baseline
from pathline.forecast.streaming import StreamForecaster
from pathline.nn.liquid import Cell


def _weight(*shape: int) -> nn.Parameter:
    bound = shape[1] ** -0.5
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


class LagMLP(StreamForecaster):
    """One perceptron per sensor.  width: of its hidden layers;  layers: how many;  activation: "relu" or "tanh"."""

    recipe: ClassVar[Recipe] = Recipe(steps=1000, lr=5e-3, batch_size=32, clip=1.0)

    def __init__(
        self,
        nodes: int,
        channels: int,
        history: int,
        horizon: int,
        steps_per_day: int,
        width: int = 64,
        layers: int = 1,
        activation: Literal["relu", "tanh"] = "relu",
        lags: int = 12,
        clock: bool = False,
        capacity: float | None = None,
        reach: float = 1.0,
    ) -> None:
        super().__init__(nodes, channels, history, horizon, steps_per_day, lags, clock, capacity, reach)
        if activation not in ("relu", "tanh"):
            raise MethodError(f"activation must be relu or tanh, not {activation!r}")
        self.activation = torch.relu if activation == "relu" else torch.tanh
        sizes = [self.features, *[width] * layers, horizon * channels]
        self.weights = nn.ParameterList(_weight(nodes, a, b) for a, b in itertools.pairwise(sizes))
        self.biases = nn.ParameterList(torch.zeros(nodes, 1, size) for size in sizes[1:])

    def respond(self, features: Tensor) -> Tensor:
        z = features.flatten(1, 2)
        for weight, bias in zip(list(self.weights)[:-1], list(self.biases)[:-1], strict=True):
            z = self.activation(torch.baddbmm(bias, z, weight))
        return torch.baddbmm(self.biases[-1], z, self.weights[-1]).unflatten(1, features.shape[1:3])


class Incremental:
    """Incremental learning: a trained network that goes on learning from a stream, batch by batch.

    every: b, samples between two refits;  epochs, lr, batch: of a refit, by Adam whose memory is kept
    """

    def __init__(
        self, network: StreamForecaster, every: int, epochs: int = 10, lr: float = 5e-3, batch: int = 25
    ) -> None:
        self.network = copy.deepcopy(network)  # the one that was given stays as it is
        self.every, self.epochs, self.batch = every, epochs, batch
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=lr)

    def stream(self, data: Series, begin: int = 0) -> Tensor:
        """One step ahead through `data`, refitting from sample `begin` on; see `StreamForecaster.stream`.

        A sample is forecast before the network learns from it, always.
        """
        net = self.network
        values, time_of_day = net._stream_of(data)
        with torch.no_grad():
            features = net.look(values[:-1][None], time_of_day[:-1][None])
            target = ((values[net.lags :] - values[net.lags - 1 : -1]) / net.usual).permute(1, 0, 2)[:, :, None]
        first = max(0, begin - net.lags)
        borders = [0, *range(first + self.every, features.shape[1], self.every), features.shape[1]]
        said = []
        for start, stop in itertools.pairwise(borders):
            with torch.no_grad():
                said.append(net.respond(features[:, start:stop])[..., : net.channels])
            if stop < features.shape[1]:
                self.refit(features[:, max(start, first) : stop], target[:, max(start, first) : stop])
        return net._after(values, torch.cat(said, 1)[:, :, 0].transpose(0, 1))

    def refit(self, features: Tensor, target: Tensor) -> None:
        """features (nodes, time, 1, ...), target (nodes, time, 1, channels): `epochs` passes in random batches."""
        generator = torch.Generator().manual_seed(features.shape[1])
        for _ in range(self.epochs):
            for rows in torch.randperm(features.shape[1], generator=generator).split(self.batch):
                said = self.network.respond(features[:, rows])[..., : self.network.channels]
                self.optimizer.zero_grad()
                (said - target[:, rows]).square().mean().backward()
                torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                self.optimizer.step()


class GatedCell(Cell):
    """A gated recurrent unit per model: r, u = sigmoid(...), c = tanh(...), h <- u h + (1 - u) c."""

    def __init__(self, inputs: int, width: int, models: int) -> None:
        super().__init__(inputs, width, models)
        self.sensory, self.recurrent = _weight(models, inputs, 3 * width), _weight(models, width, 3 * width)
        self.bias = nn.Parameter(torch.zeros(models, 1, 3 * width))

    def prepare(self, inputs: Tensor) -> Tensor:
        return (inputs.flatten(1, 2) @ self.sensory + self.bias).unflatten(1, inputs.shape[1:3])

    def step(self, state: Tensor, prepared: Tensor, elapsed: float = 1.0) -> Tensor:
        mine = (state @ self.recurrent).chunk(3, -1)
        theirs = prepared.chunk(3, -1)
        reset, update = torch.sigmoid(mine[0] + theirs[0]), torch.sigmoid(mine[1] + theirs[1])
        return torch.lerp(torch.tanh(reset * mine[2] + theirs[2]), state, update)


class GatedLoad(StreamForecaster):
    """A gated recurrent unit of `width` per sensor, with a linear head."""

    recipe: ClassVar[Recipe] = Recipe(steps=1000, lr=5e-3, batch_size=32, clip=1.0)

    def __init__(
        self,
        nodes: int,
        channels: int,
        history: int,
        horizon: int,
        steps_per_day: int,
        width: int = 14,
        lags: int = 12,
        clock: bool = False,
        capacity: float | None = None,
        reach: float = 1.0,
    ) -> None:
        lags = min(lags, max(1, history // 2))
        super().__init__(nodes, channels, history, horizon, steps_per_day, lags, clock, capacity, reach)
        self.cell = GatedCell(self.features, width, nodes)
        self.head = nn.Parameter(torch.empty(nodes, width, horizon * channels).normal_(std=0.1 * width**-0.5))
        self.bias = nn.Parameter(torch.zeros(nodes, 1, horizon * channels))

    def respond(self, features: Tensor) -> Tensor:
        states = self.cell(features)
        return (states.flatten(1, 2) @ self.head + self.bias).unflatten(1, states.shape[1:3])


class Autoregression(StreamForecaster, Baseline):
    """Least squares from the lags to the change, for each sensor by itself, with a ridge of 1e-8 of the trace."""

    trains: ClassVar[bool] = False
    weight: Tensor

    def __init__(
        self,
        nodes: int,
        channels: int,
        history: int,
        horizon: int,
        steps_per_day: int,
        lags: int = 12,
        clock: bool = False,
        capacity: float | None = None,
        reach: float = 1.0,
    ) -> None:
        super().__init__(nodes, channels, history, horizon, steps_per_day, lags, clock, capacity, reach)
        self.register_buffer("weight", torch.zeros(nodes, self.features + 1, channels * horizon))

    def read(self, data: Series) -> None:
        super().read(data)
        values, time_of_day = self._stream_of(data)
        last = self.horizon
        x = self._rows(self.look(values[:-last][None], time_of_day[:-last][None]))[:, :, 0].double()
        ahead = values[self.lags :].unfold(0, last, 1).permute(0, 3, 1, 2)  # (time, horizon, nodes, channels)
        y = ((ahead - values[self.lags - 1 : -last, None]) / self.usual).permute(2, 0, 1, 3).flatten(2).double()
        gram = x.mT @ x
        ridge = 1e-8 * gram.diagonal(dim1=1, dim2=2).sum(-1)[:, None, None] * torch.eye(x.shape[-1])
        self.weight.copy_(torch.linalg.solve(gram + ridge, x.mT @ y))

    def respond(self, features: Tensor) -> Tensor:
        rows = self._rows(features)
        return torch.einsum("ntbf,nfo->ntbo", rows, self.weight)

    @staticmethod
    def _rows(features: Tensor) -> Tensor:
        return torch.cat([features, torch.ones_like(features[..., :1])], -1)

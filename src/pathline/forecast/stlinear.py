"""STLinear: traffic forecasts from linear layers alone, every sensor on its own.

Each sensor's past is split into trend and remainder, mapped to features, joined with learned vectors for the sensor,
the time of day and the day of week, and mapped to the future. No operation looks at another sensor: the sensor's vector
takes the graph's place, cost grows linearly with sensors, and a city can be cut into any shards.

    h_n = W_t trend(x_n) + W_r remainder(x_n) + b                      (wiring "concatenate")
    h_n = W_n [trend(x_n), remainder(x_n)] + b_n,  W_n = sum_k E[n,k] P[k]   (wiring "pool")
    z_n = [h_n, E_n, TOD[t], DOW[t]]  (E_n only where it is concatenated)
    z_n <- z_n + V a(U z_n), per block;      future_n = head z_n  (+ template)
Duan, Rao, Huang, He, 2023, "Minimalist Traffic Prediction: Linear Layer Is All You Need", arXiv:2308.10276.
Departs: the paper's exact wiring of the sensor vector is not public, so both published ways ship; a ReLU in the blocks
makes an MLP of it, `activation=None` is the strictly linear model; the template and the learning rate are ours.
"""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data import Series, Windows
from pathline.forecast.base import Forecaster
from pathline.forecast.calendar import Calendar
from pathline.nn.decomposition import Decomposition
from pathline.nn.nodewise import NodewiseLinear


class ResidualBlock(nn.Module):
    """z + V a(U z), last axis of size `width`; a is ReLU or nothing."""

    def __init__(self, width: int, activation: Literal["relu"] | None) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)
        self.activation = activation

    def forward(self, z: Tensor) -> Tensor:
        inner: Tensor = self.inner(z)
        return z + self.outer(inner if self.activation is None else F.relu(inner))


class PeriodicTemplate(nn.Module):
    """A day's curve for every slot of the day, shared by all sensors up to a low-rank factor:

    out[b, q, n, c] = sum_r node[n, r] template[slot_b, r, q, c]
    """

    def __init__(self, slots: int, nodes: int, rank: int, horizon: int, channels: int) -> None:
        super().__init__()
        self.node = nn.Parameter(torch.randn(nodes, rank) / rank**0.5)
        self.template = nn.Parameter(torch.zeros(slots, rank, horizon, channels))

    def forward(self, slot: Tensor) -> Tensor:
        """slot: (batch,) -> (batch, horizon, nodes, channels)."""
        return torch.einsum("nr,brqc->bqnc", self.node, self.template[slot])


class STLinear(Forecaster):
    """See the module.

    width:            D, features of the past
    kernel:           of the moving average; 1 switches the decomposition off
    node_width, time_width, day_width: of the learned vectors; 0 leaves one out
    blocks:           residual blocks
    activation:       "relu", or None for the strictly linear model
    wiring:           "concatenate" or "pool", how the sensor's vector enters
    target_clock:     look the clock up for the first future step as well as for the last past one
    template_rank:    of the periodic template; 0 leaves it out
    """

    recipe: ClassVar[Recipe] = Recipe(lr=1e-2, weight_decay=1e-4, batch_size=64, clip=None)

    def __init__(
        self,
        nodes: int,
        channels: int,
        history: int,
        horizon: int,
        steps_per_day: int,
        width: int = 64,
        kernel: int = 5,
        node_width: int = 16,
        time_width: int = 16,
        day_width: int = 16,
        blocks: int = 2,
        activation: Literal["relu"] | None = "relu",
        wiring: Literal["concatenate", "pool"] = "concatenate",
        target_clock: bool = False,
        template_rank: int = 0,
    ) -> None:
        super().__init__(nodes, channels, history, horizon, steps_per_day)
        if activation not in ("relu", None):
            raise MethodError(f"activation must be 'relu' or None, not {activation!r}")
        if wiring not in ("concatenate", "pool"):
            raise MethodError(f"wiring must be 'concatenate' or 'pool', not {wiring!r}")
        if wiring == "pool" and not node_width:
            raise MethodError("wiring 'pool' mixes weights by the sensor's vector: node_width must be at least 1")
        self.decomposition = Decomposition(kernel)
        self.calendar = Calendar(steps_per_day)
        self.moments = [history - 1, history] if target_clock else [history - 1]
        past = history * channels
        self.embedding = nn.Parameter(torch.randn(nodes, node_width))
        self.pool = NodewiseLinear(node_width, 2 * past, width) if wiring == "pool" else None
        if self.pool is None:
            self.trend, self.remainder = nn.Linear(past, width), nn.Linear(past, width, bias=False)
        self.time = nn.Embedding(self.calendar.slots, time_width)
        self.day = nn.Embedding(7, day_width)
        inside = width + (node_width if self.pool is None else 0) + len(self.moments) * (time_width + day_width)
        self.trunk = nn.Sequential(*(ResidualBlock(inside, activation) for _ in range(blocks)))
        self.head = nn.Linear(inside, horizon * channels)
        self.template = (
            PeriodicTemplate(self.calendar.slots, nodes, template_rank, horizon, channels) if template_rank else None
        )

    def read(self, data: Series) -> None:
        super().read(data)
        self.calendar.read(data)

    def network(self, past: Tensor, window: Windows) -> Tensor:
        batch = len(past)
        trend, remainder = (part.flatten(2) for part in self.decomposition(past.permute(0, 2, 3, 1)))
        if self.pool is None:
            features = [self.trend(trend) + self.remainder(remainder), self.embedding.expand(batch, -1, -1)]
        else:
            features = [self.pool(torch.cat([trend, remainder], dim=-1), self.embedding)]
        slot, day = self.calendar(window.time_of_day[:, self.moments], window.day_of_week[:, self.moments])
        clock = torch.cat([self.time(slot), self.day(day)], dim=-1).flatten(1)
        z = torch.cat([*features, clock[:, None].expand(-1, self.nodes, -1)], dim=-1)
        future = self.head(self.trunk(z)).unflatten(-1, (self.horizon, self.channels)).transpose(1, 2)
        return future if self.template is None else future + self.template(slot[:, 0])

"""Virtual nodes: a few learnable hubs beside the sensors, through which one layer already sees the whole city.

Message passing over roads carries what happens at the other end of town only as far as there are layers, and weakens it
on the way. Hubs that listen to all sensors, and that all sensors listen to, make every pair at most two edges apart.
Use it for horizons of hours, over which distant sensors matter. For the next few minutes neighbours are enough. In its
claim a wholly learned graph (`graph="adaptive"`) does as well hours ahead, and on another city the daily profile was
better than both: look at the baselines.

    A = [ (1 - a) A_rr   a A_rv ]      A_rr: geography, fixed;  A_rv, A_vr, A_vv: softmax(ReLU(E1 E2^T)), learned
        [      A_vr        A_vv ]      a: share of each sensor's attention that goes to hubs, learned, 0.2 at first
    [y, y_hubs] = backbone([x, pad], A),   y_hubs is dropped and enters no loss
The backbone is any network of (x, A): "wavenet", gated dilated convolutions over time with diffusion over A
(`nn.graph_wavenet`), or "gru", a recurrent unit of diffusions, whose hubs keep a state of their own (`nn.graph_gru`).
Cao, Zhuang, Zhao, Wang, 2025, "Virtual Nodes Improve Long-term Traffic Prediction", arXiv:2501.10048; the graphs are
`nn.adaptive_graph`, which says how the blocks are joined. `importance` tells whom the hubs listen to.
Departs: the paper's mixing of the blocks is not public, the gate a is ours; the clock joins the input as waves and, at
the head, as learned vectors.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data import Series, Windows
from pathline.forecast.base import Forecaster
from pathline.forecast.calendar import Calendar, clock_waves
from pathline.forecast.sensor_graph import sensor_graph
from pathline.graph.adjacency import hop_distances
from pathline.nn.adaptive_graph import GraphProvider, Kind
from pathline.nn.graph_gru import DiffusionFilter, GraphGRU, diffusion_supports
from pathline.nn.graph_wavenet import GraphWaveNet
from pathline.nn.sensitivity import sensitivity

HARMONICS = 2


class VNode(Forecaster):
    """See the module.

    virtual:   V, hubs; they go with graph "semi" only
    graph:     "semi" (geography and hubs), "fixed" (geography) or "adaptive" (all learned, as in Graph WaveNet)
    backbone:  "wavenet" or "gru"
    width:     channels of a node inside;  head: of what the head reads
    layers:    of the backbone "wavenet";  hops: largest power of A in a layer
    embedding: length of the rows of E1 and E2
    padding:   what hubs see as input, "zeros" or a "learned" vector each
    time_width: of the head's learned vectors of time of day and day of week
    node_width: of a learned vector per sensor at the head; 0, as published, leaves it out
    """

    recipe: ClassVar[Recipe] = Recipe(lr=2e-3, batch_size=32, clip=None)

    def __init__(
        self,
        nodes: int,
        channels: int,
        history: int,
        horizon: int,
        steps_per_day: int,
        virtual: int = 4,
        graph: Kind = "semi",
        backbone: Literal["wavenet", "gru"] = "wavenet",
        width: int = 24,
        head: int = 64,
        layers: int = 2,
        hops: int = 2,
        embedding: int = 8,
        padding: Literal["zeros", "learned"] = "zeros",
        time_width: int = 16,
        node_width: int = 0,
    ) -> None:
        super().__init__(nodes, channels, history, horizon, steps_per_day)
        for name, value, known in (
            ("graph", graph, ("semi", "fixed", "adaptive")),
            ("backbone", backbone, ("wavenet", "gru")),
            ("padding", padding, ("zeros", "learned")),
        ):
            if value not in known:
                raise MethodError(f"{name} must be one of {', '.join(known)}, not {value!r}")
        if virtual and graph != "semi":
            raise MethodError(f"virtual nodes go with graph='semi': set virtual=0 for graph='{graph}'")
        self.provider = GraphProvider(nodes, graph, virtual, embedding)
        self.calendar = Calendar(steps_per_day)
        inputs = channels + 2 + 2 * HARMONICS
        self.padding = nn.Parameter(torch.zeros(virtual, inputs)) if padding == "learned" else None
        self.hops, self.width = hops, width
        if backbone == "gru":
            self.unit: GraphGRU | None = GraphGRU(DiffusionFilter, inputs, width, 1 + 2 * hops)
            self.body: GraphWaveNet | nn.Linear = nn.Linear(width, head)
        else:
            self.unit = None
            self.body = GraphWaveNet(inputs, width, head, history, min(layers, (2 * history - 2) // 3 or 1), hops)
        self.identity = nn.Parameter(torch.randn(nodes, node_width)) if node_width else None
        self.time, self.day = nn.Embedding(self.calendar.slots, time_width), nn.Embedding(7, time_width)
        self.head = nn.Sequential(
            nn.ReLU(),
            nn.Linear(head + 2 * time_width + node_width, head),
            nn.ReLU(),
            nn.Linear(head, horizon * channels),
        )

    def read(self, data: Series) -> None:
        super().read(data)
        self.calendar.read(data)
        self.provider.read(self.geography(data))

    @staticmethod
    def geography(data: Series) -> Tensor:
        """The sensor graph with loops of the largest weight: a sensor is nearest to itself."""
        graph = sensor_graph(data)
        return graph + torch.eye(len(graph)) * graph.max().clamp(min=1e-6)

    def network(self, past: Tensor, window: Windows) -> Tensor:
        x, adjacency = self.padded(past, window), self.provider()
        features = self.body(x, adjacency) if self.unit is None else self.body(self.states(x, adjacency)[-1])
        slot, day = self.calendar(window.time_of_day[:, self.history - 1], window.day_of_week[:, self.history - 1])
        clock = torch.cat([self.time(slot), self.day(day)], -1)[:, None].expand(-1, self.nodes, -1)
        parts = [features[:, : self.nodes], clock]
        if self.identity is not None:
            parts.append(self.identity.expand(len(past), -1, -1))
        future: Tensor = self.head(torch.cat(parts, -1))
        return future.unflatten(-1, (self.horizon, self.channels)).transpose(1, 2)

    def padded(self, past: Tensor, window: Windows) -> Tensor:
        """Values and clock of the sensors, and what hubs see: (batch, history, nodes + virtual, inputs)."""
        clocks = window.time_of_day[:, : self.history], window.day_of_week[:, : self.history]
        clock = clock_waves(*clocks, self.steps_per_day, HARMONICS)
        x = torch.cat([past, clock[:, :, None].expand(-1, -1, self.nodes, -1)], -1)
        if not self.provider.virtual:
            return x
        hubs = x.new_zeros(self.provider.virtual, x.shape[-1]) if self.padding is None else self.padding
        return torch.cat([x, hubs.expand(*x.shape[:2], -1, -1)], 2)

    def states(self, x: Tensor, adjacency: Tensor) -> list[Tensor]:
        """Of the backbone "gru" after every step: (batch, nodes + virtual, width)."""
        assert self.unit is not None
        step = self.unit.at(diffusion_supports(adjacency, self.hops))
        h, states = x.new_zeros(len(x), x.shape[2], self.width), []
        for value in x.unbind(1):
            h = step(value, h)
            states.append(h)
        return states

    def importance(self) -> tuple[Tensor, Tensor]:
        """How much the hubs listen to each sensor and each sensor to the hubs: two (nodes,) tensors."""
        return self.provider.importance()

    def sensitivity(self, window: Windows, item: int = 0) -> list[Tensor]:
        """S of every layer of "wavenet" (of every step of "gru") between sensors, (nodes, nodes); see `nn.sensitivity`.

        In eval mode, at the weights as they are, for one item of the batch, at the last step of the past.
        """
        self.eval()
        one = window.map(lambda tensor: tensor[item : item + 1])
        past = self.scaling(torch.where(one.past_observed, one.past, self.scaling.mean)).requires_grad_()
        with torch.enable_grad():
            x, adjacency = self.padded(past, one), self.provider()
            if isinstance(self.body, GraphWaveNet):
                made = [h[0, -1] for h in self.body.layers(x, adjacency)]
            else:
                made = [h[0] for h in self.states(x, adjacency)]
            return [sensitivity(h[: self.nodes], past) for h in made]

    def hops_apart(self) -> Tensor:
        """(nodes, nodes): edges between two sensors in the geography, in either direction; inf without a way."""
        return hop_distances(self.provider.fixed)

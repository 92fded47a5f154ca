"""Recurrent graph forecasters: what the claims of this room measure newer methods against.

They are no catalogued systems. All update a hidden state h per sensor with a gated recurrent unit whose matrix products
see other sensors:

    r, u = sigmoid(gates([x, h])),  c = tanh(candidate([x, r h])),  h <- u h + (1 - u) c
AdaptiveGraphGRU:  Bai et al., 2020, AGCRN, arXiv:2007.02842: graph and weights from node embeddings, direct head.
DiffusionGRU:      Li et al., 2018, DCRNN, arXiv:1707.01926: diffusion on the road graph, sequence to sequence.
AttentionGRU:      GMAN's encoder with a recurrent decoder in the place of transform attention.
The last two decode step by step and learn it by scheduled sampling (Bengio et al., 2015, arXiv:1506.03099).
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from pathline.core.method import Recipe
from pathline.data import Series, Windows
from pathline.forecast.base import Forecaster
from pathline.forecast.calendar import Calendar
from pathline.forecast.decoding import ScheduledSampling, decode, standardised_future
from pathline.forecast.gman import GMAN, Norm, STEmbedding, linear, sensor_vectors
from pathline.forecast.sensor_graph import sensor_graph
from pathline.nn.graph_gru import AdaptiveFilter, DiffusionFilter, GraphGRU, diffusion_supports


class AdaptiveGraphGRU(Forecaster):
    """AGCRN: `layers` recurrent layers over the past, then all future steps at once from the last state.

    The sizes are those of the released configuration for PeMS-D4 and D8.
    time_width: of a learned vector of the clock that joins the input at every step; 0, as published, leaves it out
    """

    recipe: ClassVar[Recipe] = Recipe(lr=3e-3, batch_size=64, clip=None)

    def __init__(
        self,
        nodes: int,
        channels: int,
        history: int,
        horizon: int,
        steps_per_day: int,
        width: int = 64,
        layers: int = 2,
        embedding: int = 10,
        time_width: int = 0,
    ) -> None:
        super().__init__(nodes, channels, history, horizon, steps_per_day)
        self.width = width
        self.calendar = Calendar(steps_per_day)
        self.embedding = nn.Parameter(torch.randn(nodes, embedding))
        self.time = nn.Embedding(self.calendar.slots, time_width)
        self.day = nn.Embedding(7, time_width)
        inputs = [channels + 2 * time_width] + [width] * (layers - 1)
        self.cells = nn.ModuleList(GraphGRU(AdaptiveFilter, size, width, embedding) for size in inputs)
        self.head = nn.Linear(width, horizon * channels)

    def read(self, data: Series) -> None:
        super().read(data)
        self.calendar.read(data)

    def network(self, past: Tensor, window: Windows) -> Tensor:
        slot, day = self.calendar(*(clock[:, : self.history] for clock in (window.time_of_day, window.day_of_week)))
        clock = torch.cat([self.time(slot), self.day(day)], dim=-1)
        sequence = torch.cat([past, clock[:, :, None].expand(-1, -1, self.nodes, -1)], dim=-1).unbind(1)
        for cell in self.cells:
            assert isinstance(cell, GraphGRU)
            step, h = cell.at(self.embedding), past.new_zeros(len(past), self.nodes, self.width)
            sequence = tuple(h := step(x, h) for x in sequence)
        future: Tensor = self.head(sequence[-1]).unflatten(-1, (self.horizon, self.channels)).transpose(1, 2)
        return future


class AttentionGRU(GMAN):
    """GMAN's encoder, then one gated recurrent unit per sensor that decodes from the encoder's last step.

    decoder_width: hidden units; at each step it sees its last output and the STE of the step.
    sampling_decay: of the scheduled sampling, in steps.
    """

    def __init__(
        self,
        nodes: int,
        channels: int,
        history: int,
        horizon: int,
        steps_per_day: int,
        heads: int = 2,
        head_width: int = 16,
        blocks: int = 1,
        embedding: int = 64,
        day_slots: int | None = None,
        causal: bool = True,
        groups: int | None = None,
        norm: Norm = "batch",
        decoder_width: int = 64,
        sampling_decay: float = 50.0,
    ) -> None:
        sizes = (nodes, channels, history, horizon, steps_per_day)
        super().__init__(*sizes, heads, head_width, blocks, embedding, day_slots, causal, groups, norm)
        width = heads * head_width
        del self.transform, self.decoder
        self.start = linear(width, decoder_width)
        self.cell = nn.GRUCell(channels + width, decoder_width)
        self.output = nn.Sequential(linear(decoder_width, channels))
        self.sampling = ScheduledSampling(sampling_decay)

    def network(self, past: Tensor, window: Windows) -> Tensor:
        ste = self.embedding(window)
        before, after = ste[:, : self.history], ste[:, self.history :]
        h = torch.tanh(self.start(self.encode(past, before)[:, -1])).flatten(0, 1)

        def step(value: Tensor, h: Tensor, index: int) -> tuple[Tensor, Tensor]:
            seen = torch.cat([value, after[:, index].to(value.dtype)], dim=-1)
            h = self.cell(seen.flatten(0, 1), h)
            return self.output(h).view_as(value), h

        return decode(past[:, -1], h, self.horizon, step, standardised_future(self, past, window), self.sampling())


class DiffusionGRU(Forecaster):
    """DCRNN with one layer, on the same inputs as GMAN: the value and the STE of its sensor and moment.

    width: hidden units;  ste_width: of the embedding;  hops: largest power of each walk
    """

    recipe: ClassVar[Recipe] = Recipe(lr=1e-3, batch_size=16, clip=None)
    supports: Tensor

    def __init__(
        self,
        nodes: int,
        channels: int,
        history: int,
        horizon: int,
        steps_per_day: int,
        width: int = 32,
        ste_width: int = 32,
        embedding: int = 64,
        day_slots: int | None = None,
        hops: int = 2,
        norm: Norm = "batch",
        sampling_decay: float = 50.0,
    ) -> None:
        super().__init__(nodes, channels, history, horizon, steps_per_day)
        self.width, self.hops = width, hops
        count = 1 + 2 * hops
        self.register_buffer("supports", torch.zeros(count, nodes, nodes))
        self.embedding = STEmbedding(nodes, embedding, Calendar(steps_per_day, day_slots), ste_width, norm)
        self.encoder = GraphGRU(DiffusionFilter, channels + ste_width, width, count)
        self.decoder = GraphGRU(DiffusionFilter, channels + ste_width, width, count)
        self.output = linear(width, channels)
        self.sampling = ScheduledSampling(sampling_decay)

    def read(self, data: Series) -> None:
        super().read(data)
        self.embedding.calendar.read(data)
        self.embedding.vectors.copy_(sensor_vectors(data, self.embedding.vectors.shape[1]))
        self.supports.copy_(diffusion_supports(sensor_graph(data), self.hops))

    def network(self, past: Tensor, window: Windows) -> Tensor:
        ste = self.embedding(window)
        unit, h = self.encoder.at(self.supports), past.new_zeros(len(past), self.nodes, self.width)
        for x in torch.cat([past, ste[:, : self.history]], dim=-1).unbind(1):
            h = unit(x, h)
        unit = self.decoder.at(self.supports)

        def step(value: Tensor, h: Tensor, index: int) -> tuple[Tensor, Tensor]:
            h = unit(torch.cat([value, ste[:, self.history + index]], dim=-1), h)
            return self.output(h), h

        return decode(past[:, -1], h, self.horizon, step, standardised_future(self, past, window), self.sampling())

"""GMAN: every future moment looks at every past moment directly, so that no forecast is built on another forecast.

The clock of the future is known, and so are the sensors: their embeddings ask, the past answers.

    STE[b,t,n] = spatial[n] + temporal[b,t]                  from node2vec vectors; from weekday and time of day
    HS = attention over sensors, HT = attention over time, both of [H, STE]
    z = sigmoid(HS W1 + HT W2 + b);  H <- H + FC(z HS + (1 - z) HT)                                (one block)
    encoder: blocks on the past;  transform: softmax(q(STE_future) k(STE_past)^T / sqrt d) v(H);  decoder: blocks
where FC is linear, batch norm, ReLU, and the last layer of a pair is linear only.
Zheng, Fan, Wang, Qi, 2020, "GMAN: A Graph Multi-Attention Network for Traffic Prediction", AAAI, arXiv:1911.08415.
Attention knows no order: what tells one past step from the next is its embedding alone. So the clock has a row for
every step of the day (288 in the paper); readings that share a row are averaged, whichever came last.
Departs: the defaults (2 heads of 16, 1 block, rate 4e-3) are those of a desk, where heads of 8 take twice as long for
the same width. The paper has 8 of 8, 3 and 1e-3.
Group attention follows the paper's text, its code has none; there pooling, its own projections and padding are ours.
"""

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.core.method import Recipe
from pathline.data import Series, Windows
from pathline.forecast.base import Forecaster
from pathline.forecast.calendar import Calendar
from pathline.forecast.sensor_graph import sensor_graph
from pathline.graph.node2vec import node2vec

Norm = Literal["batch", "layer"]


class ChannelNorm(nn.BatchNorm1d):
    """Batch norm of the last axis over all others."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, -2)).view_as(x)


def linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """A linear layer that starts as the paper's code does: Glorot uniform, bias 0."""
    layer = nn.Linear(inputs, outputs, bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def fc(inputs: int, outputs: int, norm: Norm, parts: int = 1) -> nn.Sequential:
    """ReLU(norm(linear)); `parts` layers of `outputs` each, side by side, are computed as one."""
    layer = linear(inputs, parts * outputs)
    for weight in layer.weight.data.chunk(parts):
        nn.init.xavier_uniform_(weight)
    width = parts * outputs
    return nn.Sequential(layer, ChannelNorm(width) if norm == "batch" else nn.LayerNorm(width), nn.ReLU())


def pair(inputs: int, width: int, outputs: int, norm: Norm) -> nn.Sequential:
    """FC, then a plain linear layer."""
    return nn.Sequential(fc(inputs, width, norm), linear(width, outputs))


def split_heads(x: Tensor, heads: int, parts: int = 1) -> tuple[Tensor, ...]:
    """(..., heads * parts * d) -> `parts` views (..., heads, d) in which nodes and heads can be merged uncopied."""
    return x.unflatten(-1, (heads, parts, -1)).unbind(-2)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """softmax(q k^T / sqrt d) v for many lanes at once; heads, or sensors times heads, are lanes.

    query: (batch, queries, lanes, d); key, value: (batch, keys, lanes, d) -> (batch, queries, lanes, d).
    Nothing is copied: the lanes are a transposed view. mask: bool, True where allowed, to (batch, lanes, queries, keys)
    """
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, mask, is_causal=causal).transpose(1, 2)


class STEmbedding(nn.Module):
    """STE = spatial + temporal, each FC then linear: for every sensor and every past and future step.

    The paper feeds one-hot vectors to the temporal FC; a linear layer on one-hot vectors is a table look-up.
    """

    vectors: Tensor

    def __init__(self, nodes: int, embedding: int, calendar: Calendar, width: int, norm: Norm) -> None:
        super().__init__()
        self.calendar = calendar
        self.register_buffer("vectors", torch.zeros(nodes, embedding))
        self.spatial = pair(embedding, width, width, norm)
        self.rows = nn.Parameter(nn.init.xavier_uniform_(torch.empty(7 + calendar.slots, width)))
        first: nn.Module = ChannelNorm(width) if norm == "batch" else nn.LayerNorm(width)
        self.temporal = nn.Sequential(first, nn.ReLU(), linear(width, width))

    def forward(self, window: Windows) -> Tensor:
        """-> (batch, history + horizon, nodes, width)."""
        slot, day = self.calendar(window.time_of_day, window.day_of_week)
        temporal: Tensor = self.temporal(F.embedding(day, self.rows) + F.embedding(7 + slot, self.rows))
        return temporal[:, :, None] + self.spatial(self.vectors)


class SpatialAttention(nn.Module):
    """Attention over sensors at each step: dense, or in groups that cost nodes * size + groups^2 scores.

    Groups are a random partition, fresh at every call in training (from torch's global generator) and always the same
    one in eval mode. Attention runs inside each group; the maximum over a group speaks for it; attention among those
    adds what the whole network does to every member.
    """

    def __init__(self, width: int, heads: int, norm: Norm, groups: int = 1, between: bool = True) -> None:
        super().__init__()
        self.heads, self.groups = heads, groups
        self.project = fc(2 * width, width, norm, parts=3)
        self.between = fc(width, width, norm, parts=3) if groups > 1 and between else None
        self.output = pair(width, width, width, norm)

    def forward(self, x: Tensor) -> Tensor:
        """x = [H, STE]: (batch, steps, nodes, 2 width) -> (batch, steps, nodes, width)."""
        q, k, v = split_heads(self.project(x), self.heads, parts=3)
        attention = self._dense(q, k, v) if self.groups == 1 else self._grouped(q, k, v)
        output: Tensor = self.output(attention.flatten(-2))
        return output

    def _dense(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        steps = q.shape[:2]
        return attend(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1)).unflatten(0, steps)

    def _grouped(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        nodes, steps = q.shape[2], q.shape[:2]
        member, real = self._partition(nodes, q.device)  # (groups, size); the last places may be padding
        q, k, v = (x[:, :, member].flatten(0, 2) for x in (q, k, v))  # (batch * steps * groups, size, heads, d)
        mask = None if nodes % self.groups == 0 else real.repeat(steps.numel(), 1)[:, None, None]
        local = attend(q, k, v, mask).unflatten(0, (*steps, self.groups))  # (b, t, groups, size, heads, d)
        if self.between is not None:
            spokesman = local.masked_fill(~real[..., None, None], -torch.inf).amax(3).flatten(-2)
            local = local + self._dense(*split_heads(self.between(spokesman), self.heads, parts=3))[:, :, :, None]
        place = torch.empty(nodes, dtype=torch.long, device=q.device)
        place[member[real]] = real.flatten().nonzero().squeeze(1)
        return local.flatten(2, 3)[:, :, place]

    def _partition(self, nodes: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Members of each group (groups, size), padded with repeats, and which of them are real."""
        fixed = None if self.training else torch.Generator().manual_seed(0)
        order = torch.randperm(nodes, generator=fixed)
        # group g takes the places g, g + groups, ..., so that sizes differ by one at most
        place = torch.arange(-(-nodes // self.groups) * self.groups).view(-1, self.groups).T
        return order[place % nodes].to(device), (place < nodes).to(device)


class TemporalAttention(nn.Module):
    """Attention over steps at each sensor; `causal` lets a step see the past and itself only."""

    def __init__(self, width: int, heads: int, norm: Norm, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.project = fc(2 * width, width, norm, parts=3)
        self.output = pair(width, width, width, norm)

    def forward(self, x: Tensor) -> Tensor:
        """x = [H, STE]: (batch, steps, nodes, 2 width) -> (batch, steps, nodes, width)."""
        q, k, v = (part.flatten(2, 3) for part in split_heads(self.project(x), self.heads, parts=3))
        output: Tensor = self.output(attend(q, k, v, causal=self.causal).reshape(*x.shape[:3], -1))
        return output


class TransformAttention(nn.Module):
    """From past to future, at each sensor: the future's embedding asks the past's embedding for the past's features."""

    def __init__(self, width: int, heads: int, norm: Norm) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (fc(width, width, norm) for _ in range(3))
        self.output = pair(width, width, width, norm)

    def attention(self, h: Tensor, past: Tensor, future: Tensor) -> Tensor:
        """h, past: (batch, history, nodes, width); future: (batch, horizon, nodes, width) -> as future."""
        q, k, v = (
            split_heads(layer(x), self.heads)[0].flatten(2, 3)
            for layer, x in ((self.query, future), (self.key, past), (self.value, h))
        )
        return attend(q, k, v).reshape(future.shape)

    def forward(self, h: Tensor, past: Tensor, future: Tensor) -> Tensor:
        output: Tensor = self.output(self.attention(h, past, future))
        return output


class STAttentionBlock(nn.Module):
    """H + FC(z HS + (1 - z) HT), z = sigmoid(HS W1 + HT W2 + b)."""

    def __init__(self, width: int, heads: int, norm: Norm, causal: bool, groups: int) -> None:
        super().__init__()
        self.spatial = SpatialAttention(width, heads, norm, groups)
        self.temporal = TemporalAttention(width, heads, norm, causal)
        self.gate_spatial, self.gate_temporal = linear(width, width, bias=False), linear(width, width)
        self.output = pair(width, width, width, norm)

    def forward(self, h: Tensor, ste: Tensor) -> Tensor:
        """h, ste: (batch, steps, nodes, width) -> the same."""
        x = torch.cat([h, ste], dim=-1)
        spatial, temporal = self.spatial(x), self.temporal(x)
        z = torch.sigmoid(self.gate_spatial(spatial) + self.gate_temporal(temporal))
        return h + self.output(torch.lerp(temporal, spatial, z))


class GMAN(Forecaster):
    """See the module.

    heads, head_width: K heads of d channels each
    blocks:        L, in the encoder and in the decoder
    embedding:     length of the node2vec vectors
    day_slots:     times of day that the clock distinguishes; by default every step, and fewer blur the order of steps
    causal:        temporal attention looks back only (the paper, and its METR-LA code; its PeMS-BAY code does not)
    groups:        of sensors in spatial attention; by default 1 up to 256 sensors, then about nodes^(1/3), the optimum
    norm:          "batch" as in the code, or "layer"
    """

    recipe: ClassVar[Recipe] = Recipe(lr=4e-3, batch_size=16, clip=None)
    precision: ClassVar[Literal["auto", "fp32"]] = "fp32"  # attention with few channels per head is slower in bf16

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
    ) -> None:
        super().__init__(nodes, channels, history, horizon, steps_per_day)
        width = heads * head_width
        if groups is None:
            groups = 1 if nodes <= 256 else round((nodes**2 / 2) ** (1 / 3))
        self.embedding = STEmbedding(nodes, embedding, Calendar(steps_per_day, day_slots), width, norm)
        self.input = pair(channels, width, width, norm)
        self.encoder = nn.ModuleList(STAttentionBlock(width, heads, norm, causal, groups) for _ in range(blocks))
        self.transform = TransformAttention(width, heads, norm)
        self.decoder = nn.ModuleList(STAttentionBlock(width, heads, norm, causal, groups) for _ in range(blocks))
        self.output = pair(width, width, channels, norm)

    def read(self, data: Series) -> None:
        """Statistics, the clock, and node2vec vectors of the data's graph.

        Data without a graph gets one from correlations in the training part, see `sensor_graph`.
        """
        super().read(data)
        self.embedding.calendar.read(data)
        vectors = self.embedding.vectors
        vectors.copy_(sensor_vectors(data, vectors.shape[1]))

    def network(self, past: Tensor, window: Windows) -> Tensor:
        ste = self.embedding(window)
        before, after = ste[:, : self.history], ste[:, self.history :]
        h: Tensor = self.transform(self.encode(past, before), before, after)
        for block in self.decoder:
            h = block(h, after)
        output: Tensor = self.output(h)
        return output

    def encode(self, past: Tensor, before: Tensor) -> Tensor:
        """(batch, history, nodes, channels) and the STE of the past -> (batch, history, nodes, width)."""
        h: Tensor = self.input(past)
        for block in self.encoder:
            h = block(h, before)
        return h


def sensor_vectors(data: Any, size: int) -> Tensor:
    """(nodes, size) node2vec vectors of the sensor graph.

    p = 2, q = 1 and windows of 10 as in the paper's code; 20 walks of 40 nodes instead of its 100 of 80.
    """
    return node2vec(sensor_graph(data), dim=size, walks=20, length=40, p=2.0, q=1.0)

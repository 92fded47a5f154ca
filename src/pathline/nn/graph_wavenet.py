"""A backbone of gated dilated convolutions over time and diffusion over a graph.

    z = tanh(a * x) sigmoid(b * x)          kernel 2, dilation d, over time, at each node
    h = sum_k A^k z W_k + x                 k = 0 .. hops, along A and, if two-way, along the walk against it
    skip += s h                             over all time steps that are left
Wu, Pan, Long, Jiang, Zhang, 2019, "Graph WaveNet for Deep Spatial-Temporal Graph Modeling", arXiv:1906.00121.
Departs: no batch norm, whose statistics would mix real with virtual nodes; the skip reads every step that a layer
leaves, as in MTGNN (arXiv:2005.11650), so that few layers see a long past.
"""

import torch
from torch import Tensor, nn

from pathline.nn.graph_gru import diffusion_supports


class DiffusionConvolution(nn.Module):
    """sum_s S_s x W_s + b: x (batch, steps, nodes, inputs), supports (supports, nodes, nodes) -> (..., outputs).

    The first support is taken to be the identity, and is not multiplied with.
    """

    def __init__(self, inputs: int, outputs: int, supports: int) -> None:
        super().__init__()
        self.map = nn.Linear(supports * inputs, outputs)

    def forward(self, x: Tensor, supports: Tensor) -> Tensor:
        seen = torch.einsum("snm,btmc->btnsc", supports[1:], x).flatten(3)
        output: Tensor = self.map(torch.cat([x, seen], dim=-1))
        return output


class GatedStep(nn.Module):
    """tanh(a * x) sigmoid(b * x) with causal kernels of 2 steps, `dilation` apart: (batch, steps, nodes, width) ->
    `dilation` steps fewer."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.map = nn.Linear(2 * width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.map(torch.cat([x[:, : -self.dilation], x[:, self.dilation :]], dim=-1)).chunk(2, dim=-1)
        return value.tanh() * gate.sigmoid()


class GraphWaveNet(nn.Module):
    """(batch, steps, nodes, inputs) and A (nodes, nodes) -> (batch, nodes, skip).

    dilations: one per layer, 1, 2, 1, 2, ... as far as `steps` allow;  hops: largest power of A;
    two_way: diffuse along the walk of A^T too
    """

    def __init__(
        self, inputs: int, width: int, skip: int, steps: int, layers: int = 2, hops: int = 2, two_way: bool = True
    ) -> None:
        super().__init__()
        self.hops, self.two_way = hops, two_way
        self.input = nn.Linear(inputs, width)
        self.times, self.graphs, self.skips = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for layer in range(layers):
            dilation = min(1 + layer % 2, steps - 1)
            if dilation < 1:
                raise ValueError(f"{layers} layers look back further than the past reaches: use {layer}")
            steps -= dilation
            self.times.append(GatedStep(width, dilation))
            self.graphs.append(DiffusionConvolution(width, width, 1 + hops * (1 + two_way)))
            self.skips.append(nn.Linear(steps * width, skip))

    def layers(self, x: Tensor, adjacency: Tensor) -> list[Tensor]:
        """What every layer makes of x: (batch, steps left, nodes, width)."""
        supports = diffusion_supports(adjacency, self.hops, self.two_way)
        h, made = self.input(x), []
        for time, graph in zip(self.times, self.graphs, strict=True):
            z = time(h)
            h = graph(z, supports) + h[:, -z.shape[1] :]
            made.append(h)
        return made

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        made = self.layers(x, adjacency)
        return torch.stack([skip(h.transpose(1, 2).flatten(2)) for skip, h in zip(self.skips, made, strict=True)]).sum(
            0
        )

"""Numbers as waves: times that passed, and which node it is."""

import torch
from torch import Tensor, nn


class TimeEncoding(nn.Module):
    """phi(t) = cos(t a + b), a and b learned; a begins as 10^-linspace(0, decades), slow and fast waves alike.

    What is learned is the factor by which each a differs from its beginning: a step of an optimiser then changes slow
    and fast waves in proportion, where steps of a itself would turn the slow ones into noise at once.

    Xu, Ruan, Korpeoglu, Kumar, Achan, 2020, "Inductive Representation Learning on Temporal Graphs", arXiv:2002.07962.
    """

    start: Tensor

    def __init__(self, width: int, decades: float = 9.0) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("start", 10 ** -torch.linspace(0, decades, width))
        self.factor = nn.Parameter(torch.ones(width))
        self.phase = nn.Parameter(torch.zeros(width))

    def forward(self, time: Tensor) -> Tensor:
        """(...,) of any real type -> (..., width) float32."""
        rate = self.start * self.factor
        return torch.cos(time[..., None].to(rate.dtype) * rate + self.phase)


class NodeEncoding(nn.Module):
    """phi_n(i) = cos(i / nodes a + b) of a node's number i, a and b learned.

    A raw number in the cosine would alias: nodes that differ by a period would be one. Numbers are therefore scaled to
    [0, 1), and the waves begin at pi times 1 .. nodes, from ones that change over all nodes to ones that tell
    neighbours apart.
    """

    def __init__(self, nodes: int, width: int) -> None:
        super().__init__()
        self.nodes = nodes
        self.rate = nn.Parameter(torch.pi * torch.logspace(0, torch.log10(torch.tensor(float(max(nodes, 2)))), width))
        self.phase = nn.Parameter(2 * torch.pi * torch.rand(width))

    def forward(self, node: Tensor) -> Tensor:
        """(...,) int64 -> (..., width)."""
        return torch.cos((node / self.nodes)[..., None] * self.rate + self.phase)


class OneHotNode(nn.Module):
    """The node's number as a unit vector: what constructions and small sets of nodes use."""

    def __init__(self, nodes: int) -> None:
        super().__init__()
        self.nodes = nodes

    def forward(self, node: Tensor) -> Tensor:
        """(...,) int64 -> (..., nodes)."""
        return nn.functional.one_hot(node, self.nodes).float()

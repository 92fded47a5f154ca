"""Learned positional encodings: what a network makes of eigenvectors, returns of random walks, and colours.

    flips      [s_1 v_1, .., s_k v_k, l, there], s drawn from +1, -1 for each graph whenever it is seen in training
    SPE        rho( (V diag(phi_m(l)) V^T)_m ),  rho_i(A) = MLP(A_ii, sum_j MLP(A_ij))
               Huang, Lu, Robinson, Yang, Zhang, Jegelka, Li, 2024, "On the Stability of Expressive Positional
               Encodings for Graphs", arXiv:2310.02579. It sees neither signs nor rotations inside an eigenspace. The
               paper's rho is a graph network on the rows of A; here it is the simplest function of a row as a set.
    RWDIFF     p_i <- p_i + tanh(W_1 p_i + sum_j s_ij * W_2 p_j / sum_j s_ij),  s_ij = sigmoid(U_1 p_i + U_2 p_j),
               begun from diag(P^t); with a loss that draws p towards eigenvectors of the Laplacian L:
               tr(p^T L p) / k n + (lambda / k) |p^T p - I|^2
               Dwivedi, Luu, Laurent, Bengio, Bresson, 2022, "Graph Neural Networks with Learnable Structural and
               Positional Representations", arXiv:2110.07875
    colours    sin and cos of 2 pi f c / C, f = 1, 2, .. of a colour c out of C, or a learned vector for each of them
SignNet stands in `nn.sign_net`.
"""

import math

import torch
from torch import Tensor, nn

from pathline.graph.ragged import position_in_segment, starts_of
from pathline.graph.segment import segment_sum
from pathline.graph.sparse import Edges
from pathline.nn.mlp import MLP

COLOURS = 1 << 20  # that are told apart
LEARNED = 1 << 10  # that have a vector each


def flipped(vectors: Tensor, graph: Tensor, graphs: int) -> Tensor:
    """Eigenvectors (nodes, k) with a sign drawn for each of them and each graph."""
    sign = 2.0 * torch.randint(2, (graphs, vectors.shape[1]), device=vectors.device) - 1
    return vectors * sign.to(vectors.dtype)[graph]


class StableEncoding(nn.Module):
    """SPE: k eigenvectors -> width numbers per node.

    filters: how many phi there are
    """

    def __init__(self, width: int, filters: int = 8, hidden: int = 32) -> None:
        super().__init__()
        self.phi = MLP([1, hidden, filters], nn.SiLU)
        self.pair = MLP([filters, hidden, hidden], nn.ReLU)
        self.node = MLP([filters + hidden, hidden, width], nn.ReLU)

    def forward(self, vectors: Tensor, values: Tensor, there: Tensor, graph: Tensor, graphs: int) -> Tensor:
        """vectors, values, there: (nodes, k), 0 where a graph has fewer -> (nodes, width)."""
        count = torch.bincount(graph, minlength=graphs)
        place = position_in_segment(count)
        first = starts_of(count)[:-1]
        largest = int(count.max())
        basis = vectors.new_zeros(graphs, largest, vectors.shape[1])
        basis[graph, place] = vectors * there
        filtered = self.phi(values[first][..., None]) * there[first][..., None]
        gram = torch.einsum("gik,gkm,gjk->gijm", basis, filtered, basis)
        inside = (torch.arange(largest, device=graph.device) < count[:, None]).to(gram.dtype)
        rows = (self.pair(gram) * inside[:, None, :, None]).sum(2)
        own = gram.diagonal(dim1=1, dim2=2).mT
        encoding: Tensor = self.node(torch.cat([own, rows], -1)[graph, place])
        return encoding


class DiffusedWalks(nn.Module):
    """RWDIFF: returns (nodes, k) -> p (nodes, width), by layers of its own along the edges."""

    def __init__(self, k: int, width: int, layers: int = 2) -> None:
        super().__init__()
        self.start = nn.Linear(k, width)
        self.layers = nn.ModuleList([nn.Linear(width, 4 * width) for _ in range(layers)])

    def forward(self, returns: Tensor, edges: Edges) -> Tensor:
        p = self.start(returns)
        sender, receiver = edges.edge_index
        for layer in self.layers:
            own, sent, here, there = layer(p).chunk(4, 1)
            gate = torch.sigmoid(here[receiver] + there[sender])
            heard = edges.weight_sum(gate * sent[sender]) / (edges.weight_sum(gate) + 1e-6)
            p = p + torch.tanh(own + heard)
        return p


def eigenvector_loss(p: Tensor, edges: Edges, graph: Tensor, graphs: int, orthogonality: float = 0.1) -> Tensor:
    """How far p (nodes, k) is from k low and orthonormal eigenvectors of I - D^-1/2 A D^-1/2; the mean over graphs.

    orthogonality: lambda.
    """
    k = p.shape[1]
    degree = edges.in_degree.to(p.dtype)
    scale = torch.where(degree > 0, degree, 1.0).rsqrt()
    sender, receiver = edges.edge_index
    smooth = p * (degree > 0).to(p.dtype)[:, None] - edges.propagate(p, scale[sender] * scale[receiver])
    rough = segment_sum((p * smooth).sum(1), graph, graphs)
    size = torch.bincount(graph, minlength=graphs).to(p.dtype)
    outer = segment_sum((p[:, :, None] * p[:, None]).flatten(1), graph, graphs).unflatten(1, (k, k))
    apart = (outer - torch.eye(k, dtype=p.dtype, device=p.device)).square().sum((1, 2))
    return (rough / (k * size) + orthogonality / k * apart).mean()


def colour_waves(colours: Tensor, width: int) -> Tensor:
    """(.., width) float32 of colours (..) in 0 .. COLOURS - 1; width is even."""
    angle = 2 * math.pi / COLOURS * colours.double()[..., None] * torch.arange(1, width // 2 + 1)
    return torch.cat([angle.sin(), angle.cos()], -1).float()


class ColourEncoding(nn.Module):
    """Colours (nodes, rounds) as floats of whole numbers -> (nodes, rounds * width).

    learned: whether colours (modulo `LEARNED`) have vectors that are learned, instead of waves
    """

    def __init__(self, width: int, learned: bool = False) -> None:
        super().__init__()
        self.width = width
        self.table = nn.Embedding(LEARNED, width) if learned else None

    def forward(self, colours: Tensor) -> Tensor:
        if self.table is None:
            return colour_waves(colours, self.width).to(colours.dtype).flatten(1)
        vectors: Tensor = self.table(colours.long() % LEARNED)
        return vectors.flatten(1)

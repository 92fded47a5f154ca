"""Scores of pairs from encoded nodes and their neighbourhoods.

All are called alike, predictor(h, near, pairs): from h (nodes, width) and pairs (2, m) to (m,) logits or scores, the
same for (i, j) as for (j, i).
"""

import torch
from torch import Tensor, nn

from pathline.graph.common_neighbours import Neighbourhoods

HEURISTICS = ("cn", "aa", "ra")


def stack(width: int, normed: tuple[bool, ...], dropout: float, last: int | None = None) -> nn.Sequential:
    """Linear layers, each with (normalisation,) dropout and ReLU; `last`: outputs of a bare linear layer at the end."""
    parts: list[nn.Module] = []
    for norm in normed:
        parts += [nn.Linear(width, width), nn.LayerNorm(width) if norm else nn.Identity()]
        parts += [nn.Dropout(dropout), nn.ReLU()]
    return nn.Sequential(*parts, *([] if last is None else [nn.Linear(width, last)]))


class HadamardPredictor(nn.Module):
    """out(pair(h_i o h_j)): what a graph autoencoder says; neighbourhoods do not matter.

    norm: layer normalisation inside;  deep: one linear layer more in `out`
    """

    def __init__(self, width: int, dropout: float = 0.0, norm: bool = True, deep: bool = False) -> None:
        super().__init__()
        self.pair = stack(width, (norm,), dropout)
        self.out = stack(width, (norm, norm) if deep else (norm,), dropout, last=1)

    def forward(self, h: Tensor, near: Neighbourhoods, pairs: Tensor) -> Tensor:
        logits: Tensor = self.out(self.pair(h[pairs[0]] * h[pairs[1]]))[:, 0]
        return logits


class HeuristicPredictor(nn.Module):
    """sum over common neighbours u of w_u; nothing is learned and h does not matter.

    cn: w = 1;  aa: w = 1 / log degree(u) (Adamic and Adar, 2003);  ra: w = 1 / degree(u) (Zhou, Lü, Zhang, 2009)
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        if kind not in HEURISTICS:
            raise ValueError(f"there is no heuristic '{kind}'; choose one of {', '.join(HEURISTICS)}")
        self.kind = kind

    def forward(self, h: Tensor, near: Neighbourhoods, pairs: Tensor) -> Tensor:
        degree = near.degree.double()
        if self.kind == "cn":
            weight = torch.ones_like(degree)
        else:  # a common neighbour has at least two neighbours
            weight = 1 / (degree.clamp(min=2).log() if self.kind == "aa" else degree.clamp(min=1))
        return near.common(pairs).times(weight[:, None])[:, 0]

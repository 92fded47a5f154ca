"""EvolveGCN: a graph convolution whose weights are moved through time by a recurrent cell.

A model that remembers nodes knows nothing of a node that it never saw. Here nothing is remembered of nodes: what is
carried from one snapshot to the next are the weights of the convolution, so nodes may come and go. Use it where the
graph as a whole changes its habits and nodes are many or new. Do not use it where single pairs repeat themselves, for
which the memory models of this room are made.
It learns from a stream of events, which it cuts into snapshots, or from an `EvolvingGraph`, which may have features of
nodes and classes of edges or nodes at every snapshot (`task`).

    W_t = cell(W_{t-1}, ...),      H_t^l = act(Ahat_t H_t^{l-1} W_t^l),      Ahat = D^-1/2 (A + I) D^-1/2,  two layers
    -H:  W_t = GRU(summary(H_t^{l-1}), W_{t-1})     the summary: the best-scored nodes as columns, `nn.TopSummary`
    -O:  W_t = GRU(W_{t-1}, W_{t-1}) or LSTM(W_{t-1}): no node is looked at
from W_0, learned, at the beginning of every window. act is a randomised leaky ReLU. The cells: `nn.matrix_recurrent`.

Pareja et al., 2020, "EvolveGCN: Evolving Graph Convolutional Networks for Dynamic Graphs", AAAI, arXiv:1902.10191.
Departs: Ahat X of the first layer does not depend on weights and is made once; of the last layer only the last snapshot
is computed. Several windows are one batch. A pair without direction gets the mean of both orders of its ends. A
snapshot in which no node is present has a summary of zeros. Along a stream, windows end at the present.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.events.snapshot_windows import Windows
from pathline.events.snapshots import SnapshotModel
from pathline.nn.matrix_recurrent import MatrixGRU, MatrixLSTM, TopSummary, uniform

Version = Literal["H", "O"]
Cell = Literal["gru", "lstm"]


class EvolvingWeights(nn.Module):
    """W_1, ..., W_T of one layer, from W_0 (inputs, outputs)."""

    def __init__(self, inputs: int, outputs: int, version: Version, cell: Cell) -> None:
        super().__init__()
        self.first = uniform(inputs, outputs, width=outputs)
        self.summary = TopSummary(inputs, outputs) if version == "H" else None
        self.cell: MatrixGRU | MatrixLSTM = (MatrixGRU if cell == "gru" else MatrixLSTM)(inputs, outputs)

    def forward(self, nodes: list[Tensor], present: list[Tensor]) -> list[Tensor]:
        """nodes: T tensors (B, N_t, inputs), present: T tensors (B, N_t) bool -> T weights (..., inputs, outputs).

        Without a summary the weights are the same for all windows and have no batch dimension.
        """
        weight, memory = self.first, torch.zeros_like(self.first)
        weights = []
        for x, there in zip(nodes, present, strict=True):
            seen = weight if self.summary is None else self.summary(x, there)
            if isinstance(self.cell, MatrixLSTM):
                weight, memory = self.cell(seen, weight, memory)
            else:
                weight = self.cell(seen, weight)
            weights.append(weight)
        return weights


class EvolvingGCN(nn.Module):
    """Two graph convolutions with moving weights. Snapshots of a window may have different numbers of nodes."""

    def __init__(self, inputs: int, width: int, version: Version, cell: Cell) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [EvolvingWeights(inputs, width, version, cell), EvolvingWeights(width, width, version, cell)]
        )
        self.activation = nn.RReLU()

    def forward(
        self, features: list[Tensor], smoothed: list[Tensor], present: list[Tensor], adjacency: Tensor
    ) -> Tensor:
        """features, smoothed = Ahat X: T tensors (B, N_t, inputs); present: T tensors (B, N_t) bool;
        adjacency: Ahat of the last snapshots, sparse (B N_T, B N_T), one block for each window -> (B, N_T, width)."""
        first, second = self.layers
        hidden = [self.activation(x @ w) for x, w in zip(smoothed, first(features, present), strict=True)]
        last = hidden[-1] @ second(hidden, present)[-1]
        out: Tensor = self.activation((adjacency @ last.flatten(0, 1)).view_as(last))
        return out


class EvolveGCN(SnapshotModel):
    """Moving weights of a graph convolution, and a head for links, edges or nodes.

    version: "H" summarises the nodes, "O" does not;  cell: "gru", or "lstm" for version O
    options: those of SnapshotModel
    """

    def __init__(
        self,
        stream: dict[str, Any],
        version: Version = "H",
        cell: Cell = "gru",
        task: Literal["links", "edges", "nodes"] = "links",
        snapshots: int = 60,
        window: int = 5,
        width: int = 32,
        head: int = 32,
        largest_degree: int = 32,
        negatives: int = 1,
        test_negatives: int = 1,
        class_weights: list[float] | None = None,
        skip: bool = False,
        classes: int = 2,
    ) -> None:
        if version not in ("H", "O") or cell not in ("gru", "lstm") or (version, cell) == ("H", "lstm"):
            raise MethodError(
                f"EvolveGCN has no version '{version}' with the cell '{cell}'; there are H with gru, O with gru or lstm"
            )
        super().__init__(
            stream,
            task,
            snapshots,
            window,
            width,
            head,
            largest_degree,
            negatives,
            test_negatives,
            class_weights,
            skip,
            classes,
        )
        self.network = EvolvingGCN(self.inputs, width, version, cell)

    def encode(self, windows: Windows) -> Tensor:
        last = windows.adjacency[-1]
        assert last is not None
        out: Tensor = self.network(list(windows.features), list(windows.smoothed), list(windows.present), last)
        return out

"""Snapshots as tensors for networks: described one by one, and cut into windows that are answered together."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pathline.data.container import Batch
from pathline.data.evolving_graphs import EvolvingGraph
from pathline.graph.snapshots import both_ways, degree_one_hot, normalised_adjacency


@dataclass(frozen=True)
class Described:
    """The snapshots of an EvolvingGraph, ready for networks.

    features: (steps, nodes, F);  smoothed: Ahat X of the same shape;  adjacency: sparse Ahat of each
    """

    graph: EvolvingGraph
    features: Tensor
    smoothed: Tensor
    adjacency: list[Tensor]

    @classmethod
    def of(cls, graph: EvolvingGraph, largest_degree: int) -> "Described":
        features, smoothed, adjacency = [], [], []
        for step in range(graph.steps):
            source, target, _ = graph.edges(step)
            edge_index = both_ways(source, target, graph.nodes)
            ends = [source, target] if graph.directed else [edge_index[0]]
            parts = [degree_one_hot(end, graph.nodes, largest_degree) for end in ends]
            if graph.features is not None:
                parts.insert(0, graph.features[step])
            features.append(torch.cat(parts, 1))
            adjacency.append(normalised_adjacency(edge_index, graph.nodes))
            smoothed.append(adjacency[-1] @ features[-1])
        return cls(graph, torch.stack(features), torch.stack(smoothed), adjacency)


@dataclass(frozen=True)
class Windows(Batch):
    """Windows of snapshots. B windows of W snapshots with the same N nodes.

    features, smoothed: W tensors (B, N, F);  present: W tensors (B, N) bool
    adjacency: W sparse matrices (B N, B N), block-diagonal; None where no method asks for it
    asked:     (2, questions) int64 rows of nodes, counted through all windows: b N + node
    label:     (questions,) int64
    Processes that share a training see the same windows.
    """

    features: tuple[Tensor, ...]
    smoothed: tuple[Tensor, ...]
    present: tuple[Tensor, ...]
    adjacency: tuple[Tensor | None, ...]
    asked: Tensor
    label: Tensor

    def __len__(self) -> int:
        return len(self.features[0])

    def map(self, function: Any) -> "Windows":
        def each(parts: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(None if part is None else function(part) for part in parts)

        return replace(
            self,
            features=each(self.features),
            smoothed=each(self.smoothed),
            present=each(self.present),
            adjacency=each(self.adjacency),
            asked=function(self.asked),
            label=function(self.label),
        )

    def part(self, rank: int, world: int) -> "Windows":
        return self

"""The graph a method works on when it needs one: the data's own, or one read off the data."""

import torch
from torch import Tensor

from pathline.data import Series


def sensor_graph(data: Series, neighbours: int = 8) -> Tensor:
    """(nodes, nodes) weights >= 0 without loops: the data's own (of one that changes the mean), else
    `correlation_graph`."""
    graph = correlation_graph(data, neighbours) if data.graph is None else data.graph
    return graph.float().masked_fill(torch.eye(len(graph), dtype=torch.bool), 0.0)


def correlation_graph(data: Series, neighbours: int = 8) -> Tensor:
    """Each sensor joined with the `neighbours` others it correlates with most, weight = correlation, if positive.

    Correlations are taken of the changes from step to step (the level would join all sensors that share a rush hour),
    over the moments at which both sensors have values, averaged over channels. Symmetric.
    """
    both = data.observed[1:] & data.observed[:-1]
    change = torch.where(both, data.values[1:] - data.values[:-1], 0.0).double()
    present = both.double()
    change = (change - change.sum(0) / present.sum(0).clamp(min=1)) * present
    covariance = torch.einsum("tnc,tmc->nmc", change, change)
    shared = torch.einsum("tnc,tmc->nmc", change.square(), present)  # energy of n while m was watched
    correlation = (covariance / (shared * shared.transpose(0, 1)).sqrt().clamp(min=1e-12)).mean(-1)
    correlation = correlation.fill_diagonal_(0.0).clamp(min=0.0)
    nearest = correlation.topk(min(neighbours, len(correlation) - 1)).indices
    kept = torch.zeros_like(correlation).scatter_(1, nearest, 1.0)
    return (correlation * torch.maximum(kept, kept.T)).float()

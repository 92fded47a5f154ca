"""node2vec: a vector for every node such that nodes met on the same short walks lie close together.

Second-order random walks (`walks.node2vec_walks`) are read as sentences, and skip-gram with negative sampling fits

    maximise  sum_ij #(i, j) log s(u_i . v_j)  +  k sum_i #(i) sum_j P(j) log s(-u_i . v_j),     s = logistic function

with #(i, j) how often j falls within `window` steps of i (nearer pairs count more, as word2vec's shrinking window
does on average), k negatives per pair drawn from P(j) ~ #(j)^0.75.
Grover and Leskovec 2016, "node2vec: Scalable Feature Learning for Networks", arXiv:1607.00653;
objective in this counted form: Levy and Goldberg 2014, "Neural Word Embedding as Implicit Matrix Factorization".
Departs: negatives enter by their expectation instead of by samples. That is the same objective without its noise, and
turns millions of pairs into one (block of centres, nodes) table per step.
"""

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor
from torch.nn.functional import logsigmoid

from pathline.graph.adjacency import edges_of
from pathline.graph.walks import node2vec_walks, to_csr

_BLOCK = 1 << 22  # scores u . v held at once


def cooccurrence(walks: Tensor, nodes: int, window: int) -> csr_matrix:
    """(nodes, nodes) weighted counts of ordered pairs at most `window` steps apart on the same walk.

    walks: (W, L) int64, -1 after an early end. A pair d steps apart counts (window + 1 - d) / window, the share of
    word2vec's random windows that reach it. Pairs of a node with itself are left out.
    """
    counts = csr_matrix((nodes, nodes))
    rows = walks.numpy()
    for distance in range(1, min(window, rows.shape[1] - 1) + 1):
        centre, context = rows[:, :-distance].ravel(), rows[:, distance:].ravel()
        kept = (context >= 0) & (centre != context)
        weight = np.full(int(kept.sum()), (window + 1 - distance) / window)
        counts = counts + csr_matrix((weight, (centre[kept], context[kept])), shape=(nodes, nodes))
    return counts + counts.T


def node2vec(
    graph: Tensor,
    dim: int = 64,
    walks: int = 100,
    length: int = 80,
    p: float = 1.0,
    q: float = 1.0,
    window: int = 10,
    negatives: int = 5,
    epochs: int = 100,
    lr: float = 0.05,
    seed: int = 0,
    nodes: int | None = None,
) -> Tensor:
    """Embed the nodes of a graph; see the module for the objective.

    graph: (nodes, nodes) floating-point adjacency, weights >= 0, or an integer edge_index (2, E) with weights 1 (then
    give `nodes` if the last ones may be isolated). walks: walks from each node; length: nodes per walk; p, q: return
    and in-out parameters. Returns (nodes, dim) float32; a node without edges keeps its small random vector.
    Deterministic given `seed`; torch's global generator is left alone.
    """
    if graph.is_floating_point():
        if graph.dim() != 2 or graph.shape[0] != graph.shape[1]:
            raise ValueError(f"the adjacency has shape {tuple(graph.shape)} but must be (nodes, nodes)")
        edge_index, weight = edges_of(graph.detach().cpu())
        nodes = len(graph)
    else:
        edge_index, weight = graph.cpu(), None
        nodes = int(graph.max()) + 1 if nodes is None else nodes
    generator = torch.Generator().manual_seed(seed)
    starts = torch.arange(nodes).repeat(walks)
    paths = node2vec_walks(to_csr(edge_index, nodes, weight), starts, length, generator, p, q)
    return _skip_gram(cooccurrence(paths, nodes, window), dim, negatives, epochs, lr, generator)


def _skip_gram(
    counts: csr_matrix, dim: int, negatives: int, epochs: int, lr: float, generator: torch.Generator
) -> Tensor:
    """Centre vectors (nodes, dim) of the objective, by Adam over blocks of centres; lr falls linearly to 0."""
    nodes = counts.shape[0]
    total = torch.from_numpy(np.asarray(counts.sum(1)).ravel()).float()
    noise = total**0.75 / (total**0.75).sum().clamp(min=1e-12)
    centre = (torch.randn(nodes, dim, generator=generator) / dim).requires_grad_()
    context = (torch.randn(nodes, dim, generator=generator) / dim).requires_grad_()
    size = max(1, min(nodes, _BLOCK // nodes))
    steps = epochs * -(-nodes // size)
    optimiser = torch.optim.Adam([centre, context], lr=lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / max(1, steps))
    with torch.enable_grad():
        for _ in range(epochs):
            for block in torch.randperm(nodes, generator=generator).split(size):
                score = centre[block] @ context.T
                pairs = torch.from_numpy(counts[block.numpy()].toarray()).float()
                push = negatives * total[block, None] * noise
                # log s(-x) = log s(x) - x: one logistic serves both terms
                gain = (pairs + push) * logsigmoid(score) - push * score
                optimiser.zero_grad()
                (-gain.sum() / total[block].sum().clamp(min=1.0)).backward()
                optimiser.step()
                schedule.step()
    return centre.detach()

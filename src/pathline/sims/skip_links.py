"""Circular skip links: graphs that refinement of colours cannot tell apart, and that walks and eigenvectors can.

A graph is a ring of n nodes with a link from every node to the one `skip` places on. All nodes of all graphs have four
neighbours, so message passing without an encoding answers at chance. Murphy, Srinivasan, Rao, Ribeiro, 2019,
"Relational Pooling for Graph Representations", arXiv:1903.02541; Chen, Villar, Chen, Bruna, 2019.
"""

from collections.abc import Sequence

import torch

from pathline.data.graph_list import Graphs

SKIPS = (2, 3, 4, 5, 6, 9, 11, 12, 13, 16)


def circular_skip_links(copies: int = 15, nodes: int = 41, skips: Sequence[int] = SKIPS, seed: int = 0) -> Graphs:
    """`copies` of each graph, nodes numbered at random; the class is the skip. Nodes have no features."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(skips)).repeat_interleave(copies)
    count = len(labels)
    line = torch.arange(nodes)
    skip = torch.tensor(skips)[labels][:, None]
    ahead = torch.cat([((line + 1) % nodes).expand(count, -1), (line + skip) % nodes], 1)
    number = torch.rand(count, nodes, generator=generator).argsort(1)
    ends = torch.stack([number.repeat(1, 2), number.gather(1, ahead)]) + nodes * torch.arange(count)[:, None]
    return Graphs(
        sizes=torch.full((count,), nodes),
        edge_index=torch.cat([ends, ends.flip(0)], 2).flatten(1),
        features=torch.zeros(count * nodes, 0),
        labels=labels,
        classes=tuple(f"skip {skip}" for skip in skips),
        name="csl",
    )

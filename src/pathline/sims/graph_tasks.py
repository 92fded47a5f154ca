"""Tasks on graphs that are made to ask for one thing: to hear some neighbours only, to hear far, to hear past a bridge.

In all of them one node of a graph, its root, must answer.
"""

import torch
from torch import Tensor

from pathline.data.graph_list import Graphs
from pathline.graph.ragged import places_of, position_in_segment, starts_of
from pathline.graph.segment import segment_mean

HUB_LEAVES = 5  # with the root, six neighbours


def ring_transfer(count: int, nodes: int = 10, classes: int = 5, seed: int = 0) -> Graphs:
    """Rings: the node across the ring from the root holds a class, the root must answer it.

    Features (classes) are the class's unit vector at the source, 0 at the root and 1 elsewhere. Bodnar et al., 2021,
    arXiv:2106.12575; Gutteridge et al., 2023. Information has to travel nodes // 2 steps.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count)[torch.randperm(count, generator=generator)] % classes
    features = torch.ones(count, nodes, classes)
    features[:, 0] = 0.0
    features[:, nodes // 2] = torch.eye(classes)[labels]
    line = torch.arange(nodes)
    ring = torch.stack([torch.cat([line, (line + 1) % nodes]), torch.cat([(line + 1) % nodes, line])])
    first = nodes * torch.arange(count)
    return Graphs(
        sizes=torch.full((count,), nodes),
        edge_index=(ring[:, None] + first[:, None]).flatten(1),
        features=features.flatten(0, 1),
        labels=labels,
        classes=tuple(f"class {k}" for k in range(classes)),
        roots=first,
        name=f"ring-transfer-{nodes}",
    )


def root_neighbours(
    count: int,
    seed: int = 0,
    children: tuple[int, int] = (3, 6),
    hubs: tuple[int, int] = (1, 2),
    hard: bool = False,
) -> Graphs:
    """Trees of two levels: the root must answer the mean features of those children that have six neighbours.

    A root has `children` children (least, most), `hubs` of which have five children of their own; the others have one
    or two, or, if `hard`, any number from one to eleven but five. Features are uniform in [-2, 2]^5, and a constant.
    Finkelshtein et al., 2024, arXiv:2310.01267, "RootNeighbors"; there 3 to 10 children, 1 to 3 hubs.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(least: int, most: int, size: int) -> Tensor:
        return torch.randint(least, most + 1, (size,), generator=generator)

    child = draw(*children, count)
    chosen = torch.minimum(draw(*hubs, count), child)
    total = int(child.sum())
    tree = torch.arange(count).repeat_interleave(child)
    is_hub = position_in_segment(child) < chosen[tree]
    other = draw(1, 10, total) if hard else draw(1, 2, total)
    other = other + (other >= HUB_LEAVES)
    leaves = torch.where(is_hub, HUB_LEAVES, other)
    per_tree = torch.zeros(count, dtype=torch.int64).index_add(0, tree, leaves)
    sizes = 1 + child + per_tree
    roots = starts_of(sizes)[:-1]
    children_at = places_of(roots + 1, child)
    leaves_at = places_of(roots + 1 + child, per_tree)
    up = torch.cat(
        [torch.stack([children_at, roots[tree]]), torch.stack([leaves_at, children_at.repeat_interleave(leaves)])], 1
    )
    nodes = int(sizes.sum())
    features = torch.cat([4 * torch.rand(nodes, 5, generator=generator) - 2, torch.ones(nodes, 1)], 1)
    return Graphs(
        sizes=sizes,
        edge_index=torch.cat([up, up.flip(0)], 1),
        features=features,
        targets=segment_mean(features[children_at[is_hub], :5], tree[is_hub], count),
        target_names=tuple(f"feature {k}" for k in range(5)),
        roots=roots,
        name="root-neighbours",
    )


def dumbbells(
    count: int, lobe: int = 10, inside: float = 0.5, bridge: int = 2, classes: int = 5, seed: int = 0
) -> Graphs:
    """Two random communities joined by a path: a node in one holds a class that the root, in the other, must answer.

    lobe: nodes of a community;  inside: chance of an edge within it (a path through all its nodes keeps it connected)
    bridge: nodes on the path between them
    Features: whether a node is the source, whether it is the root, and, at the source, the class's unit vector.
    """
    generator = torch.Generator().manual_seed(seed)
    size = 2 * lobe + bridge
    labels = torch.arange(count)[torch.randperm(count, generator=generator)] % classes
    side = torch.cat([torch.zeros(lobe), torch.full((bridge,), 2), torch.ones(lobe)]).long()
    same = (side[:, None] == side) & (side != 2)
    upper = (torch.rand(count, size, size, generator=generator) < inside) & same.triu(1)
    line = torch.arange(size - 1)
    upper[:, line, line + 1] = True  # through the first community, over the bridge, through the second one
    adjacency = upper | upper.mT
    first = size * torch.arange(count)
    graph, sender, receiver = adjacency.nonzero().T
    source = torch.randint(lobe, (count,), generator=generator)
    root = lobe + bridge + torch.randint(lobe, (count,), generator=generator)
    row = torch.arange(count)
    features = torch.zeros(count, size, 2 + classes)
    features[row, source, 0] = features[row, root, 1] = features[row, source, 2 + labels] = 1.0
    return Graphs(
        sizes=torch.full((count,), size),
        edge_index=torch.stack([sender, receiver]) + first[graph],
        features=features.flatten(0, 1),
        labels=labels,
        classes=tuple(f"class {k}" for k in range(classes)),
        roots=first + root,
        name="dumbbells",
    )

"""What a graph network can tell apart: colours of the 1-WL test, orbits of automorphisms, and faults against them."""

import torch
from torch import Tensor

LARGEST = 12  # nodes of a graph whose automorphisms are searched


def colour_refinement(edge_index: Tensor, nodes: int, colours: Tensor | None = None) -> Tensor:
    """The stable colouring of the 1-WL test: (nodes,) int64, equal where no message passing that starts from equal
    features (or from `colours`) can tell two nodes apart. edge_index: (2, E), both directions.

    Weisfeiler and Leman, 1968. Messages are hashed to random numbers of 64 bits, whose sums are those of multisets.
    """
    generator = torch.Generator().manual_seed(0)
    colour = torch.zeros(nodes, dtype=torch.int64) if colours is None else colours.unique(return_inverse=True)[1]
    for _ in range(nodes):
        code = torch.randint(-(1 << 62), 1 << 62, (nodes + 1,), generator=generator)
        heard = torch.zeros(nodes, dtype=torch.int64).index_add_(0, edge_index[0], code[colour[edge_index[1]]])
        refined = torch.stack([colour, heard], 1).unique(dim=0, return_inverse=True)[1]
        if int(refined.max()) == int(colour.max()):
            return refined
        colour = refined
    return colour


def automorphism_orbits(edge_index: Tensor, nodes: int, colours: Tensor | None = None) -> Tensor:
    """(nodes,) int64, equal where an automorphism (that keeps `colours`) takes one node to the other; up to 12 nodes.

    For every two nodes of one 1-WL colour a mapping of the first to the second is sought by backtracking.

    Raises ValueError for larger graphs.
    """
    if nodes > LARGEST:
        raise ValueError(f"orbits are searched in graphs of up to {LARGEST} nodes, not {nodes}")
    adjacent = torch.zeros(nodes, nodes, dtype=torch.bool)
    adjacent[edge_index[0], edge_index[1]] = True
    edge = adjacent.tolist()
    colour = colour_refinement(edge_index, nodes, colours).tolist()

    def extends(image: list[int], order: list[int]) -> bool:
        """Whether the images of order[: len(image)] can be continued to an automorphism."""
        if len(image) == nodes:
            return True
        node = order[len(image)]
        for other in range(nodes):
            if other in image or colour[other] != colour[node] or edge[node][node] != edge[other][other]:
                continue
            fits = all(
                edge[node][before] == edge[other][after] and edge[before][node] == edge[after][other]
                for before, after in zip(order, image, strict=False)
            )
            if fits and extends([*image, other], order):
                return True
        return False

    orbit = list(range(nodes))
    for node in range(nodes):
        for other in range(node):
            if orbit[other] == other and colour[other] == colour[node]:
                order = [other, *(n for n in range(nodes) if n != other)]
                if extends([node], order):
                    orbit[node] = other
                    break
    return torch.tensor(orbit)


def partition(rows: Tensor, digits: int = 6) -> Tensor:
    """(nodes,) classes of equal rows of embeddings (nodes, width), rounded to `digits` places."""
    return rows.double().round(decimals=digits).add(0.0).unique(dim=0, return_inverse=True)[1]


def partition_faults(classes: Tensor, orbits: Tensor) -> tuple[int, int]:
    """Pairs of nodes that are in one class though not in one orbit (wrongly merged), and the other way round."""
    together = classes[:, None] == classes
    alike = orbits[:, None] == orbits
    upper = torch.ones_like(alike).triu(1)
    return int((together & ~alike & upper).sum()), int((~together & alike & upper).sum())

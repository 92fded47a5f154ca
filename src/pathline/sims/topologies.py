"""Communication networks: nodes on the map, lines between them, and how much traffic each pair of nodes has."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from pathline.data.errors import DataError


@dataclass(frozen=True)
class Network:
    """Lines carry traffic both ways; link e runs along line e as it is written, link lines + e against it.

    nodes:     names
    positions: (nodes, 2) longitude and latitude in degrees
    lines:     (2, lines) int64, the ends
    length:    (lines,) km
    demand:    (nodes, nodes) mean traffic from row to column, any unit
    """

    nodes: tuple[str, ...]
    positions: Tensor
    lines: Tensor
    length: Tensor
    demand: Tensor

    @property
    def pairs(self) -> Tensor:
        """(2, demands) source and destination of every pair that has traffic."""
        return self.demand.nonzero().T

    @property
    def links(self) -> Tensor:
        """(2, 2 lines) source and destination of every directed link."""
        return torch.cat([self.lines, self.lines.flip(0)], 1)

    def link_names(self) -> tuple[str, ...]:
        return tuple(f"{self.nodes[a]}-{self.nodes[b]}" for a, b in self.links.T.tolist())

    def routes(self, lines: Sequence[int] = (), nodes: Sequence[int] = ()) -> Tensor:
        """Which links each demand takes on its shortest way by length, (links, demands) of 0 and 1 float64.

        lines, nodes: those that have failed. A demand that has no way left, or whose own end failed, has a column of
        zeros.
        """
        count, size = len(self.length), len(self.nodes)
        up = torch.ones(count, dtype=torch.bool)
        up[list(lines)] = False
        dead = torch.zeros(size, dtype=torch.bool)
        dead[list(nodes)] = True
        up &= ~dead[self.lines].any(0)
        alive = torch.cat([up, up])
        sender, receiver = self.links[:, alive]
        weight = torch.cat([self.length, self.length])[alive]
        graph = csr_matrix((weight.numpy(), (sender.numpy(), receiver.numpy())), shape=(size, size))
        before = torch.from_numpy(dijkstra(graph, return_predecessors=True)[1].astype(np.int64))
        number = torch.full((size, size), -1)
        number[sender, receiver] = torch.arange(2 * count)[alive]
        source, here = self.pairs
        taken = torch.zeros(2 * count, source.shape[0], dtype=torch.float64)
        going = (before[source, here] >= 0) & ~dead[source] & ~dead[here]
        while bool(going.any()):  # one hop back for all demands at once
            demand = going.nonzero()[:, 0]
            last = before[source[demand], here[demand]]
            taken[number[last, here[demand]], demand] = 1.0
            here = here.index_put((demand,), last)
            going = going & (here != source)
        return taken


def sndlib(name: str = "nobel-eu") -> Network:
    """A network of SNDlib as the package topohub carries it, with its demands in both directions.

    nobel-eu: 28 European cities, 41 lines, one demand per pair; also abilene, geant, polska and others.

    Raises:
        DataError: topohub is not installed, or has no such network.
    """
    try:
        import topohub
    except ModuleNotFoundError:
        raise DataError(
            f"the network '{name}' ships inside the package topohub: pip install 'pathline[networks]'"
        ) from None
    try:
        found = topohub.get(f"sndlib/{name}")
    except KeyError:
        raise DataError(f"topohub has no network 'sndlib/{name}'; try nobel-eu, geant, abilene or polska") from None
    size = len(found["nodes"])
    demand = torch.zeros(size, size, dtype=torch.float64)
    for source, row in found["graph"]["demands"].items():
        for target, value in row.items():
            demand[int(source), int(target)] += float(value)
    return Network(
        nodes=tuple(node["name"] for node in found["nodes"]),
        positions=torch.tensor([node["pos"] for node in found["nodes"]], dtype=torch.float64),
        lines=torch.tensor([[edge["source"], edge["target"]] for edge in found["edges"]]).T,
        length=torch.tensor([edge["dist"] for edge in found["edges"]], dtype=torch.float64),
        demand=demand + demand.T if not found["directed"] else demand,
    )

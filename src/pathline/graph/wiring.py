"""Who attends to whom: the pairs of nodes along which a layer passes messages, whatever the layer does with them.

    edges      the edges of the graph, and every node with itself
    full       all pairs of each graph
    khop       the pairs within `reach` steps
    expander   edges, and `cycles` random cycles through all nodes of each graph, in both directions: neighbours a few
               steps apart, whatever the graph looks like (Shirzad et al., 2023, Exphormer, arXiv:2303.06147)
Several graphs are given as their disjoint union, with `graph` (nodes,) naming the graph of each node, in increasing
order.
"""

from functools import cached_property

import torch
from torch import Tensor

from pathline.graph.hops import hop_sets
from pathline.graph.ragged import places_of, position_in_segment, starts_of
from pathline.graph.segment import Ends
from pathline.graph.sparse import Edges, gcn_weights

WIRINGS = ("edges", "full", "khop", "expander")
LOOP, EDGE, OTHER, RANDOM, TO_VIRTUAL, FROM_VIRTUAL = range(6)  # kinds of pairs


def complete_pairs(graph: Tensor) -> Tensor:
    """(2, sum n_g^2) sender and receiver: all pairs of each graph, a node with itself among them, by receiver."""
    count = torch.bincount(graph)
    size = count[graph]
    receiver = torch.arange(len(graph), device=graph.device).repeat_interleave(size)
    return torch.stack([places_of(starts_of(count)[:-1][graph], size), receiver])


def random_cycles(graph: Tensor, cycles: int, seed: int = 0) -> Tensor:
    """(2, E) the edges of `cycles` random cycles through all nodes of each graph, both ways; graphs of one node have
    none."""
    generator = torch.Generator().manual_seed(seed)
    count = torch.bincount(graph)
    found = []
    for _ in range(cycles):
        order = (graph.double() + torch.rand(len(graph), generator=generator, dtype=torch.float64)).argsort()
        last = position_in_segment(count) == count[graph] - 1
        after = torch.where(last, starts_of(count)[:-1][graph], torch.arange(len(graph)) + 1)
        step = torch.stack([order, order[after]])
        found += [step, step.flip(0)]
    pairs = torch.cat(found, 1) if found else graph.new_zeros(2, 0)
    return pairs[:, pairs[0] != pairs[1]]


def attention_pairs(
    edge_index: Tensor,
    graph: Tensor,
    how: str,
    reach: int = 2,
    cycles: int = 2,
    seed: int = 0,
    most: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Pairs (2, M), sender and receiver, by receiver; and their kinds (M,) int64, `LOOP` to `RANDOM`.

    Parallel edges count once; a random pair that is an edge too stands there twice. Raises ValueError where there would
    be more pairs than `most`.
    """
    if how not in WIRINGS:
        raise ValueError(f"there is no wiring '{how}'; choose among {', '.join(WIRINGS)}")
    nodes = len(graph)
    itself = torch.arange(nodes).expand(2, -1)
    edge = torch.unique(edge_index[:, edge_index[0] != edge_index[1]], dim=1)
    if how == "full":
        total = int(torch.bincount(graph).square().sum())
        if most is not None and total > most:
            raise ValueError(f"there are {total} pairs of nodes, more than {most}")
        pairs = complete_pairs(graph)
        key = pairs[1] * nodes + pairs[0]
        real = torch.isin(key, edge[1] * nodes + edge[0])
        kind = torch.where(pairs[0] == pairs[1], LOOP, torch.where(real, EDGE, OTHER))
    else:
        parts = [(itself, LOOP), (edge, EDGE)]
        if how == "khop":
            near, distance = hop_sets(edge_index, nodes, reach, most)
            parts.append((near[:, distance > 1], OTHER))
        elif how == "expander":
            parts.append((random_cycles(graph, cycles, seed), RANDOM))
        pairs = torch.cat([part for part, _ in parts], 1)
        kind = torch.cat([torch.full((part.shape[1],), value) for part, value in parts])
        if most is not None and len(kind) > most:
            raise ValueError(f"there are {len(kind)} pairs of nodes, more than {most}")
    order = pairs[1].argsort(stable=True)
    return pairs[:, order], kind[order]


class Wired:
    """Pairs as layers use them.

    edges:      all pairs;  kind: (M,) of each
    local:      those that messages take, and `place` (L,) which of the pairs they are
    log_degree: (nodes, 1) log(1 + edges of the graph that arrive)
    """

    def __init__(self, pairs: Tensor, kind: Tensor, graph: Tensor, graphs: int, everywhere: bool = False) -> None:
        """everywhere: messages take all pairs but those of a node with itself; else the edges of the graph alone."""
        self.kind, self.graph, self.graphs = kind, graph, graphs
        self.edges = Edges(pairs, len(graph))
        self.place = ((kind != LOOP) if everywhere else (kind == EDGE)).nonzero()[:, 0]
        degree = torch.bincount(pairs[1, kind == EDGE], minlength=len(graph))
        self.log_degree = degree.to(torch.get_default_dtype()).log1p()[:, None]

    @cached_property
    def local(self) -> Edges:
        """Where messages pass."""
        return Edges(self.edges.edge_index[:, self.place], self.edges.receivers)

    @cached_property
    def real(self) -> Edges:
        """The edges of the graph."""
        return Edges(self.edges.edge_index[:, self.kind == EDGE], self.edges.receivers)

    @cached_property
    def gcn(self) -> tuple[Tensor, Tensor]:
        """D^-1/2 (A + I) D^-1/2 where messages pass, on the pairs and on the diagonal."""
        return gcn_weights(self.local)

    @cached_property
    def ends(self) -> Ends:
        """Both ends of every pair."""
        return Ends(self.edges.edge_index, self.edges.receivers)

    @cached_property
    def arrivals(self) -> Edges:
        """From pairs to their receivers: what pairs say themselves is summed like what senders say."""
        receiver = self.edges.edge_index[1]
        return Edges(
            torch.stack([torch.arange(len(receiver), device=receiver.device), receiver]), len(self.graph), len(receiver)
        )

    @cached_property
    def with_virtual(self) -> "Wired":
        """With one more node for each graph, after all others, which hears all of its nodes and is heard by them."""
        count, nodes = len(self.graph), torch.arange(len(self.graph), device=self.graph.device)
        virtual = count + self.graph
        pairs = torch.cat([self.edges.edge_index, torch.stack([nodes, virtual]), torch.stack([virtual, nodes])], 1)
        kind = torch.cat([self.kind, nodes.new_full((count,), TO_VIRTUAL), nodes.new_full((count,), FROM_VIRTUAL)])
        graph = torch.cat([self.graph, torch.arange(self.graphs, device=nodes.device)])
        return Wired(pairs, kind, graph, self.graphs)

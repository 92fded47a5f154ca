"""Which numbers each positional encoding gives to nodes and to pairs of nodes, and the networks that read them.

What is computed from edges alone is kept with the container, so several methods on the same graphs compute it once.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.data.graph_batch import GraphData
from pathline.graph.encodings import laplacian_eigenvectors, random_walk_returns, wl_colours
from pathline.graph.encodings_walks import pagerank_encoding, random_walks_at, whole_eigenspaces
from pathline.graph.path_kernel import path_features, simple_paths, spherical_means
from pathline.graph.wiring import Wired
from pathline.nn.positional_encodings import COLOURS, ColourEncoding, DiffusedWalks, StableEncoding, flipped
from pathline.nn.sign_net import SignNet

T = TypeVar("T")
ENCODINGS = ("none", "laplacian", "eslap", "rwse", "rwdiff", "rrwp", "gckn", "wl", "gpse", "ppr")
SIGNS = ("signnet", "spe", "flips", "none")
SCALED = ("rwse", "rwdiff", "rrwp", "ppr", "gckn")  # whose numbers of nodes are standardised
LARGEST = 4000  # nodes of a graph whose matrices are decomposed
COLOUR_WIDTH = 8
PATH_WIDTH, PATH_LENGTHS, ANCHORS = 16, (1, 2, 3), 16  # of the path kernel
MOST_PATHS, SAMPLE = 5_000_000, 5_000


def kept(data: GraphData, key: str, build: Callable[[], T]) -> T:
    """What `build` makes of the edges of `data`, made once."""
    if key not in data.memo:
        data.memo[key] = build()
    found: T = data.memo[key]
    return found


def node_columns(encoding: str, k: int, encoder_width: int) -> int:
    """How many numbers a node gets."""
    of = {"laplacian": 3 * k, "gckn": len(PATH_LENGTHS) * ANCHORS, "wl": k, "gpse": encoder_width}
    return of.get(encoding, k if encoding in ("rwse", "rwdiff", "rrwp", "ppr") else 0)


def pair_columns(encoding: str, k: int) -> int:
    """How many numbers a pair gets."""
    return {"rrwp": k, "eslap": 1}.get(encoding, 0)


def graph_of(data: Any) -> Tensor:
    """(nodes,) the graph of each node of a container."""
    found: Tensor = data.whole().graph
    return found


def _small(data: GraphData, what: str) -> None:
    largest = int(torch.bincount(graph_of(data)).max())
    if largest > LARGEST:
        raise MethodError(
            f"{data.name}: a graph of {largest} nodes is too large for {what}, which decomposes matrices; up to "
            f"{LARGEST} nodes can be, or choose encoding=rwse, rrwp or wl"
        )


def eigenvectors(data: Any, k: int, whole: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors, values and whether they are there, (nodes, k); `whole`: without eigenspaces that k would cut."""
    _small(data, "eigenvectors")
    graph = graph_of(data)

    def build() -> tuple[Tensor, Tensor, Tensor]:
        if whole:
            return whole_eigenspaces(data.edge_index, graph, k)
        there = torch.arange(k) < (torch.bincount(graph)[graph] - 1)[:, None]
        return (*laplacian_eigenvectors(data.edge_index, graph, k), there)

    return kept(data, f"eigenvectors {k} {whole}", build)


def node_numbers(data: Any, encoding: str, k: int, signs: str = "none") -> Tensor:
    """(nodes, columns), in the precision of the features, of all encodings that need no weights."""
    edge_index, graph, kind = data.edge_index, graph_of(data), data.features.dtype
    if encoding == "laplacian":
        return torch.cat(eigenvectors(data, k, signs == "spe"), 1).to(kind)
    if encoding in ("rwse", "rwdiff"):
        return kept(data, f"returns {k}", lambda: random_walk_returns(edge_index, graph, k).to(kind))
    if encoding == "rrwp":
        itself = torch.arange(len(graph)).expand(2, -1)
        return kept(data, f"rrwp {k}", lambda: random_walks_at(edge_index, graph, k, itself).to(kind))
    if encoding == "ppr":
        _small(data, "the page rank")
        return kept(data, f"page rank {k}", lambda: pagerank_encoding(edge_index, graph, k).to(kind))
    if encoding == "wl":
        rounds = range(1, k + 1)
        return kept(
            data,
            f"colours {k}",
            lambda: torch.stack([wl_colours(edge_index, len(graph), r) % COLOURS for r in rounds], 1).to(kind),
        )
    return torch.zeros(len(graph), 0, dtype=kind)


def pair_numbers(data: Any, encoding: str, k: int, pairs: Tensor, wiring: str) -> Tensor:
    """(M, columns), in the precision of the features, of `pairs` (2, M), sender and receiver, which `wiring` names."""
    kind = data.features.dtype
    if encoding == "rrwp":
        asked = pairs.flip(0)  # from the receiver to the sender

        def build() -> Tensor:
            return random_walks_at(data.edge_index, graph_of(data), k, asked).to(kind)

        return kept(data, f"rrwp {k} at {wiring}", build)
    if encoding == "eslap":
        vectors = eigenvectors(data, k, True)[0]
        return (vectors[pairs[0]] - vectors[pairs[1]]).square().sum(1, keepdim=True).to(kind)
    return torch.zeros(pairs.shape[1], 0, dtype=kind)


# -- the path kernel, whose anchors are found once ---------------------------------------------------------------------


def path_inputs(described: Tensor) -> Tensor:
    """(nodes, 1 + at most PATH_WIDTH): 1, and what nodes are described by, projected at random if it is wide."""
    if described.shape[1] > PATH_WIDTH:
        generator = torch.Generator().manual_seed(0)
        along = torch.randn(described.shape[1], PATH_WIDTH, generator=generator) / PATH_WIDTH**0.5
        described = described @ along.to(described.dtype)
    return torch.cat([torch.ones_like(described[:, :1]), described], 1)


def _paths(data: Any, length: int) -> Tensor:
    try:
        return simple_paths(data.edge_index, data.node_count, length, most=MOST_PATHS)
    except ValueError as error:
        raise MethodError(f"{data.name}: {error}; choose another encoding than gckn") from None


def path_anchors(data: Any, described: Tensor) -> list[Tensor]:
    """For each length (ANCHORS, (length + 1) width) centres of the paths of `data`."""
    x, found = path_inputs(described), []
    for length in PATH_LENGTHS:
        paths = _paths(data, length)
        drawn = torch.randperm(len(paths), generator=torch.Generator().manual_seed(length))[:SAMPLE]
        rows = x[paths[drawn]].flatten(1) if len(paths) else x.new_ones(1, (length + 1) * x.shape[1])
        found.append(spherical_means(rows, ANCHORS))
    return found


def path_numbers(data: Any, described: Tensor, anchors: list[Tensor]) -> Tensor:
    """(nodes, lengths * ANCHORS) of the path kernel."""
    x = path_inputs(described).double()
    lengths = zip(PATH_LENGTHS, anchors, strict=True)
    found = [path_features(_paths(data, length), x, anchor.double(), len(x)) for length, anchor in lengths]
    return torch.cat(found, 1).to(described.dtype)


# -- from numbers to an encoding ---------------------------------------------------------------------------------------


class NodeEncoder(nn.Module):
    """Numbers of `node_numbers` (nodes, columns) -> encoding (nodes, outputs), learned where the encoding is."""

    def __init__(self, encoding: str, signs: str, columns: int, k: int, width: int, learned_colours: bool) -> None:
        super().__init__()
        self.encoding, self.signs, self.k, self.outputs = encoding, signs, k, width
        self.net: nn.Module | None = None
        if encoding == "laplacian" and signs == "signnet":
            self.net = SignNet(k, width, hidden=width)
        elif encoding == "laplacian" and signs == "spe":
            self.net = StableEncoding(width)
        elif encoding == "rwdiff":
            self.net = DiffusedWalks(k, width)
        elif encoding == "wl":
            self.net, self.outputs = ColourEncoding(COLOUR_WIDTH, learned_colours), k * COLOUR_WIDTH
        else:
            self.outputs = columns

    def forward(self, numbers: Tensor, wired: Wired) -> Tensor:
        if self.encoding == "laplacian":
            vectors, values, there = numbers.chunk(3, 1)
            if self.signs == "flips" and self.training:
                vectors = flipped(vectors, wired.graph, wired.graphs)
            if self.signs == "signnet":
                found: Tensor = self.net(vectors, values)  # type: ignore[misc]
            elif self.signs == "spe":
                found = self.net(vectors, values, there, wired.graph, wired.graphs)  # type: ignore[misc]
            else:
                found = torch.cat([vectors, values, there], 1)
            return found
        if self.encoding == "rwdiff":
            found = self.net(numbers, wired.real)  # type: ignore[misc]
            return found
        if self.net is not None:
            found = self.net(numbers)
            return found
        return numbers

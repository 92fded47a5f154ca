"""A training step of the recurrent graph forecaster beside GConvGRU of PyTorch Geometric Temporal.

Both sides are the same network with the same weights: a gated recurrent unit of Chebyshev filters over twelve steps,
then a linear head; mean absolute error, propagate back, AdamW (fused on both sides). The peer's cell is called once per
step, as its examples do, in the faster of the two ways in which it takes a batch: as a leading axis, or as one graph of
disjoint copies. Both ways are measured. Of the peer's package the one module is loaded, since the package as a whole
imports torch_sparse, which has to be compiled.
"""

import importlib.util
import sys
from collections.abc import Callable
from importlib.metadata import distribution
from typing import Any

import torch
from torch import Tensor, nn

from bench.side_by_side import Measured, Side, conditions, in_turn, parameters
from pathline.graph import dense_adjacency, edges_of, knn_graph, repeat_graph, scaled_laplacian
from pathline.nn.chebyshev import thin
from pathline.nn.graph_recurrent import ChebyshevGRU

PAST, AHEAD, BATCH = 12, 12, 32
SIZES = ((207, 32, 3), (207, 64, 3), (1000, 32, 3))  # nodes, width, coefficients
WANTED = 3.0
NEIGHBOURS = 8
STEPS = 3  # per timing


def measure() -> tuple[dict[str, Any], list[Measured]]:
    where = conditions("torch-geometric-temporal", "torch-geometric")
    lines = []
    for nodes, width, coefficients in SIZES:
        torch.manual_seed(0)
        graph = sensors(nodes)
        x, target = torch.randn(BATCH, PAST, nodes, 2), torch.randn(BATCH, AHEAD, nodes)
        ours, theirs = Ours(graph, width, coefficients), Theirs(graph, width, coefficients)
        ours.take(theirs)
        with torch.no_grad():
            gap = max(float((ours(x) - theirs(x, copies)).abs().max()) for copies in (False, True))
        assert gap < 1e-4, f"the two networks differ by {gap}"
        work = f"training step, {BATCH} windows of {PAST} steps, {nodes} sensors, width {width}, K = {coefficients}"
        ways = {copies: Side(way, steps(theirs, x, target, copies), parameters(theirs), "fp32") for copies, way in (
            (False, "GConvGRU, batch as an axis"), (True, "GConvGRU, disjoint copies"),
        )}  # fmt: skip
        mine = Side("pathline, ChebyshevGRU", steps(ours, x, target), parameters(ours), "fp32")
        said = f"equal weights, outputs equal to {gap:.0e}"
        found = [in_turn(mine, side, work, None, said, calls=STEPS) for side in ways.values()]
        fastest = min(found, key=lambda line: line.ratio)
        lines += [Measured(**vars(line) | {"required": WANTED if line is fastest else None}) for line in found]
    return where, lines


def sensors(nodes: int) -> Tensor:
    """(nodes, nodes) symmetric weights between neighbours in the plane."""
    place = torch.rand(nodes, 2)
    edges = knn_graph(place, NEIGHBOURS)
    apart = (place[edges[0]] - place[edges[1]]).square().sum(1)
    near = dense_adjacency(edges, nodes, torch.exp(-apart / apart.mean()))
    return torch.maximum(near, near.T)


class Ours(nn.Module):
    """(batch, past, nodes, inputs) -> (batch, ahead, nodes)."""

    def __init__(self, graph: Tensor, width: int, coefficients: int) -> None:
        super().__init__()
        self.matrix = thin(scaled_laplacian(graph))
        self.cell = ChebyshevGRU(2, width, coefficients)
        self.head = nn.Linear(width, AHEAD)

    def forward(self, x: Tensor) -> Tensor:
        _, (h,) = self.cell(x.permute(2, 1, 0, 3), self.matrix)
        future: Tensor = self.head(h)
        return future.permute(1, 2, 0)

    def take(self, peer: "Theirs") -> None:
        """The peer's weights, gate by gate."""
        cell = peer.cell
        filters = [[cell.conv_x_r, cell.conv_x_z, cell.conv_x_h], [cell.conv_h_r, cell.conv_h_z], [cell.conv_h_h]]
        for own, gates in zip((self.cell.input, self.cell.hidden, self.cell.candidate), filters, strict=True):
            own.weight.data = torch.cat(
                [torch.stack([line.weight.T for line in gate.lins]) for gate in gates], -1
            ).detach().clone()  # fmt: skip
        hidden = [gate.bias for gate in (*filters[1], *filters[2])]
        both = [one.bias + other for one, other in zip(filters[0], hidden, strict=True)]
        assert self.cell.input.bias is not None
        self.cell.input.bias.data = torch.cat(both).detach().clone()
        self.head.load_state_dict(peer.head.state_dict())


class Theirs(nn.Module):
    """The same of the peer's cell."""

    def __init__(self, graph: Tensor, width: int, coefficients: int) -> None:
        super().__init__()
        self.edges, self.weights = edges_of(graph)
        self.many = repeat_graph(self.edges, len(graph), BATCH)
        self.cell = peer_cell()(2, width, coefficients)
        self.head = nn.Linear(width, AHEAD)

    def forward(self, x: Tensor, copies: bool = False) -> Tensor:
        batch, past, nodes, _ = x.shape
        edges, weights = (self.many, self.weights.repeat(batch)) if copies else (self.edges, self.weights)
        h = x.new_zeros((batch * nodes, self.cell.out_channels) if copies else (batch, nodes, self.cell.out_channels))
        for step in range(past):
            value = x[:, step].flatten(0, 1) if copies else x[:, step]
            h = self.cell(value, edges, weights, h)
        future: Tensor = self.head(h)
        return future.view(batch, nodes, AHEAD).transpose(1, 2)


def peer_cell() -> Any:
    """GConvGRU, from the file in which it stands."""
    package = distribution("torch-geometric-temporal")
    path = package.locate_file("torch_geometric_temporal/nn/recurrent/gconv_gru.py")
    spec = importlib.util.spec_from_file_location("gconv_gru", str(path))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gconv_gru"] = module
    spec.loader.exec_module(module)
    return module.GConvGRU


def steps(net: nn.Module, x: Tensor, target: Tensor, *how: bool) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)

    def run() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = (net(x, *how) - target).abs().mean()
            loss.backward()
            optimizer.step()

    return run

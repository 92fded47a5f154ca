"""A training step of the encode-process-decode network on a mesh of 2,000 nodes, beside the same network on PyG.

The peer is written as ports of MeshGraphNets to PyG are: `MessagePassing` layers whose message is an MLP on the
concatenation of the edge with both its ends, summed at the receiver. Both sides hold the same weights, get the same
graph, and take one step of AdamW on the squared error: forward, backward, update. (The MeshGraphNet of NVIDIA
PhysicsNeMo asks for another torch with CUDA libraries and does not install beside this one.)

What can be gained on a processor is bounded: nearly all the time goes into matrix products, of which the peer does
5 W^2 for an edge and 4 W^2 for a node, and we 3 W^2 and 6 W^2; with six edges to a node that is 1.4 times as much.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from bench.side_by_side import Measured, Side, conditions, in_turn, parameters
from pathline.core.precision import fast_precision
from pathline.graph.mesh import delaunay, mesh_edges
from pathline.nn.graph_network import GraphNetwork, SplitLinear, edge_set

NODES, WIDTH, LAYERS = 2000, 128, 15  # the paper's network
OF_NODE, OF_EDGE, OUTPUTS = 12, 7, 3
WANTED = 2.0


def mlp(inputs: int, outputs: int, norm: bool = True) -> nn.Sequential:
    """Two hidden ReLU layers, LayerNorm at the output."""
    layers = [nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, outputs)]
    return nn.Sequential(*layers, nn.LayerNorm(outputs)) if norm else nn.Sequential(*layers)


class Layer(MessagePassing):
    """One block of the paper on PyG."""

    def __init__(self) -> None:
        super().__init__(aggr="add")
        self.on_edge, self.on_node = mlp(3 * WIDTH, WIDTH), mlp(2 * WIDTH, WIDTH)

    def forward(self, x: Tensor, edge_index: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        received = self.propagate(edge_index, x=x, e=e)
        return x + self.on_node(torch.cat([x, received], 1)), e + self.heard

    def message(self, x_i: Tensor, x_j: Tensor, e: Tensor) -> Tensor:
        self.heard: Tensor = self.on_edge(torch.cat([e, x_j, x_i], 1))
        return self.heard


class PyGNetwork(nn.Module):
    """The peer."""

    def __init__(self) -> None:
        super().__init__()
        self.encode_nodes, self.encode_edges = mlp(OF_NODE, WIDTH), mlp(OF_EDGE, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.decoder = mlp(WIDTH, OUTPUTS, norm=False)

    def forward(self, nodes: Tensor, edge_index: Tensor, edges: Tensor) -> Tensor:
        x, e = self.encode_nodes(nodes), self.encode_edges(edges)
        for layer in self.layers:
            x, e = layer(x, edge_index, e)
        return self.decoder(x)


def copied(ours: GraphNetwork, peer: PyGNetwork) -> None:
    """Our weights in the peer's, layer by layer in the order of the computation."""

    def layers(*modules: nn.Module) -> list[nn.Module]:
        kinds = (nn.Linear, nn.LayerNorm, SplitLinear)
        return [layer for module in modules for layer in module.modules() if isinstance(layer, kinds)]

    left = layers(ours.encode_nodes, ours.encode_edges)
    for block in ours.blocks:
        left += layers(block.on_edge, block.message, block.on_node, block.update)
    right = layers(peer.encode_nodes, peer.encode_edges, *peer.layers, peer.decoder)
    with torch.no_grad():
        for source, target in zip([*left, *layers(ours.decoder)], right, strict=True):
            target.weight.copy_(source.weight)
            target.bias.copy_(source.bias)


def measure() -> tuple[dict[str, Any], list[Measured]]:
    """One line in float32, one in the precision that training picks on this processor."""
    torch.manual_seed(0)
    where = conditions("torch-geometric")
    edge_index = mesh_edges(delaunay(torch.rand(NODES, 2)))
    nodes, edges = torch.randn(NODES, OF_NODE), torch.randn(edge_index.shape[1], OF_EDGE)
    target = torch.randn(NODES, OUTPUTS)
    ours, peer = GraphNetwork(OF_NODE, {"mesh": OF_EDGE}, OUTPUTS, WIDTH, LAYERS), PyGNetwork()
    copied(ours, peer)
    sets = {"mesh": edge_set(edges, edge_index, NODES)}
    with torch.no_grad():
        difference = float((ours(nodes, sets) - peer(nodes, edge_index, edges)).abs().max())

    def step(net: nn.Module, output: Callable[[], Tensor], bf16: bool) -> Callable[[], None]:
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-5, weight_decay=0.0, fused=True)

        def run() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = (output().float() - target).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        return run

    size = f"{NODES} nodes, {edge_index.shape[1]} edges, {LAYERS} blocks of {WIDTH}"
    lines = []
    fast = fast_precision(torch.device("cpu")) == "bf16-mixed"
    for precision in ("fp32", "bf16") if fast else ("fp32",):
        mine = step(ours, lambda: ours(nodes, sets), precision == "bf16")
        theirs = step(peer, lambda: peer(nodes, edge_index, edges), precision == "bf16")
        lines.append(
            in_turn(
                Side("pathline, GraphNetwork", mine, parameters(ours), precision),
                Side("PyG, MessagePassing", theirs, parameters(peer), precision),
                f"training step on a mesh of {size}, {precision}",
                WANTED,
                f"from the same weights, outputs differ by {difference:.1e} at most",
            )
        )
    return where, lines

"""The encode-process-decode network: what it must not depend on, and how far it sees."""

import pytest
import torch
from torch import Tensor

from pathline.graph.segment import segment_sum
from pathline.nn.graph_network import GraphNetwork, SplitLinear, edge_set

NODES = 9


def network(layers: int = 2, kinds: tuple[str, ...] = ("mesh", "world")) -> GraphNetwork:
    torch.manual_seed(0)
    return GraphNetwork(3, dict.fromkeys(kinds, 2), 2, width=8, layers=layers).double()


def graph(seed: int = 0, edges: int = 20) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
    generator = torch.Generator().manual_seed(seed)
    nodes = torch.randn(NODES, 3, generator=generator, dtype=torch.float64)
    sets = {
        kind: (
            torch.randn(edges, 2, generator=generator, dtype=torch.float64),
            torch.randint(0, NODES, (2, edges), generator=generator),
        )
        for kind in ("mesh", "world")
    }
    return nodes, sets


def run(net: GraphNetwork, nodes: Tensor, sets: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
    return net(nodes, {kind: edge_set(features, index, len(nodes)) for kind, (features, index) in sets.items()})


def test_a_block_is_the_papers_formula_with_concatenation() -> None:
    net, (nodes, sets) = network(layers=1), graph()
    h = net.encode_nodes(nodes)
    block, received = net.blocks[0], [h]
    for kind, (features, (sender, receiver)) in sets.items():
        e = net.encode_edges[kind](features)
        first = block.on_edge[kind]
        seen = torch.cat([e, h[sender], h[receiver]], 1) @ first.weight.T + first.bias
        received.append(segment_sum(block.message[kind](seen), receiver, NODES))
    update = block.update(torch.cat(received, 1) @ block.on_node.weight.T + block.on_node.bias)
    assert torch.allclose(run(net, nodes, sets), net.decoder(h + update), atol=1e-12)


def test_edges_keep_what_they_heard_for_the_next_block() -> None:
    net, (nodes, sets) = network(layers=2), graph()
    shown = run(net, nodes, sets)
    block = net.blocks[0]
    kept = {kind: value.clone() for kind, value in block.message["mesh"].state_dict().items()}
    _, renewed = block(
        net.encode_nodes(nodes),
        {kind: net.encode_edges[kind](features) for kind, (features, _) in sets.items()},
        {kind: edge_set(features, index, NODES) for kind, (features, index) in sets.items()},
    )
    assert not torch.allclose(renewed["mesh"], net.encode_edges["mesh"](sets["mesh"][0]))
    assert all(torch.equal(kept[k], v) for k, v in block.message["mesh"].state_dict().items())
    assert torch.isfinite(shown).all()


def test_nodes_may_be_numbered_and_edges_listed_in_any_order() -> None:
    net, (nodes, sets) = network(), graph()
    expected = run(net, nodes, sets)
    order = torch.randperm(NODES, generator=torch.Generator().manual_seed(1))
    place = order.argsort()
    moved = {kind: (features, place[index]) for kind, (features, index) in sets.items()}
    assert torch.allclose(run(net, nodes[order], moved), expected[order], atol=1e-12)
    shuffle = torch.randperm(20, generator=torch.Generator().manual_seed(2))
    listed = {kind: (features[shuffle], index[:, shuffle]) for kind, (features, index) in sets.items()}
    assert torch.allclose(run(net, nodes, listed), expected, atol=1e-12)


def test_kinds_of_edges_are_told_apart_and_may_be_empty() -> None:
    net, (nodes, sets) = network(), graph()
    swapped = {"mesh": sets["world"], "world": sets["mesh"]}
    assert not torch.allclose(run(net, nodes, sets), run(net, nodes, swapped))
    alone = {"mesh": sets["mesh"], "world": (sets["world"][0][:0], sets["world"][1][:, :0])}
    assert torch.isfinite(run(net, nodes, alone)).all()
    with pytest.raises(KeyError):
        run(net, nodes, {"mesh": sets["mesh"]})


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_node_sees_exactly_as_far_as_there_are_blocks(layers: int) -> None:
    """On a path, node j of the output depends on node i exactly when |i - j| <= layers."""
    net = network(layers, kinds=("mesh",))
    nodes = graph()[0]
    steps = torch.arange(NODES - 1)
    index = torch.cat([torch.stack([steps, steps + 1]), torch.stack([steps + 1, steps])], 1)
    features = torch.randn(index.shape[1], 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def output(x: Tensor) -> Tensor:
        return net(x, {"mesh": edge_set(features, index, NODES)})

    jacobian = torch.autograd.functional.jacobian(output, nodes).abs().sum((1, 3))
    distance = (torch.arange(NODES)[:, None] - torch.arange(NODES)).abs()
    assert torch.equal(jacobian > 0, distance <= layers)


def test_parts_of_a_split_layer_are_the_whole() -> None:
    torch.manual_seed(0)
    layer = SplitLinear([3, 5, 2], 4)
    parts = [torch.randn(6, size) for size in (3, 5, 2)]
    summed = sum(x @ layer.part(k).T for k, x in enumerate(parts)) + layer.bias
    assert torch.allclose(summed, torch.nn.functional.linear(torch.cat(parts, 1), layer.weight, layer.bias), atol=1e-6)
    assert torch.equal(layer.part(1, 2), layer.weight[:, 3:])


def test_it_runs_under_autocast_near_to_its_own_numbers() -> None:
    net, (nodes, sets) = network().float(), graph()
    sets = {kind: (features.float(), index) for kind, (features, index) in sets.items()}
    exact = run(net, nodes.float(), sets)
    with torch.autocast("cpu", torch.bfloat16):
        rough = run(net, nodes.float(), sets)
        rough.float().square().sum().backward()
    assert torch.allclose(rough.float(), exact, atol=0.1) and not torch.equal(rough.float(), exact)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters() if p.requires_grad)

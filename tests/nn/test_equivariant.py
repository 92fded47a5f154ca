"""Equivariant layers: symmetry for any dimension, agreement with plain loops, and exact special cases."""

import math

import pytest
import torch
from torch import Tensor

from pathline.graph import complete_graph
from pathline.nn.equivariant import EGCL, EdgeMessages, EquivariantNetwork

NODES, WIDTH = 6, 8
OPTIONS = [
    {},
    {"gate": True},
    {"normalize": True},
    {"tanh": True},
    {"aggregation": "complete"},
    {"aggregation": "sum"},
    {"clamp": 100.0},
]


def lively(module: torch.nn.Module) -> torch.nn.Module:
    """The last layer of phi_x starts near zero; a test of what it does needs it awake."""
    for layer in module.modules():
        if isinstance(layer, EGCL) and layer.phi_x is not None:
            layer.phi_x[-1].weight.data.normal_(0, 0.3)
    return module


def orthogonal(dims: int, determinant: float) -> Tensor:
    q = torch.linalg.qr(torch.randn(dims, dims, dtype=torch.float64))[0]
    q[:, 0] *= determinant * torch.linalg.det(q).sign()
    return q


def ring_and_chords(nodes: int) -> Tensor:
    """A graph whose nodes have different degrees, one of them none."""
    edges = [(i, (i + 1) % (nodes - 1)) for i in range(nodes - 1)] + [(0, 2), (2, 0), (3, 0)]
    return torch.tensor(edges).T


def inputs(dims: int, edges: int, dtype: torch.dtype) -> dict[str, Tensor]:
    return {
        "h": torch.randn(2, NODES, WIDTH, dtype=dtype),
        "x": torch.randn(2, NODES, dims, dtype=dtype),
        "edge_features": torch.randn(2, edges, 3, dtype=dtype),
        "velocity": torch.randn(2, NODES, dims, dtype=dtype),
    }


@pytest.mark.parametrize("dims", [2, 3, 5])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("determinant", [1.0, -1.0])
@pytest.mark.parametrize("carry", [False, True])
def test_a_stack_turns_flips_shifts_and_permutes_with_its_input(
    dims: int, dtype: torch.dtype, tolerance: float, determinant: float, carry: bool
) -> None:
    torch.manual_seed(dims)
    edge_index = ring_and_chords(NODES)
    net = lively(EquivariantNetwork(WIDTH, WIDTH, 3, 3, velocity=True, carry_velocity=carry)).to(dtype)
    given = inputs(dims, edge_index.shape[1], dtype)
    turn, shift = orthogonal(dims, determinant).to(dtype), torch.randn(dims, dtype=dtype)
    order = torch.randperm(NODES)
    place = order.argsort()  # node order[k] becomes node k, so node i becomes place[i]
    moved = {
        "h": given["h"][:, order],
        "x": (given["x"] @ turn.T + shift)[:, order],
        "edge_features": given["edge_features"],
        "velocity": (given["velocity"] @ turn.T)[:, order],
    }
    with torch.no_grad():
        h, motions = net(**given, edge_index=edge_index)
        h_moved, motions_moved = net(**moved, edge_index=place[edge_index])
    out = (given["x"] + motions[-1]) @ turn.T + shift
    assert motions[-1].abs().max() > 0.1
    assert (moved["x"] + motions_moved[-1] - out[:, order]).abs().max() < tolerance
    assert (h_moved - h[:, order]).abs().max() < tolerance


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_keeps_the_layer_equivariant(options: dict) -> None:
    torch.manual_seed(0)
    edge_index = ring_and_chords(NODES)
    layer = lively(EGCL(WIDTH, 3, velocity=True, **options)).double()
    given = inputs(3, edge_index.shape[1], torch.float64)
    turn, shift = orthogonal(3, -1.0), torch.randn(3, dtype=torch.float64)
    h, motion = layer(**given, edge_index=edge_index)
    moved = given | {"x": given["x"] @ turn.T + shift, "velocity": given["velocity"] @ turn.T}
    h_moved, motion_moved = layer(**moved, edge_index=edge_index)
    assert torch.allclose(motion_moved, motion @ turn.T, atol=1e-12)
    assert torch.allclose(h_moved, h, atol=1e-12)


def loop_layer(
    layer: EGCL, h: Tensor, x: Tensor, edge_index: Tensor, a: Tensor, velocity: Tensor
) -> tuple[Tensor, Tensor]:
    """The paper's equations for one graph, node by node and edge by edge, from the layer's weights."""
    e1, e2, phi_x = layer.phi_e.first, layer.phi_e.second, layer.phi_x
    silu = torch.nn.functional.silu
    h_new, motion = h.clone(), torch.zeros_like(x)
    edges = [tuple(edge) for edge in edge_index.T.tolist()]
    assert phi_x is not None and layer.phi_v is not None
    for i in range(len(h)):
        arriving = [k for k, (_, receiver) in enumerate(edges) if receiver == i]
        total, pull = torch.zeros_like(h[0]), torch.zeros_like(x[0])
        for k in arriving:
            j = edges[k][0]
            d = x[i] - x[j]
            m = silu(e2(silu(e1(torch.cat([h[i], h[j], (d @ d)[None], a[k]])))))
            if layer.gate is not None:
                m = m / (1 + torch.exp(-layer.gate(m)))
            strength = phi_x(m).tanh() if layer.tanh else phi_x(m)
            if layer.normalize:
                d = d / (math.sqrt(d @ d) + 1)
            total = total + m
            pull = pull + (d * strength).clamp(-(layer.clamp or math.inf), layer.clamp or math.inf)
        count = {"mean": max(1, len(arriving)), "complete": len(h) - 1, "sum": 1}[layer.aggregation]
        motion[i] = pull / count + layer.phi_v(h[i]) * velocity[i]
        h_new[i] = h[i] + layer.phi_h(torch.cat([h[i], total]))
    return h_new, motion


@pytest.mark.parametrize("options", [*OPTIONS[:-1], {"clamp": 0.05}], ids=str)
@pytest.mark.parametrize("edge_index", [complete_graph(NODES), ring_and_chords(NODES)], ids=["complete", "sparse"])
def test_a_layer_equals_the_loop_over_nodes_and_edges(options: dict, edge_index: Tensor) -> None:
    torch.manual_seed(1)
    layer = lively(EGCL(WIDTH, 3, velocity=True, **options)).double()
    given = inputs(3, edge_index.shape[1], torch.float64)
    with torch.no_grad():
        h, motion = layer(**given, edge_index=edge_index)
        for b in range(2):
            one = loop_layer(
                layer, given["h"][b], given["x"][b], edge_index, given["edge_features"][b], given["velocity"][b]
            )
            assert torch.allclose(h[b], one[0], atol=1e-6)
            assert torch.allclose(motion[b], one[1], atol=1e-6)


def test_messages_equal_one_linear_map_of_the_concatenation() -> None:
    torch.manual_seed(2)
    messages = EdgeMessages(WIDTH, 2)
    h, scalars, (sender, receiver) = torch.randn(NODES, WIDTH), torch.randn(30, 2), complete_graph(NODES)
    joined = messages.first(torch.cat([h[receiver], h[sender], scalars], -1))
    expected = torch.nn.functional.silu(messages.second(torch.nn.functional.silu(joined)))
    assert torch.allclose(messages(h, scalars, torch.stack([sender, receiver])), expected, atol=1e-6)


def still(net: EquivariantNetwork) -> EquivariantNetwork:
    """phi_x == 0 and phi_v == 1."""
    for layer in net.layers:
        torch.nn.init.zeros_(layer.phi_x[-1].weight)
        torch.nn.init.zeros_(layer.phi_v[-1].weight)
        torch.nn.init.ones_(layer.phi_v[-1].bias)
    return net


@pytest.mark.parametrize("carry", [False, True])
@pytest.mark.parametrize("layers", [1, 4])
def test_without_forces_every_layer_adds_the_velocity(layers: int, carry: bool) -> None:
    net = still(EquivariantNetwork(WIDTH, WIDTH, layers, velocity=True, carry_velocity=carry))
    h, v = torch.randn(NODES, WIDTH), torch.randn(NODES, 3)
    x = torch.randn(NODES, 3)
    _, motions = net(h, x, velocity=v)
    assert all(torch.allclose(motion, (k + 1) * v, atol=1e-6) for k, motion in enumerate(motions))


def test_carried_and_repeated_velocities_differ_once_they_are_turned_down() -> None:
    """phi_v == 1/2 on two layers: v/2 + v/2 repeated, v/2 + v/4 carried."""
    for carry, factor in ((False, 1.0), (True, 0.75)):
        net = still(EquivariantNetwork(WIDTH, WIDTH, 2, velocity=True, carry_velocity=carry))
        for layer in net.layers:
            layer.phi_v[-1].bias.data.fill_(0.5)
        v = torch.randn(NODES, 3)
        motion = net(torch.randn(NODES, WIDTH), torch.randn(NODES, 3), velocity=v)[1][-1]
        assert torch.allclose(motion, factor * v)


class Symmetrised(EdgeMessages):
    """phi_e with its two nodes exchanged and averaged: m_ij = m_ji."""

    def forward(self, h: Tensor, scalars: Tensor, edge_index: Tensor) -> Tensor:
        return super().forward(h, scalars, edge_index) + super().forward(h, scalars, edge_index.flip(0))


def test_symmetric_forces_keep_the_centre_of_mass() -> None:
    torch.manual_seed(3)
    h, x = torch.randn(NODES, WIDTH, dtype=torch.float64), torch.randn(NODES, 3, dtype=torch.float64)
    layer = lively(EGCL(WIDTH, aggregation="sum")).double()
    weights = layer.phi_e.state_dict()
    drift = layer(h, x, complete_graph(NODES))[1].sum(0).abs().max()
    layer.phi_e = Symmetrised(WIDTH, 1).double()
    layer.phi_e.load_state_dict(weights)
    motion = layer(h, x, complete_graph(NODES))[1]
    assert motion.abs().max() > 0.1
    assert motion.sum(0).abs().max() < 1e-12
    assert drift > 1e-3  # an unsymmetric phi_e moves the centre: the zero above is no accident


def test_no_edges_given_means_all_pairs() -> None:
    net = lively(EquivariantNetwork(WIDTH, WIDTH, 2, gate=True))
    h, x = torch.randn(NODES, WIDTH), torch.randn(NODES, 3)
    assert torch.equal(net(h, x)[1][-1], net(h, x, complete_graph(NODES))[1][-1])


def test_a_gate_can_cut_an_edge() -> None:
    """With every gate shut, nodes hear nothing and stay."""
    layer = lively(EGCL(WIDTH, gate=True))
    layer.phi_x[0].bias.data.zero_()  # so that phi_x(0) = 0
    torch.nn.init.zeros_(layer.gate.weight)
    torch.nn.init.constant_(layer.gate.bias, -1e4)
    h, x = torch.randn(NODES, WIDTH), torch.randn(NODES, 3)
    h_new, motion = layer(h, x, complete_graph(NODES))
    assert motion.abs().max() == 0
    assert torch.allclose(h_new, h + layer.phi_h(torch.cat([h, torch.zeros_like(h)], -1)))


def test_a_fresh_stack_starts_near_the_identity() -> None:
    torch.manual_seed(4)
    net = EquivariantNetwork(WIDTH, 32, 8)
    x = torch.randn(NODES, 3)
    motion = net(net.embedding(torch.randn(NODES, WIDTH)), x)[1][-1]
    assert 0 < motion.abs().max() < 0.02


def test_two_nodes_in_one_place_have_finite_gradients() -> None:
    layer = lively(EGCL(WIDTH, normalize=True))
    x = torch.zeros(3, 3, requires_grad=True)
    layer(torch.randn(3, WIDTH), x, complete_graph(3))[1].square().sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()


def test_layers_without_moves_have_no_phi_x_and_stay() -> None:
    net = EquivariantNetwork(WIDTH, WIDTH, 2, moves=False)
    assert not [name for name, _ in net.named_parameters() if "phi_x" in name]
    h, x = torch.randn(NODES, WIDTH), torch.randn(NODES, 3)
    h_new, motions = net(h, x)
    assert motions[-1].abs().max() == 0 and (h_new - h).abs().max() > 1e-3


def test_a_missing_velocity_and_an_unknown_aggregation_are_refused() -> None:
    h, x = torch.randn(3, WIDTH), torch.randn(3, 2)
    with pytest.raises(ValueError, match="a velocity was not given"):
        EGCL(WIDTH, velocity=True)(h, x, complete_graph(3))
    with pytest.raises(ValueError, match="a velocity was given"):
        EGCL(WIDTH)(h, x, complete_graph(3), velocity=x)
    with pytest.raises(ValueError, match="choose mean, complete or sum"):
        EGCL(WIDTH, aggregation="max")  # type: ignore[arg-type]

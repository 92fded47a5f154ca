"""EGNN as a simulator, as a potential, and as a graph autoencoder."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pathline.data import Step
from pathline.graph import complete_graph
from pathline.simulate.egnn import EGNN, Energy, GraphAutoencoder, forces

NODES = 5


def awake(module: torch.nn.Module) -> torch.nn.Module:
    """The last layer of phi_x starts near zero; here it must act."""
    for name, weight in module.named_parameters():
        if name.endswith("phi_x.2.weight"):
            weight.data.normal_(0, 0.3)
    return module


def orthogonal(dims: int, determinant: float) -> Tensor:
    q = torch.linalg.qr(torch.randn(dims, dims, dtype=torch.float64))[0]
    q[:, 0] *= determinant * torch.linalg.det(q).sign()
    return q


def state(dims: int, dtype: torch.dtype, duration: float = 1.0) -> Step:
    edge_index = complete_graph(NODES)
    position, velocity = torch.randn(2, 3, NODES, dims, dtype=dtype)
    charge = torch.randn(3, NODES, 1, dtype=dtype)
    product = (charge[:, edge_index[0]] * charge[:, edge_index[1]]).to(dtype)
    return Step(position, velocity, charge, edge_index, product, torch.zeros_like(position), duration)


def in_units(method: EGNN) -> EGNN:
    """Units of some data, none of them 1 but the duration."""
    for name, value in (("length", 0.7), ("speed", 1.6), ("motion", 0.4), ("bend", 0.3)):
        getattr(method.units, name).fill_(value)
    return method


@pytest.mark.parametrize("dims", [2, 3, 5])
@pytest.mark.parametrize("determinant", [1.0, -1.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_predictions_turn_flip_and_shift_with_the_input(
    dims: int, determinant: float, dtype: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(dims)
    method = in_units(awake(EGNN(1, 1, width=8))).to(dtype)
    start = state(dims, dtype)
    turn, shift = orthogonal(dims, determinant).to(dtype), torch.randn(dims, dtype=dtype)
    moved = replace(start, position=start.position @ turn.T + shift, velocity=start.velocity @ turn.T)
    end, end_moved = method.rollout(start, 1)[:, 1], method.rollout(moved, 1)[:, 1]
    assert (end - start.position).abs().max() > 0.1
    assert (end_moved - (end @ turn.T + shift)).abs().max() < tolerance


@pytest.mark.parametrize("layers", [1, 4])
@pytest.mark.parametrize("duration", [1.0, 2.5])
def test_without_forces_and_with_unit_gain_bodies_fly_straight(layers: int, duration: float) -> None:
    """phi_x == 0 and phi_v == 1: x' = x + L T v with L layers, whatever the units."""
    method = in_units(EGNN(1, 1, width=8, layers=layers)).double()
    method.units.duration.fill_(duration)
    for layer in method.network.layers:
        torch.nn.init.zeros_(layer.phi_x[-1].weight)
        torch.nn.init.zeros_(layer.phi_v[-1].weight)
        torch.nn.init.ones_(layer.phi_v[-1].bias)
    start = state(3, torch.float64, duration)
    expected = start.position + layers * duration * start.velocity
    assert (method.rollout(start, 1)[:, 1] - expected).abs().max() < 1e-12


def test_the_benchmarks_inputs_are_speed_product_of_charges_and_squared_distance() -> None:
    """With the paper's protocol (no node features), nothing else of the state can change the answer."""
    seen: dict[str, Tensor] = {}
    method = EGNN(0, 1, width=8, layers=2)
    method.network.embedding.register_forward_hook(lambda _, given, __: seen.update(h=given[0]))
    method.network.layers[1].phi_e.register_forward_hook(lambda _, given, __: seen.update(scalars=given[1]))
    start = state(3, torch.float32)
    method.rollout(start, 1)
    sender, receiver = start.edge_index
    distance = (start.position[:, receiver] - start.position[:, sender]).square().sum(-1)
    assert torch.allclose(seen["h"][..., 0], start.velocity.square().sum(-1).sqrt()) and seen["h"].shape[-1] == 1
    assert torch.allclose(seen["scalars"][..., 1], start.edge_features[..., 0])
    assert torch.allclose(seen["scalars"][..., 2], distance, atol=1e-6)  # that of the input, in every layer
    assert not torch.allclose(seen["scalars"][..., 0], distance, atol=1e-6)  # that of the layer


def test_states_within_a_step_begin_at_the_input_and_end_at_the_prediction() -> None:
    method, start = awake(EGNN(1, 1, width=8)), state(3, torch.float32)
    with torch.no_grad():
        within = method.states_within(start)
        assert within.shape == (5, *start.position.shape)
        assert torch.equal(within[0], start.position) and torch.equal(within[-1], method.step(start)[0])


def test_an_energy_is_invariant_and_its_forces_are_equivariant_and_balance() -> None:
    torch.manual_seed(0)
    model = Energy(2, width=8, layers=2).double()
    features, x = torch.randn(3, NODES, 2, dtype=torch.float64), torch.randn(3, NODES, 3, dtype=torch.float64)
    turn, shift, order = orthogonal(3, -1.0), torch.randn(3, dtype=torch.float64), torch.randperm(NODES)
    moved = x @ turn.T + shift
    assert torch.allclose(model(features, moved), model(features, x), atol=1e-10)
    assert torch.allclose(model(features[:, order], x[:, order]), model(features, x), atol=1e-10)
    force = forces(lambda y: model(features, y), x)
    assert force.abs().max() > 1e-3
    assert torch.allclose(forces(lambda y: model(features, y), moved), force @ turn.T, atol=1e-10)
    assert force.sum(1).abs().max() < 1e-12
    bump = torch.zeros_like(x)
    bump[1, 2, 0] = 1e-5
    with torch.no_grad():
        slope = (model(features, x + bump) - model(features, x - bump))[1] / 2e-5
    assert float(slope) == pytest.approx(-float(force[1, 2, 0].detach()), rel=1e-4)


def test_forces_can_be_trained_on() -> None:
    model = Energy(2, width=8, layers=1)
    features, x = torch.randn(NODES, 2), torch.randn(NODES, 3)
    forces(lambda y: model(features, y), x).square().sum().backward()
    gradient = model.network.layers[0].phi_e.first.weight.grad
    assert gradient is not None and gradient.abs().max() > 0


def test_an_autoencoder_tells_apart_nodes_that_have_no_features() -> None:
    """On a ring all nodes are alike: without random places every z would be equal and every probability too, and the
    best that such a model can do is the share of edges everywhere (`blind`)."""
    torch.manual_seed(1)
    ring = torch.tensor([[i, (i + d) % 8] for i in range(8) for d in (1, -1)]).T
    truth = torch.zeros(8, 8)
    truth[ring[0], ring[1]] = 1.0
    model = GraphAutoencoder(width=16, layers=3, dims=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    off = ~torch.eye(8, dtype=torch.bool)

    def loss() -> Tensor:
        guess = model.decode(model.encode(8, ring))
        assert torch.equal(guess, guess.T) and not guess.diagonal().any()
        return torch.nn.functional.binary_cross_entropy(guess[off], truth[off])

    for _ in range(80):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    with torch.no_grad():
        blind = torch.nn.functional.binary_cross_entropy(truth[off].mean().expand_as(truth[off]), truth[off])
        assert torch.stack([loss() for _ in range(20)]).mean() < 0.9 * blind


def test_the_decoder_is_the_logistic_of_a_squared_distance() -> None:
    model = GraphAutoencoder()
    z = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert model.decode(z)[0, 1].item() == pytest.approx(1 / (1 + 2.718281828 ** (0.1 * 25 - 1)), rel=1e-5)

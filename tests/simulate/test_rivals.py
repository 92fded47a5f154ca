"""The rival network is what it claims to be: as large, as informed, and not equivariant."""

from dataclasses import replace

import torch

from pathline.core.claim import widest_within
from pathline.data import Rollouts
from pathline.simulate.egnn import EGNN
from pathline.simulate.rivals import GNN, turned_at_random


def data() -> Rollouts:
    positions, velocities = torch.randn(2, 40, 2, 5, 3, generator=torch.Generator().manual_seed(0))
    edge_index = torch.nonzero(~torch.eye(5, dtype=torch.bool)).T
    return Rollouts(
        positions=positions, velocities=velocities, edge_index=edge_index, edge_features=torch.ones(40, 20, 1), start=0
    )


def test_the_widest_network_within_a_count_is_within_five_percent_of_it() -> None:
    parts = data()
    count = EGNN.for_data(parts, width=32).parameter_count()

    def build(width: int) -> GNN:
        return GNN.for_data(parts, width=width)

    width = widest_within(count, build)
    assert 0.95 * count < build(width).parameter_count() <= count < build(width + 1).parameter_count()


def test_random_turns_keep_every_scene_rigid_and_flip_half_of_them() -> None:
    torch.manual_seed(0)
    batch = data().gather(torch.arange(40))
    turned = turned_at_random(batch)
    for before, after in ((batch.position, turned.position), (batch.target, turned.target)):
        assert torch.allclose(torch.cdist(before, before), torch.cdist(after, after), atol=1e-4)
    turn = torch.linalg.lstsq(batch.position, turned.position).solution  # (40, 3, 3), one per scene
    assert torch.allclose(batch.velocity @ turn, turned.velocity, atol=1e-3)
    flipped = (torch.linalg.det(turn) < 0).float().mean()
    assert 0.2 < flipped < 0.8
    assert (turn[0] - turn[1]).abs().max() > 0.1


def test_augmentation_acts_in_training_only() -> None:
    batch = data().gather(torch.arange(40))
    method = GNN.for_data(data(), width=8, residual=True, augment=True)
    torch.manual_seed(0)
    assert not torch.equal(method.train().loss(batch), method.loss(batch))
    assert torch.equal(method.eval().loss(batch), method.loss(batch))


def test_the_residual_form_starts_from_a_straight_flight_and_ignores_where_the_scene_is() -> None:
    batch = data().gather(torch.arange(4))
    method = GNN.for_data(data(), width=8, residual=True)
    end = method.rollout(batch, 1)[:, 1]
    shift = torch.tensor([10.0, -3.0, 2.0])
    moved = method.rollout(replace(batch, position=batch.position + shift), 1)[:, 1]
    assert torch.allclose(moved, end + shift, atol=1e-4)
    torch.nn.init.zeros_(method.decoder[-1].weight)
    torch.nn.init.zeros_(method.decoder[-1].bias)
    assert torch.allclose(method.rollout(batch, 1)[:, 1], batch.position + batch.velocity, atol=1e-6)

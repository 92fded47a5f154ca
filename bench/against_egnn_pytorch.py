"""A training step of EGNN on the benchmark's batch of 100 systems of five charged particles, beside egnn-pytorch.

Both steps are whole: gather a batch, predict positions, mean squared error, propagate back, clip, AdamW (fused on both
sides). Equal width and depth is what a user sets on both sides; inside, the peer's edge MLP is four times as wide, and
it has no velocities (ours has an MLP for them), so that numbers of parameters differ: a second line compares networks
of equal size. The room computes in fp32 by default, since bf16 is too coarse for positions: both lines of ours,
"auto" and "fp32", are that.
"""

from collections.abc import Callable
from typing import Any

import torch
from egnn_pytorch import EGNN_Network
from torch import Tensor, nn

from bench.side_by_side import Measured, Side, conditions, in_turn, parameters
from pathline.core.budget import steps
from pathline.core.claim import widest_within
from pathline.core.train import train
from pathline.data import Rollouts
from pathline.sims import charged_nbody
from pathline.simulate.egnn import EGNN

WIDTH, DEPTH, BATCH, STEPS = 64, 4, 100, 20
RATE, CLIP = 1e-3, 1.0
WANTED = 3.0


def measure() -> tuple[dict[str, Any], list[Measured]]:
    """Ours at default precision and in fp32 at the peer's width and depth; and at its number of parameters."""
    torch.manual_seed(0)
    where = conditions("egnn-pytorch")
    data = charged_nbody(500, frames=(3100, 4100), seed=0, start=0)
    peer = PeerEGNN(data.features.shape[-1] + 1)
    other = Side("egnn-pytorch, EGNN_Network", peer_steps(peer, data), parameters(peer), "fp32")
    same = EGNN.for_data(data, width=WIDTH, layers=DEPTH)
    wide = widest_within(parameters(peer), lambda width: EGNN.for_data(data, width=width, layers=DEPTH))
    large = EGNN.for_data(data, width=wide, layers=DEPTH)
    outputs = "other networks, so outputs are not the same numbers"
    lines = []
    for method, words, wanted in (
        (same, f"width {WIDTH}, {DEPTH} layers on both sides", WANTED),
        (large, f"equal parameters, width {wide} against {WIDTH}, {DEPTH} layers", None),
    ):
        for precision in ("auto", "fp32"):
            name = f"pathline, egnn ({'default' if precision == 'auto' else 'fp32'})"
            ours = Side(name, our_steps(method, data, precision), parameters(method), "fp32")
            work = f"training step, {BATCH} systems of 5 bodies; {words}"
            lines.append(in_turn(ours, other, work, wanted, outputs, calls=STEPS, same_size=method is large))
    return where, lines


def our_steps(method: EGNN, data: Rollouts, precision: str) -> Callable[[], None]:
    """Steps of `pathline fit egnn`, from making the loop to its end."""

    def run() -> None:
        train(method, data, steps(STEPS), precision=precision, batch_size=BATCH, lr=RATE, clip=CLIP)

    return run


class PeerEGNN(nn.Module):
    """egnn-pytorch's network on the same inputs: speed and charge per node, products of charges as edges."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(features, WIDTH)
        self.network = EGNN_Network(depth=DEPTH, dim=WIDTH, m_dim=WIDTH, edge_dim=1)

    def forward(self, features: Tensor, position: Tensor, products: Tensor) -> Tensor:
        """Positions after the step, (batch, nodes, 3); products: (batch, nodes, nodes, 1)."""
        moved: Tensor = self.network(self.embedding(features), position, edges=products)[1]
        return moved


def peer_steps(net: PeerEGNN, data: Rollouts) -> Callable[[], None]:
    """The same training by hand."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.0, fused=True)
    weights = list(net.parameters())
    assert data.features is not None
    charge = data.features
    position, velocity, target = data.positions[:, 0], data.velocities[:, 0], data.positions[:, 1]
    features = torch.cat([velocity.norm(dim=-1, keepdim=True), charge], -1)
    products = charge[:, :, None] * charge[:, None, :]

    def run() -> None:
        for _ in range(STEPS):
            index = torch.randint(len(position), (BATCH,))
            optimizer.zero_grad()
            found = net(features[index], position[index], products[index])
            loss = (found - target[index]).square().mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, CLIP)
            optimizer.step()

    return run

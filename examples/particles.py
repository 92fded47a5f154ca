"""Where will five charged particles be? A network that knows how space turns needs few trajectories to learn it.

python examples/particles.py [steps]
"""

import sys
from dataclasses import replace

import torch

import pathline as pl
from pathline.sims import charged_nbody


def main(steps: int = 300) -> None:
    data = charged_nbody(500, frames=[3100, 4100], start=0, span=1)  # predict one time unit ahead
    board = pl.compare(["egnn", "segno"], data, budget=pl.steps(steps))
    print(board)

    egnn = board.models["egnn"]
    state = data.gather(torch.tensor([0]))
    turn, _ = torch.linalg.qr(torch.randn(3, 3))
    turned = replace(state, position=state.position @ turn, velocity=state.velocity @ turn)
    gap = (egnn.rollout(turned, 1) - egnn.rollout(state, 1) @ turn).abs().max()
    print(f"\nturn, then predict; predict, then turn: they differ by {gap:.1e}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

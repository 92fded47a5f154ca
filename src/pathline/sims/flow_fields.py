"""Simulated flows as `Fields`, with the inputs of DeepCFD: what is given is where the obstacle, the walls and the ends
of the channel are (Ribeiro, Rehman, Ahmed, Dengel, 2020, arXiv:2004.08826).
"""

import torch
from torch import Tensor

from pathline.data.fields import Fields
from pathline.sims import starting_flow
from pathline.sims.channels import steady
from pathline.spaces.signed_distance import signed_distance

FLOW, GIVEN = ("Ux", "Uy", "p"), ("distance to the obstacle", "region", "distance to the walls")
OBSTACLE, FLUID, WALL, INLET, OUTLET = range(5)  # labels of the region


def channel_inputs(solid: Tensor) -> Tensor:
    """(items, 3, height, width) of obstacles (items, height, width): signed distance to the obstacle, label of the
    region (obstacle 0, fluid 1, cell at a wall 2, at the inlet 3, at the outlet 4), distance to the nearer wall.

    Distances are in heights of the channel.
    """
    items, height, width = solid.shape
    region = torch.full(solid.shape, float(FLUID))
    region[:, [0, -1]], region[:, :, 0], region[:, :, -1] = WALL, INLET, OUTLET
    region[solid] = OBSTACLE
    row = torch.arange(height)[:, None] + 0.5
    wall = torch.minimum(row, height - row).expand(items, height, width)
    return torch.stack([signed_distance(solid) / height, region, wall / height], 1)


def channel_flow(count: int = 120, height: int = 40, width: int = 96, seed: int = 0) -> Fields:
    """`count` steady flows past random shapes: velocities in mean speeds of the inflow, the pressure in density times
    mean speed squared, 0 on average at the outlet."""
    found = steady(count, height, width, seed)
    solid = found["solid"]
    return Fields(
        values=torch.cat([found["velocity"], found["pressure"][:, None]], 1)[:, None],
        inputs=channel_inputs(solid),
        inside=~solid,
        channels=FLOW,
        given=GIVEN,
        name="channel-flow",
    )


def starting_channel_flow(
    count: int = 40, frames: int = 20, height: int = 40, width: int = 96, seed: int = 0
) -> Fields:
    """`count` flows that begin at an obstacle, in the same units; time is in channel heights over the mean speed."""
    every = 100
    found = starting_flow.starting(count, frames, every, height, width, seed)
    return Fields(
        values=found["values"],
        inputs=channel_inputs(found["solid"]),
        inside=~found["solid"],
        channels=FLOW,
        given=GIVEN,
        interval=starting_flow.interval(every, height),
        unit="heights / mean speed",
        name="starting-channel-flow",
    )

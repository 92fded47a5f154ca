"""The units in which a learned simulator computes: five numbers read off its training data.

Networks learn best from numbers near 1, but bodies move by light years or by thousandths of an Angstrom. So positions,
velocities and what the network returns are measured in the data's own units. One number each for all axes and bodies:
a scale per axis would break rotation symmetry.
"""

from collections.abc import Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn

from pathline.data import Rollouts

CLOSE = 0.05  # share of edges that are shorter than the unit of length
_EDGES = 1 << 20  # looked at for that
_BATCH = 4096  # steps looked at together


class Units(nn.Module):
    """What is typical in the training data, over all supervised steps, bodies and axes (1 where it would be 0).

    length:   the distance of close pairs (5 % of the edges are shorter). Forces vary most where bodies are close, and
              squared distances in units of a mean distance would tell close pairs apart only in the third decimal:
              with it EGNN's error on charged particles is twice as large. With the closest pair of all, distant pairs
              would give numbers so large that training explodes. Charges in the n-body protocol: about 1, so that
              their network computes as the official one does; ethanol: 1.1 angstrom, a bond
    speed:    root mean square of the velocity at the input
    motion:   of target - position, what a simulator must predict; the loss is measured in its square
    bend:     of target - position - duration * velocity, what the forces did
    duration: of a supervised step (all are equal)

    Kept as buffers, so that they are saved, loaded and moved with the weights.
    """

    length: Tensor
    speed: Tensor
    motion: Tensor
    bend: Tensor
    duration: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("length", "speed", "motion", "bend", "duration"):
            self.register_buffer(name, torch.ones(()))

    def measure(self, data: Rollouts) -> Self:
        """Read the units off `data`."""
        sums = dict.fromkeys(("speed", "motion", "bend"), 0.0)
        count = 0
        steps: Iterator[Any] = data.batches(_BATCH, shuffle=False)
        for step in steps:
            moved = step.target - step.position
            seen = {"speed": step.velocity, "motion": moved, "bend": moved - step.duration * step.velocity}
            for name, values in seen.items():
                sums[name] += float(values.double().square().sum())
            count += moved.numel()
        found = {name: (total / count) ** 0.5 for name, total in sums.items()}
        found |= {"length": _close_distance(data), "duration": data.interval * data.span}
        for name, value in found.items():
            getattr(self, name).fill_(value if value > 0 else 1.0)
        return self


def _close_distance(data: Rollouts) -> float:
    """The `CLOSE` quantile of edge lengths, over items spread evenly through the data; 0 without edges."""
    edges = data.edge_index.shape[1]
    if not edges:
        return 0.0
    items = min(len(data), max(1, _EDGES // edges))
    position = data.gather(torch.arange(items) * len(data) // items).position
    sender, receiver = data.edge_index
    distance = (position[:, receiver] - position[:, sender]).norm(dim=-1).flatten()
    return float(distance.kthvalue(1 + int(CLOSE * (len(distance) - 1))).values)

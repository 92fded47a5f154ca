"""What PiVeM is measured against: nodes that do not move, and pairs that are simply counted.

They are no catalogued systems. Static latent distance: Hoff, Raftery, Handcock, 2002, with Poisson counts:
    rate_ij = exp(a_i + a_j - |x_i - x_j|^2), the same at all times.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor

from pathline.data.events import Events
from pathline.events.base import Baseline
from pathline.events.pair_counts import closed_bins
from pathline.events.pivem import PiVeM


class StaticLatentDistance(PiVeM):
    """PiVeM whose nodes stay where they are; everything else, the prior included, is the same."""

    moves: ClassVar[bool] = False


class PairRate(Baseline):
    """Contacts of a pair in training over the time in which it was watched; 0 for pairs that were never watched.

    bins: the grid on which gaps close time, as for PiVeM.
    """

    frequency: Tensor

    def __init__(self, stream: dict[str, Any], bins: int = 30) -> None:
        super().__init__(stream)
        self.bins = bins
        self.register_buffer("frequency", torch.zeros(self.nodes, self.nodes))

    def read(self, data: Events) -> None:
        super().read(data)
        nodes, own = self.nodes, slice(data.start, None)
        pairs = torch.cat([data.source[own] * nodes + data.target[own], data.target[own] * nodes + data.source[own]])
        met = torch.bincount(pairs, minlength=nodes * nodes).view(nodes, nodes)
        closed = closed_bins(data.gaps, self.bins, float(data.clock[data.start]), data.span)
        watched = torch.full((nodes, nodes), float(self.bins))
        for i, j in ((0, 1), (1, 0)):
            watched.index_put_((closed[:, i], closed[:, j]), torch.tensor(-1.0), accumulate=True)
        self.frequency.copy_(met / watched.clamp(min=1))

    def score_pairs(self, source: Tensor, target: Tensor, time: Tensor) -> Tensor:
        return self.frequency[source[:, None], target]

    def log_expected(self, source: Tensor, target: Tensor, begin: Tensor, end: Tensor) -> Tensor:
        """log of the expected number of contacts between two times, up to a constant; -inf where there were none."""
        return (self.frequency[source, target] * (end - begin)).log()

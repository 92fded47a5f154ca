"""Contacts of moving points: for every pair an inhomogeneous Poisson process whose rate follows their distance.

    rate_ij(t) = exp(a_i + a_j - |r_i(t) - r_j(t)|^2),        r in straight pieces
Events are drawn by thinning (Lewis and Shedler, 1979): in each piece candidates of the greatest rate that the pair
reaches there, of which one at time t is kept with probability rate(t) / greatest. On a piece the logarithm of the rate
is a concave parabola, so the greatest rate is known exactly, also when its top lies inside.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pathline.spaces.moving_points import PiecewisePaths
from pathline.spaces.segment_integrals import log_peak, log_segment_integral

if TYPE_CHECKING:
    from pathline.data.events import Events

# Where the centres of the three clusters are at the corners of an even grid of times: two merge and split, then the
# second and the third do.
CENTRES = (
    ((-1.6, 0.0), (1.6, 0.0), (0.0, 2.6)),
    ((-1.6, 0.0), (1.6, 0.0), (0.0, 2.6)),
    ((0.0, 0.0), (0.0, 0.0), (0.0, 2.6)),
    ((-1.6, 0.0), (1.6, 0.0), (0.0, 2.6)),
    ((-1.6, 0.0), (0.8, 1.3), (0.8, 1.3)),
    ((-1.6, 0.0), (1.6, 0.0), (0.0, 2.6)),
)


def log_rates(paths: PiecewisePaths, activity: Tensor, source: Tensor, target: Tensor, time: Tensor) -> Tensor:
    """a_i + a_j - |r_i(t) - r_j(t)|^2 for pairs (events,) at times (events,)."""
    apart = paths.at(time, source) - paths.at(time, target)
    return activity[source] + activity[target] - apart.square().sum(-1)


def thin_contacts(paths: PiecewisePaths, activity: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """All contacts of all pairs: source < target (events,) int64 and time (events,) float64, in order of time.

    activity: (points,), the a_i;  a chunk of pieces is drawn at once, there is no loop over pairs or events.
    """
    corners, velocity = paths.corners().double(), paths.velocity.double()
    exact, activity = PiecewisePaths(paths.start.double(), velocity, paths.length), activity.double()
    i, j = torch.triu_indices(len(activity), len(activity), offset=1)
    x, v = corners[:-1, i] - corners[:-1, j], velocity[:, i] - velocity[:, j]
    zero = torch.zeros((), dtype=torch.float64)
    greatest = activity[i] + activity[j] + log_peak(x, v, zero, zero + paths.width)  # (pieces, pairs)
    candidates = torch.poisson(greatest.exp() * paths.width, generator=generator).long()
    cell = torch.arange(candidates.numel()).repeat_interleave(candidates.flatten())
    piece, pair = cell // len(i), cell % len(i)
    time = (piece + torch.rand(len(cell), generator=generator, dtype=torch.float64)) * paths.width
    rate = log_rates(exact, activity, i[pair], j[pair], time)
    kept = torch.rand(len(cell), generator=generator, dtype=torch.float64).log() < rate - greatest.flatten()[cell]
    time, order = time[kept].sort(stable=True)
    pair = pair[kept][order]
    return i[pair], j[pair], time


def expected_contacts(paths: PiecewisePaths, activity: Tensor) -> Tensor:
    """How many contacts each pair has in the mean: (points, points), symmetric, zero on the diagonal."""
    corners = paths.corners()
    i, j = torch.triu_indices(len(activity), len(activity), offset=1)
    x, v = corners[:-1, i] - corners[:-1, j], paths.velocity[:, i] - paths.velocity[:, j]
    zero = x.new_zeros(())
    mean = (log_segment_integral(x, v, zero, zero + paths.width) + activity[i] + activity[j]).exp().sum(0)
    out = x.new_zeros(len(activity), len(activity))
    out[i, j] = mean
    return out + out.T


@dataclass(frozen=True)
class ContactRecord:
    """Contacts with the truth behind them. source < target, time: (events,), time from 0 to 1 float64, ascending;
    paths, activity: of the points;  cluster: (points,) int64."""

    source: Tensor
    target: Tensor
    time: Tensor
    paths: PiecewisePaths
    activity: Tensor
    cluster: Tensor

    def events(self) -> "Events":
        """As a container of events."""
        from pathline.data.events import Events

        return Events(
            source=self.source,
            target=self.target,
            time=self.time,
            nodes=len(self.cluster),
            directed=False,
            unit="",
            name="merging-clusters",
        )


def merging_clusters(points: int = 60, contacts: float = 8000.0, pieces: int = 20, seed: int = 0) -> ContactRecord:
    """Three clusters of which two merge and split, then another two.

    Points scatter about their cluster's centre with standard deviation 0.35 and wander by a random walk of 0.1 a piece
    that is pulled back; activities vary by 0.3 and are shifted so that `contacts` are expected in all.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    cluster = torch.arange(points) % 3
    grid = torch.tensor(CENTRES, dtype=torch.float64)
    place = torch.linspace(0, len(grid) - 1, pieces + 1, dtype=torch.float64)
    low = place.long().clamp(max=len(grid) - 2)
    centre = torch.lerp(grid[low], grid[low + 1], (place - low)[:, None, None])[:, cluster]
    offset = [0.35 * normal(points, 2)]
    for step in 0.1 * normal(pieces, points, 2):
        offset.append(0.95 * offset[-1] + step)
    corners = centre + torch.stack(offset)
    paths = PiecewisePaths(corners[0], corners.diff(dim=0) * pieces)
    activity = 0.3 * normal(points)
    expected = expected_contacts(paths, activity).sum().item() / 2
    activity = activity + 0.5 * math.log(contacts / expected)
    return ContactRecord(*thin_contacts(paths, activity, generator), paths, activity, cluster)

"""A small detector of points, the same for every input picture, and how well it finds them.

Four convolutions turn a picture of three channels into a map of logits; the target is a Gaussian bump at the point.
Peaks of the map are detections. AP is the area under precision over recall when the detections of all pictures are
taken from the surest down; one counts as right if it is within `tolerance` pixels of a point that is not yet taken.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pathline.nn.warp import pixel_grid

BUMP = 1.0  # pixels, standard deviation of the target
PEAKS = 5  # detections of each picture at most
NEAR = 5  # pixels: a peak is the largest of so many by so many


class HeatMapDetector(nn.Module):
    """(batch, 3, height, width) -> logits (batch, height, width)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=2, dilation=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 1, 3, padding=1),
        )
        with torch.no_grad():
            last = self.layers[-1]
            assert isinstance(last, nn.Conv2d) and last.bias is not None
            last.bias.fill_(-5.0)  # most pixels show nothing

    def forward(self, pictures: Tensor) -> Tensor:
        logits: Tensor = self.layers(pictures)
        return logits[:, 0]

    def loss(self, pictures: Tensor, centre: Tensor) -> Tensor:
        """Cross-entropy with the bump, where a pixel of the bump counts as much as a hundred others."""
        height, width = pictures.shape[-2:]
        square = (pixel_grid(height, width) - centre[..., None, None]).square().sum(1)
        target = torch.exp(-square / (2 * BUMP**2))
        return F.binary_cross_entropy_with_logits(self(pictures), target, 1 + 99 * target)

    def learn(self, pictures: Tensor, centre: Tensor, steps: int, batch: int, seed: int, lr: float = 3e-3) -> None:
        """AdamW with a cosine, over random batches that follow from `seed`."""
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.AdamW(self.parameters(), lr=lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            index = torch.randint(len(pictures), (batch,), generator=generator)
            optimizer.zero_grad()
            self.loss(pictures[index], centre[index]).backward()
            optimizer.step()
            schedule.step()


@torch.no_grad()
def peaks(logits: Tensor, most: int = PEAKS) -> tuple[Tensor, Tensor]:
    """The surest local maxima of (batch, height, width): x, y (batch, most, 2) and their logits (batch, most)."""
    highest = F.max_pool2d(logits[:, None], NEAR, 1, NEAR // 2)[:, 0]
    alone = torch.where(logits == highest, logits, -torch.inf).flatten(1)
    score, place = alone.topk(most, 1)
    width = logits.shape[-1]
    return torch.stack([place % width, place // width], -1).float(), score


def average_precision(logits: Tensor, centre: Tensor, tolerance: float = 2.0) -> float:
    """AP of maps (pictures, height, width) with one point (pictures, 2) each, over the detections of all pictures."""
    place, score = peaks(logits)
    near = (place - centre[:, None]).norm(dim=-1) <= tolerance
    first = near & (near.cumsum(1) == 1)  # of two near the same point, the surer one
    order = score.flatten().argsort(descending=True)
    right = first.flatten()[order].double()
    found = right.cumsum(0)
    precision = found / torch.arange(1, len(right) + 1)
    best = precision.flip(0).cummax(0).values.flip(0)
    return float((best * right).sum() / len(centre))

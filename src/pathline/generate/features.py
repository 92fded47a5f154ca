"""How far generated samples are from real ones: distances between two sets of points, and fixed features for images.

    Frechet distance      ||m_a - m_b||^2 + tr(S_a + S_b - 2 (S_a S_b)^1/2)    of the Gaussians fitted to two sets
    energy distance       2 E|a - b| - E|a - a'| - E|b - b'|
    sliced Wasserstein-2  (mean over directions of W_2^2 of the two projections)^1/2, each projection solved exactly

Heusel et al., 2017, "GANs Trained by a Two Time-Scale Update Rule", arXiv:1706.08500 (Frechet distance in the features
of a classifier); Szekely, Rizzo, 2013, "Energy statistics" (energy distance); Bonneel et al., 2015, "Sliced and Radon
Wasserstein Barycenters of Measures" (slicing).

Pixels are a poor place for the Frechet distance, so images of two kinds are compared in the 32 features of a small
fixed classifier, each of unit variance over the classifier's training images. scripts/train_features.py trained them on
the training part of `load(key).split(SPLIT_SEED)`; their accuracy on its test part:

    1 x 8 x 8    "digits"         1,439 training images    0.994 of 179 others
    1 x 28 x 28  "fashion-mnist"  56,000 training images    0.915 of 7,000 others

A claim on these data must split them with `split(SPLIT_SEED)` too, whatever its own seed is: then its test images are
new to the generators and to the features.
"""

import math
from functools import cache
from importlib.resources import as_file, files

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.data import Samples

SPLIT_SEED = 0  # of the split whose training part the digit features were trained on
WIDTH = 32
_FILES = {(1, 8, 8): "digits-features", (1, 28, 28): "fashion-features"}


class FeatureNet(nn.Module):
    """A small convolutional classifier: three layers, 32 features after the last activation, 10 classes.

    images: (batch, 1, size, size) in [0, 1] -> features (batch, 32) or logits (batch, 10)
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        channels, strides = ((1, 16, 32, 32), (1, 1, 2)) if size <= 8 else ((1, 16, 32, 64), (1, 2, 2))
        layers: list[nn.Module] = []
        for inputs, outputs, stride in zip(channels, channels[1:], strides, strict=False):
            layers += [nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.GELU()]
        cells = (size // math.prod(strides)) ** 2
        self.trunk = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * cells, WIDTH), nn.GELU())
        self.head = nn.Linear(WIDTH, 10)
        self.register_buffer("shift", torch.zeros(WIDTH))
        self.register_buffer("scale", torch.ones(WIDTH))

    def logits(self, images: Tensor) -> Tensor:
        classes: Tensor = self.head(self.trunk(images))
        return classes

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = (self.trunk(images) - self.shift) / self.scale
        return features


@cache
def feature_net(shape: tuple[int, ...]) -> FeatureNet | None:
    """The fixed classifier for images of `shape` (channels, height, width), or None where there is none."""
    from safetensors.torch import load_file

    if shape not in _FILES:
        return None
    net = FeatureNet(shape[-1])
    with as_file(files("pathline.generate") / f"{_FILES[shape]}.safetensors") as path:
        net.load_state_dict(load_file(path))
    return net.requires_grad_(False).eval()


def has_features(data: Samples) -> bool:
    """Whether `data` are images that a fixed classifier can read: a known shape, and known bounds to scale by."""
    return data.bounds is not None and data.shape in _FILES


@torch.no_grad()
def features(values: Tensor, bounds: tuple[float, float]) -> Tensor:
    """The 32 features of images (count, 1, size, size) whose black and white are `bounds`: (count, 32).

    Values beyond the bounds are taken as they are: a generator that leaves the range is judged for it.
    """
    net = feature_net(tuple(values.shape[1:]))
    if net is None:
        raise ValueError(f"there is no fixed classifier for images of shape {tuple(values.shape[1:])}")
    low, high = bounds
    images = (values.cpu().float() - low) / (high - low)
    return torch.cat([net(part) for part in images.split(2048)])


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Squared Wasserstein-2 distance of the Gaussians with the means and covariances of `a` and `b`.

    a, b: (count, dims), at least two rows each. With A = S_a^1/2 the trace of (S_a S_b)^1/2 is that of the symmetric
    (A S_b A)^1/2, so two symmetric eigenvalue problems in float64 give it exactly, singular covariances included.
    """
    a, b = _rows(a, b)
    gap = (a.mean(0) - b.mean(0)).square().sum()
    cov_a, cov_b = torch.cov(a.T).reshape(a.shape[1], -1), torch.cov(b.T).reshape(b.shape[1], -1)
    values, vectors = torch.linalg.eigh(cov_a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    return max(0.0, float(gap + cov_a.trace() + cov_b.trace() - 2 * cross))


def sliced_wasserstein(a: Tensor, b: Tensor, directions: int = 256, seed: int = 0) -> float:
    """Sliced Wasserstein-2 distance, in the units of the data.

    a, b: (count, ...), flattened; the counts may differ. `seed` fixes the `directions`, uniform on the sphere.
    """
    a, b = _rows(a, b)
    generator = torch.Generator().manual_seed(seed)
    lines = F.normalize(torch.randn(a.shape[1], directions, generator=generator, dtype=torch.float64), dim=0)
    return math.sqrt(float(wasserstein_1d(a @ lines, b @ lines).mean()))


def energy_distance(a: Tensor, b: Tensor) -> float:
    """Energy distance without bias, in the units of the data; of two sets from one law it may fall a little below 0.

    a, b: (count, ...), flattened; the counts may differ.
    """
    a, b = _rows(a, b)
    within = sum(float(torch.cdist(x, x).sum()) / (len(x) * (len(x) - 1)) for x in (a, b))
    return 2 * float(torch.cdist(a, b).mean()) - within


def wasserstein_1d(a: Tensor, b: Tensor) -> Tensor:
    """W_2^2 between the columns of a: (n, k) and b: (m, k), as empirical laws on the line: (k,).

    The optimal plan joins equal quantiles. Both quantile functions are constant between the levels i/n and j/m, so the
    integral over all levels is a finite sum.
    """
    n, m = len(a), len(b)
    steps = torch.cat(
        [torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]
    ).unique()  # levels times n m, as integers
    weights = torch.diff(steps, prepend=steps.new_zeros(1)).double() / (n * m)
    gap = a.sort(0).values[(steps - 1) // m] - b.sort(0).values[(steps - 1) // n]
    return weights @ gap.square()


def _rows(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both sets as float64 rows on the processor."""
    if a.shape[1:] != b.shape[1:] or len(a) < 2 or len(b) < 2:
        raise ValueError(
            f"two sets of at least 2 points of one shape are compared, got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    return a.detach().cpu().double().flatten(1), b.detach().cpu().double().flatten(1)

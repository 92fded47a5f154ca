"""Velocity fields in the plane taken apart: what only turns, and what only swells.

    v = v_o + v_r,   div v_o = 0,   v_r = grad phi,   laplace phi = div v                      (Helmholtz)
    div(f grad phi) = s,   no flux through the border                                          (Poisson, varying f)

Periodic fields are split exactly by Fourier transforms; with walls, the Laplacian is diagonal in cosines, which
preconditions conjugate gradients for varying f. Fields are (..., 2, height, width), x (along the width) first, with
unit spacing. Evans, "Partial Differential Equations"; Strang, 1999, "The Discrete Cosine Transform".
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def _waves(height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Angular wave numbers along x (1, width / 2 + 1) and y (height, 1); 0 at the highest of an even length, whose
    derivative has no sign on the grid."""
    options = {"device": like.device, "dtype": like.real.dtype}
    x = 2 * torch.pi * torch.fft.rfftfreq(width, **options)
    y = 2 * torch.pi * torch.fft.fftfreq(height, **options)
    if width % 2 == 0:
        x[-1] = 0
    if height % 2 == 0:
        y[height // 2] = 0
    return x[None], y[:, None]


def helmholtz(field: Tensor) -> tuple[Tensor, Tensor]:
    """A periodic field as its divergence-free part, which keeps the mean, and its curl-free part.

    The two are orthogonal in L2 and add up to `field`; the spectral divergence of the one and curl of the other are 0.
    """
    height, width = field.shape[-2:]
    spectrum = torch.fft.rfft2(field)
    x, y = _waves(height, width, spectrum)
    square = x.square() + y.square()
    along = (x * spectrum[..., 0, :, :] + y * spectrum[..., 1, :, :]) / torch.where(square > 0, square, 1.0)
    swelling = torch.fft.irfft2(torch.stack([x * along, y * along], -3), s=(height, width))
    return field - swelling, swelling


def spectral_divergence(field: Tensor) -> Tensor:
    """d_x v_x + d_y v_y of a periodic field, (..., height, width)."""
    height, width = field.shape[-2:]
    spectrum = torch.fft.rfft2(field)
    x, y = _waves(height, width, spectrum)
    return torch.fft.irfft2(1j * (x * spectrum[..., 0, :, :] + y * spectrum[..., 1, :, :]), s=(height, width))


def spectral_curl(field: Tensor) -> Tensor:
    """d_x v_y - d_y v_x of a periodic field, (..., height, width)."""
    height, width = field.shape[-2:]
    spectrum = torch.fft.rfft2(field)
    x, y = _waves(height, width, spectrum)
    return torch.fft.irfft2(1j * (x * spectrum[..., 1, :, :] - y * spectrum[..., 0, :, :]), s=(height, width))


# -- with walls: phi at pixel centres, fluxes on the edges between them ---------------------------------------------


def edge_gradient(phi: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of neighbours: (..., height, width - 1) along x and (..., height - 1, width) along y."""
    return phi.diff(dim=-1), phi.diff(dim=-2)


def edge_divergence(along_x: Tensor, along_y: Tensor) -> Tensor:
    """What flows out of each pixel through its edges; none through the border."""
    return F.pad(along_x, (1, 1)).diff(dim=-1) + F.pad(along_y, (0, 0, 1, 1)).diff(dim=-2)


def weighted_laplacian(phi: Tensor, weight: Tensor) -> Tensor:
    """div(weight grad phi) with the weight of an edge the mean of its two pixels'. (..., height, width)"""
    along_x, along_y = edge_gradient(phi)
    return edge_divergence(
        along_x * (weight[..., 1:] + weight[..., :-1]) / 2, along_y * (weight[..., 1:, :] + weight[..., :-1, :]) / 2
    )


def centred(along_x: Tensor, along_y: Tensor) -> Tensor:
    """Vectors at pixel centres, (..., 2, height, width): means of the two edges on either side, 0 beyond the border."""
    x, y = F.pad(along_x, (1, 1)), F.pad(along_y, (0, 0, 1, 1))
    return torch.stack([(x[..., 1:] + x[..., :-1]) / 2, (y[..., 1:, :] + y[..., :-1, :]) / 2], -3)


def cosine_poisson(source: Tensor) -> Tensor:
    """phi of mean 0 with laplace phi = source - its mean, no flux through the border; exact on the grid.

    By a Fourier transform of the even continuation, which is a cosine transform.
    """
    height, width = source.shape[-2:]
    even = torch.cat([source, source.flip(-1)], -1)
    even = torch.cat([even, even.flip(-2)], -2)
    spectrum = torch.fft.rfft2(even)
    options = {"device": source.device, "dtype": source.dtype}
    x = 2 * torch.cos(2 * torch.pi * torch.fft.rfftfreq(2 * width, **options)) - 2
    y = 2 * torch.cos(2 * torch.pi * torch.fft.fftfreq(2 * height, **options)) - 2
    eigenvalue = x[None] + y[:, None]
    eigenvalue[0, 0] = 1
    spectrum = spectrum / eigenvalue
    spectrum[..., 0, 0] = 0
    return torch.fft.irfft2(spectrum, s=(2 * height, 2 * width))[..., :height, :width]


def weighted_poisson(source: Tensor, weight: Tensor, iterations: int = 20) -> Tensor:
    """phi of mean 0 with div(weight grad phi) = source - its mean, no flux through the border.

    Conjugate gradients, preconditioned by `cosine_poisson`: the error shrinks as if the weight were its range alone,
    however rough it is.
    source, weight: (..., height, width), weight above 0; each picture of a batch takes steps of its own
    """

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum((-2, -1), keepdim=True)

    residual = -_without_mean(source)  # of the positive operator -div(weight grad)
    phi = torch.zeros_like(source)
    guess = -cosine_poisson(residual)
    direction, measure = guess, dot(residual, guess)
    tiny = torch.finfo(source.dtype).tiny
    for _ in range(iterations):
        applied = -weighted_laplacian(direction, weight)
        step = measure / dot(direction, applied).clamp(min=tiny)
        phi = phi + step * direction
        residual = residual - step * applied
        guess = -cosine_poisson(residual)
        measure, before = dot(residual, guess), measure
        direction = guess + measure / before.clamp(min=tiny) * direction
    return _without_mean(phi)


def _without_mean(values: Tensor) -> Tensor:
    return values - values.mean((-2, -1), keepdim=True)

"""Two points that move in straight lines: how much of a Gaussian of their distance passes by.

    log I(a, b) = log integral_a^b exp(-|x + s v|^2) ds,        x, v the difference of places and of velocities

With q = |v| (b - a) and u_m = <x, v> / |v| + |v| (a + b) / 2, the exponent at the ends differs by p = 2 u_m q.
Two forms are exact where the other is not:

- q and |p| small (points that hardly move against each other, v = 0 included): Gauss and Legendre's rule with six
  nodes. Its relative error is below 1e-9 for q < 1/2, |p| < 4, and the difference of two error functions that are
  almost equal never occurs.
- otherwise  I = exp(-d^2) sqrt(pi) / (2 |v|) (erf(w) - erf(u)),  u, w the ends on the line and d the distance of the
  line from the origin. With d taken from the part of x across v nothing overflows, and with both ends on one side the
  difference is written with erfcx(z) = exp(z^2) erfc(z) in log space, so that nothing underflows either.

Celikkanat, Nakis, Mørup, 2022, arXiv:2212.12345 has the closed form; the guards are ours.
"""

import math

import torch
from torch import Tensor

SMALL_STEP, SMALL_TILT = 0.5, 4.0  # of q and |p|: up to here the rule's nodes are enough

# Nodes on [-1/2, 1/2] and weights that sum to 1.
_NODES = tuple(sign * z / 2 for z in (0.2386191860831969, 0.6612093864662645, 0.9324695142031521) for sign in (-1, 1))
_WEIGHTS = tuple(w / 2 for w in (0.46791393457269104, 0.36076157304813861, 0.17132449237917036) for _ in (-1, 1))


def log_segment_integral(x: Tensor, v: Tensor, begin: Tensor, end: Tensor) -> Tensor:
    """log integral_begin^end exp(-|x + s v|^2) ds, differentiable in x and v, v = 0 included.

    x, v:       (..., dims), the difference at s = 0 and its velocity
    begin, end: broadcastable to (...), begin < end;  returns (...), -inf where begin = end
    """
    shape = torch.broadcast_shapes(x.shape[:-1], begin.shape, end.shape)
    x, v = (part.expand(*shape, -1).reshape(-1, x.shape[-1]) for part in torch.broadcast_tensors(x, v))
    begin, end = (part.expand(shape).reshape(-1) for part in (begin, end))
    with torch.no_grad():
        step = v.square().sum(-1).sqrt() * (end - begin)
        tilt = 2 * ((x + v * ((begin + end) / 2)[:, None]) * v).sum(-1) * (end - begin)
        slow = (step < SMALL_STEP) & (tilt.abs() < SMALL_TILT)
    if bool(slow.all()):
        return _by_rule(x, v, begin, end).view(shape)
    out = x.new_empty(len(slow))
    out[slow] = _by_rule(x[slow], v[slow], begin[slow], end[slow])
    fast = ~slow
    out[fast] = _by_error_function(x[fast], v[fast], begin[fast], end[fast])
    return out.view(shape)


def _by_rule(x: Tensor, v: Tensor, begin: Tensor, end: Tensor) -> Tensor:
    """All (count, ...): log of the rule's sum, relative to the exponent in the middle.

    |x_m + y w|^2 = |x_m|^2 + 2 y <x_m, w> + y^2 |w|^2 with w the whole displacement and y on [-1/2, 1/2].
    """
    middle = x + v * ((begin + end) / 2)[:, None]
    moved = v * (end - begin)[:, None]
    tilt, bend = 2 * (middle * moved).sum(-1), moved.square().sum(-1)
    total = sum(weight * torch.exp(-node * (tilt + node * bend)) for node, weight in zip(_NODES, _WEIGHTS, strict=True))
    assert isinstance(total, Tensor)
    return total.log() - middle.square().sum(-1) + (end - begin).log()


def _by_error_function(x: Tensor, v: Tensor, begin: Tensor, end: Tensor) -> Tensor:
    """All (count, ...): the closed form; v is not 0 here."""
    speed = v.square().sum(-1).sqrt()
    along = (x * v).sum(-1) / speed
    across = x - v * (along / speed)[:, None]
    low, high = speed * begin + along, speed * end + along
    flipped = high < 0  # both ends on the left: the same stretch mirrored
    low, high = torch.where(flipped, -high, low), torch.where(flipped, -low, high)
    apart = low > 0
    # erfc(low) - erfc(high) = exp(-low^2) (erfcx(low) - exp(low^2 - high^2) erfcx(high))
    near, far = torch.where(apart, low, 0.5), torch.where(apart, high, 1.0)
    tail = torch.special.erfcx(near) - torch.exp((near - far) * (near + far)) * torch.special.erfcx(far)
    one_side = tail.log() - near.square()
    both_sides = (torch.erf(torch.where(apart, 1.0, high)) - torch.erf(torch.where(apart, -1.0, low))).log()
    return torch.where(apart, one_side, both_sides) - across.square().sum(-1) + (math.sqrt(math.pi) / 2 / speed).log()


def log_peak(x: Tensor, v: Tensor, begin: Tensor, end: Tensor) -> Tensor:
    """The greatest value of -|x + s v|^2 for begin <= s <= end: a concave parabola, so its top or the nearer end.

    Shapes as in `log_segment_integral`.
    """
    square = v.square().sum(-1)
    top = -(x * v).sum(-1) / square.clamp(min=torch.finfo(square.dtype).tiny)
    place = torch.minimum(torch.maximum(top, begin), end)
    return -(x + v * place[..., None]).square().sum(-1)

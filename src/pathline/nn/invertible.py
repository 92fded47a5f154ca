"""Invertible layers with the logarithm of their volume change, smooth in what they map and in what they depend on.

    forward  (x, c) -> (z, log |det dz/dx|),        inverse  (z, c) -> x,        c: (batch, condition) or None

`forward` is the direction in which densities are asked for and always a formula; `inverse` is one too where `analytic`
says so, else it iterates to the precision of its numbers and is not differentiated. All activations have derivatives
of every order: velocities of a flow are derivatives of its layers, and their divergence takes another one.
Dinh, Sohl-Dickstein, Bengio, 2017, arXiv:1605.08803 (affine coupling); Chen, Behrmann, Duvenaud, Jacobsen, 2019,
"Residual Flows", arXiv:1906.02735 (residual layers and LipSwish); Huang, Krueger, Lacoste, Courville, 2018, "Neural
Autoregressive Flows", arXiv:1804.00779 (sums of sigmoids).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import jvp, vmap

from pathline.nn.mlp import MLP

Mapped = tuple[Tensor, Tensor]


class Invertible(nn.Module):
    """A bijection of (batch, dims) for each condition c: (batch, condition), None for none."""

    analytic = True

    def forward(self, x: Tensor, c: Tensor | None = None) -> Mapped:
        """z: (batch, dims) and log |det dz/dx|: (batch,)."""
        raise NotImplementedError

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """x: (batch, dims) with forward(x, c) = z."""
        raise NotImplementedError

    def image(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """z alone, for those who take derivatives of it themselves."""
        z: Tensor = self(x, c)[0]
        return z


class InvertibleSequence(Invertible):
    """Layers one after the other; analytic if all are."""

    def __init__(self, layers: Sequence[Invertible]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.analytic = all(layer.analytic for layer in layers)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Mapped:
        total = x.new_zeros(len(x))
        for layer in self.layers:
            x, gained = layer(x, c)
            total = total + gained
        return x, total

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        for layer in reversed(self.layers):
            z = layer.inverse(z, c)  # type: ignore[operator]
        return z

    def image(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        for layer in self.layers:
            x = layer.image(x, c)  # type: ignore[operator]
        return x


class Coupling(Invertible):
    """z_a = x_a, z_b = x_b exp(s) + t, with s and t functions of x_a and c, |s| < bound.

    flip: which half stays: the first ceil(dims / 2) entries, or the last
    """

    def __init__(self, dims: int, condition: int = 0, width: int = 64, bound: float = 2.0, flip: bool = False) -> None:
        super().__init__()
        if dims < 2:
            raise ValueError("a coupling needs two dimensions, one of which the other depends on")
        self.bound, self.flip = bound, flip
        self.moved = dims // 2
        self.net = MLP([dims - self.moved + condition, width, width, 2 * self.moved], nn.Tanh)

    def _split(self, x: Tensor) -> Mapped:
        """What stays, and what moves."""
        if self.flip:
            return x[:, self.moved :], x[:, : self.moved]
        return x[:, : -self.moved], x[:, -self.moved :]

    def _join(self, stays: Tensor, moves: Tensor) -> Tensor:
        return torch.cat([moves, stays] if self.flip else [stays, moves], 1)

    def _parameters_at(self, stays: Tensor, c: Tensor | None) -> Mapped:
        log_scale, shift = self.net(_with(stays, c)).chunk(2, 1)
        return self.bound * torch.tanh(log_scale / self.bound), shift

    def forward(self, x: Tensor, c: Tensor | None = None) -> Mapped:
        stays, moves = self._split(x)
        log_scale, shift = self._parameters_at(stays, c)
        return self._join(stays, moves * log_scale.exp() + shift), log_scale.sum(1)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        stays, moves = self._split(z)
        log_scale, shift = self._parameters_at(stays, c)
        return self._join(stays, (moves - shift) * (-log_scale).exp())


class Rotation(Invertible):
    """A rotation by angles that depend on c alone, in the planes of axes (1, 2), (2, 3), ...: volume stays."""

    def __init__(self, dims: int, condition: int = 0, width: int = 32) -> None:
        super().__init__()
        self.planes = dims - 1
        self.angles = _Depending(condition, self.planes, width)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Mapped:
        angles = self.angles(x, c)
        for plane in range(self.planes):
            x = _turned(x, plane, angles[:, plane])
        return x, x.new_zeros(len(x))

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        angles = self.angles(z, c)
        for plane in reversed(range(self.planes)):
            z = _turned(z, plane, -angles[:, plane])
        return z


class Affine(Invertible):
    """z = x exp(s(c)) + t(c) for each axis; without `scales`, z = x + t(c)."""

    def __init__(self, dims: int, condition: int = 0, width: int = 32, scales: bool = True) -> None:
        super().__init__()
        self.shift = _Depending(condition, dims, width)
        self.log_scale = _Depending(condition, dims, width) if scales else None

    def forward(self, x: Tensor, c: Tensor | None = None) -> Mapped:
        if self.log_scale is None:
            return x + self.shift(x, c), x.new_zeros(len(x))
        log_scale = self.log_scale(x, c)
        return x * log_scale.exp() + self.shift(x, c), log_scale.sum(1)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        x = z - self.shift(z, c)
        return x if self.log_scale is None else x * (-self.log_scale(z, c)).exp()


class Stretch(Invertible):
    """z = R(a) (exp(s) R(b) x) + t, any linear map by its singular values, with a shift; a, b, s and t are linear in c.

    It begins near the identity, whatever c is.
    """

    def __init__(self, dims: int, condition: int) -> None:
        super().__init__()
        self.sizes = [dims - 1, dims - 1, dims, dims]
        self.parameters_of = nn.Linear(condition, sum(self.sizes))
        nn.init.normal_(self.parameters_of.weight, std=0.02)
        nn.init.zeros_(self.parameters_of.bias)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Mapped:
        first, second, log_scale, shift = self.parameters_of(c).split(self.sizes, 1)
        for plane in range(self.sizes[0]):
            x = _turned(x, plane, first[:, plane])
        x = x * log_scale.exp()
        for plane in range(self.sizes[0]):
            x = _turned(x, plane, second[:, plane])
        return x + shift, log_scale.sum(1)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        first, second, log_scale, shift = self.parameters_of(c).split(self.sizes, 1)
        z = z - shift
        for plane in reversed(range(self.sizes[0])):
            z = _turned(z, plane, -second[:, plane])
        z = z * (-log_scale).exp()
        for plane in reversed(range(self.sizes[0])):
            z = _turned(z, plane, -first[:, plane])
        return z


class SumOfSigmoids(Invertible):
    """z = exp(s) x + sum_k w_k (sigmoid(a_k x + b_k) - 1/2) for each axis; w, a > 0; all parameters depend on c."""

    analytic = False

    def __init__(self, dims: int, condition: int = 0, count: int = 8, width: int = 32) -> None:
        super().__init__()
        self.shape = (dims, 3 * count + 1)
        self.parameters_of = _Depending(condition, dims * (3 * count + 1), width, spread=1.0)

    def _parameters_at(self, x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        raw = self.parameters_of(x, c).unflatten(1, self.shape)
        weight, slope, offset = raw[..., 1:].chunk(3, -1)
        return raw[..., 0].tanh().exp(), F.softplus(weight) * 4 / weight.shape[-1], F.softplus(slope) + 0.1, 2 * offset

    def forward(self, x: Tensor, c: Tensor | None = None) -> Mapped:
        scale, weight, slope, offset = self._parameters_at(x, c)
        step = torch.sigmoid(slope * x[..., None] + offset)
        derivative = scale + (weight * slope * step * (1 - step)).sum(-1)
        return scale * x + (weight * (step - 0.5)).sum(-1), derivative.log().sum(1)

    @torch.no_grad()
    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """By bisection between the bounds that |sigmoid - 1/2| < 1/2 gives."""
        scale, weight, slope, offset = self._parameters_at(z, c)
        reach = weight.sum(-1) / 2
        low, high = (z - reach) / scale, (z + reach) / scale
        for _ in range(64 if z.dtype == torch.float64 else 40):
            middle = (low + high) / 2
            step = torch.sigmoid(slope * middle[..., None] + offset)
            value = scale * middle + (weight * (step - 0.5)).sum(-1)
            low, high = torch.where(value < z, middle, low), torch.where(value < z, high, middle)
        return (low + high) / 2


class LipSwish(nn.Module):
    """x sigmoid(b x) / 1.1, whose slope is at most 1 for every b > 0."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(F.softplus(self.raw) * x) / 1.1


class Residual(Invertible):
    """z = x + f(x, c), where f changes by at most `contraction` < 1 times what x does, so that the map is one to one.

    Weights are divided by their largest singular value where it exceeds the bound. The determinant is that of the
    whole Jacobian, exact and meant for few dimensions; the inverse is the fixed point of x = z - f(x, c).
    periodic: f sees the cosine and sine of x, which makes it a map of the torus of period 2 pi onto itself
    """

    analytic = False

    def __init__(
        self, dims: int, condition: int = 0, width: int = 64, contraction: float = 0.9, periodic: bool = False
    ) -> None:
        super().__init__()
        self.contraction, self.periodic = contraction, periodic
        self.layers = nn.ModuleList(
            [nn.Linear(2 * dims if periodic else dims, width), nn.Linear(width, width), nn.Linear(width, dims)]
        )
        self.activations = nn.ModuleList([LipSwish(), LipSwish()])
        self.condition = nn.Linear(condition, width, bias=False) if condition else None

    def change(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """f(x, c), (batch, dims)."""
        bound = self.contraction ** (1 / len(self.layers))
        h = torch.cat([x.cos(), x.sin()], 1) if self.periodic else x
        for place, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Linear)
            largest = torch.linalg.matrix_norm(layer.weight, 2)
            h = F.linear(h, layer.weight * (bound / torch.clamp(largest, min=bound)), layer.bias)
            if place == 0 and self.condition is not None and c is not None:
                h = h + self.condition(c)
            if place < len(self.activations):
                h = self.activations[place](h)
        return h

    def forward(self, x: Tensor, c: Tensor | None = None) -> Mapped:
        z, jacobian = jacobian_of(lambda y: self.image(y, c), x)
        return z, torch.linalg.slogdet(jacobian)[1]

    def image(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return x + self.change(x, c)

    @torch.no_grad()
    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        x = z
        for _ in range(math.ceil(math.log(torch.finfo(z.dtype).eps) / math.log(self.contraction))):
            before, x = x, z - self.change(x, c)
            if bool((x - before).abs().amax() <= 4 * torch.finfo(z.dtype).eps * (1 + x.abs().amax())):
                break
        return x


class ShallowResidual(Residual):
    """z = x + V tanh(W x + U c + b): a residual layer with one hidden layer, that begins smooth and near the identity.

    Only the product |V| |W| is held below `contraction`, by V; the Jacobian 1 + V diag(tanh') W is a formula.
    """

    def __init__(self, dims: int, condition: int = 0, width: int = 64, contraction: float = 0.97) -> None:
        Invertible.__init__(self)
        self.contraction = contraction
        self.inner = nn.Parameter(0.4 * torch.randn(width, dims))
        self.outer = nn.Parameter(0.05 / math.sqrt(width) * torch.randn(dims, width))
        self.offset = nn.Parameter(2 * torch.rand(width) - 1)
        self.of_condition = nn.Parameter(0.1 / math.sqrt(max(condition, 1)) * torch.randn(width, condition))

    def _outer(self) -> Tensor:
        product = torch.linalg.matrix_norm(self.outer, 2) * torch.linalg.matrix_norm(self.inner, 2)
        return self.outer * (self.contraction / product.clamp(min=self.contraction))

    def _hidden(self, x: Tensor, c: Tensor | None) -> Tensor:
        offset = self.offset if c is None else self.offset + c @ self.of_condition.T
        return torch.tanh(x @ self.inner.T + offset)

    def change(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return self._hidden(x, c) @ self._outer().T

    def forward(self, x: Tensor, c: Tensor | None = None) -> Mapped:
        hidden, outer = self._hidden(x, c), self._outer()
        within = (1 - hidden.square())[:, None] * outer  # (batch, dims, width)
        jacobian = torch.eye(x.shape[1], dtype=x.dtype, device=x.device) + within @ self.inner
        return x + hidden @ outer.T, torch.linalg.slogdet(jacobian)[1]


class BoxToSpace(Invertible):
    """log (u / (1 - u)) with u = (x - low) / (high - low): an open box onto the whole space, axis by axis.

    low, high: bounds of each axis; points on or outside the border are brought in by a hair
    """

    low: Tensor
    high: Tensor

    def __init__(self, low: Sequence[float], high: Sequence[float]) -> None:
        super().__init__()
        if any(a >= b for a, b in zip(low, high, strict=True)):
            raise ValueError(f"a box needs low < high on every axis, got {list(low)} and {list(high)}")
        self.register_buffer("low", torch.tensor(low))
        self.register_buffer("high", torch.tensor(high))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Mapped:
        hair = 16 * torch.finfo(x.dtype).eps
        u = ((x - self.low) / (self.high - self.low)).clamp(hair, 1 - hair)
        log_derivative = -u.log() - (-u).log1p() - (self.high - self.low).log()
        return torch.logit(u), log_derivative.sum(1)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        return self.low + (self.high - self.low) * torch.sigmoid(z)


class SpaceToBox(BoxToSpace):
    """The other way round: the whole space onto an open box."""

    def forward(self, x: Tensor, c: Tensor | None = None) -> Mapped:
        log_derivative = F.logsigmoid(x) + F.logsigmoid(-x) + (self.high - self.low).log()
        return super().inverse(x, c), log_derivative.sum(1)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        return super().forward(z, c)[0]


def jacobian_of(function: Callable[[Tensor], Tensor], x: Tensor) -> Mapped:
    """y = function(x), (batch, out), and dy/dx, (batch, out, dims), by one forward derivative per axis.

    Samples must not see each other.
    """
    basis = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    found: Any = vmap(lambda e: jvp(function, (x,), (e.expand_as(x),)))(basis)
    return found[0][0], found[1].permute(1, 2, 0)


class _Depending(nn.Module):
    """Parameters (batch, count) that a small network makes of c; without a condition, free ones."""

    def __init__(self, condition: int, count: int, width: int, spread: float = 0.3) -> None:
        super().__init__()
        self.free = nn.Parameter(spread * torch.randn(count))
        self.net = MLP([condition, width, count], nn.Tanh) if condition else None

    def forward(self, like: Tensor, c: Tensor | None) -> Tensor:
        if self.net is None or c is None:
            return self.free.expand(len(like), -1)
        return self.free + self.net(c)


def _with(x: Tensor, c: Tensor | None) -> Tensor:
    return x if c is None else torch.cat([x, c], 1)


def _turned(x: Tensor, plane: int, angle: Tensor) -> Tensor:
    """x with axes plane and plane + 1 turned by an angle (batch,)."""
    a, b, cos, sin = x[:, plane], x[:, plane + 1], angle.cos(), angle.sin()
    pair = torch.stack([cos * a - sin * b, sin * a + cos * b], 1)
    return torch.cat([x[:, :plane], pair, x[:, plane + 2 :]], 1)

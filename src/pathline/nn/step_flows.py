"""Invertible layers that have weights of their own for every time step, all steps in one batched product.

    forward (x, c) -> (z, log |det dz/dx|),    inverse (z, c) -> (x, log |det dz/dx| at x)

x: (steps, batch, dims), c: (steps, batch, condition) or None; `at` says which steps these are. The layers are those of
`pathline.nn.invertible` (a test holds them equal), of which a loop over twelve steps would be twelve times as slow.
Dinh, Sohl-Dickstein, Bengio, 2017, arXiv:1605.08803 (affine coupling, batch normalisation in flows); Papamakarios,
Pavlakou, Murray, 2017, arXiv:1705.07057 (masked autoregressive flows); Cornish, Caterini, Deligiannidis, Doucet, 2020,
"Relaxing Bijectivity Constraints with Continuously Indexed Normalising Flows", arXiv:1909.13833.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

Mapped = tuple[Tensor, Tensor]
ALL = slice(None)
LOG_TWO_PI = math.log(2 * math.pi)


class StepLinear(nn.Module):
    """y_t = x_t W_t + b_t: (steps, batch, inputs) -> (steps, batch, outputs); mask: (inputs, outputs), what is used."""

    mask: Tensor | None

    def __init__(self, steps: int, inputs: int, outputs: int, mask: Tensor | None = None) -> None:
        super().__init__()
        bound = 1 / math.sqrt(max(1, inputs))
        self.weight = nn.Parameter(bound * (2 * torch.rand(steps, inputs, outputs) - 1))
        self.bias = nn.Parameter(bound * (2 * torch.rand(steps, 1, outputs) - 1))
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor, at: slice = ALL) -> Tensor:
        weight = self.weight[at] if self.mask is None else self.weight[at] * self.mask
        return torch.baddbmm(self.bias[at], x, weight)


class StepMLP(nn.Module):
    """Linear layers of `sizes` with an activation between them."""

    def __init__(self, steps: int, sizes: Sequence[int], activation: type[nn.Module] = nn.Tanh) -> None:
        super().__init__()
        self.layers = nn.ModuleList(StepLinear(steps, *pair) for pair in pairwise(sizes))
        self.activation = activation()
        with torch.no_grad():  # begin near no change at all: a chain of a dozen random maps blows up
            self.layers[-1].weight.mul_(0.1)  # type: ignore[operator]

    def forward(self, x: Tensor, at: slice = ALL) -> Tensor:
        for place, layer in enumerate(self.layers):
            x = layer(self.activation(x) if place else x, at)
        return x


class StepFlow(nn.Module):
    """A bijection of (steps, batch, dims) for each condition."""

    def forward(self, x: Tensor, c: Tensor | None = None, at: slice = ALL) -> Mapped:
        raise NotImplementedError

    def inverse(self, z: Tensor, c: Tensor | None = None, at: slice = ALL) -> Mapped:
        raise NotImplementedError


class StepCoupling(StepFlow):
    """z_a = x_a, z_b = x_b exp(s) + m with s and m functions of x_a and c, |s| < bound; flip: the last entries stay."""

    def __init__(
        self, steps: int, dims: int, condition: int, width: int, bound: float = 2.0, flip: bool = False
    ) -> None:
        super().__init__()
        self.bound, self.flip, self.moved = bound, flip, dims // 2
        self.net = StepMLP(steps, [dims - self.moved + condition, width, width, 2 * self.moved])

    def _split(self, x: Tensor) -> Mapped:
        if self.flip:
            return x[..., self.moved :], x[..., : self.moved]
        return x[..., : -self.moved], x[..., -self.moved :]

    def _join(self, stays: Tensor, moves: Tensor) -> Tensor:
        return torch.cat([moves, stays] if self.flip else [stays, moves], -1)

    def _parameters_at(self, stays: Tensor, c: Tensor | None, at: slice) -> Mapped:
        raw = self.net(stays if c is None else torch.cat([stays, c], -1), at)
        log_scale, shift = raw.chunk(2, -1)
        return self.bound * torch.tanh(log_scale / self.bound), shift

    def forward(self, x: Tensor, c: Tensor | None = None, at: slice = ALL) -> Mapped:
        stays, moves = self._split(x)
        log_scale, shift = self._parameters_at(stays, c, at)
        return self._join(stays, moves * log_scale.exp() + shift), log_scale.sum(-1)

    def inverse(self, z: Tensor, c: Tensor | None = None, at: slice = ALL) -> Mapped:
        stays, moves = self._split(z)
        log_scale, shift = self._parameters_at(stays, c, at)
        return self._join(stays, (moves - shift) * (-log_scale).exp()), log_scale.sum(-1)


class StepAutoregressive(StepFlow):
    """z_i = x_i exp(s_i) + m_i with s_i and m_i functions of x_{<i} (x_{>i} with `flip`) and c, by masked weights."""

    def __init__(
        self, steps: int, dims: int, condition: int, width: int, bound: float = 2.0, flip: bool = False
    ) -> None:
        super().__init__()
        self.bound, self.dims, self.flip = bound, dims, flip
        order = torch.arange(dims).flip(0) if flip else torch.arange(dims)
        hidden = torch.arange(width) % max(1, dims - 1)
        inputs = torch.cat([order, torch.full((condition,), -1)])  # the condition is seen by all
        outputs = order.repeat(2)
        self.layers = nn.ModuleList(
            [
                StepLinear(steps, dims + condition, width, (hidden >= inputs[:, None]).float()),
                StepLinear(steps, width, width, (hidden >= hidden[:, None]).float()),
                StepLinear(steps, width, 2 * dims, (outputs > hidden[:, None]).float()),
            ]
        )
        self.skip = StepLinear(steps, condition, 2 * dims) if condition else None  # what x_0 alone depends on
        with torch.no_grad():
            for last in (self.layers[-1], *([self.skip] if self.skip is not None else [])):
                last.weight.mul_(0.1)  # type: ignore[operator]

    def _parameters_at(self, x: Tensor, c: Tensor | None, at: slice) -> Mapped:
        h = x if c is None else torch.cat([x, c], -1)
        for place, layer in enumerate(self.layers):
            h = layer(torch.tanh(h) if place else h, at)
        if self.skip is not None and c is not None:
            h = h + self.skip(c, at)
        log_scale, shift = h.chunk(2, -1)
        return self.bound * torch.tanh(log_scale / self.bound), shift

    def forward(self, x: Tensor, c: Tensor | None = None, at: slice = ALL) -> Mapped:
        log_scale, shift = self._parameters_at(x, c, at)
        return x * log_scale.exp() + shift, log_scale.sum(-1)

    def inverse(self, z: Tensor, c: Tensor | None = None, at: slice = ALL) -> Mapped:
        x = torch.zeros_like(z)
        for _ in range(self.dims):  # one more axis is right after each
            log_scale, shift = self._parameters_at(x, c, at)
            x = (z - shift) * (-log_scale).exp()
        return x, log_scale.sum(-1)


class StepBatchNorm(StepFlow):
    """z = gamma (x - mean) / deviation + beta for each axis and step; batch statistics in training, running ones after.

    The running ones have a memory of `momentum`; `inverse` always uses them, and `forward` too while `frozen`.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, steps: int, dims: int, momentum: float = 0.9, floor: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.floor, self.frozen = momentum, floor, False
        self.log_gamma = nn.Parameter(torch.zeros(steps, 1, dims))
        self.beta = nn.Parameter(torch.zeros(steps, 1, dims))
        self.register_buffer("mean", torch.zeros(steps, 1, dims))
        self.register_buffer("variance", torch.ones(steps, 1, dims))

    def _volume(self, variance: Tensor, at: slice, like: Tensor) -> Tensor:
        volume = (self.log_gamma[at] - 0.5 * (variance + self.floor).log()).sum(-1)
        return volume.expand(like.shape[:-1])

    def forward(self, x: Tensor, c: Tensor | None = None, at: slice = ALL) -> Mapped:
        mean, variance = self.mean[at], self.variance[at]
        if self.training and not self.frozen and x.shape[1] > 1:
            mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True)
            with torch.no_grad():
                self.mean[at] = torch.lerp(mean, self.mean[at], self.momentum)
                self.variance[at] = torch.lerp(variance, self.variance[at], self.momentum)
        z = self.log_gamma[at].exp() * (x - mean) * (variance + self.floor).rsqrt() + self.beta[at]
        return z, self._volume(variance, at, x)

    def inverse(self, z: Tensor, c: Tensor | None = None, at: slice = ALL) -> Mapped:
        deviation = (self.variance[at] + self.floor).sqrt()
        x = (z - self.beta[at]) * (-self.log_gamma[at]).exp() * deviation + self.mean[at]
        return x, self._volume(self.variance[at], at, z)


class StepSequence(StepFlow):
    """Layers one after the other."""

    def __init__(self, layers: Sequence[StepFlow]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, c: Tensor | None = None, at: slice = ALL) -> Mapped:
        total = x.new_zeros(x.shape[:-1])
        for layer in self.layers:
            x, volume = layer(x, c, at)
            total = total + volume
        return x, total

    def inverse(self, z: Tensor, c: Tensor | None = None, at: slice = ALL) -> Mapped:
        total = z.new_zeros(z.shape[:-1])
        for layer in reversed(self.layers):
            z, volume = layer.inverse(z, c, at)  # type: ignore[operator]
            total = total + volume
        return z, total


class StepGaussian(nn.Module):
    """A diagonal Gaussian over the index a whose mean and log-deviation are networks of what it is given."""

    def __init__(self, steps: int, inputs: int, index: int) -> None:
        super().__init__()
        self.net = StepMLP(steps, [inputs, 2 * index, 2 * index, 2 * index], nn.ReLU)

    def _parameters_at(self, given: Tensor, at: slice) -> Mapped:
        mean, raw = self.net(given, at).chunk(2, -1)
        return mean, 4 * torch.tanh(raw / 4)

    def log_density(self, a: Tensor, given: Tensor, at: slice) -> Tensor:
        mean, log_deviation = self._parameters_at(given, at)
        white = (a - mean) * (-log_deviation).exp()
        return -0.5 * (white.square() + LOG_TWO_PI).sum(-1) - log_deviation.sum(-1)

    def draw(self, given: Tensor, at: slice, generator: torch.Generator | None) -> Mapped:
        """a and its log-density."""
        mean, log_deviation = self._parameters_at(given, at)
        white = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        log_density = -0.5 * (white.square() + LOG_TWO_PI).sum(-1) - log_deviation.sum(-1)
        return mean + log_deviation.exp() * white, log_density


class IndexedFlow(StepFlow):
    """A continuously indexed flow: a bijection F(.; a) whose index a is drawn anew, hence no bijection by itself.

        x -> w:  a ~ r(a | x, c),  w = F(x; a)         w -> x:  a ~ q(a | w, c),  x = F^-1(w; a)
        in both directions:  log |det dF/dx| + log q(a | w, c) - log r(a | x, c)

    Added to the log-density of w, that is in expectation a lower bound of the log-density of x, and its exponential an
    unbiased estimate of the density when a ~ r.
    generator: where indices come from; None for torch's global generator
    """

    def __init__(self, bijection: StepFlow, steps: int, dims: int, condition: int, index: int) -> None:
        super().__init__()
        self.bijection = bijection
        self.after = StepGaussian(steps, dims + condition, index)  # q
        self.before = StepGaussian(steps, dims + condition, index)  # r
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor, c: Tensor | None = None, at: slice = ALL) -> Mapped:
        assert c is not None
        a, log_r = self.before.draw(torch.cat([x, c], -1), at, self.generator)
        w, volume = self.bijection(x, a, at)
        return w, volume + self.after.log_density(a, torch.cat([w, c], -1), at) - log_r

    def inverse(self, z: Tensor, c: Tensor | None = None, at: slice = ALL) -> Mapped:
        assert c is not None
        a, log_q = self.after.draw(torch.cat([z, c], -1), at, self.generator)
        x, volume = self.bijection.inverse(z, a, at)
        return x, volume + log_q - self.before.log_density(a, torch.cat([x, c], -1), at)

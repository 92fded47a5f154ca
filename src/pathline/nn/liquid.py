"""Liquid networks: recurrent cells whose time constants depend on what they read.

A neuron leaks towards rest with time constant tau, and inputs pull it towards its reversal level A the harder the
larger f is; nothing is learned while it reads, yet it becomes faster or slower with its input:

    dx/dt = -(1/tau + f) x + f A,      f = f(x, I) > 0,      so its time constant is tau / (1 + tau f)
    fused semi-implicit step of length dt:      x <- (x + dt f A) / (1 + dt (1/tau + f))
Hasani, Lechner, Amini, Rus, Grosu, 2021, "Liquid Time-constant Networks", arXiv:2006.04439.

LiquidCell       f = g sigmoid(W x + U I + b), one number per neuron
SynapticCell     one conductance f_ij = w_ij sigmoid(gamma_ij (x_i - mu_ij)) per synapse i -> j, with reversal E_ij
                 (Lechner et al., 2020, "Neural circuit policies", doi:10.1038/s42256-020-00237-3)
ClosedFormCell   x = sigmoid(-f t) g + (1 - sigmoid(-f t)) h, without a solver (Hasani et al., 2022, arXiv:2106.13898)

Every cell holds `models` independent networks side by side: parameters and states lead with that axis, so that one
network per sensor and seed costs one batched product.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _inverse_softplus(value: Tensor) -> Tensor:
    return value + torch.log(-torch.expm1(-value))


def _uniform(shape: tuple[int, ...], low: float, high: float) -> Tensor:
    return torch.empty(shape).uniform_(low, high)


class Cell(nn.Module):
    """What the cells share: reading a sequence. A subclass writes `prepare` and `step`.

    inputs, width: numbers read, and neurons;  models: networks side by side
    """

    def __init__(self, inputs: int, width: int, models: int) -> None:
        super().__init__()
        self.inputs, self.width, self.models = inputs, width, models

    def start(self, batch: int) -> Tensor:
        """The state before anything was read: zeros (models, batch, width)."""
        return next(self.parameters()).new_zeros(self.models, batch, self.width)

    def prepare(self, inputs: Tensor) -> Tensor:
        """What of a step does not depend on the state, for all steps at once: (models, time, batch, inputs) -> the
        same with another last axis or axes."""
        raise NotImplementedError

    def step(self, state: Tensor, prepared: Tensor, elapsed: float = 1.0) -> Tensor:
        """State (models, batch, width) after `elapsed` units of time under what `prepare` made of one moment."""
        raise NotImplementedError

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> Tensor:
        """inputs: (models, time, batch, inputs) -> the state after each, (models, time, batch, width)."""
        state = self.start(inputs.shape[2]) if state is None else state
        states = [state := self.step(state, prepared) for prepared in self.prepare(inputs).unbind(1)]
        return torch.stack(states, 1)


class LiquidCell(Cell):
    """The fused step, `unfolds` times per reading, with dt = elapsed / unfolds.

    tau and g are positive through softplus; A starts on both sides of zero, so that states stay between 0 and A.
    slowest: tau starts between 1/2 and this many units of time, and g between 1 and 1 / slowest, evenly in logarithm:
        a large g would make a neuron fast whatever its tau
    """

    def __init__(self, inputs: int, width: int, unfolds: int = 6, models: int = 1, slowest: float = 4.0) -> None:
        super().__init__(inputs, width, models)
        if unfolds < 1:
            raise ValueError(f"a liquid cell needs at least 1 unfold, not {unfolds}")
        self.unfolds = unfolds
        bound = (inputs + width) ** -0.5
        self.recurrent = nn.Parameter(_uniform((models, width, width), -bound, bound))
        self.sensory = nn.Parameter(_uniform((models, inputs, width), -bound, bound))
        self.bias = nn.Parameter(torch.zeros(models, 1, width))
        self.reversal = nn.Parameter(torch.empty(models, 1, width).normal_())
        even = torch.rand(models, 1, width)
        self.raw_tau = nn.Parameter(_inverse_softplus(0.5 * (2 * slowest) ** even))
        self.raw_strength = nn.Parameter(_inverse_softplus(slowest**-even))

    def prepare(self, inputs: Tensor) -> Tensor:
        """U I + b, (models, time, batch, width)."""
        return (inputs.flatten(1, 2) @ self.sensory + self.bias).unflatten(1, inputs.shape[1:3])

    def conductance(self, state: Tensor, prepared: Tensor) -> Tensor:
        """f(x, I) in (0, g), (models, batch, width)."""
        return F.softplus(self.raw_strength) * torch.sigmoid(torch.baddbmm(prepared, state, self.recurrent))

    def time_constants(self, state: Tensor, prepared: Tensor) -> Tensor:
        """tau / (1 + tau f), (models, batch, width): how fast each neuron is under this input."""
        return 1 / (1 / F.softplus(self.raw_tau) + self.conductance(state, prepared))

    def step(self, state: Tensor, prepared: Tensor, elapsed: float = 1.0) -> Tensor:
        dt = elapsed / self.unfolds
        strength, rest = dt * F.softplus(self.raw_strength), 1 + dt / F.softplus(self.raw_tau)
        for _ in range(self.unfolds):
            pull = strength * torch.sigmoid(torch.baddbmm(prepared, state, self.recurrent))  # dt f
            state = (state + pull * self.reversal) / (rest + pull)
        return state


class Wiring(NamedTuple):
    """Who is joined with whom, and whether it excites (1), inhibits (-1) or is absent (0).

    sensory: (inputs, width);  internal: (width, width), from row to column
    """

    sensory: Tensor
    internal: Tensor


def dense_wiring(inputs: int, width: int, seed: int = 0) -> Wiring:
    """Every pair; one synapse in three inhibits."""
    generator = torch.Generator().manual_seed(seed)
    draw = [torch.rand(rows, width, generator=generator) for rows in (inputs, width)]
    return Wiring(*(torch.where(chance < 1 / 3, -1.0, 1.0) for chance in draw))


def policy_wiring(
    inputs: int,
    inter: int,
    command: int,
    motor: int,
    sensory_fanout: int,
    inter_fanout: int,
    recurrent: int,
    motor_fanin: int,
    seed: int = 0,
) -> Wiring:
    """A neural circuit policy: sensory -> inter -> command -> motor neurons, sparse, at random.

    Neurons are numbered motor, command, inter. Each input joins `sensory_fanout` inter neurons, each inter neuron
    `inter_fanout` command neurons, each motor neuron hears `motor_fanin` command neurons, and `recurrent` synapses join
    command neurons among each other. Nobody is left out: who got no synapse is given the mean number of its layer.
    """
    for name, count, most in (
        ("sensory_fanout", sensory_fanout, inter),
        ("inter_fanout", inter_fanout, command),
        ("motor_fanin", motor_fanin, command),
    ):
        if not 1 <= count <= most:
            raise ValueError(f"{name} is {count}, but there are {most} neurons to choose from")
    generator = torch.Generator().manual_seed(seed)
    width = motor + command + inter
    sensory, internal = torch.zeros(inputs, width), torch.zeros(width, width)
    motors, commands, inters = slice(0, motor), slice(motor, motor + command), slice(motor + command, width)
    sensory[:, inters] = _bipartite(inputs, inter, sensory_fanout, generator)
    internal[inters, commands] = _bipartite(inter, command, inter_fanout, generator)
    internal[commands, motors] = _bipartite(motor, command, motor_fanin, generator).T
    pairs = torch.randint(command * command, (recurrent,), generator=generator)
    among = torch.zeros(command * command)
    among[pairs] = _signs((recurrent,), generator)
    internal[commands, commands] = among.view(command, command)
    return Wiring(sensory, internal)


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return 2.0 * torch.randint(2, shape, generator=generator) - 1


def _bipartite(rows: int, columns: int, fanout: int, generator: torch.Generator) -> Tensor:
    """(rows, columns) of -1, 0, 1: `fanout` in each row, and in a column that would be empty as many as on average."""
    chosen = torch.rand(rows, columns, generator=generator).topk(fanout, dim=1).indices
    joined = torch.zeros(rows, columns).scatter_(1, chosen, 1.0)
    fanin = min(max(1, rows * fanout // columns), rows)
    spare = torch.rand(rows, columns, generator=generator).topk(fanin, dim=0).indices
    joined = torch.where(joined.any(0), joined, torch.zeros(rows, columns).scatter_(0, spare, 1.0))
    return joined * _signs((rows, columns), generator)


class SynapticCell(Cell):
    """The full form, with a membrane capacity c, a leak, and a conductance per synapse:

        num = c x / dt + g_leak v_leak + sum f_ij E_ij,      den = c / dt + g_leak + sum f_ij + eps,      x <- num / den

    where the sums run over other neurons and, with synapses of their own, over the inputs, which pass a scale and a
    shift first. w, g_leak and c are positive through softplus; E starts as the signs of the wiring.
    """

    eps = 1e-8
    sensory_mask: Tensor
    internal_mask: Tensor

    def __init__(self, wiring: Wiring, unfolds: int = 6, models: int = 1) -> None:
        inputs, width = wiring.sensory.shape
        super().__init__(inputs, width, models)
        self.unfolds = unfolds
        self.register_buffer("sensory_mask", wiring.sensory.abs())
        self.register_buffer("internal_mask", wiring.internal.abs())
        for name, signs in (("sensory", wiring.sensory), ("internal", wiring.internal)):
            shape = (models, *signs.shape)
            parts = {
                "weight": _inverse_softplus(_uniform(shape, 0.001, 1.0)),
                "slope": _uniform(shape, 3.0, 8.0),
                "threshold": _uniform(shape, 0.3, 0.8),
                "reversal": signs.expand(shape).clone(),
            }
            for part, value in parts.items():
                self.register_parameter(f"{name}_{part}", nn.Parameter(value))
        neurons = (models, 1, width)
        self.raw_leak = nn.Parameter(_inverse_softplus(_uniform(neurons, 0.001, 1.0)))
        self.rest = nn.Parameter(_uniform(neurons, -0.2, 0.2))
        self.raw_capacity = nn.Parameter(_inverse_softplus(_uniform(neurons, 0.4, 0.6)))
        self.scale = nn.Parameter(torch.ones(models, 1, inputs))
        self.shift = nn.Parameter(torch.zeros(models, 1, inputs))

    def synapses(self, name: str, before: Tensor) -> tuple[Tensor, Tensor]:
        """sum_i f_ij E_ij and sum_i f_ij of presynaptic values (models, batch, i): both (models, batch, width)."""
        weight, slope, threshold, reversal = (
            getattr(self, f"{name}_{part}") for part in ("weight", "slope", "threshold", "reversal")
        )
        weight = F.softplus(weight) * getattr(self, f"{name}_mask")
        gate = torch.sigmoid(slope[:, None] * (before[..., None] - threshold[:, None]))  # (models, batch, i, width)
        pulled = torch.einsum("mbij,mij->mbj", gate, weight * reversal)
        return pulled, torch.einsum("mbij,mij->mbj", gate, weight)

    def prepare(self, inputs: Tensor) -> Tensor:
        """Both sums over the inputs, (models, time, batch, 2, width)."""
        rows = inputs.flatten(1, 2) * self.scale + self.shift
        return torch.stack(self.synapses("sensory", rows), 2).unflatten(1, inputs.shape[1:3])

    def step(self, state: Tensor, prepared: Tensor, elapsed: float = 1.0) -> Tensor:
        leak, capacity = F.softplus(self.raw_leak), F.softplus(self.raw_capacity) * (self.unfolds / elapsed)
        above, below = prepared.unbind(2)
        for _ in range(self.unfolds):
            pulled, open_ = self.synapses("internal", state)
            state = (capacity * state + leak * self.rest + pulled + above) / (
                capacity + leak + open_ + below + self.eps
            )
        return state


class ClosedFormCell(Cell):
    """The closed form: one layer z = tanh(B [x, I]) and three heads on it, f, g and h, the last two through tanh.

    f t gets a learned shift, as in the released code, so that a gate need not be half open at t = 0.
    """

    def __init__(self, inputs: int, width: int, backbone: int | None = None, models: int = 1) -> None:
        super().__init__(inputs, width, models)
        hidden = width if backbone is None else backbone
        bound = math.sqrt(6 / (inputs + width + hidden))
        self.recurrent = nn.Parameter(_uniform((models, width, hidden), -bound, bound))
        self.sensory = nn.Parameter(_uniform((models, inputs, hidden), -bound, bound))
        self.bias = nn.Parameter(torch.zeros(models, 1, hidden))
        bound = math.sqrt(6 / (hidden + width))
        self.heads = nn.Parameter(_uniform((models, hidden, 4 * width), -bound, bound))
        self.head_bias = nn.Parameter(torch.zeros(models, 1, 4 * width))

    def prepare(self, inputs: Tensor) -> Tensor:
        return (inputs.flatten(1, 2) @ self.sensory + self.bias).unflatten(1, inputs.shape[1:3])

    def step(self, state: Tensor, prepared: Tensor, elapsed: float = 1.0) -> Tensor:
        z = torch.tanh(torch.baddbmm(prepared, state, self.recurrent))
        rate, shift, early, late = torch.baddbmm(self.head_bias, z, self.heads).chunk(4, -1)
        gate = torch.sigmoid(-(rate * elapsed + shift))
        return gate * torch.tanh(early) + (1 - gate) * torch.tanh(late)

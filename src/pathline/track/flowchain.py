"""FlowChain: a density of where a walker will be at every step, from a chain of conditional flows, and its update in a
moment when the next position arrives.

    c = encoder(past, neighbours);   u_0 ~ N(x_0, var_0),   x_t = f_t(x_{t-1}; c)                    t = 1 .. T
    log p_t(x_t^(i)) = log N(u_0^(i); x_0, var_0) + sum_{j <= t} log |det df_j^-1|(x_j^(i))       densities of samples
    a true x_s arrives:  the first term becomes log N(x_s^(i); x_s, var_s), the sum begins at s + 1;  no network
    training:  - mean_t log p(x_t | x_{t-1}, c)  - mean_t log p_t(x_t | c)

Each f_t is a continuously indexed flow of three coupling layers. Its index is drawn, so that the
density of a sample is one draw of an estimate; `log_density`, which averages sixteen, is unbiased. There is no decay of
weights. Use it where the future forks and the shape
of the density matters, or where densities must follow observations at once; for a single best path it is no better than
a regression.

Maeda, Ukita, 2023, "Fast Inference and Update of Probabilistic Density Estimation on Trajectory Prediction", ICCV,
arXiv:2308.09234.
Departs: the released code trains the first term alone, in which every step draws base noise of its own, and samples
without that noise; the second term, the likelihood of the very chain that is sampled, closes the gap. It also lets f_t
depend on x_1 .. x_{t-1} (`previous`), divides the sum of log-determinants by its length (`average`), and adds those of
the sampling direction, whose sign is the opposite: none of the three is a change of variables, and the defaults here
are. States are positions in a frame that drifts with the walker; it chains velocities (`state`), whose densities are
not those of positions.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data.tracks import Encounters, Tracks
from pathline.track.base import Futures, Tracker, equally_likely
from pathline.track.densities import kernel_log_density
from pathline.track.density_chain import ChainSamples, DensityChain
from pathline.track.local_frame import Frame, HistoryEncoder, LocalFuture
from pathline.track.metrics import coverage_levels

STATES = ("position", "velocity")
DRAWN = 3  # steps of a future that are pulled back in training
INDICES = 16  # draws of the index behind a density
KERNELS = 512  # samples behind a density where it has no formula
RANKED = 64  # and behind one that is only compared


@dataclass(frozen=True)
class Forecasted:
    """What an update needs: the samples, and the frames they are in. positions: (batch, samples, horizon, dims) metres;
    log_density: (batch, samples, horizon), nats per metre^dims."""

    positions: Tensor
    log_density: Tensor
    samples: ChainSamples
    frame: Frame


class FlowChain(Tracker):
    """Per-step densities by a chain of flows.

    state:        "position" or "velocity"
    index:        dimensions of the index of a flow; None: as many as the condition; 0: plain flows, exact densities
    previous:     whether f_t sees all earlier states as well
    blocks, hidden, architecture, batch_norm: of a flow; "coupling" or "autoregressive" layers
    exposure:     deviation (metres) of what is added to the earlier states that are shown in training
    chain_weight: weight of the likelihood of the sampled chain, 0 for the released objective
    dequantise:   uniform noise (metres) on the truth in training
    average:      divide sums of log-determinants by their length
    """

    precision: ClassVar[Any] = "fp32"  # densities are exponentials of sums of many terms
    recipe: ClassVar[Recipe] = Recipe(steps=1500, batch_size=128, lr=3e-3, ema=0.99)

    def __init__(
        self,
        dims: int,
        history: int,
        horizon: int,
        neighbours: int,
        interval: float,
        state: str = "position",
        width: int = 32,
        condition: int = 16,
        index: int | None = None,
        previous: bool = False,
        blocks: int = 3,
        hidden: int = 32,
        architecture: str = "coupling",
        batch_norm: bool = False,
        exposure: float = 0.02,
        chain_weight: float = 1.0,
        dequantise: float = 0.0,
        average: bool = False,
    ) -> None:
        super().__init__(dims, history, horizon, neighbours, interval)
        if state not in STATES:
            raise MethodError(f"FlowChain: state is '{state}'; choose {' or '.join(STATES)}")
        if architecture not in ("coupling", "autoregressive"):
            raise MethodError(f"FlowChain: architecture is '{architecture}'; choose coupling or autoregressive")
        self.state, self.exposure, self.dequantise, self.average = state, exposure, dequantise, average
        self.chain_weight = 0.0 if previous else chain_weight
        self.local = LocalFuture(dims, horizon)
        self.encoder = HistoryEncoder(dims, width, condition)
        index = condition + previous * dims * horizon if index is None else index
        self.chain = DensityChain(dims, horizon, condition, blocks, hidden, index, previous, architecture, batch_norm)
        self.encodings = 0

    def read(self, data: Tracks) -> None:
        super().read(data)
        self.local.read(self._windows_of(data))

    # -- states: local positions, or their differences ----------------------------------------------------------------

    def _states(self, local: Tensor) -> Tensor:
        """(..., horizon, dims) local positions -> what the chain is made of."""
        if self.state == "position":
            return local
        metres = local * self.local.scale[:, None]
        return torch.nn.functional.pad(metres, (0, 0, 1, 0)).diff(dim=-2) / self.typical_step

    def _positions(self, states: Tensor) -> Tensor:
        """The inverse."""
        if self.state == "position":
            return states
        return (states * self.typical_step).cumsum(-2) / self.local.scale[:, None]

    def _encode(self, window: Encounters) -> tuple[Tensor, Tensor, Frame]:
        """Condition, first state and frame; the frame drifts with the walker, so the first state is 0."""
        self.encodings += 1
        c = self.encoder(window, self.typical_step)
        return c, c.new_zeros(len(c), self.dims), Frame.of(window)

    def loss(self, batch: Encounters) -> dict[str, Tensor]:
        c, start, frame = self._encode(batch)
        truth = batch.future[:, :1]
        if self.dequantise:
            truth = truth + self.dequantise * torch.rand_like(truth)
        x = self._states(self.local.enter(truth, frame)[:, 0])
        noise = self.exposure / float(self.local.scale.mean())
        steps = -self.chain.transitions(x, c, start, noise if self.chain.previous else 0.0).mean()
        if not self.chain_weight:
            return {"loss": steps, "steps": steps}
        row = torch.arange(len(x), device=x.device).repeat(DRAWN)  # some steps of each future stand for all
        step = torch.randint(self.horizon, (len(row),), device=x.device)
        whole = -self.chain.log_density(x[row, step], step, c[row], start[row]).mean()
        return {"loss": steps + self.chain_weight * whole, "steps": steps, "chain": whole}

    # -- the verb, densities and their update -------------------------------------------------------------------------

    def densities(self, window: Encounters, count: int = 10_000, seed: int = 0) -> Forecasted:
        """`count` samples of every future, with the log-density of each."""
        self.check(window)
        self.eval()
        with torch.no_grad(), self._drawing(torch.Generator(self.device).manual_seed(seed)) as generator:
            c, start, frame = self._encode(window.to(self.device))
            return self._measured(self.chain.sample(c, start, count, generator), frame)

    def _measured(self, samples: ChainSamples, frame: Frame) -> Forecasted:
        local = self._positions(samples.states)
        if self.state == "position":
            log_density = samples.log_density(self.average) - self.local.log_volume()
        else:
            log_density = kernel_log_density(local[:, :KERNELS], local) - self.local.log_volume()
        return Forecasted(self.local.leave(local, frame), log_density, samples, frame)

    def update(self, forecast: Forecasted, seen: Tensor, renormalise: bool = True) -> Tensor:
        """Log-densities at the cached samples of the steps that are left, after positions seen (batch, steps, dims):
        (batch, samples, horizon - steps). Neither the encoder nor a flow is asked.

        To weigh the samples for an expectation, use `importance`.
        """
        if self.state != "position":
            raise MethodError(
                "FlowChain: only with state='position' are densities updated; `importance` weighs samples"
            )
        return self._updated(forecast, seen, renormalise) - self.local.log_volume()[seen.shape[1] :]

    def _updated(self, forecast: Forecasted, seen: Tensor, renormalise: bool) -> Tensor:
        """As `update`, in the chain's own states."""
        step = seen.shape[1]
        if not 0 < step < self.horizon:
            raise MethodError(f"FlowChain: {step} positions were seen of a horizon of {self.horizon}; see 1 or more")
        with torch.no_grad():
            known = torch.nn.functional.pad(seen, (0, 0, 0, self.horizon - step))
            state = self._states(self.local.enter(known[:, None], forecast.frame)[:, 0])[:, step - 1]
            return self.chain.update(forecast.samples, step, state, renormalise, self.average)

    def importance(self, forecast: Forecasted, seen: Tensor) -> Tensor:
        """Weights of the samples given what was seen, (batch, samples), summing to 1: new over old density."""
        updated = self._updated(forecast, seen, renormalise=False)[..., 0]
        return torch.softmax(updated - forecast.samples.log_density(self.average)[..., seen.shape[1]], 1)

    def futures(self, past: Encounters, k: int, generator: torch.Generator) -> Futures:
        with self._drawing(generator):
            c, start, frame = self._encode(past)
            found = self._measured(self.chain.sample(c, start, max(k, 32), generator), frame)
        positions = found.positions[:, :k]
        # the single best guess is the sample nearest to the mean of many
        mean = found.positions.mean(1, keepdim=True)
        nearest = (found.positions - mean).square().sum((2, 3)).argmin(1)
        rows = torch.arange(len(positions))
        positions = positions.clone()
        log_density = found.log_density[:, :k].clone()
        positions[:, 0], log_density[:, 0] = found.positions[rows, nearest], found.log_density[rows, nearest]
        return equally_likely(positions[:, :, None], log_density)

    def levels(self, window: Encounters, forecast: Futures, truth: Tensor, generator: torch.Generator) -> Tensor | None:
        """With an index, what comes with a sample is one noisy draw: both sides are kernel estimates from others."""
        if not self.indexed:
            return super().levels(window, forecast, truth, generator)
        with self._drawing(generator):
            c, start, frame = self._encode(window)
            drawn = self._positions(self.chain.sample(c, start, RANKED, generator).states)
        both = torch.cat([window.future[:, None, 0], forecast.positions[:, :, 0]], 1)
        found = kernel_log_density(drawn, self.local.enter(both, frame))
        return coverage_levels(found[:, 0], found[:, 1:])

    def log_density(self, window: Encounters, generator: torch.Generator) -> Tensor:
        with self._drawing(generator):
            c, start, frame = self._encode(window)
            local = self.local.enter(window.future[:, :1], frame)
            if self.state == "velocity" or self.chain.previous:
                drawn = self._positions(self.chain.sample(c, start, KERNELS, generator).states)
                found = kernel_log_density(drawn, local)[:, 0]
            else:
                found = self._averaged(self._states(local)[:, 0], c, start)
        return found - self.local.log_volume()

    def _averaged(self, x: Tensor, c: Tensor, start: Tensor) -> Tensor:
        """log of the mean density over draws of the index."""
        draws = INDICES if self.indexed else 1
        shape = (len(x), draws, self.horizon)

        def spread(tensor: Tensor) -> Tensor:
            """(batch, width) or (batch, horizon, width) for every draw and step, in rows."""
            row = tensor if tensor.ndim == 3 else tensor[:, None]
            return row[:, None].expand(*shape, -1).flatten(0, 2)

        step = torch.arange(self.horizon, device=x.device).expand(shape).flatten()
        found = self.chain.log_density(spread(x), step, spread(c), spread(start)).view(shape)
        return torch.logsumexp(found, 1) - math.log(draws)

    @property
    def indexed(self) -> bool:
        return hasattr(self.chain.flow, "generator")

    def _drawing(self, generator: torch.Generator) -> "_Drawing":
        return _Drawing(self.chain, generator)


class _Drawing:
    """Indices come from this generator within, and from torch's global one again after."""

    def __init__(self, chain: DensityChain, generator: torch.Generator) -> None:
        self.flow: Any = chain.flow
        self.generator = generator

    def __enter__(self) -> torch.Generator:
        self.flow.generator = self.generator
        return self.generator

    def __exit__(self, *_: Any) -> None:
        self.flow.generator = None

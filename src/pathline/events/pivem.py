"""PiVeM: contacts as a film. Every node moves in straight pieces, and who is near meets often.

The whole record of a contact network becomes paths in the plane whose likelihood is exact, so that the rate of contact
of any pair at any time is known, also of pairs that were never looked at. Use it to see how groups form and part, to
complete a record with holes, and to simulate. Do not use it for the next contact in a fast stream, for which the memory
models of this room are made: the future of a path is only what its prior expects, and who never met in training has
no place.

    r_i(t) = x0_i + w sum_{b < k} v_b,i + (t - k w) v_k,i,    k = floor(t / w), w = 1 / B, both centred over the nodes
    rate_ij(t) = exp(a_i + a_j - |r_i(t) - r_j(t)|^2)         independent Poisson processes of the pairs i < j
    log likelihood = sum over events log rate_ij(t) - sum over pairs integral_0^1 rate_ij(t) dt
    (x0, v) ~ N(0, lambda^2 (sigma^2 I + (diag(c0^2, RBF_l) + jitter) (x) Q Q^T (x) I_D)),   Q = softmax over K groups
Both parts of the likelihood are closed forms on a bin: `events.pair_counts` and `spaces.segment_integrals`. The prior's
covariance is never formed: `flow.low_rank_gaussian`. Places and activities are learned first, from a third of the steps
on the velocities too, and in the last third the prior's sigma, c0, l and groups as well.

Celikkanat, Nakis, Mørup, 2022, "Piecewise-Velocity Model for Learning Continuous-time Dynamic Node Representations",
arXiv:2212.12345.
Departs: pairs of a part of the nodes are weighted up to all pairs, and the prior is that of all nodes. The optimiser
keeps its moments from one third to the next. Beyond the training time, paths follow the prior's conditional mean of the
velocities, integrated over bins, for as long again, and then rest; the next contacts of a stream are ranked by the
mean rate in the last part of training instead, which is a safer guess than a path that nothing holds.
"""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from pathline.core.budget import Budget
from pathline.core.errors import DataError
from pathline.core.method import Figure, Recipe, unwrap_split
from pathline.data.events import Events
from pathline.events.base import EventModel
from pathline.events.pair_counts import PairBatch, PairCounts
from pathline.flow.low_rank_gaussian import KroneckerGaussian, radial_kernel
from pathline.sims.contacts import log_rates, thin_contacts
from pathline.spaces.moving_points import PiecewisePaths
from pathline.spaces.segment_integrals import log_segment_integral

JITTER = 1e-5  # on the prior's covariance of times
LEAST_NOISE = 5.0  # sigma is at least this over B
LOOKS = 3  # steps that are timed to turn minutes into steps


class PiVeM(EventModel):
    """Moving nodes whose distance sets the rate of contact.

    dims: D;  bins: B;  communities: K;  prior_scale: lambda
    recent: the share of training whose mean rate is the guess for the time after it
    batch_size counts nodes here: a step sees all pairs among that many.
    """

    recipe: ClassVar[Recipe] = Recipe(steps=300, batch_size=160, lr=0.1, schedule="constant", clip=None, validations=6)
    moves: ClassVar[bool] = True
    origin: Tensor
    length: Tensor
    done: Tensor
    unlock: Tensor

    def __init__(
        self,
        stream: dict[str, Any],
        dims: int = 2,
        bins: int = 30,
        communities: int = 5,
        prior_scale: float = 1.0,
        recent: float = 0.3,
    ) -> None:
        super().__init__(stream)
        self.bins, self.prior_scale, self.recent = bins, prior_scale, recent
        self.start = nn.Parameter(2 * torch.rand(self.nodes, dims) - 1)
        self.velocity = nn.Parameter(torch.zeros(bins, self.nodes, dims))
        self.activity = nn.Parameter(2 * torch.rand(self.nodes) - 1)
        self.prior_noise = nn.Parameter((1 + 2 * torch.rand(())) / bins)
        self.prior_start = nn.Parameter(torch.ones(()))
        self.prior_length = nn.Parameter((1 + (bins - 2) * torch.rand(())) / bins)
        self.prior_membership = nn.Parameter(torch.rand(self.nodes, communities))
        self.register_buffer("origin", torch.zeros((), dtype=torch.float64))
        self.register_buffer("length", torch.ones((), dtype=torch.float64))
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))  # steps of training
        self.register_buffer("unlock", torch.zeros(2, dtype=torch.int64))  # from which on velocities, prior are learned
        self._counted: tuple[Events, PairCounts] | None = None

    def read(self, data: Events) -> None:
        """The stretch of time that the paths cover."""
        super().read(data)
        if not data.span > 0:
            raise DataError(
                f"{data.name}: all events happen at one time; {type(self).__name__} needs a stretch of time"
            )
        self.origin.fill_(float(data.clock[data.start]))
        self.length.fill_(data.span)

    # -- the model ----------------------------------------------------------------------------------------------------

    def paths(self) -> PiecewisePaths:
        """x0 and v, centred over the nodes, on the time from 0 to 1."""
        return PiecewisePaths(*self._centred())

    def _centred(self) -> tuple[Tensor, Tensor]:
        velocity = self.velocity if self._unlocked(0) and self.moves else self.velocity.detach()
        return self.start - self.start.mean(0), velocity - velocity.mean(1, keepdim=True)

    def _unlocked(self, stage: int) -> bool:
        return not self.training or bool(self.done >= self.unlock[stage])

    def log_likelihood(self, batch: PairBatch) -> Tensor:
        """Of all events of the batch's pairs and of their absence elsewhere, a scalar in nats."""
        paths, i, j = self.paths(), batch.first, batch.second
        corners, zero = paths.corners()[:-1], paths.start.new_zeros(())
        x, v = corners[:, i] - corners[:, j], paths.velocity[:, i] - paths.velocity[:, j]  # (bins, pairs, dims)
        active = self.activity[i] + self.activity[j]
        passed = torch.exp(log_segment_integral(x, v, zero, zero + paths.width) + active)
        x, v = x[batch.bin, batch.pair], v[batch.bin, batch.pair]
        count, since, square = (part.to(x.dtype) for part in (batch.count, batch.since, batch.square))
        met = count * (active[batch.pair] - x.square().sum(-1)) - 2 * (x * v).sum(-1) * since
        return (met - v.square().sum(-1) * square).sum() - (passed * batch.watched).sum()

    def prior(self) -> KroneckerGaussian:
        """The Gaussian of (x0, v_1, ..., v_B), in float64."""
        start, noise, membership = (
            (part if self._unlocked(1) else part.detach()).double()
            for part in (self.prior_start, self.prior_noise, self.prior_membership)
        )
        times = self._kernel(self._centres(self.bins), self._centres(self.bins))
        times = torch.block_diag(start.square()[None, None], times)
        eye = torch.eye(len(times), dtype=times.dtype, device=times.device)
        left = torch.linalg.cholesky(times + JITTER * eye)
        noise = noise.clamp(min=LEAST_NOISE / self.bins)
        return KroneckerGaussian(left, membership.softmax(1), noise, self.prior_scale)

    def _centres(self, count: int) -> Tensor:
        return (torch.arange(count, dtype=torch.float64, device=self.device) + 0.5) / self.bins

    def _kernel(self, first: Tensor, second: Tensor) -> Tensor:
        length = self.prior_length if self._unlocked(1) else self.prior_length.detach()
        return radial_kernel(first, second, length.double())

    def log_prior(self) -> Tensor:
        """log N of the centred places and velocities of all nodes, a scalar."""
        start, velocity = self._centred()
        return self.prior().log_density(torch.cat([start[None], velocity]).double())

    def future(self) -> PiecewisePaths:
        """The paths continued for as long again by the prior's conditional mean of the velocities."""
        start, velocity = self._centred()
        centres = self._centres(2 * self.bins)
        cross = self._kernel(centres[self.bins :], centres[: self.bins])
        cross = torch.cat([cross.new_zeros(self.bins, 1), cross], 1)  # places at the start say nothing on velocities
        expected = self.prior().conditional_mean(torch.cat([start[None], velocity]).double(), cross)
        return PiecewisePaths(start, torch.cat([velocity, expected.to(velocity.dtype)]), 2.0)

    # -- training -----------------------------------------------------------------------------------------------------

    def counts(self, data: Events) -> PairCounts:
        """What the likelihood needs to know of `data`, counted once."""
        if self._counted is None or self._counted[0] is not data:
            counts = PairCounts.of(data, self.bins, self.origin.item(), self.length.item())
            self._counted = data, counts
        return self._counted[1]

    def batches(self, data: Events, size: int, generator: torch.Generator) -> Iterator[PairBatch]:  # type: ignore[override]
        """The nodes in random groups of about `size`, and the pairs within each."""
        if data.nodes < 2:
            raise DataError(f"{data.name}: there is one node only, so nobody can meet")
        counts = self.counts(data)
        for chosen in torch.randperm(data.nodes, generator=generator).tensor_split(self.epoch_length(data, size)):
            yield counts.batch(chosen.sort().values)

    def epoch_length(self, data: Events, size: int) -> int:
        """Groups that differ by one node at most, none of them a single node."""
        return max(1, min(-(-data.nodes // size), data.nodes // 2))

    def loss(self, batch: PairBatch) -> dict[str, Tensor]:  # type: ignore[override]
        """-log likelihood (of the share of pairs in the batch, weighted up) - log prior."""
        likelihood, prior = self.log_likelihood(batch) / batch.share, self.log_prior()
        if self.training:
            self.done += 1
        return {"loss": -likelihood - prior, "log_likelihood": likelihood.detach(), "log_prior": prior.detach()}

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Places and activities, then velocities too, then the prior too: a third of the steps each."""
        total = self._steps(data, budget, validation, options)
        self.done.zero_()
        self.unlock.copy_(torch.tensor([total // 3, 2 * total // 3]))
        super().fit(data, Budget(steps=total), seed, validation, **options)
        self._counted = None
        return self

    def _steps(self, data: Any, budget: Budget | None, validation: Any, options: dict[str, Any]) -> int:
        """A budget as steps; minutes are turned into steps by timing some, which leave no trace."""
        part = self.require(unwrap_split(data))
        size = options.get("batch_size", self.recipe.batch_size)
        if budget is None:
            return int(options.pop("steps", self.recipe.steps))
        if budget.steps is not None:
            return budget.steps
        if budget.epochs is not None:
            return max(1, round(budget.epochs * self.epoch_length(part, size)))
        assert budget.minutes is not None
        watched = data.validation if validation is None and part is not data else validation
        before, training = {name: value.clone() for name, value in self.state_dict().items()}, self.training
        self.train()
        laps = [time.monotonic()]
        while len(laps) <= LOOKS:
            batch = next(iter(self.batches(part, size, torch.Generator().manual_seed(0))))
            self.loss(batch.to(self.device))["loss"].backward()
            laps.append(time.monotonic())
        looked = time.monotonic()
        if watched is not None:
            self.score(watched)
        look = (time.monotonic() - looked) * options.get("validations", self.recipe.validations)
        self.zero_grad()
        self.load_state_dict(before)
        self.train(training)
        return max(
            3, int((budget.minutes * 60 - look - (looked - laps[0])) / (1.2 * (laps[-1] - laps[1]) / (LOOKS - 1)))
        )

    # -- the verbs ----------------------------------------------------------------------------------------------------

    def own_time(self, clock: Tensor) -> Tensor:
        """Time on a stream's clock as time of the paths: 0 to 1 is training, float64."""
        return (clock.double() - self.origin) / self.length

    def log_intensity(self, source: Tensor, target: Tensor, clock: Tensor) -> Tensor:
        """log rate of contact per training stretch, of pairs at times on the clock; all of one shape."""
        return log_rates(self.future(), self.activity, source, target, self.own_time(clock))

    def log_expected(self, source: Tensor, target: Tensor, begin: Tensor, end: Tensor) -> Tensor:
        """log of the expected number of contacts of pairs between `begin` and `end` on the clock, all (queries,).

        The integral of the intensity, exact, over as many bins as the time crosses.
        """
        paths = self.future()
        begin, end = (self.own_time(moment).clamp(0, paths.length) for moment in (begin, end))
        edges = torch.arange(paths.pieces, dtype=torch.float64, device=self.device) * paths.width
        low, high = torch.maximum(begin[:, None], edges), torch.minimum(end[:, None], edges + paths.width)
        query, piece = (high > low).nonzero().T
        low, high = (
            (moment[query, piece] - edges[piece]).to(paths.start.dtype).clamp(0, paths.width) for moment in (low, high)
        )
        corners = paths.corners()
        i, j = source[query], target[query]
        x, v = corners[piece, i] - corners[piece, j], paths.velocity[piece, i] - paths.velocity[piece, j]
        part = torch.full((len(begin), paths.pieces), -torch.inf, dtype=x.dtype, device=x.device)
        part[query, piece] = log_segment_integral(x, v, low, high)
        return part.logsumexp(1) + self.activity[source] + self.activity[target]

    def score_pairs(self, source: Tensor, target: Tensor, time: Tensor) -> Tensor:
        """The log-intensity at that time; after training, log of the mean rate in the last `recent` share of it.

        What was observed since training changes nothing.
        """
        source, time = source[:, None].expand_as(target), time[:, None].expand(target.shape)
        after = self.own_time(time) > 1
        scores = target.new_zeros(target.shape, dtype=self.start.dtype)
        scores[~after] = self.log_intensity(source[~after], target[~after], time[~after])
        end = (self.origin + self.length).expand(int(after.sum()))
        begin = end - self.recent * self.length
        scores[after] = self.log_expected(source[after], target[after], begin, end) - math.log(self.recent)
        return scores

    def own_figures(self, name: str, data: Events) -> list[Figure]:
        from pathline.events.film import film_figure

        return [film_figure(name, self, data)]

    def writers(self) -> dict[str, Callable[[Any, Path, int], None]]:
        """The film of the paths, with the contacts of the data."""
        from pathline.events.film import film_figure

        def film(data: Any, path: Path, seed: int) -> None:
            animation = film_figure("", self, self.check(data)).animation
            assert animation is not None
            path.write_bytes(animation.gif())

        return {".gif": film}

    @torch.no_grad()
    def simulate(self, seed: int = 0) -> Events:
        """A new record of the training stretch, drawn from the model by thinning."""
        generator = torch.Generator().manual_seed(seed)
        paths = self.paths()
        at_home = PiecewisePaths(paths.start.cpu(), paths.velocity.cpu())
        source, target, moment = thin_contacts(at_home, self.activity.detach().cpu(), generator)
        clock = moment * self.length.item() + self.origin.item()
        names = tuple(self.stream["names"])
        return Events(
            source=source, target=target, time=clock, nodes=self.nodes, names=names, directed=False, name="simulated"
        )

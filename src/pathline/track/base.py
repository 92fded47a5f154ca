"""Tracker: the verb, the metrics and the input checks of the tracking room.

A tracker sees where a target and those around it have been and answers with k futures, each with a probability; one
that has densities also says how dense its forecast is where the target really went. All lengths are metres.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from pathline.core.errors import DataError
from pathline.core.method import Figure, Method, Recipe, unwrap_split
from pathline.data.container import Batch
from pathline.data.tracks import Encounters, Tracks
from pathline.track import metrics

if TYPE_CHECKING:
    import pandas as pd

FUTURES = 20  # the field's habit, arXiv:1803.10892
EVALUATION_BATCH = 256
SCORED = 1024  # windows of a look at the validation part


@dataclass(frozen=True)
class Futures(Batch):
    """What may come.

    positions:   (batch, k, agents, horizon, dims) in metres; agents: the target alone, or all that the window shows
    probability: (batch, k), sums to 1; the likeliest is the method's single best guess
    log_density: (batch, k, horizon) log-density of the target's position at each future and step, or None
    """

    positions: Tensor
    probability: Tensor
    log_density: Tensor | None = None

    @property
    def best(self) -> Tensor:
        """The likeliest future, (batch, agents, horizon, dims); the first of several that are equally likely."""
        return self.positions[torch.arange(len(self.positions)), self.probability.argmax(1)]


def equally_likely(positions: Tensor, log_density: Tensor | None = None) -> Futures:
    """Futures of equal probability; positions: (batch, k, agents, horizon, dims)."""
    return Futures(positions, positions.new_full(positions.shape[:2], 1 / positions.shape[1]), log_density)


class Tracker(Method):
    """Forecasts where agents will be.

    A subclass writes `futures` (and `loss`, if it trains); one with densities also `log_density`.

    dims, history, horizon, neighbours, interval: read off the data by `for_data`
    typical_step: root mean square of the distance between two steps in the training data, metres
    """

    room: ClassVar[str] = "track"
    container: ClassVar[type[Tracks]] = Tracks
    recipe: ClassVar[Recipe] = Recipe()
    typical_step: Tensor

    def __init__(self, dims: int, history: int, horizon: int, neighbours: int, interval: float) -> None:
        super().__init__()
        self.dims, self.history, self.horizon = dims, history, horizon
        self.neighbours, self.interval = neighbours, interval
        self.register_buffer("typical_step", torch.ones(()))

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part = cls.require(data)
        sizes = (part.dims, part.history, part.horizon, part.neighbours, part.interval)
        method = cls(*sizes, **config)
        method.read(part)
        return method

    def read(self, data: Tracks) -> None:
        """Take what is not learned (scales, means, noise) from `data`, the training part."""
        both = data.observed[:, 1:] & data.observed[:, :-1]
        moved = data.positions.diff(dim=1)[both].double()
        self.typical_step.copy_(moved.square().sum(-1).mean().sqrt().clamp(min=1e-3))

    # -- the verb -----------------------------------------------------------------------------------------------------

    def forecast(self, past: Encounters, k: int = FUTURES, seed: int = 0) -> Futures:
        """k futures of the target (or of all agents, where the method forecasts them together).

        A method is not shown the future that `past` may hold. What is drawn follows from `seed`; torch's global
        generator is left alone. A `DataError` names what is wrong with the window.
        """
        self.check(past)
        if k < 1:
            raise DataError(f"{type(self).__name__}: {k} futures were asked for; ask for at least one")
        unknown = torch.zeros_like(past.future), torch.zeros_like(past.future_observed)
        blind = replace(past, future=unknown[0], future_observed=unknown[1]).to(self.device)
        with evaluating(self):
            return self.futures(blind, k, torch.Generator(self.device).manual_seed(seed))

    def futures(self, past: Encounters, k: int, generator: torch.Generator) -> Futures:
        """As `forecast`, unchecked; random numbers come from `generator` only."""
        raise NotImplementedError

    def log_density(self, window: Encounters, generator: torch.Generator) -> Tensor | None:
        """log p_t(where the target was at step t), each step by itself: (batch, horizon), or None without densities."""
        return None

    def levels(self, window: Encounters, forecast: Futures, truth: Tensor, generator: torch.Generator) -> Tensor | None:
        """The share of futures that are denser than the truth, (batch, horizon), or None where that is not known.

        truth: what `log_density` said of `window`
        """
        return None if forecast.log_density is None else metrics.coverage_levels(truth, forecast.log_density)

    # -- metrics ------------------------------------------------------------------------------------------------------

    def evaluate(self, data: Any, seed: int = 0, k: int = FUTURES) -> dict[str, float]:
        """minADE_k and minFDE_k of the target, ADE and FDE of the likeliest future, how often a future runs into the
        true path of a neighbour, and for methods with densities NLL (nats per step) and the calibration error."""
        data = self._windows_of(data)
        generator = torch.Generator(self.device).manual_seed(seed)
        rows, levels = [], []
        for number, window in enumerate(self._batches_of(data)):
            forecast = self.forecast(window, k, seed=seed * 100_003 + number)
            columns = _errors(forecast, window, data.radius)
            with evaluating(self):
                truth = self.log_density(window, generator)
            if truth is not None:
                columns.append(-truth.mean(1))
                level = self.levels(window, forecast, truth, generator) if k > 1 else None
                if level is not None:
                    levels.append(level)
            rows.append(torch.stack([column.double().cpu() for column in columns], 1))
        means = torch.cat(rows).mean(0).tolist()
        names = [f"minADE_{k}", f"minFDE_{k}", "ADE", "FDE", "collision rate", "NLL"]
        found = dict(zip(names, means, strict=False))
        if levels:
            found["calibration error"] = metrics.calibration_error(torch.cat(levels)).item()
        return found

    def score(self, data: Any, seed: int = 0) -> float:
        """minADE_20 of at most 1024 windows, the same at every look."""
        data = self._windows_of(data)
        chosen = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:SCORED]
        found = []
        for number, index in enumerate(chosen.split(EVALUATION_BATCH)):
            window = data.gather(index).to(self.device)
            assert isinstance(window, Encounters)
            found.append(_errors(self.forecast(window, seed=seed + number), window, data.radius)[0])
        return torch.cat(found).mean().item()

    def _batches_of(self, data: Tracks) -> Iterator[Encounters]:
        for window in data.batches(EVALUATION_BATCH, shuffle=False):
            assert isinstance(window, Encounters)
            yield window.to(self.device)

    # -- tables and pictures ------------------------------------------------------------------------------------------

    def predict(self, data: Any, seed: int = 0, k: int = 1) -> "pd.DataFrame":
        """Where every agent goes on from its last `history` steps in a row: the likeliest future (k = 1) or k of them.

        Columns scene, agent, future, probability, time (seconds from frame 0, or the date where it is known), then x,
        y (, z) in the file's coordinates; from GPS latitude, longitude (, elevation).
        """
        from pathline.track.tables import future_table

        data = self._cut(data)
        window = data.last_windows()
        found = self.forecast(window, k if k > 1 else FUTURES, seed)
        if k == 1:
            found = Futures(found.best[:, None], found.probability.amax(1, keepdim=True))
        return future_table(data, window, found.positions[:, :, 0], found.probability)

    @classmethod
    def figures(cls, methods: dict[str, Method], data: Any) -> list[Figure]:
        from pathline.track.figures import draw

        trackers = {name: method for name, method in methods.items() if isinstance(method, Tracker)}
        return draw(trackers, unwrap_split(data)) if trackers else []

    # -- checks -------------------------------------------------------------------------------------------------------

    def check(self, window: Encounters) -> None:
        """Raise a `DataError` that names the first thing about `window` that this method cannot work with."""
        who = type(self).__name__
        if not isinstance(window, Encounters):
            raise DataError(f"{who} forecasts from Encounters (see Tracks.last_windows), not {type(window).__name__}")
        if window.past.ndim != 4 or not len(window.past):
            raise DataError(
                f"{who}: past has shape {tuple(window.past.shape)}; expected a batch of (agents, history, dims), at "
                "least one"
            )
        shape = (*window.past.shape[:2], self.history, self.dims)
        if tuple(window.past.shape) != shape or tuple(window.past_observed.shape) != shape[:3]:
            raise DataError(
                f"{who}: past has shape {tuple(window.past.shape)} and past_observed "
                f"{tuple(window.past_observed.shape)}; expected (batch, agents, history, dims) = {shape} and the same "
                "without dims, as in the data it was built for"
            )
        self._check_interval(window.interval, "the window")
        if not bool(window.past_observed[:, 0].all()):
            place = (~window.past_observed[:, 0]).nonzero()[0].tolist()
            raise DataError(
                f"{who}: the target of window {place[0]} was not seen at past step {place[1]}; fill the gap or choose "
                "a later window"
            )
        broken = window.past_observed & ~window.past.isfinite().all(-1)
        if bool(broken.any()):
            place = broken.nonzero()[0].tolist()
            raise DataError(f"{who}: past{place} is not finite although it is marked as observed; repair it")

    def _check_interval(self, interval: float, name: str) -> None:
        if abs(interval - self.interval) > 1e-3 * self.interval:
            raise DataError(
                f"{name} has a step every {interval:g} s, but {type(self).__name__} was built for {self.interval:g} s; "
                f"read it with --interval {self.interval:g}"
            )

    def _cut(self, data: Any) -> Tracks:
        """`data` (of a `Split` the test part) with this method's windows, once it is known to be of its kind."""
        part = getattr(data, "test", data)
        if not isinstance(part, Tracks):
            name = getattr(part, "name", "the data")
            raise DataError(f"{type(self).__name__} works on Tracks, but {name} is {type(part).__name__}")
        if part.dims != self.dims:
            raise DataError(
                f"{part.name} has {part.dims} dimensions, but {type(self).__name__} was built for {self.dims}"
            )
        self._check_interval(part.interval, part.name)
        return replace(part.with_window(self.history, self.horizon), neighbours=self.neighbours)

    def _windows_of(self, data: Any) -> Tracks:
        part = self._cut(data)
        if not len(part):
            raise DataError(
                f"{part.name}: no track holds a window of {self.history} + {self.horizon} steps seen in a row"
            )
        return part


def _errors(forecast: Futures, window: Encounters, radius: float) -> list[Tensor]:
    """Per window: smallest average and final distance, those of the likeliest future, and the share that collides."""
    target = forecast.positions[:, :, :1]
    average, final = metrics.displacement(target, window.future[:, :1], window.future_observed[:, :1])
    average, final = average[..., 0], final[..., 0]
    best = forecast.probability.argmax(1, keepdim=True)
    others, seen = window.future[:, None, 1:], window.future_observed[:, None, 1:]
    hits = metrics.collisions(target[:, :, 0], others, seen, radius)
    likeliest = [distance.gather(1, best)[:, 0] for distance in (average, final)]
    return [average.amin(1), final.amin(1), *likeliest, hits.double().mean(1)]


@contextmanager
def evaluating(method: nn.Module) -> Iterator[None]:
    """In evaluation mode and without gradients; the mode it had comes back."""
    training = method.training
    method.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        method.train(training)


def relative(positions: Tensor, window: Encounters) -> Tensor:
    """Positions (batch, ..., dims) seen from where the target was last."""
    origin = window.past[:, 0, -1]
    return positions - origin.view(len(origin), *(1,) * (positions.ndim - 2), -1)

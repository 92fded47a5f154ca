"""Forecaster: the verb, the metrics and the input checks of the forecasting room.

A value that was not observed does not exist here: it enters no statistic, no loss and no metric, and a network sees the
last observed value in its place.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from pathline.core.errors import DataError
from pathline.core.method import Figure, Method, Recipe, unwrap_split
from pathline.data import Series, Windows
from pathline.forecast.scaling import Standardise, carry_forward

if TYPE_CHECKING:
    import pandas as pd

EVALUATION_BATCH = 64
NEGLIGIBLE = 0.1  # standard deviations of a channel: a percentage of a smaller value, such as 0, says nothing
HOUR, DAY = 3600, 86_400


def masked_mae(prediction: Tensor, target: Tensor, observed: Tensor) -> Tensor:
    """mean(m |prediction - target|) with m = observed / mean(observed); 0 where nothing was observed.

    Dividing the mask by its own mean keeps the size of the loss, and of its gradient, free of how much is missing.
    """
    mask = observed.to(prediction.dtype)
    mask = mask / mask.mean().clamp(min=torch.finfo(mask.dtype).tiny)
    return (mask * (prediction - torch.where(observed, target, 0.0)).abs()).mean()


ALL = (0, 1, 2)


@dataclass(frozen=True)
class Errors:
    """Sums over windows, float64, all (horizon, nodes, channels).

    absolute, squared, count: of |error|, of error^2, and how many values were observed
    relative, large: of |error / value|, and how many values were large enough for that, see `NEGLIGIBLE`
    """

    absolute: Tensor
    squared: Tensor
    count: Tensor
    relative: Tensor
    large: Tensor

    def mae(self, dims: tuple[int, ...] = ALL) -> Tensor:
        """Mean absolute error over `dims` of (horizon, nodes, channels); nan where nothing was observed."""
        return self.absolute.sum(dims) / self.count.sum(dims)

    def rmse(self, dims: tuple[int, ...] = ALL) -> Tensor:
        """Root of the mean squared error, likewise."""
        return (self.squared.sum(dims) / self.count.sum(dims)).sqrt()

    def mape(self, dims: tuple[int, ...] = ALL) -> Tensor:
        """Mean absolute error in percent of the value, over values that are large enough; nan where none was."""
        return 100 * self.relative.sum(dims) / self.large.sum(dims)


class Forecaster(Method):
    """Predicts the next `horizon` steps of all sensors from the last `history` steps.

    A subclass writes `network`, from standardised values to standardised values; baselines that need no
    standardisation write `forward` itself.

    nodes, channels, history, horizon, steps_per_day: read off the data by `for_data`
    """

    room: ClassVar[str] = "forecast"
    container: ClassVar[type[Series]] = Series
    # No clipping: losses are in the data's units, so a fixed norm would mean another thing on every data set.
    recipe: ClassVar[Recipe] = Recipe(clip=None)

    def __init__(self, nodes: int, channels: int, history: int, horizon: int, steps_per_day: int) -> None:
        super().__init__()
        self.nodes, self.channels, self.history, self.horizon = nodes, channels, history, horizon
        self.steps_per_day = steps_per_day
        self.scaling = Standardise(channels)

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part = cls.require(data)
        _, nodes, channels = part.values.shape
        if not bool(part.observed.any()):
            raise DataError(f"{part.name}: no value was observed in the training part")
        method = cls(nodes, channels, part.history, part.horizon, part.steps_per_day, **config)
        method.read(part)
        return method

    def read(self, data: Series) -> None:
        """Take what is not learned (means, graph, calendar) from `data`, the training part."""
        self.scaling.read(data)

    # -- the verb -----------------------------------------------------------------------------------------------------

    def forecast(self, window: Windows) -> Tensor:
        """What the sensors will measure, (batch, horizon, nodes, channels) in the data's own units.

        Only the past and the clock of `window` are used. A `DataError` names what is wrong with it.
        """
        self.check(window)
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                return self(window.to(self.device))
        finally:
            self.train(training)

    def forward(self, window: Windows) -> Tensor:
        """As `forecast`, unchecked, with gradients and in the current mode."""
        past = carry_forward(window.past, window.past_observed, self.scaling.mean)
        return self.scaling.inverse(self.network(self.scaling(past), window))

    def network(self, past: Tensor, window: Windows) -> Tensor:
        """Standardised past (batch, history, nodes, channels) without gaps -> standardised future.

        window: for the clock, and for the future where a method is trained by feeding it the truth.
        """
        raise NotImplementedError

    def loss(self, batch: Windows) -> Tensor | dict[str, Tensor]:
        return masked_mae(self(batch), batch.future, batch.future_observed)

    # -- metrics ------------------------------------------------------------------------------------------------------

    def evaluate(self, data: Any, seed: int = 0) -> dict[str, float]:
        """MAE over the whole horizon, at a quarter, half and all of it, RMSE and MAPE, each over observed values only.

        MAPE is left out where no value is further from 0 than a tenth of a standard deviation of the training part.
        `errors` has all of them at every step. Several channels are averaged, and each has its own MAE as well. Nothing
        is drawn: `seed` changes nothing.
        """
        data = self._windows_of(data)
        errors = self.errors(data)
        by_lead = errors.mae((1, 2))
        metrics = {"MAE": errors.mae()}
        for step in sorted({math.ceil(self.horizon * share) for share in (0.25, 0.5, 1)}):
            metrics[f"MAE {lead_time(step, self.horizon, data.interval)}"] = by_lead[step - 1]
        metrics["RMSE"] = errors.rmse()
        if errors.large.any():
            metrics["MAPE (%)"] = errors.mape()
        if self.channels > 1:
            metrics |= {f"MAE {name}": errors.mae((0, 1))[i] for i, name in enumerate(data.channels)}
        return {name: value.item() for name, value in metrics.items()}

    def errors(self, data: Any, where: Tensor | None = None) -> Errors:
        """Errors of all windows of `data`, summed batch by batch. where: (time, nodes) bool, the targets that count."""
        data = self._windows_of(data)
        sums = torch.zeros(5, self.horizon, self.nodes, self.channels, dtype=torch.float64)
        floor = NEGLIGIBLE * self.scaling.std.cpu()
        ahead, first = self.history + torch.arange(self.horizon), 0
        for window, prediction in self.forecasts(data):
            observed = window.future_observed
            if where is not None:
                begin = (first + torch.arange(len(observed))) * data.stride
                observed = observed & where[begin[:, None] + ahead, :, None]
            first += len(observed)
            error = torch.where(observed, prediction.cpu().double() - window.future, 0.0)
            large = observed & (window.future.abs() >= floor)
            relative = torch.where(large, error / window.future, 0.0).abs()
            each = (error.abs(), error.square(), observed, relative, large)
            sums += torch.stack([term.sum(0) for term in each])
        if not sums[2].any():
            raise DataError(f"{data.name}: no value was observed that a forecast could be compared with")
        return Errors(*sums)

    def forecasts(self, data: Series) -> Iterator[tuple[Windows, Tensor]]:
        for window in data.batches(EVALUATION_BATCH, shuffle=False):
            assert isinstance(window, Windows)
            yield window, self.forecast(window)

    # -- tables and pictures ------------------------------------------------------------------------------------------

    def predict(self, data: Any, seed: int = 0) -> "pd.DataFrame":
        """The `horizon` steps after the end of `data`: a column `time` on the local clock, one column per sensor
        (and channel, if there are several)."""
        import pandas as pd

        data = self._cut(data)
        steps = data.steps + torch.arange(self.horizon)
        names = [
            node if self.channels == 1 else f"{node} {channel}" for node in data.nodes for channel in data.channels
        ]
        table = pd.DataFrame(self.forecast(data.last_window())[0].flatten(1).cpu().numpy(), columns=names)
        table.insert(0, "time", pd.to_datetime((data.start + steps * data.interval).numpy(), unit="s"))
        return table

    @classmethod
    def figures(cls, methods: dict[str, Method], data: Any) -> list[Figure]:
        from pathline.forecast.figures import draw

        forecasters = {name: method for name, method in methods.items() if isinstance(method, Forecaster)}
        return draw(forecasters, unwrap_split(data)) if forecasters else []

    # -- checks -------------------------------------------------------------------------------------------------------

    def check(self, window: Windows) -> None:
        """Raise a `DataError` that names the first thing about `window` that this method cannot work with."""
        who = type(self).__name__
        if not isinstance(window, Windows):
            raise DataError(f"{who} forecasts from Windows (see Series.last_window), not {type(window).__name__}")
        if not window.past.ndim or not len(window.past):
            raise DataError(f"{who}: the batch of windows is empty")
        expected = (len(window.past), self.history, self.nodes, self.channels)
        for name in ("past", "past_observed"):
            shape = tuple(getattr(window, name).shape)
            if shape != expected:
                raise DataError(
                    f"{who}: {name} has shape {shape}; expected (batch, history, nodes, channels) = {expected}, "
                    "as in the data it was built for"
                )
        for name, limit in (("time_of_day", self.steps_per_day), ("day_of_week", 7)):
            clock = getattr(window, name)
            if tuple(clock.shape) != (len(window.past), self.history + self.horizon):
                raise DataError(
                    f"{who}: {name} has shape {tuple(clock.shape)}; expected one entry per past and future step, "
                    f"{(len(window.past), self.history + self.horizon)}"
                )
            if not 0 <= int(clock.min()) <= int(clock.max()) < limit:
                raise DataError(f"{who}: {name} runs from {clock.min()} to {clock.max()}; expected 0 to {limit - 1}")
        broken = window.past_observed & ~window.past.isfinite()
        if bool(broken.any()):
            place = broken.nonzero()[0].tolist()
            raise DataError(
                f"{who}: past{place} is {window.past[tuple(place)].item()} although it is marked as observed; "
                "mark it as missing or repair it"
            )

    def _cut(self, data: Any) -> Series:
        """`data` (of a `Split` the test part) with this method's windows, once it is known to be of its kind."""
        part = getattr(data, "test", data)
        if not isinstance(part, Series):
            raise DataError(f"{type(self).__name__} works on Series, not on {type(part).__name__}")
        for name, mine, theirs in (
            ("sensors", self.nodes, part.values.shape[1]),
            ("channels", self.channels, part.values.shape[2]),
            ("steps per day", self.steps_per_day, part.steps_per_day),
        ):
            if mine != theirs:
                raise DataError(f"{part.name} has {theirs} {name}, but {type(self).__name__} was built for {mine}")
        return part.with_window(self.history, self.horizon)

    def _windows_of(self, data: Any) -> Series:
        part = self._cut(data)
        if not len(part):
            raise DataError(
                f"{part.name}: {part.steps} time steps hold no window of {self.history} + {self.horizon} steps"
            )
        return part


def lead_time(step: int, horizon: int, interval: int) -> str:
    """How far ahead step number `step` (from 1) is, in the unit that suits the whole horizon: "15 min", "6 h"."""
    seconds = horizon * interval
    unit, name = (60, "min") if seconds <= 2 * HOUR else (HOUR, "h") if seconds <= 2 * DAY else (DAY, "days")
    return f"{step * interval / unit:.4g} {name}"

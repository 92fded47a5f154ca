"""The room's verb: draw new samples of the law that the data came from.

A generator carries standard normal noise to data, in one formula or in many network calls. Everything that all of them
need is here: the data's scale, labels, seeds, and the metrics, which are distances between drawn and real samples.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from pathline.core.errors import DataError, MethodError
from pathline.core.method import Figure, Method
from pathline.data import Samples
from pathline.generate.features import features, frechet_distance, has_features, sliced_wasserstein

if TYPE_CHECKING:
    import pandas as pd

DRAWN = 2000  # samples an evaluation draws; fewer would bias the Frechet distance upwards
GLANCE = 500  # and a look during training
ON_THE_WAY = 0x5851F42D  # keeps what is drawn on the way independent of where it started
PART = 1024  # samples carried together, which bounds the memory


@dataclass(frozen=True)
class Carried:
    """What `carry` returns.

    states:      (nodes, count, *shape), from noise to samples, in scaled units; or the last node alone
    evaluations: network calls per sample (NFE)
    """

    states: Tensor
    evaluations: int


@dataclass(frozen=True)
class Generated:
    """values: (count, *shape) in the data's own units; labels: (count,) they were drawn for, or None;
    evaluations: network calls per sample (NFE)."""

    values: Tensor
    labels: Tensor | None
    evaluations: int


class Generator(Method):
    """A method that learns a law from samples and draws new ones.

    shape:   of one sample
    classes: how many labels there are; 0 learns the law of all samples together. `for_data` reads both off the data
    steps:   default number of steps from noise to data

    Inside, data are scaled: values with bounds to [-1, 1], columns without bounds to mean 0 and variance 1, images
    without bounds likewise but with one mean and variance. Labels that the caller of `sample` does not choose are as
    frequent as they were in training.
    """

    room = "generate"
    container = Samples
    shift: Tensor
    scale: Tensor
    frequency: Tensor

    def __init__(self, shape: list[int], classes: int = 0, steps: int = 1) -> None:
        super().__init__()
        if steps < 1 or classes < 0 or not shape:
            raise MethodError(
                f"steps {steps} must be at least 1, classes {classes} at least 0, and shape {shape} not empty"
            )
        self.shape, self.classes, self.steps = tuple(shape), classes, steps
        self.register_buffer("shift", torch.zeros(self.shape))
        self.register_buffer("scale", torch.ones(self.shape))
        self.register_buffer("frequency", torch.full((max(classes, 1),), 1 / max(classes, 1)))

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part = cls.require(data)
        method = cls(**{"shape": list(part.shape), "classes": part.classes} | config)
        method.read_scale(part)
        return method

    def read_scale(self, data: Samples) -> None:
        """Fill the buffers from the training part."""
        values = data.values
        if data.bounds is not None:
            low, high = data.bounds
            shift, scale = torch.tensor((low + high) / 2), torch.tensor((high - low) / 2)
        elif values.ndim == 2:
            shift, scale = values.mean(0), values.std(0, correction=0)
        else:
            shift, scale = values.mean(), values.std(correction=0)
        self.shift.copy_(shift.expand(self.shape))
        self.scale.copy_(torch.where(scale > 0, scale, 1.0).expand(self.shape))
        if self.classes and data.labels is not None:
            self.frequency.copy_(torch.bincount(data.labels, minlength=self.classes) / len(data))

    def scaled(self, values: Tensor) -> Tensor:
        """Data's units to those of the network."""
        return (values - self.shift) / self.scale

    def unscaled(self, values: Tensor) -> Tensor:
        """The network's units to those of the data."""
        return values * self.scale + self.shift

    # -- the verb -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def carry(self, noise: Tensor, labels: Tensor | None, steps: int, keep: str = "last", **options: Any) -> Carried:
        """Carry `noise` (count, *shape), drawn from the `prior`, to samples in scaled units.

        What is drawn on the way comes from torch's global generator, which `draw` and `paths` seed and give back.
        labels: (count,) int64, or None without classes; keep: "all" states on the way or only the "last";
        options: the method's own settings of sampling
        """

    def sample(
        self, n: int, steps: int | None = None, seed: int = 0, labels: Tensor | int | None = None, **options: Any
    ) -> Tensor:
        """`n` new samples (n, *shape) in the data's own units. The same seed gives the same samples.

        Args:
            steps:   from noise to data; None for the method's default.
            labels:  one class for all, or (n,) of them; None draws them as frequent as they were in training.
            options: the method's own settings of sampling, such as guidance=2.0 or solver="rk4".
        """
        return self.draw(n, steps, seed, labels, **options).values

    @torch.no_grad()
    def draw(
        self, n: int, steps: int | None = None, seed: int = 0, labels: Tensor | int | None = None, **options: Any
    ) -> Generated:
        """`sample`, with the labels and the number of network calls beside the values."""
        noise, chosen, steps = self._prepare(n, steps, seed, labels)
        with self._drawing(seed):
            parts = [
                self.carry(noise[i : i + PART], None if chosen is None else chosen[i : i + PART], steps, **options)
                for i in range(0, n, PART)
            ]
        values = self.unscaled(torch.cat([part.states[-1] for part in parts]))
        return Generated(values, chosen, max(part.evaluations for part in parts))

    @torch.no_grad()
    def paths(
        self, n: int, steps: int | None = None, seed: int = 0, labels: Tensor | int | None = None, **options: Any
    ) -> Tensor:
        """Where `n` samples come from: (nodes, n, *shape) from noise to data, in the data's own units."""
        noise, chosen, steps = self._prepare(n, steps, seed, labels)
        with self._drawing(seed):
            return self.unscaled(self.carry(noise, chosen, steps, keep="all", **options).states)

    @contextmanager
    def _drawing(self, seed: int) -> Iterator[None]:
        """Random numbers on the way follow from `seed` too, in a stream of their own."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed ^ ON_THE_WAY)
            yield

    def prior(self, n: int, generator: torch.Generator) -> Tensor:
        """What samples start from, (n, *shape) in scaled units: standard normal noise, unless a method has another."""
        return torch.randn(n, *self.shape, generator=generator)

    def _prepare(
        self, n: int, steps: int | None, seed: int, labels: Tensor | int | None
    ) -> tuple[Tensor, Tensor | None, int]:
        """Noise, checked labels and steps, on the method's device."""
        steps = self.steps if steps is None else steps
        if n < 1 or steps < 1:
            raise DataError(f"{type(self).__name__}: asked for {n} samples in {steps} steps; both must be at least 1")
        generator = torch.Generator().manual_seed(seed)
        noise = self.prior(n, generator)
        if not self.classes:
            if labels is not None:
                raise DataError(f"{type(self).__name__} was made without classes, so it cannot sample for a label")
            return noise.to(self.device), None, steps
        if labels is None:
            chosen = torch.multinomial(self.frequency.cpu(), n, replacement=True, generator=generator)
        else:
            chosen = torch.as_tensor(labels).long().cpu()
            chosen = chosen.expand(n) if chosen.ndim == 0 else chosen
            if chosen.shape != (n,):
                raise DataError(f"{type(self).__name__}: labels have shape {tuple(chosen.shape)}; expected ({n},)")
            self._check_labels(chosen)
        return noise.to(self.device), chosen.to(self.device), steps

    def _check_labels(self, labels: Tensor) -> None:
        if not 0 <= int(labels.min()) <= int(labels.max()) < self.classes:
            found = f"{int(labels.min())} .. {int(labels.max())}"
            raise DataError(f"{type(self).__name__}: labels {found} are not all among 0 .. {self.classes - 1}")

    def training_labels(self, labels: Tensor | None) -> Tensor | None:
        """The labels of a training batch if this method has classes; a `DataError` if they are missing or too large."""
        if not self.classes:
            return None
        if labels is None:
            raise DataError(
                f"{type(self).__name__} learns {self.classes} classes, but the data has no labels; set classes=0"
            )
        self._check_labels(labels)
        return labels

    # -- how good it is -----------------------------------------------------------------------------------------------

    def evaluate(self, data: Samples, seed: int = 0) -> dict[str, float]:
        """Frechet distance in fixed features (where there are any), sliced Wasserstein-2, network calls per sample."""
        return self._distances(data, DRAWN, seed)

    def score(self, data: Samples, seed: int = 0) -> float:
        """The first metric of `evaluate` with fewer samples, for a look during training."""
        return next(iter(self._distances(data, GLANCE, seed).values()))

    def _distances(self, data: Samples, count: int, seed: int) -> dict[str, float]:
        data = self.check(data)
        if len(data) < 2:
            raise DataError(f"{data.name}: {len(data)} sample is not a distribution to compare with; bring at least 2")
        drawn = self.draw(count, seed=seed)
        return distances(drawn.values, data) | {"network_calls": float(drawn.evaluations)}

    def check(self, data: Any) -> Samples:
        """`data` if its samples have this method's shape."""
        samples: Samples = self.require(data)
        if samples.shape != self.shape:
            raise DataError(
                f"{samples.name}: one sample has shape {samples.shape}, but this {type(self).__name__} was made for "
                f"{self.shape}"
            )
        return samples

    def predict(self, data: Samples, seed: int = 0) -> "pd.DataFrame":
        """As many new samples as `data` has, one per row, for the same labels if both know them."""
        import pandas as pd

        data = self.check(data)
        drawn = self.draw(len(data), seed=seed, labels=data.labels if self.classes else None)
        rows = drawn.values.flatten(1).cpu()
        names = data.columns if len(data.columns) == rows.shape[1] else [f"x{i}" for i in range(rows.shape[1])]
        table = pd.DataFrame(rows.numpy(), columns=list(names))
        if drawn.labels is not None:
            table["label"] = drawn.labels.cpu().numpy()
        return table

    @classmethod
    def figures(cls, methods: dict[str, Method], data: Samples) -> list[Figure]:
        from pathline.generate import pictures

        chosen = {name: method for name, method in methods.items() if isinstance(method, Generator)}
        return pictures.figures(chosen, data) if chosen else []


def distances(values: Tensor, data: Samples) -> dict[str, float]:
    """How far drawn `values` (count, *shape) are from `data`: the room's metrics, the most important first.

    Infinite where a sample is not a finite number.
    """
    if not bool(torch.isfinite(values).all()):
        names = ("frechet_distance", "sliced_w2") if has_features(data) else ("sliced_w2",)
        return dict.fromkeys(names, math.inf)
    found = {}
    if has_features(data):
        assert data.bounds is not None
        found["frechet_distance"] = frechet_distance(features(values, data.bounds), features(data.values, data.bounds))
    return found | {"sliced_w2": sliced_wasserstein(values, data.values)}

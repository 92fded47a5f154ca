"""Method: the one noun of the library, a network with a loss, a recipe and its room's verb."""

import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from pathline.core import store
from pathline.core.budget import Budget
from pathline.core.errors import DataError, MethodError
from pathline.data.container import Batch, Container, Split

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Picture

    from pathline.core.animation import Animation
    from pathline.core.training import Training


@dataclass(frozen=True)
class Recipe:
    """How a method is trained unless its user says otherwise.

    steps:        the budget when none is given
    batch_size:   items per step, over all processes together
    lr, weight_decay, betas: AdamW
    schedule:     "cosine" and "exponential" decay to `final` x lr; "constant" does not; all start with `warmup` linear
                  steps
    clip:         largest gradient norm, or None
    ema:          decay of the averaged weights that are evaluated and kept, or None; warmed up as (1 + n) / (10 + n)
    validations:  looks at the validation part, evenly spread over the run; the best weights are kept
    patience:     looks without improvement before training stops early, or None
    """

    steps: int = 2000
    batch_size: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Literal["cosine", "constant", "exponential"] = "cosine"
    final: float = 0.02
    warmup: int = 0
    clip: float | None = 1.0
    ema: float | None = None
    validations: int = 10
    patience: int | None = None

    def updated(self, changes: dict[str, Any]) -> "Recipe":
        """The recipe with some fields changed; a `MethodError` names a field that does not exist."""
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                raise MethodError(f"training has no setting '{name}'; it has {', '.join(known)}")
        return replace(self, **changes)


@dataclass(frozen=True)
class Figure:
    """A picture for reports, with the sentence under it; pages show its `animation` instead where there is one."""

    title: str
    caption: str
    picture: "Picture"
    animation: "Animation | None" = None


def _parameters(cls: type) -> tuple[str, ...]:
    """Names of the constructor's parameters, without `self`, *args and **kwargs."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]  # type: ignore[misc]
    return tuple(p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))


class _ConfigCapture(type):
    """Writes the constructor's arguments into `config`, as JSON values, so that a method can be rebuilt from disk."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        method = super().__call__(*args, **kwargs)
        bound = inspect.signature(cls.__init__).bind(method, *args, **kwargs)  # type: ignore[misc]
        bound.apply_defaults()
        arguments = {key: value for key, value in bound.arguments.items() if key in _parameters(cls)}
        try:
            method.config = json.loads(json.dumps(arguments))
        except TypeError as error:
            raise MethodError(f"{cls.__name__}: constructor arguments must be JSON values ({error})") from None
        return method


class Method(nn.Module, metaclass=_ConfigCapture):
    """A published system behind one interface; each room derives its verb from this class.

    A method draws random numbers from torch's global generator only, which training seeds, saves and restores: that is
    what makes a resumed run equal an uninterrupted one.

    Attributes:
        room:      the room's name
        container: the class of data it learns from
        better:    whether the first metric of `evaluate` should be "lower" or "higher"
        precision: "auto" lets training use bf16 where the processor is fast at it; "fp32" forbids it
        recipe:    default training settings
        rates:     learning rates relative to the recipe's, by the beginning of a parameter's name
        trains:    False for baselines that `fit` solves in closed form or that need nothing
        may_find_nothing: whether a table without rows is an answer of `predict`, such as that no wave arrived
        config:    the constructor's arguments, captured; enough to rebuild
        training_record: what the last `fit` did, or None
    """

    room: ClassVar[str] = ""
    container: ClassVar[type[Container]] = Container  # type: ignore[type-abstract]
    better: ClassVar[Literal["lower", "higher"]] = "lower"
    precision: ClassVar[Literal["auto", "fp32"]] = "auto"
    recipe: ClassVar[Recipe] = Recipe()
    rates: ClassVar[dict[str, float]] = {}
    trains: ClassVar[bool] = True
    may_find_nothing: ClassVar[bool] = False
    config: dict[str, Any]
    training_record: "Training | None" = None

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        """A method whose sizes and statistics are read off `data`, the training part (or a `Split`, whose training
        part is used); `config` sets hyperparameters."""
        raise NotImplementedError

    @classmethod
    def seeded(cls, data: Any, seed: int, **config: Any) -> Self:
        """`for_data` with initial weights that follow from `seed`."""
        torch.manual_seed(seed)
        return cls.for_data(data, **config)

    @classmethod
    def settings(cls) -> tuple[str, ...]:
        """Names that `for_data(data, ...)` accepts."""
        return _parameters(cls)

    @classmethod
    def require(cls, data: Any) -> Any:
        """`data` if it is this method's container, else a `DataError` that says what is needed."""
        part = data.train if isinstance(data, Split) else data
        if not isinstance(part, cls.container):
            raise DataError(
                f"{cls.__name__} learns from {cls.container.__name__}, but "
                f"{getattr(part, 'name', 'the data')} is {type(part).__name__}"
            )
        if not len(part):
            raise DataError(f"{part.name}: there is nothing to learn from: no complete item for {cls.__name__}")
        return part

    @property
    def wants(self) -> Literal["lower", "higher"]:
        """`better` for what this method was built for, where that decides what is measured first."""
        return self.better

    @property
    def decays(self) -> dict[str, float]:
        """Weight decays relative to the recipe's, by the beginning of a parameter's name; the others have 1."""
        return {}

    @property
    def device(self) -> torch.device:
        return next((tensor.device for tensor in (*self.parameters(), *self.buffers())), torch.device("cpu"))

    def batches(self, data: Any, size: int, generator: torch.Generator) -> Iterator[Batch]:
        """One epoch of batches; override to draw negatives, trajectories or collocation points.
        The order must come from `generator` alone."""
        return data.batches(size, generator)

    def epoch_length(self, data: Any, size: int) -> int:
        """How many batches `batches` yields."""
        return -(-len(data) // size)

    def loss(self, batch: Any) -> Tensor | dict[str, Tensor]:
        """What training minimises: a scalar, or a dict whose 'loss' is minimised and whose other terms are logged."""
        raise NotImplementedError

    def optimizer(self, recipe: Recipe) -> "torch.optim.Optimizer | None":
        """An optimiser of the method's own, whose state is tensors; by default None, which is AdamW."""
        return None

    def begin_epoch(self) -> None:
        """Called before each epoch; models with a memory reset it here."""

    def read(self, data: Any) -> None:
        """Take what is not learned (means, graphs, scales) from `data`, the training part. By default nothing is."""

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Train on `data` (a container, or a `Split`: its validation part then picks the best weights).

        Args:
            budget: `steps(n)`, `epochs(n)` or `minutes(m)`; by default the recipe's steps.
            seed: everything random in training follows from it.
            options: fields of `Recipe`, and those of `pathline.core.train.train` (folder, resume, devices, ...).
        """
        from pathline.core.train import train

        if isinstance(data, Split):
            data, validation = data.train, data.validation if validation is None else validation
        self.training_record = train(self, self.require(data), budget, seed=seed, validation=validation, **options)
        return self

    def evaluate(self, data: Any, seed: int = 0) -> dict[str, float]:
        """The room's metrics on `data`, the most important first. `seed` fixes what is drawn while evaluating."""
        raise NotImplementedError

    def score(self, data: Any, seed: int = 0) -> float:
        """The first metric of `evaluate`; rooms whose evaluation is slow override it for early stopping."""
        return next(iter(self.evaluate(data, seed).values()))

    def predict(self, data: Any, seed: int = 0) -> "pd.DataFrame":
        """The room's verb applied to `data`, as a table to write to a file."""
        raise NotImplementedError

    def writers(self) -> dict[str, Callable[[Any, Path, int], None]]:
        """Files other than tables that `predict --out` can write: ending -> function of (data, path, seed)."""
        return {}

    @classmethod
    def figures(cls, methods: "dict[str, Method]", data: Any) -> list[Figure]:
        """Pictures of several fitted methods of one room on the same test data."""
        return []

    @classmethod
    def pretrain_data(cls) -> Container | None:
        """What to learn from for somebody whose own data have no truth (`Container.has_truth`); None if nothing is."""
        return None

    def parameter_count(self) -> int:
        """Trainable numbers."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def save(self, folder: str | Path) -> Path:
        """Write config.json and model.safetensors; `load` rebuilds the method from them."""
        return store.write(folder, self)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Rebuild a saved method. Called on `Method` (or a room's class), the class is found in the catalogue."""
        record = store.read_config(folder)
        chosen: Any = cls
        if inspect.isabstract(cls) or "loss" not in vars(cls) or cls.__name__ != record["class"].rpartition(":")[2]:
            from pathline.core import catalog

            chosen = catalog.method(record["method"])
        method = chosen(**record["config"])
        store.read_weights(folder, method)
        return method.eval()


class Computed(Method):
    """A method that is computed, not trained: `read` does all the work, if there is any.

    It stands before the room's class: `class LastValue(Computed, Forecaster)`.
    """

    trains: ClassVar[bool] = False

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Compute it anew from `data` (of a `Split` the training part); there is nothing to train."""
        self.read(self.require(data))
        return self.eval()


def key_of(cls: type[Method]) -> str:
    """The catalogue's key of a class, or its own name if it is not in the catalogue."""
    from pathline.core import catalog

    for entry in catalog.methods():
        if entry.cls == cls.__name__ and entry.module == cls.__module__:
            return entry.key
    return cls.__name__


def unwrap_split(data: Any) -> Any:
    """The training part of a `Split`, anything else as it is."""
    return data.train if isinstance(data, Split) else data

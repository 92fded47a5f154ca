"""The task of telling classes of recordings apart: given a sequence, say what it shows.

`perceive(values, lengths)` returns class probabilities. Accuracy is the share of recordings whose most probable class
is the true one; macro F1 is the mean over classes of 2 precision recall / (precision + recall).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.errors import DataError
from pathline.core.method import Figure, Method
from pathline.data.sequences import Recordings, Sequences
from pathline.perceive.base import Perceiver

if TYPE_CHECKING:
    import pandas as pd

BATCH = 256


class SequenceClassifier(Perceiver):
    """What all methods of the task share. A subclass writes `logits`.

    channels: of a recording; classes: their names
    """

    container = Sequences
    better: ClassVar[Literal["lower", "higher"]] = "higher"
    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int, classes: list[str]) -> None:
        super().__init__()
        self.channels, self.classes = channels, list(classes)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part = cls.require(data)
        method = cls(**({"channels": part.values.shape[2], "classes": list(part.classes)} | config))
        known = torch.arange(part.values.shape[1]) < part.lengths[:, None]
        values = part.values[known].double()
        method.mean.copy_(values.mean(0))
        method.deviation.copy_(values.std(0, correction=0).clamp(min=1e-6))
        return method

    def logits(self, values: Tensor, lengths: Tensor) -> Tensor:
        """(batch, classes) of normalised values (batch, time, channels)."""
        raise NotImplementedError

    def normalised(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Each channel with mean 0 and deviation 1 over the training part, and 0 beyond each length."""
        known = torch.arange(values.shape[1], device=values.device) < lengths[:, None]
        return ((values - self.mean) / self.deviation) * known[..., None]

    @torch.no_grad()
    def perceive(self, signal: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Class probabilities of recordings (batch, time, channels), which last `lengths` (batch,) or all of time:
        (batch, classes). Raises DataError for other shapes or values that are not finite."""
        who = type(self).__name__
        if signal.ndim != 3 or 0 in signal.shape or signal.shape[2] != self.channels:
            raise DataError(
                f"{who}: recordings have shape {tuple(signal.shape)}; expected (batch, time, {self.channels})"
            )
        if not bool(torch.isfinite(signal).all()):
            raise DataError(f"{who}: recordings hold values that are not finite numbers")
        if lengths is None:
            lengths = torch.full((len(signal),), signal.shape[1])
        signal, lengths = signal.to(self.device), lengths.to(self.device)
        parts = [
            self.logits(self.normalised(values, length), length).float().softmax(-1)
            for values, length in zip(signal.split(BATCH), lengths.split(BATCH), strict=True)
        ]
        return torch.cat(parts).cpu()

    def check(self, data: Any) -> Sequences:
        """`data`, if it has the channels and classes that were learned."""
        sequences: Sequences = self.require(data)
        if sequences.values.shape[2] != self.channels:
            raise DataError(
                f"{sequences.name}: it has {sequences.values.shape[2]} channels; {type(self).__name__} learned from "
                f"{self.channels}"
            )
        unknown = [name for name in sequences.classes if name not in self.classes]
        if unknown:
            raise DataError(
                f"{sequences.name}: class '{unknown[0]}' is not among those learned: {', '.join(self.classes)}"
            )
        return sequences

    def places(self, data: Sequences) -> Tensor:
        """The labels of `data` as places among the learned classes."""
        table = torch.tensor([self.classes.index(name) for name in data.classes])
        return table[data.labels]

    # -- metrics ------------------------------------------------------------------------------------------------------

    def confusion(self, data: Sequences) -> Tensor:
        """How many recordings of each true class (row) were given each class: (classes, classes) int64."""
        sequences = self.check(data)
        found = self.perceive(sequences.values, sequences.lengths).argmax(-1)
        count = len(self.classes)
        return torch.bincount(self.places(sequences) * count + found, minlength=count * count).view(count, count)

    def evaluate(self, data: Sequences, seed: int = 0) -> dict[str, float]:
        """accuracy, and macro_f1 over the classes that occur or are said to."""
        table = self.confusion(data).double()
        hits, involved = table.diagonal(), table.sum(0) + table.sum(1)
        f1 = 2 * hits[involved > 0] / involved[involved > 0]
        return {"accuracy": float(hits.sum() / table.sum()), "macro_f1": float(f1.mean())}

    def predict(self, data: Sequences, seed: int = 0) -> "pd.DataFrame":
        """A row per recording: its number, the most probable class, and the probability of each."""
        import pandas as pd

        sequences = self.check(data)
        probability = self.perceive(sequences.values, sequences.lengths)
        table: dict[str, Any] = {
            "recording": range(len(probability)),
            "class": [self.classes[k] for k in probability.argmax(-1).tolist()],
        }
        return pd.DataFrame(table | {f"p_{name}": probability[:, k] for k, name in enumerate(self.classes)})

    @classmethod
    def figures(cls, methods: Mapping[str, Method], data: Sequences) -> list[Figure]:
        """Confusion of the classes."""
        shown = {name: method for name, method in methods.items() if isinstance(method, SequenceClassifier)}
        return [draw_confusion(shown, data)]


class _Solved(SequenceClassifier):
    """A baseline that is solved and not trained."""

    trains = False

    def loss(self, batch: Recordings) -> Tensor:
        """Cross-entropy."""
        return F.cross_entropy(self.logits(self.normalised(batch.values, batch.lengths), batch.lengths), batch.labels)


class MajorityClass(_Solved):
    """Every class as often as in the training part, so always the most frequent one."""

    def __init__(self, channels: int, classes: list[str]) -> None:
        super().__init__(channels, classes)
        self.register_buffer("log_share", torch.zeros(len(classes)))

    log_share: Tensor

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Count."""
        part = self.check(self.require(data))
        counts = torch.bincount(self.places(part), minlength=len(self.classes))
        self.log_share.copy_(((counts + 1e-3) / (counts + 1e-3).sum()).log())
        return self.eval()

    def logits(self, values: Tensor, lengths: Tensor) -> Tensor:
        return self.log_share.expand(len(values), -1)


class LinearClassifier(_Solved):
    """Logistic regression on what summarises a recording: per channel mean, deviation, least, greatest, mean absolute
    change, and the means of four quarters of its time."""

    def __init__(self, channels: int, classes: list[str], strength: float = 1.0) -> None:
        super().__init__(channels, classes)
        self.strength = strength
        self.register_buffer("centre", torch.zeros(9 * channels))
        self.register_buffer("scale", torch.ones(9 * channels))
        self.register_buffer("weight", torch.zeros(9 * channels, len(classes)))
        self.register_buffer("bias", torch.zeros(len(classes)))

    centre: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    @staticmethod
    def summary(values: Tensor, lengths: Tensor) -> Tensor:
        """(batch, 9 channels) of values (batch, time, channels) that last `lengths`."""
        time = torch.arange(values.shape[1], device=values.device)
        known = (time < lengths[:, None])[..., None]
        count = lengths[:, None].to(values.dtype)
        mean = (values * known).sum(1) / count
        deviation = (((values - mean[:, None]) * known).square().sum(1) / count).sqrt()
        least = values.masked_fill(~known, torch.inf).amin(1)
        greatest = values.masked_fill(~known, -torch.inf).amax(1)
        change = (values.diff(dim=1).abs() * known[:, 1:]).sum(1) / (count - 1).clamp(min=1)
        quarter = (time * 4).expand(len(values), -1) // lengths[:, None]
        inside = F.one_hot(quarter.clamp(max=4), 5)[..., :4].to(values.dtype) * known
        quarters = torch.einsum("btq,btc->bqc", inside, values) / inside.sum(1).clamp(min=1)[..., None]
        return torch.cat([mean, deviation, least, greatest, change, quarters.flatten(1)], 1)

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Scikit-learn's logistic regression."""
        from sklearn.linear_model import LogisticRegression

        part = self.check(self.require(data))
        features = self.summary(self.normalised(part.values, part.lengths), part.lengths)
        self.centre.copy_(features.mean(0))
        self.scale.copy_(features.std(0, correction=0).clamp(min=1e-6))
        scaled, labels = ((features - self.centre) / self.scale).double().numpy(), self.places(part).numpy()
        if len(set(labels.tolist())) < 2:
            raise DataError(f"{part.name}: all recordings are of one class; there is nothing to tell apart")
        found = LogisticRegression(C=self.strength, max_iter=2000).fit(scaled, labels)
        weight, bias = torch.tensor(found.coef_), torch.tensor(found.intercept_)
        if len(weight) == 1:  # two classes share one set of weights
            weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
        self.bias.fill_(-1e4)  # of classes that do not occur in the training part
        self.weight.zero_()
        places = torch.tensor(found.classes_)
        self.weight[:, places] = weight.T.to(self.weight.dtype)
        self.bias[places] = bias.to(self.bias.dtype)
        return self.eval()

    def logits(self, values: Tensor, lengths: Tensor) -> Tensor:
        return ((self.summary(values, lengths) - self.centre) / self.scale) @ self.weight + self.bias


def draw_confusion(methods: Mapping[str, SequenceClassifier], data: Sequences) -> Figure:
    """One table per method: shares of each true class."""
    from matplotlib.figure import Figure as Picture

    chosen = dict(list(methods.items())[:4])
    picture = Picture(figsize=(3.4 * len(chosen) + 0.6, 3.9), layout="constrained")
    panels = picture.subplots(1, len(chosen), squeeze=False)[0]
    for panel, (name, method) in zip(panels, chosen.items(), strict=True):
        table = method.confusion(data).double()
        share = (table / table.sum(1, keepdim=True).clamp(min=1)).numpy()
        image = panel.imshow(share, vmin=0, vmax=1, cmap="Blues")
        accuracy = float(table.diagonal().sum() / table.sum())
        panel.set_title(f"{name}: {100 * accuracy:.1f} %", fontsize=10)
        ticks = range(len(method.classes))
        panel.set_xticks(ticks, method.classes, rotation=90, fontsize=7)
        panel.set_yticks(ticks, method.classes, fontsize=7)
        panel.set_xlabel("said")
    panels[0].set_ylabel("true")
    picture.colorbar(image, ax=panels, shrink=0.8, label="share of the true class")
    return Figure("Which classes are mistaken", f"{len(data)} recordings of {data.name}.", picture)

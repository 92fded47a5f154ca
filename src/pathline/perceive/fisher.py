"""Fisher discriminant learning: recurrent classifiers whose features are compact in a class and far apart between.

    x_i = [last hidden state forwards, last hidden state backwards]        a stacked bidirectional LSTM or GRU
    L = -log softmax(W x_i)_c(i)  +  theta S_w / B  -  eta S_b / B
    S_w = sum_i |x_i - m_c(i)|^2,   S_b = sum_c n_c |m_c - m|^2             scatter within and between classes
Centres m_c follow the batches slowly, m_c <- m_c - a sum_i (m_c - x_i) / (1 + n_c), or are the means of the batch.
Hidden states lie between -1 and 1, which bounds S_b; it can also be kept by a length of the features (`radius`), or by
    form="margin":  theta S_w / B + eta sum_c max(0, delta - |m_c - m|)^2
    form="ratio":   theta S_w / S_b
Li, Xie, Zhang, Chen, Han, 2018, "Deep Fisher Discriminant Learning for Mobile Hand Gesture Recognition", Pattern
Recognition 77, arXiv:1707.03692. theta = eta = 0 is the plain bidirectional network, eta = 0 alone is center loss.
Use it for short recordings with few examples per class by users who are not in the training data. It costs nothing at
prediction; where data are plenty, plain cross-entropy is as good. On the gestures of its claim `linear-classifier` is
six points better than any of these networks: try that first.
Departs: the paper's weights and form are not known to us; the defaults were chosen on one draw of gestures.
"""

from collections.abc import Iterator
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data.sequences import Recordings, Sequences
from pathline.nn.discriminant import FORMS, Centres, class_means, discriminant_term, margin_term, scatters
from pathline.perceive.classification import SequenceClassifier

PER_CLASS = 4  # recordings of each class in a batch, at least where there are as many


class Fisher(SequenceClassifier):
    """F-BGRU (cell="gru") or F-BLSTM (cell="lstm").

    channels, classes: read off the data
    hidden, layers: of the recurrent network, in each direction; dropout between layers and before the head
    pooling:    "last" hidden states of both directions, or their "mean" over time
    form:       "difference", "ratio" or "margin", see above; delta: the margin
    theta, eta: weights of the scatter within and between classes
    centres:    "running", with rate `follow`, or "batch"
    radius:     length that features are given for the scatter; None leaves them as they are
    """

    recipe: ClassVar[Recipe] = Recipe(steps=600, batch_size=48, lr=2e-3, clip=5.0, validations=8)

    def __init__(
        self,
        channels: int,
        classes: list[str],
        cell: str = "gru",
        hidden: int = 48,
        layers: int = 2,
        dropout: float = 0.3,
        pooling: str = "last",
        form: str = "difference",
        theta: float = 0.1,
        eta: float = 1e-2,
        delta: float = 1.0,
        centres: str = "running",
        follow: float = 0.5,
        radius: float | None = None,
    ) -> None:
        super().__init__(channels, classes)
        for name, value, known in (
            ("cell", cell, ("gru", "lstm")),
            ("pooling", pooling, ("last", "mean")),
            ("form", form, FORMS),
            ("centres", centres, ("running", "batch")),
        ):
            if value not in known:
                raise MethodError(f"{name} is '{value}'; choose one of {', '.join(known)}")
        if theta < 0 or eta < 0:
            raise MethodError(f"theta {theta:g} and eta {eta:g} must not be negative")
        self.pooling, self.form, self.theta, self.eta, self.delta = pooling, form, theta, eta, delta
        self.radius = radius
        recurrent = nn.GRU if cell == "gru" else nn.LSTM
        self.recurrent = recurrent(
            channels, hidden, layers, batch_first=True, bidirectional=True, dropout=dropout if layers > 1 else 0.0
        )
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(2 * hidden, len(classes))
        self.centres = Centres(len(classes), 2 * hidden, follow) if centres == "running" else None

    def features(self, values: Tensor, lengths: Tensor) -> Tensor:
        """x_i of normalised values (batch, time, channels): (batch, 2 hidden), whatever lies beyond the lengths."""
        packed = nn.utils.rnn.pack_padded_sequence(values, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, last = self.recurrent(packed)
        if self.pooling == "last":
            final: Tensor = last[0] if isinstance(last, tuple) else last
            return torch.cat([final[-2], final[-1]], 1)
        unpacked, _ = nn.utils.rnn.pad_packed_sequence(states, batch_first=True)
        return unpacked.sum(1) / lengths.to(unpacked)[:, None]

    def logits(self, values: Tensor, lengths: Tensor) -> Tensor:
        logits: Tensor = self.head(self.drop(self.features(values, lengths)))
        return logits

    def scattered(self, features: Tensor) -> Tensor:
        """The features whose scatter counts."""
        return features if self.radius is None else self.radius * F.normalize(features)

    def loss(self, batch: Recordings) -> dict[str, Tensor]:
        """Cross-entropy and Fisher's criterion."""
        features = self.features(self.normalised(batch.values, batch.lengths), batch.lengths)
        entropy = F.cross_entropy(self.head(self.drop(features)), batch.labels)
        x = self.scattered(features)
        within, between = self._scatters(x, batch.labels)
        if self.form == "margin":
            means, counts = class_means(x, batch.labels, len(self.classes))
            far = margin_term(means, (counts > 0).to(means.dtype), means[counts > 0].mean(0), self.delta)
            term = self.theta * within / len(x) + self.eta * far
        else:
            term = discriminant_term(within, between, len(x), self.theta, self.eta, self.form)
        if self.centres is not None and self.training:
            self.centres.follow(x, batch.labels)
        return {"loss": entropy + term, "entropy": entropy, "within": within / len(x), "between": between / len(x)}

    def _scatters(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if self.centres is None:
            return scatters(x, labels, len(self.classes))
        return self.centres.scatters(x, labels)

    def batches(self, data: Sequences, size: int, generator: torch.Generator) -> Iterator[Recordings]:
        """Balanced: every batch holds as many recordings of each class as fit, at least `PER_CLASS` of those it holds.
        An epoch has as many batches as there are recordings for."""
        names = data.labels.unique()
        kinds = max(1, min(len(names), size // PER_CLASS))
        each = max(1, size // kinds)
        members = {int(name): (data.labels == name).nonzero()[:, 0] for name in names}
        for _ in range(self.epoch_length(data, size)):
            chosen = names[torch.randperm(len(names), generator=generator)[:kinds]]
            index = [
                members[int(name)][torch.randperm(len(members[int(name)]), generator=generator)[:each]]
                for name in chosen
            ]
            yield data.gather(torch.cat(index))

    @torch.no_grad()
    def trace_ratio(self, data: Sequences) -> float:
        """tr S_b / tr S_w of the features of `data`: how far apart classes are, for how wide they are."""
        part = self.check(data)
        self.eval()
        x = self.features(self.normalised(part.values, part.lengths), part.lengths)
        within, between = scatters(x, self.places(part), len(self.classes))
        return float(between / within)

"""Sequences: recordings of several channels, unequal in length, each of one class."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pathline.data.container import Batch, Container, Split, require_finite
from pathline.data.errors import DataError


@dataclass(frozen=True)
class Recordings(Batch):
    """values: (batch, time, channels), zero after each length; lengths, labels: (batch,) int64."""

    values: Tensor
    lengths: Tensor
    labels: Tensor


@dataclass(frozen=True, kw_only=True)
class Sequences(Container):
    """Labelled recordings, padded to the longest.

    values:   (count, time, channels) float32; what lies beyond a length is set to 0
    lengths:  (count,) int64, at least 1
    labels:   (count,) int64 classes 0 .. len(classes) - 1
    classes:  names of the classes
    groups:   (count,) int64: who or what was recorded; nobody is in two parts of a split. None: each for itself
    channels: names of the channels, with units
    rate:     samples a second, or None
    """

    values: Tensor
    lengths: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    groups: Tensor | None = None
    channels: tuple[str, ...] = ()
    rate: float | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.values.shape)
        if self.values.ndim != 3 or 0 in shape:
            raise DataError(f"{self.name}: values have shape {shape}; expected (count, time, channels), none of them 0")
        for field in ("lengths", "labels", "groups"):
            given = getattr(self, field)
            if given is not None and given.shape != self.values.shape[:1]:
                raise DataError(
                    f"{self.name}: {field} have shape {tuple(given.shape)}; there are {shape[0]} recordings"
                )
        if not 1 <= int(self.lengths.min()) <= int(self.lengths.max()) <= shape[1]:
            raise DataError(f"{self.name}: lengths must lie from 1 to {shape[1]}, the padded length")
        if not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.classes):
            raise DataError(
                f"{self.name}: labels go from {int(self.labels.min())} to {int(self.labels.max())}, but there are "
                f"{len(self.classes)} classes"
            )
        if self.channels and len(self.channels) != shape[2]:
            raise DataError(f"{self.name}: {len(self.channels)} names for {shape[2]} channels")
        beyond = torch.arange(shape[1]) >= self.lengths[:, None]
        object.__setattr__(self, "values", self.values.float().masked_fill(beyond[..., None], 0.0))
        require_finite(self.values, "values", self.name)

    def __len__(self) -> int:
        return len(self.values)

    def gather(self, index: Tensor) -> Recordings:
        lengths = self.lengths[index]
        return Recordings(self.values[index, : int(lengths.max())], lengths, self.labels[index])

    def take(self, index: Tensor) -> "Sequences":
        """The recordings `index`."""
        groups = None if self.groups is None else self.groups[index]
        return replace(
            self, values=self.values[index], lengths=self.lengths[index], labels=self.labels[index], groups=groups
        )

    def every(self, step: int) -> "Sequences":
        """Each `step`-th sample of every recording."""
        rate = None if self.rate is None else self.rate / step
        return replace(self, values=self.values[:, ::step], lengths=-(-self.lengths // step), rate=rate)

    def split(self, seed: int = 0) -> Split["Sequences"]:
        """By group where there are at least three: 60, 20 and 20 percent of the groups at random; else of each class,
        60, 20 and 20 percent of its recordings."""
        generator = torch.Generator().manual_seed(seed)
        if self.groups is not None and len(names := self.groups.unique()) >= 3:
            order = names[torch.randperm(len(names), generator=generator)]
            held = max(1, round(0.2 * len(names)))
            parts = (order[2 * held :], order[:held], order[held : 2 * held])
            return Split(*(self.take(torch.isin(self.groups, part).nonzero()[:, 0]) for part in parts))
        chosen: list[list[Tensor]] = [[], [], []]
        for label in self.labels.unique():
            members = (self.labels == label).nonzero()[:, 0]
            if len(members) < 3:
                raise DataError(
                    f"{self.name}: class '{self.classes[int(label)]}' has {len(members)} recordings; three parts need "
                    "at least 3 of each class"
                )
            members = members[torch.randperm(len(members), generator=generator)]
            held = max(1, round(0.2 * len(members)))
            for part, index in zip(
                chosen, (members[2 * held :], members[:held], members[held : 2 * held]), strict=True
            ):
                part.append(index)
        return Split(*(self.take(torch.cat(part).sort().values) for part in chosen))

    def describe(self) -> dict[str, Any]:
        count, time, channels = self.values.shape
        return {
            "container": "Sequences",
            "recordings": count,
            "shortest": int(self.lengths.min()),
            "longest": time,
            "channels": channels,
            "classes": len(self.classes),
            "groups": 0 if self.groups is None else len(self.groups.unique()),
            "rate": self.rate,
        }


def padded(recordings: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Recordings (time, channels) of unequal lengths as values (count, longest, channels), and their lengths."""
    return torch.nn.utils.rnn.pad_sequence(recordings, batch_first=True), torch.tensor([len(r) for r in recordings])


def sequences_from_table(
    table: pd.DataFrame,
    file: str,
    *,
    label_column: str | None = None,
    time_column: str | None = None,
    group_column: str | None = None,
    interval: float | None = None,
) -> Sequences:
    """Recordings one below the other: a column `sequence` says to which a row belongs, `label` of which class it is,
    `user` (if there is one) who moved, `time` (if there is one) is left out; every other column is a channel.

    Args:
        interval: seconds between rows.

    Raises:
        DataError: a column is missing, a cell is no number, or a recording has two labels or two users.
    """
    from pathline.data.tables import numbers, require_columns

    label = label_column or "label"
    group = group_column or ("user" if "user" in table.columns else None)
    require_columns(table, file, ("sequence", label, *([group] if group else [])))
    extra = {"sequence", label, group, time_column or "time"}
    columns = [name for name in table.columns if name not in extra]
    if not columns:
        raise DataError(f"{file}: beside {', '.join(sorted(map(str, extra - {None})))} there is no column of a channel")
    values = numbers(table[columns], file)
    key, _ = pd.factorize(table["sequence"])
    if (key < 0).any():
        raise DataError(f"{file}, row {int((key < 0).argmax()) + 2}, column 'sequence': the cell is empty")
    order = np.argsort(key, kind="stable")
    borders = np.flatnonzero(np.diff(key[order])) + 1
    for column in (label, *([group] if group else [])):
        several = table.groupby("sequence", sort=False)[column].nunique(dropna=False)
        if (several > 1).any():
            raise DataError(f"{file}: sequence '{several.idxmax()}' has {several.max()} values in column '{column}'")
        if table[column].isna().any():
            raise DataError(
                f"{file}, row {int(table[column].isna().argmax()) + 2}, column '{column}': the cell is empty"
            )
    first = np.unique(key, return_index=True)[1]
    classes = sorted(table[label].astype(str).unique())
    labels = [classes.index(name) for name in table[label].astype(str).iloc[first]]
    groups = torch.tensor(pd.factorize(table[group].iloc[first])[0]) if group else None
    stacked, lengths = padded([torch.tensor(part).float() for part in np.split(values[order], borders)])
    return Sequences(
        values=stacked,
        lengths=lengths,
        labels=torch.tensor(labels),
        classes=tuple(classes),
        groups=groups,
        channels=tuple(map(str, columns)),
        rate=None if interval is None else 1 / interval,
        name=file.rpartition("/")[2].rpartition(".")[0] or file,
    )

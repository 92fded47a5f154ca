"""GraphSignal: one signal over the nodes of a graph and over time, of which only some entries were ever seen."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from pathline.data.container import Batch, Container, Split
from pathline.data.errors import DataError

Protocol = Literal["entries", "snapshots", "forecast"]
PROTOCOLS: tuple[str, ...] = ("entries", "snapshots", "forecast")
HELD = 0.1  # share of what is seen that the validation part asks for


@dataclass(frozen=True)
class Entries(Batch):
    """values, seen, asked: (batch, nodes, time); see `GraphSignal`."""

    values: Tensor
    seen: Tensor
    asked: Tensor


@dataclass(frozen=True, kw_only=True)
class GraphSignal(Container):
    """A matrix whose missing entries are to be recovered.

    values:    (nodes, time) float32, 0 where nothing is known
    seen:      (nodes, time) bool, what a method may look at
    asked:     (nodes, time) bool, entries that it must not look at and whose truth is known; none by default
    adjacency: (nodes, nodes) weights >= 0, or None
    positions: (nodes, 2) map coordinates, or None
    start, interval: seconds since 1970-01-01 and from one step to the next
    density, protocol: how `split` hides entries: at each time all but a share `density` of the known nodes ("entries"),
        whole times ("snapshots"), or all times after the first `density` of them ("forecast")
    """

    values: Tensor
    seen: Tensor
    asked: Tensor | None = None
    adjacency: Tensor | None = None
    positions: Tensor | None = None
    start: int = 0
    interval: int = 3600
    nodes: tuple[str, ...] = ()
    unit: str = ""
    density: float = 0.5
    protocol: Protocol = "entries"

    def __post_init__(self) -> None:
        name, shape = self.name, tuple(self.values.shape)
        if len(shape) != 2 or 0 in shape:
            raise DataError(f"{name}: values have shape {shape}; expected (nodes, time), none of them 0")
        if self.asked is None:
            object.__setattr__(self, "asked", torch.zeros(shape, dtype=torch.bool))
        assert self.asked is not None
        for field, mask in (("seen", self.seen), ("asked", self.asked)):
            if tuple(mask.shape) != shape or mask.dtype != torch.bool:
                raise DataError(
                    f"{name}: {field} is {mask.dtype} of shape {tuple(mask.shape)}; expected bool of shape {shape}"
                )
        finite = torch.isfinite(self.values)
        object.__setattr__(self, "seen", self.seen & finite)
        object.__setattr__(self, "asked", self.asked & finite)
        if bool((self.seen & self.asked).any()):
            node, step = (self.seen & self.asked).nonzero()[0].tolist()
            raise DataError(f"{name}: entry {node}, {step} is both seen and asked for; it can be one of them only")
        object.__setattr__(self, "values", torch.where(self.known, self.values, 0.0).float())
        count = shape[0]
        if not self.nodes:
            object.__setattr__(self, "nodes", tuple(str(i) for i in range(count)))
        if len(self.nodes) != count:
            raise DataError(f"{name}: {len(self.nodes)} node names for {count} nodes")
        if self.adjacency is not None and tuple(self.adjacency.shape) != (count, count):
            raise DataError(
                f"{name}: the graph has shape {tuple(self.adjacency.shape)} but there are {count} nodes; give one row "
                "and one column per node"
            )
        if self.positions is not None and tuple(self.positions.shape) != (count, 2):
            raise DataError(f"{name}: positions have shape {tuple(self.positions.shape)}; expected ({count}, 2)")
        if not 0 < self.density < 1:
            raise DataError(f"{name}: density is {self.density}; it is the share of entries that is seen, in (0, 1)")
        if self.protocol not in PROTOCOLS:
            raise DataError(f"{name}: there is no protocol '{self.protocol}'; choose {', '.join(PROTOCOLS)}")

    @property
    def known(self) -> Tensor:
        """Entries whose truth the data hold, (nodes, time) bool."""
        assert self.asked is not None
        return self.seen | self.asked

    @property
    def steps(self) -> int:
        return self.values.shape[1]

    def __len__(self) -> int:
        """One matrix is one item; none if nothing of it is seen."""
        return int(self.seen.any())

    def gather(self, index: Tensor) -> Entries:
        """The whole matrix, once for each entry of `index`."""
        assert self.asked is not None
        shape = (len(index), -1, -1)
        return Entries(self.values.expand(shape), self.seen.expand(shape), self.asked.expand(shape))

    def split(self, seed: int = 0) -> Split["GraphSignal"]:
        """Hide entries by the protocol: the test part asks for them, given all others; of these others, one in ten is
        what the validation part asks for, and the training part sees the rest."""
        generator = torch.Generator().manual_seed(seed)
        sampled = self._sample(self.known, self.density, generator)
        hidden = self.known & ~sampled
        if self.protocol == "entries":  # few are seen at a time, so the tenth is taken from all times together
            places = sampled.flatten().nonzero()[:, 0]
            chosen = places[torch.randperm(len(places), generator=generator)[: max(1, round(HELD * len(places)))]]
            held = torch.zeros_like(sampled).flatten().index_fill(0, chosen, True).view(sampled.shape)
        else:
            held = sampled & ~self._sample(sampled, 1 - HELD, generator)
        kept = sampled & ~held
        for what, mask in (
            ("hidden for the test", hidden),
            ("held for validation", held),
            ("left to learn from", kept),
        ):
            if not bool(mask.any()):
                raise DataError(
                    f"{self.name}: with density {self.density:g} and protocol '{self.protocol}' no entry is {what}; "
                    "bring more nodes or times, or choose another density"
                )
        nothing = torch.zeros_like(kept)
        parts = ((kept, nothing), (kept, held), (sampled, hidden))
        return Split(*(replace(self, seen=seen, asked=asked) for seen, asked in parts))

    def _sample(self, known: Tensor, share: float, generator: torch.Generator) -> Tensor:
        """A `share` of the entries of `known`, by the protocol."""
        if self.protocol == "entries":  # of each time the same share of its known nodes, at least one
            order = torch.rand(known.shape, generator=generator).masked_fill(~known, 2.0).argsort(0).argsort(0)
            return known & (order < (share * known.sum(0)).round().clamp(min=1))
        times = known.any(0).nonzero()[:, 0]
        if self.protocol == "snapshots":
            times = times[torch.randperm(len(times), generator=generator)]
        kept = torch.zeros(known.shape[1], dtype=torch.bool)
        kept[times[: max(1, round(share * len(times)))]] = True
        return known & kept

    def describe(self) -> dict[str, Any]:
        return {
            "container": "GraphSignal",
            "nodes": self.values.shape[0],
            "steps": self.steps,
            "interval_seconds": self.interval,
            "unit": self.unit,
            "missing": round(1 - self.known.float().mean().item(), 6),
            "density": self.density,
            "protocol": self.protocol,
            "graph": self.adjacency is not None,
            "positions": self.positions is not None,
        }


def signal_of_series(series: Any, **options: Any) -> GraphSignal:
    """A `Series` of one channel as a signal to recover: what was observed is seen.  options: density, protocol."""
    if series.values.shape[2] != 1:
        raise DataError(
            f"{series.name}: it has {series.values.shape[2]} channels, {', '.join(series.channels)}; a signal to "
            "recover has one, so bring them one by one"
        )
    return GraphSignal(
        values=series.values[..., 0].T.contiguous(),
        seen=series.observed[..., 0].T.contiguous(),
        adjacency=series.graph,
        positions=series.positions,
        start=series.start,
        interval=series.interval,
        nodes=series.nodes,
        unit=series.unit,
        name=series.name,
        **options,
    )


def signal_from_table(
    table: Any, file: str, density: float | None = None, protocol: Protocol | None = None, **options: Any
) -> GraphSignal:
    """A table, one column per node and one row per time, as a signal to recover; options as for a series."""
    from pathline.data.tables import series_from_table

    hiding = {name: value for name, value in (("density", density), ("protocol", protocol)) if value is not None}
    return signal_of_series(series_from_table(table, file, **options), **hiding)

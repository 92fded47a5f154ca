"""The task of recovery: given some entries of a signal over a graph and time, say the others.

The verb is `recover(data)`. A method may look at entries that are `seen` alone: all others enter no statistic, no loss
and no answer. What is measured is the error at entries that are asked for.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from pathline.core.errors import DataError
from pathline.core.method import Figure, Method, Recipe, unwrap_split
from pathline.data.graph_signal import Entries, GraphSignal
from pathline.graph.sobolev import knn_weights

if TYPE_CHECKING:
    import pandas as pd

NEIGHBOURS = 5


class Recoverer(Method):
    """What all methods of the task share. A subclass writes `fill`.

    nodes, steps: of the signal it was built for, read off the data
    """

    room: ClassVar[str] = "forecast"
    container: ClassVar[type[GraphSignal]] = GraphSignal
    recipe: ClassVar[Recipe] = Recipe(clip=None)

    def __init__(self, nodes: int, steps: int) -> None:
        super().__init__()
        self.nodes, self.steps = nodes, steps

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part = cls.require(data)
        method = cls(part.values.shape[0], part.steps, **config)
        method.read(part)
        return method

    def read(self, data: GraphSignal) -> None:
        """Take what is not learned (graph, levels) from `data`, the training part."""

    def fill(self, data: GraphSignal) -> Tensor:
        """Every entry (nodes, time), in the data's units, from the seen ones; those too, as far as it is modelled."""
        raise NotImplementedError

    # -- the verb -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def recover(self, data: Any) -> Tensor:
        """The signal (nodes, time) with its seen entries as they are and all others filled in."""
        part = self.check(data)
        training = self.training
        self.eval()
        try:
            return torch.where(part.seen, part.values, self.fill(part).cpu().to(part.values.dtype))
        finally:
            self.train(training)

    def check(self, data: Any) -> GraphSignal:
        """`data` (of a `Split` the test part), once it is known to be of this method's size."""
        part = self.require(getattr(data, "test", data))
        assert isinstance(part, GraphSignal)
        if tuple(part.values.shape) != (self.nodes, self.steps):
            raise DataError(
                f"{part.name} has {part.values.shape[0]} nodes and {part.steps} times, but {type(self).__name__} was "
                f"built for {self.nodes} and {self.steps}"
            )
        return part

    def loss(self, batch: Entries) -> Tensor | dict[str, Tensor]:
        raise NotImplementedError

    # -- metrics ------------------------------------------------------------------------------------------------------

    def evaluate(self, data: Any, seed: int = 0) -> dict[str, float]:
        """RMSE and MAE over the entries that are asked for, in the data's units, and the share of their variance that
        is not explained. Data that ask for nothing are hidden from by their own protocol, drawn with `seed`."""
        part = self.check(data)
        assert part.asked is not None
        if not bool(part.asked.any()):
            part = part.split(seed).test
        asked = part.asked
        assert asked is not None
        truth = part.values[asked].double()
        error = self.recover(part)[asked].double() - truth
        variance = (truth - truth.mean()).square().mean()
        return {
            "RMSE": float(error.square().mean().sqrt()),
            "MAE": float(error.abs().mean()),
            "unexplained variance": float(error.square().mean() / variance) if variance > 0 else 0.0,
        }

    # -- tables and pictures ------------------------------------------------------------------------------------------

    def predict(self, data: Any, seed: int = 0) -> "pd.DataFrame":
        """The whole signal without gaps: a column `time` on the data's clock and one column per node."""
        import pandas as pd

        part = self.check(data)
        table = pd.DataFrame(self.recover(part).T.numpy(), columns=list(part.nodes))
        seconds = part.start + part.interval * torch.arange(part.steps)
        table.insert(0, "time", pd.to_datetime(seconds.numpy(), unit="s"))
        return table

    @classmethod
    def figures(cls, methods: dict[str, Method], data: Any) -> list[Figure]:
        from pathline.forecast.recovery_pictures import draw

        recoverers = {name: method for name, method in methods.items() if isinstance(method, Recoverer)}
        return draw(recoverers, unwrap_split(data)) if recoverers else []


def signal_graph(data: GraphSignal, neighbours: int = NEIGHBOURS) -> Tensor:
    """(nodes, nodes) symmetric weights >= 0 without loops: the data's own, else of the nearest on the map, else of the
    nodes that are seen to change alike."""
    if data.adjacency is not None:
        graph = torch.maximum(data.adjacency, data.adjacency.T).float()
        return graph.masked_fill(torch.eye(len(graph), dtype=torch.bool), 0.0)
    if data.positions is not None:
        return knn_weights(data.positions.double(), neighbours).float()
    return alike(data, neighbours)


def alike(data: GraphSignal, neighbours: int) -> Tensor:
    """Each node joined with the `neighbours` others whose seen values correlate most with its own, if positively."""
    seen = data.seen.double()
    count = seen @ seen.T
    mean = (data.values * data.seen).double().sum(1) / seen.sum(1).clamp(min=1)
    apart = (data.values.double() - mean[:, None]) * seen
    energy = apart.square() @ seen.T
    correlation = (apart @ apart.T) / (energy * energy.T).sqrt().clamp(min=1e-12)
    correlation = torch.where(count > 2, correlation, 0.0).fill_diagonal_(0.0).clamp(min=0.0)
    nearest = correlation.topk(min(neighbours, len(correlation) - 1)).indices
    kept = torch.zeros_like(correlation).scatter_(1, nearest, 1.0)
    return (correlation * torch.maximum(kept, kept.T)).float()

"""What a recoverer has to beat: the nearest neighbour, natural neighbours, smoothness, and low rank.

All are solved, not trained. Where there is a validation part, smoothness and low rank choose their strength by it.
"""

from itertools import product
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.method import Method
from pathline.data.container import Split
from pathline.data.graph_signal import GraphSignal
from pathline.forecast.recovery import Recoverer, signal_graph
from pathline.graph.interpolation import natural_neighbours, nearest_values
from pathline.graph.sobolev import Sobolev, smoothest


class Solved(Recoverer):
    """A baseline that is solved at the moment it is asked.

    choices: settings and the values that `fit` tries for each on the validation part, all combinations
    """

    trains: ClassVar[bool] = False
    choices: ClassVar[dict[str, tuple[float, ...]]] = {}
    chosen: Tensor

    def __init__(self, nodes: int, steps: int, **settings: float) -> None:
        super().__init__(nodes, steps)
        self.register_buffer("chosen", torch.tensor([float(v) for v in settings.values()], dtype=torch.float64))
        self.names = tuple(settings)

    def setting(self, name: str) -> float:
        """What was given or, after `fit` with a validation part, chosen."""
        return float(self.chosen[self.names.index(name)])

    def fit(
        self, data: Any, budget: Budget | None = None, seed: int = 0, validation: Any = None, **options: Any
    ) -> Self:
        """Read the training part and try all combinations of `choices` on the validation part, if there is one."""
        if isinstance(data, Split):
            data, validation = data.train, data.validation if validation is None else validation
        self.read(self.require(data))
        if validation is not None and self.choices:
            tried = list(product(*self.choices.values()))
            scores = []
            for values in tried:
                self._set(dict(zip(self.choices, values, strict=True)))
                scores.append(self.score(validation, seed))
            self._set(dict(zip(self.choices, tried[scores.index(min(scores))], strict=True)))
        return self.eval()

    def _set(self, settings: dict[str, float]) -> None:
        for name, value in settings.items():
            self.chosen[self.names.index(name)] = value


class NearestNeighbour(Solved):
    """The node that is nearest on the map (or along the graph, if there is no map) among those seen at that time; at
    times at which none was seen, the same node at the nearest time."""

    distance: Tensor

    def __init__(self, nodes: int, steps: int) -> None:
        super().__init__(nodes, steps)
        self.register_buffer("distance", torch.zeros(nodes, nodes))

    def read(self, data: GraphSignal) -> None:
        self.distance.copy_(node_distances(data))

    def fill(self, data: GraphSignal) -> Tensor:
        return nearest_values(data.values, data.seen, self.distance.cpu())


class NaturalNeighbours(Solved):
    """Sibson's natural neighbours at each time; without a map, the nearest neighbour along the graph."""

    positions: Tensor
    distance: Tensor

    def __init__(self, nodes: int, steps: int) -> None:
        super().__init__(nodes, steps)
        self.register_buffer("positions", torch.full((nodes, 2), torch.nan))
        self.register_buffer("distance", torch.zeros(nodes, nodes))

    def read(self, data: GraphSignal) -> None:
        self.distance.copy_(node_distances(data))
        if data.positions is not None:
            self.positions.copy_(data.positions)

    def fill(self, data: GraphSignal) -> Tensor:
        if bool(self.positions.isnan().any()):
            return nearest_values(data.values, data.seen, self.distance.cpu())
        return natural_neighbours(data.values, data.seen, self.positions.cpu())


class GraphTRSS(Solved):
    """Sobolev smoothness of the changes (see `graph.sobolev`), solved by conjugate gradients.

    strength, eps: chosen from `choices` where there is a validation part;  beta: power of the Laplacian
    in_time: 1; 0 smooths the values themselves (Tikhonov)
    """

    choices: ClassVar[dict[str, tuple[float, ...]]] = {
        "strength": (1e-3, 1e-2, 0.1, 1.0, 10.0),
        "eps": (0.01, 0.1, 1.0),
    }
    adjacency: Tensor

    def __init__(
        self,
        nodes: int,
        steps: int,
        strength: float = 0.1,
        eps: float = 0.1,
        beta: float = 1.0,
        in_time: float = 1.0,
        neighbours: int = 5,
    ) -> None:
        super().__init__(nodes, steps, strength=strength, eps=eps, beta=beta, in_time=in_time)
        self.neighbours = neighbours
        self.register_buffer("adjacency", torch.zeros(nodes, nodes))

    def read(self, data: GraphSignal) -> None:
        self.adjacency.copy_(signal_graph(data, self.neighbours))

    def fill(self, data: GraphSignal) -> Tensor:
        sobolev = Sobolev(self.adjacency.double(), self.setting("eps"), self.setting("beta"))
        return smoothest(data.values, data.seen, sobolev, self.setting("strength"), self.setting("in_time") > 0)


class LowRank(Solved):
    """X = U V^T of a low rank, by alternating ridge regressions on the seen entries after removing each node's mean.

    rank, ridge: chosen from `choices` where there is a validation part;  sweeps: of the alternation
    """

    choices: ClassVar[dict[str, tuple[float, ...]]] = {"rank": (2.0, 4.0, 8.0), "ridge": (0.01, 0.1, 1.0)}

    def __init__(self, nodes: int, steps: int, rank: float = 4.0, ridge: float = 0.1, sweeps: int = 60) -> None:
        super().__init__(nodes, steps, rank=rank, ridge=ridge)
        self.sweeps = sweeps

    def fill(self, data: GraphSignal) -> Tensor:
        seen = data.seen.double()
        values = data.values.double()
        count = seen.sum(1, keepdim=True)
        whole = (values * seen).sum() / seen.sum()
        mean = torch.where(count > 0, (values * seen).sum(1, keepdim=True) / count.clamp(min=1), whole)
        apart = (values - mean) * seen
        scale = (apart.square().sum() / seen.sum()).sqrt().clamp(min=1e-12)
        rank, ridge = round(self.setting("rank")), self.setting("ridge")
        generator = torch.Generator().manual_seed(0)
        times = torch.randn(self.steps, rank, generator=generator, dtype=torch.float64)
        for _ in range(self.sweeps):
            nodes = ridge_rows(apart / scale, seen, times, ridge)
            times = ridge_rows(apart.T / scale, seen.T, nodes, ridge)
        return mean + scale * nodes @ times.T


def ridge_rows(values: Tensor, seen: Tensor, basis: Tensor, ridge: float) -> Tensor:
    """(rows, rank) weights of `basis` (columns, rank) that fit each row of values (rows, columns) where it is seen."""
    gram = torch.einsum("rc,ca,cb->rab", seen, basis, basis) + ridge * torch.eye(basis.shape[1], dtype=basis.dtype)
    return torch.linalg.solve(gram, (values * seen) @ basis)


def node_distances(data: GraphSignal) -> Tensor:
    """(nodes, nodes) distances on the map; without one, 1 / weight along the graph, inf where there is no edge."""
    distance = torch.cdist(data.positions, data.positions) if data.positions is not None else 1 / signal_graph(data)
    return distance.fill_diagonal_(torch.inf)


BASELINES: tuple[type[Method], ...] = (NearestNeighbour, NaturalNeighbours, GraphTRSS, LowRank)

"""TimeGNN: recover the missing entries of a signal over a graph and time, by a graph encoder and decoder.

The times of a node are its channels. Cascades of Chebyshev filters of growing order narrow them down to a few numbers
per node and widen those to all times again; what is learned is what the times have to do with each other, and how far a
node's neighbours help. A penalty asks that changes in time be smooth on the graph, as far as that pays.

    cascade(X) = sum_{r=1..R} mu_r relu(H_r(X)),      H_r a Chebyshev filter with r coefficients
    X^ = W cascade(cascade(cascade(Y D)))       channels: time - 1 -> h1 -> h2 -> h1 -> time
    loss = mean over seen entries of (X^ - Y)^2  +  penalty / (nodes time) tr((X^ D)^T (L + eps I)^beta X^ D)
Castro-Correa, Giraldo, Mondal, Badiey, Bouwmans, Malliaros, 2023, "Time-varying Signals Recovery via Graph Neural
Networks", arXiv:2302.11313; D and L are those of `graph.sobolev`.

Use it where neighbours do not change alike or times repeat each other; where changes are smooth on the graph, GraphTRSS
is better, and solved in a moment; where few courses in time make up all of it, `low-rank` often is. The network is tied
to the length of the signal, so long ones are cut into windows.
Departs: every step hides a share of the seen entries from the network and asks for all of them, so that copying does
not pay (the released code hides none); values are standardised per node by what was seen; the branches' activation and
the output of values, not of changes, follow the released code of the authors' next paper, arXiv:2403.19800.
"""

import itertools
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data.graph_signal import Entries, GraphSignal
from pathline.forecast.recovery import Recoverer, signal_graph
from pathline.graph.adjacency import scaled_laplacian
from pathline.graph.sobolev import Sobolev, smoothness
from pathline.nn.chebyshev import ChebyshevFilter, chebyshev_terms

LONGEST = 400  # times that a network reads at once unless it is told


class Cascade(nn.Module):
    """sum_r mu_r a(H_r(x)) for x (..., nodes, inputs) -> (..., nodes, outputs); a is ReLU, or nothing.

    order: R, the coefficients of the widest filter;  mixing: (R,) mu, started at 1 / R
    """

    def __init__(self, inputs: int, outputs: int, order: int, activation: Literal["relu"] | None = "relu") -> None:
        super().__init__()
        self.filters = nn.ModuleList(ChebyshevFilter(inputs, outputs, r, bias=True) for r in range(1, order + 1))
        self.mixing = nn.Parameter(torch.full((order,), 1 / order))
        self.activation = activation

    def forward(self, x: Tensor, matrix: Tensor) -> Tensor:
        """matrix: the scaled Laplacian (nodes, nodes). All filters share the polynomials of the widest."""
        terms = [term.movedim(0, -2) for term in chebyshev_terms(matrix, x.movedim(-2, 0), len(self.filters))]
        branches = [filter_.combine(terms[: r + 1]) for r, filter_ in enumerate(self.filters)]  # type: ignore[operator]
        if self.activation is not None:
            branches = [torch.relu(branch) for branch in branches]
        return torch.einsum("r,r...->...", self.mixing, torch.stack(branches))


class TimeGNN(Recoverer):
    """See the module.

    wide, narrow: h1 and h2, channels between the times
    order:        R of the cascades
    penalty, eps, beta: of the smoothness of changes; 0 leaves it out
    hidden:       share of the seen entries that each training step hides
    on:           what the network reads: "differences" of what is seen (0 elsewhere), or "values"
    dropout:      between the cascades
    window:       times it reads at once; None: all of them, up to LONGEST
    neighbours:   of the graph, where the data bring none
    """

    recipe: ClassVar[Recipe] = Recipe(steps=600, batch_size=16, lr=1e-2, clip=None, validations=20)
    mean: Tensor
    deviation: Tensor
    adjacency: Tensor
    scaled: Tensor
    smooth: Tensor

    def __init__(
        self,
        nodes: int,
        steps: int,
        wide: int = 64,
        narrow: int = 32,
        order: int = 4,
        penalty: float = 1e-3,
        eps: float = 0.05,
        beta: float = 1.0,
        hidden: float = 0.2,
        on: Literal["differences", "values"] = "differences",
        dropout: float = 0.0,
        window: int | None = None,
        neighbours: int = 5,
    ) -> None:
        super().__init__(nodes, steps)
        if not 0 <= hidden < 1 or penalty < 0 or on not in ("differences", "values"):
            raise MethodError(f"hidden ({hidden}) lies in [0, 1), penalty ({penalty}) is >= 0, on is not '{on}'")
        self.window = min(steps, LONGEST if window is None else window)
        if self.window < 2:
            raise MethodError(f"a window of {self.window} times has no change; it needs at least 2")
        self.penalty, self.eps, self.beta, self.hidden, self.on = penalty, eps, beta, hidden, on
        self.neighbours = neighbours
        inputs = self.window - (on == "differences")
        sizes = [inputs, wide, narrow, wide]
        self.cascades = nn.ModuleList(Cascade(a, b, order) for a, b in itertools.pairwise(sizes))
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(wide, self.window)
        for name in ("mean", "deviation"):
            self.register_buffer(name, torch.zeros(nodes, 1))
        for name in ("adjacency", "scaled", "smooth"):
            self.register_buffer(name, torch.zeros(nodes, nodes))

    def read(self, data: GraphSignal) -> None:
        """Graph, and per node the mean and deviation of what is seen; a node with fewer than 2 seen entries, or
        constant ones, takes those of all nodes."""
        self.adjacency.copy_(signal_graph(data, self.neighbours))
        self.scaled.copy_(scaled_laplacian(self.adjacency))
        self.smooth.copy_(Sobolev(self.adjacency.double(), self.eps, self.beta).dense())
        seen, values = data.seen.double(), data.values.double()
        count = seen.sum(1, keepdim=True)
        mean = (values * seen).sum(1, keepdim=True) / count.clamp(min=1)
        deviation = (((values - mean) * seen).square().sum(1, keepdim=True) / count.clamp(min=1)).sqrt()
        whole, spread = values[data.seen].mean(), values[data.seen].std(correction=0)
        own = (count > 1) & (deviation > 1e-6 * (1 + mean.abs()))
        self.mean.copy_(torch.where(count > 0, mean, whole))
        self.deviation.copy_(torch.where(own, deviation, torch.where(spread > 0, spread, 1.0)))

    def network(self, values: Tensor, seen: Tensor) -> Tensor:
        """Standardised values of windows (batch, nodes, window) -> all entries of them, standardised."""
        z = torch.where(seen, values, 0.0)
        z = z.diff(dim=-1) if self.on == "differences" else z
        for cascade in self.cascades:
            z = self.dropout(cascade(z, self.scaled))
        filled: Tensor = self.output(z)
        return filled

    # -- windows ------------------------------------------------------------------------------------------------------

    def starts(self) -> Tensor:
        """Where windows begin: side by side, the last one moved back to end with the signal."""
        count = -(-self.steps // self.window)
        return (torch.arange(count) * self.window).clamp(max=self.steps - self.window)

    def cut(self, matrix: Tensor, starts: Tensor) -> Tensor:
        """(nodes, time) -> (batch, nodes, window) for windows from `starts` (batch,) on."""
        return matrix[:, starts[:, None] + torch.arange(self.window)].transpose(0, 1)

    def batches(self, data: Any, size: int, generator: torch.Generator) -> Iterator[Entries]:
        starts = self.starts()
        values = (data.values - self.mean.cpu()) / self.deviation.cpu()
        assert data.asked is not None
        for index in starts[torch.randperm(len(starts), generator=generator)].split(size):
            yield Entries(*(self.cut(matrix, index) for matrix in (values, data.seen, data.asked)))

    def epoch_length(self, data: Any, size: int) -> int:
        return -(-len(self.starts()) // size)

    def loss(self, batch: Entries) -> dict[str, Tensor]:
        """batch: standardised windows, of which a share of the seen entries is hidden and all are asked for."""
        shown = batch.seen & (torch.rand(batch.seen.shape, device=batch.seen.device) >= self.hidden)
        filled = self.network(batch.values, shown)
        error = torch.where(batch.seen, filled - batch.values, 0.0)
        fit = error.square().sum() / batch.seen.sum().clamp(min=1)
        rough = 2 * smoothness(filled, lambda change: self.smooth @ change) / filled.numel()
        return {"loss": fit + self.penalty * rough, "fit": fit.detach(), "roughness": rough.detach()}

    def fill(self, data: GraphSignal) -> Tensor:
        starts = self.starts()
        values, seen = data.values.to(self.device), data.seen.to(self.device)
        standard = (values - self.mean) / self.deviation
        windows = self.network(self.cut(standard, starts), self.cut(seen, starts))
        filled = torch.zeros_like(values)
        for start, part in zip(starts.tolist(), windows, strict=True):
            filled[:, start : start + self.window] = part.to(filled.dtype)
        return filled * self.deviation + self.mean

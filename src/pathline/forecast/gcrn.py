"""GCRN: an LSTM whose matrix products are graph filters, for sequences that live on the nodes of any graph.

A sensor's memory is updated from its own reading and memory and from those of all sensors within a few edges, at every
step; then the memory is unrolled into the future, each forecast being the input of the next. Use it where influence
travels along known edges (roads, rivers, pixels, a mesh); without a graph one is read off the correlations. Try
`stlinear` first, it is far cheaper.

    w * x = sum_{k < K} T_k(L) x Theta_k,            L = 2 (I - D^-1/2 W D^-1/2) / lambda_max - I
    i, f, o = sigmoid(W_x * x + W_h * h + w_c c + b),   g = tanh(W_x * x + W_h * h + b)         (o looks at the new c)
    c <- f c + i g,   h <- o tanh(c)                                          model "convolutional", the paper's second
    (x_t) -> ReLU(w * x_t) -> an ordinary LSTM over all nodes' features              model "stacked", the paper's first
    encoder over the past, its states copied to a decoder, y = w_y h per node; frames of ink: sigmoid(w_y h)
Seo, Defferrard, Vandergheynst, Bresson, 2016, "Structured Sequence Modeling with Graph Convolutional Recurrent
Networks", arXiv:1612.07659. K counts coefficients: one layer sees K - 1 edges far in one step, K = 1 none.
Departs: peepholes w_c are shared by all nodes, so that weights do not depend on the graph; the released code has none.
The forget gate's bias starts at 1. Adam instead of RMSprop. `cell="gru"` is the GRU twin. Forecasts of quantities,
which the paper lacks, see the clock and are trained on the mean absolute error. Pooling is left out. The paper's other
task, text, is `nn.graph_words`.
"""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.core.errors import DataError, MethodError
from pathline.core.method import Recipe
from pathline.data import Series, Windows
from pathline.forecast.base import Forecaster
from pathline.forecast.calendar import clock_waves
from pathline.forecast.decoding import ScheduledSampling, decode, standardised_future
from pathline.forecast.sensor_graph import sensor_graph
from pathline.graph.adjacency import largest_eigenvalue, scaled_laplacian
from pathline.nn.chebyshev import ChebyshevFilter, thin
from pathline.nn.graph_recurrent import ChebyshevGRU, ChebyshevLSTM, SequenceCell, StackedLSTM, State

CLOCK = 4  # sine and cosine of the time of day and of the day of week


class GCRN(Forecaster):
    """See the module.

    width:        of h at each node (of all nodes together in model "stacked")
    coefficients: K of every filter
    layers:       recurrent layers, in the encoder and in the decoder
    model, cell, peephole: as above; "stacked" is for few nodes, and its weights belong to one graph
    dropout:      of what leaves a layer, in training
    output:       "value", or "ink" for frames between 0 and 1, trained on their binary cross-entropy
    clock:        whether time of day and day of week join the input
    lambda_max:   "bound" (2), or "power" for power iteration
    sampling_decay: of scheduled sampling, in steps; None decodes from own outputs from the start
    """

    recipe: ClassVar[Recipe] = Recipe(lr=3e-3, batch_size=32, clip=None)
    laplacian: Tensor

    def __init__(
        self,
        nodes: int,
        channels: int,
        history: int,
        horizon: int,
        steps_per_day: int,
        width: int = 32,
        coefficients: int = 3,
        layers: int = 1,
        model: Literal["convolutional", "stacked"] = "convolutional",
        cell: Literal["lstm", "gru"] = "lstm",
        peephole: bool = True,
        dropout: float = 0.0,
        output: Literal["value", "ink"] = "value",
        clock: bool = True,
        lambda_max: Literal["bound", "power"] = "bound",
        sampling_decay: float | None = None,
    ) -> None:
        super().__init__(nodes, channels, history, horizon, steps_per_day)
        for name, value, known in (
            ("model", model, ("convolutional", "stacked")),
            ("cell", cell, ("lstm", "gru")),
            ("output", output, ("value", "ink")),
            ("lambda_max", lambda_max, ("bound", "power")),
        ):
            if value not in known:
                raise MethodError(f"{name} must be one of {', '.join(known)}, not {value!r}")
        if model == "stacked" and (cell != "lstm" or layers != 1):
            raise MethodError("model 'stacked' has one layer of cell 'lstm': leave the others to 'convolutional'")
        self.ink, self.lambda_max, self.stacked = output == "ink", lambda_max, model == "stacked"
        self.register_buffer("laplacian", torch.zeros(nodes, nodes))
        self.clock = CLOCK if clock else 0

        def cells() -> nn.ModuleList:
            inputs = [channels + self.clock] + [width] * (layers - 1)
            if self.stacked:
                return nn.ModuleList([StackedLSTM(nodes, inputs[0], 4 * channels, width, coefficients)])
            if cell == "gru":
                return nn.ModuleList(ChebyshevGRU(size, width, coefficients) for size in inputs)
            return nn.ModuleList(ChebyshevLSTM(size, width, coefficients, peephole) for size in inputs)

        self.encoder, self.decoder = cells(), cells()
        self.output: ChebyshevFilter | nn.Linear = (
            nn.Linear(width, nodes * channels) if self.stacked else ChebyshevFilter(width, channels, coefficients, True)
        )
        self.dropout = dropout
        self.sampling = None if sampling_decay is None else ScheduledSampling(sampling_decay)

    def read(self, data: Series) -> None:
        super().read(data)
        if self.ink and not 0 <= float(data.values.min()) <= float(data.values.max()) <= 1:
            raise DataError(f"{data.name}: values go beyond 0 .. 1; output='ink' is for frames, use output='value'")
        self.laplacian.copy_(self.scaled(sensor_graph(data)))

    def scaled(self, graph: Tensor) -> Tensor:
        """(..., nodes, nodes) weights, made symmetric -> the rescaled Laplacian of the module."""
        graph = torch.maximum(graph, graph.transpose(-1, -2))
        matrix = scaled_laplacian(graph)
        if self.lambda_max == "bound" or graph.dim() > 2:
            return matrix
        eye = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
        return 2 / largest_eigenvalue(matrix + eye) * (matrix + eye) - eye

    def forward(self, window: Windows) -> Tensor:
        return self.logits(window).sigmoid() if self.ink else super().forward(window)

    def logits(self, window: Windows) -> Tensor:
        """Of frames: (batch, horizon, nodes, channels) before the sigmoid; a gap in the past is a dark pixel."""
        return self.network(torch.where(window.past_observed, window.past, 0.0), window)

    def loss(self, batch: Windows) -> Tensor | dict[str, Tensor]:
        """Mean absolute error, or for frames their binary cross-entropy, summed over steps and pixels of a window."""
        if not self.ink:
            return super().loss(batch)
        each = F.binary_cross_entropy_with_logits(self.logits(batch).float(), batch.future, reduction="none")
        total = torch.where(batch.future_observed, each, 0.0).sum() / len(batch)
        return {"loss": total, "BCE per frame": total.detach() / self.horizon}

    def network(self, past: Tensor, window: Windows) -> Tensor:
        graphs = self.graphs(window)
        last = graphs if isinstance(graphs, Tensor) else graphs[-1]
        x, states = past.permute(2, 1, 0, 3), []  # (nodes, time, batch, channels)
        clock = self.clock_of(window)
        before = x if clock is None else torch.cat([x, clock[:, : self.history].expand(len(x), -1, -1, -1)], -1)
        for layer in self.encoder:
            before, state = layer(before, graphs)
            before = F.dropout(before, self.dropout, self.training)
            states.append(state)

        def step(value: Tensor, states: list[State], index: int) -> tuple[Tensor, list[State]]:
            signal, after = value.sigmoid() if self.ink and index else value, []
            if clock is not None:
                signal = torch.cat([signal, clock[:, self.history + index].expand(len(signal), -1, -1)], -1)
            for layer, state in zip(self.decoder, states, strict=True):
                assert isinstance(layer, SequenceCell)
                after.append(layer.step(signal, state, last))
                signal = F.dropout(after[-1][0], self.dropout, self.training)
            return self.readout(signal, last).to(value.dtype), after

        share = 0.0 if self.sampling is None else self.sampling()
        truth = self.truth(past, window) if share else past.new_empty(0)
        return decode(x[:, -1], states, self.horizon, step, truth, share).permute(2, 1, 0, 3)

    def readout(self, h: Tensor, matrix: Tensor) -> Tensor:
        """h (nodes, batch, width), in model "stacked" (batch, width) -> (nodes, batch, channels)."""
        if isinstance(self.output, ChebyshevFilter):
            return self.output.nodes_first(h, matrix)
        return self.output(h).unflatten(-1, (self.nodes, self.channels)).transpose(0, 1)

    def truth(self, past: Tensor, window: Windows) -> Tensor:
        """The future to decode with, as the decoder counts: (nodes, horizon, batch, channels)."""
        if self.ink:  # logits are fed through a sigmoid
            return torch.where(window.future_observed, window.future, 0.0).logit(1e-4).permute(2, 1, 0, 3)
        return standardised_future(self, past, window).permute(2, 1, 0, 3)

    def clock_of(self, window: Windows) -> Tensor | None:
        """(1, history + horizon, batch, 4) sines and cosines, or None."""
        if not self.clock:
            return None
        return clock_waves(window.time_of_day.T, window.day_of_week.T, self.steps_per_day)[None]

    def graphs(self, window: Windows) -> Tensor | list[Tensor]:
        """The Laplacian, sparse if that is cheaper; one per past step, for each item of the batch, if it changes.

        The future's graph is unknown: the decoder keeps the last one.
        """
        if window.graph is None:
            return thin(self.laplacian)
        loops = torch.eye(self.nodes, dtype=torch.bool, device=window.graph.device)
        return list(self.scaled(window.graph.masked_fill(loops, 0.0)).unbind(1))

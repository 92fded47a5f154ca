"""LTCLoad: link loads through network failures, by liquid networks that are never retrained.

A liquid network reads its link's load sample by sample and keeps its state; its weights are frozen after training. What
adapts after a failure is its state and, through the inputs, its time constants. The rival is incremental learning: a
network that is refitted on every batch of new samples.

    dx/dt = -(1/tau + f(x, I)) x + f(x, I) A,      y_{t+1} = y_t + s (V x + c)
    f = g sigmoid(W x + U I + b) > 0: states lie between 0 and A, time constants are tau / (1 + tau f)
    a sample is `unfolds` steps  x <- (x + dt f A) / (1 + dt (1/tau + f))  of dt = 1 / unfolds
    trained by backpropagation through windows, on the squared error at every sample
Ayoub, Andreoletti, Knapińska, Goścień, Lechowicz, Leidi, Giordano, Rottondi, Walkowiak, 2024, "Liquid Neural
Network-based Adaptive Learning vs. Incremental Learning for Link Load Prediction amid Concept Drift due to Network
Failures", arXiv:2404.05304.

Use it where levels jump and nobody may retrain at once: it errs less than the last value and than whatever
extrapolates. A saturating perceptron that is refitted every few hours does as well after a jump, and both together,
each speaking when it has erred less of late (`streaming.HybridForecaster`), do better than either. Nothing is learned
online here, whatever the name may suggest.
Departs: the network says the change from the last value, as all rivals here do; several steps ahead come from one head.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.forecast.streaming import StreamForecaster
from pathline.nn.liquid import Cell, ClosedFormCell, LiquidCell, SynapticCell, dense_wiring, policy_wiring

CellName = Literal["liquid", "synaptic", "closed-form"]


class LTCLoad(StreamForecaster):
    """See the module.

    width:   H, neurons per sensor
    unfolds: steps of the cell per sample
    cell:    "liquid", the fused form; "synaptic", a conductance per synapse; "closed-form", without a solver
    wiring:  of the synaptic cell: "dense", or "policy" for sparse layers (inter, command and motor neurons;
             the head reads all of them)
    slowest: of the time constants that the liquid cell starts with, in samples
    lags, clock, capacity, reach: see `StreamForecaster`; lags are at most half of the history, whose rest is read
             sample by sample
    """

    recipe: ClassVar[Recipe] = Recipe(steps=1000, lr=2e-2, batch_size=32, clip=1.0)

    def __init__(
        self,
        nodes: int,
        channels: int,
        history: int,
        horizon: int,
        steps_per_day: int,
        width: int = 24,
        unfolds: int = 6,
        cell: CellName = "liquid",
        wiring: Literal["dense", "policy"] = "dense",
        lags: int = 12,
        clock: bool = False,
        capacity: float | None = None,
        reach: float = 1.0,
        slowest: float = 30.0,
    ) -> None:
        lags = min(lags, max(1, history // 2))  # what is left of a window is read sample by sample
        super().__init__(nodes, channels, history, horizon, steps_per_day, lags, clock, capacity, reach)
        self.cell = self._cell(cell, wiring, width, unfolds, slowest)
        self.head = nn.Parameter(torch.empty(nodes, width, horizon * channels).normal_(std=0.1 * width**-0.5))
        self.bias = nn.Parameter(torch.zeros(nodes, 1, horizon * channels))

    def _cell(self, cell: str, wiring: str, width: int, unfolds: int, slowest: float) -> Cell:
        if cell == "liquid":
            return LiquidCell(self.features, width, unfolds, models=self.nodes, slowest=slowest)
        if cell == "closed-form":
            return ClosedFormCell(self.features, width, models=self.nodes)
        if cell != "synaptic" or wiring not in ("dense", "policy"):
            raise MethodError(f"there is no cell '{cell}' with wiring '{wiring}'; see the settings of LTCLoad")
        if wiring == "dense":
            return SynapticCell(dense_wiring(self.features, width), unfolds, models=self.nodes)
        motor = max(1, width // 6)
        command = max(1, 2 * (width - motor) // 5)
        inter = width - motor - command
        fanouts = [max(1, count // 2) for count in (inter, command, command)]
        wires = policy_wiring(self.features, inter, command, motor, fanouts[0], fanouts[1], command, fanouts[2])
        return SynapticCell(wires, unfolds, models=self.nodes)

    def respond(self, features: Tensor) -> Tensor:
        states = self.cell(features)
        return (states.flatten(1, 2) @ self.head + self.bias).unflatten(1, states.shape[1:3])

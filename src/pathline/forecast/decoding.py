"""Decoding step by step: each forecast is the next step's input, and in training now and then the truth is."""

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from pathline.data import Windows
from pathline.forecast.base import Forecaster
from pathline.forecast.scaling import carry_forward

State = TypeVar("State")


class ScheduledSampling(nn.Module):
    """How often a decoder in training is fed the truth instead of its own output: d / (d + exp(step / d)).

    decay: d in training steps; half of the inputs are true at step d log d. Bengio et al., 2015, arXiv:1506.03099.
    """

    step: Tensor

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(self) -> float:
        """The share at this step, counting steps in training mode; 0 in eval mode."""
        if not self.training:
            return 0.0
        self.step += 1
        return 1 / (1 + math.exp(min(50.0, self.step.item() / self.decay)) / self.decay)


def decode(
    start: Tensor,
    state: State,
    horizon: int,
    step: Callable[[Tensor, State, int], tuple[Tensor, State]],
    truth: Tensor,
    share: float,
) -> Tensor:
    """Forecast step by step: each output, or with probability `share` the truth, is the next step's input.

    start: (batch, nodes, channels), the last past value; step(value, state, index) -> next value, new state;
    truth: (batch, horizon, nodes, channels), looked at only if share > 0. Returns the shape of `truth`.
    Any two axes may stand in the place of batch and nodes, as long as time is the second.
    """
    value, values = start, []
    for index in range(horizon):
        value, state = step(value, state, index)
        values.append(value)
        if share and torch.rand(()).item() < share:
            value = truth[:, index].to(value.dtype)
    return torch.stack(values, dim=1)


def standardised_future(method: Forecaster, past: Tensor, window: Windows) -> Tensor:
    """The truth to decode with, its gaps filled from the last past value on."""
    last = method.scaling.inverse(past[:, -1:])
    return method.scaling(carry_forward(window.future, window.future_observed, last))

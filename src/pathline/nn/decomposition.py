"""Trend and remainder: the two parts that linear forecasters look at separately.

    trend_t = (1/k) sum_{|s| <= (k-1)/2} x_{t+s}        remainder = x - trend
with the first and last value repeated beyond the ends. Wu et al., 2021, "Autoformer", arXiv:2106.13008;
Zeng et al., 2022, "Are Transformers Effective for Time Series Forecasting?" (DLinear), arXiv:2205.13504.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class Decomposition(nn.Module):
    """Split series into a moving average over `kernel` steps (odd) and what is left; kernel 1 leaves nothing."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"a moving average is centred on its step: kernel must be odd and positive, got {kernel}")
        self.kernel = kernel

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: (..., time) -> trend and remainder, both (..., time), whose sum is x."""
        reach = self.kernel // 2
        rows = F.pad(x.reshape(-1, 1, x.shape[-1]), (reach, reach), mode="replicate")
        trend = F.avg_pool1d(rows, self.kernel, stride=1).reshape(x.shape)
        return trend, x - trend

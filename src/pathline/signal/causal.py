"""Velocities from positions, as one matrix that never looks ahead: velocity = D @ positions.

    difference      v_t = (p_t - p_{t-1}) / dt
    savitzky-golay  the slope, at its newest point, of the parabola through the last 7 positions (least squares);
                    Savitzky, Golay, 1964, "Smoothing and Differentiation of Data by Simplified Least Squares"
    kalman          the velocity of the constant-velocity Kalman filter after each position

D is lower triangular, so row t sees no position after t; its rows sum to 0, so where the origin is does not matter.
"""

import torch
from torch import Tensor

from pathline.signal.kalman import LinearGaussian, constant_velocity, kalman_filter

FILTERS = ("difference", "savitzky-golay", "kalman")
TRAIL, DEGREE = 7, 2


def velocity_matrix(
    kind: str, steps: int, interval: float, model: LinearGaussian | None = None, speed: float = 10.0
) -> Tensor:
    """D for `steps` positions: (steps - 1, steps) float64, row t the velocity at position t + 1.

    model, speed: for "kalman": the law of motion, and the deviation of velocities before anything is seen
    """
    if kind == "difference":
        return (torch.eye(steps, dtype=torch.float64)[1:] - torch.eye(steps, dtype=torch.float64)[:-1]) / interval
    if kind == "savitzky-golay":
        return torch.stack([_slope(step, steps, interval) for step in range(1, steps)])
    if kind == "kalman":
        one = torch.ones((), dtype=torch.float64)
        return _kalman_rows(model or constant_velocity(interval, 10 * one, 1e-4 * one), steps, speed)
    raise ValueError(f"there is no velocity filter '{kind}'; there are {', '.join(FILTERS)}")


def _slope(step: int, steps: int, interval: float) -> Tensor:
    """The row of position `step`: with few positions behind it, a polynomial of lower degree."""
    count = min(TRAIL, step + 1)
    time = interval * torch.arange(1 - count, 1, dtype=torch.float64)
    powers = time[:, None] ** torch.arange(min(DEGREE, count - 1) + 1)
    row = torch.zeros(steps, dtype=torch.float64)
    row[step + 1 - count : step + 1] = torch.linalg.pinv(powers)[1]
    return row


def _kalman_rows(model: LinearGaussian, steps: int, speed: float) -> Tensor:
    """The filter is linear: its answers to unit impulses, (positions, steps, 1), are the columns."""
    impulses = torch.eye(steps, dtype=torch.float64)[..., None]
    mean = torch.zeros(steps, 2, dtype=torch.float64)
    mean[0, 0] = 1.0  # the prior stands at the first position
    covariance = torch.diag(torch.tensor([float(model.noise.squeeze()), speed**2], dtype=torch.float64))
    return torch.stack(
        [kalman_filter(model, impulses[:, : step + 1], mean, covariance).mean[:, 1] for step in range(1, steps)]
    )

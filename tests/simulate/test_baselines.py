"""Baselines against their closed forms."""

import numpy as np
import pytest
import torch

from pathline.core.errors import DataError
from pathline.data import Rollouts
from pathline.simulate.baselines import ConstantVelocity, LinearDynamics
from pathline.simulate.persistence import Persistence


def noisy(matrix: torch.Tensor, noise: float = 0.3, frames: int = 4, span: int = 2) -> Rollouts:
    """Frames that differ by `matrix` times the velocity, and noise."""
    generator = torch.Generator().manual_seed(0)
    velocities = torch.randn(40, frames, 3, 3, generator=generator)
    positions = torch.randn(40, frames, 3, 3, generator=generator) * noise
    positions[:, span:] += positions[:, :-span] + velocities[:, :-span] @ matrix.T
    return Rollouts(
        positions=positions,
        velocities=velocities,
        edge_index=torch.tensor([[0], [1]]),
        interval=0.25,
        start=0,
        span=span,
    )


def test_constant_velocity_flies_straight_for_ever() -> None:
    data = noisy(torch.eye(3))
    state = data.gather(torch.arange(5))
    end = ConstantVelocity.for_data(data).fit(data).rollout(state, 4)[:, -1]
    assert torch.allclose(end, state.position + 4 * 0.5 * state.velocity, atol=1e-5)


def test_persistence_stays_where_it_is() -> None:
    data = noisy(torch.eye(3))
    method = Persistence.for_data(data).fit(data)
    state = data.gather(torch.arange(5))
    assert torch.equal(method.rollout(state, 3), state.position[:, None].expand(-1, 4, -1, -1))
    moved = (data.positions[:, 2] - data.positions[:, 0]).square().mean()
    assert method.score(data) == pytest.approx(float(moved), rel=1e-5)


def test_the_fitted_number_is_the_regression_slope() -> None:
    data = noisy(0.7 * torch.eye(3))
    method = LinearDynamics.for_data(data).fit(data)
    v = data.velocities[:, 0].flatten().numpy()
    moved = (data.positions[:, 2] - data.positions[:, 0]).flatten().numpy()
    slope = np.linalg.lstsq(v[:, None].astype(float), moved, rcond=None)[0][0]
    assert torch.allclose(method.gain, float(slope) * torch.eye(3), atol=1e-5)
    assert slope == pytest.approx(0.7, abs=0.05)


def test_the_fitted_matrix_is_the_regression_of_all_axes_on_all_axes() -> None:
    truth = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.5]])
    data = noisy(truth)
    method = LinearDynamics.for_data(data, matrix=True).fit(data)
    v = data.velocities[:, 0].reshape(-1, 3).numpy().astype(float)
    moved = (data.positions[:, 2] - data.positions[:, 0]).reshape(-1, 3).numpy()
    expected = torch.tensor(np.linalg.lstsq(v, moved, rcond=None)[0].T).float()
    assert torch.allclose(method.gain, expected, atol=1e-5)
    exact = noisy(truth, noise=0.0)
    assert method.for_data(exact, matrix=True).fit(exact).evaluate(exact)["mse"] < 1e-10


def test_the_best_line_is_never_worse_than_constant_velocity_on_its_own_data() -> None:
    data = noisy(0.1 * torch.eye(3))
    best, straight = LinearDynamics.for_data(data).fit(data), ConstantVelocity.for_data(data)
    assert best.score(data) < straight.score(data)
    assert LinearDynamics.for_data(data).score(data) == pytest.approx(straight.score(data))  # before it has learned


@pytest.mark.parametrize("matrix", [False, True])
def test_bodies_at_rest_stay_where_they_are(matrix: bool) -> None:
    still = Rollouts(
        positions=torch.randn(10, 2, 3, 3), velocities=torch.zeros(10, 2, 3, 3), edge_index=torch.tensor([[0], [1]])
    )
    method = LinearDynamics.for_data(still, matrix=matrix).fit(still)
    state = still.gather(torch.arange(3))
    assert torch.equal(method.rollout(state, 1)[:, 1], state.position)


def test_another_space_is_refused() -> None:
    data = noisy(torch.eye(3))
    flat = Rollouts(positions=torch.randn(4, 2, 3, 2), velocities=torch.randn(4, 2, 3, 2), edge_index=data.edge_index)
    with pytest.raises(DataError, match="learned in 3 dimensions, the state has 2"):
        LinearDynamics.for_data(data).evaluate(flat)

"""The room: metrics against hand-made cases, no look into the future, baselines that are exact where they should be."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from pathline.core import catalog
from pathline.core.tiny import tiny_tracks
from pathline.data import DataError, Encounters, Tracks
from pathline.track import metrics
from pathline.track.base import Tracker
from pathline.track.baselines import (
    ConstantAcceleration,
    ConstantVelocity,
    KalmanAcceleration,
    KalmanVelocity,
    LinearMotion,
)
from pathline.track.point import heading

BASELINES = (ConstantVelocity, ConstantAcceleration, KalmanVelocity, KalmanAcceleration, LinearMotion)


def polynomials(degree: int, dims: int = 3, agents: int = 60, noise: float = 0.0) -> Tracks:
    """Flights whose coordinates are random polynomials of time, 24 steps of 0.1 s; one scene each."""
    generator = torch.Generator().manual_seed(degree)
    time = 0.1 * torch.arange(24, dtype=torch.float64)
    power = time[:, None] ** torch.arange(degree + 1)
    positions = torch.einsum(
        "tk,akd->atd", power, torch.randn(agents, degree + 1, dims, generator=generator, dtype=torch.float64)
    )
    positions = positions + noise * torch.randn(positions.shape, generator=generator, dtype=torch.float64)
    return Tracks(
        positions=positions.float(),
        observed=torch.ones(agents, 24, dtype=torch.bool),
        interval=0.1,
        scene=torch.arange(agents),
        scenes=tuple(map(str, range(agents))),
        history=6,
        horizon=5,
        neighbours=0,
        name="polynomials",
    )


def errors(method: Tracker, data: Tracks) -> Tensor:
    window = data.gather(torch.arange(0, len(data), 7))
    return (method.forecast(window, 1).best[:, 0] - window.future[:, 0]).norm(dim=-1)


@pytest.mark.parametrize(
    ("cls", "degree"),
    [(ConstantVelocity, 1), (ConstantAcceleration, 2), (KalmanVelocity, 1), (KalmanAcceleration, 2), (LinearMotion, 2)],
)
def test_a_baseline_is_exact_on_the_motion_it_assumes_and_not_beyond(cls: type[Tracker], degree: int) -> None:
    exact, beyond = (polynomials(d).split() for d in (degree, degree + 1))
    small = 2e-3 if cls in (ConstantVelocity, ConstantAcceleration) else 0.03
    assert errors(cls.for_data(exact.train).fit(exact), exact.test).max() < small
    if cls is not LinearMotion:  # which knows every polynomial that its window determines
        assert errors(cls.for_data(beyond.train).fit(beyond), beyond.test).mean() > 10 * small / 3


def test_the_filter_beats_differences_in_noise() -> None:
    split = polynomials(1, noise=0.05).split()
    filtered, rough = (cls.for_data(split.train).fit(split) for cls in (KalmanVelocity, ConstantVelocity))
    assert filtered.evaluate(split.test)["ADE"] < 0.5 * rough.evaluate(split.test)["ADE"]


@pytest.mark.parametrize("cls", BASELINES)
def test_nothing_is_seen_of_the_future(cls: type[Tracker]) -> None:
    split = tiny_tracks().split()
    method = cls.for_data(split.train).fit(split)
    window = split.test.gather(torch.arange(5))
    other = replace(window, future=window.future + 7, future_observed=~window.future_observed)
    assert torch.equal(method.forecast(window, 4).positions, method.forecast(other, 4).positions)


@pytest.mark.parametrize("cls", BASELINES)
def test_moving_the_world_moves_the_forecast(cls: type[Tracker]) -> None:
    split = tiny_tracks().split()
    method = cls.for_data(split.train).fit(split)
    window, shift = split.test.gather(torch.arange(5)), torch.tensor([60.0, -40.0])
    moved = replace(window, past=window.past + shift)
    gap = method.forecast(moved, 3).positions - method.forecast(window, 3).positions - shift
    assert gap.abs().max() < 1e-3


@pytest.mark.parametrize("cls", BASELINES)
def test_densities_are_those_of_the_samples(cls: type[Tracker]) -> None:
    """Per step, the mean log-density of draws is minus the entropy of a Gaussian with the draws' covariance."""
    split = tiny_tracks().split()
    method = cls.for_data(split.train).fit(split)
    window = split.test.gather(torch.arange(2))
    found = method.forecast(window, 4000)
    assert found.log_density is not None
    for step in (0, 5):
        draws = found.positions[0, 1:, 0, step].double()
        entropy = 0.5 * torch.logdet(2 * torch.pi * torch.e * torch.cov(draws.T))
        assert -found.log_density[0, 1:, step].mean().item() == pytest.approx(entropy.item(), abs=0.08)
    at_truth = method.log_density(replace(window, future=found.positions[:, 7]), torch.Generator())
    assert at_truth is not None and torch.allclose(at_truth, found.log_density[:, 7], atol=2e-3)


def test_displacement_counts_observed_steps_only() -> None:
    truth = torch.zeros(1, 1, 3, 2)
    futures = torch.tensor([[[3.0, 4.0], [0.0, 1.0], [9.0, 9.0]], [[0.0, 2.0], [0.0, 4.0], [9.0, 9.0]]])[None, :, None]
    average, final = metrics.displacement(futures, truth, torch.tensor([[[True, True, False]]]))
    assert average[0, :, 0].tolist() == [3, 3] and final[0, :, 0].tolist() == [1, 4]
    nothing, _ = metrics.displacement(futures, truth, torch.zeros(1, 1, 3, dtype=torch.bool))
    assert nothing.isnan().all()


def test_two_who_change_places_collide_between_the_steps() -> None:
    one = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    other = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    seen = torch.ones(1, 2, dtype=torch.bool)
    assert metrics.collisions(one, other, seen, 0.2)
    assert not metrics.collisions(one, other + torch.tensor([0.0, 0.3]), seen, 0.2)
    assert not metrics.collisions(one, other, ~seen, 0.2)


def test_diversity_is_the_mean_distance_of_pairs() -> None:
    futures = torch.tensor([0.0, 1.0, 3.0]).view(1, 3, 1, 1).expand(1, 3, 4, 1)
    assert metrics.diversity(futures).item() == pytest.approx((1 + 3 + 2) / 3)


def test_calibration_error_is_small_for_the_right_density_and_large_for_one_too_sure() -> None:
    generator = torch.Generator().manual_seed(0)

    def levels(spread: float) -> Tensor:
        truth = torch.randn(3000, 1, generator=generator)
        samples = spread * torch.randn(3000, 200, 1, generator=generator)
        return metrics.coverage_levels(-((truth / spread) ** 2), -((samples / spread) ** 2))

    assert metrics.calibration_error(levels(1.0)) < 0.02
    assert metrics.calibration_error(levels(0.5)) > 0.15


def test_best_of_k_gets_better_with_k_and_the_likeliest_does_not_change() -> None:
    split = tiny_tracks().split()
    method = ConstantVelocity.for_data(split.train).fit(split)
    one, many = method.evaluate(split.test, k=1), method.evaluate(split.test, k=20)
    assert one["minADE_1"] == one["ADE"] == many["ADE"] > many["minADE_20"]


def test_the_heading_is_where_the_target_moves() -> None:
    window = tiny_tracks().gather(torch.arange(8))
    moved = window.past[:, 0, -1] - window.past[:, 0, -2]
    cosine = (heading(window) * moved / moved.norm(dim=1, keepdim=True)).sum(1)
    assert cosine.min() > 0.98
    still = replace(window, past=torch.zeros_like(window.past))
    assert heading(still).tolist() == [[1.0, 0.0]] * 8


def test_predict_goes_on_from_where_each_agent_was_last() -> None:
    data = tiny_tracks()
    method = ConstantVelocity.for_data(data).fit(data)
    table = method.predict(replace(data, start=1_600_000_000.0, origin=((1000.0, -5.0),) * 12))
    assert list(table.columns) == ["scene", "agent", "future", "probability", "time", "x", "y"]
    assert len(table) == 48 * 6
    last = data.positions[1, 15] + (data.positions[1, 15] - data.positions[1, 14])
    row = table[table.agent == "1"].iloc[0]
    assert np.allclose([row.x, row.y], (last + torch.tensor([1000.0, -5.0])).numpy(), atol=1e-3)
    assert (row.time - np.datetime64("2020-09-13T12:26:40")).total_seconds() == pytest.approx((1 + 16) * 0.4)
    assert set(method.predict(data, k=3).future) == {0, 1, 2}


@pytest.mark.parametrize("key", [entry.key for entry in catalog.baselines("track")])
def test_figures_are_drawn_for_every_baseline(key: str) -> None:
    split = tiny_tracks().split()
    cls = catalog.method(key)
    method = cls.for_data(split.train).fit(split)
    titles = [figure.title for figure in cls.figures({key: method}, split)]
    assert titles == ["Where the target goes", "Error by lead time", "Calibration"]


def test_bad_windows_are_named() -> None:
    data = tiny_tracks()
    method = ConstantVelocity.for_data(data).fit(data)
    window = data.gather(torch.arange(3))
    hidden = window.past_observed.clone()
    hidden[1, 0, 2] = False
    with pytest.raises(DataError, match="target of window 1 was not seen at past step 2"):
        method.forecast(replace(window, past_observed=hidden))
    with pytest.raises(DataError, match=r"built for 0.4 s"):
        method.forecast(replace(window, interval=0.1))
    with pytest.raises(DataError, match=r"expected \(batch, agents, history, dims\)"):
        method.forecast(replace(window, past=window.past[:, :, 1:]))
    broken = window.past.clone()
    broken[0, 0, 0, 0] = torch.nan
    with pytest.raises(DataError, match="not finite"):
        method.forecast(replace(window, past=broken))
    with pytest.raises(DataError, match="at least one"):
        method.forecast(window, 0)
    assert isinstance(window, Encounters)

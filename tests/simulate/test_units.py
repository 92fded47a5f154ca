"""Units are what is typical of the data, scale with them, and make learning independent of the user's units."""

from dataclasses import replace

import pytest
import torch

from pathline.core.budget import Budget
from pathline.core.method import Method
from pathline.data import Rollouts
from pathline.simulate.egnn import EGNN
from pathline.simulate.segno import SEGNO
from pathline.simulate.units import Units


def wells(frames: int = 3, at_rest: bool = False) -> Rollouts:
    """Four bodies in a harmonic well, exact."""
    start, speed = torch.randn(2, 60, 1, 4, 3, generator=torch.Generator().manual_seed(0))
    speed = 0 * speed if at_rest else speed
    time = torch.arange(frames).view(1, frames, 1, 1) * 0.5
    return Rollouts(
        positions=start * time.cos() + speed * time.sin(),
        velocities=speed * time.cos() - start * time.sin(),
        edge_index=torch.nonzero(~torch.eye(4, dtype=torch.bool)).T,
        interval=0.5,
        start=0,
    )


def rescaled(data: Rollouts, length: float, time: float) -> Rollouts:
    """The same motion, told in other units."""
    return replace(
        data,
        positions=data.positions * length,
        velocities=data.velocities * (length / time),
        interval=data.interval * time,
    )


def test_units_are_root_mean_squares_and_the_distance_of_close_pairs() -> None:
    data = wells()
    units = Units().measure(data)
    x, v, y = data.positions[:, 0], data.velocities[:, 0], data.positions[:, 1]
    assert float(units.speed) == pytest.approx(float(v.square().mean().sqrt()), rel=1e-5)
    assert float(units.motion) == pytest.approx(float((y - x).square().mean().sqrt()), rel=1e-5)
    assert float(units.bend) == pytest.approx(float((y - x - 0.5 * v).square().mean().sqrt()), rel=1e-5)
    assert float(units.duration) == 0.5
    distance = (x[:, :, None] - x[:, None]).norm(dim=-1)[:, ~torch.eye(4, dtype=torch.bool)]
    assert float((distance < units.length).float().mean()) == pytest.approx(0.05, abs=0.005)


def test_units_grow_with_the_data() -> None:
    one, other = Units().measure(wells()), Units().measure(rescaled(wells(), length=100.0, time=10.0))
    ratio = {name: float(getattr(other, name) / getattr(one, name)) for name, _ in one.named_buffers()}
    assert ratio == pytest.approx({"length": 100, "speed": 10, "motion": 100, "bend": 100, "duration": 10}, rel=1e-4)


def test_what_would_be_zero_is_one() -> None:
    still = replace(wells(at_rest=True), positions=torch.zeros(60, 3, 4, 3))
    still = replace(still, velocities=torch.zeros_like(still.positions))
    assert [float(unit) for _, unit in Units().measure(still).named_buffers()] == [1.0, 1.0, 1.0, 1.0, 0.5]


@pytest.mark.parametrize("cls", [EGNN, SEGNO])
@pytest.mark.parametrize(("length", "time"), [(1000.0, 1.0), (1e-3, 20.0)])
def test_learning_does_not_depend_on_the_users_units(cls: type[Method], length: float, time: float) -> None:
    """The same seed on the same motion in other units: the same errors, up to the units and rounding."""
    errors = []
    for data, unit in ((wells(), 1.0), (rescaled(wells(), length, time), length)):
        method = cls.seeded(data, 0, width=8).fit(data, Budget(steps=5), seed=0, lr=5e-3)
        errors.append(method.evaluate(data)["mse"] / unit**2)
    assert errors[1] == pytest.approx(errors[0], rel=1e-3)
    assert errors[0] < 1.1 * float(Units().measure(wells()).motion) ** 2


@pytest.mark.parametrize("cls", [EGNN, SEGNO])
def test_tiny_displacements_from_rest_are_learned_as_well_as_large_ones(cls: type[Method]) -> None:
    """Like atoms let go: displacements a thousandth of the distances. Without a unit of motion the first steps of
    training would be a hundred times larger than what is to be learned."""
    data = wells(frames=2, at_rest=True)
    tiny = data.positions[:, :1] + torch.tensor([0.0, 1e-3]).view(1, 2, 1, 1) * (
        data.positions - data.positions[:, :1].mean(2, keepdim=True)
    )
    data = replace(data, positions=tiny, velocities=torch.zeros_like(tiny))
    method = cls.seeded(data, 0, width=16).fit(data, Budget(steps=60), seed=0, lr=5e-3)
    motion = float((data.positions[:, 1] - data.positions[:, 0]).square().mean())
    assert method.evaluate(data)["mse"] < 0.3 * motion


def test_units_are_saved_with_the_weights() -> None:
    names = EGNN().state_dict()
    assert {"units.length", "units.speed", "units.motion", "units.bend", "units.duration"} <= set(names)

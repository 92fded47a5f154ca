"""The room's verb, metrics, tables and checks, against methods whose answers are known."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pathline.core.errors import DataError
from pathline.data import Rollouts, Step
from pathline.simulate import base
from pathline.simulate.base import Simulator
from pathline.simulate.baselines import ConstantVelocity
from pathline.simulate.egnn import EGNN


class Turn(Simulator):
    """Turns every state by a right angle in the plane and doubles it: order and feeding matter; no velocity."""

    def step(self, state: Step) -> tuple[Tensor, None]:
        x, y = state.position.unbind(-1)
        return 2 * torch.stack([-y, x], -1) + 0.1 * state.velocity, None


def rollouts(frames: int = 7, nodes: int = 3, dims: int = 2, start: int | None = None, span: int = 1) -> Rollouts:
    generator = torch.Generator().manual_seed(frames)
    positions, velocities = torch.randn(2, 5, frames, nodes, dims, generator=generator)
    edge_index = torch.nonzero(~torch.eye(nodes, dtype=torch.bool)).T
    return Rollouts(
        positions=positions,
        velocities=velocities,
        edge_index=edge_index,
        features=torch.ones(5, nodes, 1),
        interval=0.5,
        start=start,
        span=span,
        name="random-walks",
    )


def first_state(data: Rollouts) -> Step:
    return data.gather(torch.arange(len(data)))


def test_two_steps_are_one_step_after_another() -> None:
    method, state = Turn(), first_state(rollouts(start=1))
    both = method.rollout(state, 2)
    once = method.rollout(state, 1)
    moved = replace(state, position=once[:, 1], velocity=(once[:, 1] - state.position) / state.duration)
    again = method.rollout(moved, 1)
    assert both.shape == (5, 3, 3, 2)
    assert torch.equal(both[:, 0], state.position)
    assert torch.equal(both[:, 1], once[:, 1])
    assert torch.equal(both[:, 2], again[:, 1])


def test_a_method_with_a_velocity_is_fed_its_own() -> None:
    class Brake(Simulator):
        def step(self, state: Step) -> tuple[Tensor, Tensor]:
            return state.position + state.velocity, 0.5 * state.velocity

    state = first_state(rollouts(start=0))
    end = Brake().rollout(state, 3)[:, -1]
    assert torch.allclose(end, state.position + 1.75 * state.velocity, atol=1e-6)


@pytest.mark.parametrize(("start", "span"), [(None, 1), (None, 2), (2, 1), (1, 3), (0, 6)])
def test_metrics_equal_loops_over_rollouts_frames_bodies_and_axes(
    start: int | None, span: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "EDGES_AT_ONCE", 13)  # batches of two rollouts: the loops must not care
    data, method = rollouts(start=start, span=span), Turn()
    starts = range(7 - span) if start is None else [start]
    final: list[float] = []
    for r in range(5):
        for f in starts:
            state = Step(
                data.positions[r : r + 1, f], data.velocities[r : r + 1, f], None, data.edge_index, None,
                data.positions[r : r + 1, f + span], 0.5 * span,
            )  # fmt: skip
            difference = method.step(state)[0][0] - data.positions[r, f + span]
            final += [float(d) ** 2 for d in difference.flatten()]
    begin, along = start or 0, []
    for r in range(5):
        x, v = data.positions[r, begin][None], data.velocities[r, begin][None]
        for f in range(begin + span, 7, span):
            new = method.step(Step(x, v, None, data.edge_index, None, x, 0.5 * span))[0]
            x, v = new, (new - x) / (0.5 * span)
            along += [float(d) ** 2 for d in (new[0] - data.positions[r, f]).flatten()]
    metrics = method.evaluate(data)
    assert list(metrics) == ["mse", "rollout_mse"]
    assert metrics["mse"] == pytest.approx(sum(final) / len(final), rel=1e-5)
    assert metrics["rollout_mse"] == pytest.approx(sum(along) / len(along), rel=1e-5)
    assert method.score(data) == metrics["mse"]


def test_a_diverged_rollout_counts_as_infinite() -> None:
    class Explode(Simulator):
        def step(self, state: Step) -> tuple[Tensor, None]:
            return state.position * 1e30, None

    assert Explode().evaluate(rollouts(start=0))["rollout_mse"] == float("inf")


def test_the_table_has_a_row_per_rollout_step_and_node() -> None:
    data = replace(rollouts(start=1, span=2), nodes=("sun", "earth", "moon"))
    table = Turn().predict(data)
    assert list(table.columns) == ["rollout", "step", "node", "x", "y"]
    assert len(table) == 5 * 3 * 3  # frames 1, 3 and 5 of the seven
    expected = Turn().rollout(first_state(data), 3)
    row = table[(table.rollout == 3) & (table.step == 2) & (table.node == "moon")].iloc[0]
    assert [row.x, row.y] == pytest.approx(expected[3, 2, 2].tolist(), rel=1e-5)
    start = table[(table.rollout == 4) & (table.step == 0) & (table.node == "sun")].iloc[0]
    assert [start.x, start.y] == pytest.approx(data.positions[4, 1, 0].tolist())


def test_spaces_of_many_dimensions_get_numbered_columns() -> None:
    assert list(ConstantVelocity().predict(rollouts(dims=5)).columns)[3:] == ["x0", "x1", "x2", "x3", "x4"]


def spoiled(state: Step, name: str, value: object) -> Step:
    return replace(state, **{name: value})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("position", torch.zeros(5, 3), "position has shape"),
        ("position", torch.zeros(0, 3, 2), "position has shape"),
        ("velocity", torch.zeros(5, 3, 1), "velocity has shape"),
        ("position", torch.full((5, 3, 2), torch.nan), "position holds values that are not finite"),
        ("velocity", torch.full((5, 3, 2), torch.inf), "velocity holds values that are not finite"),
        ("features", torch.full((5, 3, 1), torch.nan), "features holds values that are not finite"),
        ("features", torch.ones(5, 2, 1), "features has shape"),
        ("edge_features", torch.ones(5, 1, 1), "edge_features has shape"),
        ("edge_index", torch.tensor([[0], [3]]), "names node 3"),
    ],
)
def test_a_bad_state_is_named(name: str, value: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        ConstantVelocity().rollout(spoiled(first_state(rollouts(start=0)), name, value), 1)


def test_no_steps_and_no_state_are_refused() -> None:
    with pytest.raises(DataError, match="at least 1"):
        ConstantVelocity().rollout(first_state(rollouts(start=0)), 0)
    with pytest.raises(DataError, match="from a Step, not from Tensor"):
        ConstantVelocity().rollout(torch.zeros(3, 2), 1)  # type: ignore[arg-type]


def test_a_learned_method_refuses_other_features_and_other_durations() -> None:
    data = rollouts(start=0)
    method, state = EGNN.for_data(data, width=4, layers=1), first_state(data)
    with pytest.raises(DataError, match="learned from 1 node features; the state has 2"):
        method.rollout(replace(state, features=torch.ones(5, 3, 2)), 1)
    with pytest.raises(DataError, match="learned from 1 node features; the state has 0"):
        method.rollout(replace(state, features=None), 1)
    with pytest.raises(DataError, match=r"learned steps of 0\.5 time units and has no answer for 1"):
        method.rollout(replace(state, duration=1.0), 1)


def test_features_that_a_method_was_told_to_ignore_change_nothing() -> None:
    data = rollouts(start=0)
    method, state = EGNN.for_data(data, width=4, layers=1, node_features=0), first_state(data)
    assert torch.equal(method.rollout(state, 1), method.rollout(replace(state, features=None), 1))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_pictures_show_every_method(dims: int) -> None:
    data = rollouts(dims=dims, start=0, span=2)
    methods = {"one": ConstantVelocity(), "two": ConstantVelocity(), "other": object()}
    paths, errors = Simulator.figures(methods, data)  # type: ignore[arg-type]
    panels = paths.picture.get_axes()
    assert [panel.get_title() for panel in panels] == ["one", "two"]
    drawn = [line.get_xdata() for line in panels[0].lines]
    assert [len(line) for line in drawn[:6]] == [7, 7, 7, 4, 4, 4]  # the truth has every frame, a rollout its steps
    assert [line.get_label() for line in errors.picture.get_axes()[0].lines] == ["one", "two"]

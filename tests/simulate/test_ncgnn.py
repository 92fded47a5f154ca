"""NCGNN: exact quadratures of oracles, one velocity at K = 0, symmetries, and every term of its loss."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.errors import DataError, MethodError
from pathline.core.tiny import tiny_rollouts
from pathline.data import Rollouts, Step
from pathline.graph import complete_graph
from pathline.ode.newton_cotes import newton_cotes_remainder, newton_cotes_weights
from pathline.simulate.ncgnn import NCGNN
from pathline.simulate.rivals import TiedCalls

NODES = 5


def state(dims: int = 3, duration: float = 1.0, nodes: int = NODES, parts: int = 2) -> Step:
    edge_index = complete_graph(nodes)
    position, velocity = torch.randn(2, 3, nodes, dims, dtype=torch.float64)
    charge = torch.randn(3, nodes, 1, dtype=torch.float64)
    product = charge[:, edge_index[0]] * charge[:, edge_index[1]]
    target, along = position + duration * velocity, torch.randn(3, parts, nodes, dims, dtype=torch.float64)
    return Step(position, velocity, charge, edge_index, product, target, duration, along)


def awake(method: NCGNN, duration: float = 1.0) -> NCGNN:
    """Units of some data, none of them 1, and layers that act: their last weights start near zero."""
    units = (("length", 0.7), ("speed", 1.6), ("motion", 0.4), ("bend", 0.3), ("duration", duration))
    for name, value in units:
        getattr(method.units, name).fill_(value)
    for name, weight in method.named_parameters():
        if name.endswith("phi_x.2.weight") or ("strengths" in name and weight.ndim == 2):
            weight.data.normal_(0, 0.3)
    return method.double()


class Oracle(NCGNN):
    """Knows the velocity v(t) = t^degree in every component, and the time of each call."""

    degree = 0

    def call(self, position: Tensor, velocity: Tensor, state: Step) -> tuple[Tensor, Tensor]:
        time = state.duration * self.calls / max(1, self.intervals)
        self.calls += 1
        return position + 1.0, torch.full_like(velocity, time**self.degree)

    def after(self, start: Step, degree: int) -> Tensor:
        self.degree, self.calls = degree, 0
        return self.step(start)[0]


@pytest.mark.parametrize("k", range(8))
def test_true_velocities_are_integrated_exactly_up_to_the_rules_degree_and_miss_by_the_textbooks_error(k: int) -> None:
    duration = 1.3
    method, start = awake(Oracle(1, 1, intervals=k), duration), state(duration=duration)
    degree = 0 if k == 0 else k if k % 2 else k + 1
    for power in range(degree + 1):
        exact = start.position + duration ** (power + 1) / (power + 1)
        assert (method.after(start, power) - exact).abs().max() < 1e-10
    missed = start.position + duration ** (degree + 2) / (degree + 2) - method.after(start, degree + 1)
    rest, h = newton_cotes_remainder(k), duration / max(1, k)
    expected = float(rest.coefficient) * h**rest.power * math.factorial(rest.derivative)
    assert (missed - expected).abs().max() < 1e-10 and abs(expected) > 1e-6


def test_simpsons_error_is_the_fourth_derivative_over_ninety() -> None:
    method, start = awake(Oracle(1, 1, intervals=2)), state()
    missed = start.position + 1 / 5 - method.after(start, 4)
    assert torch.allclose(missed, torch.full_like(missed, -(0.5**5) * 24 / 90), atol=1e-12)


def test_the_official_anchor_is_where_the_first_call_ends() -> None:
    method, start = awake(Oracle(1, 1, intervals=2, anchor="first")), state()
    assert torch.allclose(method.after(start, 0), start.position + 1.0 + 1.0)


@pytest.mark.parametrize("backbone", ["egnn", "radial-field", "gnn"])
def test_without_intervals_it_is_the_backbones_one_velocity_bit_for_bit(backbone: str) -> None:
    torch.manual_seed(0)
    method, start = awake(NCGNN(1, 1, width=8, intervals=0, backbone=backbone), 0.7), state(duration=0.7)  # type: ignore[arg-type]
    velocity = method.call(start.position, start.velocity, start)[1]
    assert torch.equal(method.step(start)[0], start.position + 0.7 * velocity)


@pytest.mark.parametrize("anchor", ["start", "first"])
@pytest.mark.parametrize("k", [0, 2, 5])
def test_constant_velocity_flies_straight(anchor: str, k: int) -> None:
    """phi_x == 0 and phi_v == 1: every call moves on by its share of T v, so the first one's end is one share away."""
    method = awake(NCGNN(1, 1, width=8, layers=2, intervals=k, anchor=anchor), 1.4)  # type: ignore[arg-type]
    for layer in method.backbone.network.layers:  # type: ignore[attr-defined]
        torch.nn.init.zeros_(layer.phi_x[-1].weight)
        torch.nn.init.zeros_(layer.phi_v[-1].weight)
    start = state(duration=1.4)
    steps = 1.0 if anchor == "start" else 1.0 + 1 / (k + 1)
    assert torch.allclose(method.nodes(start)[0][-1], start.position + 1.4 * start.velocity)
    found = method.step(start)
    assert (found[0] - start.position - steps * 1.4 * start.velocity).abs().max() < 1e-12
    assert found[1] is not None and torch.allclose(found[1], start.velocity)


def orthogonal(dims: int, determinant: float) -> Tensor:
    q = torch.linalg.qr(torch.randn(dims, dims, dtype=torch.float64))[0]
    q[:, 0] *= determinant * torch.linalg.det(q).sign()
    return q


def moved_difference(method: NCGNN, start: Step, determinant: float) -> float:
    dims = start.position.shape[-1]
    turn, shift = orthogonal(dims, determinant), torch.randn(dims, dtype=torch.float64)
    moved = replace(start, position=start.position @ turn.T + shift, velocity=start.velocity @ turn.T)
    with torch.no_grad():
        (end, velocity), (end_moved, velocity_moved) = method.step(start), method.step(moved)
    assert velocity is not None and velocity_moved is not None
    assert (end - start.position).abs().max() > 0.01
    gaps = (end_moved - end @ turn.T - shift, velocity_moved - velocity @ turn.T)
    return max(float(gap.abs().max()) for gap in gaps)


@pytest.mark.parametrize("backbone", ["egnn", "radial-field"])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("determinant", [1.0, -1.0])
@pytest.mark.parametrize("nodes", [2, 7])
def test_equivariant_backbones_stay_equivariant(backbone: str, dims: int, determinant: float, nodes: int) -> None:
    torch.manual_seed(dims)
    method = awake(NCGNN(1, 1, width=8, layers=2, backbone=backbone))  # type: ignore[arg-type]
    assert moved_difference(method, state(dims, nodes=nodes), determinant) < 1e-10
    assert moved_difference(method.float().double(), state(dims, nodes=nodes), determinant) < 1e-10


def test_the_plain_backbone_is_not() -> None:
    torch.manual_seed(0)
    assert moved_difference(awake(NCGNN(1, 1, width=8, layers=2, backbone="gnn")), state(), 1.0) > 1e-3


def test_all_calls_share_their_weights_and_see_the_present_state() -> None:
    torch.manual_seed(0)
    counts = {NCGNN(1, 1, width=8, intervals=k).parameter_count() for k in (0, 2, 7)}
    assert len(counts) == 1
    seen: list[tuple[Tensor, ...]] = []
    method, start = awake(NCGNN(1, 1, width=8, intervals=2)), state()
    method.backbone.register_forward_hook(lambda _, given, __: seen.append(given))  # type: ignore[attr-defined]
    positions, velocities = method.nodes(start)
    assert len(seen) == 3
    sender, receiver = start.edge_index
    for (h, _, _, _, edges, _), x, v in zip(
        seen, [start.position, *positions], [start.velocity, *velocities], strict=False
    ):
        square = ((x[:, receiver] - x[:, sender]) / 0.7).square().sum(-1)
        assert torch.allclose(h[..., 0], v.norm(dim=-1) / 1.6) and torch.allclose(edges[..., -1], square)
        assert not h.requires_grad and not edges.requires_grad
    assert not torch.allclose(seen[0][4], seen[2][4])


@pytest.mark.parametrize(("extra", "k"), [(False, 2), (True, 2), (True, 3), (True, 1)])
def test_the_alignment_is_the_weighted_error_of_the_velocities(extra: bool, k: int) -> None:
    torch.manual_seed(0)
    duration = 1.5
    method = awake(NCGNN(1, 1, width=8, layers=1, intervals=k, extra=extra, align=0.3), duration)
    batch = state(duration=duration, parts=k)
    assert batch.velocities is not None
    with torch.no_grad():
        terms = method.loss(batch)
        positions, velocities = method.nodes(batch)
    weights, expected = newton_cotes_weights(k), 0.0
    for node in range(1, k + 1) if extra else [k]:
        miss = (velocities[node] - batch.velocities[:, node - 1]).square().mean()
        expected += weights[node] * float(miss) * duration**2 / 0.4**2
    assert float(terms["alignment"]) == pytest.approx(0.3 * expected)
    position = method.position_after(positions, velocities, batch)
    assert float(terms["position"]) == pytest.approx(float((position - batch.target).square().mean()) / 0.4**2)
    assert float(terms["loss"]) == pytest.approx(float(terms["position"] + terms["alignment"]))


def test_the_penalty_is_annealed_in_training_only_and_survives_on_disk(tmp_path: Any) -> None:
    method = awake(NCGNN(1, 1, width=8, l2_anneal=0.9)).train()
    norm = sum(float(weight.detach().square().sum()) for weight in method.parameters())
    batch = state()
    assert [float(method.loss(batch)["penalty"].detach()) for _ in range(3)] == pytest.approx(
        [norm / 2, 0.9 * norm / 2, 0.81 * norm / 2]
    )
    method.eval()
    assert torch.equal(method.loss(batch)["penalty"], method.loss(batch)["penalty"])
    loaded = NCGNN.load(method.save(tmp_path / "run"))
    assert float(loaded.rho) == pytest.approx(0.9**3)


def test_the_rival_with_tied_calls_ends_where_its_last_call_ends() -> None:
    torch.manual_seed(0)
    method, start = awake(TiedCalls(1, 1, width=8, intervals=2)), state()
    position, velocity = start.position, start.velocity
    for _ in range(3):
        position, velocity = method.call(position, velocity, start)
    found = method.step(start)
    assert torch.equal(found[0], position) and found[1] is not None and torch.equal(found[1], velocity)


def oscillation(frames: int) -> Rollouts:
    """The tiny oscillators, seen more often and around their centroid, so that springs between them explain them."""
    tiny = tiny_rollouts()
    time = torch.arange(frames).view(1, frames, 1, 1) * 0.5
    start, speed = (x[:, :1] - x[:, :1].mean(2, keepdim=True) for x in (tiny.positions, tiny.velocities))
    return replace(
        tiny,
        positions=start * time.cos() + speed * time.sin(),
        velocities=speed * time.cos() - start * time.sin(),
        name="oscillation",
    )


def test_extra_data_are_the_velocities_at_equal_parts_of_a_step() -> None:
    data = replace(oscillation(9), span=4)
    batch = next(NCGNN.for_data(data, extra=True).batches(data, 7, torch.Generator().manual_seed(0)))
    for part, ahead in enumerate((1.0, 2.0)):
        expected = batch.velocity * math.cos(ahead) - batch.position * math.sin(ahead)
        assert torch.allclose(batch.velocities[:, part], expected, atol=1e-5)
    plain = next(NCGNN.for_data(data).batches(data, 7, torch.Generator().manual_seed(0)))
    assert torch.equal(plain.velocities[:, 0], batch.velocities[:, -1])


def test_extra_data_that_are_not_there_are_asked_for() -> None:
    data = replace(oscillation(9), span=3)
    method = NCGNN.for_data(data, extra=True)
    with pytest.raises(DataError, match="multiple of 2"):
        method.fit(data, Budget(steps=1))
    with pytest.raises(DataError, match="parts=2"):
        method.loss(data.gather(torch.arange(3)))


@pytest.mark.parametrize("option", [{"backbone": "gmn"}, {"anchor": "end"}])
def test_unknown_options_are_named(option: dict[str, Any]) -> None:
    with pytest.raises(MethodError, match=next(iter(option.values()))):
        NCGNN(1, 1, **option)


def test_it_learns_the_turn_of_an_oscillator() -> None:
    """Half a turn's worth of bend within a step: a third of a straight flight's error after a short training."""
    data = replace(oscillation(9), span=2, parts=2)
    method = NCGNN.seeded(data, 0, width=16, layers=2, extra=True, normalize=True)
    method.fit(data, Budget(steps=150), lr=5e-3)
    straight = float(torch.stack([(b.position + b.duration * b.velocity - b.target).square().mean()
                                  for b in data.batches(512, shuffle=False)]).mean())  # fmt: skip
    assert method.score(data) < straight / 3
    follow = method.rollout(data.gather(torch.arange(4)), 2)
    assert follow.shape == (4, 3, 4, 3) and bool(torch.isfinite(follow).all())


@pytest.mark.parametrize("backbone", ["egnn", "radial-field"])
def test_a_runaway_is_cut_to_a_length_which_does_not_break_the_symmetry(backbone: str) -> None:
    torch.manual_seed(0)
    method = awake(NCGNN(1, 1, width=8, layers=2, backbone=backbone, normalize=False))  # type: ignore[arg-type]
    far = replace(start := state(), position=300 * start.position, velocity=start.velocity * 40)
    with torch.no_grad():
        fastest = method.nodes(far)[1].norm(dim=-1).max()
    assert float(fastest) == pytest.approx(100 * 0.4, rel=1e-6)  # 100 units of motion a step
    assert moved_difference(method, far, -1.0) < 1e-7

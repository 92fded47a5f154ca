"""LoCS: symmetric rollouts in the plane, about z and in all of space; memories, and inferred edges."""

import math
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from pathline.core.budget import Budget
from pathline.core.errors import DataError, MethodError
from pathline.core.tiny import tiny_rollouts
from pathline.data import Rollouts, Step
from pathline.graph import complete_graph
from pathline.nn.anisotropic import AnisotropicFilter
from pathline.simulate.courses import Course, courses, cut
from pathline.simulate.locs import LoCS, Memory, neighbours_pull
from pathline.simulate.locs_decoders import EdgeTypes, Messages, RecurrentDecoder
from pathline.simulate.rivals import GlobalAxes


def state(dims: int = 2, nodes: int = 5, dtype: torch.dtype = torch.float64) -> Step:
    edge_index = complete_graph(nodes)
    position, velocity = torch.randn(2, 3, nodes, dims, dtype=dtype)
    charge = torch.randn(3, nodes, 1, dtype=dtype)
    product = charge[:, edge_index[0]] * charge[:, edge_index[1]]
    along = torch.randn(3, 1, nodes, dims, dtype=dtype)
    return Step(position, velocity, charge, edge_index, product, position + 0.1 * velocity, 0.1, along)


def made(dims: int = 2, kind: type[LoCS] = LoCS, **options: Any) -> LoCS:
    torch.manual_seed(0)
    method = kind(dims, node_features=1, edge_features=1, width=16, **options)
    for name, value in (("length", 0.7), ("speed", 1.6), ("motion", 0.2), ("bend", 0.02), ("duration", 0.1)):
        getattr(method.units, name).fill_(value)
    return method.double().eval()


def turn_of(dims: int, about_z: bool = False, flip: bool = False) -> Tensor:
    torch.manual_seed(7)
    if about_z:
        c, s = math.cos(2.0), math.sin(2.0)
        return torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=torch.float64)
    q = torch.linalg.qr(torch.randn(dims, dims, dtype=torch.float64))[0]
    q[:, 0] *= torch.linalg.det(q).sign() * (-1 if flip else 1)
    return q


def error(method: LoCS, start: Step, turn: Tensor, steps: int = 20) -> float:
    turn, shift = turn.to(start.position), torch.arange(1.0, 1.0 + len(turn)).to(start.position)
    moved = replace(start, position=start.position @ turn.T + shift, velocity=start.velocity @ turn.T)
    path, path_moved = method.rollout(start, steps), method.rollout(moved, steps)
    assert (path[:, -1] - path[:, 0]).abs().max() > 0.01
    return float((path_moved - path @ turn.T - shift).abs().max())


FORMS = {
    "markov": {},
    "recurrent": {"decoder": "recurrent"},
    "anisotropic": {"anisotropic": True},
    "low rank": {"anisotropic": True, "rank": 2},
    "inferred edges": {"latent_edges": 2},
    "recurrent, inferred": {"decoder": "recurrent", "latent_edges": 3},
    "wrapped angles": {"angles": "wrapped"},
}


@pytest.mark.parametrize("form", FORMS)
def test_in_the_plane_a_whole_rollout_turns_and_shifts_with_its_start(form: str) -> None:
    method = made(2, **FORMS[form])
    assert error(method, state(2), turn_of(2)) < 1e-9
    assert error(method, state(2), turn_of(2, flip=True)) > 1e-4  # left and right differ
    assert error(method, state(2, nodes=2), turn_of(2)) < 1e-9
    assert error(method.float(), state(2, dtype=torch.float32), turn_of(2)) < 1e-4


@pytest.mark.parametrize("form", FORMS)
def test_in_space_it_turns_about_z_and_with_the_acceleration_about_any_axis(form: str) -> None:
    method, start = made(3, **FORMS[form]), state(3)
    assert error(method, start, turn_of(3, about_z=True)) < 1e-9
    assert error(method, start, turn_of(3)) > 1e-3
    complete = made(3, orientation="complete", **FORMS[form])
    assert error(complete, start, turn_of(3)) < 1e-8
    assert error(complete, start, turn_of(3, flip=True)) > 1e-4


def test_along_the_axes_of_the_world_nothing_turns() -> None:
    assert error(made(2, GlobalAxes), state(2), turn_of(2)) > 1e-3


@pytest.mark.parametrize("dims", [2, 3])
def test_bodies_at_rest_turn_too(dims: int) -> None:
    """They look where their neighbours pull."""
    method, start = made(dims, orientation="complete" if dims == 3 else "velocity"), state(dims)
    still = replace(start, velocity=torch.where(torch.arange(5)[:, None] < 2, 0.0, start.velocity))
    slow = replace(start, velocity=start.velocity * 1e-4)
    assert error(method, still, turn_of(dims), 1) < 1e-9
    assert error(method, slow, turn_of(dims), 1) < 1e-9


def test_a_silent_readout_leaves_everything_as_it_is() -> None:
    for form in FORMS.values():
        method, start = made(2, **form), state(2)
        for weight in method.decoder.readout[-1].parameters():
            weight.data.zero_()
        position, velocity = method.step(start)
        assert torch.equal(position, start.position) and torch.equal(velocity, start.velocity)


@pytest.mark.parametrize("form", FORMS)
def test_the_order_of_the_bodies_does_not_matter(form: str) -> None:
    method, start = made(2, **FORMS[form]), state(2)
    order = torch.tensor([3, 1, 4, 0, 2])
    sender, receiver = start.edge_index
    q = torch.zeros(3, 5, 5, dtype=torch.float64)
    q[:, sender, receiver] = start.edge_features[..., 0]
    again = q[:, order][:, :, order][:, sender, receiver][..., None]
    moved = {name: getattr(start, name)[:, order] for name in ("position", "velocity", "features")}
    path = method.rollout(replace(start, **moved, edge_features=again), 3)
    assert torch.allclose(path, method.rollout(start, 3)[:, :, order], atol=1e-10)


def test_a_lonely_body_moves_without_messages() -> None:
    method = made(2)
    alone = Step(
        torch.randn(2, 1, 2).double(), torch.randn(2, 1, 2).double(), torch.ones(2, 1, 1).double(),
        torch.zeros(2, 0, dtype=torch.long), torch.zeros(2, 0, 1).double(), torch.zeros(2, 1, 2).double(), 0.1,
    )  # fmt: skip
    for form in FORMS.values():
        path = made(2, **form).rollout(alone, 3)
        assert bool(torch.isfinite(path).all())
    still = replace(alone, velocity=0 * alone.velocity)
    assert bool(torch.isfinite(method.rollout(still, 3)).all())
    assert not neighbours_pull(alone.position, alone.edge_index).any()


def test_a_given_orientation_is_used() -> None:
    method, start = made(2), state(2)
    heading = method.frames(start.position, start.velocity, None, start)
    with torch.no_grad():
        own = method.step(start)[0]
        assert torch.equal(method.step(start, heading)[0], own)
        assert not torch.allclose(method.step(start, turn_of(2).expand_as(heading))[0], own, atol=1e-4)


def test_the_markov_step_is_the_papers_sum_by_hand() -> None:
    method, start = made(2, angles="wrapped"), state(2)
    x, u = start.position / 0.7, start.velocity / 1.6
    with torch.no_grad():
        found = method.step(start)
        for body in range(5):
            angle = torch.atan2(u[0, body, 1], u[0, body, 0])
            c, s = angle.cos(), angle.sin()
            frame = torch.stack([torch.stack([c, -s]), torch.stack([s, c])])
            own = torch.cat([torch.zeros(2).double(), frame.T @ u[0, body], start.features[0, body]])
            total = torch.zeros(16).double()
            for edge in (start.edge_index[1] == body).nonzero().flatten():
                other = int(start.edge_index[0, edge])
                place = frame.T @ (x[0, other] - x[0, body])
                yaw = torch.atan2(u[0, other, 1], u[0, other, 0]) - angle
                yaw = torch.atan2(yaw.sin(), yaw.cos()) / math.pi
                toward = torch.atan2(place[1], place[0]) / math.pi
                numbers = torch.stack([yaw, place.norm(), toward])
                columns = [place, numbers, frame.T @ u[0, other], start.features[0, other]]
                total += method.decoder.messages.mlps[0](torch.cat([*columns, start.edge_features[0, edge], own]))
            delta = method.decoder.readout(total / 4 + method.decoder.skip(own))
            moved = start.position[0, body] + 0.2 * frame @ delta[:2]
            turned = start.velocity[0, body] + 0.02 / 0.1 * frame @ delta[2:]
            assert torch.allclose(found[0][0, body], moved) and torch.allclose(found[1][0, body], turned)


def test_the_gates_are_those_of_a_recurrent_unit() -> None:
    """Against torch's own cell, which has the same gates but keeps its reset inside the product with its bias."""
    torch.manual_seed(0)
    width = 8
    decoder = RecurrentDecoder(Messages(4, 7, 4, width, 1, False, None), 4, width, 4, 0.0)
    own, edge, place = torch.randn(2, 5, 4), torch.randn(2, 20, 7), torch.randn(2, 20, 4)
    edges, h = complete_graph(5), torch.randn(2, 5, width)
    _, after = decoder(own, edge, place, edges, h, None)
    sender, receiver = edges
    message, remembered = torch.zeros(2, 5, width), torch.zeros(2, 5, width)
    for e in range(20):
        i, j = int(receiver[e]), int(sender[e])
        message[:, i] += decoder.messages.mlps[0](torch.cat([edge[:, e], own[:, i]], -1)) / 4
        remembered[:, i] += decoder.remember(torch.cat([h[:, i], h[:, j]], -1)) / 4
    x = decoder.skip(own) + message
    cell = torch.nn.GRUCell(width, width)
    cell.weight_ih.data, cell.bias_ih.data = decoder.present.weight.data, decoder.present.bias.data
    cell.weight_hh.data, cell.bias_hh.data = decoder.past.weight.data, torch.zeros(3 * width)
    gates = cell(x.flatten(0, 1), remembered.flatten(0, 1)).view(2, 5, width)
    z = torch.sigmoid((decoder.present(x) + decoder.past(remembered)).chunk(3, -1)[1])
    assert torch.allclose(after, gates + z * (h - remembered), atol=1e-6)


def test_memory_makes_the_past_matter_and_burning_in_fills_it() -> None:
    start, generator = state(2), torch.Generator().manual_seed(1)
    before = torch.randn(2, 3, 4, 5, 2, generator=generator, dtype=torch.float64)
    past = Course(*before, start.features, start.edge_index, start.edge_features, 0.1)
    markov, recurrent = made(2), made(2, decoder="recurrent")
    assert torch.equal(markov.rollout(start, 2, past), markov.rollout(start, 2))
    warm = recurrent.rollout(start, 2, past)
    assert not torch.allclose(warm, recurrent.rollout(start, 2), atol=1e-5)
    memory = Memory()
    with torch.no_grad():
        for frame in range(4):
            _, memory = recurrent.transition(past.state(frame), memory)
        assert torch.allclose(recurrent.transition(start, memory)[0].position, warm[:, 1])


def test_filters_tell_directions_apart_and_low_rank_is_low_rank() -> None:
    torch.manual_seed(0)
    full, thin = AnisotropicFilter(4, 6, 5, 16), AnisotropicFilter(4, 6, 5, 16, rank=2)
    values, place = torch.randn(3, 6), torch.randn(3, 4)
    for one in (full, thin):
        by_hand = torch.einsum("bi,bio->bo", values, one.weights(place))
        assert torch.allclose(one(values, place), by_hand, atol=1e-6)
        assert not torch.allclose(one(values, -place), one(values, place), atol=1e-2)
    assert torch.linalg.matrix_rank(thin.weights(place)).tolist() == [2, 2, 2]
    assert torch.linalg.matrix_rank(full.weights(place)).tolist() == [5, 5, 5]


def test_the_prior_over_edges_sees_the_past_only_and_goes_on_step_by_step() -> None:
    torch.manual_seed(0)
    types = EdgeTypes(4, 7, 4, 8, 3, None)
    embedded = torch.randn(2, 6, 20, 8)
    prior, posterior = types.whole(embedded)
    later = embedded.clone()
    later[:, 4:] += 1
    prior_later, posterior_later = types.whole(later)
    assert torch.equal(prior[:, :4], prior_later[:, :4]) and not torch.allclose(prior[:, 4], prior_later[:, 4])
    assert not torch.allclose(posterior[:, 0], posterior_later[:, 0])
    memory = None
    for frame in range(6):
        logits, memory = types.next(embedded[:, frame], memory)
        assert torch.allclose(logits, prior[:, frame], atol=1e-6)


def springs(frames: int = 12) -> Rollouts:
    """The tiny oscillators around their centroid, in the plane, every quarter."""
    tiny = tiny_rollouts()
    time = torch.arange(frames).view(1, frames, 1, 1) * 0.25
    start, speed = (x[:, :1, :, :2] for x in (tiny.positions, tiny.velocities))
    start, speed = (x - x.mean(2, keepdim=True) for x in (start, speed))
    return replace(
        tiny,
        positions=start * time.cos() + speed * time.sin(),
        velocities=speed * time.cos() - start * time.sin(),
        interval=0.25,
        name="springs",
    )


def test_the_likelihood_and_the_divergence_are_the_gaussians_and_the_categoricals() -> None:
    data = springs()
    method = LoCS.seeded(data, 0, width=8, latent_edges=2, variance=0.01).eval()
    batch = next(courses(data, 5, torch.Generator().manual_seed(0), 6))
    torch.manual_seed(3)
    terms = method.loss(batch)
    torch.manual_seed(3)
    with torch.no_grad():
        positions, velocities, divergence = method.followed(batch)
    misses = (
        (positions - batch.positions[:, 1:]) / method.units.length,
        (velocities - batch.velocities[:, 1:]) / method.units.speed,
    )
    expected = torch.cat(misses, -1).square().sum(-1).mean() / 0.02
    assert torch.allclose(terms["likelihood"], expected) and torch.allclose(terms["divergence"], divergence)
    assert float(divergence) > 0
    for weight in (method.edge_types.prior, method.edge_types.posterior):  # both uniform: nothing to tell
        for parameter in weight.parameters():
            parameter.data.zero_()
    assert float(method.followed(batch)[2].detach()) == pytest.approx(0.0, abs=1e-6)


def test_teacher_forcing_along_a_course_is_one_step_from_each_true_state() -> None:
    data = springs()
    for options in ({"decoder": "recurrent"}, {}):
        method = LoCS.seeded(data, 0, width=8, **options).double().eval()
        batch = next(courses(data, 5, torch.Generator().manual_seed(0), 6)).map(
            lambda t: t if t.dtype == torch.long else t.double()
        )
        with torch.no_grad():
            positions, _, _ = method.followed(batch)
            memory = Memory()
            for frame in range(5):
                after, memory = method.transition(batch.state(frame), memory)
                assert torch.allclose(after.position, positions[:, frame], atol=1e-10)
    assert method.window == 10 and cut(batch, 1, 3).positions.shape[1] == 2


def test_with_the_acceleration_courses_and_rollouts_see_the_same_frames() -> None:
    data = tiny_rollouts()
    method = LoCS.seeded(data, 0, width=8, orientation="complete").double().eval()
    batch = next(courses(data, 5, torch.Generator().manual_seed(0), 3)).map(
        lambda t: t if t.dtype == torch.long else t.double()
    )
    with torch.no_grad():
        positions, _, _ = method.followed(batch)
        memory = Memory()
        for frame in range(2):
            after, memory = method.transition(batch.state(frame), memory)
            assert torch.allclose(after.position, positions[:, frame], atol=1e-10)


def test_courses_are_stretches_of_the_data_in_an_order_that_the_generator_alone_sets() -> None:
    data = replace(springs(), span=2)
    first, again = (list(courses(data, 32, torch.Generator().manual_seed(4), 4)) for _ in range(2))
    assert [len(batch) for batch in first] == [32, 28]
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.positions, other.positions)
        assert one.positions.shape[1] == 4 and one.duration == 0.5
        turned = one.positions[:, 0] * math.cos(0.5) + one.velocities[:, 0] * math.sin(0.5)
        assert torch.allclose(one.positions[:, 1], turned, atol=1e-5)
    fixed = next(courses(replace(data, start=3), 60, torch.Generator().manual_seed(4), 9))
    assert fixed.positions.shape[1] == 5  # frames 3, 5, .. 11


def test_it_learns_springs() -> None:
    """Better than a straight flight, which misses what the springs do."""
    data = springs()
    method = LoCS.seeded(data, 0, width=16)
    straight = float(torch.stack([(b.position + b.duration * b.velocity - b.target).square().mean()
                                  for b in data.batches(5000, shuffle=False)]).mean())  # fmt: skip
    method.fit(data, Budget(steps=200), lr=5e-3, batch_size=60)
    assert method.score(data) < straight / 2


@pytest.mark.parametrize("form", ["recurrent", "inferred edges"])
def test_it_learns_with_a_memory(form: str) -> None:
    """A quarter of the error of standing still, after a few steps."""
    data = springs().take(torch.arange(20))
    method = LoCS.seeded(data, 0, width=16, **FORMS[form])
    still = float((data.positions[:, 1:] - data.positions[:, :-1]).square().mean())
    method.fit(data, Budget(steps=100), lr=1e-2, batch_size=20)
    assert method.score(data) < still / 4


def test_the_rival_learns_turned_copies_and_keeps_its_options() -> None:
    data = springs()
    method = GlobalAxes.seeded(data, 0, width=8, augment=True)
    assert type(method)(**method.config).augment
    batch = data.gather(torch.arange(20))
    method.train()
    torch.manual_seed(0)
    one = method.loss(batch)["loss"].detach()
    assert not torch.equal(one, method.loss(batch)["loss"].detach())
    method.eval()
    assert torch.equal(method.loss(batch)["loss"], method.loss(batch)["loss"])


@pytest.mark.parametrize(
    ("options", "word"),
    [({"dims": 4}, "use egnn"), *(({name: "no"}, "'no'") for name in ("decoder", "orientation", "angles"))],
)
def test_unknown_options_are_named(options: dict[str, Any], word: str) -> None:
    with pytest.raises(MethodError, match=word):
        LoCS(**options)


def test_states_that_do_not_fit_are_refused() -> None:
    method = made(2)
    with pytest.raises(DataError, match="learned in 2 dimensions"):
        method.rollout(state(3), 1)
    with pytest.raises(DataError, match="at least 1"):
        method.rollout(state(2), 0)
    with pytest.raises(DataError, match="velocity at the end"):
        method.loss(replace(state(2), velocities=None))


def test_every_pair_of_forms_can_be_built() -> None:
    forms = product(("markov", "recurrent"), ("velocity", "complete"), (False, True), (0, 2))
    for decoder, orientation, anisotropic, latent in forms:
        options = {"decoder": decoder, "orientation": orientation}
        method = LoCS.for_data(tiny_rollouts(), width=8, anisotropic=anisotropic, latent_edges=latent, **options)
        batch = next(method.batches(tiny_rollouts(), 4, torch.Generator().manual_seed(0)))
        assert bool(torch.isfinite(method.loss(batch)["loss"]))


@pytest.mark.parametrize("anisotropic", [False, True])
def test_an_edge_says_the_weighted_sum_of_its_types(anisotropic: bool) -> None:
    torch.manual_seed(0)
    messages, receiver = Messages(4, 7, 4, 8, 3, anisotropic, None), complete_graph(5)[1]
    own, edge, place, kinds = torch.randn(2, 5, 4), torch.randn(2, 20, 7), torch.randn(2, 20, 4), torch.rand(2, 20, 3)
    columns = torch.cat([edge, own[:, receiver]], -1)
    each = [one(columns, place) for one in messages.filters] if anisotropic else [one(columns) for one in messages.mlps]
    expected = sum(kinds[..., k, None] * said for k, said in enumerate(each))
    assert torch.allclose(messages(own, edge, place, receiver, kinds), expected, atol=1e-6)
    assert torch.allclose(messages(own, edge, place, receiver, None), sum(each), atol=1e-6)

"""Frames of agents, metrics of joint futures, modes of draws, and costs of paths."""

import math
from dataclasses import replace

import pytest
import torch

from pathline.core.tiny import tiny_tracks
from pathline.data import Encounters
from pathline.track.agents import evaluate_jointly, joint_collisions, joint_displacement, joint_diversity, known_futures
from pathline.track.costs import keep_apart, reach, speed_limit, stay_in_lane, times, total
from pathline.track.joint_rivals import WinnerTakesAll
from pathline.track.modes import cluster_means, distances, representatives
from pathline.track.scaling import PathScaling
from pathline.track.scene import scene_of, turned


def window(count: int = 12) -> Encounters:
    return tiny_tracks().gather(torch.arange(count))


def moved(given: Encounters, angle: float, shift: tuple[float, float]) -> Encounters:
    """The world turned and shifted."""
    turn, seen = torch.tensor([math.cos(angle), math.sin(angle)]), given.past_observed[..., None]
    change = {name: turned(getattr(given, name), turn) + torch.tensor(shift) for name in ("past", "future")}
    return replace(given, past=change["past"] * seen, future=change["future"] * given.future_observed[..., None])


def test_a_scene_does_not_change_when_the_world_is_turned_and_shifted():
    given = window()
    plain, other = scene_of(given, 0.5), scene_of(moved(given, 1.1, (30.0, -7.0)), 0.5)
    for name in ("history", "pairs"):
        assert torch.allclose(getattr(plain, name), getattr(other, name), atol=1e-4)
    assert not torch.allclose(plain.turn, other.turn, atol=0.1)


def test_frames_face_ahead_and_lead_back_to_the_world():
    given = window()
    scene = scene_of(given, 0.5)
    own = scene.to_own(given.past)
    assert own[:, 0, -1].abs().max() < 1e-5 and bool((own[:, 0, 0, 0] < 0).all())  # the past lies behind
    assert torch.allclose(scene.to_world(own), given.past, atol=1e-5)
    many = own[:, None].expand(-1, 3, -1, -1, -1)
    assert torch.allclose(scene.to_world(many)[:, 2], given.past, atol=1e-5)


@torch.no_grad()
def test_in_three_dimensions_frames_turn_about_the_vertical_axis():
    flat = tiny_tracks()
    height = torch.linspace(0, 1, 16)[None, :, None].expand(48, -1, -1) + torch.arange(48.0)[:, None, None]
    data = replace(flat, positions=torch.cat([flat.positions, height], -1), name="tiny-flights")
    method = WinnerTakesAll.seeded(data, 0, answers=2, width=16)
    torch.nn.init.normal_(method.teacher.head[2].weight, std=0.3)
    given = data.gather(torch.arange(6))
    turn, shift = torch.tensor([0.0, 1.0]), torch.tensor([5.0, 1.0, 40.0])
    other = replace(given, past=(turned(given.past, turn) + shift) * given.past_observed[..., None])
    plain, theirs = (method.forecast(w, 2).positions for w in (given, other))
    present = method.scene(given).present[:, None, :, None, None]
    assert plain.shape[-1] == 3
    assert torch.allclose((turned(plain, turn) + shift) * present, theirs * present, atol=1e-3)


def test_pairs_say_where_the_other_is_and_how_it_faces():
    past = torch.zeros(1, 2, 3, 2)
    past[0, 0] = torch.tensor([[0.0, -2.0], [0.0, -1.0], [0.0, 0.0]])  # walks north
    past[0, 1] = torch.tensor([[5.0, 3.0], [4.0, 3.0], [3.0, 3.0]])  # walks west, three to the right and three ahead
    everybody = torch.ones(1, 2, 3, dtype=torch.bool)
    given = replace(window(1), past=past, past_observed=everybody)
    row = scene_of(given, 1.0).pairs[0, 0, 1]
    assert torch.allclose(row[:2], torch.tensor([1.0, -1.0]), atol=1e-6)  # in units of three steps
    assert torch.allclose(row[2:4], torch.tensor([0.0, 1.0]), atol=1e-6)  # its step: to the left
    assert torch.allclose(row[4:6], torch.tensor([0.0, 1.0]), atol=1e-6)  # a quarter turn to the left
    absent = replace(given, past_observed=everybody & torch.tensor([True, False])[None, :, None])
    assert scene_of(absent, 1.0).pairs[0, 0, 1].abs().max() == 0


def test_who_stands_still_faces_where_the_target_does():
    given = window(4)
    past = given.past.clone()
    past[:, 1] = past[:, 1, -1:]
    scene = scene_of(replace(given, past=past), 0.5)
    assert torch.allclose(scene.turn[:, 1], scene.turn[:, 0])


def test_joint_errors_want_one_future_to_be_right_for_all():
    truth = torch.zeros(1, 2, 3, 2)
    known = torch.ones(1, 2, dtype=torch.bool)
    right_for_one = torch.zeros(1, 2, 2, 3, 2)
    right_for_one[0, 0, 1] = right_for_one[0, 1, 0] = 2.0  # either is wrong by 2 sqrt 2 for one of both
    average, final = joint_displacement(right_for_one, truth, known)
    assert torch.allclose(average, torch.full((1, 2), 2**0.5)) and torch.allclose(final, average)
    alone = joint_displacement(right_for_one, truth, torch.tensor([[True, False]]))[0]
    assert alone.amin().item() == 0


def test_joint_collisions_are_within_a_future():
    paths = torch.zeros(1, 2, 2, 3, 2)
    paths[0, 0, :, :, 0] = torch.tensor([[-1.0, 0.0, 1.0], [1.0, 0.0, -1.0]])  # head on
    paths[0, 1, :, :, 0] = torch.tensor([[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]])
    paths[0, 1, 1, :, 1] = 3.0
    both = torch.ones(1, 2, dtype=torch.bool)
    assert joint_collisions(paths, both, 0.4).tolist() == [[True, False]]
    assert not joint_collisions(paths, torch.tensor([[True, False]]), 0.4).any()
    gap = (paths[0, 0] - paths[0, 1]).norm(dim=-1).mean()
    assert joint_diversity(paths, both).item() == pytest.approx(gap.item())


def test_known_are_those_seen_to_the_end():
    given = tiny_tracks().gather(torch.arange(len(tiny_tracks())))
    known = known_futures(given)
    assert bool(known[:, 0].all()) and 0.2 < float(known.float().mean()) < 1
    assert bool(given.future_observed[known].all())


def test_evaluation_of_a_perfect_forecast():
    split = tiny_tracks().split()
    method = WinnerTakesAll.seeded(split.train, 0, answers=2, width=16)
    truth = split.test.gather(torch.arange(len(split.test)))

    def oracle(past, k, generator):
        from pathline.track.base import equally_likely

        return equally_likely(truth.future[:, None].expand(-1, k, -1, -1, -1))

    method.futures = oracle
    found = evaluate_jointly(method, split.test, k=3)
    assert found["joint minADE"] == found["minFDE"] == found["joint diversity"] == 0


def test_modes_are_the_clusters_and_their_weights():
    """Three clouds of 30, 20 and 10 draws, and four stray ones."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])
    draws = torch.cat(
        [c + 0.1 * torch.randn(n, 2, generator=generator) for c, n in zip(centres, (30, 20, 10), strict=True)]
    )
    paths = draws[None, :, None, None].expand(1, 60, 2, 4, 2)  # two agents that do the same, four steps
    apart = distances(paths, torch.ones(1, 2, dtype=torch.bool))
    assert torch.allclose(apart[0], torch.cdist(draws, draws), atol=1e-4)
    weights = torch.full((1, 60), 1 / 60)
    modes, probability = representatives(apart, weights, 3, radius=1.0)
    assert torch.allclose(probability, torch.tensor([[30, 20, 10]]) / 60)
    for mode, centre, cloud in zip(modes[0], centres, draws.split([30, 20, 10]), strict=True):
        assert (draws[mode] - centre).norm() < 0.15
        total = torch.cdist(cloud, cloud).sum(1)
        assert torch.equal(draws[mode], cloud[total.argmin()])  # the medoid
    means = cluster_means(paths, apart, weights, modes)[0, :, 0, 0]
    assert torch.allclose(means, torch.stack([cloud.mean(0) for cloud in draws.split([30, 20, 10])]), atol=1e-5)
    heavy = weights.clone()
    heavy[:, 50:] *= 10  # other weights, other order
    assert representatives(apart, heavy / heavy.sum(), 3, 1.0)[0][0, 0] >= 50


def test_modes_are_all_different_also_where_there_are_too_few_clusters():
    paths = torch.randn(5, 12, 2, 3, 2, generator=torch.Generator().manual_seed(0))
    paths[0] = paths[0, :1]  # twelve times the same
    apart = distances(paths, torch.ones(5, 2, dtype=torch.bool))
    modes, probability = representatives(apart, torch.full((5, 12), 1 / 12), 6, rounds=0)
    assert all(len(set(row.tolist())) == 6 for row in modes)
    assert torch.allclose(probability.sum(1), torch.ones(5))
    with pytest.raises(ValueError, match="12 draws have 1 to 12"):
        representatives(apart, torch.full((5, 12), 1 / 12), 13)


def test_costs_by_hand():
    paths = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]], [[0.0, 1.0], [1.0, 0.5], [2.0, 3.0]]])[None]
    both, one = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[True, False]])
    assert reach(torch.tensor([2.0, 4.0]), agent=1)(paths, both).item() == pytest.approx(1.0)
    assert keep_apart(1.0)(paths, both).item() == pytest.approx(0.5 / 3)
    assert keep_apart(1.0)(paths, one).item() == 0
    assert speed_limit(2.0, interval=0.25)(paths, one).item() == pytest.approx(1.0)  # 4 m/s
    line = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0]])
    assert stay_in_lane(line, 0.25)(paths, both).item() == pytest.approx((0.75 + 0.25 + 0.75) / 3 / 2, abs=1e-5)
    added = total(keep_apart(1.0), times(speed_limit(2.0, 0.25), 3.0))(paths, both)
    assert added.item() == pytest.approx(
        keep_apart(1.0)(paths, both).item() + 3 * speed_limit(2.0, 0.25)(paths, both).item()
    )


def test_costs_have_finite_gradients_where_agents_coincide():
    paths = torch.zeros(1, 2, 3, 2, requires_grad=True)
    cost = total(keep_apart(1.0), speed_limit(1.0, 0.4), reach(torch.zeros(2)))
    (gradient,) = torch.autograd.grad(cost(paths, torch.ones(1, 2, dtype=torch.bool)).sum(), paths)
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("kind", ["min-max", "root", "standard", "none"])
def test_scaling_comes_back_and_fits_the_unit_interval(kind):
    paths = 5 * torch.randn(100, 12, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 2.0
    scaling = PathScaling(kind, 12, 2).double()
    scaling.read(paths)
    assert torch.allclose(scaling.inverse(scaling(paths)), paths, atol=1e-9)
    if kind in ("min-max", "root"):
        assert scaling(paths).abs().max().item() == pytest.approx(1.0)
    if kind == "standard":
        found = scaling(paths)
        assert found.mean(0).abs().max() < 1e-6 and (found.std(0, correction=0) - 1).abs().max() < 1e-6

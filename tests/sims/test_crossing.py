"""The crossing: one coin, two joint futures, nobody can tell before."""

import pytest
import torch

from pathline.data.sets import load
from pathline.sims.crossing import COLLISION, crossing_tracks, simulate_crossing

HISTORY = 8


def nearest(positions, present):
    """Smallest distance of two present agents over all frames, (scenes,)."""
    apart = (positions[:, :, :, None] - positions[:, :, None]).norm(dim=-1)
    both = present[:, None, :, None] & present[:, None, None] & ~torch.eye(4, dtype=torch.bool)
    return apart.masked_fill(~both, torch.inf).amin((1, 2, 3))


def test_the_coin_decides_the_future_and_nothing_before_it():
    first, second = (simulate_crossing(300, seed=1, coin=coin) for coin in (0, 1))
    assert torch.equal(first.positions[:, :HISTORY], second.positions[:, :HISTORY])
    assert torch.equal(first.arm, second.arm) and torch.equal(first.present, second.present)
    ends = (first.positions - second.positions)[:, -1].norm(dim=-1)[first.present]
    assert ends.mean() > 2.0  # metres: who waits is far behind who goes
    for scenes, coin in ((first, 0), (second, 1)):
        assert bool((scenes.order(scenes.positions[:, None, HISTORY:]) == coin).all())


def test_each_drawn_scene_is_one_of_the_two_futures_and_the_coin_is_fair():
    scenes = simulate_crossing(2000)
    assert torch.equal(scenes.order(scenes.positions[:, None, HISTORY:])[:, 0], scenes.first)
    assert abs(float(scenes.first.float().mean()) - 0.5) < 0.04
    one = simulate_crossing(2000, coin=1)
    chosen = scenes.first == 1
    assert torch.equal(scenes.positions[chosen], one.positions[chosen])


def test_agents_keep_apart_but_futures_that_are_put_together_do_not():
    scenes, others = simulate_crossing(1000, coin=0), simulate_crossing(1000, coin=1)
    assert float((nearest(scenes.positions, scenes.present) < COLLISION).float().mean()) < 0.005
    pick = torch.rand(1000, 1, 4, 1, generator=torch.Generator().manual_seed(0)) < 0.5
    mixed = torch.where(pick, scenes.positions, others.positions)
    assert float((nearest(mixed, scenes.present) < COLLISION).float().mean()) > 0.2
    order = scenes.order(mixed[:, None, HISTORY:])
    assert float((order == -1).float().mean()) > 0.3


def test_two_to_four_agents_from_different_arms_with_both_paths_used():
    scenes = simulate_crossing(1000)
    assert sorted(scenes.present.sum(1).unique().tolist()) == [2, 3, 4]
    assert bool((scenes.arm.sort(1).values == torch.arange(4)).all())
    for path in (0, 1):
        assert bool(((scenes.arm % 2 == path) & scenes.present).any(1).all())


def test_the_same_seed_gives_the_same_scenes_and_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    assert torch.equal(simulate_crossing(50, seed=3).positions, simulate_crossing(50, seed=3).positions)
    assert torch.equal(state, torch.get_rng_state())
    with pytest.raises(ValueError, match="at least 1 scene"):
        simulate_crossing(0)


def test_as_tracks_every_window_shows_the_whole_scene():
    scenes = simulate_crossing(40)
    tracks = crossing_tracks(scenes)
    assert len(tracks) == int(scenes.present.sum())
    window = tracks.gather(torch.arange(len(tracks)))
    seen = (window.agent >= 0).sum(1)
    assert torch.equal(seen, scenes.present.sum(1)[window.scene])
    parts = load("simulated-crossing").split(0)
    names = [set(part.scene.tolist()) for part in (parts.train, parts.validation, parts.test)]
    assert not names[0] & names[1] and not names[1] & names[2] and len(names[0]) == 1600

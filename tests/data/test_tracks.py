"""Tracks: rows of their own for agents who come and go, windows, neighbours, and splits that share no trajectory."""

from dataclasses import replace

import pytest
import torch

from pathline.core.tiny import tiny_tracks
from pathline.data import DataError, Encounters, Tracks


def walkers(first: list[int], length: int = 12, scene: list[int] | None = None, **changes: object) -> Tracks:
    """Agents that walk one metre a frame along x, agent i on the line y = i."""
    frame = torch.tensor(first)[:, None] + torch.arange(length)
    positions = torch.stack([frame.float(), torch.arange(len(first))[:, None].expand_as(frame).float()], -1)
    scenes = torch.tensor(scene or [0] * len(first))
    return (
        Tracks(
            positions=positions,
            observed=torch.ones(len(first), length, dtype=torch.bool),
            first=torch.tensor(first),
            scene=scenes,
            scenes=tuple(f"s{i}" for i in range(int(scenes.max()) + 1)),
            interval=0.4,
            history=3,
            horizon=4,
            neighbours=2,
            name="walkers",
        )
        if not changes
        else replace(walkers(first, length, scene), **changes)
    )


def test_windows_hold_the_past_and_the_future_of_the_target() -> None:
    data = walkers([0], length=10)
    assert len(data) == 10 - 7 + 1
    window = data.gather(torch.tensor([2]))
    assert window.past[0, 0, :, 0].tolist() == [2, 3, 4]
    assert window.future[0, 0, :, 0].tolist() == [5, 6, 7, 8]
    assert window.frame.tolist() == [4]


def test_a_window_never_spans_a_gap() -> None:
    data = walkers([0], length=16)
    observed = data.observed.clone()
    observed[0, 8] = False
    gapped = replace(data, observed=observed)
    assert len(gapped) == (8 - 6) + (7 - 6)
    for window in gapped.batches(100, shuffle=False):
        assert isinstance(window, Encounters)
        assert bool(window.past_observed[:, 0].all()) and bool(window.future_observed[:, 0].all())
    assert gapped.positions[0, 8].tolist() == [0, 0]


def test_the_stride_thins_windows() -> None:
    assert len(walkers([0], length=16, stride=3)) == 4


def test_neighbours_are_those_of_the_same_scene_and_frame_nearest_first() -> None:
    data = walkers([0, 2, 0, 40, 0], scene=[0, 0, 0, 0, 1])
    window = data.gather(torch.tensor([0]))
    assert window.agent.tolist() == [[0, 1, 2]], "agent 3 comes later, agent 4 walks elsewhere"
    assert window.past_observed[0, 1].tolist() == [False, False, True], "agent 1 came at frame 2"
    assert window.past[0, 1, 2].tolist() == [2, 1]
    assert window.future[0, 2, :, 0].tolist() == [3, 4, 5, 6]
    alone = data.gather(torch.tensor([len(data) - 1]))
    assert alone.agent.tolist() == [[4, -1, -1]] and not alone.past_observed[0, 1:].any()


def test_neighbours_against_a_brute_force_search() -> None:
    data = tiny_tracks()
    agent, step = data._windows
    for index in range(0, len(data), 17):
        window = data.gather(torch.tensor([index]))
        me, frame = int(agent[index]), int(data.first[agent[index]] + step[index] + data.history - 1)
        distance = {}
        for other in range(len(data.agents)):
            column = frame - int(data.first[other])
            there = other != me and data.scene[other] == data.scene[me] and 0 <= column < data.observed.shape[1]
            if there and data.observed[other, column]:
                distance[other] = float((data.positions[other, column] - window.past[0, 0, -1]).norm())
        assert window.agent[0, 1:].tolist() == sorted(distance, key=distance.__getitem__)[:2]


def test_the_last_windows_look_back_from_where_each_agent_was_last() -> None:
    data = walkers([0, 5], length=9)
    window = data.last_windows()
    assert window.agent[:, 0].tolist() == [0, 1]
    assert window.frame.tolist() == [8, 13]
    assert not window.future_observed.any() and window.past_observed[:, 0].all()
    with pytest.raises(DataError, match="nobody was seen for 30 steps"):
        data.with_window(30, 4).last_windows()


@pytest.mark.parametrize("scenes", [1, 2, 12])
def test_no_two_parts_share_a_trajectory(scenes: int) -> None:
    data = tiny_tracks()
    data = replace(data, scene=data.scene % scenes, agents=tuple(f"walker {i}" for i in range(48)))
    split = data.split(seed=1)
    parts = [set(part.agents) for part in (split.train, split.validation, split.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 48
    if scenes == 12:
        held = [set(part.scene.tolist()) for part in (split.train, split.validation, split.test)]
        assert not (held[0] & held[1] or held[0] & held[2] or held[1] & held[2])


def test_with_few_scenes_whoever_comes_last_is_tested() -> None:
    split = walkers(list(range(0, 200, 4))).split()
    assert split.train.first.max() < split.validation.first.min() <= split.validation.first.max()
    assert split.validation.first.max() < split.test.first.min()


def test_a_scene_that_is_held_out_is_the_test_part_and_nothing_else() -> None:
    data = replace(tiny_tracks(), hold_out="square 5")
    split = data.split()
    assert set(split.test.scene.tolist()) == {5}
    assert 5 not in split.train.scene and 5 not in split.validation.scene
    assert set(split.train.agents).isdisjoint(split.validation.agents)
    with pytest.raises(DataError, match="no scene 'moon'"):
        replace(data, hold_out="moon")


def test_a_single_track_is_cut_by_its_own_time_and_no_window_reaches_across() -> None:
    data = walkers([0], length=100)
    split = data.split()
    spans = [part.positions[part.observed][:, 0] for part in (split.train, split.validation, split.test)]
    assert spans[0].max() < spans[1].min() and spans[1].max() < spans[2].min()
    assert sum(map(len, spans)) == 100
    for part, span in zip((split.train, split.validation, split.test), spans, strict=True):
        assert len(part) == len(span) - 6


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"interval": 0.0}, "interval is 0.0 seconds"),
        ({"history": 1}, "history 1 must be at least 2"),
        ({"positions": torch.zeros(2, 12, 4)}, "2 or 3 dims"),
        ({"observed": torch.zeros(2, 12, dtype=torch.bool)}, "nobody was seen"),
        ({"positions": torch.full((2, 12, 2), torch.nan)}, r"position\[0, 0, 0\] is nan"),
        ({"agents": ("a",)}, "1 names for 2 agents"),
    ],
)
def test_bad_tracks_are_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(DataError, match=says):
        replace(walkers([0, 0]), **change)


def test_too_short_tracks_say_what_to_do() -> None:
    with pytest.raises(DataError, match="bring longer or more tracks"):
        walkers([0], length=9).split()


def test_what_was_not_seen_does_not_count_for_the_fingerprint() -> None:
    data = walkers([0], length=12)
    observed = data.observed.clone()
    observed[0, 11] = False
    moved = data.positions.clone()
    moved[0, 11] = 1e6
    assert (
        replace(data, observed=observed).fingerprint()
        == replace(data, observed=observed, positions=moved).fingerprint()
        != data.fingerprint()
    )

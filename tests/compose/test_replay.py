"""Replay: every object once, the best often, and all of it in buffers."""

import pytest
import torch

from pathline.compose.replay import Replay
from pathline.core.errors import MethodError


def filled(count: int, scheme: str = "prioritised", capacity: int = 100) -> Replay:
    replay = Replay(2, capacity, scheme)
    objects = torch.stack([torch.arange(count), torch.zeros(count, dtype=torch.int64)], 1)
    replay.add(objects, torch.arange(count).float())
    return replay


def test_an_object_is_kept_once_with_its_own_reward():
    replay = Replay(2, 100)
    replay.add(torch.tensor([[1, 2], [3, 4], [1, 2]]), torch.tensor([0.5, 0.7, 0.5]))
    replay.add(torch.tensor([[3, 4], [5, 6]]), torch.tensor([0.7, 0.9]))
    assert len(replay) == 3
    rows = zip(replay.objects[:3].tolist(), replay.log_rewards[:3].tolist(), strict=True)
    kept = {tuple(row): value for row, value in rows}
    assert kept == pytest.approx({(1, 2): 0.5, (3, 4): 0.7, (5, 6): 0.9})


def test_half_of_a_prioritised_draw_is_from_the_best_tenth():
    torch.manual_seed(0)
    drawn = filled(100).draw(2000)[:, 0]
    assert int((drawn >= 90).sum()) == 1000 and (drawn[:1000] >= 90).all() and (drawn[1000:] < 90).all()
    assert len(drawn[:1000].unique()) == 10 and len(drawn[1000:].unique()) == 90
    torch.manual_seed(0)
    uniform = filled(100, "uniform").draw(2000)[:, 0]
    assert 140 < int((uniform >= 90).sum()) < 260  # 200 +- 4 deviations


def test_nothing_is_drawn_while_little_is_known():
    assert len(filled(9).draw(8)) == 0 and len(filled(10).draw(8)) == 8


def test_the_oldest_give_way():
    replay = filled(10, capacity=10)
    more = torch.tensor([[10, 0], [11, 0], [3, 0]])
    replay.add(more, torch.tensor([10.0, 11.0, 3.0]))
    assert len(replay) == 10 and sorted(replay.objects[:, 0].tolist()) == list(range(2, 12))
    assert torch.equal(replay.log_rewards, replay.objects[:, 0].float())
    crowded = filled(25, capacity=10)  # more at once than there is room for
    assert len(crowded.objects[:, 0].unique()) == 10


def test_a_restored_replay_draws_what_the_first_one_would():
    first, second = filled(50), Replay(2, 100)
    second.load_state_dict(first.state_dict())
    torch.manual_seed(3)
    wanted = first.draw(20)
    torch.manual_seed(3)
    assert torch.equal(second.draw(20), wanted)


def test_an_unknown_scheme_is_refused():
    with pytest.raises(MethodError, match="prioritised or uniform"):
        Replay(2, 100, "newest")

"""Parts of a step and groups of rollouts; data that use neither are what they were."""

import pytest
import torch

from pathline.data import DataError, Rollouts


def walk(**fields: object) -> Rollouts:
    x = torch.arange(2 * 13 * 2 * 3.0).view(2, 13, 2, 3)
    return Rollouts(positions=x, velocities=-x, edge_index=torch.tensor([[0, 1], [1, 0]]), name="walk", **fields)  # type: ignore[arg-type]


def test_data_without_parts_and_groups_keep_the_fingerprint_that_they_had_before_there_were_any() -> None:
    x = torch.arange(48.0).view(2, 4, 2, 3)
    data = Rollouts(
        positions=x,
        velocities=x / 2,
        edge_index=torch.tensor([[0, 1], [1, 0]]),
        interval=0.5,
        nodes=("H", "O"),
        flags={"close": torch.tensor([True, False])},
    )
    assert data.fingerprint() == "c4bbc62c15f3159eddacbdbd6318c467fc8bc10a7e6f46ba2a48f4e2059a5f11"
    other = Rollouts(**{**vars(data), "groups": (0, 1)})
    assert other.fingerprint() != data.fingerprint() != data.step_between(None, 2, parts=2).fingerprint()


@pytest.mark.parametrize(("start", "span", "parts"), [(None, 6, 3), (2, 6, 2), (0, 4, 1), (None, 3, 3)])
def test_a_step_holds_the_velocities_at_the_ends_of_its_parts(start: int | None, span: int, parts: int) -> None:
    data = walk().step_between(start, span, parts)
    step = data.gather(torch.arange(len(data)))
    starts = range(13 - span) if start is None else [start]
    assert step.velocities is not None and step.velocities.shape == (2 * len(starts), parts, 2, 3)
    for item, (rollout, frame) in enumerate((r, f) for r in range(2) for f in starts):
        for part in range(parts):
            when = frame + (part + 1) * span // parts
            assert torch.equal(step.velocities[item, part], data.velocities[rollout, when])
    assert torch.equal(step.velocities[:, -1], -step.target)
    assert len(step.part(0, 2).velocities) == -(-len(step) // 2)  # type: ignore[arg-type]


def test_parts_that_do_not_divide_a_step_are_refused() -> None:
    with pytest.raises(DataError, match="5 frames does not fall into 2 equal parts"):
        walk().step_between(None, 5, parts=2)


def test_groups_stay_together_in_a_split_and_are_one_for_each_rollout() -> None:
    x = torch.randn(30, 3, 2, 2)
    groups = tuple(torch.arange(10).repeat(3).tolist())
    data = Rollouts(positions=x, velocities=x, edge_index=torch.zeros(2, 0, dtype=torch.long), groups=groups)
    parts = data.split(seed=1)
    found = [set(part.groups) for part in (parts.train, parts.validation, parts.test)]
    assert [len(group) for group in found] == [8, 1, 1] and len(set.union(*found)) == 10
    assert sum(len(part.positions) for part in (parts.train, parts.validation, parts.test)) == 30
    for part in (parts.train, parts.test):
        for group, positions in zip(part.groups, part.positions, strict=True):
            assert any(torch.equal(positions, x[i]) for i in range(30) if groups[i] == group)
    with pytest.raises(DataError, match="1 groups for 2 rollouts"):
        walk(groups=(0,))
    with pytest.raises(DataError, match="groups of rollouts"):
        Rollouts(**{**vars(data), "groups": (0,) * 30}).split()

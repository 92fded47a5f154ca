"""A small shop of two tastes for the tests of the room."""

import pytest
import torch

from pathline.data import Interactions


@pytest.fixture
def shop() -> Interactions:
    return tastes()


def tastes(users: int = 60, items: int = 40, each: int = 12, seed: int = 0, times: bool = False) -> Interactions:
    """Users of even number mostly take items of even number, the others the others."""
    generator = torch.Generator().manual_seed(seed)
    same = torch.arange(users)[:, None] % 2 == torch.arange(items) % 2
    item = (torch.rand(users, items, generator=generator) + 0.6 * same).topk(each, 1).indices
    return Interactions(
        user=torch.arange(users).repeat_interleave(each),
        item=item.flatten(),
        time=torch.rand(users * each, generator=generator, dtype=torch.float64) if times else None,
        users=tuple(f"user {number}" for number in range(users)),
        items=tuple(f"item {number}" for number in range(items)),
        name="shop",
    )

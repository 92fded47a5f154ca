"""Tables of moves hold what the environment computes, and are kept only where they are small."""

import pytest
import torch

from pathline.data import environment as module
from pathline.data.environment import DiscreteEnvironment
from pathline.data.moves import MoveTables
from pathline.sims.environments import Sets
from pathline.sims.environments.hypergrid import Hypergrid

SMALL = [Hypergrid(dims=2, side=5), Hypergrid(dims=3, side=3), Sets(items=6, size=3, energies=torch.linspace(-1, 1, 6))]


@pytest.mark.parametrize("environment", SMALL, ids=lambda e: f"{type(e).__name__}-{e.actions}")
def test_every_look_up_is_what_the_environment_computes(environment: DiscreteEnvironment) -> None:
    walk = environment.walk
    assert isinstance(walk, MoveTables)
    states = torch.cat(environment.levels)
    states = states[torch.randperm(len(states), generator=torch.Generator().manual_seed(0))]
    here = walk.enter(states)
    assert torch.equal(walk.leave(here), states)
    assert torch.equal(walk.encode(here), environment.encode(states))
    assert torch.equal(walk.code(here).argsort(), environment.code(states).argsort())
    for mask, expected, move, reached in (
        (walk.forward_mask(here), environment.forward_mask(states), environment.step, walk.step),
        (walk.backward_mask(here), environment.backward_mask(states), environment.back, walk.back),
    ):
        assert torch.equal(mask, expected)
        at, action = mask.nonzero(as_tuple=True)
        assert torch.equal(walk.leave(reached(here[at], action)), move(states[at], action))


def test_tables_that_would_be_large_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Hypergrid(dims=2, side=5)
    monkeypatch.setattr(module, "TABLED", 10)
    assert grid.walk is grid
    states = grid.source(3)
    assert grid.leave(grid.enter(states)) is states

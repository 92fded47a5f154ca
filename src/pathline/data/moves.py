"""The moves of a small environment as tables: what a walk asks of a state is looked up instead of computed.

A walk takes moves one after another, so it waits for every small operation in turn. A look-up is one of them, where
masks, children and encodings take several each. All values are those that the environment computes.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from pathline.data.environment import DiscreteEnvironment


class MoveTables:
    """An environment whose states go by numbers, 0, 1, ... in increasing order of `code`.

    The methods are those of `DiscreteEnvironment`, but take and give numbers (n,) where that has rows (n, width).
    """

    def __init__(self, environment: "DiscreteEnvironment") -> None:
        self.environment = environment
        states = torch.cat(environment.levels)
        self.codes, order = environment.code(states).sort()
        self.states = states[order]
        self.encoded = environment.encode(self.states)
        self.forward = environment.forward_mask(self.states)
        self.backward = environment.backward_mask(self.states)
        self.children = self._reached(self.forward, environment.step)
        self.parents = self._reached(self.backward, environment.back)

    def _reached(self, mask: Tensor, move: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Where each legal move leads, (states * actions,); 0 where a move is not legal."""
        at, action = mask.nonzero(as_tuple=True)
        reached = torch.zeros(mask.shape, dtype=torch.int64)
        reached[at, action] = self.enter(move(self.states[at], action))
        return reached.flatten()

    def enter(self, states: Tensor) -> Tensor:
        """Numbers (n,) of states (n, width)."""
        return torch.searchsorted(self.codes, self.environment.code(states))

    def leave(self, numbers: Tensor) -> Tensor:
        """States (..., width) of numbers (...)."""
        return self.states[numbers]

    def code(self, numbers: Tensor) -> Tensor:
        return numbers

    def encode(self, numbers: Tensor) -> Tensor:
        return self.encoded.index_select(0, numbers)

    def forward_mask(self, numbers: Tensor) -> Tensor:
        return self.forward.index_select(0, numbers)

    def backward_mask(self, numbers: Tensor) -> Tensor:
        return self.backward.index_select(0, numbers)

    def step(self, numbers: Tensor, actions: Tensor) -> Tensor:
        return self.children.index_select(0, torch.add(actions, numbers, alpha=self.environment.actions))

    def back(self, numbers: Tensor, actions: Tensor) -> Tensor:
        return self.parents.index_select(0, torch.add(actions, numbers, alpha=self.environment.actions))

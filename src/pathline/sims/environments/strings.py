"""Strings over an alphabet, written letter by letter, whose rewards were measured or are computed.

A string grows at its end, or at both ends: then "aa" + "a" and "a" + "aa" are one child, and only the first is a
move. A string of a fixed length is finished when it is full; between two lengths a move stops it.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pathline.data.environment import ENUMERABLE, DiscreteEnvironment, Reward, keys, one_hot
from pathline.data.errors import DataError
from pathline.sims.environments.hypergrid import asked

GROWTH = ("end", "both")


@dataclass(frozen=True, kw_only=True)
class Strings(DiscreteEnvironment):
    """Strings of `shortest` to `longest` letters of `alphabet`.

    growth:   "end" appends, "both" appends or prepends
    letters, rewards: a table: (rows, longest) int64 with letters 1 .. K and 0 beyond a string's end, and (rows,)
    floor:    reward of strings that the table does not list, and the least reward of those that it does
    exponent: beta of R = reward^beta
    reward:   a function of your own instead of a table: (n, longest) letters as above -> rewards (n,) above 0

    States (n, longest + 1) hold the letters and whether the string was stopped. Move a appends letter a, move K + a
    prepends it (growth "both"), the last one stops (where lengths vary).
    """

    alphabet: str
    shortest: int = 1
    longest: int = 8
    growth: str = "end"
    letters: Tensor | None = None
    rewards: Tensor | None = None
    floor: float = 1e-3
    exponent: float = 1.0
    reward: Reward | None = None
    name: str = "strings"

    def __post_init__(self) -> None:
        if len(set(self.alphabet)) != len(self.alphabet) or not self.alphabet:
            raise DataError(f"{self.name}: the alphabet '{self.alphabet}' must have letters, each once")
        if not 1 <= self.shortest <= self.longest:
            raise DataError(f"{self.name}: lengths {self.shortest} to {self.longest}; give 1 <= shortest <= longest")
        if self.growth not in GROWTH:
            raise DataError(f"{self.name}: growth is '{self.growth}'; choose one of {', '.join(GROWTH)}")
        if (self.rewards is None) == (self.reward is None) or (self.rewards is None) != (self.letters is None):
            raise DataError(f"{self.name}: give either a table (letters and rewards) or a reward")
        if (
            self.rewards is not None
            and self.letters is not None
            and self.letters.shape != (len(self.rewards), self.longest)
        ):
            raise DataError(
                f"{self.name}: {len(self.rewards)} rewards for letters of shape {tuple(self.letters.shape)}; expected "
                f"({len(self.rewards)}, {self.longest})"
            )
        if self.floor <= 0 or self.exponent <= 0:
            raise DataError(f"{self.name}: floor {self.floor:g} and exponent {self.exponent:g} must be above 0")

    @property
    def varies(self) -> bool:
        """Whether a move stops the string."""
        return self.shortest < self.longest

    @property
    def size(self) -> int:
        """Letters of the alphabet."""
        return len(self.alphabet)

    @property
    def writes(self) -> int:
        """Moves that write a letter."""
        return self.size * (1 + (self.growth == "both"))

    @property
    def radix(self) -> tuple[int, ...]:
        return (self.size + 1,) * self.longest + (2,)

    @property
    def actions(self) -> int:
        return self.writes + self.varies

    @property
    def bound(self) -> int:
        return self.longest + self.varies

    @property
    def features(self) -> int:
        return self.longest * (self.size + 1)

    @property
    def count(self) -> int:
        return int(sum(self.size**length for length in range(self.shortest, self.longest + 1)))

    @property
    def enumerable(self) -> bool:
        return sum(self.size**length for length in range(self.longest + 1)) + self.varies * self.count <= ENUMERABLE

    def encode(self, states: Tensor) -> Tensor:
        """Each place one-hot; the first of K + 1 says that it is empty."""
        return one_hot(states[:, :-1], self.size + 1).flatten(1)

    def lengths(self, states: Tensor) -> Tensor:
        """(n,)"""
        return (states[:, :-1] > 0).sum(-1)

    def forward_mask(self, states: Tensor) -> Tensor:
        length = self.lengths(states)[:, None]
        writes = ((length < self.longest) & (states[:, -1:] == 0)).expand(-1, self.writes)
        if self.growth == "both":  # prepending a to nothing but a's is appending a
            letter = torch.arange(self.size) + 1
            twin = self._constant(states)[:, None] & ((states[:, :1] == letter) | (length == 0))
            writes = writes & ~torch.cat([torch.zeros_like(twin), twin], 1)
        if not self.varies:
            return writes
        return torch.cat([writes, (length >= self.shortest) & (states[:, -1:] == 0)], 1)

    def backward_mask(self, states: Tensor) -> Tensor:
        length = self.lengths(states)
        open_, rows = (states[:, -1] == 0) & (length > 0), torch.arange(len(states))
        last = states[rows, (length - 1).clamp(min=0)]
        mask = one_hot(torch.where(open_, last, 0), self.size + 1)[:, 1:] > 0
        if self.growth == "both":
            first = one_hot(torch.where(open_ & ~self._constant(states), states[:, 0], 0), self.size + 1)[:, 1:] > 0
            mask = torch.cat([mask, first], 1)
        return torch.cat([mask, states[:, -1:] == 1], 1) if self.varies else mask

    def _constant(self, states: Tensor) -> Tensor:
        """Whether all letters are the same one (also of no letters): (n,)."""
        letters = states[:, :-1]
        return ((letters == letters[:, :1]) | (letters == 0)).all(-1)

    def step(self, states: Tensor, actions: Tensor) -> Tensor:
        letters, stopped = states[:, :-1], states[:, -1:]
        length = self.lengths(states)[:, None]
        place = torch.arange(self.longest)
        letter = actions[:, None] % self.size + 1
        child = torch.where(place == length, letter, letters)
        if self.growth == "both":
            before = torch.cat([letter, letters[:, :-1]], 1)
            child = torch.where(actions[:, None] >= self.size, before, child)
        stop = actions[:, None] >= self.writes
        return torch.cat([torch.where(stop, letters, child), torch.where(stop, 1, stopped)], 1)

    def back(self, states: Tensor, actions: Tensor) -> Tensor:
        letters = states[:, :-1]
        length = self.lengths(states)[:, None]
        parent = torch.where(torch.arange(self.longest) == length - 1, 0, letters)
        if self.growth == "both":
            after = torch.cat([letters[:, 1:], torch.zeros_like(letters[:, :1])], 1)
            parent = torch.where(actions[:, None] >= self.size, after, parent)
        stop = actions[:, None] >= self.writes
        return torch.cat([torch.where(stop, letters, parent), torch.where(stop, 0, states[:, -1:])], 1)

    def is_terminal(self, states: Tensor) -> Tensor:
        return states[:, -1] == 1 if self.varies else self.lengths(states) == self.longest

    # -- rewards ------------------------------------------------------------------------------------------------------

    @cached_property
    def _table(self) -> tuple[Tensor, Tensor]:
        """Sorted keys of the listed strings and their log rewards before the exponent."""
        assert self.letters is not None and self.rewards is not None
        key, order = keys(self.letters).sort()
        twice = (key[1:] == key[:-1]).nonzero()
        if len(twice):
            word = "".join(self.alphabet[letter - 1] for letter in self.letters[order[twice[0, 0]]].tolist() if letter)
            raise DataError(f"{self.name}: the table lists '{word}' twice; keep one of them")
        return key, self.rewards.double().clamp(min=self.floor).log()[order]

    def log_reward(self, objects: Tensor) -> Tensor:
        if self.reward is not None:
            return self.exponent * asked(self.reward, objects[:, :-1], self.name)
        listed, values = self._table
        key = keys(objects[:, :-1])
        place = torch.searchsorted(listed, key).clamp(max=len(listed) - 1)
        floor = torch.tensor(self.floor, dtype=torch.float64).log()
        return (self.exponent * torch.where(listed[place] == key, values[place], floor)).float()

    def text(self, objects: Tensor) -> list[str]:
        return ["".join(self.alphabet[letter - 1] for letter in row if letter) for row in objects[:, :-1].tolist()]

    def read(self, words: list[str]) -> Tensor:
        """Finished objects (n, longest + 1) from words; a `DataError` names one that cannot be built."""
        letters = encode_words(words, self.alphabet, self.longest, self.name)
        for word in words:
            if len(word) < self.shortest:
                raise DataError(f"{self.name}: '{word}' is shorter than {self.shortest} letters")
        return torch.cat([letters, torch.full((len(words), 1), int(self.varies))], 1)


def encode_words(words: list[str], alphabet: str, longest: int, name: str) -> Tensor:
    """(n, longest) int64: letters 1 .. K, 0 beyond a word's end."""
    place = {letter: k + 1 for k, letter in enumerate(alphabet)}
    for word in words:
        if len(word) > longest or not set(word) <= set(place):
            raise DataError(f"{name}: '{word}' is not a string of at most {longest} letters of '{alphabet}'")
    return torch.tensor([[place[letter] for letter in word] + [0] * (longest - len(word)) for word in words])

"""Bit sequences: write `length` bits in words of `word` bits; the reward falls with the distance to the nearest mode.

    R(x) = exp(-min_{y in modes} d_H(x, y)), d_H the Hamming distance; each mode is a run of 8-bit codewords

A half-built sequence has the energy min_y d_H(prefix, y's prefix), our choice: it is 0 at the source and -log R at
the end. Malkin et al., 2022, arXiv:2201.13259 (with edit distance over the length); codewords are those of its
appendix.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pathline.data.environment import ENUMERABLE, DiscreteEnvironment, one_hot
from pathline.data.errors import DataError

CODEWORDS = ("00000000", "11111111", "11110000", "00001111", "00111100")


@dataclass(frozen=True, kw_only=True)
class Bits(DiscreteEnvironment):
    """Sequences of `length` bits in words of `word` bits.

    modes: (modes, length) 0/1; `random_bits` draws them
    scale: R = exp(-scale d)

    States (n, length / word) hold words 1 .. 2^word, 0 where none is written yet; move a writes word a at the end.
    """

    length: int = 16
    word: int = 4
    modes: Tensor
    scale: float = 1.0
    name: str = "bits"

    def __post_init__(self) -> None:
        if self.length < 1 or self.word < 1 or self.length % self.word:
            raise DataError(f"{self.name}: {self.length} bits are not whole words of {self.word}")
        if self.modes.ndim != 2 or self.modes.shape[1] != self.length:
            raise DataError(f"{self.name}: modes have shape {tuple(self.modes.shape)}; expected (modes, {self.length})")

    @property
    def words(self) -> int:
        """Words in a sequence."""
        return self.length // self.word

    @property
    def radix(self) -> tuple[int, ...]:
        return (2**self.word + 1,) * self.words

    @property
    def actions(self) -> int:
        return int(2**self.word)

    @property
    def bound(self) -> int:
        return self.words

    @property
    def features(self) -> int:
        return self.words * (self.actions + 1)

    @property
    def count(self) -> int:
        return int(2**self.length)

    @property
    def enumerable(self) -> bool:
        return sum(self.actions**k for k in range(self.words + 1)) <= ENUMERABLE

    @property
    def mode_log_reward(self) -> float | None:
        return 0.0

    def encode(self, states: Tensor) -> Tensor:
        return one_hot(states, self.actions + 1).flatten(1)

    def _written(self, states: Tensor) -> Tensor:
        return (states > 0).sum(-1)

    def forward_mask(self, states: Tensor) -> Tensor:
        return (self._written(states) < self.words)[:, None].expand(-1, self.actions)

    def backward_mask(self, states: Tensor) -> Tensor:
        written = self._written(states)
        last = states.gather(1, (written - 1).clamp(min=0)[:, None])[:, 0]
        return one_hot(last, self.actions + 1)[:, 1:] > 0

    def step(self, states: Tensor, actions: Tensor) -> Tensor:
        return states.scatter(1, self._written(states)[:, None], actions[:, None] + 1)

    def back(self, states: Tensor, actions: Tensor) -> Tensor:
        return states.scatter(1, self._written(states)[:, None] - 1, 0)

    def is_terminal(self, states: Tensor) -> Tensor:
        return self._written(states) == self.words

    def bits(self, states: Tensor) -> Tensor:
        """(n, length) int64: the bits of each word from its highest; -1 where none is written."""
        shift = torch.arange(self.word - 1, -1, -1)
        bits = ((states - 1)[..., None] >> shift) & 1
        return torch.where(states[..., None] > 0, bits, -1).flatten(1)

    def energy(self, states: Tensor) -> Tensor:
        bits = self.bits(states)
        differs = (bits[:, None] != self.modes[None]) & (bits >= 0)[:, None]
        return self.scale * differs.sum(-1).amin(1).float()

    def log_reward(self, objects: Tensor) -> Tensor:
        return -self.energy(objects)

    def text(self, objects: Tensor) -> list[str]:
        return ["".join(map(str, row)) for row in self.bits(objects).tolist()]


def random_bits(length: int, word: int, modes: int, seed: int, scale: float = 1.0) -> Bits:
    """Modes made of random codewords of 8 bits (cut to `length`)."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.tensor([[int(bit) for bit in code] for code in CODEWORDS])
    chosen = torch.randint(len(codes), (modes, -(-length // 8)), generator=generator)
    return Bits(length=length, word=word, modes=codes[chosen].flatten(1)[:, :length], scale=scale)

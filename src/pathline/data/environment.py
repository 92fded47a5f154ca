"""Environments: what a composer learns from. Objects are built from nothing by moves, and a reward says how good each
is.

An environment has no samples to hold back: its reward can be asked about any object. So an epoch is a number of
trajectories, all parts of a split are the environment itself, and what is measured is how closely a sampler's law
follows the reward, exactly where the objects can be enumerated.
"""

import hashlib
import inspect
import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache, cached_property
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from pathline.data.container import Batch, Container, Split
from pathline.data.errors import DataError
from pathline.data.moves import MoveTables

EPOCH = 1024  # trajectories
PROBES = 64  # objects by whose rewards two environments are told apart
ENUMERABLE = 400_000  # states that an exact evaluation visits at most
TABLED = 1_000_000  # features and moves of all states that are kept in tables at most

FUNCTION = "a function"  # what a spec says of one

Reward = Callable[[Tensor], Tensor]


class Forgotten:
    """Stands for a function that a saved method could not keep."""

    def __call__(self, objects: Tensor) -> Tensor:
        raise DataError(
            "the reward was a function of yours, which is not saved with a run; hand the environment to `adopt`, "
            "`evaluate` or `predict` to ask it again"
        )


@dataclass(frozen=True)
class Starts(Batch):
    """index: (batch,) int64; one trajectory is to be drawn for each."""

    index: Tensor


@dataclass(frozen=True, kw_only=True)
class Environment(Container):
    """What there is to build, and how good it is.

    A subclass is a frozen dataclass whose fields are plain JSON values, tensors (a table of rewards) or functions (a
    reward of the user's own), so that a method can keep it in its config and its buffers.
    """

    def __len__(self) -> int:
        return EPOCH

    def split(self, seed: int = 0) -> Split[Self]:
        """The environment itself, three times: a reward that can be asked has nothing to hide."""
        return Split(self, self, self)

    def gather(self, index: Tensor) -> Starts:
        return Starts(index)

    @abstractmethod
    def log_reward(self, objects: Tensor) -> Tensor:
        """(n, ...) finished objects -> (n,) log R."""

    @abstractmethod
    def probe(self, count: int) -> Tensor:
        """`count` objects, always the same ones."""

    def text(self, objects: Tensor) -> list[str]:
        """One word per object, for tables."""
        return [" ".join(f"{value:g}" for value in row) for row in objects.flatten(1).tolist()]

    def fingerprint(self) -> str:
        """sha256 over the plain fields and the rewards of some objects: functions are told apart by what they say."""
        spec = {name: value for name, value in self.spec().items() if not isinstance(value, dict)}
        digest = hashlib.sha256(repr(sorted(spec.items())).encode())
        digest.update(self.log_reward(self.probe(PROBES)).double().cpu().numpy().tobytes())
        for tensor in self.tensors().values():
            digest.update(tensor.detach().cpu().contiguous().view(-1).numpy().tobytes())
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        return {"container": "Environment", **{k: v for k, v in self.spec().items() if k != "kind" and v is not None}}

    # -- an environment as part of a method ---------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """Fields that are tensors, by name."""
        return {f.name: v for f in fields(self) if isinstance(v := getattr(self, f.name), Tensor)}

    def functions(self) -> dict[str, Reward]:
        """Fields that are functions, by name."""
        return {f.name: v for f in fields(self) if callable(v := getattr(self, f.name)) and not isinstance(v, Tensor)}

    def spec(self) -> dict[str, Any]:
        """JSON values that `from_spec` makes the environment of again, but for what tensors and functions hold."""
        found: dict[str, Any] = {"kind": type(self).__name__}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                value = {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
            elif callable(value):
                value = FUNCTION
            found[field.name] = list(value) if isinstance(value, tuple) else value
        return found

    @property
    def has_reward(self) -> bool:
        """Whether the reward can be asked."""
        return not any(isinstance(function, Forgotten) for function in self.functions().values())


def from_spec(spec: dict[str, Any], tensors: dict[str, Tensor], functions: dict[str, Reward]) -> Environment:
    """The environment that `Environment.spec` wrote down, holding `tensors` and `functions`."""
    import pathline.sims.environments  # noqa: F401  (its classes are found below)

    kinds = {cls.__name__: cls for cls in _subclasses(Environment) if not inspect.isabstract(cls)}
    if spec["kind"] not in kinds:
        raise DataError(
            f"there is no environment '{spec['kind']}'; if it is your own class, import it before you load the run"
        )
    own = {name: value for name, value in spec.items() if name != "kind" and not isinstance(value, dict)}
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in own.items()}
    forgotten = {name: Forgotten() for name, value in own.items() if value == FUNCTION}
    made: Environment = kinds[spec["kind"]](**{**plain, **forgotten, **tensors, **functions})
    return made


def _subclasses(cls: type) -> list[type]:
    found: list[type] = cls.__subclasses__()
    return [*found, *(deeper for child in found for deeper in _subclasses(child))]


@dataclass(frozen=True, kw_only=True)
class DiscreteEnvironment(Environment):
    """Objects of finitely many kinds, built move by move. A state is a row of small integers; a move adds exactly one
    to its depth, and the same number names a move and its undoing. No two legal moves lead to the same child, and no
    two undone ones to the same parent: where two would, one of them is not legal, so that masks count children and
    parents.

    The class says (as attributes or properties) how `width` integers make a state, with `radix` values each, how many
    `actions` there are, the most moves to an object (`bound`), and how many numbers (`features`) `encode` gives a
    network. All methods take a batch of states (n, width) int64 and know no loop.
    """

    @property
    @abstractmethod
    def radix(self) -> tuple[int, ...]:
        """How many values each integer of a state can have."""

    @property
    @abstractmethod
    def actions(self) -> int:
        """How many moves there are, legal or not."""

    @property
    @abstractmethod
    def bound(self) -> int:
        """The most moves from the source to an object."""

    @property
    @abstractmethod
    def features(self) -> int:
        """Numbers that `encode` gives a network."""

    @property
    def width(self) -> int:
        """Integers in a state."""
        return len(self.radix)

    def source(self, count: int) -> Tensor:
        """The empty object, `count` times."""
        return torch.zeros(count, self.width, dtype=torch.int64)

    @abstractmethod
    def encode(self, states: Tensor) -> Tensor:
        """(n, width) -> (n, features) float32."""

    @abstractmethod
    def forward_mask(self, states: Tensor) -> Tensor:
        """Legal moves (n, actions); none from a finished object."""

    @abstractmethod
    def backward_mask(self, states: Tensor) -> Tensor:
        """Moves (n, actions) that could have led here; none at the source."""

    @abstractmethod
    def step(self, states: Tensor, actions: Tensor) -> Tensor:
        """Children (n, width) of states by legal moves (n,)."""

    @abstractmethod
    def back(self, states: Tensor, actions: Tensor) -> Tensor:
        """Parents (n, width): `back(step(s, a), a)` is s."""

    @abstractmethod
    def is_terminal(self, states: Tensor) -> Tensor:
        """Whether each state is a finished object: (n,)."""

    def energy(self, states: Tensor) -> Tensor:
        """E of any state, finished or not, (n,): R = exp(-E) at objects, E = 0 at the source."""
        raise DataError(
            f"{self.name}: half-built objects have no energy here; use a method that needs rewards of whole objects "
            "only, such as subtb"
        )

    @property
    def has_energy(self) -> bool:
        """Whether `energy` is known."""
        return type(self).energy is not DiscreteEnvironment.energy

    # -- enumeration --------------------------------------------------------------------------------------------------

    @property
    def numbered(self) -> bool:
        """Whether `code` can number the states."""
        return math.prod(self.radix) < 2**62

    def code(self, states: Tensor) -> Tensor:
        """One int64 per state, different for different states."""
        if not self.numbered:
            raise DataError(f"{self.name}: states are too many to be numbered")
        sizes = torch.tensor((*self.radix[1:], 1))
        return (states * sizes.flip(0).cumprod(0).flip(0)).sum(-1)

    @property
    def count(self) -> int:
        """How many finished objects there are."""
        raise DataError(f"{self.name} does not say how many objects there are")

    @property
    def mode_log_reward(self) -> float | None:
        """The log reward from which an object is one of the modes that are known; None if none are."""
        return None

    @property
    def enumerable(self) -> bool:
        """Whether an exact evaluation can visit all states."""
        return False

    @cached_property
    def levels(self) -> list[Tensor]:
        """All states by depth, each level (states, width) in increasing order of `code`."""
        if not self.enumerable:
            raise DataError(f"{self.name} has too many states to visit all of them")
        levels, state = [], self.source(1)
        while len(state):
            levels.append(state)
            mask = self.forward_mask(state)
            at, action = mask.nonzero(as_tuple=True)
            child = self.step(state[at], action)
            code, which = torch.unique(self.code(child), return_inverse=True)
            first = torch.empty(len(code), dtype=torch.int64)
            first[which] = torch.arange(len(child))
            state = child[first]
        return levels

    @cached_property
    def objects(self) -> Tensor:
        """All finished objects, by depth and code: (count, width)."""
        return torch.cat([level[self.is_terminal(level)] for level in self.levels])

    @cached_property
    def target(self) -> Tensor:
        """R / Z of `objects`, float64."""
        return self.log_reward(self.objects).double().softmax(0)

    # -- walks --------------------------------------------------------------------------------------------------------

    @cached_property
    def walk(self) -> "DiscreteEnvironment | MoveTables":
        """What a walk of many moves goes by: tables of the moves where they are small, else this environment. The
        methods have the same names; `enter` and `leave` go between states and what stands for them."""
        if not self.enumerable or not self.numbered:
            return self
        entries = sum(map(len, self.levels)) * (self.features + self.actions)
        return MoveTables(self) if entries <= TABLED else self

    def enter(self, states: Tensor) -> Tensor:
        """What stands for `states` in a `walk`: here the states themselves."""
        return states

    def leave(self, states: Tensor) -> Tensor:
        """The states that `enter` was given."""
        return states

    def probe(self, count: int) -> Tensor:
        """Objects of uniformly random moves from a generator of their own."""
        generator = torch.Generator().manual_seed(0)
        state = self.source(count)
        for _ in range(self.bound):
            mask = self.forward_mask(state)
            live = mask.any(-1)
            action = torch.multinomial(mask.float() + ~live[:, None], 1, generator=generator)[:, 0]
            state = torch.where(live[:, None], self.step(state, action), state)
        return state


@cache
def _unit_rows(size: int, dtype: torch.dtype) -> Tensor:
    return torch.eye(size, dtype=dtype)


def one_hot(values: Tensor, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """(..., size): rows of the identity. A look-up, half as long as comparing or scattering."""
    return F.embedding(values, _unit_rows(size, dtype))


def keys(rows: Tensor) -> Tensor:
    """A 64-bit key per row of small integers (n, width) -> (n,): Horner's rule modulo 2^64 with an odd multiplier.
    Among a million random rows two share a key with a probability of 3e-8."""
    key = torch.zeros(len(rows), dtype=torch.int64)
    for column in rows.unbind(1):
        key = key * 6364136223846793005 + column + 1
    return key

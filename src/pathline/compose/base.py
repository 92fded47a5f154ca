"""The room's verb: build objects with probability in proportion to a reward.

A composer learns from an `Environment`: what there is to build, and how good it is. Everything that all of them need is
here: the environment as part of the method, the count of reward calls, and the metrics, which ask how close the law of
the sampler is to the reward: exactly where the objects can be enumerated.
"""

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from pathline.compose.evaluate import estimated_log_law, exact_law, l1, mode_bar, modes_found, places
from pathline.compose.objectives import OBJECTIVES, WEIGHTINGS, Trajectories, flow_matching, sub_trajectory_balance
from pathline.compose.policy import DiscretePolicy, Paths
from pathline.core.errors import DataError, MethodError
from pathline.core.method import Figure, Method, Recipe
from pathline.data.environment import DiscreteEnvironment, Environment, Starts, from_spec

if TYPE_CHECKING:
    import pandas as pd

DRAWN = 2000  # objects an evaluation draws
GLANCE = 500  # and fewer where the probability of each is estimated from discrete trajectories
BACKWARD = 32  # trajectories per object that estimate its probability where it cannot be computed
PART = 1024  # trajectories drawn together, which bounds the memory


class Composed(NamedTuple):
    """objects: (n, width) finished states of the environment; log_rewards: (n,) log R, nan if the method was loaded
    without the reward it learned from; log_probabilities: (n,) of the sampler, exact where the objects can be
    enumerated, else estimated from backward trajectories; nan where the sampler has none (MCMC)."""

    objects: Tensor
    log_rewards: Tensor
    log_probabilities: Tensor


class Composer(Method):
    """A method that learns to build objects in proportion to a reward.

    environment: what `Environment.spec` says; `for_data` reads it off

    The tensors of the environment (a table of rewards) are buffers, so a saved composer carries them; a reward that
    is a function of its user's is not saved, and comes back with any environment that `evaluate` or `predict` is given.
    """

    room = "compose"
    container = Environment
    precision = "fp32"  # log-probabilities of long trajectories add up to more digits than bf16 has
    environment: Environment
    reward_calls: Tensor

    def __init__(self, environment: dict[str, Any]) -> None:
        super().__init__()
        for name, value in environment.items():
            if isinstance(value, dict):
                kind = getattr(torch, value["dtype"])
                self.register_buffer(f"environment_{name}", torch.ones(value["shape"], dtype=kind))
        self.register_buffer("reward_calls", torch.zeros((), dtype=torch.int64))
        self.spec = environment
        self.environment = self._rebuilt({})

    def _rebuilt(self, functions: dict[str, Any]) -> Environment:
        names = [name for name, value in self.spec.items() if isinstance(value, dict)]
        tensors = {name: getattr(self, f"environment_{name}") for name in names}
        return from_spec(self.spec, tensors, functions)

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part = cls.require(data)
        method = cls(**{"environment": part.spec()} | config)
        method.adopt(part)
        return method

    def adopt(self, data: Environment) -> None:
        """Take over the tensors and functions of `data`."""
        for name, tensor in data.tensors().items():
            getattr(self, f"environment_{name}").copy_(tensor)
        self.environment = self._rebuilt(data.functions())

    def check(self, data: Any) -> Environment:
        """`data` if objects are built there as they were in training."""
        environment: Environment = self.require(data)
        ours = {k: v for k, v in self.spec.items() if k != "name"}
        theirs = {k: v for k, v in environment.spec().items() if k != "name"}
        if ours != theirs:
            differ = ", ".join(sorted(k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k)))
            raise DataError(
                f"{environment.name}: this {type(self).__name__} learned in another environment ({differ} differ)"
            )
        return environment

    # -- the verb -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def build(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` finished objects (n, width)."""

    def log_law(self, objects: Tensor, generator: torch.Generator) -> Tensor:
        """log-probability of each object under the sampler, (n,); nan where there is none."""
        return torch.full((len(objects),), torch.nan)

    @torch.no_grad()
    def sample(self, n: int, seed: int = 0) -> Composed:
        """`n` objects, their log-rewards and log-probabilities. The same seed gives the same objects."""
        generator = torch.Generator().manual_seed(seed)
        objects = self._built(n, generator)
        known = self.environment.has_reward
        log_rewards = self.environment.log_reward(objects) if known else torch.full((n,), torch.nan)
        return Composed(objects, log_rewards, self.log_law(objects, generator))

    @torch.no_grad()
    def objects(self, n: int, seed: int = 0) -> Tensor:
        """The objects of `sample` alone (n, width): quicker where probabilities have to be estimated."""
        return self._built(n, torch.Generator().manual_seed(seed))

    def _built(self, n: int, generator: torch.Generator) -> Tensor:
        if n < 1:
            raise DataError(f"{type(self).__name__}: asked for {n} objects; it must be at least 1")
        return torch.cat([self.build(min(PART, n - i), generator) for i in range(0, n, PART)])

    # -- how good it is -----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def evaluate(self, data: Environment, seed: int = 0) -> dict[str, float]:
        """Where objects can be enumerated: l1, sum |P_T(x) - R(x)/Z| (0 to 2), and the modes
        (`mode_bar`) among 2000 drawn objects, of how many. Elsewhere: log_ratio_spread, the standard deviation of
        log R(x) - log P_T(x) over drawn objects, 0 for a perfect sampler. Then the mean reward of drawn objects and
        how many rewards training asked for."""
        environment = self.adopted(data)
        many = isinstance(environment, DiscreteEnvironment) and not environment.enumerable
        drawn = self.sample(GLANCE if many else DRAWN, seed)
        found = self._distance(environment, drawn)
        if isinstance(environment, DiscreteEnvironment) and environment.enumerable:
            bar = mode_bar(environment)
            found["modes"] = float(modes_found(environment, drawn.objects, bar))
            found["modes_of"] = float((environment.log_reward(environment.objects) >= bar - 1e-6).sum())
        found["mean_reward"] = float(drawn.log_rewards.double().exp().mean())
        return found | {"reward_calls": float(self.reward_calls)}

    def adopted(self, data: Any) -> Environment:
        """The environment of `data`, checked, whose reward the method now asks."""
        self.adopt(self.check(data))
        return self.environment

    def law(self, environment: DiscreteEnvironment) -> Tensor | None:
        """P of `environment.objects` (count,) float64, or None where the sampler cannot say."""
        return None

    def _distance(self, environment: Environment, drawn: Composed) -> dict[str, float]:
        if isinstance(environment, DiscreteEnvironment) and environment.enumerable:
            law = self.law(environment)
            if law is None:  # frequencies: their noise adds to the distance
                at = places(environment, drawn.objects)
                law = torch.bincount(at, minlength=len(environment.objects)) / len(at)
            return {"l1": l1(law, environment.target)}
        ratio = drawn.log_rewards - drawn.log_probabilities
        return {"log_ratio_spread": float(ratio.double().std())}

    def score(self, data: Environment, seed: int = 0) -> float:
        """The first metric of `evaluate`."""
        environment = self.adopted(data)
        if isinstance(environment, DiscreteEnvironment) and environment.enumerable:
            law = self.law(environment)
            if law is not None:
                return l1(law, environment.target)
        return next(iter(self._distance(environment, self.sample(GLANCE, seed)).values()))

    def predict(self, data: Environment, seed: int = 0) -> "pd.DataFrame":
        """1000 objects, one per row, best first: in words, log-reward and log-probability (empty where there is
        none)."""
        import pandas as pd

        environment = self.adopted(data)
        drawn = self.sample(1000, seed)
        table: dict[str, Any] = {"object": environment.text(drawn.objects), "log_reward": drawn.log_rewards.tolist()}
        if not bool(torch.isnan(drawn.log_probabilities).all()):
            table["log_probability"] = drawn.log_probabilities.tolist()
        return pd.DataFrame(table).sort_values("log_reward", ascending=False, kind="stable", ignore_index=True)

    @classmethod
    def figures(cls, methods: dict[str, Method], data: Environment) -> list[Figure]:
        from pathline.compose import pictures

        composers = {name: method for name, method in methods.items() if isinstance(method, Composer)}
        return pictures.figures(composers, data) if composers else []


class FlowComposer(Composer):
    """A composer on a discrete environment whose policy, flows and log Z are trained to balance.

    width, depth:   hidden layers of the policy's network
    objective:      "db", "tb", "subtb" or "fm"
    lamda, weighting: of "subtb", see `sub_trajectory_balance`
    epsilon:        share of uniform moves while exploring
    learn_backward: P_B from the network instead of uniform over the parents
    piece:          learn from one random piece of so many moves of each trajectory alone; None learns from all of it
    shared:         one trunk for policy and flow, or a network for each
    """

    recipe = Recipe(steps=1000, batch_size=16, lr=1e-3, schedule="constant", clip=None, validations=5)
    rates: ClassVar[dict[str, float]] = {"log_z": 100.0}  # 0.1 where the policy learns at 1e-3
    energy = False  # whether the flow is forward-looking
    energy_calls: Tensor

    def __init__(
        self,
        environment: dict[str, Any],
        width: int = 256,
        depth: int = 2,
        objective: str = "subtb",
        lamda: float = 0.9,
        weighting: str = "geometric_within",
        epsilon: float = 0.0,
        learn_backward: bool = False,
        piece: int | None = None,
        shared: bool = False,
    ) -> None:
        super().__init__(environment)
        if objective not in (*OBJECTIVES, "fm") or weighting not in WEIGHTINGS:
            raise MethodError(
                f"objective '{objective}' is one of {', '.join([*OBJECTIVES, 'fm'])}, and weighting '{weighting}' one "
                f"of {', '.join(WEIGHTINGS)}"
            )
        if not isinstance(self.environment, DiscreteEnvironment):
            raise MethodError(f"{type(self).__name__} builds discrete objects; for densities use contgfn")
        if lamda <= 0 or not 0 <= epsilon <= 1:
            raise MethodError(f"lamda {lamda:g} must be above 0 and epsilon {epsilon:g} between 0 and 1")
        if piece is not None and (piece < 1 or "tb" in (objective, weighting)):
            raise MethodError(
                f"pieces of {piece} moves: give at least 1, and an objective that needs no whole trajectories"
            )
        self.objective, self.lamda, self.weighting, self.epsilon = objective, lamda, weighting, epsilon
        self.piece = piece
        self.register_buffer("energy_calls", torch.zeros((), dtype=torch.int64))
        self.policy = DiscretePolicy(self.environment, width, depth, learn_backward, objective != "tb", shared)
        self.log_z = torch.nn.Parameter(torch.zeros(())) if objective == "tb" else None

    @classmethod
    def require(cls, data: Any) -> Any:
        environment = super().require(data)
        if not isinstance(environment, DiscreteEnvironment):
            raise DataError(f"{environment.name}: {cls.__name__} builds discrete objects; for densities use contgfn")
        return environment

    def adopt(self, data: Environment) -> None:
        super().adopt(data)
        assert isinstance(self.environment, DiscreteEnvironment)
        self.policy.environment = self.environment

    def loss(self, batch: Starts) -> dict[str, Tensor]:
        paths = self.policy.draw(len(batch), self.epsilon)
        if self.piece is not None:
            starts = (paths.length - self.piece).clamp(min=0) + 1
            paths = paths.cut((torch.rand(len(batch)) * starts).long(), self.piece)
        self.count(paths)
        return {"loss": self.balance(paths)}

    def count(self, paths: Paths) -> None:
        """Note what `paths` ask for: a reward for each object, and an energy for each state where those are looked
        at."""
        self.reward_calls += self.policy.environment.is_terminal(paths.ends).sum()
        if self.energy:
            self.energy_calls += (paths.length + 1).sum()

    def balance(self, paths: Paths) -> Tensor:
        """The objective on given trajectories, or on pieces of them that need not end in an object."""
        if self.objective == "fm":
            return flow_matching(*self.policy.flow_balance(paths))
        scored = self.scored(paths)
        if self.objective == "subtb":
            return sub_trajectory_balance(scored, self.lamda, self.weighting)
        return OBJECTIVES[self.objective](scored)

    def scored(self, paths: Paths) -> Trajectories:
        """Log-probabilities and flows along `paths`."""
        return self.policy.score(paths, self.log_z, self.energy)

    def fit_partial(self, paths: Paths, steps: int = 1, lr: float | None = None) -> Self:
        """Train on given trajectories or pieces of them alone; no reward is asked for but of objects that they contain.

        Raises:
            MethodError: the objective needs whole trajectories.
        """
        if "tb" in (self.objective, self.weighting):
            raise MethodError("trajectory balance needs whole trajectories; use objective 'db' or 'subtb' for pieces")
        self.count(paths)
        optimizer = torch.optim.Adam(self.parameters(), lr=lr or self.recipe.lr)
        for _ in range(steps):
            optimizer.zero_grad()
            self.balance(paths).backward()
            optimizer.step()
        return self

    def build(self, n: int, generator: torch.Generator) -> Tensor:
        return self.policy.draw(n, generator=generator).ends

    def law(self, environment: DiscreteEnvironment) -> Tensor:
        return exact_law(environment, self.policy.log_forward)

    def log_law(self, objects: Tensor, generator: torch.Generator) -> Tensor:
        environment = self.policy.environment
        if environment.enumerable:
            return self.law(environment)[places(environment, objects)].log()
        return estimated_log_law(self.policy, objects, BACKWARD, generator)

    def log_partition(self) -> float:
        """The learned log Z."""
        if self.log_z is not None:
            return float(self.log_z.detach())
        with torch.no_grad():
            flow = float(self.policy.log_flow(self.policy.environment.source(1)))
        return flow if math.isfinite(flow) else math.nan

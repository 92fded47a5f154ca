"""Forward-looking GFlowNets: score half-built objects, and learn from every move, even of builds that never finish.

    R(x) = exp(-E(x)) with an energy E of all states, E(s_0) = 0;      log F(s) = log F~(s) - E(s),   log F~(x) = 0
    loss   [log F~(s) + log P_F(s'|s) - log F~(s') - log P_B(s|s') + E(s') - E(s)]^2           on every move s -> s'

The network learns F~, what is still to come, and the known part of the reward enters at once. With weights
lamda^(j-i) over pieces of trajectories it is the forward-looking form of sub-trajectory balance.
Pan, Malkin, Zhang, Bengio, 2023, "Better Training of GFlowNets with Local Credit and Incomplete Trajectories", ICML,
arXiv:2302.01687.
Departs: the energy enters through the flow, log F = log F~ - E, in the objectives that all composers share; the same
numbers.

Where it does not help: where the energies of half-built objects say little about how they end.
"""

from typing import Any

from pathline.compose.base import FlowComposer
from pathline.core.errors import DataError, MethodError
from pathline.data.environment import DiscreteEnvironment, Environment


class FLGFN(FlowComposer):
    """Detailed balance (or "subtb") of forward-looking flows; see `FlowComposer` for the settings.

    Needs an environment whose half-built objects have an energy (`Sets`, `Bits`, or your own `energy`).
    """

    energy = True

    def __init__(
        self,
        environment: dict[str, Any],
        width: int = 256,
        depth: int = 2,
        objective: str = "db",
        lamda: float = 0.9,
        weighting: str = "geometric_within",
        epsilon: float = 0.05,
        learn_backward: bool = False,
        piece: int | None = None,
        shared: bool = False,
    ) -> None:
        if objective not in ("db", "subtb"):
            raise MethodError(f"forward-looking flows balance as 'db' or 'subtb', not as '{objective}'")
        super().__init__(environment, width, depth, objective, lamda, weighting, epsilon, learn_backward, piece, shared)

    @classmethod
    def require(cls, data: Any) -> Environment:
        environment: Environment = super().require(data)
        if not isinstance(environment, DiscreteEnvironment) or not environment.has_energy:
            raise DataError(
                f"{environment.name}: half-built objects have no energy, which {cls.__name__} learns from; "
                "use subtb, or give the environment an `energy`"
            )
        return environment

"""SEGNO: a network gives accelerations, an integrator gives the motion, so every moment within a step means something.

    q'' = phi_theta(h, q, q', edges),   h <- h + phi_h(...)            one set of weights for all integration steps
    q' <- q' + dt q'',  q <- q + dt q'     (semi-implicit Euler; N steps of dt = T / N between two supervised frames)
Liu, Cheng et al., 2024, "SEGNO: Generalizing Equivariant Graph Neural Networks with Physical Inductive Biases",
arXiv:2308.13212.

Training sees the end of a step only. If phi is Lipschitz, the second-order form admits one trajectory between
(q0, q0') and the end, at a distance from the true one of at most a multiple of dt plus the error of the acceleration:
that is why states in between, and rollouts fed with the model's own (q, q'), make sense. A stack of different layers
promises neither.

Departs: phi sees no initial distances (the official code keeps them as an edge feature), so the motion depends on the
present state alone; lengths and accelerations are measured in the data's own units (`units.py`).
"""

import torch
from torch import Tensor

from pathline.core.method import Recipe
from pathline.data import Step
from pathline.nn.equivariant import EquivariantNetwork
from pathline.ode import SecondOrderSolution, integrate_second_order
from pathline.simulate.base import LearnedSimulator


class SEGNO(LearnedSimulator):
    """A second-order graph ODE.

    width:      64 in the paper
    substeps:   N integration steps within one supervised step (8 in the official n-body runs)
    layers:     message-passing layers per acceleration
    integrator: "semi-implicit-euler" (official), "euler", "verlet", "midpoint", "heun" or "rk4"
    drag:       adds phi_v(h_i) q_i' to the acceleration (official for molecules)
    speed:      h starts from ||q'|| too, as in the official code. Without it, and without drag, the model is Galilean:
                it does not notice a common drift of all bodies
    scale_h:    h moves by dt phi_h instead of phi_h: features with an ODE of their own, whatever N is
    normalize:  divide q_i - q_j by ||q_i - q_j|| + 1, so that an acceleration does not grow with the distance

    Another backbone: subclass and override `acceleration`.
    """

    recipe = Recipe(lr=2e-3, batch_size=100, steps=2000, clip=1.0)

    def __init__(
        self,
        node_features: int = 0,
        edge_features: int = 0,
        width: int = 64,
        substeps: int = 8,
        layers: int = 1,
        integrator: str = "semi-implicit-euler",
        drag: bool = False,
        speed: bool = True,
        scale_h: bool = False,
        normalize: bool = False,
    ) -> None:
        super().__init__(node_features, edge_features)
        self.substeps, self.integrator = substeps, integrator
        self.drag, self.speed, self.scale_h = drag, speed, scale_h
        self.network = EquivariantNetwork(
            max(1, speed + node_features), width, layers, edge_features, velocity=drag, normalize=normalize
        )

    def initial_features(self, state: Step) -> Tensor:
        """h at the start of a step, from invariants: (batch, nodes, width)."""
        columns = self.node_columns(state)
        if self.speed:
            columns = [state.velocity.norm(dim=-1, keepdim=True) / self.units.speed, *columns]
        return self.network.embedding(torch.cat(columns or [torch.ones_like(state.position[..., :1])], -1))

    def acceleration(self, q: Tensor, qdot: Tensor, h: Tensor, state: Step) -> tuple[Tensor, Tensor]:
        """q'' and the next h, with supervised steps as the unit of time: q' and q'' are lengths per step (squared)."""
        units = self.units
        edges = self.edge_columns(state)
        h, motions = self.network(
            h,
            q / units.length,
            state.edge_index,
            edges[0] if edges else None,
            qdot / units.bend if self.drag else None,
            unit=0.0,
        )
        return units.bend * motions[-1], h

    def solve(self, state: Step) -> SecondOrderSolution:
        """States at the ends of the integration steps that make up `state.duration`; velocities are lengths per
        supervised step. A duration other than the one learned takes more or fewer steps of the same size."""
        learned = self.units.duration
        share = state.duration / float(learned)
        count = max(1, round(self.substeps * share))

        def acceleration(q: Tensor, qdot: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
            assert h is not None  # it is carried from step to step
            return self.acceleration(q, qdot, h, state)

        return integrate_second_order(
            acceleration,
            state.position,
            state.velocity * learned,
            [share * k / count for k in range(count + 1)],
            method=self.integrator,
            h=self.initial_features(state),
            scale_h=self.scale_h,
            positions_only=not self.drag,
        )

    def step(self, state: Step) -> tuple[Tensor, Tensor]:
        """Position and velocity at the end; the velocity is the integrator's, never supervised."""
        solution = self.solve(state)
        return solution.q[-1], solution.qdot[-1] / self.units.duration

    def states_within(self, state: Step) -> Tensor:
        """(substeps + 1, batch, nodes, dims): positions from the start to the end of a step."""
        return self.solve(state).q

    def _check_duration(self, duration: float) -> None:
        """Any duration will do: it is integrated over."""

"""Physics-informed network: u(x, t) as one network that is penalised where the equation does not hold.

    R = u_t + f(u) u_x - nu u_xx at fixed places;   loss = <R^2> + w <(u(x, 0) - u0(x))^2>
With periodic inputs (cos x, sin x, t), periodicity is exact. Two remedies for its failure at high speeds are there: a
curriculum, whose speed grows over the stages of training, and windows of time that are learned one after another, each
from the end of the one before. Raissi, Perdikaris, Karniadakis, 2019, J. Comput. Phys. 378, arXiv:1711.10561; failure,
curriculum and sequence-to-sequence: Krishnapriyan et al., 2021, NeurIPS, arXiv:2109.01050.
Departs: with `scaled` R is measured in units of the fastest speed, so that losses of slow and fast transport compare;
by default it is not.
"""

import torch
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.data.equation import Nodes
from pathline.nn.conditions import periodic
from pathline.nn.derivatives import along, twice_along
from pathline.nn.mlp import MLP
from pathline.simulate.equations import CollocationSolver

STAGINGS = ("none", "curriculum", "windows")


class PINN(CollocationSolver):
    """One network of place and time, or one for each window of time.

    width, depth: of the hidden layers, with tanh
    scaled:       whether the residual is divided by the fastest speed (at least 1)
    staging:      "none", "curriculum" or "windows"
    stages, stage_steps: how many stages, and training steps until the next one begins; the last lasts to the end
    """

    def __init__(
        self,
        points: int,
        speed: float,
        self_advection: float,
        viscosity: float,
        duration: float,
        period: float,
        labels: int = 64,
        times: int = 32,
        initial_weight: float = 10.0,
        norm: str = "squared",
        width: int = 38,
        depth: int = 4,
        scaled: bool = False,
        staging: str = "none",
        stages: int = 4,
        stage_steps: int = 300,
    ) -> None:
        super().__init__(
            points, speed, self_advection, viscosity, duration, period, labels, times, initial_weight, norm
        )
        if staging not in STAGINGS:
            raise MethodError(f"staging is '{staging}'; choose one of {', '.join(STAGINGS)}")
        if stages < 1 or stage_steps < 1:
            raise MethodError(f"{stages} stages of {stage_steps} steps; both must be at least 1")
        self.scaled, self.staging = scaled, staging
        self.stages, self.stage_steps = stages, stage_steps
        self.windows = stages if staging == "windows" else 1
        self.nets = nn.ModuleList(MLP([3, *[width] * depth, 1], nn.Tanh) for _ in range(self.windows))
        self.register_buffer("steps_done", torch.zeros((), dtype=torch.int64))

    steps_done: Tensor

    def begin_epoch(self) -> None:
        """An epoch is one step here; the count says which stage training is in."""
        self.steps_done += 1

    @property
    def stage(self) -> int:
        return min(max(int(self.steps_done) - 1, 0) // self.stage_steps, self.stages - 1)

    def field(self, window: int, x: Tensor, t: Tensor) -> Tensor:
        """u of one window at (x, t), each (batch,), in the data's units."""
        inputs = torch.cat([periodic(x, self.period), (t / self.duration)[:, None]], -1)
        u: Tensor = self.nets[window](inputs)
        return u[:, 0]

    def residual(self, window: int, x: Tensor, t: Tensor, share: float = 1.0) -> Tensor:
        """u_t + share f(u) u_x - nu u_xx, (batch,)."""

        def field(x: Tensor, t: Tensor) -> Tensor:
            return self.field(window, x, t)

        _, u_t = along(field, 1, x, t)
        u, u_x, u_xx = twice_along(field, 0, x, t) if self.viscosity else (*along(field, 0, x, t), None)
        found = u_t + share * self.carried(u) * u_x
        return found if u_xx is None else found - self.viscosity * u_xx

    def window_losses(self, window: int, nodes: Nodes, share: float = 1.0) -> dict[str, Tensor]:
        """Terms of one window: the nodes' times are squeezed into it, and it starts where the one before ended."""
        begin, length = window * self.duration / self.windows, self.duration / self.windows
        t = begin + nodes.t / self.windows
        unit = self.fastest / self.duration * (self.period / (2 * torch.pi)) if self.scaled else 1.0
        equation = self.penalty(self.residual(window, nodes.x, t, share) / unit)
        x = nodes.x[: self.labels]
        at_begin = torch.full_like(x, begin)
        start = self.start(x) if not window else self.field(window - 1, x, at_begin).detach()
        initial = self.penalty(self.field(window, x, at_begin) - start)
        assert length > 0
        return {"loss": equation + self.initial_weight * initial, "equation": equation, "initial": initial}

    def loss(self, batch: Nodes) -> dict[str, Tensor]:
        """The terms of the stage that training is in."""
        if self.staging == "windows":
            return self.window_losses(self.stage, batch)
        share = (self.stage + 1) / self.stages if self.staging == "curriculum" else 1.0
        return self.window_losses(0, batch, share)

    def losses(self, nodes: Nodes) -> dict[str, Tensor]:
        """The terms of the whole problem: of all windows, at the full speed."""
        parts = [self.window_losses(window, nodes) for window in range(self.windows)]
        return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}

    def solve(self, times: Tensor) -> Tensor:
        points = len(self.initial)
        x = torch.arange(points, device=self.device) * (self.period / points)
        times = times.to(self.device, self.initial.dtype)
        window = (times / self.duration * self.windows).long().clamp(max=self.windows - 1)
        rows = [
            self.field(
                k, x.to(times.dtype).repeat(int((window == k).sum())), times[window == k].repeat_interleave(points)
            )
            for k in range(self.windows)
        ]
        return torch.cat(rows).view(-1, points)

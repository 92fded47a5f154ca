"""What methods share that learn a density rho(x, t) and its velocity v(x, t), from populations or from sensors.

    sensors      E (log rho - log rho_obs)^2 + lambda E |v - v_obs|^2        where each was measured
    populations  - E log rho(x, t)

Densities of sensors have a mass that is learned; populations are normalised at each time.
"""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.core.errors import DataError, MethodError
from pathline.core.method import Figure, Method
from pathline.data import Measurements, Snapshots
from pathline.data.container import Split
from pathline.data.measurements import Readings
from pathline.data.snapshots import Cells
from pathline.transport.base import Transporter

if TYPE_CHECKING:
    import pandas as pd


class FieldLearner(Transporter):
    """A transporter that knows rho and v everywhere. A subclass writes `log_density_inside` and `velocity_inside`.

    mass:            whether the total mass is learned, as sensors ask for; `for_data` sets it
    velocity_weight: lambda, in units of the mean square of the measured velocities
    fit_to:          "log" densities; "density" itself in units of its root mean square; or "softplus", between the two:
                     log(1 + rho / c) in units of its root mean square, where c is `floor` times the largest density
    floor:           with "log", measured densities are raised to this share of the largest before their logarithm is
                     taken; with "softplus", densities far below it count by difference, far above it by ratio
    """

    velocity_scale: Tensor
    density_scale: Tensor
    largest_density: Tensor
    bent_scale: Tensor

    def __init__(
        self,
        dims: int,
        snapshots: int,
        mass: bool = False,
        velocity_weight: float = 1.0,
        fit_to: str = "log",
        floor: float = 1e-3,
    ) -> None:
        super().__init__(dims, snapshots)
        if fit_to not in ("log", "density", "softplus"):
            raise MethodError(f"fit_to is '{fit_to}'; choose log, density or softplus")
        self.velocity_weight, self.fit_to, self.floor = velocity_weight, fit_to, floor
        self.log_mass = nn.Parameter(torch.zeros(()), requires_grad=mass)
        self.register_buffer("velocity_scale", torch.ones(()))
        self.register_buffer("density_scale", torch.ones(()))
        self.register_buffer("largest_density", torch.ones(()))
        self.register_buffer("bent_scale", torch.ones(()))

    # -- data ---------------------------------------------------------------------------------------------------------

    @classmethod
    def require(cls, data: Any) -> Any:
        """Populations, or readings of sensors."""
        part = data.train if isinstance(data, Split) else data
        if not isinstance(part, Measurements):
            return super().require(data)
        if len(torch.unique(part.times)) < 2:
            raise DataError(f"{part.name}: a single time has no motion to learn; bring readings of at least two")
        return part

    @classmethod
    def for_data(cls, data: Any, **config: Any) -> Self:
        part = cls.require(data)
        if isinstance(part, Measurements):
            sizes: dict[str, Any] = {"dims": part.dims, "snapshots": 2, "mass": True}
            method = cls(**(sizes | config))
            method.read_units(part)
            return method
        return super().for_data(data, **config)

    def read_units(self, data: Snapshots | Measurements) -> None:
        """Also the scales of density and velocity, where they were measured."""
        if isinstance(data, Snapshots):
            super().read_units(data)
            return
        self.shift.copy_(data.positions.mean(0))
        self.scale.copy_(data.positions.std(0, correction=0).square().mean().sqrt().clamp(min=1e-12))
        self.learned_times.copy_(torch.stack([data.times.min(), data.times.max()]))
        speed = data.velocity[torch.isfinite(data.velocity).all(1)] * self.interval / self.scale
        if len(speed):
            self.velocity_scale.copy_(speed.square().mean().sqrt().clamp(min=1e-6))
        density = data.density[torch.isfinite(data.density)]
        self.density_scale.copy_(density.square().mean().sqrt().clamp(min=1e-12))
        self.largest_density.copy_(density.max())
        bent = (density / (self.floor * density.max())).log1p()
        self.bent_scale.copy_(bent.square().mean().sqrt().clamp(min=1e-12))
        with torch.no_grad():  # a mass that spreads the mean density over the sensors' own spread
            spread = (2 * torch.pi) ** (self.dims / 2) * self.scale**self.dims
            self.log_mass.copy_((density.mean() * spread).log())

    # -- the fields ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def log_density_inside(self, x: Tensor, t: Tensor) -> Tensor:
        """log rho, of mass 1 where a method can tell, at scaled x (batch, dims) and t (batch,) from 0 to 1."""

    @abstractmethod
    def velocity_inside(self, x: Tensor, t: Tensor) -> Tensor:
        """dx/dt there: (batch, dims)."""

    def both_inside(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """`log_density_inside` and `velocity_inside`, for methods that share work between the two."""
        return self.log_density_inside(x, t), self.velocity_inside(x, t)

    def moment(self, times: Tensor | float) -> Tensor:
        """Times of the data as 0 at the first and 1 at the last that was learned from."""
        begin, end = self.learned_times[0], self.learned_times[-1]
        return ((torch.as_tensor(times, dtype=torch.float64).to(begin.device) - begin) / (end - begin)).to(self.shift)

    def _log_unit(self) -> Tensor:
        """What to add to the log-density inside for that of the data."""
        return self.log_mass - self.dims * self.scale.log()

    @torch.no_grad()
    def log_density(self, x: Tensor, times: Tensor | float) -> Tensor:
        """log rho at x (batch, dims) and times (batch,) or one for all, in the data's units: (batch,)."""
        self._check_positions(x)
        x = x.to(self.shift)
        return self.log_density_inside(self.scaled(x), self.moment(times).expand(len(x)).clone()) + self._log_unit()

    @torch.no_grad()
    def velocity(self, x: Tensor, time: float | Tensor) -> Tensor:
        """v at x (batch, dims) and times (batch,) or one for all, in the data's units: (batch, dims)."""
        self._check_positions(x)
        x = x.to(self.shift)
        found = self.velocity_inside(self.scaled(x), self.moment(time).expand(len(x)).clone())
        return found * self.scale / (self.learned_times[-1] - self.learned_times[0]).to(found)

    def growth(self, x: Tensor, time: float) -> Tensor:
        """Nothing is born or lost: zeros (cells,)."""
        return x.new_zeros(len(x))

    # -- learning -----------------------------------------------------------------------------------------------------

    def loss(self, batch: Cells | Readings) -> dict[str, Tensor]:
        """Misfit to sensors, or the negative log-likelihood of cells."""
        x, t = self.scaled(batch.positions), self.moment(batch.times)
        if isinstance(batch, Cells):
            return self.of_cells(x, t)
        return self.of_readings(batch, *self.both_inside(x, t))

    def of_cells(self, x: Tensor, t: Tensor) -> dict[str, Tensor]:
        """-E log rho."""
        return {"loss": -self.log_density_inside(x, t).mean()}

    def of_readings(self, batch: Readings, log_density: Tensor, velocity: Tensor) -> dict[str, Tensor]:
        """Squared errors of density and velocity where they were measured."""
        log_density = log_density + self._log_unit()
        has_density, has_velocity = torch.isfinite(batch.density), torch.isfinite(batch.velocity).all(1)
        bend = self.floor * self.largest_density
        if self.fit_to == "log":
            error = log_density - torch.maximum(batch.density, bend).log()
        elif self.fit_to == "softplus":
            error = (F.softplus(log_density - bend.log()) - (batch.density / bend).log1p()) / self.bent_scale
        else:
            error = (log_density.exp() - batch.density) / self.density_scale
        of_density = torch.where(has_density, error, 0.0).square().sum() / has_density.sum().clamp(min=1)
        speed = batch.velocity * (self.learned_times[-1] - self.learned_times[0]).to(velocity) / self.scale
        miss = torch.where(has_velocity[:, None], velocity - speed, 0.0).square().sum() / self.velocity_scale.square()
        of_velocity = miss / (has_velocity.sum().clamp(min=1) * self.dims)
        loss = of_density + self.velocity_weight * of_velocity
        return {"loss": loss, "density": of_density, "velocity": of_velocity}

    # -- how good it is -----------------------------------------------------------------------------------------------

    def evaluate(self, data: Snapshots | Measurements, seed: int = 0) -> dict[str, float]:
        """As every transporter on populations; on sensors, root mean squared errors of density and velocity."""
        if not isinstance(data, Measurements):
            return super().evaluate(data, seed)
        self._check_readings(data)
        found = {}
        has_density, has_velocity = torch.isfinite(data.density), torch.isfinite(data.velocity).all(1)
        density = self.log_density(data.positions, data.times).exp().cpu()
        found["density_rmse"] = _rms((density - data.density)[has_density])
        if has_velocity.any():
            velocity = self.velocity(data.positions, data.times).cpu()
            found["velocity_rmse"] = _rms((velocity - data.velocity)[has_velocity])
        return found

    def score(self, data: Snapshots | Measurements, seed: int = 0) -> float:
        """What training minimises on sensors, so that velocity counts too; distance on populations."""
        if not isinstance(data, Measurements):
            return super().score(data, seed)
        with torch.no_grad():
            batch = data.gather(torch.arange(len(data))).to(self.device)
            inside = self.both_inside(self.scaled(batch.positions), self.moment(batch.times))
            return float(self.of_readings(batch, *inside)["loss"])

    def predict(self, data: Snapshots | Measurements, seed: int = 0) -> "pd.DataFrame":
        """On sensors, a row per reading with the density and velocity there; on populations as every transporter."""
        import pandas as pd

        if not isinstance(data, Measurements):
            return super().predict(data, seed)
        self._check_readings(data)
        names = list(data.columns) or [f"x{i + 1}" for i in range(self.dims)]
        velocity = self.velocity(data.positions, data.times).cpu()
        table = {"time": data.times.numpy()} | dict(zip(names, data.positions.T.numpy(), strict=True))
        table["density"] = self.log_density(data.positions, data.times).exp().cpu().numpy()
        return pd.DataFrame(table | {f"v_{name}": velocity[:, i].numpy() for i, name in enumerate(names)})

    def _check_readings(self, data: Measurements) -> None:
        if data.dims != self.dims:
            raise DataError(
                f"{data.name}: its places have {data.dims} dimensions, but this {type(self).__name__} was made for "
                f"{self.dims}"
            )

    @classmethod
    def figures(cls, methods: dict[str, Method], data: Any) -> list[Figure]:
        """Also density and velocity on a plane, where there is one."""
        from pathline.transport import field_pictures

        learners = {name: method for name, method in methods.items() if isinstance(method, FieldLearner)}
        own = field_pictures.figures(learners, data) if data.dims == 2 and learners else []
        return [*super().figures(methods, data), *own]


def _rms(errors: Tensor) -> float:
    """inf where an error is not finite."""
    found = float(errors.double().square().mean().sqrt()) if errors.numel() else 0.0
    return found if found == found else float("inf")

"""Bodies, meshes, fields and equations that a simulator learns from. Facts are in datasets.toml."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathline.data.errors import DataError
from pathline.data.fetch import fetch
from pathline.data.set_facts import facts

if TYPE_CHECKING:
    from pathline.data.equation import Equation
    from pathline.data.fields import Fields
    from pathline.data.meshes import Meshes
    from pathline.data.rollouts import Rollouts


def _nbody(kind: str) -> "Callable[[], Rollouts]":
    def build() -> "Rollouts":
        from pathline.sims import nbody

        simulate: dict[str, Callable[..., Rollouts]] = {
            "charged": nbody.charged_nbody,
            "gravity": nbody.gravity_nbody,
            "springs": nbody.spring_nbody,
        }
        frames = range(3100, 5101, 1000)  # input, target, and one more step for rollouts
        return simulate[kind](1000, frames, seed=0).step_between(0, 1)

    return build


def _simulated_cloth() -> "Meshes":
    from pathline.sims.cloth import simulated_cloth

    return simulated_cloth()


def _simulated_cylinder_flow() -> "Meshes":
    from pathline.sims.cylinder_flow import cylinder_flow

    return cylinder_flow()


def _molecule(key: str) -> "Callable[[], Rollouts]":
    def build() -> "Rollouts":
        from pathline.data.readers.extxyz import rollouts_from_forces

        return rollouts_from_forces(fetch(key, facts()[key])[0])

    return build


def _motion_capture() -> "Rollouts":
    """Subject 35, one skeleton, each recording a group of its own."""
    from pathline.data.readers.asf_amc import read_motion

    return read_motion(fetch("mocap-cmu", facts()["mocap-cmu"]))


def _equation(mean: float, **facts: Any) -> "Callable[[], Equation]":
    """A sine wave on 256 places, plus a mean."""

    def build() -> "Equation":
        import torch

        from pathline.data.equation import Equation

        x = torch.arange(256, dtype=torch.float64) * (2 * torch.pi / 256)
        return Equation(initial=x.sin() + mean, **facts)

    return build


def _channel_flow() -> "Fields":
    from pathline.sims.flow_fields import channel_flow

    return channel_flow()


def _starting_channel_flow() -> "Fields":
    from pathline.sims.flow_fields import starting_channel_flow

    return starting_channel_flow()


def _ocean_temperature() -> "Fields":
    """The one variable on the grid; the package is not imported, for it is data alone."""
    from importlib.util import find_spec

    from pathline.data.readers.netcdf import read_netcdf

    home = find_spec("iris_sample_data")
    if home is None or home.origin is None:
        raise DataError(
            "'ocean-temperature' ships inside a Python package: pip install iris-sample-data, or use the built-in "
            "'channel-flow'"
        )
    return read_netcdf(Path(home.origin).parent / "sample_data" / "ostia_monthly.nc", "surface_temperature")


SIMULATION_SETS: dict[str, Callable[[], Any]] = {
    "fast-transport": _equation(0.0, speed=30.0),
    "fast-burgers": _equation(10.0, self_advection=1.0, viscosity=0.05),
    "charged-nbody": _nbody("charged"),
    "gravity-nbody": _nbody("gravity"),
    "springs-nbody": _nbody("springs"),
    "simulated-cloth": _simulated_cloth,
    "simulated-cylinder-flow": _simulated_cylinder_flow,
    "md-ethanol": _molecule("md-ethanol"),
    "md-3bpa": _molecule("md-3bpa"),
    "mocap-cmu": _motion_capture,
    "channel-flow": _channel_flow,
    "starting-channel-flow": _starting_channel_flow,
    "ocean-temperature": _ocean_temperature,
}

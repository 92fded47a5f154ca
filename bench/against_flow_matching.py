"""Sampling with Dormand-Prince 5(4) at one tolerance, beside flow_matching and the torchdiffeq under it.

Both sides integrate one and the same network object with the same weights from the same noise, so that the solver and
what surrounds it are all that differs. The peer's wrapper fills a batch with the solver's time as the wrapper in the
peer's own image example does. The ends are compared with a solution in float64 at a tolerance a thousand times tighter:
a solver that is faster because it is less exact would show there.
"""

import copy
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from flow_matching.solver import ODESolver
from flow_matching.utils import ModelWrapper
from torch import Tensor

from bench.side_by_side import Measured, Side, conditions, in_turn, parameters
from pathline.core.budget import steps
from pathline.core.train import train
from pathline.data import Samples
from pathline.generate.flow_matching import FlowMatching
from pathline.sims.points import points

TOLERANCE = 1e-5


def measure() -> tuple[dict[str, Any], list[Measured]]:
    """Networks of points in the plane and one of images, each trained for a moment: a fresh field is too easy."""
    where = conditions("flow_matching", "torchdiffeq")
    coarse = torch.rand(512, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    smooth = F.interpolate(coarse, size=(32, 32), mode="bilinear")
    pictures = Samples(name="smooth", values=smooth, bounds=(0.0, 1.0))
    lines = []
    for law in ("checkerboard", "two-moons", "eight-gaussians"):
        plane = replace(points(law, 4096), labels=None)
        lines.append(compared(trained(plane, 300), 500, f"500 points of {law} by an MLP"))
    return where, [*lines, compared(trained(pictures, 20), 4, "4 images 32 x 32 by a U-Net")]


def trained(data: Samples, count: int) -> FlowMatching:
    """Flow matching with the networks of the catalogue on `data`, after `count` steps."""
    torch.manual_seed(0)
    method = FlowMatching.for_data(data)
    train(method, data, steps(count), precision="fp32", batch_size=32, warmup=0, ema=None)
    return method


def compared(method: FlowMatching, count: int, words: str) -> Measured:
    """Both solvers on the network of `method`, from the same noise."""
    noise = torch.randn(count, *method.shape, generator=torch.Generator().manual_seed(0))
    network = Counted(method)

    def ours() -> Tensor:
        return method.carry(noise, None, 1, solver="dopri5", tolerance=TOLERANCE).states[-1]

    def peer() -> Tensor:
        solver = ODESolver(velocity_model=network)
        ends: Tensor = solver.sample(noise, step_size=None, method="dopri5", atol=TOLERANCE, rtol=TOLERANCE)
        return ends

    with torch.no_grad():
        few = noise[:64]
        exact = copy.deepcopy(method).double().carry(few.double(), None, 1, solver="dopri5", tolerance=1e-8).states[-1]
        calls = method.carry(noise, None, 1, solver="dopri5", tolerance=TOLERANCE).evaluations
        own, other = (float((side()[:64] - exact).square().mean().sqrt()) for side in (ours, peer))
        peer_calls = network.calls
        return in_turn(
            Side("pathline, FlowMatching.carry", torch.no_grad()(ours), parameters(method), "fp32"),
            Side("flow_matching, ODESolver on torchdiffeq", peer, parameters(method), "fp32"),
            f"dopri5 at {TOLERANCE:g}, {words}",
            1.5,
            f"RMS distance from the solution in float64 at 1e-8: ours {own:.1e} after {calls} network calls, the "
            f"peer's {other:.1e} after {peer_calls}",
        )


class Counted(ModelWrapper):  # type: ignore[misc]
    """The same network with the signature that flow_matching asks for; counts its calls."""

    def __init__(self, network: FlowMatching) -> None:
        super().__init__(network)
        self.calls = 0

    def forward(self, x: Tensor, t: Tensor, **extras: Any) -> Tensor:
        self.calls += 1
        velocity: Tensor = self.model(x, torch.zeros(len(x)) + t)
        return velocity

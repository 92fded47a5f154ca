"""VECTOR: predict where a drone will be from its recent velocities, so that the model works at any place in space.

    v_t = D p  (causal velocities of the last P positions, without the first)
    v^_{T+1..T+Q} = network(normalised v),      p^_{T+k} = p_T + dt sum_{j <= k} v^_{T+j}
    loss = |v^ - v|^2 in normalised units  (+ lambda |p^ - p|^2 in units of dt times their deviation)

Positions enter through differences only: moving the whole flight moves the forecast by as much, and a place where no
training flight ever was is as good as any other. A network of absolute positions (inputs = outputs = "position") is
lost there. Use it for a forecast of the next second or two of a single body at 10 to 100 Hz; it is blind to neighbours,
walls and goals, and its single path says nothing of several possible futures beyond the spread of its errors.

Nacar, Abdelkader, Ghouti, Gabr, Al-Batati, Koubaa, 2025, "VECTOR: Velocity-Enhanced GRU Neural Network for Real-Time 3D
UAV Trajectory Prediction", Drones 9(1):8, arXiv:2410.23305. The released networks (2 x 64 and 3 x 128 units, dropout
0.5) run a second GRU on zeros to look ahead (decoder = "zeros"), repeat the last velocity once at the end of the
window, and normalise by a maximum or by whitening; all but the repetition are options here.
Departs: cosine decay instead of reduce-on-plateau; no dropout by default, which at 600 steps only costs.
"""

import warnings
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pathline.core.errors import MethodError
from pathline.core.method import Recipe
from pathline.data.tracks import Encounters, Tracks
from pathline.signal.causal import FILTERS, velocity_matrix
from pathline.track.motion_network import CELLS, DECODERS, MotionNetwork
from pathline.track.point import PointTracker

INPUTS, OUTPUTS = ("velocity", "position", "offset"), ("velocity", "position")
NORMS = ("standard", "max", "whiten")


class Affine(nn.Module):
    """x -> (x - mean) W over the last axis; W: (dims, dims)."""

    mean: Tensor
    weight: Tensor
    back: Tensor

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dims))
        self.register_buffer("weight", torch.eye(dims))
        self.register_buffer("back", torch.eye(dims))

    def read(self, rows: Tensor, norm: str) -> None:
        """ "standard": each axis by mean and deviation; "max": by the longest vector; "whiten": uncorrelated axes."""
        rows = rows.double().flatten(0, -2)
        mean, eye = rows.mean(0), torch.eye(rows.shape[-1], dtype=torch.float64)
        if norm == "standard":
            deviation = rows.std(0)
            weight = torch.diag(1 / torch.where(deviation > 1e-6, deviation, 1.0))
        elif norm == "max":
            mean, weight = torch.zeros_like(mean), eye / rows.norm(dim=1).max().clamp(min=1e-6)
        else:
            covariance = (rows - mean).T @ (rows - mean) / len(rows)
            values, vectors = torch.linalg.eigh(covariance + 1e-9 * covariance.trace() * eye + 1e-12 * eye)
            weight = vectors @ torch.diag(values.rsqrt()) @ vectors.T
        self.mean.copy_(mean)
        self.weight.copy_(weight)
        self.back.copy_(torch.linalg.inv(weight))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) @ self.weight

    def inverse(self, z: Tensor) -> Tensor:
        return z @ self.back + self.mean


class Vector(PointTracker):
    """A recurrent network from past velocities to future ones.

    inputs:   "velocity", "position" (absolute), or "offset" (positions relative to the last; they know no place either)
    outputs:  "velocity", integrated to positions, or "position" (absolute where the inputs are, else relative)
    velocity: how velocities are made of positions: "difference", "savitzky-golay" or "kalman", all causal
    norm:     "standard", "max" or "whiten"
    position_weight: lambda
    residual: whether the network says how velocities will differ from the last one (not in the paper)
    """

    recipe: ClassVar[Recipe] = Recipe(steps=600, batch_size=128, lr=1e-2)
    differences: Tensor

    def __init__(
        self,
        dims: int,
        history: int,
        horizon: int,
        neighbours: int,
        interval: float,
        inputs: str = "velocity",
        outputs: str = "velocity",
        cell: str = "gru",
        layers: int = 2,
        width: int = 64,
        dropout: float = 0.0,
        decoder: str = "direct",
        velocity: str = "difference",
        norm: str = "standard",
        position_weight: float = 0.0,
        residual: bool = False,
    ) -> None:
        super().__init__(dims, history, horizon, neighbours, interval)
        choices = {
            "inputs": (inputs, INPUTS),
            "outputs": (outputs, OUTPUTS),
            "cell": (cell, CELLS),
            "decoder": (decoder, DECODERS),
            "velocity": (velocity, FILTERS),
            "norm": (norm, NORMS),
        }
        for name, (value, known) in choices.items():
            if value not in known:
                raise MethodError(f"Vector: {name} is '{value}'; choose {', '.join(known)}")
        if residual and (inputs, outputs) != ("velocity", "velocity"):
            raise MethodError("Vector: residual adds to the last velocity, so inputs and outputs must be velocities")
        self.inputs, self.outputs, self.norm, self.position_weight = inputs, outputs, norm, position_weight
        self.residual = residual
        self.register_buffer("differences", velocity_matrix(velocity, history, interval).float())
        self.network = MotionNetwork(dims, horizon, cell, layers, width, dropout, decoder, history)
        self.scale_in, self.scale_out = Affine(dims), Affine(dims)

    def read(self, data: Tracks) -> None:
        super().read(data)
        generator = torch.Generator().manual_seed(0)
        part = self._windows_of(data)
        window = part.gather(torch.randperm(len(part), generator=generator)[:20_000])
        past = window.past[:, 0]
        self.scale_in.read(self.seen(past), self.norm)
        self.scale_out.read(self.wanted(past, window.future[:, 0]), self.norm)

    def seen(self, past: Tensor) -> Tensor:
        """What the network is shown of positions (batch, history, dims)."""
        if self.inputs == "position":
            return past
        offset = past - past[:, -1:]
        return offset if self.inputs == "offset" else self.differences @ offset

    def wanted(self, past: Tensor, future: Tensor) -> Tensor:
        """What the network should say, (batch, horizon, dims)."""
        if self.outputs == "velocity":
            return torch.cat([past[:, -1:], future], 1).diff(dim=1) / self.interval
        return future if self.inputs == "position" else future - past[:, -1:]

    def said(self, past: Tensor) -> Tensor:
        """What the network says, normalised: (batch, horizon, dims)."""
        seen = self.seen(past)
        answer: Tensor = self.network(self.scale_in(seen))
        return answer + self.scale_out(seen[:, -1:]) if self.residual else answer

    def motion(self, past: Tensor) -> tuple[Tensor, Tensor]:
        """Positions (batch, history, dims) -> future positions and velocities, (batch, horizon, dims) each."""
        last = past[:, -1:]
        said = self.scale_out.inverse(self.said(past))
        if self.outputs == "velocity":
            return last + self.interval * said.cumsum(1), said
        positions = said if self.inputs == "position" else last + said
        return positions, torch.cat([last, positions], 1).diff(dim=1) / self.interval

    def path(self, window: Encounters) -> Tensor:
        return self.motion(window.past[:, 0])[0]

    def loss(self, batch: Encounters) -> Tensor:
        past, future = batch.past[:, 0], batch.future[:, 0]
        loss = (self.said(past) - self.scale_out(self.wanted(past, future))).square().mean()
        if self.position_weight:
            unit = self.interval * self.scale_out.back.diagonal().mean()
            loss = loss + self.position_weight * ((self.motion(past)[0] - future) / unit).square().mean()
        return loss

    def streaming(self) -> "VectorStream":
        """The real-time path: one position in, the horizon out; with a memory of its own."""
        return VectorStream(self)

    def export(self, path: str | Path) -> Path:
        """Write the streaming predictor as TorchScript: `torch.jit.load(path).predict_step(position)`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.jit.script(self.streaming()).save(str(path))
        return Path(path)


class VectorStream(nn.Module):
    """Keeps the last positions in a ring and forecasts after each new one; scriptable.

    The network is traced for a single window, so that a step costs no Python.
    """

    ring: Tensor

    def __init__(self, method: Vector) -> None:
        super().__init__()

        class Window(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.method = method

            def forward(self, past: Tensor) -> Tensor:
                return self.method.motion(past)[0]

        method.eval()
        example = torch.zeros(1, method.history, method.dims, device=method.device)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes are those of the window, whatever comes
            self.forecast: Any = torch.jit.trace(Window(), example, check_trace=False)
        self.history = method.history
        self.count = 0
        self.register_buffer("ring", example[0].clone())

    @torch.jit.export
    def predict_step(self, position: Tensor) -> Tensor:
        """position: (dims,), the newest; the next positions, (horizon, dims).

        Until `history` positions have come, the body is taken to have stood at the first one before.
        """
        if self.count == 0:
            self.ring[:] = position
        place = self.count % self.history
        self.ring[place] = position
        self.count += 1
        window = torch.cat([self.ring[place + 1 :], self.ring[: place + 1]])
        with torch.no_grad():
            path: Tensor = self.forecast(window[None])
        return path[0]

    @torch.jit.export
    def reset(self) -> None:
        """Forget everything that was seen."""
        self.count = 0

    def forward(self, position: Tensor) -> Tensor:
        return self.predict_step(position)

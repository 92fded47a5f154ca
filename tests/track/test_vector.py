"""VECTOR: at home anywhere in space, exact between velocities and positions, and fast enough to fly with."""

import itertools
import statistics
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pathline.core.budget import steps
from pathline.core.errors import MethodError
from pathline.data import Tracks
from pathline.sims.quadrotor import simulate_quadrotor
from pathline.track.motion_network import CELLS, DECODERS
from pathline.track.vector import INPUTS, NORMS, OUTPUTS, Affine, Vector

SHIFT = torch.tensor([60.0, -40.0, 25.0])
KINDS = {"velocity": {}, "position": {"inputs": "position", "outputs": "position"}}


@pytest.fixture(scope="module")
def flights() -> Tracks:
    return simulate_quadrotor(24, seed=1, seconds=6).tracks()


@pytest.fixture(scope="module")
def trained(flights: Tracks) -> dict[str, Vector]:
    """A little training, so that the weights are not those of the beginning."""
    return {
        name: Vector.seeded(flights, 0, width=16, layers=1, **config).fit(flights, steps(30), precision="fp32")
        for name, config in KINDS.items()
    }


def straight(speeds: torch.Tensor, interval: float = 0.1, frames: int = 30, history: int = 6) -> Tracks:
    """Flights (flights, 3) m/s at constant velocity, without noise."""
    time = interval * torch.arange(frames)
    return Tracks(
        positions=speeds[:, None] * time[:, None],
        observed=torch.ones(len(speeds), frames, dtype=torch.bool),
        interval=interval,
        scene=torch.arange(len(speeds)),
        scenes=tuple(map(str, range(len(speeds)))),
        history=history,
        horizon=10,
        neighbours=0,
        name="straight",
    )


def test_moving_the_flight_moves_the_forecast_of_velocities_and_spoils_that_of_positions(
    flights: Tracks, trained: dict[str, Vector]
) -> None:
    window = flights.gather(torch.arange(0, len(flights), 40))
    moved = replace(window, past=window.past + SHIFT)
    gap = {name: m.path(moved) - m.path(window) - SHIFT for name, m in trained.items()}
    assert gap["velocity"].abs().max() < 1e-4
    assert gap["position"].abs().max() > 1e-2


def test_offsets_know_no_place_either(flights: Tracks) -> None:
    method = Vector.seeded(flights, 0, inputs="offset", outputs="position", width=16).eval()
    window = flights.gather(torch.arange(0, len(flights), 40))
    moved = replace(window, past=window.past + SHIFT)
    assert (method.path(moved) - method.path(window) - SHIFT).abs().max() < 1e-4


def test_velocities_of_a_polynomial_path_integrate_back_to_it() -> None:
    at = torch.arange(30, dtype=torch.float64) * 0.1
    path = torch.stack([1 + at - at**2, at**3 / 3, 2 - at], -1)[None]
    method = Vector(3, 20, 10, 0, 0.1).double()
    velocity = method.wanted(path[:, :20], path[:, 20:])
    back = path[:, 19:20] + 0.1 * velocity.cumsum(1)
    assert (back - path[:, 20:]).abs().max() < 1e-6
    # and the forecast is just that sum of what the network says
    positions, said = method.motion(path[:, :20])
    assert torch.allclose(positions, path[:, 19:20] + 0.1 * said.cumsum(1), atol=1e-12)


def test_straight_flights_are_forecast_to_a_millimetre_and_a_body_that_stands_hovers() -> None:
    generator = torch.Generator().manual_seed(0)
    train = straight(torch.rand(200, 3, generator=generator) * 2 - 1, history=4)
    config = {"layers": 1, "width": 32, "residual": True}
    method = Vector.seeded(train, 0, **config).fit(train, steps(500), lr=1e-2, precision="fp32", final=0.001)
    test = straight(torch.rand(50, 3, generator=generator) * 1.6 - 0.8, history=4)
    window = test.gather(torch.arange(0, len(test), 10))

    def miss(method: Vector) -> float:
        """Mean error after one second."""
        found = method.forecast(window, 1).best[:, 0, -1] - window.future[:, 0, -1]
        return float(found.norm(dim=-1).mean())

    assert miss(method) < 1e-3
    assert miss(Vector.seeded(train, 0, **config)) > 0.02
    hover = method.forecast(straight(torch.zeros(1, 3), history=4).gather(torch.tensor([0])), 1).best
    assert hover.abs().max() < 2e-3


@pytest.mark.parametrize("name", KINDS)
def test_a_stream_of_positions_gives_what_the_window_gives(
    name: str, flights: Tracks, trained: dict[str, Vector]
) -> None:
    method = trained[name]
    stream = method.streaming()
    for frame in range(50):
        said = stream.predict_step(flights.positions[3, frame])
        if frame >= 19:
            path = method.motion(flights.positions[3, None, frame - 19 : frame + 1])[0][0]
            assert (said - path).abs().max() < 1e-6 * (1 + path.abs().max())
    stream.reset()
    again = stream.predict_step(flights.positions[3, 0])
    still = method.motion(flights.positions[3, :1].expand(20, 3)[None])[0][0]
    assert (again - still).abs().max() < 1e-5


def test_the_exported_predictor_is_the_stream_and_keeps_up_with_a_hundred_hertz(
    flights: Tracks, tmp_path: Path
) -> None:
    method = Vector.seeded(flights, 0)
    loaded = torch.jit.load(str(method.export(tmp_path / "vector.pt")))
    stream, seconds = method.streaming(), []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for frame in range(160):
            position = flights.positions[0, frame % 60]
            begun = time.perf_counter()
            said = loaded.predict_step(position)
            seconds.append(time.perf_counter() - begun)
            assert torch.allclose(said, stream.predict_step(position), atol=1e-6)
    finally:
        torch.set_num_threads(threads)
    assert statistics.median(seconds[60:]) < 0.010


@pytest.mark.parametrize(("inputs", "outputs"), list(itertools.product(INPUTS, OUTPUTS)))
def test_every_pair_of_inputs_and_outputs_learns(inputs: str, outputs: str, flights: Tracks) -> None:
    method = Vector.seeded(flights, 0, inputs=inputs, outputs=outputs, width=32, layers=1, position_weight=0.1)
    before = method.score(flights)
    assert method.fit(flights, steps(60), lr=1e-2).score(flights) < 0.8 * before


@pytest.mark.parametrize(("cell", "decoder"), [(c, d) for c in CELLS for d in DECODERS])
def test_every_cell_and_decoder_gives_a_path(cell: str, decoder: str, flights: Tracks) -> None:
    if cell == "transformer" and decoder != "direct":
        with pytest.raises(MethodError, match="its decoder is 'direct'"):
            Vector.for_data(flights, cell=cell, decoder=decoder)
        return
    method = Vector.seeded(flights, 0, cell=cell, decoder=decoder, width=16, velocity="savitzky-golay", dropout=0.1)
    window = flights.gather(torch.arange(4))
    assert method.eval().path(window).shape == (4, 10, 3)
    method.train()
    method.loss(window).backward()
    idle = {name for name, p in method.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert idle <= {"network.decode.weight_ih_l0"}, "only weights of an input of zeros learn nothing"


def test_a_gru_is_the_one_of_the_docstring() -> None:
    torch.manual_seed(0)
    cell = torch.nn.GRU(2, 3, batch_first=True)
    x, h = torch.randn(1, 1, 2), torch.randn(1, 1, 3)
    wx, wh = cell.weight_ih_l0 @ x[0, 0] + cell.bias_ih_l0, cell.weight_hh_l0 @ h[0, 0] + cell.bias_hh_l0
    r, z = (wx[:6] + wh[:6]).sigmoid().chunk(2)
    n = torch.tanh(wx[6:] + r * wh[6:])
    assert torch.allclose(cell(x, h)[0][0, 0], (1 - z) * n + z * h[0, 0], atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_norms_do_what_they_say_and_are_undone(norm: str) -> None:
    torch.manual_seed(0)
    rows = torch.randn(5000, 3) @ torch.tensor([[2.0, 0, 0], [1.0, 0.3, 0], [0, 0, 5.0]]) + 4
    affine = Affine(3)
    affine.read(rows, norm)
    z = affine(rows)
    assert torch.allclose(affine.inverse(z), rows, atol=1e-4)
    if norm == "whiten":
        assert torch.allclose(torch.cov(z.T), torch.eye(3), atol=0.01)
    elif norm == "standard":
        assert torch.allclose(z.std(0), torch.ones(3), atol=1e-3) and z.mean(0).abs().max() < 1e-4
    else:
        assert z.norm(dim=1).max().item() == pytest.approx(1)


def test_unknown_words_are_named(flights: Tracks) -> None:
    with pytest.raises(MethodError, match="inputs is 'speed'; choose velocity, position, offset"):
        Vector.for_data(flights, inputs="speed")

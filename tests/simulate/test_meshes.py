"""The verb on meshes, its boundaries, metrics, tables and pictures, against methods whose answers are known."""

import itertools
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pathline.core.errors import DataError
from pathline.core.tiny import tiny_meshes, tiny_rollouts
from pathline.data import Meshes, MeshStep
from pathline.simulate.baselines import ConstantVelocity
from pathline.simulate.mesh_baselines import MeshConstantVelocity, MeshPersistence
from pathline.simulate.meshes import MeshSimulator


class Double(MeshSimulator):
    """Twice the state, less the one before, everywhere; its output is the sum over channels."""

    def step(self, state: MeshStep) -> tuple[Tensor, Tensor]:
        return 2 * state.state - 0.5 * state.previous, state.state.sum(-1, keepdim=True)


def flow() -> Meshes:
    tiny = tiny_meshes()
    generator = torch.Generator().manual_seed(0)
    fields = {
        name: torch.randn(5, 6, 9, size, generator=generator) for name, size in (("velocity", 2), ("pressure", 1))
    }
    return Meshes(
        mesh=tiny.mesh, cells=tiny.cells, fields=fields, predicted="velocity", outputs=("pressure",),
        node_type=torch.tensor([4, 0, 5, 6, 0, 6, 4, 0, 5]), name="flow",
    )  # fmt: skip


def test_boundaries_follow_their_script_and_the_rest_its_own_predictions() -> None:
    data = flow()
    start = data.starts(torch.arange(5))
    path = Double().rollout(start, 4)
    free = start.free
    assert torch.equal(path[:, :, ~free], data.state[:, 1:, ~free])
    before, now = data.state[:, 0], data.state[:, 1]
    for k in range(1, 5):
        before, now = now, torch.where(free[:, None], 2 * now - 0.5 * before, data.state[:, k + 1])
        assert torch.allclose(path[:, k], now)


def test_boundaries_without_a_script_stay() -> None:
    start = replace(flow().starts(torch.arange(5)), script=None)
    path = Double().rollout(start, 3)
    assert torch.equal(path[:, :, ~start.free], start.state[:, None, ~start.free].expand(-1, 4, -1, -1))


def test_the_script_tells_nothing_of_free_nodes() -> None:
    start = flow().starts(torch.arange(5))
    assert start.script is not None
    blurred = replace(start, script=torch.where(start.free[:, None], torch.nan, start.script))
    assert torch.equal(Double().rollout(start, 4), Double().rollout(blurred, 4))


def test_errors_are_root_mean_squares_over_free_nodes() -> None:
    data, method = flow(), Double()
    path = method.rollout(data.starts(torch.arange(5)), 4)
    free = data.starts(torch.arange(1)).free
    square = (path[:, 1:] - data.state[:, 2:])[:, :, free].square()
    assert torch.allclose(method.rollout_errors(data), square.mean((0, 2, 3)).double(), rtol=1e-5)
    assert torch.allclose(method.rollout_errors(data, 2), square[:, :2].mean((0, 2, 3)).double(), rtol=1e-5)
    found = method.evaluate(data)
    assert list(found) == ["rollout_rmse", "step_rmse", "outputs_rmse"]
    assert found["rollout_rmse"] == pytest.approx(float(square.mean().sqrt()), rel=1e-5)
    one = 2 * data.state[:, 1:-1] - 0.5 * data.state[:, :-2] - data.state[:, 2:]
    assert found["step_rmse"] == pytest.approx(float(one[:, :, free].square().mean().sqrt()), rel=1e-5)
    pressure = data.state[:, 1:-1].sum(-1, keepdim=True) - data.fields["pressure"][:, 2:]
    assert found["outputs_rmse"] == pytest.approx(float(pressure[:, :, free].square().mean().sqrt()), rel=1e-5)
    assert method.score(data) == found["rollout_rmse"]


def test_evaluation_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Double().evaluate(flow())
    monkeypatch.setattr("pathline.simulate.meshes.NODES_AT_ONCE", 18)
    assert Double().evaluate(flow()) == pytest.approx(whole)


def test_a_diverged_rollout_has_an_infinite_error() -> None:
    class Explode(MeshSimulator):
        def step(self, state: MeshStep) -> tuple[Tensor, None]:
            return state.state * 1e30, None

    assert Explode().evaluate(flow())["rollout_rmse"] == float("inf")


def test_baselines_are_exact_where_they_should_be() -> None:
    data = tiny_meshes()
    assert data.positions is not None
    still = replace(data, positions=data.positions[:, :1].expand(-1, 6, -1, -1))
    assert MeshPersistence().evaluate(still)["rollout_rmse"] == 0.0
    straight = still.state + torch.arange(6).view(1, 6, 1, 1) * torch.randn(6, 1, 9, 3)
    assert MeshConstantVelocity().evaluate(replace(data, positions=straight))["rollout_rmse"] < 1e-5
    assert MeshPersistence().evaluate(replace(data, positions=straight))["rollout_rmse"] > 0.5


def test_the_table_has_a_row_for_every_node_of_every_frame() -> None:
    data, method = flow(), Double()
    table = method.predict(data)
    assert list(table) == ["rollout", "frame", "node", "velocity_0", "velocity_1", "pressure"]
    assert len(table) == 5 * 5 * 9
    states, outputs = method.rollout_with_outputs(data.starts(torch.arange(5)), 4)
    assert outputs is not None
    row = table[(table.rollout == 3) & (table.frame == 4) & (table.node == 7)].iloc[0]
    assert row.velocity_1 == pytest.approx(float(states[3, 3, 7, 1]))
    assert row.pressure == pytest.approx(float(outputs[3, 2, 7, 0]))
    given = table[table.frame == 1].pressure.to_numpy()
    assert np.allclose(given, data.fields["pressure"][:, 1].flatten())


def test_what_does_not_fit_is_named() -> None:
    method, start = Double(), flow().starts(torch.arange(2))
    for state, n, words in (
        (start, 0, "at least 1"),
        (start, 5, "4 frames"),
        (replace(start, previous=start.previous[:1]), 1, "previous"),
        (replace(start, mesh=start.mesh[:4]), 1, "9 nodes"),
        ("a state", 1, "MeshStep"),
    ):
        with pytest.raises(DataError, match=words):
            method.rollout(state, n)  # type: ignore[arg-type]


def frames_of(gif: bytes) -> list[np.ndarray]:
    image, frames = Image.open(BytesIO(gif)), []
    for k in range(image.n_frames):
        image.seek(k)
        frames.append(np.asarray(image.convert("RGB"), dtype=float))
    return frames


@pytest.mark.parametrize("data", [tiny_meshes(), flow()], ids=["moving", "field"])
def test_a_rollout_is_written_as_a_moving_picture_beside_the_truth(data: Meshes, tmp_path: Path) -> None:
    method = MeshPersistence()
    path = tmp_path / "out.gif"
    method.writers()[".gif"](data, path, 0)
    frames = frames_of(path.read_bytes())
    assert len(frames) == 5
    left = [frame[40:, : frame.shape[1] // 2 - 40] for frame in frames]  # below the titles, within the first panel
    assert all(np.abs(one - other).max() > 30 for one, other in itertools.pairwise(left))


def test_figures_show_every_method_and_move() -> None:
    methods = {"persistence": MeshPersistence(), "constant velocity": MeshConstantVelocity()}
    rollout, errors = MeshSimulator.figures(methods, tiny_meshes())  # type: ignore[arg-type]
    assert rollout.animation is not None and rollout.animation.count == 5
    titles = [axis.get_title() for axis in rollout.picture.axes]
    assert "truth" in titles[0] and "persistence" in titles[1] and "constant velocity" in titles[2]
    assert len(errors.picture.axes[0].lines) == 2


def test_the_last_frame_is_written_as_a_mesh(tmp_path: Path) -> None:
    meshio = pytest.importorskip("meshio")
    for data in (flow(), tiny_meshes()):
        method = Double()
        method.writers()[".vtu"](data, tmp_path / "out.part", 0)
        mesh = meshio.read(tmp_path / "out.part", file_format="vtu")
        last = method.rollout(data.starts(torch.tensor([0])), 4)[0, -1]
        shown = mesh.points if data.moving else mesh.point_data["velocity"][:, :2]
        assert np.allclose(shown, last) and np.array_equal(mesh.cells[0].data, data.cells)
        assert np.allclose(mesh.point_data["error"], (last - data.state[0, -1]).norm(dim=-1))
    assert "pressure" not in mesh.point_data


def test_bodies_move_in_their_picture_too(tmp_path: Path) -> None:
    data = tiny_rollouts()
    path = tmp_path / "bodies.gif"
    ConstantVelocity().writers()[".gif"](data, path, 0)
    frames = frames_of(path.read_bytes())
    assert len(frames) == 3 and all(np.abs(a - b).max() > 30 for a, b in itertools.pairwise(frames))
    trajectories, _ = ConstantVelocity.figures({"constant velocity": ConstantVelocity()}, data)
    assert trajectories.animation is not None and trajectories.animation.count == 3
    shape = {tuple(trajectories.animation.draw(k).axes[0].get_xlim()) for k in range(3)}
    assert len(shape) == 1  # the window stays

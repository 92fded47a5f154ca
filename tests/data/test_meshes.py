"""The container of meshes, and the files it is read from and written to."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pathline.core.source import open_data
from pathline.core.tiny import tiny_meshes
from pathline.data import DataError, Meshes, NodeType, read
from pathline.data.formats import container_for


def flow(rollouts: int = 4, frames: int = 5) -> Meshes:
    """A field with a second one beside it, on the tiny mesh."""
    tiny = tiny_meshes()
    generator = torch.Generator().manual_seed(0)
    return Meshes(
        mesh=tiny.mesh,
        cells=tiny.cells,
        fields={
            "velocity": torch.randn(rollouts, frames, 9, 2, generator=generator),
            "pressure": torch.randn(rollouts, frames, 9, 1, generator=generator),
        },
        predicted="velocity",
        outputs=("pressure",),
        node_type=torch.tensor([4, 0, 5, 6, 0, 6, 4, 0, 5]),
        name="flow",
    )


def test_a_step_is_three_frames_of_one_rollout() -> None:
    data = tiny_meshes()
    assert len(data) == 6 * 4 and data.positions is not None
    batch = data.gather(torch.arange(len(data)))
    for item, (rollout, frame) in enumerate(torch.cartesian_prod(torch.arange(6), torch.arange(1, 5)).tolist()):
        assert torch.equal(batch.previous[item], data.positions[rollout, frame - 1])
        assert torch.equal(batch.state[item], data.positions[rollout, frame])
        assert torch.equal(batch.target[item], data.positions[rollout, frame + 1])
    assert batch.moving and batch.script is None and batch.features is not None
    assert batch.free.tolist() == [False, True, True] * 3


def test_outputs_are_of_the_frame_that_is_predicted() -> None:
    data = flow()
    batch = data.gather(torch.tensor([4]))  # rollout 1, frame 2
    assert batch.outputs is not None
    assert torch.equal(batch.outputs[0], data.fields["pressure"][1, 3])
    assert torch.equal(batch.target[0], data.fields["velocity"][1, 3])
    assert data.channels == ("velocity_0", "velocity_1") and data.output_columns() == ("pressure",)
    assert batch.free.tolist() == [kind in (NodeType.NORMAL, NodeType.OUTFLOW) for kind in data.types.tolist()]


def test_a_rollout_starts_at_the_second_frame_with_its_script() -> None:
    data = flow()
    start = data.starts(torch.tensor([2, 0]))
    assert torch.equal(start.state, data.fields["velocity"][[2, 0], 1])
    assert start.script is not None and torch.equal(start.script, data.fields["velocity"][[2, 0], 2:])


def test_parts_share_no_trajectory() -> None:
    data = tiny_meshes()
    split = data.split(seed=1)
    parts = [part.state[:, 0].flatten(1) for part in (split.train, split.validation, split.test)]
    assert [len(part) for part in parts] == [4, 1, 1]
    assert len(torch.cat(parts).unique(dim=0)) == 6
    assert split.train.fingerprint() != data.split(seed=2).train.fingerprint()


def test_one_long_rollout_is_cut_in_time() -> None:
    data = flow(rollouts=1, frames=40)
    split = data.split()
    joined = torch.cat([part.state for part in (split.train, split.validation, split.test)], 1)
    assert torch.equal(joined, data.state) and split.test.state.shape[1] == 4
    with pytest.raises(DataError, match="cannot be split"):
        flow(rollouts=2, frames=6).split()


def test_what_does_not_fit_is_named() -> None:
    data, moving = flow(), tiny_meshes()
    for change, words in (
        ({"cells": data.cells + 1}, "names node 9"),
        ({"cells": data.cells[:0]}, "at least one"),
        ({"predicted": "speed"}, "velocity, pressure"),
        ({"outputs": ("density",)}, "no field 'density'"),
        ({"node_type": torch.full((9,), 6)}, "nothing to predict"),
        ({"node_type": torch.full((9,), 9)}, "from 0 to 8"),
        ({"mesh": data.mesh[:, :1]}, "expected"),
        ({"fields": {"velocity": data.fields["velocity"][:, :2]}, "outputs": ()}, "2 frames"),
        ({"fields": data.fields | {"pressure": data.fields["pressure"][:2]}}, "pressure"),
        ({"fields": data.fields | {"velocity": data.fields["velocity"] / 0}}, "velocity"),
    ):
        with pytest.raises(DataError, match=words) as caught:
            replace(data, **change)
        assert "flow" in str(caught.value)
    with pytest.raises(DataError, match="features"):
        replace(moving, features=torch.ones(2, 9, 1))


def test_npz_archives_are_told_apart_by_their_cells(tmp_path: Path) -> None:
    data = tiny_meshes()
    path = tmp_path / "swing.npz"
    np.savez(path, cells=data.cells, positions=data.positions, mesh=data.mesh, node_type=data.types, interval=0.5)
    again = open_data(str(path), "simulate")
    assert isinstance(again, Meshes) and torch.equal(again.state, data.state) and again.interval == 0.5
    assert torch.equal(again.types, data.types) and again.moving
    np.savez(tmp_path / "bodies.npz", positions=data.positions)
    assert container_for(tmp_path / "bodies.npz", ("Rollouts", "Meshes")) == "Rollouts"
    fields = {name: values.numpy() for name, values in flow().fields.items()}
    np.savez(path, cells=data.cells, mesh=data.mesh, **fields)
    assert read(path, "Meshes").predicted == "velocity"
    assert read(path, "Meshes", field="pressure", interval=2.0).state.shape[3] == 1
    np.savez(path, cells=data.cells, **fields)
    with pytest.raises(DataError, match="no array 'mesh'"):
        read(path, "Meshes")


def test_an_xdmf_series_is_a_rollout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meshio = pytest.importorskip("meshio")
    monkeypatch.chdir(tmp_path)  # meshio writes the numbers of a series beside the running program
    data = flow(rollouts=3)
    names = [str(tmp_path / f"run{k}.xdmf") for k in range(3)]
    for k, name in enumerate(names):
        with meshio.xdmf.TimeSeriesWriter(name) as writer:
            writer.write_points_cells(data.mesh.double().numpy(), [("triangle", data.cells.numpy())])
            for frame in range(5):
                fields = {key: values[k, frame].double().numpy() for key, values in data.fields.items()}
                fields["velocity"] = np.pad(fields["velocity"], ((0, 0), (0, 1)))  # solvers write three components
                writer.write_data(0.25 * frame, point_data=fields | {"node_type": data.types.double().numpy()})
    again = open_data(names, "simulate")
    assert isinstance(again, Meshes) and not again.moving and again.interval == 0.25
    assert torch.allclose(again.state, data.state) and torch.equal(again.types, data.types)
    assert torch.allclose(open_data(str(tmp_path), "simulate").state, data.state)
    one = read(names[1], "Meshes", field="pressure")
    assert torch.allclose(one.state, data.fields["pressure"][1:2])
    with pytest.raises(DataError, match="--field"):
        read(names[0], "Meshes", field="density")


def test_a_folder_of_frames_is_a_rollout_in_their_order(tmp_path: Path) -> None:
    meshio = pytest.importorskip("meshio")
    data = tiny_meshes()
    assert data.positions is not None
    for frame in range(6):  # twelve frames, so that the order of names is not that of numbers
        for half in (0, 1):
            points = data.positions[half, frame].double().numpy()
            mesh = meshio.Mesh(points, [("triangle", data.cells.numpy())])
            mesh.write(tmp_path / f"frame{frame + 6 * half}.vtu")
    again = open_data(str(tmp_path), "simulate", interval=0.1)
    assert isinstance(again, Meshes) and again.moving and again.state.shape == (1, 12, 9, 3)
    assert torch.allclose(again.state[0], data.positions[:2].flatten(0, 1))
    assert again.mesh.shape[1] == 3 and again.interval == 0.1
    (tmp_path / "frame12.vtu").write_text("nothing")
    with pytest.raises(DataError, match=r"frame12\.vtu"):
        open_data(str(tmp_path), "simulate")


def test_one_mesh_with_its_fields_is_written(tmp_path: Path) -> None:
    meshio = pytest.importorskip("meshio")
    from pathline.data.readers.meshio import write_mesh

    data = flow()
    fields = {name: values[0, 0] for name, values in data.fields.items()}
    write_mesh(tmp_path / "out.vtu", data.mesh, data.cells, fields)
    mesh = meshio.read(tmp_path / "out.vtu")
    assert np.allclose(mesh.points[:, :2], data.mesh) and np.array_equal(mesh.cells[0].data, data.cells)
    assert np.allclose(mesh.point_data["pressure"], fields["pressure"][:, 0])
    assert np.allclose(mesh.point_data["velocity"][:, :2], fields["velocity"])


def test_an_empty_folder_and_other_cells_are_named(tmp_path: Path) -> None:
    meshio = pytest.importorskip("meshio")
    with pytest.raises(DataError, match="no frames"):
        read(tmp_path, "Meshes")
    points = np.eye(4, 3)
    meshio.Mesh(points, [("tetra", np.array([[0, 1, 2, 3]]))]).write(tmp_path / "a.vtu")
    with pytest.raises(DataError, match="no triangles"):
        read(tmp_path, "Meshes")

"""Flow past a cylinder on a graded mesh: the mesh is sound, the fluid keeps its law, and vortices part in turn."""

import math

import pytest
import torch

from pathline.core.budget import steps
from pathline.data.meshes import NodeType
from pathline.graph.mesh import euler_characteristic, signed_areas, unique_edges
from pathline.sims.cylinder_flow import HEIGHT, MIDDLE, RADIUS, WIDTH, at_nodes, cylinder_flow, graded_mesh
from pathline.sims.lattice_boltzmann import Lattice, parabola
from pathline.simulate.meshgraphnets import MeshGraphNets


@pytest.fixture(scope="module")
def flow():
    return cylinder_flow(rollouts=2, frames=24)


def test_the_mesh_covers_the_channel_round_the_cylinder_with_good_triangles():
    points, cells, node_type = graded_mesh()
    corners = points[cells]
    area = signed_areas(points, cells)
    sides = (corners - corners.roll(1, 1)).square().sum((1, 2))
    polygon = (node_type == NodeType.WALL).logical_and((points - torch.tensor(MIDDLE)).norm(dim=1) < RADIUS + 1e-6)
    sectors = int(polygon.sum())
    hole = sectors / 2 * RADIUS**2 * math.sin(2 * math.pi / sectors)
    assert float(area.sum()) == pytest.approx(WIDTH / HEIGHT - hole, rel=1e-9)
    assert float((4 * math.sqrt(3) * area / sides).min()) > 0.5  # 1 for triangles of equal sides
    assert euler_characteristic(cells) == 0  # a region with one hole
    length = (points[unique_edges(cells)[0]] - points[unique_edges(cells)[1]]).norm(dim=1)
    assert float(length.max() / length.min()) > 3  # graded
    assert set(node_type.tolist()) == {NodeType.NORMAL, NodeType.INFLOW, NodeType.OUTFLOW, NodeType.WALL}


def test_fields_at_nodes_are_linear_between_cells_and_vanish_at_the_walls():
    rows = (torch.arange(HEIGHT) + 0.5) / HEIGHT
    columns = (torch.arange(WIDTH) + 0.5) / HEIGHT
    velocity = (1 + columns) * torch.minimum(rows, 1 - rows)[:, None]
    pressure = (2 - columns).expand(HEIGHT, WIDTH)
    points = torch.tensor([[0.7, 0.2], [1.3, 0.85], [0.9, 0.0], [0.9, 1.0]])
    seen = at_nodes(torch.stack([velocity, -velocity, pressure])[None, None], points)[0, 0]
    expected = (1 + points[:, 0]) * torch.minimum(points[:, 1], 1 - points[:, 1])
    assert torch.allclose(seen[:, 0], expected, atol=1e-5)
    assert torch.allclose(seen[:, 1], -expected, atol=1e-5)
    assert torch.allclose(seen[:, 2], 2 - points[:, 0], atol=1e-5)


def test_channels_with_inflows_of_their_own_are_as_they_are_alone():
    solid = torch.zeros(2, 12, 20, dtype=torch.bool)
    solid[:, 4:7, 5:8] = True
    inflow = torch.stack([parabola(12, 0.03), parabola(12, 0.06)])
    together = Lattice(solid, 0.05, inflow, dtype=torch.float64)
    alone = [Lattice(solid[:1], 0.05, one, dtype=torch.float64) for one in inflow]
    for _ in range(50):
        for lattice in (together, *alone):
            lattice.step()
    for item, lattice in enumerate(alone):
        assert torch.allclose(together.moments()[:, item], lattice.moments()[:, 0], atol=1e-14)
    together.keep(torch.tensor([False, True]))
    together.step()
    alone[1].step()
    assert torch.allclose(together.moments(), alone[1].moments(), atol=1e-14)


def test_what_enters_leaves_and_walls_stand_still(flow):
    velocity, types = flow.fields["velocity"], flow.types
    assert float(velocity[:, :, types == NodeType.WALL].abs().max()) == 0
    at = [flow.mesh[types == kind, 1].argsort() for kind in (NodeType.INFLOW, NodeType.OUTFLOW)]
    means = [
        velocity[:, :, types == kind, 0].gather(2, order.expand(2, 24, -1)).mean(2)
        for kind, order in zip((NodeType.INFLOW, NodeType.OUTFLOW), at, strict=True)
    ]
    assert torch.allclose(means[0], means[1], rtol=0.1)
    assert float((means[0][0] - means[0][1]).abs().mean()) > 0.05  # each trajectory has an inflow of its own


def test_the_wake_swings_from_side_to_side(flow):
    behind = (flow.mesh - torch.tensor([1.3, 0.5])).norm(dim=1).argmin()
    across = flow.fields["velocity"][:, :, behind, 1]
    assert (across.amax(1) > 0.3).all() and (across.amin(1) < -0.3).all()


def test_a_rollout_keeps_walls_and_inflow_as_they_are_given(flow):
    method = MeshGraphNets.for_data(flow, width=16, layers=2, warmup=2)
    assert method.order == 1 and method.outputs == 1  # velocities change, the pressure is predicted beside them
    method.fit(flow, steps(6))
    start = flow.starts(torch.arange(2))
    ahead = method.rollout(start, 3)[:, 1:]
    assert ahead.shape == (2, 3, len(flow.mesh), 2)
    scripted = (flow.types == NodeType.WALL) | (flow.types == NodeType.INFLOW)
    truth = flow.fields["velocity"][:, 2:5]
    assert torch.equal(ahead[:, :, scripted], truth[:, :, scripted])
    assert not torch.equal(ahead[:, :, ~scripted], truth[:, :, ~scripted])
